"""Searching 10^6 x 256 whitened vectors: every kind of index against exact search, and exact search against the bare product.

    python -m benchmarks.retrieval [--rows N] [--dim D] [--queries Q] [--layers A.npy B.npy ...] [--plain]
                                   [--kinds exact lsh faiss_ivf ...] [--quick] [--out CSV] [--plot PNG]

Vectors are a mixture of local Gaussians (`vectors_around`). Its centres are the whitened rows of the embedding layers that are named (of the same trials, side
by side; the first D axes), or 1,102 drawn ones of 332 speakers, who have 30 % of the variance. With `--plain` they are one Gaussian of the centres' mean and covariance, among
which no neighbour is near. All indexes whiten what they are given. Queries are drawn in the same way and are not among the rows.

Each index is searched in all the ways of SWEEPS by one half of the queries. What no other setting of its kind beats there in recall and speed is `picked`, and every
number printed is of the other half. Times are of one thread, unless they say otherwise: medians of the repetitions, in turn with exact search. "x exact" is the ratio to that, of
processor time (of the clock in brackets); kinds are compared by it, since the machine may be faster or slower from one index to the next.
FAISS and usearch build with one thread; ours once more with all. "Bare" is the matrix product in blocks with an `argpartition` of each block, which is less work than an answer.
Memory is three times the vectors, and for a while four times.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from spoofscope.errors import UserError
from spoofscope.retrieval import index_class
from spoofscope.retrieval.benchmark import Measured, build, frontier, speed_at, sweep, timed
from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.index import Found, Index
from spoofscope.retrieval.lsh import PRESETS as LSH_PRESETS
from spoofscope.retrieval.settings import PRESETS
from spoofscope.retrieval.space import fit_space
from spoofscope.retrieval.synthetic import synthetic_like, vectors_around

K, BLOCK = 10, 4096
WANTED = (0.8, 0.9, 0.95, 0.99)
"""Recalls for which each kind's fastest setting is named."""
OURS = ("exact", "lsh", "sketch")
THREADS = len(os.sched_getaffinity(0))

Floats = NDArray[np.float32]
Row = dict[str, Any]


class Contender(NamedTuple):
    """What to build, and the ways to search it."""

    build: Mapping[str, Any]
    searches: Sequence[Mapping[str, Any]]


def by(name: str, *values: int) -> list[Mapping[str, int]]:
    return [{name: value} for value in values]


def probes(*chosen: tuple[int, int]) -> list[Mapping[str, int]]:
    return [{"n_probes": n, "shortlist": size} for n, size in chosen]


GRAPH = Contender({"m": 32, "ef_construction": 128}, by("ef_search", 10, 20, 40, 80, 160, 320, 640))
SWEEPS: Mapping[str, Sequence[Contender]] = {
    "exact": [Contender({}, [{}])],
    "lsh": [
        Contender({"n_bits": 13, "n_tables": 16}, probes((10, 150), (20, 200), (40, 300), (80, 400), (160, 600))),
        Contender(
            {"n_bits": 16, "n_tables": 16},
            probes((10, 100), (20, 150), (40, 150), (80, 300), (80, 400), (110, 400), (160, 400), (320, 600), (640, 1000)),
        ),
        Contender({"n_bits": 16, "n_tables": 24}, probes((20, 200), (60, 400), (160, 600), (320, 1000))),
        *(
            Contender(
                {name: value for name, value in preset.items() if name != "radius"}, by("radius", *range(preset["radius"] + 1))
            )
            for preset in LSH_PRESETS.values()
        ),
    ],
    "sketch": [
        Contender({"n_bits": 256, "scan_bits": 64}, by("shortlist", 50, 100, 400)),
        Contender({"n_bits": 256, "scan_bits": 128}, by("shortlist", 100, 200, 400)),
        Contender({"n_bits": 512, "scan_bits": 256}, by("shortlist", 50, 100, 400)),
    ],
    "faiss_flat": [Contender({}, [{}])],
    "faiss_ivf": [Contender({}, by("n_probes", 1, 2, 4, 8, 16, 32, 64, 128, 256))],
    "faiss_hnsw": [GRAPH],
    "faiss_pq": [Contender({"m": 32, "n_bits": 8}, by("shortlist", 20, 50, 100, 400))],
    "faiss_lsh": [
        Contender({"n_bits": 128}, by("shortlist", 20, 50, 200, 800)),
        Contender({"n_bits": 256}, by("shortlist", 10, 50, 200, 800)),
        Contender({"n_bits": 1024}, by("shortlist", 10, 20, 50, 200)),
    ],
    "usearch": [GRAPH],
}


