"""Which generator made it? A vote among spoof neighbours, beside a linear probe on the same trials and folds.

Each spoof trial is asked of an index that holds the spoof trials of the other folds, and of a probe that was trained on the same. The vote is weighed as in
detection (by the cosine, clipped at 0, as in the reference study). An answer's confidence is the share of its votes (of the probe: its softmax), so that the unsure
can be left unanswered.

Folds that share neither speaker nor source utterance leave few generators that stand on both sides; each rule is asked apart, and says which classes it left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.cells import Resampling
from spoofscope.analysis.design import DISJOINT, Codes, known_columns
from spoofscope.analysis.probing.decoding import Task, out_of_fold, task_of, types_of
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics.clusters import Clusters, Factor, draw_weights
from spoofscope.retrieval.heads.detection import Floats, vote_weights
from spoofscope.retrieval.index import Found, Metric, Vectors
from spoofscope.retrieval.settings import Setting

VOTE, NEAREST, PROBE = "vote", "nearest", "linear probe"
ANSWERED = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of trials that are answered, the surest first, down the curve of abstention."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What one method says of the m trials of a task.

    Parameters
    ----------
    method : str
    task : Task
    shares : (m, classes) float array
        Confidence in each class, adding up to 1; all 0 where there is no answer.
    """

    method: str
    task: Task
    shares: Floats

    @property
    def said(self) -> Codes:
        """(m,) the class that is answered, the first of equals; the number of classes where there is no answer."""
        return np.asarray(np.where(self.confidence > 0, self.shares.argmax(axis=1), self.shares.shape[1]))

    @property
    def confidence(self) -> Floats:
        """(m,) the share of that class."""
        return np.asarray(self.shares.max(axis=1))

    def hits(self, top: int) -> NDArray[np.bool_]:
        """(m,) whether the true class has a share, and is among the `top` largest."""
        best = np.argsort(-self.shares, axis=1, kind="stable")[:, :top]
        own = self.shares[np.arange(len(self.shares)), self.task.codes]
        return np.asarray((best == self.task.codes[:, None]).any(axis=1) & (own > 0))


def tasks_of(
    frame: pl.DataFrame, column: str, *, folds: int, min_count: int, seed: int
) -> Iterator[tuple[tuple[str, ...], Task]]:
    """Yield what may be asked under each rule of what must differ, the strictest first, and the rule.

    Rules that leave fewer than two classes are passed over, as is one whose task an earlier rule fell back to.
    """
    columns = known_columns(frame, DISJOINT)
    spoof = (frame["label"] == "spoof").to_numpy()
    rules = [columns, *((name,) for name in columns)] if len(columns) > 1 else [columns]
    for rule in rules:
        others = [name for name in DISJOINT if name in frame.columns and name not in rule]
        try:
            task = task_of(frame.drop(others), column, rows=spoof, folds=folds, min_count=min_count, seed=seed)
        except NotEnoughTrials:
            continue
        if task.disjoint == rule:
            yield rule, task


def by_vote(vectors: Vectors, task: Task, setting: Setting, k: int) -> tuple[Answers, Answers]:
    """Ask the k nearest spoof trials of the other folds (all of them, where there are fewer), and the nearest one alone.

    Parameters
    ----------
    vectors : (n, dim) float array
        One layer, its rows those of the table that the task is of.
    """
    own = vectors[task.rows]
    shares = np.zeros((2, len(own), len(task.classes)))
    for fold in np.unique(task.fold):
        train, test = np.flatnonzero(task.fold != fold), np.flatnonzero(task.fold == fold)
        index = setting.build()
        index.add(train, own[train])
        found = index.search(own[test], min(k, len(train)))
        for answer, many in zip(shares, (k, 1), strict=True):
            answer[test] = voted(found, task.codes, len(task.classes), setting.metric, many)
    return Answers(VOTE, task, shares[0]), Answers(NEAREST, task, shares[1])


def voted(found: Found, codes: Codes, n_classes: int, metric: Metric, k: int) -> Floats:
    """Share the votes of the k nearest among the classes of the rows that their ids number: (q, classes), adding up to 1, or to 0 without any."""
    is_there = found.places[:, :k] >= 0
    alike = is_there.astype(np.float64)
    similarities = np.where(is_there, found.similarities[:, :k], -1)
    weights = np.where(is_there, vote_weights(similarities, metric), 0.0)
    # A nearest row of negative cosine is still the nearest: where no vote has weight, all count alike.
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, alike)
    classes = codes[np.where(is_there, found.ids[:, :k], 0)]
    shares = np.zeros((len(classes), n_classes))
    np.add.at(shares, (np.arange(len(classes))[:, None], classes), weights)
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=np.zeros_like(shares), where=total > 0))


def by_probe(vectors: Vectors, task: Task) -> Answers:
    """Ask one logistic regression per class against the rest, trained on the other folds."""
    log_odds = out_of_fold(vectors[task.rows], task.codes, task.fold, len(task.classes))[:, 0]
    shares = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    return Answers(PROBE, task, shares / shares.sum(axis=1, keepdims=True))


