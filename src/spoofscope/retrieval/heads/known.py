"""The rows that a trial is compared with, and its nearest on both sides.

Bona fide and spoof rows lie in two indexes of one space, so that one search answers every question: the k nearest of each side hold the k
nearest of all, and the distances to each side's k-th are estimates of the two densities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.design import Codes, Design, Mask
from spoofscope.errors import DataError, NotEnoughTrials, RunFolderError
from spoofscope.retrieval import open_index
from spoofscope.retrieval.index import Index, Metric, Vectors
from spoofscope.retrieval.settings import Setting
from spoofscope.retrieval.space import Space
from spoofscope.retrieval.stored import read_index, write_index

Similarities = NDArray[np.float32]
Places = NDArray[np.int64]
SPACE = "space"
FARTHEST_COSINE = -1.0


class Near(NamedTuple):
    """Neighbours of q trials, nearest first: (q, k) similarities, and the rows of the table that they are; -1 where fewer were found."""

    similarities: Similarities
    rows: Places


@dataclass(frozen=True, eq=False)
class Sides:
    """The k nearest bona fide and the k nearest spoof rows of q trials.

    Parameters
    ----------
    bonafide, spoof : Near
    metric : {"cosine", "euclidean"}
    """

    bonafide: Near
    spoof: Near
    metric: Metric

    @property
    def k(self) -> int:
        """How many neighbours each side has."""
        return int(self.bonafide.rows.shape[1])

    @property
    def n_missing(self) -> int:
        """Neighbours that an approximate search did not find, over all trials and both sides."""
        return int((self.bonafide.rows < 0).sum() + (self.spoof.rows < 0).sum())

    @cached_property
    def nearest(self) -> tuple[Near, Mask]:
        """The k nearest of both sides together, and which of them are bona fide: (q, k)."""
        both = np.concatenate((self.bonafide.similarities, self.spoof.similarities), axis=1)
        rows = np.concatenate((self.bonafide.rows, self.spoof.rows), axis=1)
        # Of equals the spoof comes first, so that a tie is never read as bona fide.
        is_bonafide = np.repeat([True, False], self.k)
        order = np.lexsort((np.broadcast_to(is_bonafide, both.shape), -both), axis=1)[:, : self.k]
        near = Near(np.take_along_axis(both, order, axis=1), np.take_along_axis(rows, order, axis=1))
        return near, is_bonafide[order]

    def take(self, rows: Mask) -> Sides:
        """Keep some of the trials."""
        bonafide, spoof = (Near(side.similarities[rows], side.rows[rows]) for side in (self.bonafide, self.spoof))
        return Sides(bonafide, spoof, self.metric)

    def distances(self, similarities: Similarities) -> NDArray[np.float64]:
        """Turn similarities into distances: 1 - cosine, or the Euclidean distance."""
        answer = (1.0 if self.metric == "cosine" else 0.0) - similarities.astype(np.float64)
        return np.maximum(answer, 0.0)


class Known:
    """Bona fide and spoof rows of a table, in two indexes of one space; the ids of an index are rows of the table."""

    def __init__(self, space: Space, bonafide: Index, spoof: Index) -> None:
        self.space, self.bonafide, self.spoof = space, bonafide, spoof

    @classmethod
    def of(cls, vectors: Vectors, is_bonafide: Mask, rows: Mask, setting: Setting, space: Space | None = None) -> Self:
        """Index rows of a table: (n, dim) vectors, (n,) masks; the space is fitted on the rows that are indexed, unless given.

        Raises
        ------
        NotEnoughTrials
            If there are no bona fide or no spoof rows among them.
        """
        space = space or setting.fit(vectors[rows])
        indexes = []
        for name, side in (("bona fide", rows & is_bonafide), ("spoof", rows & ~is_bonafide)):
            places = np.flatnonzero(side)
            if not len(places):
                raise NotEnoughTrials(f"no {name} trials to be neighbours of anything")
            index = setting.build_mapped()
            index.add(places, space(np.asarray(vectors[places], dtype=np.float32)))
            indexes.append(index)
        return cls(space, *indexes)

    def search(self, vectors: Vectors, k: int) -> Sides:
        """Find the k nearest rows of each side to (q, dim) vectors.

        Raises
        ------
        NotEnoughTrials
            If a side has fewer than k rows.
        """
        mapped = self.space(np.asarray(vectors, dtype=np.float32))
        return Sides(self.near(mapped, k, "bonafide"), self.near(mapped, k, "spoof"), self.bonafide.metric)

    def near(self, mapped: NDArray[np.float32], k: int, name: str) -> Near:
        """Find the k nearest rows of one side, `bonafide` or `spoof`, to vectors that are mapped already."""
        index: Index = getattr(self, name)
        if k > len(index):
            raise NotEnoughTrials(
                f"{k} neighbours of each class were asked for, and there are {len(index)} {name} trials to be found. Lower neighbours."
            )
        found = index.search(mapped, k)
        return Near(_completed(found.similarities, index.metric), np.where(found.places < 0, -1, found.ids).astype(np.int64))

    def save(self, folder: Path) -> None:
        """Write both indexes and the space, each into a folder of its own."""
        self.bonafide.save(folder / "bonafide")
        self.spoof.save(folder / "spoof")
        arrays = {"mean": self.space.mean} | ({} if self.space.axes is None else {"axes": self.space.axes})
        write_index(folder / SPACE, SPACE, {}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` has written.

        Raises
        ------
        RunFolderError
            If a part is missing, or not what was written.
        """
        _, arrays = read_index(folder / SPACE, SPACE)
        indexes = [open_index(folder / name) for name in ("bonafide", "spoof")]
        if "mean" not in arrays or len({index.metric for index in indexes}) > 1:
            raise RunFolderError(f"{folder} does not hold two indexes of one space. Build it again with 'spoofscope retrieve'.")
        return cls(Space(arrays["mean"], arrays.get("axes")), *indexes)


