"""Costs of a detector's errors: detection cost, log-likelihood-ratio cost, and tandem cost with a speaker verifier.

Conventions
-----------
Priors are of spoof; `c_miss` is the cost of rejecting a bona fide trial, `c_fa` that of accepting a spoof. Costs are divided
by the cost of the better of the two blind systems (accept all, reject all), so that 1 is what blindness costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spoofscope.errors import RecipeError, ScoresError
from spoofscope.metrics import check_scores
from spoofscope.metrics.rates import FloatArray, Floats, Tally, challenge_crossing, operating_points, rates_at, tally


@dataclass(frozen=True)
class DcfCost:
    """Constants of the detection cost function, with the name under which figures made from them are printed."""

    name: str
    p_spoof: float
    c_miss: float
    c_fa: float

    def __post_init__(self) -> None:
        if not (0 < self.p_spoof < 1 and self.c_miss > 0 and self.c_fa > 0):
            raise RecipeError(
                f"cost '{self.name}': p_spoof must lie between 0 and 1 and both costs above 0; "
                f"found p_spoof {self.p_spoof}, c_miss {self.c_miss}, c_fa {self.c_fa}"
            )

    @property
    def miss_weight(self) -> float:
        """Weight of the miss rate in the normalised cost."""
        return self.c_miss * (1 - self.p_spoof) / self._blind

    @property
    def false_alarm_weight(self) -> float:
        """Weight of the false-alarm rate in the normalised cost."""
        return self.c_fa * self.p_spoof / self._blind

    @property
    def bayes_threshold(self) -> float:
        """Threshold on a log-likelihood ratio that minimises the expected cost: ln(c_fa p_spoof / (c_miss (1 - p_spoof)))."""
        return math.log(self.c_fa * self.p_spoof / (self.c_miss * (1 - self.p_spoof)))

    @property
    def _blind(self) -> float:
        return min(self.c_miss * (1 - self.p_spoof), self.c_fa * self.p_spoof)


ASVSPOOF5 = DcfCost(name="ASVspoof 5", p_spoof=0.05, c_miss=1.0, c_fa=10.0)
BONAFIDE_RARE = DcfCost(name="bona fide prior 0.05, equal costs", p_spoof=0.95, c_miss=1.0, c_fa=1.0)
"""The reference study's convention: bona fide is the rare class. Not comparable with a published minimum DCF."""


def weighted_min_dcf(counts: Tally, cost: DcfCost = ASVSPOOF5) -> float:
    """Least normalised cost over all thresholds of a tally; `nan` if a class has no weight."""
    if not counts.bonafide.sum() * counts.spoof.sum() > 0:
        return math.nan
    curve = operating_points(counts)
    return float(np.min(cost.miss_weight * curve.miss + cost.false_alarm_weight * curve.false_alarm))


def min_dcf(bonafide: FloatArray, spoof: FloatArray, *, cost: DcfCost = ASVSPOOF5) -> float:
    """Minimum of the normalised detection cost over all thresholds: the cost of the best threshold in hindsight.

    Returns
    -------
    float
        min over t of (c_miss (1 - p_spoof) miss(t) + c_fa p_spoof false_alarm(t)) / min(c_miss (1 - p_spoof), c_fa p_spoof),
        from 0 to 1.

    References
    ----------
    The evaluation plan and package of ASVspoof 5.
    """
    return weighted_min_dcf(tally(bonafide, spoof), cost)


def min_dcf_threshold(bonafide: FloatArray, spoof: FloatArray, *, cost: DcfCost = ASVSPOOF5) -> float:
    """Lowest threshold at which the minimum cost is reached; infinite if rejecting everything is cheapest."""
    curve = operating_points(tally(bonafide, spoof))
    return float(curve.threshold[np.argmin(cost.miss_weight * curve.miss + cost.false_alarm_weight * curve.false_alarm)])


