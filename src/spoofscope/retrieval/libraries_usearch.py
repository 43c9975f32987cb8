"""A kind of index that usearch searches: a graph of near rows.

References
----------
Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small world graphs", IEEE TPAMI 42, 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from spoofscope.retrieval.libraries import LibraryIndex, blocks, check_whole, pairs_of_rows, threads
from spoofscope.retrieval.rows import Pairs, Prepared


class UsearchIndex(LibraryIndex):
    """Rows that a walk along usearch's graph of near rows meets are compared; for metric and space see `RowIndex`.

    Of each query, `candidates` is the mean of up to 1,024 that are searched together. A loaded index that grows draws other layers for the new rows
    than the one that was saved would have: usearch neither saves nor sets its generator.

    Parameters
    ----------
    m : int
        Links of a row in each layer of the graph, twice as many in the lowest.
    ef_construction, ef_search : int
        Rows that the walk keeps in view while building and searching; no less than k in effect.

    Raises
    ------
    UserError
        If a setting is out of its range.
    """

    kind: ClassVar[str] = "usearch"
    module: ClassVar[str] = "usearch.index"

    def __init__(self, *, m: int, ef_construction: int, ef_search: int, **space: Any) -> None:
        super().__init__(**space)
        check_whole(2, m=m)
        check_whole(1, ef_construction=ef_construction, ef_search=ef_search)
        self._settings |= {"m": m, "ef_construction": ef_construction, "ef_search": ef_search}

    def tuned(self, *, ef_search: int) -> Self:
        """Return an index of the same graph, not copied, that keeps another number of rows in view."""
        return self._tuned(ef_search=ef_search)

    def _made(self, rows: Prepared) -> Any:
        return self._new(rows.shape[1])

    def _new(self, width: int) -> Any:
        return self._import().Index(
            ndim=width,
            metric="ip" if self.metric == "cosine" else "l2sq",
            dtype="f32",
            connectivity=self._settings["m"],
            expansion_add=self._settings["ef_construction"],
            expansion_search=self._settings["ef_search"],
        )

    def _count(self) -> int:
        return len(self._library)

    def _put(self, rows: Prepared) -> None:
        before = self._count()
        self._library.add(np.arange(before, before + len(rows)), np.ascontiguousarray(rows), threads=1)

    def _emptied(self) -> Any:
        return self._new(self._library.ndim)

    def _cloned(self) -> Any:
        return self._library.copy()

    def _held_vectors(self) -> Prepared:
        return np.stack(self._library.get(np.arange(self._count())))

    def _serialised(self) -> NDArray[np.uint8]:
        return np.frombuffer(self._library.save(), dtype=np.uint8)

    def _n_bytes(self) -> int:
        return int(self._library.serialized_length)

    def _parsed(self, content: NDArray[np.uint8]) -> Any:
        library = self._new(self._vectors.shape[1])
        library.load(content.tobytes())
        return library

    def _fits(self, width: int) -> bool:
        made, found = self._new(width), self._library
        return all(getattr(made, name) == getattr(found, name) for name in ("ndim", "dtype", "metric_kind", "connectivity"))

    def _propose(self, queries: Prepared, k: int) -> Iterator[tuple[int, int, Pairs]]:
        for start, block in blocks(queries):
            self._library.expansion_search = self._settings["ef_search"]
            found = self._library.search(block, k, threads=threads())
            rows, near = (np.atleast_2d(each) for each in (found.keys.astype(np.int64), found.distances))
            if len(block) > 1:
                rows[np.arange(k) >= found.counts[:, None]] = -1
            candidates = np.full(len(block), min(round(found.computed_distances / len(block)), len(self)))
            similarity = 1 - near if self.metric == "cosine" else -np.sqrt(np.maximum(near, 0))
            yield start, start + len(block), pairs_of_rows(rows, candidates, similarity)