def _completed(similarities: Similarities, metric: Metric) -> Similarities:
    """Put neighbours that were not found as far away as can be: opposite, or with the farthest that was found."""
    missing = np.isneginf(similarities)
    if not missing.any():
        return similarities
    if missing.all():
        raise DataError("not one neighbour was found. Let the index look further (radius, n_probes).")
    far = FARTHEST_COSINE if metric == "cosine" else similarities[~missing].min()
    return np.where(missing, np.float32(far), similarities)


def cross_fitted_sides(
    vectors: Vectors, design: Design, settings: Sequence[Setting], k: int, *, without: str = ""
) -> list[Sides]:
    """Find the neighbours of every trial among the trials of the other folds, by each of several indexes.

    Parameters
    ----------
    vectors : (n, dim) float array
        One layer, its rows those of the design.
    without : str
        A group that is not indexed. Its own folds are those of `Design.splits`.

    Returns
    -------
    list of Sides
        One for each setting, over all n rows; the space is fitted on the indexed rows of each fold.

    Raises
    ------
    NotEnoughTrials
        If a fold leaves fewer than k trials of a class to find, or the group cannot be parted.
    """
    answers = [_blank(len(design), k, setting.metric) for setting in settings]
    for train, test in _folds(design, without):
        spaces = {}
        for setting, sides in zip(settings, answers, strict=True):
            if setting.space not in spaces:
                spaces[setting.space] = setting.fit(vectors[train])
            known = Known.of(vectors, design.is_bonafide, train, setting, spaces[setting.space])
            _put(sides, test, known.search(vectors[test], k))
    return answers


def _folds(design: Design, without: str) -> Iterator[tuple[Mask, Mask]]:
    """Yield what is indexed and what is searched for, fold by fold."""
    splits = {split.fold: split for split in design.splits(without)} if without else {}
    for fold in np.unique(design.fold):
        split = splits.get(int(fold))
        own = design.held == without if without else np.zeros(len(design), dtype=bool)
        train = split.others if split else (design.fold != fold) & ~own
        test = ((design.fold == fold) & ~own) | (split.own if split else False)
        yield train, test


def _blank(n: int, k: int, metric: Metric) -> Sides:
    near = [Near(np.full((n, k), np.nan, dtype=np.float32), np.full((n, k), -1, dtype=np.int64)) for _ in range(2)]
    return Sides(near[0], near[1], metric)


def _put(sides: Sides, rows: Mask, found: Sides) -> None:
    for side, part in ((sides.bonafide, found.bonafide), (sides.spoof, found.spoof)):
        side.similarities[rows] = part.similarities
        side.rows[rows] = part.rows


def search_without(known: Known, vectors: Vectors, k: int, linked: Sequence[tuple[Codes, Codes]]) -> Sides:
    """Find the k nearest rows of each side that share nothing with the query.

    Parameters
    ----------
    known : Known
        What is searched.
    vectors : (q, dim) float array
    k : int
    linked : sequence of ((q,), (n,)) int arrays
        For each thing that must differ (trial, speaker, source): its number for the queries, and for the rows of the table; -1 never matches.

    Returns
    -------
    Sides
        Where a query shares something with all but a few rows of a side, the rest is missing, as far away as can be.
    """
    mapped = known.space(np.asarray(vectors, dtype=np.float32))
    bonafide, spoof = (_allowed(known, mapped, k, name, linked) for name in ("bonafide", "spoof"))
    return Sides(bonafide, spoof, known.bonafide.metric)


def _allowed(known: Known, mapped: NDArray[np.float32], k: int, name: str, linked: Sequence[tuple[Codes, Codes]]) -> Near:
    """Search wider and wider, until every query has k rows that it shares nothing with or all rows were seen."""
    size = len(getattr(known, name))
    similarities = np.full((len(mapped), k), -np.inf, dtype=np.float32)
    rows = np.full((len(mapped), k), -1, dtype=np.int64)
    waiting, wide = np.arange(len(mapped)), min(2 * k, size)
    while len(waiting):
        found = known.near(mapped[waiting], wide, name)
        is_free = found.rows >= 0
        for own, others in linked:
            mine = own[waiting, None]
            is_free &= (others[found.rows] != mine) | (mine < 0)
        done = np.full(len(waiting), True) if wide == size else is_free.sum(axis=1) >= k
        order = np.argsort(~is_free[done], axis=1, kind="stable")[:, :k]
        free, near = (np.take_along_axis(array[done], order, axis=1) for array in (is_free, found.similarities))
        kept = waiting[done]
        similarities[kept, : order.shape[1]] = np.where(free, near, -np.inf)
        rows[kept, : order.shape[1]] = np.where(free, np.take_along_axis(found.rows[done], order, axis=1), -1)
        waiting, wide = waiting[~done], min(2 * wide, size)
    return Near(_completed(similarities, getattr(known, name).metric), rows)
