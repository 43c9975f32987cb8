"""Exact search: a matrix product in blocks, of which only what beats the best so far is ever selected from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from spoofscope.retrieval.index import Places
from spoofscope.retrieval.rows import Pairs, Prepared, RowIndex
from spoofscope.retrieval.selection import most_similar

QUERIES_AT_ONCE, ROWS_AT_ONCE = 256, 4096
SPARE = 16
"""Rows kept beyond k, so that rounding in the product cannot decide who is among the k that are compared exactly."""


class ExactIndex(RowIndex):
    """All rows are compared with every query; for the parameters see `RowIndex`.

    Memory of a search beyond its answer: 256 x 4,096 products (4 MiB) twice over, and a few times 256 (k + 16) pairs, whatever the number of rows
    and queries; at worst, where nearly all rows are equally near, 256 x 4,096 pairs. Only where more than 16 rows beyond the k-th are nearer to it than
    the rounding of a float32 product may the order of places not decide between them.
    """

    kind: ClassVar[str] = "exact"

    def _propose(self, queries: Prepared, k: int) -> Iterator[tuple[int, int, Pairs]]:
        kept = min(k + SPARE, len(self))
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            block = queries[start : start + QUERIES_AT_ONCE]
            rows = self._best(block, kept)
            query = np.repeat(np.arange(len(block)), kept)
            yield start, start + len(block), Pairs(query, rows.ravel(), np.full(len(block), len(self)))

    def _follow(self, old: Places) -> None:
        """Keep nothing beside the vectors."""

    def _best(self, queries: Prepared, kept: int) -> Places:
        """Find the (q, kept) rows of largest product, or for distances of largest x.q - |x|^2 / 2."""
        q, n = len(queries), len(self)
        best, values = np.full((q, kept), -1, dtype=np.int64), np.full((q, kept), -np.inf, dtype=np.float32)
        waiting, n_waiting = [], 0
        products = np.empty((q, ROWS_AT_ONCE), dtype=np.float32)
        for start in range(0, n, ROWS_AT_ONCE):
            rows = self.vectors[start : start + ROWS_AT_ONCE]
            near = np.matmul(queries, rows.T, out=products[:, : len(rows)])
            if self.metric == "euclidean":
                near -= np.einsum("ij,ij->i", rows, rows) / 2
            beats = near > values[:, -1:]
            if len(rows) > kept and np.count_nonzero(beats) > 2 * q * kept:
                beats &= near >= np.partition(near, len(rows) - kept, axis=1)[:, [len(rows) - kept]]
            query, row = np.divmod(np.flatnonzero(beats), len(rows))
            waiting.append((query, row + start, near[query, row]))
            n_waiting += len(query)
            if n_waiting > 2 * q * kept or start + len(rows) == n:
                found = np.nonzero(best >= 0)
                waiting.append((found[0], best[found], values[found]))
                query, row, value = (np.concatenate(column) for column in zip(*waiting, strict=True))
                best, values = most_similar(query, row, value, q, kept)
                waiting, n_waiting = [], 0
        return best
