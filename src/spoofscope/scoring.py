"""A detector's scores under one condition: one float per trial, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.cards import identity
from spoofscope.degradations.conditions import Condition
from spoofscope.detectors import Detector
from spoofscope.errors import PluginError, RunFolderError
from spoofscope.executors import Executor
from spoofscope.run import (
    MEASURED,
    Answer,
    OnProgress,
    Plan,
    Prepared,
    begin,
    best_of,
    end,
    finished,
    keep,
    measured_columns,
    work_through,
)
from spoofscope.scores import OK, Scores
from spoofscope.storage import open_keyed, write_table
from spoofscope.trials import Trials
from spoofscope.windows import pool_scores

FORMAT = 1
TABLE = "scores.parquet"
PARTS_TOGETHER = 64
_SCHEMA: dict[str, Any] = {
    "trial_id": pl.String,
    "score": pl.Float32,
    "status": pl.String,
    "window_scores": pl.List(pl.Float32),
    "window_ends_s": pl.List(pl.Float32),
    **MEASURED,
}


def score_trials(
    detector: Detector,
    trials: Trials,
    condition: Condition,
    parent: Path,
    *,
    executor: Executor,
    seed: int = 0,
    batch_size: int = 16,
    max_duration_s: float = 600.0,
    on_progress: OnProgress = lambda done: None,
) -> Scores:
    """Score every trial under one condition, continuing whatever its folder already holds.

    Parameters
    ----------
    parent : Path
        The scores of this detector; each condition has a folder in it, named after the condition and its key.
    on_progress : callable
        Called with the number of trials finished since the last call.

    Returns
    -------
    Scores
        In the order of the trials; those that could not be read or scored carry the reason.

    Raises
    ------
    RunFolderError
        If the folder cannot be written; what was finished before is kept.
    """
    key = score_key(detector, trials, condition, seed=seed, max_duration_s=max_duration_s)
    sink = _Scores(detector, condition, open_keyed(parent, condition.name, key))
    if hasattr(detector, "lookup"):
        _look_up(sink, trials, batch_size, on_progress)
    else:
        plan = Plan(condition, detector.card, seed, max_duration_s)
        work_through(sink, trials, plan, executor=executor, batch_size=batch_size, on_progress=on_progress)
    return read_scores(sink.folder, trials.name)


def score_key(detector: Detector, trials: Trials, condition: Condition, *, seed: int, max_duration_s: float) -> dict[str, Any]:
    """Return what makes a score the same score, as one JSON object."""
    return {
        "format": FORMAT,
        "trials": trials.digest(),
        "condition": condition.settings(),
        "detector": identity(detector),
        "seed": seed,
        "max_duration_s": max_duration_s,
    }


def read_scores(folder: Path, name: str) -> Scores:
    """Read the finished scores of one folder."""
    try:
        return Scores(pl.read_parquet(folder / TABLE), name)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunFolderError(
            f"no finished scores in {folder}. Run 'spoofscope score RECIPE' (or 'run') with the same recipe."
        ) from error


def _look_up(sink: _Scores, trials: Trials, batch_size: int, on_progress: OnProgress) -> None:
    """Take scores that were made elsewhere: there is no audio to prepare."""
    if sink.condition.chain or sink.condition.windows:
        raise PluginError(f"{sink.detector.card.name} has scores but no audio: it can only be evaluated under 'clean'")
    todo, parts = begin(sink, trials, on_progress), list[Path]()
    for rows in todo.iter_slices(batch_size):
        ids = rows["trial_id"].to_list()
        found = zip(ids, sink.detector.lookup(ids), strict=True)  # type: ignore[attr-defined]
        keep(sink, [sink.row(Prepared(trial_id, [], [], None, ""), [score]) for trial_id, score in found], parts)
        on_progress(len(ids))
    end(sink, trials, anew=todo.height > 0)


@dataclass(frozen=True)
class _Scores:
    """The sink of scores."""

    detector: Detector
    condition: Condition
    folder: Path
    table: str = TABLE

    @property
    def schema(self) -> Mapping[str, Any]:
        return _SCHEMA

    @property
    def parts_together(self) -> int:
        return PARTS_TOGETHER

    def ask(self, audio: list[Audio]) -> list[Answer]:
        scores = np.asarray(self.detector.score(audio))
        if scores.shape != (len(audio),):
            raise PluginError(
                f"{self.detector.card.name} answered {len(audio)} recordings with shape {scores.shape}; it must be ({len(audio)},)"
            )
        return [Answer(float(score), "" if np.isfinite(score) else f"the detector answered {score}") for score in scores]

    def row(self, trial: Prepared, values: list[Any]) -> tuple[Any, ...]:
        scores: NDArray[np.float32] = np.asarray(values, dtype=np.float32)
        measured = measured_columns(trial.measured)
        if self.condition.windows is None:
            return (trial.trial_id, float(scores[0]), OK, None, None, *measured)
        pooled = float(pool_scores(scores, self.condition.windows.pool))
        return (trial.trial_id, pooled, OK, scores.tolist(), list(trial.ends_s), *measured)

    def failure(self, trial: Prepared, reason: str) -> tuple[Any, ...]:
        return (trial.trial_id, None, reason, None, None, *measured_columns(None))

    def finish(self, trials: Trials, parts: Sequence[Path]) -> None:
        rows = best_of(finished(self, tuple(_SCHEMA)))
        table = trials.frame.drop("path").join(rows, on="trial_id", how="left", maintain_order="left")
        first = ["trial_id", "score", "status"]
        write_table(table.select(*first, pl.exclude(first)), self.folder / TABLE)
