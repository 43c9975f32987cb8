"""Intervals: clustered and paired bootstrap, with weights instead of resampled arrays.

Conventions
-----------
Whole clusters are drawn with replacement (see `clusters`); without clusters, single trials of each class are (the iid
bootstrap, which is too narrow wherever a speaker has many trials). Intervals are percentile intervals. A difference is paired:
both sides are weighed alike in every replicate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from spoofscope.errors import ScoresError, UnknownName
from spoofscope.metrics import Estimate, check_scores
from spoofscope.metrics.clusters import Cells, Clusters, Factor, draw_weights, independent
from spoofscope.metrics.costs import ASVSPOOF5, DcfCost, bonafide_bits, spoof_bits, weighted_min_cllr, weighted_min_dcf
from spoofscope.metrics.rates import FloatArray, Floats, Tally, weighted_auc
from spoofscope.metrics.resampled import MOST_ENTRIES, CrossingEvaluator, Evaluator, MeanEvaluator, TallyEvaluator

Label = Literal["bonafide", "spoof"]
MetricName = Literal["eer", "eer_threshold", "auc", "min_dcf", "act_dcf", "cllr", "min_cllr"]
BOTH: tuple[Label, ...] = ("bonafide", "spoof")


@dataclass(frozen=True)
class CrossingMetric:
    """The equal error rate, or the threshold that goes with it."""

    name: Literal["eer", "eer_threshold"]
    classes = BOTH

    def prepare(self, bonafide: Floats, spoof: Floats, cells: tuple[Cells, Cells]) -> Evaluator:
        """Sort the scores once."""
        evaluator = CrossingEvaluator(bonafide, spoof, cells)
        part = ("eer", "eer_threshold").index(self.name)
        return lambda first, second: evaluator.solve(first, second)[part]


@dataclass(frozen=True)
class MeanMetric:
    """A sum of class means of something known per trial: rates and costs at a fixed threshold, Cllr."""

    name: str
    bonafide: Callable[[Floats], Floats] | None = None
    spoof: Callable[[Floats], Floats] | None = None

    @property
    def classes(self) -> tuple[Label, ...]:
        """The classes that the metric looks at."""
        return tuple(label for label in BOTH if getattr(self, label) is not None)

    def prepare(self, bonafide: Floats, spoof: Floats, cells: tuple[Cells, Cells]) -> Evaluator:
        """Evaluate each trial once."""
        return MeanEvaluator(
            None if self.bonafide is None else self.bonafide(bonafide), None if self.spoof is None else self.spoof(spoof), cells
        )


@dataclass(frozen=True)
class TallyMetric:
    """Any function of the weights at each distinct score; tens of times slower than the others."""

    name: str
    value: Callable[[Tally], float]
    classes = BOTH

    def prepare(self, bonafide: Floats, spoof: Floats, cells: tuple[Cells, Cells]) -> Evaluator:
        """Sort the scores once."""
        return TallyEvaluator(self.value, bonafide, spoof, cells)


Metric = CrossingMetric | MeanMetric | TallyMetric


def miss_at(threshold: float) -> MeanMetric:
    """Miss rate at a fixed threshold, as a metric to resample."""
    return MeanMetric("miss", bonafide=lambda scores: (scores < threshold).astype(np.float64))


def false_alarm_at(threshold: float) -> MeanMetric:
    """False-alarm rate at a fixed threshold, as a metric to resample."""
    return MeanMetric("false_alarm", spoof=lambda scores: (scores >= threshold).astype(np.float64))


def fixed_dcf(threshold: float, cost: DcfCost = ASVSPOOF5) -> MeanMetric:
    """Normalised detection cost at a fixed threshold, as a metric to resample."""
    return MeanMetric(
        "dcf",
        bonafide=lambda scores: np.where(scores < threshold, cost.miss_weight, 0.0),
        spoof=lambda scores: np.where(scores >= threshold, cost.false_alarm_weight, 0.0),
    )


def actual_dcf(cost: DcfCost = ASVSPOOF5) -> MeanMetric:
    """Actual detection cost, as a metric to resample."""
    at_bayes = fixed_dcf(cost.bayes_threshold, cost)
    return MeanMetric("act_dcf", at_bayes.bonafide, at_bayes.spoof)


def minimum_dcf(cost: DcfCost = ASVSPOOF5) -> TallyMetric:
    """Minimum detection cost, as a metric to resample."""
    return TallyMetric("min_dcf", lambda counts: weighted_min_dcf(counts, cost))


METRICS: dict[str, Metric] = {
    "eer": CrossingMetric("eer"),
    "eer_threshold": CrossingMetric("eer_threshold"),
    "auc": TallyMetric("auc", weighted_auc),
    "min_dcf": minimum_dcf(),
    "act_dcf": actual_dcf(),
    "cllr": MeanMetric("cllr", bonafide_bits, spoof_bits),
    "min_cllr": TallyMetric("min_cllr", weighted_min_cllr),
}
"""What can be resampled by name; costs are ASVspoof 5's."""


