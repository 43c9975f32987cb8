"""Measure an index: what it finds of the true neighbours, how fast, and what it costs to build and hold.

Conventions
-----------
Recall is by distance (Aumüller, Bernhardsson and Faithfull, "ANN-Benchmarks", Information Systems 87, 2020): a row counts if it is
as near as the k-th true neighbour, so that neither ties nor rounding are misses. Queries must not be among the rows: each would find itself.
Times are on the clock and of the processor, where those of all threads add up; the second is the surer one where other work runs.
Speeds are medians of repetitions; `slowest` and `fastest` are their range.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import DataError, UserError
from spoofscope.retrieval.index import Found, Ids, Index, Vectors

Floats = NDArray[np.float64]

SETTLED_S = 0.1
"""How long to wait before one thread is timed: those that earlier work left idle go on spinning for a while, in processor time too."""
MOST_SINGLES = 200
"""Queries that are timed one at a time: the 99th percentile of so many is set by the slowest two."""


class Times(NamedTuple):
    """Seconds: medians of the repetitions on the clock and of the processor, and the range on the clock."""

    clock_s: float
    cpu_s: float
    fastest_s: float
    slowest_s: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One way to search one index of `n_rows` rows for the `k` nearest, by `n_queries` queries.

    Parameters
    ----------
    recall, recall_low, recall_high : float
        Mean recall@k over queries, and its 95 % interval (`mean_recall`).
    candidate_fraction, compared_fraction : float
        Shares of the rows that were looked at, if only by their codes, and that were compared exactly: means over queries.
    batch, batch_threads : Times
        Of all queries in one call, at one thread and at `threads` threads (the same measurement where that is one).
    latency_p50_ms, latency_p95_ms, latency_p99_ms : float
        Percentiles over the first `n_singles` queries, one call each, at one thread, on the clock.
    faster_clock, faster_cpu : float
        How many times faster than the reference the batch was at one thread; nan without one, or where no processor time was seen.
    nbytes : int
        Bytes of all that a search reads.
    """

    n_rows: int
    k: int
    n_queries: int
    recall: float
    recall_low: float
    recall_high: float
    candidate_fraction: float
    compared_fraction: float
    batch: Times
    threads: int
    batch_threads: Times
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    n_singles: int
    faster_clock: float
    faster_cpu: float
    nbytes: int

    @property
    def queries_per_s(self) -> float:
        """Queries a second at one thread, on the clock: queries / median seconds."""
        return self.n_queries / self.batch.clock_s

    def row(self) -> dict[str, int | float]:
        """Return all numbers by name, flat; those of the batch at `threads` threads have the suffix `_threads`."""
        found = asdict(self)
        for suffix in ("", "_threads"):
            times: Times = found.pop(f"batch{suffix}")
            per_s = {"": times.clock_s, "_slowest": times.slowest_s, "_fastest": times.fastest_s}
            found |= {f"queries_per_s{suffix}{which}": self.n_queries / seconds for which, seconds in per_s.items()}
            found |= {f"clock_s{suffix}": times.clock_s, f"cpu_s{suffix}": times.cpu_s}
        return found


def recall(found: Found, truth: Found, *, tolerance: float = 1e-6) -> Floats:
    """Recall@k of each query, by distance: (q,) shares of k.

    Parameters
    ----------
    found, truth : Found
        Answers to judge, and those of exact search to the same queries in the same space. Similarities are exact in both, as the contract says.
    tolerance : float
        How far below the k-th true similarity s_k a row counts; times its size where that is above 1, since rounding grows with it.

    Returns
    -------
    (q,) float array
        Distinct rows r with s(r) >= s_k - tolerance max(1, abs(s_k)), over k; padding never counts.

    Raises
    ------
    UserError
        If the answers are to other queries or of another k.
    DataError
        If the truth is padded, so that it cannot be of exact search.
    """
    if found.places.shape != truth.places.shape:
        raise UserError(
            f"answers are {found.places.shape} and true ones {truth.places.shape}, queries by k; search for the same queries and k"
        )
    if (truth.places < 0).any():
        raise DataError("true answers are padded; take them from exact search, which finds k rows of every query")
    kth = truth.similarities[:, -1:].astype(np.float64)
    near = found.similarities >= kth - tolerance * np.maximum(1, np.abs(kth))
    places = np.sort(np.where(near, found.places, -1), axis=1)
    counts = places >= 0
    counts[:, 1:] &= places[:, 1:] != places[:, :-1]
    shares: Floats = counts.mean(axis=1)
    return shares


