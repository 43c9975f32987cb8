"""Sketches: one long code per row, compared with the query's by Hamming distance; the nearest codes are compared exactly.

The share of differing bits estimates the angle between two vectors, theta / pi, with a standard deviation of at most 1 / (2 sqrt(n_bits)). All rows are
scanned by their first `scan_bits` bits; the nearest by these, 16 for each that will be compared exactly, are sorted by all bits.
As for tables of buckets, vectors should be centred or whitened, and with the Euclidean metric it is the angle that makes a candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import UserError
from spoofscope.retrieval.codes import WORD, CodedIndex, packed_codes
from spoofscope.retrieval.rows import Pairs, Prepared
from spoofscope.retrieval.selection import MOST_CODE_BITS, Numbers, first, keyed, pairs_of, recoded

QUERIES_AT_ONCE, ROWS_AT_ONCE, WAITING = 16, 4096, 1 << 20
SAMPLE = 1 << 14
FIRST = 16


class SketchIndex(CodedIndex):
    """Rows of the nearest long codes are compared; for metric and space see `RowIndex`.

    Parameters
    ----------
    n_bits : int
        Hyperplanes, a multiple of 64.
    shortlist : int
        Rows that are compared exactly with a query.
    scan_bits : int
        Bits by which all rows are scanned, a multiple of 64; `n_bits` for a scan by all of them.
    seed : int
        Of the hyperplanes.

    Raises
    ------
    UserError
        If a setting is out of its range.
    """

    kind: ClassVar[str] = "sketch"
    kept: ClassVar[tuple[str, ...]] = ("planes", "codes", "scanned")

    def __init__(self, *, n_bits: int, shortlist: int, scan_bits: int = WORD, seed: int = 0, **space: Any) -> None:
        if n_bits % WORD or scan_bits % WORD or not 1 <= scan_bits <= n_bits <= MOST_CODE_BITS:
            raise UserError(
                f"n_bits={n_bits}, scan_bits={scan_bits}: multiples of {WORD}, the second no more than the first, up to {MOST_CODE_BITS:,}"
            )
        super().__init__(n_bits, seed, **space)
        self._settings |= {"n_bits": n_bits, "scan_bits": scan_bits}
        self._tune(shortlist)
        self._scanned = np.empty((scan_bits // WORD, 0), dtype=np.uint64)

    def tuned(self, *, shortlist: int) -> Self:
        """Return an index of the same rows and codes, not copied, that compares another number of rows."""
        other = self._copied()
        other._tune(shortlist)
        return other

    def _tune(self, shortlist: int) -> None:
        if shortlist < 1:
            raise UserError(f"shortlist={shortlist}: at least one row must be compared")
        self._settings |= {"shortlist": shortlist}

    def _arrange(self) -> None:
        """Lay the words that all rows are scanned by side by side."""
        self._scanned = np.ascontiguousarray(self._codes[:, : self._settings["scan_bits"] // WORD].T)

    def _propose(self, queries: Prepared, k: int) -> Iterator[tuple[int, int, Pairs]]:
        codes = packed_codes(queries, self._planes)
        size = max(self._settings["shortlist"], k)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            block = codes[start : start + QUERIES_AT_ONCE]
            q = len(block)
            keys = self._scan(block, FIRST * size)
            if len(self._scanned) < block.shape[1]:
                keys = recoded(keys, self._codes, block)
            yield start, start + q, Pairs(*pairs_of(first(keys, size, q)), np.full(q, len(self)))

    def _scan(self, codes: NDArray[np.uint64], size: int) -> Numbers:
        """Find the `size` rows nearest to each query by the scanned bits: sorted keys."""
        q, n = len(codes), len(self)
        limit = self._limit(codes, size)
        waiting, n_waiting = [np.empty(0, dtype=np.int64)], 0
        for start in range(0, n, ROWS_AT_ONCE):
            near = _distances(codes, self._scanned[:, start : start + ROWS_AT_ONCE])
            close = np.flatnonzero(near <= limit)
            query, row = np.divmod(close, near.shape[1])
            waiting.append(keyed(query, row + start, near.ravel()[close]))
            n_waiting += len(close)
            if n_waiting > max(WAITING, 2 * q * size) or start + ROWS_AT_ONCE >= n:
                keys = np.concatenate(waiting)
                keys.sort()
                waiting, n_waiting = [first(keys, size, q)], 0
        return waiting[0]

    def _limit(self, codes: NDArray[np.uint64], size: int) -> NDArray[Any]:
        """Estimate from a sample of rows within which distance `size` rows lie, generously: (q, 1)."""
        sample = self._scanned[:, :: max(1, len(self) // SAMPLE)]
        n = sample.shape[1]
        wanted = min(n, -(-size * n // len(self)) + 8) - 1
        return np.partition(_distances(codes, sample), wanted, axis=1)[:, wanted : wanted + 1]


def _distances(codes: NDArray[np.uint64], words: NDArray[np.uint64]) -> NDArray[Any]:
    """Hamming distances of (q, words) codes to the rows of (words, n): (q, n)."""
    near: NDArray[Any] = np.bitwise_count(codes[:, :1] ^ words[0])
    if len(words) > 1:
        near = near.astype(np.uint16)
    for code, word in zip(codes.T[1:], words[1:], strict=False):
        near += np.bitwise_count(code[:, None] ^ word)
    return near
