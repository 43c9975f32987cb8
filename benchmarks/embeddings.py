"""Embeddings: recordings a second on a CPU, and opening a stored layer against reading it: `python -m benchmarks.embeddings`.

Each embedder is timed on 4.04 s clips in memory; the ratio is to real time. Opening is of a layer of 150,000 x 1,024 float16 numbers; the ratio is to
reading it whole. With recordings in ../shared, twelve of them are embedded again under each condition of `--store RUN` and compared with what that run stored.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from spoofscope.audio import BASELINE_WINDOW_S, SAMPLE_RATE
from spoofscope.audit import Audit, open_embedder
from spoofscope.embeddings import layer_file, open_embeddings
from spoofscope.errors import SpoofscopeError
from spoofscope.recipe import read_recipe
from spoofscope.run import Plan, prepare

ROWS, DIM, CLIPS = 150_000, 1_024, 32


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repetitions", type=int, default=3)
    options.add_argument("--store", type=Path, help="a run folder with embeddings, to compare with embedding anew")
    chosen = options.parse_args()
    if chosen.store:
        compare(chosen.store)
        return
    speed(chosen.repetitions)
    opening(chosen.repetitions)


def speed(repetitions: int) -> None:
    clips = list(np.random.default_rng(0).normal(0, 0.1, (CLIPS, round(BASELINE_WINDOW_S * SAMPLE_RATE))).astype(np.float32))
    for name in ("spectral", "google_speech_embedding", "aasist.la19"):
        try:
            embedder = open_embedder(name)
        except SpoofscopeError as error:
            print(f"{name}: skipped ({error})")
            continue
        embedder.embed(clips[:2])
        seconds = best(lambda embedder=embedder: embedder.embed(clips), repetitions) / CLIPS
        print(f"{name:24s} {1 / seconds:7.1f} recordings/s, {BASELINE_WINDOW_S / seconds:7.0f} times real time")


def opening(repetitions: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, at = Path(name), pl.int_range(ROWS)
        columns = {
            "trial_id": pl.format("LA_E_{}", at),
            "attack": pl.format("A{}", at % 13),
            "speaker": pl.format("s{}", at % 67),
        }
        pl.select(**columns, status=pl.lit("ok"), label=pl.lit("spoof")).write_parquet(folder / "ids.parquet")
        (folder / "key.json").write_text('{"layers": ["9"]}', encoding="utf-8")
        np.save(layer_file(folder, "9"), np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float16))
        opened = best(lambda: open_embeddings(folder), repetitions)
        read = best(lambda: np.load(layer_file(folder, "9")), repetitions)
        print(
            f"opening {ROWS:,} x {DIM:,}: {1e3 * opened:.1f} ms, {read / opened:.0f} times faster than reading it ({1e3 * read:.0f} ms)"
        )


def compare(run: Path, count: int = 12) -> None:
    """Print how far stored vectors are from vectors made anew, as a share of the largest number."""
    audit = Audit(read_recipe(run / "recipe.toml", {"out": str(run)}))
    trials, recipe = audit.data.trials, audit.recipe
    rows = np.sort(np.random.default_rng(0).choice(len(trials), count, replace=False))
    for name, embedder in audit.embedders.items():
        for condition in (one for one in audit.conditions if one.windows is None):
            plan = Plan(condition, embedder.card, recipe.seed, recipe.max_duration_s)
            prepared = prepare(plan, [(trials.ids[row], trials.paths[row]) for row in rows])
            anew = np.concatenate([embedder.embed(trial.stretches) for trial in prepared])
            stored = audit.embeddings(name, condition)
            kept = np.stack([stored.vectors(layer, rows) for layer in stored.layers], axis=1)
            print(f"{name}, {condition.label}: {np.abs(kept - anew).max() / np.abs(anew).max():.1e} of the largest number")


def best(run: Callable[[], object], repetitions: int) -> float:
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
