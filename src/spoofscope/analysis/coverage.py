"""How much of a generator that nobody calibrated on gets past a threshold that promises to let little through.

A spoof trial is *accepted* where it passes for bona fide. A conformal threshold, set on calibration spoof, lets a share `target` of
exchangeable spoof through, whatever the detector (`metrics.conformal`). A generator that was not calibrated on is not exchangeable, and what it
exceeds the target by has two causes that only controls tell apart: it may be *hard* (one pooled threshold promises nothing about each
generator in it) or *different*.

Variants, all on the same tested trials and each on calibration spoof that shares no speaker and no source utterance with them:

`held out`
    Every other generator.
`f included`
    The first control: with the generator's own trials, in their natural number. What is left above the target is hardness; `difference`,
    from here to `held out`, is what never having calibrated on it costs.
`within f`
    The second control: the generator's own trials alone, which is exchangeable and should meet the target.
`mondrian`
    Every other generator, each by itself: accepted only where each would accept (group-conditional; Vovk 2005, section 4.5).
`weighted`
    Every other generator, weighed for each tested trial by the ratio of densities (Tibshirani et al. 2019), which a cross-fitted logistic
    regression estimates from unlabelled embeddings of the generator: this one supposes that they are at hand.
`held out, calibrated clean`
    As `held out`, but calibrated on the same trials as they were recorded, and tested through the channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.cells import Resampling
from spoofscope.analysis.design import Design, Mask, Split, codes_of
from spoofscope.analysis.heads.logistic import fit_logistic
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics.clusters import Clusters, Factor, draw_weights
from spoofscope.metrics.conformal import CalibrationSet, accepted_weight, conformal_threshold, effective_size
from spoofscope.metrics.rates import Floats

Row = dict[str, Any]
CONTROL = "f included"
VARIANTS = ("held out", CONTROL, "within f", "mondrian", "weighted", "held out, calibrated clean")
ALL = "all"
COMPONENTS = 8
LARGEST_RATIO = 50.0
FEW = 20


class _Answer(NamedTuple):
    """Accepted weight under each set of cluster weights, and what it was calibrated on."""

    accepted: Floats
    n_calibration: float
    effective_n: float
    threshold: float


def coverage_rows(
    scores: Floats | Mapping[str, Floats],
    design: Design,
    *,
    target: float,
    resampling: Resampling,
    vectors: NDArray[np.floating[Any]] | None = None,
    clean: Floats | None = None,
    min_count: int = 10,
    seed: int = 0,
) -> list[Row]:
    """Measure how much of each group is accepted: rows of coverage.csv, less what was scored under which condition.

    Parameters
    ----------
    scores : (n,) float array, or one for each group
        Higher meaning more bona fide; of each group those of a head that has not met it, nan for trials that are in none of its tests.
    design : Design
        The trials, their groups and folds.
    target : float
        The share of exchangeable spoof to let through.
    vectors : (n, d) float array, optional
        Embeddings that density ratios are estimated from; without them there is no `weighted`.
    clean : (n,) float array, optional
        Scores of the same trials heard clean.
    min_count : int
        A group with fewer trials is left out.

    Returns
    -------
    list of dict
        A row per group and variant, and for each variant the mean over groups by their numbers of trials (`held` "all"). Intervals resample
        whole speakers (a group of one voice: sentences) in calibration and test together.
    """
    work = _Work(design, target, resampling, seed)
    rows: list[Row] = []
    totals: dict[str, list[tuple[Floats, Floats]]] = {}
    for group in design.groups:
        own = scores if isinstance(scores, np.ndarray) else scores.get(group)
        if own is None or design.counts(group) < min_count:
            continue
        try:
            splits = list(design.splits(group))
        except NotEnoughTrials:
            continue
        splits = [split for split in splits if split.own_train.any() and (split.others & work.spoof).any()]
        if not splits:
            continue
        found = dict(work.answers(own, splits, vectors, clean))
        rows += work.rows(group, splits, found)
        for variant, answer in found.items():
            totals.setdefault(variant, []).append((answer.accepted, work.weight(splits)))
    for variant, parts in totals.items():
        if len(parts) == len(totals["held out"]):
            rows.append(work.whole(variant, parts, totals[CONTROL]))
    return rows


class _Work:
    """One set of draws for every group and variant, so that differences are paired."""

    def __init__(self, design: Design, target: float, resampling: Resampling, seed: int) -> None:
        self.design, self.target, self.resampling = design, target, resampling
        self.spoof = ~design.is_bonafide & (design.held != "")
        self.seed = seed
        self.unit, self.codes, self.drawn = "", np.zeros(0, dtype=np.intp), np.zeros((0, 0))

    def resample_by(self, unit: str) -> None:
        """Draw weights of the values of a column, the first set being ones; the same for every group that it serves."""
        if unit == self.unit:
            return
        frame, n = self.design.frame, len(self.design)
        self.unit = unit
        self.codes = codes_of(frame[unit]) if unit in frame.columns else np.arange(n)
        size = int(self.codes.max()) + 1
        clusters = Clusters((Factor(unit, size, np.zeros(0, np.intp), self.codes),), 0, n)
        drawn = draw_weights(clusters, self.resampling["replicates"], np.random.default_rng(self.seed))[0]
        self.drawn = np.concatenate((np.ones((1, size)), drawn))

    def weight(self, splits: Sequence[Split]) -> Floats:
        """Count the tested trials of a group under each set of weights."""
        tested = np.concatenate([self.codes[split.own] for split in splits])
        return np.asarray(self.drawn @ np.bincount(tested, minlength=self.drawn.shape[1]))

    def answers(
        self, scores: Floats, splits: Sequence[Split], vectors: NDArray[Any] | None, clean: Floats | None
    ) -> Iterator[tuple[str, _Answer]]:
        """Judge the tested trials of a group by every variant."""
        columns = splits[0].disjoint or ("trial_id",)
        varied = [name for name in columns if len(np.unique(codes_of(self.design.frame[name])[_own(splits)])) > 1]
        self.resample_by((*varied, "trial_id")[0])
        others, own = [split.others & self.spoof for split in splits], [split.own_train for split in splits]
        both = [first | second for first, second in zip(others, own, strict=True)]
        for variant, chosen in {"held out": others, CONTROL: both, "within f": own}.items():
            yield variant, self._pooled(scores, scores, splits, [[rows] for rows in chosen])
        by_group = [[rows & (self.design.held == name) for name in np.unique(self.design.held[rows])] for rows in others]
        yield "mondrian", self._pooled(scores, scores, splits, by_group)
        if vectors is not None:
            yield "weighted", self._weighted(scores, splits, others, vectors)
        if clean is not None:
            yield "held out, calibrated clean", self._pooled(scores, clean, splits, [[rows] for rows in others])

    def _pooled(
        self, scores: Floats, calibration: Floats, splits: Sequence[Split], chosen: Sequence[Sequence[Mask]]
    ) -> _Answer:
        """Accept where every set of a split's calibration trials accepts."""
        accepted, thresholds, sizes = [], [], []
        for split, masks in zip(splits, chosen, strict=True):
            masks = [rows & np.isfinite(calibration) for rows in masks]
            sets = [CalibrationSet(calibration[rows], self.codes[rows]) for rows in masks if rows.any()]
            tested = split.own & np.isfinite(scores)
            accepted.append(accepted_weight(sets, scores[tested], self.codes[tested], self.drawn, self.target))
            thresholds.append(max(float(conformal_threshold(one.scores, self.target)) for one in sets))
            sizes.append(sum(len(one.scores) for one in sets))
        size = float(np.mean(sizes))
        return _Answer(np.sum(accepted, axis=0), size, size, float(np.median(thresholds)))

    def _weighted(self, scores: Floats, splits: Sequence[Split], others: Sequence[Mask], vectors: NDArray[Any]) -> _Answer:
        accepted, thresholds, sizes, effective = [], [], [], []
        for split, known in zip(splits, others, strict=True):
            known = known & np.isfinite(scores)
            tested = split.own & np.isfinite(scores)
            ratio = density_ratio(vectors, split.own_train, known)
            order = np.flatnonzero(tested)[np.argsort(scores[tested], kind="stable")]
            calibration = CalibrationSet(scores[known], self.codes[known], ratio[known])
            chance = calibration.accept(scores[order], self.drawn, self.target, ratio[order])
            accepted.append((chance * self.drawn[:, self.codes[order]]).sum(axis=1))
            own = ratio[order]
            thresholds.append(
                float(np.median(conformal_threshold(scores[known], self.target, weights=ratio[known], own_weights=own)))
            )
            sizes.append(int(known.sum()))
            effective.append(effective_size(ratio[known]))
        return _Answer(np.sum(accepted, axis=0), float(np.mean(sizes)), float(np.mean(effective)), float(np.median(thresholds)))

    def rows(self, group: str, splits: Sequence[Split], found: Mapping[str, _Answer]) -> Iterator[Row]:
        """Lay out one group."""
        weight = self.weight(splits)
        disjoint = " and ".join(splits[0].disjoint)
        weak = (
            f"calibration shares no {disjoint} with the tested trials, but a voice"
            if splits[0].disjoint != self.design.known
            else ""
        )
        for variant, answer in found.items():
            few = (
                f"worth {answer.effective_n:.0f} calibration trials, too few for {self.target:g}"
                if answer.effective_n < FEW
                else ""
            )
            yield {
                "held_by": self.design.held_by,
                "held": group,
                "variant": variant,
                "target": self.target,
                "n": int(_own(splits).sum()),
                "n_calibration": round(answer.n_calibration),
                "effective_n": answer.effective_n,
                "threshold": answer.threshold if np.isfinite(answer.threshold) else np.nan,
                "note": "; ".join(filter(None, (weak, few))),
            } | self._rates(variant, answer.accepted, found[CONTROL].accepted, weight)

    def whole(self, variant: str, parts: Sequence[tuple[Floats, Floats]], control: Sequence[tuple[Floats, Floats]]) -> Row:
        """Lay out all groups together, each trial counting the same."""
        accepted, weight = (np.sum([part[at] for part in parts], axis=0) for at in (0, 1))
        kept = np.sum([part[0] for part in control], axis=0)
        row = {
            "held_by": self.design.held_by,
            "held": ALL,
            "variant": variant,
            "target": self.target,
            "n": round(float(weight[0])),
        }
        return row | {"note": f"{len(parts)} groups"} | self._rates(variant, accepted, kept, weight)

    def _rates(self, variant: str, accepted: Floats, control: Floats, weight: Floats) -> Row:
        answer: Row = {}
        sides = {"rate": accepted} if variant == CONTROL else {"rate": accepted, "difference": accepted - control}
        for name, values in sides.items():
            share = np.divide(values, weight, out=np.full_like(weight, np.nan), where=weight > 0)
            tail = (1 - self.resampling["level"]) / 2
            low, high = np.nanquantile(share[1:], [tail, 1 - tail])
            answer |= {name: float(share[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
        return answer


def _own(splits: Sequence[Split]) -> Mask:
    """Mark what is tested in any split."""
    return np.asarray(np.any([split.own for split in splits], axis=0))


def density_ratio(vectors: NDArray[np.floating[Any]], group: Mask, others: Mask) -> Floats:
    """Estimate at every row how much denser a group lies there than the others, up to a constant factor.

    Odds of a logistic regression on the first principal components of the standardised rows of both, clipped at fifty times their median
    over `others`. A row that was learnt from is judged as well as one that was not; neither says anything of its score.

    Parameters
    ----------
    vectors : (n, d) float array
    group, others : (n,) bool array
        Rows that the regression learns from.
    """
    from scipy.linalg import eigh

    known = group | others
    seen = np.asarray(vectors[known], dtype=np.float64)
    scale = seen.std(axis=0)
    z = (np.asarray(vectors, dtype=np.float64) - seen.mean(axis=0)) / np.where(scale > 0, scale, 1)
    d = z.shape[1]
    axes = eigh(z[known].T @ z[known], subset_by_index=[max(d - COMPONENTS, 0), d - 1])[1]
    fit = fit_logistic(z @ axes, group, known.astype(np.float64))
    logit = fit.decision(z @ axes)[:, 0]
    middle = float(np.median(logit[others]))
    answer: Floats = np.exp(np.clip(logit - middle, -np.log(LARGEST_RATIO), np.log(LARGEST_RATIO)))
    return answer