def centres_of(layers: list[Path], dim: int, rng: np.random.Generator) -> Floats:
    """Read or draw the centres, whitened."""
    if layers:
        read = [np.load(layer).astype(np.float32) for layer in layers]
        whole = np.isfinite(np.hstack(read)).all(axis=1)
        rows = np.hstack([layer[whole] / layer[whole].std() for layer in read])
    else:
        speakers = rng.standard_normal((332, dim))[rng.integers(0, 332, 1102)]
        rows = (np.sqrt(0.3) * speakers + np.sqrt(0.7) * rng.standard_normal((1102, dim))).astype(np.float32)
    return np.ascontiguousarray(fit_space(rows, whiten=True)(rows)[:, :dim])


class Half(NamedTuple):
    """Half of the queries, and their true neighbours."""

    queries: Floats
    truth: Found


def bare(queries: Floats, vectors: Floats, *, select: bool) -> None:
    """Multiply and, if asked to, select, block by block, merging nothing."""
    for row in range(0, len(vectors), BLOCK):
        products = queries @ vectors[row : row + BLOCK].T
        if select:
            np.argpartition(products, max(products.shape[1] - K, 0), axis=1)


def against_bare(exact: ExactIndex, queries: Floats, repetitions: int) -> None:
    """Print what exact search takes beside the product that it cannot do without."""
    few = queries[:256]
    tasks: list[Callable[[], Any]] = [partial(exact.search, few, K)]
    tasks += [partial(bare, exact.vectors[: len(few)], exact.vectors, select=select) for select in (True, False)]
    with threadpool_limits(1):
        tasks[0]()
        ours, selected, product = timed(tasks, repetitions)
    scale = 1e3 / len(few)
    print(
        f"exact search {scale * ours.cpu_s:.3f} ms cpu a query (product alone {scale * product.cpu_s:.3f}, bare {scale * selected.cpu_s:.3f}): "
        f"{selected.cpu_s / ours.cpu_s:.0%} of the speed of the bare product and argpartition (aim: 80 %)"
    )


def built(kind: str, settings: Mapping[str, Any], vectors: Floats) -> tuple[Any, Row]:
    """Build an index with one thread, and ours once more with all."""

    def once(threads: int) -> tuple[Index, float, float]:
        index = index_class(kind)(metric="cosine", whiten=True, **settings)  # type: ignore[call-arg]
        with threadpool_limits(threads):
            return index, *build(index, np.arange(len(vectors)), vectors)

    clock_threads = once(THREADS)[1] if kind in OURS else float("nan")
    index, clock, cpu = once(1)
    return index, {"build_clock_s": clock, "build_cpu_s": cpu, "build_clock_s_threads": clock_threads}


