"""Operating points of a detector: miss, false alarm, and the figures read off them.

Conventions
-----------
A trial is accepted when its score is at or above the threshold. Trials with one score share one threshold, so they are
accepted or rejected together: nothing here depends on the order of the trials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.metrics import check_scores

Floats = NDArray[np.float64]
FloatArray = NDArray[np.floating]


class Rates(NamedTuple):
    """The two error rates at one threshold, as fractions."""

    miss: float
    false_alarm: float


class DetCurve(NamedTuple):
    """Operating points in order of rising threshold; the last threshold is infinite (everything rejected)."""

    threshold: Floats
    miss: Floats
    false_alarm: Floats


class Tally(NamedTuple):
    """The weight of each class at each distinct score, scores ascending; the weight of a trial is 1 unless resampled."""

    score: Floats
    bonafide: Floats
    spoof: Floats


class Crossing(NamedTuple):
    """Where the miss rate meets the false-alarm rate, and the threshold that comes nearest to it."""

    eer: float
    threshold: float


def tally(bonafide: FloatArray, spoof: FloatArray) -> Tally:
    """Count the trials of each class at each distinct score.

    Parameters
    ----------
    bonafide, spoof : (n,), (m,) float array
        Scores, higher meaning more bona fide.

    Raises
    ------
    NotEnoughTrials
        If either class is empty.
    ScoresError
        If a score is not finite.
    """
    bonafide, spoof = check_scores(bonafide, spoof)
    score, place = np.unique(np.concatenate((bonafide, spoof)), return_inverse=True)
    counts = [np.bincount(part, minlength=len(score)).astype(np.float64) for part in np.split(place, [len(bonafide)])]
    return Tally(score, *counts)


def operating_points(counts: Tally) -> DetCurve:
    """Give the rates at every distinct threshold, and above the highest score."""
    miss = np.concatenate(([0.0], np.cumsum(counts.bonafide))) / counts.bonafide.sum()
    accepted = np.concatenate((np.cumsum(counts.spoof[::-1])[::-1], [0.0]))
    return DetCurve(np.append(counts.score, np.inf), miss, accepted / counts.spoof.sum())


def crossing(counts: Tally) -> Crossing:
    """Find the equal error rate of a tally, and its threshold; `nan` if a class has no weight.

    With `B`, `S` the weights rejected once score `j` is rejected, `excess = B W_s + S W_b - W_b W_s` has the sign of
    `miss - false_alarm`; for whole weights it is exact, so that no rounding decides where the crossing lies.
    """
    rejected_bonafide, rejected_spoof = np.cumsum(counts.bonafide), np.cumsum(counts.spoof)
    all_bonafide, all_spoof = rejected_bonafide[-1], rejected_spoof[-1]
    if not all_bonafide * all_spoof > 0:
        return Crossing(np.nan, np.nan)
    excess = rejected_bonafide * all_spoof + rejected_spoof * all_bonafide - all_bonafide * all_spoof
    at = int(np.argmax(excess >= 0))
    before = excess[at - 1] if at else -all_bonafide * all_spoof
    missed = rejected_bonafide[at - 1] if at else 0.0
    share = -before / (excess[at] - before)
    nearest = at if -before <= excess[at] else at + 1
    return Crossing((missed + share * counts.bonafide[at]) / all_bonafide, counts.score[nearest])


def eer(bonafide: FloatArray, spoof: FloatArray) -> float:
    """Equal error rate: where miss and false-alarm rates cross, tied scores sharing one threshold.

    The crossing is interpolated linearly between the two neighbouring operating points.

    Parameters
    ----------
    bonafide, spoof : (n,), (m,) float array
        Scores, higher meaning more bona fide.

    Returns
    -------
    float
        A fraction: 0 for perfect separation, 1/2 for a constant score, 1 for perfect separation of the wrong sign.

    Raises
    ------
    NotEnoughTrials
        If either class is empty.
    """
    return float(crossing(tally(bonafide, spoof)).eer)


def eer_threshold(bonafide: FloatArray, spoof: FloatArray) -> float:
    """Threshold of the equal error rate: the observed score at which miss and false alarm differ least.

    Where two thresholds come equally near, the lower one is given. It moves with any increasing map of the scores.
    """
    return float(crossing(tally(bonafide, spoof)).threshold)


def challenge_crossing(bonafide: FloatArray, spoof: FloatArray) -> Crossing:
    """Equal error rate and threshold as the ASVspoof evaluation packages compute them.

    Trials are rejected one by one in the order of their scores, bona fide first where scores tie (the worst case); the
    rate is the mean of miss and false alarm at the step where they differ least, without interpolation; the threshold is
    the score rejected in that step.

    References
    ----------
    ASVspoof 2021 evaluation package, `eval_metrics.py`; the ASVspoof 5 package is the same in this.
    """
    bonafide, spoof = check_scores(bonafide, spoof)
    scores = np.concatenate((bonafide, spoof))
    order = np.argsort(scores, kind="stable")
    is_bonafide = order < len(bonafide)
    miss = np.concatenate(([0.0], np.cumsum(is_bonafide) / len(bonafide)))
    false_alarm = np.concatenate(([1.0], (len(spoof) - np.cumsum(~is_bonafide)) / len(spoof)))
    step = int(np.argmin(np.abs(miss - false_alarm)))
    threshold = scores[order[step - 1]] if step else scores[order[0]] - 0.001
    return Crossing(float(miss[step] + false_alarm[step]) / 2, float(threshold))


def eer_challenge(bonafide: FloatArray, spoof: FloatArray) -> float:
    """Equal error rate in the challenge's own convention: not interpolated, ties taken at their worst.

    Without ties it differs from `eer` by less than one trial; a constant score gives 1, where `eer` gives 1/2.
    """
    return challenge_crossing(bonafide, spoof).eer


def tied_fraction(bonafide: FloatArray, spoof: FloatArray) -> float:
    """Fraction of all trials whose score is shared with a trial of the other class: the ties that can move a metric."""
    counts = tally(bonafide, spoof)
    total = counts.bonafide + counts.spoof
    return float(total[(counts.bonafide > 0) & (counts.spoof > 0)].sum() / total.sum())


def weighted_auc(counts: Tally) -> float:
    """Area under the ROC curve of a tally, ties counting one half; `nan` if a class has no weight."""
    pairs = counts.bonafide.sum() * counts.spoof.sum()
    if not pairs > 0:
        return np.nan
    below = np.cumsum(counts.spoof) - counts.spoof / 2
    return float(counts.bonafide @ below / pairs)


def auc(bonafide: FloatArray, spoof: FloatArray) -> float:
    """Area under the ROC curve: the chance that a bona fide trial scores above a spoof, ties counting one half."""
    return weighted_auc(tally(bonafide, spoof))


def rates_at(bonafide: FloatArray, spoof: FloatArray, threshold: float) -> Rates:
    """Miss and false-alarm rate at a fixed threshold; a score at the threshold is accepted."""
    bonafide, spoof = check_scores(bonafide, spoof)
    return Rates(float(np.mean(bonafide < threshold)), float(np.mean(spoof >= threshold)))


def det_points(bonafide: FloatArray, spoof: FloatArray, *, limit: int | None = None) -> DetCurve:
    """Give the operating points of the DET curve: all of them, exact, or at most `limit` of them.

    Parameters
    ----------
    bonafide, spoof : (n,), (m,) float array
        Scores, higher meaning more bona fide.
    limit : int, optional
        The most points to keep, at least 2. The two ends stay; the others are spread evenly along the curve as a DET plot
        shows it (on the logit of both rates), so that the rare-error corners keep their share.
    """
    curve = operating_points(tally(bonafide, spoof))
    if limit is None or len(curve.miss) <= limit:
        return curve
    if limit < 2:
        raise ValueError(f"a curve has at least its two ends; limit is {limit}")
    length = np.cumsum(_step(curve.miss, len(bonafide)) + _step(curve.false_alarm, len(spoof)))
    inner = np.searchsorted(length, np.linspace(0, length[-1], limit)[:-1])
    kept = np.unique(np.append(inner, len(length) - 1))
    return DetCurve(*(values[kept] for values in curve))


def _step(rate: Floats, n_trials: int) -> Floats:
    floor = 0.5 / n_trials
    clipped = np.clip(rate, floor, 1 - floor)
    logit = np.log(clipped / (1 - clipped))
    return np.abs(np.diff(logit, prepend=logit[0]))
