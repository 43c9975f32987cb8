"""Is a trial unlike everything known? Distances to the nearest row, a threshold frozen on known rows, and what refusing the far ones buys.

Novelty is the distance to the m-th nearest of all indexed rows, bona fide and spoof (m = 1 in the reference study: 1 - the largest cosine). A group is tested
by an index without it. A detector of the unknown that rejects bona fide speech just as often is of no use, so every figure stands beside two sets of negatives: bona
fide trials, and known spoof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spoofscope.analysis.cells import Resampling, with_interval
from spoofscope.analysis.design import Design, Mask
from spoofscope.analysis.holdout import group_clusters
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics.clusters import Clusters
from spoofscope.metrics.intervals import ScorePair, TallyMetric, bootstrap, false_alarm_at, miss_at
from spoofscope.metrics.rates import Tally, eer_threshold
from spoofscope.retrieval.heads.detection import Floats, density
from spoofscope.retrieval.heads.known import Sides

CAUGHT = 0.95
KEPT = (1.0, 0.99, 0.975, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of known trials that are answered, down the curve of refusals."""
AGAINST = ("bonafide", "known")


def novelty_of(sides: Sides, m: int = 1) -> Floats:
    """Return the (q,) distances to the m-th nearest row of all.

    Raises
    ------
    NotEnoughTrials
        If m is above the neighbours that each side has.
    """
    if m > sides.k:
        raise NotEnoughTrials(
            f"novelty is the distance to neighbour {m}, of {sides.k} that were searched for. Raise neighbours."
        )
    return sides.distances(sides.nearest[0].similarities[:, m - 1])


def _false_novel(counts: Tally) -> float:
    """Share of the known at or below the score that 95 % of the novel do not exceed; scores are novelty with its sign changed."""
    if not (counts.spoof.sum() > 0 and counts.bonafide.sum() > 0):
        return np.nan
    caught = np.cumsum(counts.spoof) / counts.spoof.sum()
    place = int(np.searchsorted(caught, CAUGHT - 1e-12))
    return float(counts.bonafide[: place + 1].sum() / counts.bonafide.sum())


FPR95 = TallyMetric("fpr95", _false_novel)
"""The share of known trials that are called novel where 95 % of the novel ones are."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Every trial of a design as an index without one group sees it.

    Parameters
    ----------
    design : Design
    group : str
    disjoint : tuple of str
        Columns of which the group shares no value with what is indexed.
    is_own, is_bonafide, is_known : (n,) mask
        The tested rows of the group, bona fide rows, and spoof rows of other groups.
    novelty, score : (n,) float array
        Distance to the known, and the detection score of the same neighbours, higher meaning more bona fide.
    """

    design: Design
    group: str
    disjoint: tuple[str, ...]
    is_own: Mask
    is_bonafide: Mask
    is_known: Mask
    novelty: Floats
    score: Floats

    @classmethod
    def of(cls, design: Design, group: str, sides: Sides, m: int) -> HeldOut:
        """Read novelty and scores off the neighbours of every trial in an index without the group."""
        splits = list(design.splits(group))
        own = np.any([split.own for split in splits], axis=0)
        bonafide = np.any([split.bonafide for split in splits], axis=0)
        known = ~design.is_bonafide & (design.held != group)
        seen = own | design.is_bonafide | known
        novelty, score = np.full((2, len(design)), np.nan)
        part = sides.take(seen)
        novelty[seen], score[seen] = novelty_of(part, m), density(part)
        return cls(design, group, splits[0].disjoint, own, bonafide, known, novelty, score)

    def negatives(self, against: str) -> Mask:
        """The known rows of one kind."""
        return self.is_bonafide if against == "bonafide" else self.is_known

    def clusters(self, negatives: Mask, columns: Sequence[str]) -> Clusters | None:
        """What an interval resamples whole; the group's attack is one, so it is no factor."""
        frame = self.design.frame
        return group_clusters(frame.filter(negatives), frame.filter(self.is_own), columns, self.disjoint)

    def frozen(self, values: Floats, share: float) -> Floats:
        """Return for each row the quantile of known rows in other folds that leaves `share` of them at or below it: (n,)."""
        known = self.is_known | self.design.is_bonafide
        answer = np.full(len(self.design), np.nan)
        for fold in np.unique(self.design.fold):
            settled = np.sort(values[known & (self.design.fold != fold)])
            at = min(len(settled) - 1, int(np.ceil(share * (len(settled) + 1))) - 1)
            answer[self.design.fold == fold] = settled[max(at, 0)] if share < 1 else np.inf
        return answer

    def decided(self) -> Mask:
        """Which rows the detection score calls bona fide, at the threshold of equal errors on known rows of other folds: (n,)."""
        answer = np.zeros(len(self.design), dtype=bool)
        for fold in np.unique(self.design.fold):
            away = self.design.fold != fold
            threshold = eer_threshold(self.score[away & self.design.is_bonafide], self.score[away & self.is_known])
            answer |= (self.design.fold == fold) & (self.score >= threshold)
        return answer


