"""Conformal acceptance: let a chosen share of spoof through, by comparison with calibration spoof alone.

Conventions
-----------
A spoof trial is accepted where few calibration spoof scores lie above its own. With A the calibration weight above its score, T the weight
tied with it, W the whole weight and w its own, its p-value is

    p = (A + U (T + w)) / (W + w),      U uniform on (0, 1)

and it is accepted where p <= target. A trial that is exchangeable with the calibration trials (all weights 1), or that differs from them by a
covariate shift whose density ratio is the weight, is accepted with probability `target` exactly: for every sample size, and however many
scores are tied. `acceptance` is that probability over U given the scores, so no random number is drawn and a rate is a mean of it.

The plain rule, `score > conformal_threshold(...)`, accepts at most as often: less where scores are tied or (n + 1) target is not whole.

References
----------
Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", Springer 2005, section 2.2 (smoothed conformal predictors).
Tibshirani, Barber, Candès and Ramdas, "Conformal prediction under covariate shift", NeurIPS 2019, equations 6 to 8 (weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spoofscope.errors import NotEnoughTrials, ScoresError
from spoofscope.metrics.clusters import Codes
from spoofscope.metrics.rates import Floats
from spoofscope.metrics.resampled import MOST_ENTRIES

PROBE_EVERY = 16
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Calibration spoof scores, counted by cluster so that whole clusters can be weighed anew.

    Parameters
    ----------
    scores : (n,) float array
        Higher meaning more bona fide.
    codes : (n,) int array
        The cluster of each trial: a column of the weights that are drawn.
    weights : (n,) float array, optional
        The density ratio at each trial; 1 without it.
    """

    scores: Floats
    codes: Codes
    weights: Floats | None = None

    def accept(self, levels: Floats, drawn: Floats, target: float, own_weights: Floats | float = 1.0) -> Floats:
        """Return the chance that scores are accepted under each set of cluster weights.

        Parameters
        ----------
        levels : (m,) float array
            The scores to be judged, ascending.
        drawn : (replicates, clusters) float array
            How often each cluster counts.
        target : float
            The share to let through.
        own_weights : (m,) float array or float
            The density ratio at each judged trial.

        Returns
        -------
        (replicates, m) float array
            clip((target (W + w) - A) / (T + w), 0, 1)
        """
        above, reached = (self._weight_over(levels, side, drawn) for side in ("left", "right"))
        whole = drawn @ np.bincount(self.codes, self.weights, drawn.shape[1])
        accepted: Floats = (target * (whole[:, None] + own_weights) - above) / (reached - above + own_weights)
        return np.clip(accepted, 0.0, 1.0, out=accepted)

    def _weight_over(self, levels: Floats, side: str, drawn: Floats) -> Floats:
        """Weigh what is above each level ("left") or at least level with it ("right"): (replicates, m)."""
        width = len(levels) + 1
        place = np.searchsorted(levels, self.scores, side=side)  # type: ignore[call-overload]
        table = np.bincount(self.codes * width + place, self.weights, drawn.shape[1] * width).reshape(-1, width)
        over: Floats = drawn @ table[:, ::-1].cumsum(axis=1, dtype=np.float64)[:, -2::-1]
        return over


def acceptance(
    calibration: ArrayLike,
    scores: ArrayLike,
    target: float,
    *,
    weights: ArrayLike | None = None,
    own_weights: ArrayLike = 1.0,
) -> Floats:
    """Return the chance that each trial is accepted, ties and the last fraction of a rank being decided by lot.

    Parameters
    ----------
    calibration : (n,) float array
        Scores of calibration spoof, higher meaning more bona fide.
    scores : (m,) float array
        Scores to be judged.
    target : float
        The share of exchangeable spoof to let through, between 0 and 1.
    weights : (n,) float array, optional
        The density ratio, test over calibration, at each calibration trial; any constant factor cancels.
    own_weights : (m,) float array or float
        The same at each judged trial, with the same factor.

    Returns
    -------
    (m,) float array
        clip((target (W + w) - A) / (T + w), 0, 1)

    Raises
    ------
    NotEnoughTrials
        If there is no calibration score.
    ScoresError
        If a score is not finite, a weight is negative, or the target is not between 0 and 1.

    Examples
    --------
    >>> acceptance([1, 2, 3], [2.5, 4], target=0.25)
    array([0., 1.])
    >>> acceptance([1, 2, 2], [2, 2], target=0.25)
    array([0.33333333, 0.33333333])
    """
    known, ratio = _checked(calibration, weights, target)
    judged = np.asarray(scores, dtype=np.float64)
    own = np.broadcast_to(np.asarray(own_weights, dtype=np.float64), judged.shape)
    if not (np.isfinite(judged).all() and np.isfinite(own).all() and (own > 0).all()):
        raise ScoresError("scores to be judged must be finite, and their own weights finite and above 0")
    order = np.argsort(judged, kind="stable")
    answer = np.empty(len(judged))
    one = CalibrationSet(known, np.zeros(len(known), dtype=np.intp), ratio)
    answer[order] = one.accept(judged[order], np.ones((1, 1)), target, own[order])[0]
    return answer


