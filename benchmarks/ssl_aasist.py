"""Speed of the full-size SSL_Anti-spoofing detector with random weights: `python -m benchmarks.ssl_aasist [--device cuda]`.

On a CPU: seconds a clip against the faster of eager and sdpa `transformers` with the back end unfolded op for op, in the same process, rounds
alternating; the same in int8 and, where the processor has it, bfloat16, with the change of the scores; peak memory.
On CUDA: clips a second at batch 64 to 256 in bfloat16, the share of a bare encoder forward that the whole pipeline reaches (decode, degrade,
transfer, score, write), and the share of the card's matrix rate. Random weights say nothing about error rates: with `--weights` and
`--corpus` the difference in EER between the precisions is measured instead.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spoofscope.analysis.cells import cluster_rows, pair_of
from spoofscope.degradations.conditions import parse_condition
from spoofscope.detectors import build_detector
from spoofscope.executors import open_executor
from spoofscope.metrics.intervals import bootstrap, bootstrap_difference
from spoofscope.networks import linear
from spoofscope.networks.ssl_aasist import back_end_shapes
from spoofscope.networks.xlsr import XLSR_300M, Sizes, build_encoder, fairseq_shapes, remap
from spoofscope.scoring import score_trials
from tests.oracles.eager_ssl_aasist import EagerBackEnd

SAMPLES = 64_600
GFLOP = 148.8 + 1.42  # of a clip: encoder and back end, a multiplication and an addition counted as two


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cpu")
    options.add_argument("--repetitions", type=int, default=5)
    options.add_argument("--small", action="store_true", help="two layers instead of 24: whether the script runs at all")
    options.add_argument("--compiled", action="store_true", help="time torch.compile of the encoder as well (CPU)")
    options.add_argument("--weights", help="a real checkpoint, for the difference in EER between precisions")
    options.add_argument("--heads", type=int, help="attention heads of that checkpoint's encoder, if not 16")
    options.add_argument("--corpus", default="builtin", help="labelled corpus for that difference")
    options.add_argument("--root", type=Path)
    options.add_argument("--protocol", default="eval")
    options.add_argument("--limit", type=int, default=200)
    chosen = options.parse_args()
    if chosen.weights:
        error_rates(chosen)
        return
    sizes = Sizes(layers=2, dim=64, inner=128, heads=4, channels=(32,) * 7) if chosen.small else XLSR_300M
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "random.pth"
        torch.save(random_state(sizes), path)
        (on_cpu if chosen.device == "cpu" else on_cuda)(path, sizes, chosen)


def random_state(sizes: Sizes) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {f"ssl_model.model.{name}": shape for name, shape in fairseq_shapes(sizes, pretraining={})}
    state = {}
    for name, shape in (shapes | dict(back_end_shapes(sizes.dim))).items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif name.endswith("running_var"):
            state[name] = noise.abs() + 0.5
        elif len(shape) > 1 and not name.startswith(("pos_S", "master")):
            state[name] = noise * max(1, noise[0].numel() if noise[0].numel() > 1 else len(noise)) ** -0.5  # keeps variance
        else:
            is_scale = name.endswith("weight") or name.endswith("weight_g")
            state[name] = noise * 0.1 + 1.0 if is_scale else noise * 0.1
    return state


def published(path: Path, sizes: Sizes, attention: str, *, compiled: bool = False) -> Callable[[torch.Tensor], torch.Tensor]:
    """The encoder as transformers computes it, and the back end op for op as its authors wrote it."""
    state = torch.load(path, weights_only=True, mmap=True)
    prefix = "ssl_model.model."
    encoder = build_encoder(
        remap({name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}),
        sizes,
        attention=attention,
    )
    if compiled:
        encoder = torch.compile(encoder, dynamic=False)
    back_end = EagerBackEnd(sizes.dim)
    back_end.load_state_dict({name: value for name, value in state.items() if not name.startswith(prefix)}, strict=True)
    back_end.eval()
    return lambda audio: back_end(encoder(audio).last_hidden_state)[1]


def on_cpu(path: Path, sizes: Sizes, chosen: argparse.Namespace) -> None:
    clips = list(np.random.default_rng(0).normal(0, 0.1, (4, SAMPLES)).astype(np.float32))
    heads = {"heads": sizes.heads}
    ours = {"float32": build_detector("ssl_aasist", str(path), **heads)}
    if linear.can_quantise():
        ours["int8"] = build_detector("ssl_aasist", str(path), precision="int8", **heads)
    if linear.has_bfloat16():
        ours["bfloat16"] = build_detector("ssl_aasist", str(path), precision="bfloat16", **heads)
    theirs = {attention: published(path, sizes, attention) for attention in ("eager", "sdpa")}
    if chosen.compiled:
        theirs["compiled"] = published(path, sizes, "sdpa", compiled=True)
    gflop = GFLOP if sizes == XLSR_300M else float("nan")
    print(
        f"{sizes.layers} layers of {sizes.dim}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}; seconds a clip, best of {chosen.repetitions}"
    )
    for size in (1, 4):
        batch = clips[:size]

        def forward(network: Callable[[torch.Tensor], torch.Tensor], batch: list[np.ndarray] = batch) -> np.ndarray:
            with torch.inference_mode():
                return network(torch.from_numpy(np.stack(batch))).numpy()

        runs: dict[str, Callable[[], Any]] = {
            name: lambda network=network: forward(network) for name, network in theirs.items()
        }
        runs |= {name: lambda detector=detector, batch=batch: detector.logits(batch) for name, detector in ours.items()}
        answers = {name: run() for name, run in runs.items()}
        seconds = {name: float("inf") for name in runs}
        for _ in range(chosen.repetitions):
            for name, run in runs.items():
                seconds[name] = min(seconds[name], timed(run) / size)
        peer = min(seconds["eager"], seconds["sdpa"])
        print(f"batch {size}: published {', '.join(f'{name} {seconds[name]:.3f}' for name in theirs)}")
        for name in ours:
            apart = np.abs(answers[name] - answers["eager"]).max()
            print(
                f"  ours {name:9s} {seconds[name]:.3f}  ratio {peer / seconds[name]:.2f} to the faster published, "
                f"{seconds['float32'] / seconds[name]:.2f} to our float32; {gflop / seconds[name]:.0f} GFLOP/s; logits differ by {apart:.1e} of "
                f"{np.ptp(answers['eager']):.1e}"
            )
    for precision in ours:
        batches = (1,) if chosen.small else (1, 4, 16)
        peaks = [peak_gib(path, sizes, precision, size) for size in batches]
        print(
            f"peak memory of a process, {precision}, batch {', '.join(map(str, batches))}: {', '.join(f'{peak:.2f}' for peak in peaks)} GiB"
        )


def peak_gib(path: Path, sizes: Sizes, precision: str, batch_size: int) -> float:
    """Peak resident memory of a process that loads the detector and scores two batches (Linux), pages of the checkpoint included."""
    program = (
        "import sys, numpy as np\n"
        "from spoofscope.detectors import build_detector\n"
        "path, precision, heads, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])\n"
        "detector = build_detector('ssl_aasist', path, precision=precision, heads=heads)\n"
        "batch = list(np.random.default_rng(0).normal(0, 0.1, (size, 64_600)).astype(np.float32))\n"
        "detector.score(batch), detector.score(batch)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    arguments = [sys.executable, "-c", program, str(path), precision, str(sizes.heads), str(batch_size)]
    # Not `ru_maxrss`: a child begins with the peak of the process that it was forked from.
    return float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout) / 2**20


def on_cuda(path: Path, sizes: Sizes, chosen: argparse.Namespace) -> None:
    detector = build_detector("ssl_aasist", str(path), device=chosen.device, heads=sizes.heads)
    rate = matrix_rate(chosen.device)
    print(
        f"{torch.cuda.get_device_name(chosen.device)}, PyTorch {torch.__version__}; matrix rate measured in bfloat16: {rate:.0f} TFLOP/s"
    )
    for size in (64, 128, 256):
        torch.cuda.reset_peak_memory_stats()
        audio = torch.randn(size, SAMPLES, device=chosen.device) * 0.1

        def bare(audio: torch.Tensor = audio) -> None:
            with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
                detector._encoder(audio)
            torch.cuda.synchronize()

        batch = list(audio.cpu().numpy())
        bare(), detector.score(batch)
        encoder = min(timed(bare) for _ in range(chosen.repetitions)) / size
        scored = min(timed(lambda batch=batch: detector.score(batch)) for _ in range(chosen.repetitions)) / size
        memory = torch.cuda.max_memory_allocated() / 2**30
        print(
            f"batch {size}: bare encoder {1 / encoder:.0f} clips/s ({148.8e-3 / encoder / rate:.0%} of the matrix rate), "
            f"scored from memory {1 / scored:.0f} clips/s, peak {memory:.1f} GiB"
        )
        for name in ("clean", "mp3(32)"):
            through = pipeline(detector, size, name)
            print(
                f"  through the whole pipeline, {name}: {1 / through:.0f} clips/s, {encoder / through:.0%} of the bare encoder"
            )


def matrix_rate(device: str, size: int = 8192) -> float:
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))

    def multiply() -> None:
        for _ in range(10):
            left @ right
        torch.cuda.synchronize()

    multiply()
    return 10 * 2 * size**3 / min(timed(multiply) for _ in range(5)) / 1e12


def pipeline(detector: Any, batch_size: int, condition: str, count: int = 2048) -> float:
    """Seconds a clip of the whole loop, the first batch (which starts the workers) left out by a warm-up run."""
    from benchmarks.loop import trials

    with tempfile.TemporaryDirectory() as name, open_executor("local", workers=-1) as executor:
        folder = Path(name)
        for round_, size in enumerate((batch_size, count)):
            listed = trials(folder, size, seconds=4.5, files=256)
            seconds = timed(
                lambda listed=listed, round_=round_: score_trials(
                    detector,
                    listed,
                    parse_condition(condition),
                    folder / f"scores{round_}",
                    executor=executor,
                    batch_size=batch_size,
                )
            )
    return seconds / count


def error_rates(chosen: argparse.Namespace) -> None:
    from spoofscope.audit import open_corpus

    corpus, settings = open_corpus(chosen.corpus)
    listed = corpus.trials(chosen.protocol, root=chosen.root, **settings)
    listed = listed.subset(chosen.limit) if chosen.limit and chosen.limit < len(listed) else listed
    precisions = ("float32", "bfloat16") if chosen.device != "cpu" else ("float32", "int8")
    print(f"{chosen.weights} on {listed.describe()}; 95 % intervals over speakers and attacks")
    pairs = []
    with tempfile.TemporaryDirectory() as name, open_executor("local", workers=1) as executor:
        for precision in precisions:
            detector = build_detector(
                "ssl_aasist", chosen.weights, heads=chosen.heads, device=chosen.device, precision=precision
            )
            scores = score_trials(detector, listed, parse_condition("clean"), Path(name) / precision, executor=executor)
            frame = scores.scored().frame
            clusters = cluster_rows(frame, ("speaker", "attack"))
            pairs.append(pair_of(frame))
            found = bootstrap("eer", *pairs[-1], clusters, rng=np.random.default_rng(0))
            print(f"{precision}: EER {100 * found.value:.2f} % ({100 * found.low:.2f} to {100 * found.high:.2f})")
    apart = bootstrap_difference("eer", *pairs, clusters, rng=np.random.default_rng(0))
    print(f"difference, paired: {100 * apart.value:+.2f} points ({100 * apart.low:+.2f} to {100 * apart.high:+.2f})")


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
