"""FAISS and usearch behind the contract of an index: what these libraries find, with the spaces, ids and answers of this package.

The full vectors are in memory once: with inverted lists and graphs the library has them; with codes, and for flat search, this package does.
Indexes are built by one thread, so that the same rows give the same index; for searching see `threads`. One index is searched by one caller at a time.
What a library keeps is saved in its own format, as the bytes of `library.npy`, whose CRC-32 is compared before the library reads them. That finds
damage, not malice, and the parsers of the libraries are not safe against malice: open indexes of people you trust.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import DataError, MissingExtra, UserError
from spoofscope.retrieval.index import Ids, Places, Vectors
from spoofscope.retrieval.rows import Pairs, Prepared, RowIndex
from spoofscope.retrieval.space import Space

QUERIES_AT_ONCE = 1024
MOST_SEED = 2**31 - 1

PRESETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "study_flat": ("faiss_flat", {}),
    "study_ivf_4": ("faiss_ivf", {"n_probes": 4}),
    "study_ivf_16": ("faiss_ivf", {"n_probes": 16}),
}
"""The reference study's settings: a kind, and keywords of its class. It used the cosine of raw vectors."""


def threads() -> int:
    """Return how many threads a search uses: as many as the pools that threadpoolctl knows may, numpy's among them.

    So `threadpoolctl.threadpool_limits(1)` holds for these libraries as for numpy, also where FAISS is first imported inside of it.
    """
    return min((pool["num_threads"] for pool in _pools().info()), default=1)


@cache
def _pools() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def imported(module: str, kind: str) -> Any:
    """Import a library's module when it is first needed.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(f"an index of kind '{kind}'", "ann") from error


def blocks(queries: Prepared) -> Iterator[tuple[int, Prepared]]:
    """Cut queries into blocks, and say where each starts."""
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        yield start, queries[start : start + QUERIES_AT_ONCE]


def pairs_of_rows(rows: Places, candidates: Places, similarity: Prepared | None = None) -> Pairs:
    """Make pairs of (q, k) rows, of which -1 are none."""
    found = rows >= 0
    return Pairs(np.nonzero(found)[0], rows[found], candidates, similarity if similarity is None else similarity[found])


def check_whole(least: int, most: int | None = None, **settings: int) -> None:
    """Refuse settings that are not whole numbers of a range.

    Raises
    ------
    UserError
        If one is not.
    """
    for name, value in settings.items():
        if not isinstance(value, int) or value < least or (most is not None and value > most):
            upwards = "upwards" if most is None else f"to {most:,}"
            raise UserError(f"{name}={value}: it must be a whole number from {least} {upwards}")


class LibraryIndex(RowIndex):
    """An index of which a library keeps a part, `_library`, made of the first rows added; for metric and space see `RowIndex`.

    What the library has learnt of the first rows, lists or code books, stays when rows are added or removed, as the space does.
    """

    module: ClassVar[str]
    holds_vectors: ClassVar[bool] = True
    """Whether the library has the vectors; `_vectors` then are only those that it is yet to be given."""

    def __init__(self, **space: Any) -> None:
        super().__init__(**space)
        self._import()
        self._library: Any = None
        self._shared = False

    @property
    def vectors(self) -> Prepared:
        """(n, r) rows as they are compared; a copy, where the library has them."""
        return self._held_vectors() if self.holds_vectors and len(self) else self._vectors

    @property
    def nbytes(self) -> int:
        """Bytes of all that a search reads; of the library's part those of its saved form."""
        return sum(array.nbytes for array in super()._stored().values()) + (0 if self._library is None else self._n_bytes())

    def _tuned(self, **settings: int) -> Self:
        """Return an index of the same rows, whose library part is not copied until either of the two changes it."""
        self._check_tuning(**settings)
        other = copy(self)
        other._settings = self._settings | settings
        self._shared = other._shared = True
        return other

    def _check_tuning(self, **settings: int) -> None:
        check_whole(1, **settings)

    def _follow(self, old: Places) -> None:
        if self._library is None:
            self._library = self._made(self._vectors)
        elif self._shared:
            self._library = self._cloned()
        self._shared = False
        if len(old) < self._count():
            self._library = self._emptied()
        new = len(self) - self._count()
        if new:
            self._put(self._vectors[len(self._vectors) - new :])
        if self.holds_vectors:
            self._vectors = np.empty((0, self._vectors.shape[1]), dtype=np.float32)

    def _prepare(self, vectors: Vectors, space: Space | None, ids: Ids | None) -> Prepared:
        rows = super()._prepare(vectors, space, ids)
        if ids is not None and self._library is None:
            self._check_first(rows)
        return rows

    def _check_first(self, rows: Prepared) -> None:
        """Refuse first rows that the library part cannot be made of."""

    def _import(self) -> Any:
        return imported(self.module, self.kind)

    def _version(self) -> str:
        name = self.module.partition(".")[0]
        return f"{name} {imported(name, self.kind).__version__}"

    def _key(self) -> dict[str, Any]:
        return super()._key() | {"library": self._version()}

    def _stored(self) -> dict[str, NDArray[Any]]:
        stored = super()._stored()
        if self.holds_vectors:
            del stored["vectors"]
        return stored | {"library": self._serialised()}

    def _restore(self, key: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        width = self._dim if self._space is None or self._space.axes is None else self._space.axes.shape[1]
        if self.holds_vectors:
            self._vectors = np.empty((0, width), dtype=np.float32)
        else:
            super()._restore(key, arrays)
        try:
            self._library = self._parsed(arrays["library"])
        except (RuntimeError, ValueError, MemoryError, AssertionError) as error:
            raise DataError(f"{self._version()} cannot read what {key['library']} wrote: {error}") from error
        if not self._fits(width) or self._count() != len(self._ids):
            raise DataError(
                f"what {key['library']} wrote is another index, not of these {len(self._ids)} rows of {width} numbers"
            )

    @abstractmethod
    def _made(self, rows: Prepared) -> Any:
        """Make an empty library part, trained on rows where it is."""

    @abstractmethod
    def _count(self) -> int:
        """Count the rows that the library has."""

    @abstractmethod
    def _put(self, rows: Prepared) -> None:
        """Give the library rows, whose numbers go on from those that it has."""

    @abstractmethod
    def _emptied(self) -> Any:
        """Return the library part without rows, but with all that it learnt."""

    @abstractmethod
    def _cloned(self) -> Any:
        """Copy the library part."""

    @abstractmethod
    def _held_vectors(self) -> Prepared:
        """Copy the vectors out of the library."""

    @abstractmethod
    def _serialised(self) -> NDArray[np.uint8]:
        """Write the library part as bytes."""

    @abstractmethod
    def _n_bytes(self) -> int:
        """Count these bytes, without holding them."""

    @abstractmethod
    def _parsed(self, content: NDArray[np.uint8]) -> Any:
        """Read the library part from bytes."""

    @abstractmethod
    def _fits(self, width: int) -> bool:
        """Whether the library part is what this class makes for rows of so many numbers."""
