"""Through the command line with models of transformers, classes and networks: scores of a direct pass, the hub, and a run broken off."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from spoofscope.audio import fit_length, read_audio
from tests.small import write_corpus, write_plugin, write_small_recipe

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from spoofscope.networks.hub import quiet  # noqa: E402

COMMAND = (sys.executable, "-m", "spoofscope.cli")
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
CODE = '''
import time

import numpy as np
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, d_args):
        super().__init__()
        self.conv = nn.Conv1d(1, d_args["filts"][0], d_args["first_conv"], stride=40)
        self.bn = nn.BatchNorm1d(d_args["filts"][0])
        self.out_layer = nn.Linear(d_args["filts"][0], d_args["nb_classes"])

    def forward(self, x, Freq_aug=False):
        hidden = self.bn(torch.relu(self.conv(x.unsqueeze(1))).mean(dim=2))
        return hidden, self.out_layer(hidden)


class Slow:
    """By the contract of speech_spoof_bench, and slow enough to be interrupted."""

    expected_sample_rate = 16_000
    batch_size = 2

    def load(self):
        self.delay_s = 0.03

    def score_batch(self, audios, srs):
        assert len(audios) <= 2 and srs == [16_000] * len(audios)
        time.sleep(self.delay_s * len(audios))
        return [float(-np.mean(np.abs(np.diff(audio)))) for audio in audios]
'''
CONFIG = {"model_config": {"architecture": "Model", "filts": [6], "first_conv": 128, "nb_classes": 2}, "batch_size": 24}


def run(verb: str, recipe: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, verb, str(recipe)], env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    write_corpus(folder / "corpus", speakers=4)
    write_plugin(folder)
    (folder / "code.py").write_text(CODE)
    (folder / "Model.conf").write_text(json.dumps(CONFIG))
    namespace: dict[str, object] = {}
    exec(compile(CODE, "code.py", "exec"), namespace)
    torch.manual_seed(0)
    torch.save(namespace["Model"](CONFIG["model_config"]).state_dict(), folder / "model.pth")  # type: ignore[operator]
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": (8,) * 7}
    more = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 12}
    config = transformers.HubertConfig(**sizes, **more, id2label={0: "fake", 1: "real"}, label2id={"fake": 0, "real": 1})
    with quiet():
        transformers.HubertForSequenceClassification(config).save_pretrained(folder / "hubert")
        transformers.HubertForCTC(config).save_pretrained(folder / "ctc")
        for place in ("hubert", "ctc"):
            transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / place)
    return folder


def network(folder: Path) -> str:
    return (
        f"python:{folder}/code.py:Model(config='{folder}/Model.conf', weights='{folder}/model.pth', bonafide=1, window_s=1.0, "
        "name='network')"
    )


def recipe_for(folder: Path, out: str, *detectors: str, **keys: str) -> Path:
    return write_small_recipe(folder, out=folder / out, detectors=json.dumps(detectors), **{"batch_size": "8", **keys})


def finished(folder: Path, detector: str, condition: str = "clean") -> pl.DataFrame:
    return pl.read_parquet(next(folder.glob(f"scores/{detector}*/{condition}-*/scores.parquet")))


def key(folder: Path, detector: str) -> dict[str, Any]:
    return json.loads(next(folder.glob(f"scores/{detector}*/clean-*/key.json")).read_text())["detector"]


def windows(folder: Path, run_folder: Path, samples: int) -> "torch.Tensor":
    trials = pl.read_parquet(run_folder / "trials.parquet")
    clips = [read_audio(folder / "corpus" / path) for path in trials["path"]]
    return torch.from_numpy(np.stack([fit_length(clip, samples) for clip in clips]))


def test_a_run_of_three_adapters_ends_in_a_page_and_its_scores_are_those_of_direct_passes(folder: Path) -> None:
    detectors = (f"hf:{folder}/hubert(window_s=1.0)", network(folder), f"python:{folder}/code.py:Slow(name='bench')")
    done = run("run", recipe_for(folder, "audit", *detectors, conditions="['noise(\"white\", 10)']"))
    assert done.returncode == 0, done.stderr
    page = (folder / "audit" / "report" / "index.html").read_text()
    assert all(name in page for name in ("hubert", "network", "bench"))
    heard = windows(folder, folder / "audit", 16_000)

    with quiet():
        model = transformers.AutoModelForAudioClassification.from_pretrained(folder / "hubert").eval()
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder / "hubert")
    with torch.inference_mode():
        inputs = extractor(list(heard.numpy()), sampling_rate=16_000, return_tensors="pt")
        expected = model(**inputs).logits[:, 1]
    np.testing.assert_allclose(finished(folder / "audit", "hubert")["score"], expected, rtol=1e-4, atol=1e-5)

    namespace: dict[str, object] = {}
    exec(compile(CODE, "code.py", "exec"), namespace)
    direct = namespace["Model"](CONFIG["model_config"]).eval()  # type: ignore[operator]
    direct.load_state_dict(torch.load(folder / "model.pth", weights_only=True))
    with torch.inference_mode():
        expected = direct(heard)[1][:, 1]
    np.testing.assert_allclose(finished(folder / "audit", "network")["score"], expected, rtol=1e-4, atol=1e-5)
    assert key(folder / "audit", "network")["weights_sha256"] == hashlib.sha256((folder / "model.pth").read_bytes()).hexdigest()
    assert finished(folder / "audit", "bench", "noise")["status"].to_list() == ["ok"] * 40


def test_a_run_that_is_killed_goes_on_to_the_same_scores(folder: Path) -> None:
    detectors = (f"python:{folder}/code.py:Slow(name='bench')", network(folder))
    whole, killed = (recipe_for(folder, name, *detectors, conditions="[]") for name in ("whole", "killed"))
    done = run("score", whole)
    assert done.returncode == 0, done.stderr
    started = subprocess.Popen([*COMMAND, "score", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((folder / "killed").glob("scores/**/part-*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    started.wait()
    parts = list((folder / "killed").glob("scores/**/part-*.parquet"))
    assert 0 < sum(pl.read_parquet(part).height for part in parts) < 40
    assert run("score", killed).returncode == 0
    for name in ("bench", "network"):
        assert finished(folder / "killed", name).equals(finished(folder / "whole", name))


@pytest.mark.parametrize(
    ("detector", "code", "message"),
    [
        ("hf:{}/ctc", 3, "4 weights are missing (classifier.bias, classifier.weight, projector.bias, projector.weight)"),
        ("hf:{}/hubert(bonafide='genuine')", 2, "the labels of hubert are 0 'fake', 1 'real'. Give one of them"),
        ("hf:{}/nothing", 2, "there is no folder"),
        (
            "python:{0}/code.py:Model(config='{0}/Model.conf', weights='{0}/model.pth')",
            2,
            "say which column stands for bona fide",
        ),
        ("python:{0}/code.py:Model(config='{0}/Model.conf', bonafide=1)", 2, "of its 9 tensors at random"),
        ("python:{0}/code.py:Slow(weights='{0}/model.pth')", 2, "is a class that scores, for which weights has no meaning"),
        (
            "python:{0}/code.py:Model(config='{0}/Model.conf', weights='{0}/hubert/model.safetensors', bonafide=1)",
            3,
            "is not a checkpoint of",
        ),
    ],
)
def test_what_does_not_fit_ends_with_a_sentence(folder: Path, detector: str, code: int, message: str) -> None:
    done = run("score", recipe_for(folder, "wrong", detector.format(folder)))
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


class Hub:
    """What the Hugging Face hub answers for one model, `lab/detector`, on this machine."""

    def __init__(self, folder: Path) -> None:
        hub, self.asked = self, set[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def answer(self, *, with_body: bool) -> None:
                prefix, _, file = self.path.partition("/resolve/")
                branch, _, file = file.partition("/")
                known = prefix == "/lab/detector" and branch in ("main", COMMIT)
                there = known and (folder / file).is_file()
                content = (folder / file).read_bytes() if there else b""
                self.send_response(200 if there else 404)
                if not there:
                    self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if with_body:
                    hub.asked.add(f"{branch}/{file}")
                    self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    hub = Hub(folder / "hubert")
    yield hub
    hub.stop()


def test_a_model_of_the_hub_is_fetched_once_and_known_by_its_commit_with_and_without_network(folder: Path, hub: Hub) -> None:
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "no_proxy": "127.0.0.1"}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    recipe = recipe_for(folder, "hub", "hf:lab/detector(window_s=1.0)", conditions="[]")
    done = run("score", recipe, **environment)
    assert done.returncode == 0, done.stderr
    assert hub.asked == {"main/config.json", f"{COMMIT}/preprocessor_config.json", f"{COMMIT}/model.safetensors"}
    fetched = key(folder / "hub", "detector")
    assert (fetched["settings"]["model"], fetched["settings"]["revision"]) == ("lab/detector", COMMIT)
    hub.asked.clear()
    absent = run("score", recipe_for(folder, "absent", "hf:lab/nothing"), **environment)
    assert (absent.returncode, "Traceback" in absent.stderr) == (3, False)
    assert "lab/nothing: the Hugging Face hub did not give config.json" in absent.stderr

    offline = recipe_for(folder, "offline", "hf:lab/detector(window_s=1.0)", conditions="[]")
    done = run("score", offline, **environment, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert key(folder / "offline", "detector") == fetched
    assert finished(folder / "offline", "detector").equals(finished(folder / "hub", "detector"))
    unknown = run("score", recipe_for(folder, "unknown", "hf:lab/another"), **environment, HF_HUB_OFFLINE="1")
    assert (unknown.returncode, "Traceback" in unknown.stderr) == (3, False)
    assert "give the folder in place of the name" in unknown.stderr
    assert not hub.asked
