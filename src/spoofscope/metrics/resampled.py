"""Metrics under many sets of weights at once: the scores are sorted once, and only the weights change.

Conventions
-----------
Weights come per cell of a class (`clusters.Cells`), as (replicates, cells) arrays; every evaluator answers with (replicates,)
values, `nan` where a class it needs has no weight. Sums of whole weights are exact in float64, so the fast equal error rate is
the same number as the slow one, not an approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spoofscope.metrics.clusters import Cells, Codes
from spoofscope.metrics.rates import Floats, Tally

TRIALS_PER_BIN = 32
MOST_BINS = 512
MOST_ENTRIES = 4_000_000


class Evaluator(Protocol):
    """One metric of one set of scores, ready to be asked under many weights."""

    def __call__(self, bonafide: Floats, spoof: Floats) -> Floats:
        """Evaluate (replicates, cells) weights of each class."""
        ...


class MeanEvaluator:
    """A sum of class means: each trial contributes a number, and clusters need only their sums."""

    def __init__(self, bonafide: Floats | None, spoof: Floats | None, cells: tuple[Cells, Cells]) -> None:
        self.sums = [
            None
            if values is None
            else (np.bincount(cell.index, values, len(cell)), np.bincount(cell.index, minlength=len(cell)))
            for values, cell in zip((bonafide, spoof), cells, strict=True)
        ]

    def __call__(self, bonafide: Floats, spoof: Floats) -> Floats:
        """Add the weighted means of the classes."""
        total = np.zeros(len(bonafide))
        for weights, sums in zip((bonafide, spoof), self.sums, strict=True):
            if sums is not None:
                weight = weights @ sums[1]
                total += np.divide(weights @ sums[0], weight, out=np.full(len(weight), np.nan), where=weight > 0)
        return total


class TallyEvaluator:
    """A metric of a tally, one replicate after another.

    Neighbouring scores that only one class has are merged into one entry of the tally, which keeps every corner of the rate
    curves, and with them any area, minimum cost or isotonic fit. A merged entry carries its lowest score.
    """

    def __init__(self, metric: Callable[[Tally], float], bonafide: Floats, spoof: Floats, cells: tuple[Cells, Cells]) -> None:
        self.metric = metric
        score, place = np.unique(np.concatenate((bonafide, spoof)), return_inverse=True)
        parts = np.split(place, [len(bonafide)])
        has_bonafide, has_spoof = (np.bincount(part, minlength=len(score)) > 0 for part in parts)
        starts = np.ones(len(score), dtype=bool)
        starts[1:] = (
            (has_bonafide & has_spoof)[1:] | (has_bonafide[1:] != has_bonafide[:-1]) | (has_spoof[1:] != has_spoof[:-1])
        )
        self.score = score[starts]
        run = np.cumsum(starts) - 1
        self.entries = [self._entries(run[part], cell) for part, cell in zip(parts, cells, strict=True)]

    def __call__(self, bonafide: Floats, spoof: Floats) -> Floats:
        """Tally and evaluate each row of weights."""
        return np.array([self.metric(self._tally(row)) for row in zip(bonafide, spoof, strict=True)])

    def _entries(self, run: Codes, cells: Cells) -> tuple[Codes, Codes, Codes]:
        """Count the trials of each cell at each entry of the tally."""
        joint, counts = np.unique(run * len(cells) + cells.index, return_counts=True)
        return joint // len(cells), joint % len(cells), counts

    def _tally(self, weights: tuple[Floats, Floats]) -> Tally:
        first, second = (
            np.bincount(run, weight[cell] * counts, len(self.score)).astype(np.float64, copy=False)
            for (run, cell, counts), weight in zip(self.entries, weights, strict=True)
        )
        return Tally(self.score, first, second)


class _Side:
    """One class in order of its scores, cut into the bins of both classes."""

    def __init__(self, place: Codes, cells: Cells, bin_of_score: Codes) -> None:
        order = np.argsort(place, kind="stable")
        self.place, self.cell = place[order], cells.index[order]
        self.bin = bin_of_score[self.place]
        self.bins = int(bin_of_score[-1]) + 1
        self.edges = np.searchsorted(self.bin, np.arange(self.bins + 1))
        self.cumulative: Floats | None = None
        if len(cells) * self.bins <= MOST_ENTRIES:
            counts = np.bincount(self.cell * self.bins + self.bin, minlength=len(cells) * self.bins)
            self.cumulative = counts.reshape(len(cells), self.bins).cumsum(axis=1).astype(np.float64)

    def below(self, weights: Floats) -> Floats:
        """Weight at or below each bin: (replicates, bins)."""
        if self.cumulative is not None:
            return weights @ self.cumulative
        binned = [np.bincount(self.bin, row[self.cell], self.bins) for row in weights]
        return np.cumsum(binned, axis=1, dtype=np.float64)

    def inside(self, at: int) -> slice:
        """The trials of one bin."""
        return slice(int(self.edges[at]), int(self.edges[at + 1]))


class CrossingEvaluator:
    """The equal error rate and its threshold, by bracketing.

    Trials are cut into bins of neighbouring scores, ties never parted. One matrix product gives every replicate's rates at the
    edges of all bins; the crossing lies in one bin, and only the trials of that bin are then looked at.
    """

    def __init__(self, bonafide: Floats, spoof: Floats, cells: tuple[Cells, Cells]) -> None:
        self.score, place = np.unique(np.concatenate((bonafide, spoof)), return_inverse=True)
        counts = np.bincount(place)
        bins = min(max(len(place) // TRIALS_PER_BIN, 1), MOST_BINS)
        rough = (np.cumsum(counts) - counts) * bins // len(place)
        self.bin_of_score = np.unique(rough, return_inverse=True)[1]
        parts = np.split(place, [len(bonafide)])
        self.sides = [_Side(part, cell, self.bin_of_score) for part, cell in zip(parts, cells, strict=True)]

    def __call__(self, bonafide: Floats, spoof: Floats) -> Floats:
        """Give the equal error rate under each row of weights."""
        return self.solve(bonafide, spoof)[0]

    def solve(self, bonafide: Floats, spoof: Floats) -> tuple[Floats, Floats]:
        """Give the equal error rate and its threshold under each row of cell weights."""
        weights = (bonafide, spoof)
        below = [side.below(weight) for side, weight in zip(self.sides, weights, strict=True)]

        def weigh(label: int, rows: Codes, at: int) -> Floats:
            side = self.sides[label]
            return weights[label][rows][:, side.cell[side.inside(at)]]

        return self._cross(below[0], below[1], weigh)

    def solve_iid(self, replicates: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Resample single trials: first how many fall in each bin, then, in the bin of the crossing alone, which ones."""
        drawn = [rng.multinomial(side.edges[-1], np.diff(side.edges) / side.edges[-1], size=replicates) for side in self.sides]

        def weigh(label: int, rows: Codes, at: int) -> Floats:
            inside = self.sides[label].inside(at)
            size = inside.stop - inside.start
            if size == 0:
                return np.zeros((len(rows), 0))
            return rng.multinomial(drawn[label][rows, at], np.full(size, 1 / size)).astype(np.float64)

        below = [np.cumsum(counts, axis=1, dtype=np.float64) for counts in drawn]
        return self._cross(below[0], below[1], weigh)

    def _cross(self, bonafide: Floats, spoof: Floats, weigh: Callable[[int, Codes, int], Floats]) -> tuple[Floats, Floats]:
        rates, thresholds = np.full((2, len(bonafide)), np.nan)
        everything = bonafide[:, -1] * spoof[:, -1]
        excess = bonafide * spoof[:, -1:] + spoof * bonafide[:, -1:] - everything[:, None]
        bracket = np.where(everything > 0, np.argmax(excess >= 0, axis=1), -1)
        for at in np.unique(bracket[bracket >= 0]).tolist():
            rows = np.flatnonzero(bracket == at)
            first = self._rejected(0, at, bonafide[rows], weigh(0, rows, at))
            second = self._rejected(1, at, spoof[rows], weigh(1, rows, at))
            rates[rows], nearest = _interpolate(first, second, bonafide[rows, -1], spoof[rows, -1])
            thresholds[rows] = self.score[np.searchsorted(self.bin_of_score, at) + nearest]
        return rates, thresholds

    def _rejected(self, label: int, at: int, below: Floats, weights: Floats) -> Floats:
        """Weight rejected before the bin, then after each distinct score inside it: (rows, scores + 1)."""
        side = self.sides[label]
        scores = np.arange(*np.searchsorted(self.bin_of_score, (at, at + 1)))
        ends = np.searchsorted(side.place[side.inside(at)], scores, side="right")
        running = np.cumsum(np.pad(weights, ((0, 0), (1, 0))), axis=1)[:, np.concatenate(([0], ends))]
        return running + below[:, at - 1 : at] if at else running


def _interpolate(bonafide: Floats, spoof: Floats, all_bonafide: Floats, all_spoof: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Find the crossing in each row of rejected weights, as `rates.crossing` does, and the place of the nearest threshold."""
    excess = bonafide * all_spoof[:, None] + spoof * all_bonafide[:, None] - (all_bonafide * all_spoof)[:, None]
    at = np.argmax(excess[:, 1:] >= 0, axis=1)
    rows = np.arange(len(at))
    before, after = excess[rows, at], excess[rows, at + 1]
    missed = bonafide[rows, at]
    step = bonafide[rows, at + 1] - missed
    return (missed + -before / (after - before) * step) / all_bonafide, at + (after < -before)