def novelty_row(held: HeldOut, columns: Sequence[str], *, share: float, seed: int, resampling: Resampling) -> dict[str, Any]:
    """Return the row of novelty.csv for one group, less what names the space and the index.

    Parameters
    ----------
    columns : sequence of str
        What intervals resample whole.
    share : float
        Of known trials, to be accepted as known at the frozen threshold.
    """
    row: dict[str, Any] = {"held": held.group, "n_novel": int(held.is_own.sum())}
    # At or above 0 is known: what is farther than the threshold is called novel.
    margin = held.frozen(held.novelty, share) - held.novelty
    for against in AGAINST:
        negatives = held.negatives(against)
        clusters = held.clusters(negatives, columns)

        def estimate(metric: Any, values: Floats, negatives: Mask = negatives, clusters: Clusters | None = clusters) -> Any:
            pair = ScorePair(values[negatives], values[held.is_own])
            return bootstrap(metric, *pair, clusters, rng=np.random.default_rng(seed), **resampling)

        auc = estimate("auc", -held.novelty)
        row |= {f"n_{against}": auc.n_bonafide} | with_interval(f"auc_{against}", auc)
        row |= with_interval(f"fpr95_{against}", estimate(FPR95, -held.novelty))
        row |= with_interval(f"false_novel_{against}", estimate(miss_at(0.0), margin))
        if against == AGAINST[0]:
            row |= with_interval("evading", estimate(false_alarm_at(0.0), margin))
            row |= with_interval("eer_without", estimate("eer", held.score)) | {"note": auc.note}
    median = {
        name: float(np.median(held.novelty[rows])) for name, rows in (("novel", held.is_own), ("bonafide", held.is_bonafide))
    }
    row |= {f"median_{name}": value for name, value in median.items()}
    return row | {"disjoint": " and ".join(held.disjoint)}


def refusal_rows(held: Mapping[str, HeldOut] | Sequence[HeldOut], *, resampling: Resampling, seed: int) -> list[dict[str, Any]]:
    """Follow what refusing the novel costs and buys: rows of refusal.csv, means over groups; intervals resample whole groups.

    Each threshold is the quantile of known trials of other folds that answers the share `kept` of them. Of the trials that are answered, `passed` is
    the share of the group's that are called bona fide, and `rejected` that of bona fide that are called spoof; both stay counts of all trials in
    `passed_of_all`, where a refused trial is no error. `risk` is the mean of `passed` and `rejected`.
    """
    groups = list(held.values()) if isinstance(held, Mapping) else list(held)
    decided = [one.decided() for one in groups]
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(groups), size=(resampling["replicates"], len(groups)))
    tails = [(1 - resampling["level"]) / 2, (1 + resampling["level"]) / 2]
    rows = []
    for kept in KEPT:
        found = [_refused(one, says, kept) for one, says in zip(groups, decided, strict=True)]
        row: dict[str, Any] = {"kept": kept, "n_groups": len(groups)}
        for name in found[0]:
            values = np.array([one[name] for one in found])
            known = ~np.isnan(values)
            row[name] = float(values[known].mean()) if known.any() else np.nan
            low = high = np.nan
            if known.sum() > 1:
                weight = known[picks].sum(axis=1)
                total = np.where(known, values, 0.0)[picks].sum(axis=1)
                means = total[weight > 0] / weight[weight > 0]
                low, high = np.quantile(means, tails) if means.min() < means.max() else (np.nan, np.nan)
            row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
        rows.append(row)
    return rows


def _refused(held: HeldOut, says_bonafide: Mask, kept: float) -> dict[str, float]:
    answered = held.novelty <= held.frozen(held.novelty, kept)

    def share(of: Mask, among: Mask) -> float:
        return float((of & among).sum() / among.sum()) if among.any() else np.nan

    own, bonafide = held.is_own, held.is_bonafide
    passed, rejected = share(says_bonafide, own & answered), share(~says_bonafide, bonafide & answered)
    return {
        "answered_novel": share(answered, own),
        "answered_bonafide": share(answered, bonafide),
        "passed": passed,
        "rejected": rejected,
        "risk": (passed + rejected) / 2,
        "passed_of_all": share(answered & says_bonafide, own),
    }
