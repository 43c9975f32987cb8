"""Random-hyperplane LSH: tables of buckets, probed around a query's own, and an exact re-rank of what they hold.

Each of `n_tables` tables sorts the rows by `n_bits` sides of random hyperplanes; equal codes are a bucket. A query looks into several buckets
of each table, since a near row may lie just across a hyperplane:

* `radius`: all buckets whose codes differ from the query's in at most so many bits.
* `n_probes`: the buckets that are cheapest to reach, by the sum of squared distances of the query from the hyperplanes to cross. A hyperplane close by
  is likely to part near rows, a far one is not (Lv, Josephson, Wang, Charikar and Li, "Multi-probe LSH", VLDB 2007).

Rows of these buckets are candidates. With `shortlist`, only those whose codes over all tables are nearest are compared exactly.
Hyperplanes pass through the origin and sort by angle: give them centred or whitened vectors. With the Euclidean metric candidates are still those of
near angle, and only their order is by distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import UserError
from spoofscope.retrieval.codes import CodedIndex, ball, bits_of, packed_codes, perturbations
from spoofscope.retrieval.rows import Pairs, Prepared
from spoofscope.retrieval.selection import (
    MOST_CODE_BITS,
    Numbers,
    concatenated,
    counted,
    distinct,
    first,
    keyed,
    pairs_of,
    recoded,
)

MOST_BITS = 24
"""Of a table: its buckets are an array, empty ones included."""
PROBES_AT_ONCE, CANDIDATES_AT_ONCE, MOST_QUERIES_AT_ONCE = 1 << 20, 1 << 17, 1024
FIRST = 16
"""Candidates kept by the first word of their codes, per row of the shortlist."""

PRESETS: Mapping[str, Mapping[str, int]] = {
    "study_16x8": {"n_bits": 16, "n_tables": 8, "radius": 1},
    "study_18x10": {"n_bits": 18, "n_tables": 10, "radius": 2},
    "study_20x12": {"n_bits": 20, "n_tables": 12, "radius": 2},
}
"""The reference study's settings, as keywords of `LshIndex`. It used the cosine of raw vectors and compared every candidate exactly."""


