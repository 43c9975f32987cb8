"""Partial selection over ragged lists: pairs of a query and a row in flat arrays, so that no query is a loop of its own."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]

ROW_BITS, DISTANCE_BITS = 32, 15
"""A query, a distance and a row are one int64, so that one sort orders, finds doubles and breaks ties; 16 bits are left for the query."""
MOST_ROWS, MOST_CODE_BITS = 2**ROW_BITS, 2**DISTANCE_BITS - 1
_ROW, _PAIR = MOST_ROWS - 1, ROW_BITS + DISTANCE_BITS


def concatenated(starts: Numbers, lengths: Numbers) -> Numbers:
    """Concatenate the ranges from `starts`, of positive `lengths`."""
    steps = np.ones(int(lengths.sum()), dtype=np.int64)
    if len(steps):
        ends = np.cumsum(lengths)
        steps[0] = starts[0]
        steps[ends[:-1]] = starts[1:] - starts[:-1] - lengths[:-1] + 1
    return np.cumsum(steps, out=steps)


def keyed(query: Numbers, row: Numbers, distance: NDArray[Any] | int = 0) -> Numbers:
    """Write pairs and their distances as one number each, which sorts by query, then distance, then row."""
    keys = query << DISTANCE_BITS
    keys |= distance
    keys <<= ROW_BITS
    keys |= row
    return keys


def pairs_of(keys: Numbers) -> tuple[Numbers, Numbers]:
    """Read queries and rows out of keys."""
    return keys >> _PAIR, keys & _ROW


def distinct(keys: Numbers) -> Numbers:
    """Sort keys in place, and drop doubles."""
    keys.sort()
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys


def counted(keys: Numbers, n_queries: int) -> Numbers:
    """Count the sorted keys of each query."""
    return np.diff(np.searchsorted(keys, np.arange(n_queries + 1) << _PAIR))


def first(keys: Numbers, count: int, n_queries: int) -> Numbers:
    """Keep the first `count` of each query's sorted keys."""
    edges = np.searchsorted(keys, np.arange(n_queries + 1) << _PAIR)
    lengths = np.minimum(np.diff(edges), count)
    some = lengths > 0
    return keys[concatenated(edges[:-1][some], lengths[some])]


def recoded(keys: Numbers, codes: Words, of_queries: Words) -> Numbers:
    """Replace the distances of keys by the Hamming distances of (n, words) and (q, words) packed codes, and sort."""
    query, row = pairs_of(keys)
    apart = codes.take(row, axis=0)  # several times faster than codes[row]
    apart ^= of_queries.take(query, axis=0)
    distance = np.zeros(len(row), dtype=np.int64)
    for word in range(apart.shape[1]):
        distance += np.bitwise_count(apart[:, word])
    keys = keyed(query, row, distance)
    keys.sort()
    return keys


def most_similar(
    query: Numbers, row: Numbers, similarity: NDArray[np.float32], n_queries: int, k: int
) -> tuple[Numbers, NDArray[np.float32]]:
    """Gather each query's k most similar rows, ties in order of rows: (q, k) rows, -1 where there are fewer, and similarities, -inf there."""
    order = np.lexsort((row, -similarity, query))
    query = query[order]
    rank = np.arange(len(query)) - np.searchsorted(query, np.arange(n_queries))[query]
    kept = rank < k
    query, rank, order = query[kept], rank[kept], order[kept]
    rows = np.full((n_queries, k), -1, dtype=np.int64)
    similarities = np.full((n_queries, k), -np.inf, dtype=np.float32)
    rows[query, rank], similarities[query, rank] = row[order], similarity[order]
    return rows, similarities