def text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def raced(kind: str, vectors: Floats, first: Half, second: Half, exact: Index, repetitions: int) -> Iterator[Row]:
    """Build and search all of a kind; a contender that cannot be built is left out with the reason."""
    for contender in SWEEPS[kind]:
        try:
            index, building = built(kind, {**contender.build, **contender.searches[0]}, vectors)
        except UserError as error:
            print(f"{kind}, {text(contender.build)}: left out ({error})", flush=True)
            continue
        clock, threads = building["build_clock_s"], building["build_clock_s_threads"]
        print(
            f"{kind}{', ' * bool(contender.build)}{text(contender.build)}: built in {clock:.1f} s at one thread ({building['build_cpu_s']:.1f} cpu"
            + (f"; {threads:.1f} at {THREADS}" if kind in OURS else "")
            + f"), {index.nbytes / 1e6:,.0f} MB; under a minute: {'yes' if clock < 60 else 'no'}"
        )
        searches = {text(search): search for search in contender.searches}
        tuning = sweep(index, searches, *first, K, repetitions=repetitions, reference=exact)
        reported = sweep(index, searches, *second, K, repetitions=repetitions, threads=THREADS, reference=exact)
        for name, search in searches.items():
            whole = {**contender.build, **search}
            known = next((preset for preset, of in PRESETS.items() if of == (kind, whole)), "")
            print(line(f"{name}{known and f' ({known})'}", reported[name]), flush=True)
            yield {
                "kind": kind,
                "build": text(contender.build),
                "search": name,
                "preset": known,
                "tuning_recall": tuning[name].recall,
                "tuning_faster_cpu": tuning[name].faster_cpu,
                **reported[name].row(),
                **building,
            }


def line(name: str, found: Measured) -> str:
    """Describe one setting."""
    row = found.row()
    return (
        f"  {name:34} recall {found.recall:.3f} [{found.recall_low:.3f}, {found.recall_high:.3f}]  {found.queries_per_s:7,.0f} queries/s "
        f"({row['queries_per_s_slowest']:,.0f} to {row['queries_per_s_fastest']:,.0f}; {row['queries_per_s_threads']:,.0f} at {found.threads} threads)  "
        f"{found.faster_cpu:5.2f} x exact ({found.faster_clock:.2f})  ms p50 {found.latency_p50_ms:.2f} p95 {found.latency_p95_ms:.2f} p99 {found.latency_p99_ms:.2f}  "
        f"candidates {found.candidate_fraction:.2%}  compared {found.compared_fraction:.3%}"
    )


def picked(rows: list[Row]) -> pl.DataFrame:
    """Mark of each kind what no other setting beats on the first half of the queries."""
    table = pl.DataFrame(rows)
    parts = []
    for part in table.partition_by("kind", maintain_order=True):
        front = frontier(part["tuning_recall"].to_numpy(), part["tuning_faster_cpu"].to_numpy())
        parts.append(part.with_columns(picked=pl.Series(front)))
    return pl.concat(parts)


def name_picks(table: pl.DataFrame) -> None:
    """Print each kind's fastest setting that had a wanted recall on the first half, with what it has on the second."""
    for wanted in WANTED:
        print(f"\nfastest with recall {wanted} on the first half, as the second half finds it:")
        for part in table.filter("picked").partition_by("kind", maintain_order=True):
            enough = part.filter(pl.col("tuning_recall") >= wanted).sort("tuning_faster_cpu")
            if enough.is_empty():
                print(f"  {part['kind'][0]:11} not reached (most: {max(part['tuning_recall'].to_list()):.3f})")
                continue
            row = enough.row(-1, named=True)
            print(
                f"  {row['kind']:11} recall {row['recall']:.3f} [{row['recall_low']:.3f}, {row['recall_high']:.3f}]  {row['queries_per_s']:8,.0f} queries/s  "
                f"{row['faster_cpu']:6.2f} x exact  {row['nbytes'] / 1e6:,.0f} MB  {row['build']}{'; ' * bool(row['build'])}{row['search']}"
            )


def against_faiss(table: pl.DataFrame) -> None:
    """Print our LSH beside FAISS at equal recall, read off the curves of what was picked."""
    curves = {kind: table.filter(pl.col("picked") & (pl.col("kind") == kind)) for kind in ("lsh", "faiss_lsh", "faiss_ivf")}
    if curves["lsh"].is_empty():
        return
    print("\nLSH (picked settings) against FAISS at the same recall, at one thread, by processor time against exact search:")
    for row in curves["lsh"].sort("recall").iter_rows(named=True):
        beside = [
            ratio(kind, row, curve["recall"].to_numpy(), curve["faster_cpu"].to_numpy())
            for kind, curve in curves.items()
            if kind != "lsh" and not curve.is_empty()
        ]
        print(
            f"  recall {row['recall']:.3f}, {row['queries_per_s']:7,.0f} queries/s ({row['build']}; {row['search']}): {', '.join(beside)}"
        )


