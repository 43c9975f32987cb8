"""A frozen threshold, carried into every condition: what a deployed detector does when the channel changes.

Conventions
-----------
Thresholds are set once, on development trials heard clean, at a named operating point. Miss is the share of bona fide trials
below the threshold, false alarm the share of spoof trials at or above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.errors import TrialsError
from spoofscope.metrics import Estimate, check_scores
from spoofscope.metrics.clusters import Clusters
from spoofscope.metrics.costs import DcfCost, cllr, min_cllr, min_dcf, min_dcf_threshold
from spoofscope.metrics.intervals import bootstrap, false_alarm_at, fixed_dcf, miss_at
from spoofscope.metrics.rates import eer_threshold

Scores = NDArray[np.floating]
OperatingPoint = Literal["eer", "dcf", "false_alarm_1pct"]
OPERATING_POINTS: tuple[OperatingPoint, ...] = ("eer", "dcf", "false_alarm_1pct")


class Calibration(NamedTuple):
    """An affine map from scores to natural log-likelihood ratios: `slope * score + offset`."""

    slope: float
    offset: float

    def apply(self, scores: Scores) -> NDArray[np.float64]:
        """Return log-likelihood ratios."""
        return self.slope * np.asarray(scores, dtype=np.float64) + self.offset


class Transfer(NamedTuple):
    """What a frozen threshold does under one condition.

    `own_threshold` is where the operating point lies on this condition's own scores and `shift` how far that is from the
    frozen one; `calibration_loss` is Cllr - min Cllr, in bits, after the calibration fitted on the development scores.
    """

    operating_point: OperatingPoint
    threshold: float
    miss: Estimate
    false_alarm: Estimate
    dcf: Estimate
    min_dcf: float
    calibration_loss: float
    own_threshold: float

    @property
    def shift(self) -> float:
        """How far the threshold would have to move."""
        return self.own_threshold - self.threshold


def threshold_at(point: OperatingPoint, bonafide: Scores, spoof: Scores, cost: DcfCost) -> float:
    """Return the threshold of an operating point on given scores.

    `eer` is where miss and false alarm meet, `dcf` where the detection cost is least, `false_alarm_1pct` the lowest observed
    score that lets at most 1 % of the spoof trials through.
    """
    if point == "eer":
        return eer_threshold(bonafide, spoof)
    if point == "dcf":
        return min_dcf_threshold(bonafide, spoof, cost=cost)
    bonafide, spoof = check_scores(bonafide, spoof)
    ordered = np.sort(spoof)
    let_through = len(ordered) - int(np.floor(0.01 * len(ordered)))
    above = np.concatenate((bonafide, spoof))
    above = above[above > ordered[let_through - 1]]
    return float(above.min()) if len(above) else float("inf")


def calibrate(bonafide: Scores, spoof: Scores) -> Calibration:
    """Fit an affine calibration by logistic regression, both classes weighing the same.

    A ridge of one thousandth of a trial on the standardised slope keeps the fit finite where the classes do not overlap.

    References
    ----------
    Brümmer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech & Language 20, 2006.
    """
    bonafide, spoof = check_scores(bonafide, spoof)
    scores = np.concatenate((bonafide, spoof))
    centre, scale = scores.mean(), scores.std() or 1.0
    design = np.column_stack(((scores - centre) / scale, np.ones(len(scores))))
    target = np.concatenate((np.ones(len(bonafide)), np.zeros(len(spoof))))
    weight = np.concatenate((np.full(len(bonafide), 0.5 / len(bonafide)), np.full(len(spoof), 0.5 / len(spoof))))
    ridge = np.diag([1e-3 / len(scores), 0.0])

    def loss(at: NDArray[np.float64]) -> float:
        margin = design @ at
        return float(weight @ (np.logaddexp(0, margin) - target * margin) + at @ ridge @ at / 2)

    fit = np.zeros(2)
    for _ in range(100):
        chance = 0.5 * (1 + np.tanh(design @ fit / 2))
        gradient = design.T @ (weight * (chance - target)) + ridge @ fit
        hessian = (design * (weight * chance * (1 - chance))[:, None]).T @ design + ridge + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while loss(fit - size * step) > loss(fit) and size > 1e-6:
            size /= 2
        fit = fit - size * step
        if np.abs(size * step).max() < 1e-10:
            break
    return Calibration(float(fit[0] / scale), float(fit[1] - fit[0] * centre / scale))


def transfer(
    thresholds: Mapping[OperatingPoint, float],
    calibration: Calibration,
    bonafide: Scores,
    spoof: Scores,
    clusters: Clusters | None,
    *,
    cost: DcfCost,
    seed: int,
    replicates: int,
    level: float,
) -> list[Transfer]:
    """Carry frozen thresholds into the scores of one condition.

    Raises
    ------
    NotEnoughTrials
        If a class is empty.
    """
    bonafide, spoof = check_scores(bonafide, spoof)
    llr = calibration.apply(bonafide), calibration.apply(spoof)
    loss = cllr(*llr) - min_cllr(bonafide, spoof)
    least = min_dcf(bonafide, spoof, cost=cost)
    rows = []
    for point, threshold in thresholds.items():
        miss, false_alarm, dcf = (
            bootstrap(metric, bonafide, spoof, clusters, rng=np.random.default_rng(seed), replicates=replicates, level=level)
            for metric in (miss_at(threshold), false_alarm_at(threshold), fixed_dcf(threshold, cost))
        )
        own = threshold_at(point, bonafide, spoof, cost)
        rows.append(Transfer(point, threshold, miss, false_alarm, dcf, least, loss, own))
    return rows


def split_by_speaker(frame: pl.DataFrame, seed: int) -> NDArray[np.bool_]:
    """Choose half of the trials for development so that no speaker is on both sides.

    Speakers are dealt, largest first, to the side that has had less of their class; a trial without a speaker is its own.

    Returns
    -------
    (n,) bool array
        True for development trials.

    Raises
    ------
    TrialsError
        If a side would lack a class.
    """
    frame = frame.with_columns(
        pl.col("speaker").fill_null(pl.format("trial {}", pl.col("trial_id"))).alias("_speaker"),
        (pl.col("label") == "bonafide").alias("_bonafide"),
    )
    speakers = (
        frame.group_by("_speaker").agg(pl.col("_bonafide").sum().alias("bonafide"), pl.len().alias("all")).sort("_speaker")
    )
    order = np.random.default_rng(seed).permutation(speakers.height)
    counts = np.column_stack((speakers["bonafide"].to_numpy(), (speakers["all"] - speakers["bonafide"]).to_numpy()))[order]
    counts = counts / np.maximum(counts.sum(axis=0), 1)
    names = speakers["_speaker"].to_numpy()[order]
    balance, development = np.zeros(2), set()
    for at in np.argsort(-counts.sum(axis=1), kind="stable"):
        if np.abs(balance + counts[at]).sum() <= np.abs(balance - counts[at]).sum():
            development.add(names[at])
            balance += counts[at]
        else:
            balance -= counts[at]
    mask: NDArray[np.bool_] = frame["_speaker"].is_in(list(development)).to_numpy()
    bonafide = frame["_bonafide"].to_numpy()
    if min((mask & bonafide).sum(), (~mask & bonafide).sum(), (mask & ~bonafide).sum(), (~mask & ~bonafide).sum()) == 0:
        raise TrialsError(
            "the trials cannot be split by speaker with both classes on both sides. "
            "Name a development protocol with --development, or give the corpus a speaker column."
        )
    return mask