def dcf_at(bonafide: FloatArray, spoof: FloatArray, threshold: float, *, cost: DcfCost = ASVSPOOF5) -> float:
    """Normalised detection cost at a fixed threshold; above 1 it is worse than a blind system."""
    rates = rates_at(bonafide, spoof, threshold)
    return cost.miss_weight * rates.miss + cost.false_alarm_weight * rates.false_alarm


def act_dcf(bonafide: FloatArray, spoof: FloatArray, *, cost: DcfCost = ASVSPOOF5) -> float:
    """Actual normalised detection cost: at the Bayes threshold, the scores taken as natural log-likelihood ratios."""
    return dcf_at(bonafide, spoof, cost.bayes_threshold, cost=cost)


def bonafide_bits(llr: Floats) -> Floats:
    """What each bona fide log-likelihood ratio adds to Cllr: log2(1 + exp(-llr)) / 2."""
    return np.logaddexp(0, -llr) / math.log(4)


def spoof_bits(llr: Floats) -> Floats:
    """What each spoof log-likelihood ratio adds to Cllr: log2(1 + exp(llr)) / 2."""
    return np.logaddexp(0, llr) / math.log(4)


def cllr(bonafide: FloatArray, spoof: FloatArray) -> float:
    """Cost of log-likelihood ratios, in bits: 0 is perfect, 1 is what a score of 0 for every trial costs.

    Returns
    -------
    float
        (mean over bona fide of log2(1 + exp(-s)) + mean over spoof of log2(1 + exp(s))) / 2, `s` in natural logarithms.

    References
    ----------
    Bruemmer and du Preez, "Application-independent evaluation of speaker detection", 2006.
    """
    bonafide, spoof = check_scores(bonafide, spoof)
    return float(bonafide_bits(bonafide).mean() + spoof_bits(spoof).mean())


def pool_violators(counts: Tally) -> tuple[Floats, Floats]:
    """Pool neighbouring scores until the share of bona fide rises with the score (isotonic regression, PAV).

    Returns
    -------
    bonafide, spoof : (k,), (k,) float array
        Weight of each class in each block, blocks in order of rising score and of strictly rising share of bona fide.

    Notes
    -----
    Neighbours that violate the order may be pooled in any sequence, so every run of non-rising shares is pooled at once; few
    rounds remain.

    References
    ----------
    Ayer et al., 1955; Zadrozny and Elkan, 2002; Bruemmer and du Preez, "The PAV algorithm optimizes binary proper scoring
    rules", 2013, arXiv:1304.2331.
    """
    present = counts.bonafide + counts.spoof > 0
    bonafide, spoof = counts.bonafide[present], counts.spoof[present]
    while True:
        # share[i] < share[i + 1], written without a division
        rises = bonafide[:-1] * spoof[1:] < bonafide[1:] * spoof[:-1]
        if rises.all():
            return bonafide, spoof
        starts = np.concatenate(([0], np.flatnonzero(rises) + 1))
        bonafide, spoof = np.add.reduceat(bonafide, starts), np.add.reduceat(spoof, starts)


def weighted_min_cllr(counts: Tally) -> float:
    """Minimum Cllr of a tally, in bits; `nan` if a class has no weight."""
    if not counts.bonafide.sum() * counts.spoof.sum() > 0:
        return math.nan
    bonafide, spoof = pool_violators(counts)
    bonafide, spoof = bonafide / bonafide.sum(), spoof / spoof.sum()
    both = bonafide + spoof
    # a block of one class alone has an infinite log-likelihood ratio and costs nothing
    with_bonafide, with_spoof = bonafide > 0, spoof > 0
    cost = np.sum(bonafide[with_bonafide] * np.log2(both[with_bonafide] / bonafide[with_bonafide]))
    cost += np.sum(spoof[with_spoof] * np.log2(both[with_spoof] / spoof[with_spoof]))
    return float(cost / 2)