class ScorePair(NamedTuple):
    """Scores of both classes from one detector under one condition."""

    bonafide: FloatArray
    spoof: FloatArray


def bootstrap(
    metric: MetricName | Metric,
    bonafide: FloatArray,
    spoof: FloatArray,
    clusters: Clusters | None = None,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """Estimate a metric with its percentile bootstrap interval.

    Parameters
    ----------
    metric : str or Metric
        A name of `METRICS`, or a metric made by `miss_at`, `false_alarm_at`, `fixed_dcf`, `minimum_dcf`, `actual_dcf`.
    bonafide, spoof : (n,), (m,) float array
        Scores, higher meaning more bona fide.
    clusters : Clusters, optional
        What to resample as a whole, from `clusters_of`; without it single trials are resampled (iid).
    rng : numpy.random.Generator
        The same state gives the same weights, whatever the metric.
    replicates : int
        How many resamples.
    level : float
        Share of resamples inside the interval.

    Returns
    -------
    Estimate
        The interval is `nan` with a note if a class that the metric looks at has fewer than two clusters.

    Raises
    ------
    NotEnoughTrials
        If a class is empty.
    ScoresError
        If the clusters are of other trials.
    """
    pair = ScorePair(*check_scores(bonafide, spoof))
    chosen = _resolve(metric)
    if clusters is None and isinstance(chosen, CrossingMetric):
        return _iid_crossing(chosen, pair, replicates, level, rng)
    return _resample(chosen, [pair], clusters, replicates, level, rng)


def bootstrap_difference(
    metric: MetricName | Metric,
    first: ScorePair | tuple[FloatArray, FloatArray],
    second: ScorePair | tuple[FloatArray, FloatArray],
    clusters: Clusters | None = None,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """Estimate by how much a metric is higher for `second` than for `first`, over the same trials in the same order.

    Every replicate weighs both sides alike, so what they share (hard speakers, easy attacks) cancels. Parameters and errors
    are those of `bootstrap`.

    Raises
    ------
    ScoresError
        If the two sides have different numbers of trials.
    """
    return bootstrap_contrast(metric, (first, second), (-1, 1), clusters, rng=rng, replicates=replicates, level=level)


def bootstrap_contrast(
    metric: MetricName | Metric,
    pairs: Sequence[ScorePair | tuple[FloatArray, FloatArray]],
    signs: Sequence[float],
    clusters: Clusters | None = None,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """Estimate a signed sum of one metric over several sets of scores of the same trials, such as a difference of differences.

    Every replicate weighs all sets alike; `signs` has one number for each set. The other parameters are those of `bootstrap`.

    Raises
    ------
    ScoresError
        If the sets have different numbers of trials.
    """
    checked = [ScorePair(*check_scores(*pair)) for pair in pairs]
    counts = [(len(pair.bonafide), len(pair.spoof)) for pair in checked]
    if len(set(counts)) > 1:
        raise ScoresError(
            f"a paired difference needs the same trials on both sides; found {' and '.join(map(str, counts))} (bona fide, spoof)"
        )
    return _resample(_resolve(metric), checked, clusters, replicates, level, rng, signs=signs)


def _resolve(metric: str | Metric) -> Metric:
    if not isinstance(metric, str):
        return metric
    if metric not in METRICS:
        raise UnknownName(f"no metric '{metric}' to resample; known: {', '.join(sorted(METRICS))}")
    return METRICS[metric]


def _resample(
    metric: Metric,
    pairs: list[ScorePair],
    clusters: Clusters | None,
    replicates: int,
    level: float,
    rng: np.random.Generator,
    signs: Sequence[float] = (1,),
) -> Estimate:
    """Evaluate the signed sum over pairs under the same weights; in chunks that bound the memory."""
    n_bonafide, n_spoof = len(pairs[0].bonafide), len(pairs[0].spoof)
    plan = independent(n_bonafide, n_spoof) if clusters is None else clusters
    if (plan.n_bonafide, plan.n_spoof) != (n_bonafide, n_spoof):
        raise ScoresError(
            f"clusters are of {plan.n_bonafide} bona fide and {plan.n_spoof} spoof trials, scores of {n_bonafide} and {n_spoof}"
        )
    cells = (Cells(plan, "bonafide"), Cells(plan, "spoof"))
    evaluators = [metric.prepare(np.asarray(pair.bonafide), np.asarray(pair.spoof), cells) for pair in pairs]

    def evaluate(bonafide: Floats, spoof: Floats) -> Floats:
        values = np.array([evaluator(bonafide, spoof) for evaluator in evaluators], dtype=np.float64)
        total: Floats = np.tensordot(np.asarray(signs, dtype=np.float64), values, axes=1)
        return total

    value = float(evaluate(np.ones((1, len(cells[0]))), np.ones((1, len(cells[1]))))[0])
    n_clusters = n_bonafide + n_spoof if clusters is None else clusters.n_clusters
    alone = [label for label, cell in zip(BOTH, cells, strict=True) if label in metric.classes and len(cell) < 2]
    if alone:
        note = f"no interval: the {' and '.join(alone)} trials are one cluster ({plan.describe()})"
        return Estimate(value, np.nan, np.nan, level, n_bonafide, n_spoof, n_clusters, note)
    width = sum(factor.size for factor in plan.factors) + len(cells[0]) + len(cells[1])
    rows = max(1, MOST_ENTRIES // width)
    samples = []
    for start in range(0, replicates, rows):
        drawn = draw_weights(plan, min(rows, replicates - start), rng)
        samples.append(evaluate(*(cell.weights(drawn) for cell in cells)))
    low, high, note = _interval(np.concatenate(samples), level, paired=len(pairs) > 1)
    notes = [plan.caveat(), note] if clusters is not None else [note]
    return Estimate(value, low, high, level, n_bonafide, n_spoof, n_clusters, "; ".join(filter(None, notes)))


def _iid_crossing(metric: CrossingMetric, pair: ScorePair, replicates: int, level: float, rng: np.random.Generator) -> Estimate:
    n_bonafide, n_spoof = len(pair.bonafide), len(pair.spoof)
    whole = Factor("class", 1, np.zeros(n_bonafide, dtype=np.intp), np.zeros(n_spoof, dtype=np.intp))
    plan = Clusters((whole,), n_bonafide, n_spoof)
    evaluator = CrossingEvaluator(
        np.asarray(pair.bonafide), np.asarray(pair.spoof), (Cells(plan, "bonafide"), Cells(plan, "spoof"))
    )
    part = ("eer", "eer_threshold").index(metric.name)
    value = float(evaluator.solve(np.ones((1, 1)), np.ones((1, 1)))[part][0])
    low, high, note = _interval(evaluator.solve_iid(replicates, rng)[part], level, paired=False)
    return Estimate(value, low, high, level, n_bonafide, n_spoof, n_bonafide + n_spoof, note)


def _interval(samples: Floats, level: float, *, paired: bool) -> tuple[float, float, str]:
    """Cut the tails off; a value that no resample moves has no interval, unless it is the difference of equals."""
    known = samples[~np.isnan(samples)]
    lost = len(samples) - len(known)
    if not len(known):
        return np.nan, np.nan, "no interval: no resample holds trials of both classes"
    if not paired and known.min() == known.max():
        return np.nan, np.nan, "no interval: every resample gives this value, so resampling cannot say how far off it is"
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), f"{lost} of {len(samples)} resamples lacked a class and are left out" if lost else ""
