"""The scores of one detector under one condition, what was frozen before, and the rows of tables made from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.transfer import Calibration, OperatingPoint
from spoofscope.degradations.conditions import CLEAN, Condition
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics import Estimate
from spoofscope.metrics.clusters import Clusters, clusters_of
from spoofscope.metrics.intervals import ScorePair
from spoofscope.metrics.rates import Rates
from spoofscope.scores import OK
from spoofscope.trials import BONAFIDE


class Resampling(TypedDict):
    """How intervals are made."""

    replicates: int
    level: float


@dataclass(frozen=True)
class Cell:
    """The scores of one detector under one condition."""

    detector: str
    condition: Condition
    frame: pl.DataFrame
    columns: tuple[str, ...]

    @cached_property
    def scored(self) -> pl.DataFrame:
        """The rows that have a score."""
        return self.frame.filter(pl.col("status") == OK)

    @cached_property
    def pair(self) -> ScorePair:
        """Scores of both classes."""
        return pair_of(self.scored)

    @cached_property
    def clusters(self) -> Clusters | None:
        """What to resample whole, or None where the trials carry no cluster column."""
        return cluster_rows(self.scored, self.columns)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was done to the audio."""
        return self.condition == CLEAN


@dataclass(frozen=True)
class Frozen:
    """What was settled on the development trials of one detector before anything was evaluated."""

    thresholds: dict[OperatingPoint, float]
    rates: dict[OperatingPoint, Rates]
    calibration: Calibration
    held_out: NDArray[np.str_] | None
    source: str
    n_bonafide: int
    n_spoof: int


def cluster_rows(frame: pl.DataFrame, columns: Sequence[str]) -> Clusters | None:
    """Cluster scored trials by those of `columns` that they carry; the attack concerns spoof trials alone."""
    present = [column for column in columns if column in frame.columns and frame[column].null_count() < frame.height]
    both = [column for column in present if column != "attack"]
    if not both:
        return None
    bonafide, spoof = frame.filter(pl.col("label") == BONAFIDE), frame.filter(pl.col("label") != BONAFIDE)
    if not (bonafide.height and spoof.height):
        return None
    return clusters_of(
        {column: bonafide[column].to_list() for column in both}, {column: spoof[column].to_list() for column in present}
    )


def pair_of(frame: pl.DataFrame) -> ScorePair:
    """Return the scores of both classes."""
    bonafide = frame["label"] == BONAFIDE
    return ScorePair(frame.filter(bonafide)["score"].to_numpy(), frame.filter(~bonafide)["score"].to_numpy())


def words_of(frame: pl.DataFrame, column: str) -> NDArray[np.object_]:
    """Return a column as texts, None where it is null."""
    words: NDArray[np.object_] = frame[column].cast(pl.String).to_numpy()
    return words


def names_of(cell: Cell) -> dict[str, Any]:
    """Begin the row of a table."""
    return {"detector": cell.detector, "condition": cell.condition.name}


def with_interval(name: str, estimate: Estimate) -> dict[str, Any]:
    """Lay an estimate out as three columns."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def plain(metric: Callable[..., float], cell: Cell) -> float:
    """Return a metric without interval; `nan` where a class is empty."""
    try:
        return float(metric(*cell.pair))
    except NotEnoughTrials:
        return math.nan


def blank(value: Any) -> Any:
    """Turn `nan` into the empty cell that stands for it in a table."""
    return None if isinstance(value, float) and math.isnan(value) else value
