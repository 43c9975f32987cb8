"""One metric over groups of a score table: by any column, or by a crossing of two.

Conventions
-----------
A column that bona fide trials do not carry (every one of them is null or `-`, as with `attack`) groups spoof alone: each group is
that spoof against all bona fide trials. Any other column groups both classes: each group is compared within itself. In a
crossing the rule holds for each column by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import ScoresError
from spoofscope.metrics import Estimate
from spoofscope.metrics.clusters import Clusters, clusters_of
from spoofscope.metrics.intervals import Metric, MetricName, bootstrap, false_alarm_at, miss_at
from spoofscope.metrics.rates import FloatArray

Mask = NDArray[np.bool_]
Column = Sequence[str | None] | NDArray[np.generic]
MIN_COUNT = 20
NOT_CARRIED = (None, "-")


class BreakdownCell(NamedTuple):
    """One group: its estimate, and its two rates at the given threshold (`nan` where none was given)."""

    columns: str
    group: str
    n_bonafide: int
    n_spoof: int
    estimate: Estimate
    miss: Estimate
    false_alarm: Estimate
    threshold: float
    note: str


class _Group(NamedTuple):
    name: str
    bonafide: Mask
    spoof: Mask


def breakdown(
    columns: Mapping[str, Column],
    is_bonafide: Mask,
    scores: FloatArray,
    *,
    by: str | tuple[str, str],
    rng: np.random.Generator,
    metric: MetricName | Metric = "eer",
    cluster_by: Sequence[str] = ("speaker",),
    threshold: float | None = None,
    min_count: int = MIN_COUNT,
    replicates: int = 1000,
    level: float = 0.95,
) -> list[BreakdownCell]:
    """Break a metric down by one column or by a crossing of two.

    Parameters
    ----------
    columns : mapping of column name to (n,) values
        Texts or None, one per trial.
    is_bonafide : (n,) bool array
        True for bona fide trials.
    scores : (n,) float array
        Finite scores, higher meaning more bona fide.
    by : str or tuple of two str
        The column, or the two columns to cross.
    rng : numpy.random.Generator
        Source of the resamples.
    metric : str or Metric
        See `intervals.bootstrap`.
    cluster_by : sequence of str
        Columns that are resampled as a whole; one that bona fide trials do not carry concerns spoof alone. Empty: iid.
    threshold : float, optional
        Where miss and false alarm are measured, as frozen elsewhere.
    min_count : int
        Groups with fewer trials of either class than this have `nan` and a note that says so.
    replicates, level
        Of the intervals.

    Returns
    -------
    list of BreakdownCell
        In the order of the values; groups of a crossing are named `A07 x C2`.

    Raises
    ------
    ScoresError
        If a column is unknown, or its length is not that of the scores.
    """
    names = (by,) if isinstance(by, str) else by
    _check_columns(columns, (*names, *cluster_by), len(scores))
    scores, is_bonafide = np.asarray(scores, dtype=np.float64), np.asarray(is_bonafide, dtype=bool)
    clusters = _clusters(columns, cluster_by, is_bonafide) if cluster_by else None

    def estimate(what: MetricName | Metric | None, pair: tuple[FloatArray, FloatArray], kept: Clusters | None) -> Estimate:
        counts = (len(pair[0]), len(pair[1]))
        absent = "no threshold given" if what is None else _too_few(counts, min_count)
        if what is None or absent:
            return Estimate(np.nan, np.nan, np.nan, level, *counts, 0, absent)
        return bootstrap(what, *pair, kept, rng=rng, replicates=replicates, level=level)

    fixed = (None, None) if threshold is None else (miss_at(threshold), false_alarm_at(threshold))
    cells = []
    for group in _groups([columns[name] for name in names], is_bonafide):
        pair = (scores[is_bonafide][group.bonafide], scores[~is_bonafide][group.spoof])
        kept = None if clusters is None else clusters.take(group.bonafide, group.spoof)
        main, miss, false_alarm = (estimate(what, pair, kept) for what in (metric, *fixed))
        at = np.nan if threshold is None else threshold
        counts = (len(pair[0]), len(pair[1]))
        cells.append(BreakdownCell("*".join(names), group.name, *counts, main, miss, false_alarm, at, main.note))
    return cells


def _too_few(counts: tuple[int, int], min_count: int) -> str:
    """Say which class is too small; empty if none is. One trial of each class is always needed."""
    short = [f"{n} {label}" for n, label in zip(counts, ("bona fide", "spoof"), strict=True) if n < max(min_count, 1)]
    return f"only {' and '.join(short)} trials, fewer than {max(min_count, 1)}" if short else ""


def _check_columns(columns: Mapping[str, Column], names: Sequence[str], n_trials: int) -> None:
    for name in names:
        if name not in columns:
            raise ScoresError(f"cannot group by '{name}': the score table has {', '.join(columns)}")
        if len(columns[name]) != n_trials:
            raise ScoresError(f"column '{name}' has {len(columns[name])} values for {n_trials} scores")


def _clusters(columns: Mapping[str, Column], cluster_by: Sequence[str], is_bonafide: Mask) -> Clusters:
    bonafide, spoof = {}, {}
    for name in cluster_by:
        values = _values(columns[name])
        spoof[name] = values[~is_bonafide]
        if _is_carried(values[is_bonafide]) or name == cluster_by[0]:
            bonafide[name] = values[is_bonafide]
    return clusters_of(bonafide, spoof)


def _values(column: Column) -> NDArray[np.object_]:
    values = np.empty(len(column), dtype=object)
    values[:] = [None if value in NOT_CARRIED else value for value in np.asarray(column, dtype=object).tolist()]
    return values


def _is_carried(values: NDArray[np.object_]) -> bool:
    return any(value is not None for value in values)


def _groups(columns: Sequence[Column], is_bonafide: Mask) -> list[_Group]:
    """Name the trials of each combination of values that some trial carries in full."""
    groups = [_Group("", np.ones(int(is_bonafide.sum()), dtype=bool), np.ones(int((~is_bonafide).sum()), dtype=bool))]
    any_pooled = False
    for column in columns:
        values = _values(column)
        bonafide, spoof = values[is_bonafide], values[~is_bonafide]
        pooled = not _is_carried(bonafide)
        any_pooled |= pooled
        present = sorted({value for value in values if value is not None})
        groups = [
            _Group(
                f"{group.name} x {value}" if group.name else str(value),
                group.bonafide if pooled else group.bonafide & (bonafide == value),
                group.spoof & (spoof == value),
            )
            for group in groups
            for value in present
        ]
    return [group for group in groups if group.spoof.any() or (group.bonafide.any() and not any_pooled)]
