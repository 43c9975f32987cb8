"""The scoring loop: its throughput against a bare forward loop over ready tensors, and its memory against the size of the corpus.

    python -m benchmarks.loop

Prints two ratios. Throughput: aasist.la19 through the whole loop (decode, batch, write; then with MP3 in between) against
`detector.score` over arrays in memory, in the same process and with the same batch; the aim is at least 0.95 on clean. It
needs the weights (SPOOFSCOPE_WEIGHTS) and skips, saying so, without. Memory: peak resident memory of a run, this process and
its workers, over 20,000 trials against 1,000; the aim is at most 1.10.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from spoofscope.degradations.conditions import parse_condition
from spoofscope.detectors import Card, build_detector
from spoofscope.errors import SpoofscopeError
from spoofscope.executors import open_executor
from spoofscope.scoring import score_trials
from spoofscope.trials import Trials

CLIPS, BATCH, ROUNDS = 32, 16, 3


def trials(folder: Path, count: int, *, seconds: float, files: int) -> Trials:
    rng = np.random.default_rng(0)
    for number in range(files):
        path = folder / f"{number}.flac"
        if not path.exists():
            soundfile.write(path, 0.1 * rng.standard_normal(round(seconds * 16_000)), 16_000)
    at = pl.int_range(count, eager=True)
    columns = {"trial_id": pl.format("t{}", at), "path": pl.format("{}.flac", at % files)}
    labels = pl.when(at % 2 == 0).then(pl.lit("spoof")).otherwise(pl.lit("bonafide"))
    return Trials(pl.select(**columns, label=labels), folder, "benchmark")


def throughput(folder: Path) -> None:
    try:
        detector = build_detector("aasist.la19")
    except SpoofscopeError as error:
        print(f"throughput: skipped ({error})")
        return
    listed = trials(folder, CLIPS, seconds=4.5, files=CLIPS)
    ready = [detector.card.fit(soundfile.read(path, dtype="float32")[0]) for path in listed.paths]
    detector.score(ready[:BATCH])
    seconds: dict[str, list[float]] = {"bare": [], "clean": [], "mp3(32)": []}
    with open_executor("local", workers=1) as executor:
        for attempt in range(ROUNDS + 1):
            start = time.perf_counter()
            for at in range(0, CLIPS, BATCH):
                detector.score(ready[at : at + BATCH])
            seconds["bare"].append(time.perf_counter() - start)
            for name in ("clean", "mp3(32)"):
                start = time.perf_counter()
                parent = folder / f"scores-{attempt}-{name}"
                score_trials(detector, listed, parse_condition(name), parent, executor=executor, batch_size=BATCH)
                seconds[name].append(time.perf_counter() - start)
    best = {name: min(times[1:]) for name, times in seconds.items()}  # the first round starts the workers
    print(f"bare forward loop: {CLIPS / best['bare']:.2f} clips/s")
    for name in ("clean", "mp3(32)"):
        print(f"through the loop, {name}: {CLIPS / best[name]:.2f} clips/s, ratio to bare {best['bare'] / best[name]:.3f}")


class Mean:
    card = Card(name="mean", licence="")

    def score(self, batch: list[np.ndarray]) -> np.ndarray:
        return np.array([audio.mean() for audio in batch], dtype=np.float32)


def peak_mib(count: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed = trials(folder, count, seconds=1.0, files=50)
        with open_executor("local", workers=1) as executor:
            score_trials(Mean(), listed, parse_condition("clean"), folder / "scores", executor=executor, batch_size=64)  # type: ignore[arg-type]
        own, workers = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + workers) / 1024


def memory() -> None:
    peaks = {}
    for count in (1_000, 20_000):
        done = subprocess.run([sys.executable, __file__, str(count)], capture_output=True, text=True, check=True)
        peaks[count] = float(done.stdout)
        print(f"peak memory over {count:,} trials: {peaks[count]:.0f} MiB")
    print(f"memory, 20,000 against 1,000 trials: ratio {peaks[20_000] / peaks[1_000]:.3f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(peak_mib(int(sys.argv[1])))
    else:
        memory()  # first: a child begins with the peak of the process that it was forked from
        with tempfile.TemporaryDirectory() as name:
            throughput(Path(name))
