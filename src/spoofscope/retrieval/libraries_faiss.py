"""Kinds of index that FAISS searches: flat, inverted lists, a graph, and two sorts of codes.

References
----------
Douze et al., "The Faiss library", arXiv 2401.08281, 2024: flat search, inverted lists and LSH.
Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 33, 2011.
Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small world graphs", IEEE TPAMI 42, 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isqrt
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import UserError
from spoofscope.retrieval.index import Metric, Places
from spoofscope.retrieval.libraries import MOST_SEED, LibraryIndex, blocks, check_whole, imported, pairs_of_rows, threads
from spoofscope.retrieval.rows import Pairs, Prepared, RowIndex

SPARE = 16
"""Rows beyond k that flat search asks for, so that rounding in its products cannot decide who is among the k that are compared exactly."""
LEAST_PQ_BITS, MOST_PQ_BITS = 3, 16
"""FAISS compares with 8 centroids at once, and has codes of at most 16 bits."""


@contextmanager
def _faiss_threads(faiss: Any, count: int) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(count, before))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _faiss_metric(faiss: Any, metric: Metric) -> Any:
    return faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2


class FaissFlatIndex(RowIndex):
    """All rows are compared with every query, by the function that FAISS' flat index is of; for the parameters see `RowIndex`."""

    kind: ClassVar[str] = "faiss_flat"

    def __init__(self, **space: Any) -> None:
        super().__init__(**space)
        self._faiss()

    def _faiss(self) -> Any:
        return imported("faiss", self.kind)

    def _propose(self, queries: Prepared, k: int) -> Iterator[tuple[int, int, Pairs]]:
        faiss, size = self._faiss(), min(k + SPARE, len(self))
        for start, block in blocks(queries):
            with _faiss_threads(faiss, threads()):
                _, rows = faiss.knn(block, self._vectors, size, _faiss_metric(faiss, self.metric))
            yield start, start + len(block), pairs_of_rows(rows, np.full(len(block), len(self)))

    def _follow(self, old: Places) -> None:
        """Keep nothing beside the vectors."""


class FaissIndex(LibraryIndex):
    """An index that FAISS keeps; for metric and space see `RowIndex`."""

    module: ClassVar[str] = "faiss"
    faiss_class: ClassVar[str]

    def _count(self) -> int:
        return int(self._library.ntotal)

    def _put(self, rows: Prepared) -> None:
        with _faiss_threads(self._import(), 1):
            self._library.add(np.ascontiguousarray(rows))

    def _trained(self, library: Any, clustering: Any, rows: Prepared) -> Any:
        """Train what clusters rows: with the index's seed, and without words about few rows per cluster on the standard error stream."""
        clustering.seed, clustering.min_points_per_centroid = self._settings["seed"], 1
        with _faiss_threads(self._import(), 1):
            library.train(np.ascontiguousarray(rows))
        return library

    def _emptied(self) -> Any:
        self._library.reset()
        return self._library

    def _cloned(self) -> Any:
        return self._import().clone_index(self._library)

    def _held_vectors(self) -> Prepared:
        found: Prepared = self._library.reconstruct_n(0, self._count())
        return found

    def _serialised(self) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = self._import().serialize_index(self._library)
        return found

    def _n_bytes(self) -> int:
        faiss, lengths = self._import(), [0]

        def count(written: bytes) -> None:
            lengths[0] += len(written)

        writer = faiss.PyCallbackIOWriter(count)
        faiss.write_index(self._library, writer)
        del writer  # It writes what it still has.
        return lengths[0]

    def _parsed(self, content: NDArray[np.uint8]) -> Any:
        return self._import().deserialize_index(np.ascontiguousarray(content))

    def _fits(self, width: int) -> bool:
        return isinstance(self._library, getattr(self._import(), self.faiss_class)) and bool(self._library.d == width)

    def _similarities(self, near: Prepared) -> Prepared:
        """Turn FAISS' inner products or squared distances into similarities."""
        return near if self.metric == "cosine" else -np.sqrt(np.maximum(near, 0))


