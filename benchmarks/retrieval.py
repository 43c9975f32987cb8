"""Searching 10^6 x 256 whitened vectors: exact search against the bare product, and LSH against exact search.

    python -m benchmarks.retrieval [--rows N] [--queries Q] [--layers A.npy B.npy ...] [--quick]

Vectors are a mixture of local Gaussians. Its centres are the whitened rows of the embedding layers that are named (of the same trials, side by side), or
1,102 drawn ones of 332 speakers, who have 30 % of the variance. A vector is a centre plus a normal combination of the
displacements to its 32 nearest centres, divided by sqrt(32): the cloud around a centre has their covariance. All indexes whiten what they are given.
Queries are drawn in the same way and are not among the rows.

Recall is the share of the k = 10 nearest rows by exact search, a row counting as one of them if it is as near as the tenth. Times are of one thread, of the processor (`cpu`) and on the
clock: medians of the repetitions, in turn. "Bare" is the matrix product in blocks with an `argpartition` of each block, which is less work than an answer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.index import Found
from spoofscope.retrieval.lsh import PRESETS, LshIndex
from spoofscope.retrieval.rows import RowIndex
from spoofscope.retrieval.sketch import SketchIndex
from spoofscope.retrieval.space import fit_space

K, NEIGHBOURS, BLOCK = 10, 32, 4096
Floats = NDArray[np.float32]

LSH = (
    (16, 16, 40, 150),
    (16, 16, 80, 300),
    (16, 16, 80, 400),
    (16, 16, 110, 400),
    (16, 16, 160, 400),
    (16, 16, 320, 600),
    (16, 24, 60, 400),
)
"""Bits and number of tables, probes of each, and shortlist."""
SKETCH = ((256, 64, 400), (256, 128, 200), (256, 128, 400), (512, 256, 100))
"""Bits, those scanned, and shortlist."""


def centres_of(layers: list[Path], dim: int, rng: np.random.Generator) -> Floats:
    """Read or draw the centres, whitened."""
    if layers:
        read = [np.load(layer).astype(np.float32) for layer in layers]
        whole = np.isfinite(np.hstack(read)).all(axis=1)
        rows = np.hstack([layer[whole] / layer[whole].std() for layer in read])
    else:
        speakers = rng.standard_normal((332, dim))[rng.integers(0, 332, 1102)]
        rows = (np.sqrt(0.3) * speakers + np.sqrt(0.7) * rng.standard_normal((1102, dim))).astype(np.float32)
    return fit_space(rows, whiten=True)(rows)


def vectors_around(centres: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Draw n vectors, in no order of centres."""
    scaled = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    near = np.argsort(-(scaled @ scaled.T), axis=1)[:, 1 : NEIGHBOURS + 1]
    order, vectors = rng.permutation(n), np.empty((n, centres.shape[1]), dtype=np.float32)
    for centre, places in enumerate(np.array_split(order, len(centres))):
        weights = rng.standard_normal((len(places), NEIGHBOURS), dtype=np.float32) / np.sqrt(np.float32(NEIGHBOURS))
        vectors[places] = centres[centre] + weights @ (centres[near[centre]] - centres[centre])
    return vectors


class Timed(NamedTuple):
    """Milliseconds per query, and the last answer."""

    cpu: float
    clock: float
    answer: Any


def timed(queries: int, repetitions: int, *tasks: Callable[[], Any]) -> list[Timed]:
    """Run tasks in turn."""
    cpu, clock = np.empty((2, repetitions, len(tasks)))
    answers: list[Any] = [None] * len(tasks)
    for repetition in range(repetitions):
        for number, task in enumerate(tasks):
            before = time.process_time(), time.perf_counter()
            answers[number] = task()
            cpu[repetition, number], clock[repetition, number] = (
                time.process_time() - before[0],
                time.perf_counter() - before[1],
            )
    scale = 1e3 / queries
    return [
        Timed(*found) for found in zip(scale * np.median(cpu, axis=0), scale * np.median(clock, axis=0), answers, strict=True)
    ]


def bare(queries: Floats, vectors: Floats) -> None:
    """Multiply and select, block by block, merging nothing."""
    for row in range(0, len(vectors), BLOCK):
        products = queries @ vectors[row : row + BLOCK].T
        np.argpartition(products, max(products.shape[1] - K, 0), axis=1)


def built(index: RowIndex, vectors: Floats) -> str:
    """Fill an index; answers with how long that took."""
    before = time.process_time(), time.perf_counter()
    index.add(np.arange(len(vectors)), vectors)
    cpu, clock = time.process_time() - before[0], time.perf_counter() - before[1]
    return f"built in {clock:.1f} s ({cpu:.1f} s cpu), {index.nbytes / 1e6:,.0f} MB"