def min_cllr(bonafide: FloatArray, spoof: FloatArray) -> float:
    """Cllr after the best increasing map of the scores, in bits: what discrimination alone costs.

    `cllr - min_cllr` is then the cost of miscalibration. The map is the isotonic one (PAV), without smoothing.
    """
    return weighted_min_cllr(tally(bonafide, spoof))


class AsvScores(NamedTuple):
    """Scores of an automatic speaker verifier on its target, nontarget and spoof trials."""

    target: Floats
    nontarget: Floats
    spoof: Floats


@dataclass(frozen=True)
class TdcfCost:
    """Constants of the tandem detection cost; `legacy` is the form of 2019, which left the verifier's own errors out."""

    name: str
    p_spoof: float
    p_target: float
    p_nontarget: float
    c_miss: float
    c_fa: float
    c_fa_spoof: float
    legacy: bool


TDCF_2019 = TdcfCost("t-DCF 2019 (legacy)", 0.05, 0.95 * 0.99, 0.95 * 0.01, 1.0, 10.0, 10.0, legacy=True)
TDCF_2021 = TdcfCost("t-DCF 2021", 0.05, 0.95 * 0.99, 0.95 * 0.01, 1.0, 10.0, 10.0, legacy=False)


class TdcfWeights(NamedTuple):
    """The tandem cost before normalisation is `c0 + c1 miss + c2 false_alarm`."""

    c0: float
    c1: float
    c2: float


def tdcf_weights(asv: AsvScores, cost: TdcfCost = TDCF_2021) -> TdcfWeights:
    """Weigh a countermeasure's errors by what they cost behind a speaker verifier.

    The verifier works at the threshold of its own equal error rate, found as the challenge finds it.

    Raises
    ------
    ScoresError
        If a weight is negative: then the verifier's own errors cost more than rejecting everybody, and the tandem has no
        meaning.

    References
    ----------
    2019: Todisco et al., "ASVspoof 2019: future horizons in spoofed and fake audio detection", arXiv:1904.05441. 2021: Kinnunen
    et al., "Tandem assessment of spoofing countermeasures and automatic speaker verification: fundamentals", arXiv:2007.05979.
    """
    threshold = challenge_crossing(asv.target, asv.nontarget).threshold
    own = rates_at(asv.target, asv.nontarget, threshold)
    spoof_accepted = rates_at(asv.target, asv.spoof, threshold).false_alarm
    asv_errors = cost.p_target * cost.c_miss * own.miss + cost.p_nontarget * cost.c_fa * own.false_alarm
    weights = TdcfWeights(
        c0=0.0 if cost.legacy else asv_errors,
        c1=cost.p_target * cost.c_miss - asv_errors,
        c2=cost.p_spoof * cost.c_fa_spoof * spoof_accepted,
    )
    if weights.c1 < 0 or weights.c2 < 0:
        raise ScoresError(
            f"the speaker verifier misses {own.miss:.1%} and falsely accepts {own.false_alarm:.1%}: its errors alone cost more "
            "than rejecting everybody, so a tandem cost has no meaning. Check the ASV scores and their labels."
        )
    return weights


def min_tdcf(bonafide: FloatArray, spoof: FloatArray, asv: AsvScores, *, cost: TdcfCost = TDCF_2021) -> float:
    """Minimum normalised tandem detection cost of a countermeasure with a given speaker verifier.

    Returns
    -------
    float
        min over t of (c0 + c1 miss(t) + c2 false_alarm(t)) / (c0 + min(c1, c2)); `nan` where the verifier lets no spoof
        through, since then there is nothing to protect.

    Raises
    ------
    NotEnoughTrials
        If a class of the countermeasure or of the verifier is empty.
    ScoresError
        If the verifier is too weak (see `tdcf_weights`).
    """
    weights = tdcf_weights(asv, cost)
    curve = operating_points(tally(bonafide, spoof))
    blind = weights.c0 + min(weights.c1, weights.c2)
    if blind == 0:
        return math.nan
    return float(np.min(weights.c0 + weights.c1 * curve.miss + weights.c2 * curve.false_alarm) / blind)
