"""Errors of detectors that were trained several times, resampled together: speakers and seeds, drawn once for all of them.

Conventions
-----------
An error has a matrix of values, (seeds, 1 + replicates): the first column is the estimate, each other one the same error with the
speakers of one resample. All errors of one `Paired` are weighed by the same draws, so sums and differences of their matrices are
paired. `over_seeds` then averages over trainings; in each replicate the seeds are drawn with replacement too, so that an interval
covers chance in training as well as in the choice of speakers. With few seeds it covers the former poorly: n seeds
show (n - 1) / n of its variance.

References
----------
B. Efron, R. Tibshirani: An Introduction to the Bootstrap. 1993, sections 8.3, 13.3 (percentile intervals), 16.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.retraining.plan import Direction, Measure
from spoofscope.metrics.clusters import Cells, Clusters, clusters_of, draw_weights
from spoofscope.metrics.intervals import METRICS
from spoofscope.metrics.resampled import MOST_ENTRIES
from spoofscope.trials import BONAFIDE

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Interval(NamedTuple):
    """An estimate with its percentile interval; `nan` where it does not exist."""

    value: float
    low: float
    high: float


class Paired:
    """The draws that every error of one test set shares.

    Parameters
    ----------
    frame : polars.DataFrame
        The test trials, with `label` and `speaker`; a trial without a speaker is a cluster of its own.
    seeds : int
        How often each detector was trained.
    replicates, level : int, float
        Resamples, and coverage of the intervals.
    seed : int
        Seed of the draws.
    """

    def __init__(self, frame: pl.DataFrame, *, seeds: int, replicates: int, level: float, seed: int = 0) -> None:
        self.is_bonafide = (frame["label"] == BONAFIDE).to_numpy()
        sides = (frame.filter(self.is_bonafide), frame.filter(~self.is_bonafide))
        bonafide, spoof = ({"speaker": side["speaker"].to_list()} for side in sides)
        self.clusters = clusters_of(bonafide, spoof)
        self.replicates, self.level, self.seed = replicates, level, seed
        drawn = np.random.default_rng([seed, 1]).integers(seeds, size=(replicates, seeds))
        counts = (drawn[:, :, None] == np.arange(seeds)).sum(axis=1)
        self.seed_weights = np.concatenate([np.ones((1, seeds)), counts]).T / seeds

    def errors(self, measure: Measure, scores: Values, spoof: Mask) -> Values:
        """Measure each training on all bona fide and some spoof trials.

        Parameters
        ----------
        measure : {"eer", "auc"}
            Equal error rate, or 1 - area under the ROC curve: both fall as a detector gets better.
        scores : (seeds, n) float array
            Scores of all trials, one row for each training.
        spoof : (n,) bool array
            The spoof trials that count.

        Returns
        -------
        (seeds, 1 + replicates) float array
        """
        rows = spoof[~self.is_bonafide]
        (factor,) = self.clusters.factors
        assert factor.spoof is not None
        plan = Clusters((replace(factor, spoof=factor.spoof[rows]),), self.clusters.n_bonafide, int(rows.sum()))
        cells = Cells(plan, "bonafide"), Cells(plan, "spoof")
        evaluators = [METRICS[measure].prepare(row[self.is_bonafide], row[spoof], cells) for row in scores]
        at_once = max(1, MOST_ENTRIES // (factor.size + len(cells[0]) + len(cells[1])))
        rng = np.random.default_rng([self.seed, 0])
        values = [[evaluate(*(np.ones((1, len(cell))) for cell in cells)) for evaluate in evaluators]]
        for start in range(0, self.replicates, at_once):
            drawn = draw_weights(plan, min(at_once, self.replicates - start), rng)
            weights = [cell.weights(drawn) for cell in cells]
            values.append([evaluate(*weights) for evaluate in evaluators])
        found = np.concatenate([np.array(part) for part in values], axis=1)
        return 1 - found if measure == "auc" else found

    def over_seeds(self, values: Values) -> Values:
        """Average a matrix of errors, or of their differences, over trainings: (1 + replicates,)."""
        return np.asarray((self.seed_weights * values).sum(axis=0))

    def interval(self, values: Values) -> Interval:
        """Read the estimate and its interval off (1 + replicates,) values; without an interval if no resample moves it."""
        known = values[1:][~np.isnan(values[1:])]
        if len(known) == 0 or (known == values[0]).all():
            return Interval(float(values[0]), np.nan, np.nan)
        low, high = np.quantile(known, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Interval(float(values[0]), float(low), float(high))


def laid_out(name: str, interval: Interval) -> dict[str, float]:
    """Lay an estimate out as three columns of a table."""
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def chance(values: Values, direction: Direction, sides: int) -> float:
    """Give the bootstrap p-value of a difference that is expected below 0 (`narrows`) or above (`widens`).

    One-sided, `p = (1 + resamples on the other side of 0 or on it) / (1 + resamples)`: the coverage at which the percentile interval
    would just touch 0. Two-sided, twice the smaller of the two, at most 1.
    """
    known = values[1:][~np.isnan(values[1:])]
    below, above = ((1 + np.count_nonzero(beyond)) / (1 + len(known)) for beyond in (known >= 0, known <= 0))
    if sides == 2:
        return float(min(1.0, 2 * min(below, above)))
    return float(below if direction == "narrows" else above)


def holm(chances: Values) -> Values:
    """Adjust p-values for their number by Holm's step-down method: (n,) in, (n,) out, in the same order.

    References
    ----------
    S. Holm: A Simple Sequentially Rejective Multiple Test Procedure. Scandinavian Journal of Statistics 6, 1979.
    """
    order = np.argsort(chances, kind="stable")
    adjusted = np.empty(len(chances))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(chances[order] * np.arange(len(chances), 0, -1)))
    return adjusted