def ratio(kind: str, row: Row, recalls: NDArray[Any], speeds: NDArray[Any]) -> str:
    """Say how many times faster our setting is than a curve at its recall. A curve that begins above may be read where it begins: it gives more for that time."""
    theirs = speed_at(max(row["recall"], recalls.min()), recalls, speeds)
    if np.isnan(theirs):
        return f"{kind} not reached (most: {recalls.max():.3f})"
    begins = f" at most (it begins at {recalls.min():.3f})" if row["recall"] < recalls.min() else ""
    return f"{row['faster_cpu'] / theirs:.2f} x {kind}{begins}"


def plot(table: pl.DataFrame, path: Path) -> None:
    """Draw speed over recall, near 1 stretched, a line for each kind through what was picked."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    least = 1e-3
    figure, axes = plt.subplots(figsize=(9, 6))
    for part in table.partition_by("kind", maintain_order=True):
        front = part.filter("picked").sort("recall")
        drawn = axes.plot(front["recall"], front["queries_per_s"], "o-", label=part["kind"][0])
        axes.plot(part["recall"], part["queries_per_s"], ".", color=drawn[0].get_color(), alpha=0.4)
    axes.set_xscale("function", functions=(lambda x: -np.log10(np.maximum(1 - x, 0) + least), lambda y: 1 + least - 10.0**-y))
    axes.set_xticks([0.2, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1])
    axes.set(
        yscale="log",
        xlabel=f"recall@{K}",
        ylabel="queries a second, one thread",
        xlim=(max(0.0, float(table["recall"].to_numpy().min()) - 0.02), 1.0003),
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=1_000, help="half of them to pick settings on")
    parser.add_argument("--layers", type=Path, nargs="*", default=[], help="layer files of embeddings of the same trials")
    parser.add_argument("--plain", action="store_true", help="one Gaussian instead of local ones")
    parser.add_argument("--kinds", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="20,000 rows of 64 numbers, 128 queries, once")
    parser.add_argument("--out", type=Path, help="a CSV of all numbers")
    parser.add_argument("--plot", type=Path, help="a PNG of speed over recall")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.dim, options.queries, options.repetitions = 20_000, 64, 128, 1
    rng = np.random.default_rng(0)
    centres = centres_of(options.layers, options.dim, rng)
    drawn = (synthetic_like if options.plain else vectors_around)(centres, options.rows + options.queries, rng)
    vectors, queries = drawn[: options.rows], drawn[options.rows :]
    exact = ExactIndex(metric="cosine", whiten=True)
    exact.add(np.arange(len(vectors)), vectors)
    truth = exact.search(queries, K)
    near = np.quantile(truth.similarities, (0.1, 0.5, 0.9), axis=0)
    print(
        f"{len(vectors):,} x {exact.vectors.shape[1]} whitened, {len(queries)} queries, half to pick on and half to report, k = {K}\n"
        f"cosine of the nearest row {near[:, 0].round(2)}, of the tenth {near[:, -1].round(2)} (10 %, 50 %, 90 % of queries)"
    )
    against_bare(exact, queries, options.repetitions)
    half = len(queries) // 2
    first, second = (
        Half(queries[part], Found._make(each[part] for each in truth)) for part in (slice(half), slice(half, None))
    )
    table = picked([row for kind in options.kinds for row in raced(kind, vectors, first, second, exact, options.repetitions)])
    name_picks(table)
    against_faiss(table)
    if options.out:
        table.write_csv(options.out)
    if options.plot:
        plot(table, options.plot)


if __name__ == "__main__":
    main()
