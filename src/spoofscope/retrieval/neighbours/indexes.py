"""What each index of a recipe finds and costs, and what that does to the answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from spoofscope.analysis.cells import with_interval
from spoofscope.analysis.generalise.spaces import Space
from spoofscope.analysis.tables import Row
from spoofscope.errors import UserError
from spoofscope.metrics.intervals import bootstrap, bootstrap_difference
from spoofscope.metrics.rates import auc
from spoofscope.retrieval.benchmark import Measured, build, measure
from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.heads.detection import density
from spoofscope.retrieval.heads.known import Sides
from spoofscope.retrieval.heads.novelty import HeldOut
from spoofscope.retrieval.neighbours.notebook import Notebook
from spoofscope.retrieval.settings import Setting

ACCURACY = ("top1", "top1_low", "top1_high")


def measure_indexes(
    book: Notebook, space: Space, sides: Sequence[Sides], attributed: Sequence[Row], held: Sequence[Sequence[HeldOut]]
) -> None:
    """Leave a row in indexes.csv for each index: recall and speed, beside the EER, the accuracy and the AUROC that its neighbours give.

    Recall and speed are of queries from the first fold among the rows of the others, bona fide and spoof in one index, so that no query shares a speaker
    or source with a row. Recall is held against exact search in the index's own space. Everything else is of the whole cross-fitted answer; `difference` is
    from the EER of the first index, and `auc_novel` the mean over groups against bona fide.
    """
    first = book.pair(density(sides[0]))
    for at, setting in enumerate(book.settings):
        pair = book.pair(density(sides[at]))
        estimate = bootstrap("eer", *pair, book.clusters, rng=book.rng(), **book.resampling)
        row: Row = {"index": setting.expression, "kind": setting.kind} | _costs(book, space, setting)
        row |= {"n_missing": sides[at].n_missing} | with_interval("eer", estimate)
        against = {"difference": np.nan, "difference_low": np.nan, "difference_high": np.nan}
        if at:
            difference = bootstrap_difference("eer", first, pair, book.clusters, rng=book.rng(), **book.resampling)
            against = with_interval("difference", difference)
        accuracy = {name: attributed[at][name] if attributed else np.nan for name in ACCURACY}
        areas = [auc(-one.novelty[one.is_bonafide], -one.novelty[one.is_own]) for one in held[at]]
        book.add(
            "indexes", [row | against | accuracy | {"auc_novel": float(np.mean(areas)), "note": estimate.note}], **space.names
        )


def _costs(book: Notebook, space: Space, setting: Setting) -> Row:
    """Build an index over all folds but one, and search it by the trials of that one."""
    asked = book.design.fold == book.design.fold.min()
    rows, queries = np.flatnonzero(~asked), np.flatnonzero(asked)
    k = min(book.neighbours, len(rows))
    try:
        index = setting.build()
        seconds, _ = build(index, rows, space.vectors[rows])
    except UserError as error:
        return {"k": k, "n_rows": len(rows), "n_queries": len(queries), "recall": np.nan, "note": str(error)}
    exact = ExactIndex(metric=setting.metric, center=setting.center, whiten=setting.whiten, components=setting.components)
    exact.add(rows, space.vectors[rows])
    truth = exact.search(space.vectors[queries], k)
    found: Measured = measure(
        index, space.vectors[queries], truth, k, query_ids=queries, threads=os.cpu_count() or 1, repetitions=3
    )
    row = found.row()
    renamed: dict[str, Any] = {
        "k": k,
        "n_rows": len(rows),
        "n_queries": len(queries),
        "recall": row["recall"],
        "recall_low": row["recall_low"],
        "recall_high": row["recall_high"],
        "queries_per_second": row["queries_per_s"],
        "queries_per_second_all": row["queries_per_s_threads"],
        "p50_ms": row["latency_p50_ms"],
        "p95_ms": row["latency_p95_ms"],
        "p99_ms": row["latency_p99_ms"],
        "candidates": row["candidate_fraction"],
        "compared": row["compared_fraction"],
        "n_bytes": row["nbytes"],
        "build_s": seconds,
    }
    return renamed