def line(name: str, run: Timed, truth: Found, exact_cpu: float, rows: int) -> str:
    """Describe one setting."""
    found: Found = run.answer
    recall = (found.similarities >= truth.similarities[: len(found.similarities), -1:] - 1e-6).mean()
    return (
        f"  {name:42} recall {recall:.3f}  {1e3 / run.cpu:6.0f} queries/s  {run.cpu:6.3f} ms cpu {run.clock:6.3f} clock  "
        f"{exact_cpu / run.cpu:5.1f} x exact  candidates {found.candidates.mean() / rows:.2%}  compared {found.reranked.mean() / rows:.3%}"
    )


def compare(settings: dict[str, RowIndex], queries: Floats, exact: RowIndex, truth: Found, repetitions: int) -> None:
    """Time settings of one index in turn with exact search, which gets fewer queries, and print a line for each."""
    few = min(256, len(queries))
    tasks = [partial(exact.search, queries[:few], K), *(partial(index.search, queries, K) for index in settings.values())]
    for task in tasks[1:]:
        task()
    runs = timed(len(queries), repetitions, *tasks)
    exact_cpu = runs[0].cpu * len(queries) / few
    for name, run in zip(settings, runs[1:], strict=True):
        print(line(name, run, truth, exact_cpu, len(exact)), flush=True)


def multiply(queries: Floats, vectors: Floats) -> None:
    """Multiply alone, in the blocks of `bare`."""
    for row in range(0, len(vectors), BLOCK):
        queries @ vectors[row : row + BLOCK].T


def contenders() -> Iterator[tuple[str, LshIndex | SketchIndex, dict[str, dict[str, int]]]]:
    """Yield what to build, one at a time, and the ways to search it."""
    for n_bits, n_tables in dict.fromkeys(setting[:2] for setting in LSH):
        index = LshIndex(metric="cosine", whiten=True, n_bits=n_bits, n_tables=n_tables, n_probes=1)
        chosen = [setting[2:] for setting in LSH if setting[:2] == (n_bits, n_tables)]
        searches = {f"{n} probes a table, shortlist {size}": {"n_probes": n, "shortlist": size} for n, size in chosen}
        yield f"lsh, {n_tables} tables of {n_bits} bits", index, searches
    for n_bits, scanned in dict.fromkeys(setting[:2] for setting in SKETCH):
        sketch = SketchIndex(metric="cosine", whiten=True, n_bits=n_bits, scan_bits=scanned, shortlist=1)
        sizes = [setting[2] for setting in SKETCH if setting[:2] == (n_bits, scanned)]
        yield f"sketch, {n_bits} bits, {scanned} of them scanned", sketch, {f"shortlist {n}": {"shortlist": n} for n in sizes}
    for name, preset in PRESETS.items():
        yield (
            name,
            LshIndex(metric="cosine", whiten=True, **preset),
            {f"radius {preset['radius']}": {"radius": preset["radius"]}},
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--dim", type=int, default=256, help="of drawn centres (default 256)")
    parser.add_argument("--layers", type=Path, nargs="*", default=[], help="layer files of embeddings of the same trials")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="20,000 rows, 64 queries, once")
    options = parser.parse_args()
    rows, q, repetitions = (20_000, 64, 1) if options.quick else (options.rows, options.queries, options.repetitions)
    rng = np.random.default_rng(0)
    drawn = vectors_around(centres_of(options.layers, options.dim, rng), rows + q, rng)
    vectors, queries = drawn[:rows], drawn[rows:]
    with threadpool_limits(1):
        exact = ExactIndex(metric="cosine", whiten=True)
        how = built(exact, vectors)
        exact.search(queries[:8], K)
        few = min(256, q)
        ours, bare_run, product = timed(
            few,
            repetitions,
            partial(exact.search, queries[:few], K),
            partial(bare, exact.vectors[:few], exact.vectors),
            partial(multiply, exact.vectors[:few], exact.vectors),
        )
        truth = exact.search(queries, K)
        near = np.quantile(truth.similarities, (0.1, 0.5, 0.9), axis=0)
        print(f"{rows:,} x {exact.vectors.shape[1]} whitened, {q} queries, k = {K}; one thread")
        print(
            f"  cosine of the nearest row {near[:, 0].round(2)}, of the tenth {near[:, -1].round(2)} (10 %, 50 %, 90 % of queries)"
        )
        print(f"exact: {how}")
        print(
            f"  {ours.cpu:.2f} ms a query (product alone {product.cpu:.2f}, bare {bare_run.cpu:.2f}): "
            f"{bare_run.cpu / ours.cpu:.0%} of the speed of the bare product and argpartition (aim: 80 %)"
        )
        for title, index, searches in contenders():
            print(f"{title}: {built(index, vectors)}")
            compare({name: index.tuned(**search) for name, search in searches.items()}, queries, exact, truth, repetitions)
            del index


if __name__ == "__main__":
    main()