class Judged:
    """Answers to one task, and one set of resampled speakers (or sources, or trials) for all of its figures, so that differences are paired."""

    def __init__(self, frame: pl.DataFrame, task: Task, *, resampling: Resampling, seed: int) -> None:
        self.task, self.level = task, resampling["level"]
        self.unit, types = types_of(frame, [task])
        self.types = types[task.rows]
        size = int(self.types.max()) + 1
        clusters = Clusters((Factor(self.unit, size, np.zeros(0, np.intp), self.types),), 0, len(self.types))
        self.note = clusters.caveat()
        drawn = draw_weights(clusters, resampling["replicates"], np.random.default_rng(seed))[0]
        self.drawn = np.concatenate((np.ones((1, size)), drawn))

    def figures(self, answers: Answers) -> dict[str, Floats]:
        """Return (replicates + 1,) values of each figure, the first being that of the trials as they are."""
        n_classes, size = len(self.task.classes), self.drawn.shape[1]
        cells = np.zeros((size, n_classes, n_classes + 1))
        np.add.at(cells, (self.types, self.task.codes, answers.said), 1.0)
        confusion = np.tensordot(self.drawn, cells, axes=1)
        asked, said = confusion.sum(axis=2), confusion.sum(axis=1)[:, :-1]
        right = np.diagonal(confusion, axis1=1, axis2=2)
        recall = np.divide(right, asked, out=np.full_like(right, np.nan), where=asked > 0)
        f1 = np.divide(2 * right, asked + said, out=np.full_like(right, np.nan), where=asked > 0)
        return {
            "top1": self._mean(answers.hits(1)),
            "top3": self._mean(answers.hits(3)),
            "balanced": np.nanmean(recall, axis=1),
            "macro_f1": np.nanmean(f1, axis=1),
        }

    def _mean(self, hits: NDArray[np.bool_]) -> Floats:
        counts = np.bincount(self.types, minlength=self.drawn.shape[1])
        return self._share(np.bincount(self.types, hits, self.drawn.shape[1]), counts)

    def _share(self, right: NDArray[Any], asked: NDArray[Any]) -> Floats:
        weight = self.drawn @ asked
        answer: Floats = np.divide(self.drawn @ right, weight, out=np.full(len(self.drawn), np.nan), where=weight > 0)
        return answer

    def laid_out(self, name: str, values: Floats) -> dict[str, float]:
        """Lay a figure out with its interval; a value that no resample moves has none."""
        known = values[1:][~np.isnan(values[1:])]
        low = high = np.nan
        if len(known) and known.min() < known.max():
            low, high = np.quantile(known, [(1 - self.level) / 2, (1 + self.level) / 2])
        return {name: float(values[0]), f"{name}_low": float(low), f"{name}_high": float(high)}

    def summary(self, answers: Answers, baseline: Mapping[str, Floats] | None = None) -> dict[str, Any]:
        """Return the row of attribution.csv; `difference` is top-1 accuracy less the baseline's."""
        figures = self.figures(answers)
        row: dict[str, Any] = {"method": answers.method, "n_classes": len(self.task.classes), "n": len(self.task.codes)}
        for name, values in figures.items():
            row |= self.laid_out(name, values)
        row |= {"largest_class": float(np.bincount(self.task.codes).max() / len(self.task.codes))}
        row |= {"n_unanswered": int((answers.confidence <= 0).sum())}
        difference = figures["top1"] - baseline["top1"] if baseline else np.full(2, np.nan)
        row |= self.laid_out("difference", difference)
        return row | {"clusters": self.unit, "note": "; ".join(filter(None, (self.task.note, self.note)))}

    def groups(self, answers: Answers) -> Iterator[dict[str, Any]]:
        """Yield a row for each class: recall with its interval, precision."""
        said, size = answers.said, self.drawn.shape[1]
        for code, name in enumerate(self.task.classes):
            own = self.task.codes == code
            asked = np.bincount(self.types[own], minlength=size)
            right = np.bincount(self.types[own & (said == code)], minlength=size).astype(np.float64)
            row: dict[str, Any] = {"method": answers.method, "held": name, "n": int(own.sum())}
            row |= self.laid_out("recall", self._share(right, asked))
            precision = float((own & (said == code)).sum() / (said == code).sum()) if (said == code).any() else np.nan
            yield row | {"precision": precision}

    def confusion(self, answers: Answers) -> Iterator[dict[str, Any]]:
        """Yield how often each class was said of trials of each, where it was; "" is no answer."""
        names = (*self.task.classes, "")
        counts = np.zeros((len(names),) * 2, dtype=np.intp)
        np.add.at(counts, (self.task.codes, answers.said), 1)
        for true, said in zip(*np.nonzero(counts), strict=True):
            yield {"method": answers.method, "held": names[true], "said": names[said], "n": int(counts[true, said])}

    def abstention(self, answers: Answers, shares: Sequence[float] = ANSWERED) -> Iterator[dict[str, Any]]:
        """Yield accuracy among the surest trials, by the share that is answered; equally sure trials are answered together."""
        right = answers.said == self.task.codes
        surest = np.sort(answers.confidence)[::-1]
        for share in shares:
            least = surest[max(1, round(share * len(surest))) - 1]
            kept = answers.confidence >= least
            size = self.drawn.shape[1]
            values = self._share(
                np.bincount(self.types[kept], right[kept], size), np.bincount(self.types[kept], minlength=size)
            )
            row: dict[str, Any] = {"method": answers.method, "answered": float(kept.mean()), "least_confidence": float(least)}
            yield row | self.laid_out("accuracy", values)