def mean_recall(recalls: Floats, *, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of (q,) shares with its interval over queries: mean, low, high.

    The interval is Wilson's for as many yes-or-no trials as would vary as much as the shares do (Dean and Pagano, "Evaluating confidence
    interval methods for binomial proportions in clustered surveys", Journal of Survey Statistics and Methodology 3, 2015). Where all shares are
    equal, a query is a trial, since no variance would give no width. Queries count as independent, which those of one speaker are not.
    """
    if not len(recalls):
        raise DataError("recall of no queries; give at least one")
    mean = float(recalls.mean())
    variance = float(recalls.var(ddof=1)) if len(recalls) > 1 else 0.0
    n = len(recalls) * (max(1.0, mean * (1 - mean) / variance) if variance > 0 else 1.0)
    square = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle, half = mean + square / (2 * n), float(np.sqrt(square * (mean * (1 - mean) / n + square / (4 * n * n))))
    return mean, max(0.0, (middle - half) / (1 + square / n)), min(1.0, (middle + half) / (1 + square / n))


def timed(tasks: Sequence[Callable[[], Any]], repetitions: int) -> list[Times]:
    """Time tasks in turn, repetition by repetition, so that other work on the machine falls on all of them alike."""
    seconds = np.empty((len(tasks), repetitions, 2))
    for repetition in range(repetitions):
        for number, task in enumerate(tasks):
            before = time.perf_counter(), time.process_time()
            task()
            seconds[number, repetition] = time.perf_counter(), time.process_time()
            seconds[number, repetition] -= before
    return [Times(*map(float, (*np.median(one, axis=0), one[:, 0].min(), one[:, 0].max()))) for one in seconds]


def build(index: Index, ids: Sequence[str] | Sequence[int] | Ids, vectors: Vectors) -> tuple[float, float]:
    """Add rows to an empty index: seconds on the clock and of the processor. Threads are the caller's to limit."""
    times = timed([partial(index.add, ids, vectors)], 1)[0]
    return times.clock_s, times.cpu_s


def measure(index: Index, queries: Vectors, truth: Found, k: int, **options: Any) -> Measured:
    """Measure an index as it is set; truth, options and errors are those of `sweep`."""
    return sweep(index, {"": {}}, queries, truth, k, **options)[""]


def sweep(
    index: Index,
    searches: Mapping[str, Mapping[str, Any]],
    queries: Vectors,
    truth: Found,
    k: int,
    *,
    query_ids: Sequence[str] | Sequence[int] | Ids | None = None,
    repetitions: int = 3,
    threads: int = 1,
    reference: Index | None = None,
) -> dict[str, Measured]:
    """Measure several ways to search one built index: the points of its curve of speed over recall.

    Parameters
    ----------
    searches : mapping
        Settings for the index's `tuned`, by name; empty settings are the index as it is.
    queries : (q, dim) float array
        None of them a row of the index.
    truth : Found
        Answers of exact search to the queries, in the space of the index.
    query_ids : (q,) sequence, optional
        Ids of the queries. Without them that no query is a row is the caller's word.
    repetitions, threads : int
        Of each batch, in turn; and threads of its second measurement.
    reference : Index, optional
        Timed in turn with the others, for `faster_clock` and `faster_cpu`.

    Raises
    ------
    DataError
        If a query's id is a row's, or there are no queries.
    UserError
        If truth is of other queries or another k, or a setting is none of the index's.
    """
    from threadpoolctl import threadpool_limits

    if query_ids is not None:
        _check_apart(index, query_ids, len(queries))
    if truth.places.shape != (len(queries), k):
        raise UserError(f"true answers are {truth.places.shape}, but {len(queries)} queries and k = {k} were given")
    if repetitions < 1 or threads < 1:
        raise UserError(f"repetitions={repetitions}, threads={threads}: both are at least 1")
    indexes = [_tuned(index, settings) for settings in searches.values()]
    tasks = [partial(one.search, queries, k) for one in (*indexes, *([] if reference is None else [reference]))]
    with threadpool_limits(1):
        answers = [task() for task in tasks]  # the first search of each is for warmth, too
        time.sleep(SETTLED_S)
        times = timed(tasks, repetitions)
        singles = [_latencies(one, queries[:MOST_SINGLES], k) for one in indexes]
    times_threads = times
    if threads > 1:
        with threadpool_limits(threads):
            for task in tasks[: len(indexes)]:
                task()
            times_threads = timed(tasks[: len(indexes)], repetitions)
    beside = Times(*[float("nan")] * 4) if reference is None else times[-1]
    each = zip(indexes, answers, times, times_threads, singles, strict=False)  # but for the reference, which is last
    return {name: _measured(*one, truth, threads, beside) for name, one in zip(searches, each, strict=True)}


def frontier(recalls: Sequence[float] | Floats, speeds: Sequence[float] | Floats) -> NDArray[np.bool_]:
    """Mark the settings that no other beats: none is as good in both recall and speed and better in one (the Pareto front)."""
    pairs = np.column_stack((recalls, speeds))
    as_good = (pairs[:, None] >= pairs).all(axis=-1)
    better = (pairs[:, None] > pairs).any(axis=-1)
    return np.asarray(~(as_good & better).any(axis=0))


def speed_at(recall_wanted: float, recalls: Sequence[float] | Floats, speeds: Sequence[float] | Floats) -> float:
    """Read the speed at a recall off the curve of unbeaten settings, logarithmic in speed; nan where it does not get there."""
    recalls, speeds = np.asarray(recalls, dtype=np.float64), np.asarray(speeds, dtype=np.float64)
    kept = frontier(recalls, speeds)
    recalls, at = np.unique(recalls[kept], return_index=True)
    if not len(recalls):
        return float("nan")
    return float(np.exp(np.interp(recall_wanted, recalls, np.log(speeds[kept][at]), left=np.nan, right=np.nan)))


def _measured(
    index: Index, found: Found, batch: Times, batch_threads: Times, singles: Floats, truth: Found, threads: int, beside: Times
) -> Measured:
    mean, low, high = mean_recall(recall(found, truth))
    p50, p95, p99 = map(float, np.percentile(1e3 * singles, (50, 95, 99)))
    return Measured(
        n_rows=len(index),
        n_queries=len(found.places),
        k=found.places.shape[1],
        recall=mean,
        recall_low=low,
        recall_high=high,
        candidate_fraction=float(found.candidates.mean()) / len(index),
        compared_fraction=float(found.reranked.mean()) / len(index),
        batch=batch,
        threads=threads,
        batch_threads=batch_threads,
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        n_singles=len(singles),
        faster_clock=beside.clock_s / batch.clock_s,
        faster_cpu=beside.cpu_s / batch.cpu_s if batch.cpu_s else float("nan"),
        nbytes=index.nbytes,
    )


def _latencies(index: Index, queries: Vectors, k: int) -> Floats:
    """Seconds of each query in a call of its own."""
    index.search(queries[:1], k)
    edges = [time.perf_counter()]
    for at in range(len(queries)):
        index.search(queries[at : at + 1], k)
        edges.append(time.perf_counter())
    return np.diff(edges)


def _tuned(index: Any, settings: Mapping[str, Any]) -> Index:
    """Search an index in another way; kinds without such ways have no `tuned`."""
    if settings and not hasattr(index, "tuned"):
        raise UserError(f"an index of kind '{index.kind}' is searched in one way only; found {dict(settings)}")
    tuned: Index = index.tuned(**settings) if settings else index
    return tuned


def _check_apart(index: Index, query_ids: Sequence[str] | Sequence[int] | Ids, n_queries: int) -> None:
    ids = np.asarray(query_ids)
    if len(ids) != n_queries:
        raise DataError(f"{n_queries} queries have {len(ids)} ids; give one for each")
    if len(both := np.intersect1d(ids, index.ids)):
        raise DataError(
            f"{len(both)} of {n_queries} queries are rows of the index and would find themselves (first: {both[0]}). Take others."
        )