class LshIndex(CodedIndex):
    """Rows of probed buckets are compared; for metric and space see `RowIndex`.

    Parameters
    ----------
    n_bits, n_tables : int
        Hyperplanes of a table, at most 24, and tables. About log2 of the number of rows is a good number of bits.
    radius, n_probes : int, optional
        Buckets to probe in each table; exactly one is given.
    shortlist : int, optional
        Candidates of a query that are compared exactly; all, if not given.
    seed : int
        Of the hyperplanes.

    Raises
    ------
    UserError
        If a setting is out of its range.
    """

    kind: ClassVar[str] = "lsh"
    kept: ClassVar[tuple[str, ...]] = ("planes", "codes", "first_words", "order", "starts")

    def __init__(
        self,
        *,
        n_bits: int,
        n_tables: int,
        radius: int | None = None,
        n_probes: int | None = None,
        shortlist: int | None = None,
        seed: int = 0,
        **space: Any,
    ) -> None:
        if not (1 <= n_bits <= MOST_BITS and n_tables >= 1 and n_bits * n_tables <= MOST_CODE_BITS):
            raise UserError(
                f"{n_tables} tables of {n_bits} bits: a table has 1 to {MOST_BITS}, and all together at most {MOST_CODE_BITS:,}"
            )
        super().__init__(n_bits * n_tables, seed, **space)
        self._settings |= {"n_bits": n_bits, "n_tables": n_tables}
        self._tune(radius, n_probes, shortlist)
        self._first_words = np.empty(0, dtype=np.uint64)
        self._order = self._starts = np.empty((n_tables, 0), dtype=np.uint32)

    def tuned(self, *, radius: int | None = None, n_probes: int | None = None, shortlist: int | None = None) -> Self:
        """Return an index of the same rows and tables, not copied, that is searched in another way."""
        other = self._copied()
        other._tune(radius, n_probes, shortlist)
        return other

    def _tune(self, radius: int | None, n_probes: int | None, shortlist: int | None) -> None:
        n_bits = self._settings["n_bits"]
        if (radius is None) == (n_probes is None):
            raise UserError(f"probe by radius or by n_probes: exactly one of them; found {radius} and {n_probes}")
        if radius is not None and not 0 <= radius <= n_bits:
            raise UserError(f"radius={radius}: a code of {n_bits} bits can be flipped in 0 to {n_bits}")
        if n_probes is not None and not 1 <= n_probes <= 2**n_bits:
            raise UserError(f"n_probes={n_probes}: a table of {n_bits} bits has {2**n_bits} buckets")
        if shortlist is not None and shortlist < 1:
            raise UserError(f"shortlist={shortlist}: at least one candidate must be compared")
        self._settings |= {"radius": radius, "n_probes": n_probes, "shortlist": shortlist}

    def _arrange(self) -> None:
        """Sort the rows of each table by code, equal codes by place, and note where each code starts."""
        self._first_words = np.ascontiguousarray(self._codes[:, 0])
        n_bits, n_tables, n = self._settings["n_bits"], self._settings["n_tables"], len(self)
        self._order = np.empty((n_tables, n), dtype=np.uint32)
        self._starts = np.empty((n_tables, 2**n_bits + 1), dtype=np.uint32)
        edges = np.arange(2**n_bits + 1, dtype=np.uint64) << np.uint64(32)
        for table in range(n_tables):
            keys = bits_of(self._codes, table * n_bits, n_bits) << np.uint64(32)
            keys |= np.arange(n, dtype=np.uint64)
            keys.sort()
            self._starts[table] = np.searchsorted(keys, edges)
            self._order[table] = keys & np.uint64(2**32 - 1)

    def _propose(self, queries: Prepared, k: int) -> Iterator[tuple[int, int, Pairs]]:
        codes = packed_codes(queries, self._planes)
        per_query = self._settings["n_tables"] * self._n_flips()
        step = min(max(1, PROBES_AT_ONCE // per_query), MOST_QUERIES_AT_ONCE)
        for at in range(0, len(queries), step):
            part = slice(at, at + step)
            starts, lengths = self._buckets(queries[part], codes[part])
            for start, stop in _cuts(lengths.sum(axis=1)):
                found = self._rows(starts[start:stop], lengths[start:stop], codes[at + start : at + stop], k)
                yield at + start, at + stop, found

    def _n_flips(self) -> int:
        n_bits, radius, n_probes = (self._settings[name] for name in ("n_bits", "radius", "n_probes"))
        return len(ball(n_bits, radius)) if n_probes is None else len(perturbations(n_bits, n_probes))

    def _buckets(self, queries: Prepared, codes: NDArray[np.uint64]) -> tuple[Numbers, Numbers]:
        """Find where the probed buckets start in `_order`, all tables in a row, and their lengths: (q, tables x probes)."""
        n_bits, n_tables = self._settings["n_bits"], self._settings["n_tables"]
        own = np.stack([bits_of(codes, table * n_bits, n_bits) for table in range(n_tables)], axis=1).astype(np.int64)
        probed = own[:, :, None] ^ self.flips(queries)
        probed += (np.arange(n_tables) * (2**n_bits + 1))[:, None]
        starts, ends = (self._starts.ravel()[probed + step].astype(np.int64) for step in (0, 1))
        lengths = ends - starts
        starts += (np.arange(n_tables) * len(self))[:, None]
        return starts.reshape(len(queries), -1), lengths.reshape(len(queries), -1)

    def flips(self, queries: Prepared) -> Numbers:
        """Choose the bits to flip in each query's own codes, one set per probe: (q or 1, tables or 1, probes) int64, in no order.

        `queries` are in the space of `vectors`.
        """
        n_bits, n_tables, n_probes = (self._settings[name] for name in ("n_bits", "n_tables", "n_probes"))
        if n_probes is None:
            return ball(n_bits, self._settings["radius"])[None, None]
        sets = perturbations(n_bits, n_probes)
        margins = np.square(queries @ self._planes).reshape(-1, n_bits)
        by_certainty = margins.argsort(axis=1)
        costs = np.take_along_axis(margins, by_certainty, axis=1) @ sets.T
        chosen = np.argpartition(costs, n_probes - 1, axis=1)[:, :n_probes]
        # Sums of different powers of two below 2^24 are exact in float32.
        flips = (np.int64(1) << by_certainty).astype(np.float32) @ sets.T
        return np.take_along_axis(flips, chosen, axis=1).astype(np.int64).reshape(len(queries), n_tables, n_probes)

    def _rows(self, starts: Numbers, lengths: Numbers, codes: NDArray[np.uint64], k: int) -> Pairs:
        """Gather the rows of buckets, each once per query, and shorten the list where that is asked for."""
        q, shortlist = len(starts), self._settings["shortlist"]
        query = np.repeat(np.arange(q), lengths.sum(axis=1))
        filled = lengths > 0
        row = self._order.ravel()[concatenated(starts[filled], lengths[filled])].astype(np.int64)
        if shortlist is None:
            keys = distinct(keyed(query, row))
            return Pairs(*pairs_of(keys), counted(keys, q))
        keys = distinct(keyed(query, row, np.bitwise_count(self._first_words[row] ^ codes[:, 0][query])))
        candidates, size = counted(keys, q), max(shortlist, k)
        keys = first(recoded(first(keys, FIRST * size, q), self._codes, codes), size, q)
        return Pairs(*pairs_of(keys), candidates)


def _cuts(totals: Numbers) -> Iterator[tuple[int, int]]:
    """Cut queries into runs of at most so many candidates, or of one query."""
    start = 0
    while start < len(totals):
        stop = start + max(1, int(np.searchsorted(np.cumsum(totals[start:]), CANDIDATES_AT_ONCE, side="right")))
        yield start, stop
        start = stop
