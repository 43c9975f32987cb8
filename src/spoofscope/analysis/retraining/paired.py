"""Errors of detectors that were trained several times, resampled together: speakers and seeds, drawn once for all of them.

Conventions
-----------
An error has a matrix of values, (seeds, 1 + replicates): the first column is the estimate, each other one the same error with the
speakers of one resample. All errors of one `Paired` are weighed by the same draws, so sums and differences of their matrices are
paired. `over_seeds` then averages over trainings; in each replicate n - 1 of n seeds are drawn with replacement too, so that an
interval covers chance in training as well as in the choice of speakers. (Draws of n would show (n - 1) / n of the variance of
their mean: two thirds of it for three seeds.)

References
----------
B. Efron, R. Tibshirani: An Introduction to the Bootstrap. 1993, sections 8.3, 13.3 (percentile intervals), 16.
J. N. K. Rao, C. F. J. Wu: Resampling Inference with Complex Survey Data. JASA 83, 1988 (draws of n - 1).
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
        How often each detector was trained, at least twice.
    replicates, level : int, float
        Resamples, and coverage of the intervals.
    seed : int
        Seed of the draws.
    """

    def __init__(self, frame: pl.DataFrame, *, seeds: int, replicates: int, level: float, seed: int = 0) -> None:
        self.is_bonafide = (frame["label"] == BONAFIDE).to_numpy()
        bonafide, spoof = (frame["speaker"].filter(side).to_list() for side in (self.is_bonafide, ~self.is_bonafide))
        self.clusters = clusters_of({"speaker": bonafide}, {"speaker": spoof})
        (self.factor,) = self.clusters.factors
        self.replicates, self.level, self.seed = replicates, level, seed
        drawn = np.random.default_rng([seed, 1]).integers(seeds, size=(replicates, seeds - 1))
        shares = (drawn[:, :, None] == np.arange(seeds)).mean(axis=1)
        self.seed_weights = np.concatenate([np.full((1, seeds), 1 / seeds), shares]).T

    def alone(self, spoof: Mask) -> str:
        """Say why errors on some spoof trials have no interval: a class is of one speaker. Empty if they have one."""
        for label, cells in zip(("bona fide", "spoof"), self._cells(spoof), strict=True):
            if len(cells) < 2:
                return f"no interval: the {label} trials are of one speaker"
        return ""

    def _cells(self, spoof: Mask) -> tuple[Cells, Cells]:
        """Keep all bona fide and some spoof trials, and every speaker, so that whatever is measured has the same draws."""
        assert self.factor.spoof is not None
        factor = replace(self.factor, spoof=self.factor.spoof[spoof[~self.is_bonafide]])
        kept = Clusters((factor,), self.clusters.n_bonafide, int(spoof.sum()))
        return Cells(kept, "bonafide"), Cells(kept, "spoof")

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
            `nan` where a resample lacks a class, so in all of them if a class is `alone`.
        """
        cells = self._cells(spoof)
        evaluators = [METRICS[measure].prepare(row[self.is_bonafide], row[spoof], cells) for row in scores]
        at_once = max(1, MOST_ENTRIES // (self.factor.size + len(cells[0]) + len(cells[1])))
        rng = np.random.default_rng([self.seed, 0])
        values = [[evaluate(*(np.ones((1, len(cell))) for cell in cells)) for evaluate in evaluators]]
        for start in range(0, self.replicates, at_once):
            drawn = draw_weights(self.clusters, min(at_once, self.replicates - start), rng)
            weights = [cell.weights(drawn) for cell in cells]
            values.append([evaluate(*weights) for evaluate in evaluators])
        found = np.concatenate([np.array(part) for part in values], axis=1)
        if min(map(len, cells)) < 2:
            found[:, 1:] = np.nan
        return 1 - found if measure == "auc" else found

    def over_seeds(self, values: Values) -> Values:
        """Average a matrix of errors, or of their differences, over trainings: (1 + replicates,)."""
        return np.asarray((self.seed_weights * values).sum(axis=0))

    def interval(self, values: Values, *, paired: bool = True) -> Interval:
        """Read the estimate and its interval off (1 + replicates,) values.

        What no resample moves has an interval only if it is a paired difference: an error of 0 in every resample may be above 0.
        """
        known = values[1:][~np.isnan(values[1:])]
        if len(known) == 0 or (not paired and known.min() == known.max()):
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