class FaissIvfIndex(FaissIndex):
    """Rows in the lists of the centroids that are nearest to the query are compared; for metric and space see `RowIndex`.

    Parameters
    ----------
    n_probes : int
        Lists that a query looks into.
    n_lists : int, optional
        Centroids, found by k-means on the rows added first; not more than these. 4 sqrt(rows), if not given.
    seed : int
        Of k-means.

    Raises
    ------
    UserError
        If a setting is out of its range, or the rows added first are fewer than the lists.
    """

    kind: ClassVar[str] = "faiss_ivf"
    faiss_class: ClassVar[str] = "IndexIVFFlat"

    def __init__(self, *, n_probes: int, n_lists: int | None = None, seed: int = 0, **space: Any) -> None:
        super().__init__(**space)
        if n_lists is not None:
            check_whole(1, n_lists=n_lists)
        check_whole(0, MOST_SEED, seed=seed)
        self._settings |= {"n_lists": n_lists, "n_probes": n_probes, "seed": seed}
        self._check_tuning(n_probes=n_probes)
        self._lengths: Places = np.empty(0, dtype=np.int64)

    def tuned(self, *, n_probes: int) -> Self:
        """Return an index of the same lists, not copied, that looks into another number of them."""
        return self._tuned(n_probes=n_probes)

    def _check_tuning(self, **settings: int) -> None:
        super()._check_tuning(**settings)
        n_lists = self._settings["n_lists"]
        if n_lists is not None and settings["n_probes"] > n_lists:
            raise UserError(f"n_probes={settings['n_probes']}: there are {n_lists} lists to look into")

    def _check_first(self, rows: Prepared) -> None:
        if (self._settings["n_lists"] or 0) > len(rows):
            raise UserError(
                f"{self._settings['n_lists']} lists need as many rows in the first add; found {len(rows)}. Add more, or ask for fewer lists."
            )

    def _made(self, rows: Prepared) -> Any:
        faiss, n, width = self._import(), *rows.shape
        metric = _faiss_metric(faiss, self.metric)
        n_lists = self._settings["n_lists"] or min(isqrt(16 * n), n)
        library = faiss.IndexIVFFlat(faiss.IndexFlat(width, metric), width, n_lists, metric)
        return self._trained(library, library.cp, rows)

    def _follow(self, old: Places) -> None:
        super()._follow(old)
        self._count_lists()

    def _restore(self, key: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(key, arrays)
        self._count_lists()

    def _count_lists(self) -> None:
        lists = self._library.invlists
        self._lengths = np.array([lists.list_size(at) for at in range(lists.nlist)], dtype=np.int64)

    def _propose(self, queries: Prepared, k: int) -> Iterator[tuple[int, int, Pairs]]:
        faiss, library = self._import(), self._library
        n_probes = min(self._settings["n_probes"], len(self._lengths))
        for start, block in blocks(queries):
            library.nprobe = n_probes
            with _faiss_threads(faiss, threads()):
                centroid_near, lists = library.quantizer.search(block, n_probes)
                near, rows = library.search_preassigned(block, k, lists, centroid_near)
            candidates = self._lengths[lists].sum(axis=1)
            yield start, start + len(block), pairs_of_rows(rows, candidates, self._similarities(near))


class FaissHnswIndex(FaissIndex):
    """Rows that a walk along a graph of near rows meets are compared; for metric and space see `RowIndex`.

    Of each query, `candidates` is the mean of up to 1,024 that are searched together, FAISS counting no finer. Of rows that are all equal, the graph
    reaches no more than its links: an answer may then be padded.

    Parameters
    ----------
    m : int
        Links of a row in each layer of the graph, twice as many in the lowest.
    ef_construction, ef_search : int
        Rows that the walk keeps in view while building and searching; no less than k in effect.
    seed : int
        Of the layers that rows come to.

    Raises
    ------
    UserError
        If a setting is out of its range.
    """

    kind: ClassVar[str] = "faiss_hnsw"
    faiss_class: ClassVar[str] = "IndexHNSWFlat"

    def __init__(self, *, m: int, ef_construction: int, ef_search: int, seed: int = 0, **space: Any) -> None:
        super().__init__(**space)
        check_whole(2, m=m)
        check_whole(1, ef_construction=ef_construction, ef_search=ef_search)
        check_whole(0, MOST_SEED, seed=seed)
        self._settings |= {"m": m, "ef_construction": ef_construction, "ef_search": ef_search, "seed": seed}

    def tuned(self, *, ef_search: int) -> Self:
        """Return an index of the same graph, not copied, that keeps another number of rows in view."""
        return self._tuned(ef_search=ef_search)

    def _made(self, rows: Prepared) -> Any:
        faiss = self._import()
        library = faiss.IndexHNSWFlat(rows.shape[1], self._settings["m"], _faiss_metric(faiss, self.metric))
        library.hnsw.efConstruction = self._settings["ef_construction"]
        return library

    def _put(self, rows: Prepared) -> None:
        # The state of the generator is not saved: begun anew, a loaded index grows as the one that was saved.
        self._library.hnsw.rng = self._import().RandomGenerator(self._settings["seed"] + self._count())
        super()._put(rows)

    def _propose(self, queries: Prepared, k: int) -> Iterator[tuple[int, int, Pairs]]:
        faiss = self._import()
        setting = faiss.SearchParametersHNSW(efSearch=self._settings["ef_search"])
        for start, block in blocks(queries):
            faiss.cvar.hnsw_stats.reset()
            with _faiss_threads(faiss, threads()):
                near, rows = self._library.search(block, k, params=setting)
            candidates = np.full(len(block), min(round(faiss.cvar.hnsw_stats.ndis / len(block)), len(self)))
            yield start, start + len(block), pairs_of_rows(rows, candidates, self._similarities(near))


class FaissCodedIndex(FaissIndex):
    """An index of codes: all are compared with the query, and the rows of the `shortlist` nearest exactly."""

    holds_vectors: ClassVar[bool] = False

    def __init__(self, *, shortlist: int, n_bits: int, seed: int, **space: Any) -> None:
        super().__init__(**space)
        check_whole(1, n_bits=n_bits, shortlist=shortlist)
        check_whole(0, MOST_SEED, seed=seed)
        self._settings |= {"n_bits": n_bits, "shortlist": shortlist, "seed": seed}

    def tuned(self, *, shortlist: int) -> Self:
        """Return an index of the same rows and codes, not copied, that compares another number of rows."""
        return self._tuned(shortlist=shortlist)

    def _propose(self, queries: Prepared, k: int) -> Iterator[tuple[int, int, Pairs]]:
        faiss, size = self._import(), min(max(self._settings["shortlist"], k), len(self))
        for start, block in blocks(queries):
            with _faiss_threads(faiss, threads()):
                _, rows = self._library.search(block, size)
            yield start, start + len(block), pairs_of_rows(rows, np.full(len(block), len(self)))


class FaissPqIndex(FaissCodedIndex):
    """Rows of the nearest product-quantised codes are compared; for metric and space see `RowIndex`.

    Parameters
    ----------
    m : int
        Parts that a vector is cut into; its length is a multiple of it.
    n_bits : int
        Of the code of each part, 3 to 16: it has 2^n_bits centroids, found by k-means on the rows added first.
    shortlist : int
        Rows that are compared exactly with a query.
    seed : int
        Of k-means.

    Raises
    ------
    UserError
        If a setting is out of its range, or the rows added first are fewer than the centroids, or of a length that is no multiple of m.
    """

    kind: ClassVar[str] = "faiss_pq"
    faiss_class: ClassVar[str] = "IndexPQ"

    def __init__(self, *, m: int, n_bits: int, shortlist: int, seed: int = 0, **space: Any) -> None:
        super().__init__(n_bits=n_bits, shortlist=shortlist, seed=seed, **space)
        check_whole(1, m=m)
        check_whole(LEAST_PQ_BITS, MOST_PQ_BITS, n_bits=n_bits)
        self._settings |= {"m": m}

    def _check_first(self, rows: Prepared) -> None:
        m, n_centroids = self._settings["m"], 2 ** self._settings["n_bits"]
        if rows.shape[1] % m:
            raise UserError(f"m={m} does not divide the {rows.shape[1]} numbers of a vector; choose a divisor")
        if n_centroids > len(rows):
            raise UserError(
                f"codes of n_bits={self._settings['n_bits']} need {n_centroids} rows in the first add; "
                f"found {len(rows)}. Add more, or ask for fewer bits."
            )

    def _made(self, rows: Prepared) -> Any:
        faiss = self._import()
        metric = _faiss_metric(faiss, self.metric)
        library = faiss.IndexPQ(rows.shape[1], self._settings["m"], self._settings["n_bits"], metric)
        return self._trained(library, library.pq.cp, rows)


class FaissLshIndex(FaissCodedIndex):
    """Rows of the nearest codes are compared: signs after a random rotation, by Hamming distance; for metric and space see `RowIndex`.

    As with all hyperplanes through the origin, vectors should be centred or whitened, and it is the angle that makes a row near.

    Parameters
    ----------
    n_bits : int
        Of a code.
    shortlist : int
        Rows that are compared exactly with a query.
    seed : int
        Of the rotation.

    Raises
    ------
    UserError
        If a setting is out of its range.
    """

    kind: ClassVar[str] = "faiss_lsh"
    faiss_class: ClassVar[str] = "IndexLSH"

    def __init__(self, *, n_bits: int, shortlist: int, seed: int = 0, **space: Any) -> None:
        super().__init__(n_bits=n_bits, shortlist=shortlist, seed=seed, **space)

    def _made(self, rows: Prepared) -> Any:
        library = self._import().IndexLSH(rows.shape[1], self._settings["n_bits"], True, False)
        library.rrot.init(self._settings["seed"])
        return library
