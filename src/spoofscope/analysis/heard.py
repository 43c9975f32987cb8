"""Error against seconds heard: what a listener to a stream would have decided so far, from one pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.metrics.clusters import Clusters
from spoofscope.metrics.intervals import bootstrap
from spoofscope.metrics.rates import rates_at
from spoofscope.trials import BONAFIDE
from spoofscope.windows import Windows, running_scores

MOST_MOMENTS = 16


def heard_rows(
    frame: pl.DataFrame,
    windows: Windows,
    clusters: Clusters | None,
    *,
    threshold: float,
    seed: int,
    replicates: int,
    level: float,
) -> Iterator[dict[str, Any]]:
    """Give the error after each of at most sixteen moments at which a window ends.

    A trial that has ended keeps its last score, so every moment holds every trial; `n_listening` counts those that still
    gave new sound.

    Parameters
    ----------
    frame : polars.DataFrame
        Scored trials with `label`, `window_scores` and `window_ends_s`.
    threshold : float
        The frozen threshold that miss and false alarm are counted at.
    """
    scores = [running_scores(np.asarray(row, dtype=np.float32), windows.pool) for row in frame["window_scores"].to_list()]
    ends = [np.asarray(row) for row in frame["window_ends_s"].to_list()]
    bonafide = (frame["label"] == BONAFIDE).to_numpy()
    if not scores or bonafide.all() or not bonafide.any():
        return
    before = 0.0
    for moment in _moments(windows, max(float(end[-1]) for end in ends)):
        now = np.array([_as_of(score, end, moment) for score, end in zip(scores, ends, strict=True)])
        pair = now[bonafide], now[~bonafide]
        settings = {"rng": np.random.default_rng(seed), "replicates": replicates, "level": level}
        error = bootstrap("eer", *pair, clusters, **settings)  # type: ignore[arg-type]
        rates = rates_at(*pair, threshold)
        yield {
            "seconds": moment,
            "eer": error.value,
            "eer_low": error.low,
            "eer_high": error.high,
            "miss": rates.miss,
            "false_alarm": rates.false_alarm,
            "n_listening": sum(float(end[-1]) > before + 1e-6 for end in ends),
        }
        before = moment


def _moments(windows: Windows, longest_s: float) -> list[float]:
    hop = windows.hop_s or windows.window_s
    count = max(1, int(np.ceil((longest_s - windows.window_s) / hop - 1e-6)) + 1)
    at = np.unique(np.round(np.geomspace(1, count, min(count, MOST_MOMENTS))).astype(int)) - 1
    return [round(windows.window_s + hop * int(step), 6) for step in at]


def _as_of(score: NDArray[np.float64], ends_s: NDArray[np.float64], moment_s: float) -> float:
    ended = int(np.searchsorted(ends_s, moment_s + 1e-4, side="right"))
    return float(score[max(ended, 1) - 1])
