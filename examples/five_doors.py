"""One network through five doors: built in, as ONNX, as TorchScript, as a Python class with its checkpoint, and behind an HTTP service.

Run from the repository root, with recordings and weights in ../shared, and the extras `torch`, `onnx` and `test` installed:

    python -m examples.five_doors

Prints, for each door, how far its scores are from the built-in detector's, and its EER with the interval over whole speakers and attacks.
"""

import base64
import io
import json
import tempfile
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from spoofscope.analysis.cells import cluster_rows, pair_of
from spoofscope.audit import open_corpus, open_detector
from spoofscope.degradations.conditions import parse_condition
from spoofscope.detectors import Detector
from spoofscope.executors import open_executor
from spoofscope.metrics.intervals import bootstrap
from spoofscope.scoring import score_trials
from tests.oracles.eager_aasist import load_eager

SHARED = Path("../shared")
WEIGHTS, CONFIG = SHARED / "weights/AASIST-L.pth", SHARED / "weights/AASIST-L.conf.json"
WINDOW_S = 64_600 / 16_000
CORPUS = (
    "table(path='../shared/audio/MANIFEST.csv', columns={'generator': 'attack', 'text_id': 'source'}, title='Public speech')"
)
CLASS = """
from tests.oracles.eager_aasist import EagerAasist


class Model(EagerAasist):
    def __init__(self, d_args):
        super().__init__("aasist_l" if d_args["filts"][-1][-1] == 24 else "aasist")
"""


class Logits(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.network(audio)[1]


def export(folder: Path) -> None:
    """Write the network as ONNX and TorchScript, and a class as another repository would have it."""
    network, audio = load_eager(str(WEIGHTS), "aasist_l"), torch.zeros(1, 64_600)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both writers announce their successors
        torch.jit.trace(network, audio + 0.1 * torch.randn(1, 64_600)).save(str(folder / "aasist_l.ts"))
        torch.onnx.export(Logits(network), (audio,), folder / "aasist_l.onnx", dynamo=False, opset_version=17)
    (folder / "model.py").write_text(CLASS, encoding="utf-8")


def serve(detector: Detector) -> ThreadingHTTPServer:
    """Start a service that scores what it is sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["recordings"]
            heard = [soundfile.read(io.BytesIO(base64.b64decode(one)), dtype="float32")[0] for one in sent]
            answer = json.dumps({"scores": detector.score(heard).astype(float).tolist()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    corpus, settings = open_corpus(CORPUS)
    trials = corpus.trials("all", root=SHARED, **settings).subset(60)
    with tempfile.TemporaryDirectory() as name, open_executor("local", workers=1) as executor:
        folder = Path(name)
        export(folder)
        built_in = open_detector(f"aasist_l.la19(weights='{WEIGHTS}')")
        server = serve(built_in)
        doors = {
            "built in": built_in,
            "onnx": open_detector(f"onnx:{folder}/aasist_l.onnx(bonafide=1)"),
            "torchscript": open_detector(f"torchscript:{folder}/aasist_l.ts(bonafide=1, window_s={WINDOW_S})"),
            "python": open_detector(
                f"python:{folder}/model.py:Model(config='{CONFIG}', weights='{WEIGHTS}', bonafide=1, window_s={WINDOW_S})"
            ),
            "http": open_detector(f"http://127.0.0.1:{server.server_port}/score(window_s={WINDOW_S})"),
        }
        print(trials.describe())
        for condition in map(parse_condition, ("clean", "telephony")):
            expected = None
            for door, detector in doors.items():
                scored = score_trials(detector, trials, condition, folder / door, executor=executor).scored()
                scores = scored.frame["score"].to_numpy()
                expected = scores if expected is None else expected
                clusters = cluster_rows(scored.frame, ("speaker", "attack"))
                error = bootstrap("eer", *pair_of(scored.frame), clusters, rng=np.random.default_rng(0))
                interval = f"{100 * error.value:.1f} % ({100 * error.low:.1f} to {100 * error.high:.1f})"
                print(f"{condition.name:10s} {door:12s} differs by {np.abs(scores - expected).max():.1e}; EER {interval}")
        server.shutdown()


if __name__ == "__main__":
    main()