def conformal_threshold(
    calibration: ArrayLike, target: float, *, weights: ArrayLike | None = None, own_weights: ArrayLike = 1.0
) -> Floats:
    """Return the threshold of the plain rule: a spoof above it is accepted.

    It is the lowest calibration score whose weight and that of the scores below it reach (1 - target) (W + w); with weights of 1 the
    ceil((n + 1) (1 - target))-th smallest.

    Parameters
    ----------
    calibration, target, weights
        As for `acceptance`.
    own_weights : float array or float
        The density ratio at each judged trial, whose own weight lies at plus infinity.

    Returns
    -------
    float array of the shape of `own_weights`
        Plus infinity where even all calibration scores are too few: nothing is accepted.

    Raises
    ------
    NotEnoughTrials, ScoresError
        As for `acceptance`.

    Examples
    --------
    >>> float(conformal_threshold([3, 1, 2, 4], target=0.4))
    3.0
    """
    known, ratio = _checked(calibration, weights, target)
    order = np.argsort(known, kind="stable")
    ascending = np.append(known[order], np.inf)
    weight = np.ones(len(known)) if ratio is None else ratio[order]
    running = np.cumsum(weight)
    needed = (1 - target) * (running[-1] + np.asarray(own_weights, dtype=np.float64))
    answer: Floats = ascending[np.searchsorted(running, needed * (1 - ROUNDING))]
    return answer


def effective_size(weights: ArrayLike) -> float:
    """Return the number of equal weights that would be worth as much: (sum w)^2 / sum w^2 (Kish)."""
    array = np.asarray(weights, dtype=np.float64)
    return float(array.sum() ** 2 / (array**2).sum())


def accepted_weight(sets: Sequence[CalibrationSet], scores: Floats, codes: Codes, drawn: Floats, target: float) -> Floats:
    """Return how much of the judged trials is accepted under each set of cluster weights.

    A trial is accepted where every one of `sets` accepts it, all by the same lot. The clusters of calibration and of judged trials are
    weighed together, so resamples show what calibration adds to the error.

    Parameters
    ----------
    sets : sequence of CalibrationSet
        Without density ratios: acceptance must rise with the score.
    scores, codes : (m,) arrays
        The judged trials and their clusters.
    drawn : (replicates, clusters) float array
        How often each cluster counts.
    target : float
        The share to let through.

    Returns
    -------
    (replicates,) float array
        Sum over trials of cluster weight times chance of acceptance.
    """
    levels, place = np.unique(scores, return_inverse=True)
    table = np.bincount(codes * len(levels) + place, minlength=drawn.shape[1] * len(levels)).reshape(-1, len(levels))
    counts = table.astype(np.float64)
    pieces = -(-len(drawn) * len(levels) // MOST_ENTRIES)
    return np.concatenate([_accepted(sets, levels, counts, rows, target) for rows in np.array_split(drawn, pieces)])


def _accepted(sets: Sequence[CalibrationSet], levels: Floats, counts: Floats, drawn: Floats, target: float) -> Floats:
    """Judge closely only the levels between the highest that is never accepted and the lowest that always is."""

    def accept(chosen: Floats) -> Floats:
        lowest: Floats = np.minimum.reduce([one.accept(chosen, drawn, target) for one in sets])
        return lowest

    probes = np.arange(0, len(levels), PROBE_EVERY)
    rough = accept(levels[probes])
    never, always = np.count_nonzero((rough == 0).all(axis=0)), np.count_nonzero((rough == 1).all(axis=0))
    first = probes[never - 1] if never else 0
    last = probes[-always] if always else len(levels)
    close = accept(levels[first:last]) * (drawn @ counts[:, first:last])
    total: Floats = close.sum(axis=1) + drawn @ counts[:, last:].sum(axis=1)
    return total


def _checked(calibration: ArrayLike, weights: ArrayLike | None, target: float) -> tuple[Floats, Floats | None]:
    known = np.asarray(calibration, dtype=np.float64)
    if known.ndim != 1 or not np.isfinite(known).all():
        raise ScoresError(f"calibration scores must be finite and of one dimension; found shape {known.shape}")
    if not len(known):
        raise NotEnoughTrials("no calibration scores: a conformal threshold needs spoof trials to compare with")
    if not 0 < target < 1:
        raise ScoresError(f"the target is a share between 0 and 1; found {target}")
    if weights is None:
        return known, None
    ratio: NDArray[np.float64] = np.asarray(weights, dtype=np.float64)
    if ratio.shape != known.shape or not (np.isfinite(ratio).all() and (ratio >= 0).all()):
        raise ScoresError(f"weights must be finite, at least 0, and of shape {known.shape}; found shape {ratio.shape}")
    return known, ratio
