"""Rows with ids in a fitted space: what the indexes of this package share, and how they answer, are saved and loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import DataError, MissingExtra, RunFolderError, SpoofscopeError, UserError
from spoofscope.retrieval.index import METRICS, Found, Ids, Metric, Places, Vectors
from spoofscope.retrieval.selection import MOST_ROWS, Numbers, most_similar
from spoofscope.retrieval.space import ROWS_AT_ONCE, Space, fit_space
from spoofscope.retrieval.stored import read_index, write_index

Prepared = NDArray[np.float32]


class Pairs(NamedTuple):
    """Rows to compare with queries, as flat arrays in order of query, and how many rows each of the queries looked at.

    `similarity` is given where the exact similarities of all rows looked at are known already; they are not computed again.
    """

    query: Numbers
    row: Numbers
    candidates: Places
    similarity: Prepared | None = None


class RowIndex(ABC):
    """An index that keeps the vectors and re-ranks what it finds by their exact similarity; see `spoofscope.retrieval.index.Index`.

    A kind of index says which rows to compare (`_propose`) by the arrays that it keeps for this (`kept`, `_follow`).

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
        What similarity is.
    center, whiten : bool
        Whether rows and queries are centred, or centred and whitened, by what `fit_space` finds on the first rows added. Distances are always of
        centred rows, being the same.
    components : int, optional
        Keep this many of the whitened axes, those of largest variance.
    """

    kind: ClassVar[str]
    kept: ClassVar[tuple[str, ...]] = ()
    """Names of the arrays that are saved beside ids, vectors and space; they are attributes with an underscore before."""

    def __init__(self, *, metric: Metric, center: bool = False, whiten: bool = False, components: int | None = None) -> None:
        if metric not in METRICS:
            raise UserError(f"no metric '{metric}'; there are {', '.join(METRICS)}")
        if components is not None and not (whiten and components >= 1):
            raise UserError(f"components={components}: whitened axes can be counted from 1, with whiten=True")
        self._settings: dict[str, Any] = {"metric": metric, "center": center, "whiten": whiten, "components": components}
        self._space: Space | None = None
        self._dim = 0
        self._ids: Ids = np.empty(0, dtype="U1")
        self._vectors: Prepared = np.empty((0, 0), dtype=np.float32)

    @property
    def metric(self) -> Metric:
        """What similarity is."""
        found: Metric = self._settings["metric"]
        return found

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the index was asked for: the keywords of its class."""
        return dict(self._settings)

    @property
    def dim(self) -> int:
        """Length of the vectors that are added and searched; 0 before the first are."""
        return self._dim

    @property
    def ids(self) -> Ids:
        """(n,) ids, by place."""
        return self._ids

    @property
    def vectors(self) -> Prepared:
        """(n, r) rows as they are compared: in the index's space, and of length 1 for the cosine."""
        return self._vectors

    @property
    def nbytes(self) -> int:
        """Bytes of all that a search reads."""
        return sum(array.nbytes for array in self._stored().values())

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Sequence[str] | Sequence[int] | Ids, vectors: Vectors) -> None:
        """Add rows; the first ones fit the space. See `Index.add`."""
        vectors = np.asarray(vectors)
        named = _as_ids(ids)
        if vectors.ndim != 2 or len(vectors) != len(named):
            raise DataError(f"{len(named)} ids need vectors ({len(named)}, dim); found {vectors.shape}")
        if not len(named):
            return
        self._check_new(named)
        self._check_dim(vectors)
        if len(self) + len(named) >= MOST_ROWS:
            raise UserError(f"an index holds fewer than {MOST_ROWS:,} rows; found {len(self) + len(named):,}")
        space = self._space
        # Distances do not change with the origin, and round least about the mean.
        if space is None and (self._settings["center"] or self._settings["whiten"] or self.metric == "euclidean"):
            _check_finite(vectors, named)
            space = fit_space(vectors, whiten=self._settings["whiten"], components=self._settings["components"])
        new = self._prepare(vectors, space, named)
        before = len(self)
        self._space, self._dim = space, vectors.shape[1]
        self._ids = np.concatenate((self._ids, named)) if before else named
        self._vectors = np.concatenate((self._vectors, new)) if before else new
        self._follow(np.arange(before))

    def remove(self, ids: Sequence[str] | Sequence[int] | Ids) -> None:
        """Remove rows, at the price of moving those that stay. See `Index.remove`."""
        named = _as_ids(ids)
        if not len(named):
            return
        gone = np.isin(self._ids, named)
        if gone.sum() < len(named):
            unknown = np.setdiff1d(named, self._ids).tolist() or _doubles(named)
            raise DataError(f"cannot remove {_some(unknown)}: not among the {len(self)} ids of the index, or named twice")
        stay = np.flatnonzero(~gone)
        self._ids, self._vectors = self._ids[stay], self.vectors[stay]
        self._follow(stay)

    def search(self, vectors: Vectors, k: int) -> Found:
        """Find the k most similar rows of each query. See `Index.search`."""
        if not 1 <= k <= len(self):
            raise UserError(f"k = {k} neighbours were asked of an index of {len(self)} rows; k must be from 1 to that")
        vectors = np.asarray(vectors)
        if vectors.ndim != 2:
            raise DataError(f"queries must be (q, {self._dim}); found {vectors.shape}")
        self._check_dim(vectors)
        queries = self._prepare(vectors, self._space, None)
        places = np.empty((len(queries), k), dtype=np.int64)
        similarities = np.empty((len(queries), k), dtype=np.float32)
        candidates, reranked = np.empty((2, len(queries)), dtype=np.int64)
        for start, stop, pairs in self._propose(queries, k):
            near = self._similarity(queries[start:stop], pairs) if pairs.similarity is None else pairs.similarity
            places[start:stop], similarities[start:stop] = most_similar(pairs.query, pairs.row, near, stop - start, k)
            candidates[start:stop] = pairs.candidates
            compared = np.bincount(pairs.query, minlength=stop - start)
            reranked[start:stop] = compared if pairs.similarity is None else pairs.candidates
        named = np.where(places < 0, np.array("" if self._ids.dtype.kind == "U" else -1), self._ids[places])
        return Found(named, similarities, places, candidates, reranked)

    def save(self, folder: str | Path) -> None:
        """Write the index as `.npy` arrays and a `key.json`, which comes last. See `Index.save`."""
        if not len(self):
            raise UserError(f"nothing to save in {folder}: the index has no rows")
        write_index(Path(folder), self.kind, self._key(), self._stored())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open a saved index; its arrays stay on disk until they are read. See `Index.load`."""
        key, arrays = read_index(Path(folder), cls.kind)
        try:
            index = cls(**key["settings"])
            index._dim, index._ids = int(key["dim"]), arrays["ids"]
            if "mean" in arrays:
                index._space = Space(arrays["mean"], arrays.get("axes"))
            index._restore(key, arrays)
        except MissingExtra:
            raise
        except (KeyError, TypeError, ValueError, SpoofscopeError) as error:
            raise RunFolderError(f"{folder} is no whole index of kind '{cls.kind}' ({error}). Build it again.") from error
        return index

    @abstractmethod
    def _propose(self, queries: Prepared, k: int) -> Iterator[tuple[int, int, Pairs]]:
        """Yield blocks of queries, from start to stop, and the rows to compare them with; queries count from 0 in each block."""

    @abstractmethod
    def _follow(self, old: Places) -> None:
        """Bring the kept arrays up to date: the first rows are those that stood at the places `old`, any others are new."""

    def _key(self) -> dict[str, Any]:
        """Say what `load` must know beside the arrays."""
        return {"settings": self._settings, "dim": self._dim}

    def _restore(self, key: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was saved, but ids and space, which are there."""
        self._vectors = arrays["vectors"]
        for name in self.kept:
            setattr(self, f"_{name}", arrays[name])
        if self._ids.shape != self._vectors.shape[:1]:
            raise DataError(f"it holds {len(self._ids)} ids for {len(self._vectors)} vectors")

    def _stored(self) -> dict[str, NDArray[Any]]:
        space: dict[str, NDArray[Any]] = {}
        if self._space is not None:
            space["mean"] = self._space.mean
            if self._space.axes is not None:
                space["axes"] = self._space.axes
        kept = {name: getattr(self, f"_{name}") for name in self.kept}
        return {"ids": self._ids, "vectors": self._vectors} | space | kept

    def _check_dim(self, vectors: Vectors) -> None:
        if vectors.shape[1] == 0 or (self._dim and vectors.shape[1] != self._dim):
            raise DataError(f"vectors of {vectors.shape[1]} numbers, in an index of vectors of {self._dim or 'at least 1'}")

    def _check_new(self, ids: Ids) -> None:
        if len(self) and ids.dtype.kind != self._ids.dtype.kind:
            raise DataError(f"ids of an index are all text or all integers: it has {self._ids[0]!r}, {ids[0]!r} was added")
        if doubles := _doubles(ids):
            raise DataError(f"ids name one row each; twice in what was added: {_some(doubles)}")
        if len(self) and len(known := np.intersect1d(self._ids, ids, assume_unique=True)):
            raise DataError(
                f"{len(known)} ids are in the index already: {_some(known.tolist())}. Remove them first to replace them."
            )

    def _prepare(self, vectors: Vectors, space: Space | None, ids: Ids | None) -> Prepared:
        """Map vectors into the space, block by block, and give them length 1 for the cosine."""
        width = vectors.shape[1] if space is None or space.axes is None else space.axes.shape[1]
        prepared = np.empty((len(vectors), width), dtype=np.float32)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            block = vectors[start : start + ROWS_AT_ONCE]
            _check_finite(block, ids, start)
            rows = np.asarray(block, dtype=np.float32)
            rows = rows if space is None else space(rows)
            if self.metric == "cosine":
                norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
                if len(zero := np.flatnonzero(norms == 0)):
                    what = "equals the mean of the index" if space else "is zero"
                    raise DataError(f"{_row(start + int(zero[0]), ids)} {what} and has no direction, which the cosine needs")
                rows = rows / norms[:, None]
            prepared[start : start + ROWS_AT_ONCE] = rows
        return prepared

    def _similarity(self, queries: Prepared, pairs: Pairs) -> Prepared:
        found = np.empty(len(pairs.row), dtype=np.float32)
        for start in range(0, len(found), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            rows, theirs = self._vectors.take(pairs.row[part], axis=0), queries.take(pairs.query[part], axis=0)
            if self.metric == "euclidean":
                rows -= theirs
                found[part] = -np.sqrt(np.einsum("ij,ij->i", rows, rows))
            else:
                found[part] = np.einsum("ij,ij->i", rows, theirs)
        return found


def _as_ids(ids: Sequence[str] | Sequence[int] | Ids) -> Ids:
    """Turn ids into an array of text or int64."""
    found = np.asarray(ids)
    if found.dtype == object and all(isinstance(value, str) for value in found.flat):
        found = found.astype(str)
    if found.size == 0:
        return np.empty(0, dtype="U1")
    if found.ndim != 1 or found.dtype.kind not in "Uiu":
        raise DataError(f"ids must be a list of text or of integers; found {found.dtype} of shape {found.shape}")
    found = found if found.dtype.kind == "U" else found.astype(np.int64)
    if (found == "").any() if found.dtype.kind == "U" else (found < 0).any():
        raise DataError("an id is empty or negative, which an answer would not tell from its padding")
    return found


def _doubles(ids: Ids) -> list[Any]:
    names, counts = np.unique(ids, return_counts=True)
    doubles: list[Any] = names[counts > 1].tolist()
    return doubles


def _some(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _row(at: int, ids: Ids | None) -> str:
    return f"query {at}" if ids is None else f"row {at} ('{ids[at]}')"


def _check_finite(vectors: Vectors, ids: Ids | None, start: int = 0) -> None:
    """Refuse numbers that are not finite in float32."""
    for at in range(0, len(vectors), ROWS_AT_ONCE):
        with np.errstate(over="ignore"):
            block = np.asarray(vectors[at : at + ROWS_AT_ONCE], dtype=np.float32)
        if len(broken := np.flatnonzero(~np.isfinite(block).all(axis=1))):
            raise DataError(
                f"{_row(start + at + int(broken[0]), ids)} holds NaN or infinity. Leave failed trials out of an index."
            )
