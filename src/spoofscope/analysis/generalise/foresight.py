"""What can be promised, or told beforehand, of a generator that nobody has calibrated or trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from spoofscope.analysis.coverage import coverage_rows
from spoofscope.analysis.generalise.notebook import Notebook, OnProgress
from spoofscope.analysis.holdout import CROSS_FITTED
from spoofscope.analysis.prospect import few_sample_rows, prospect_rows
from spoofscope.degradations.conditions import CLEAN, Condition
from spoofscope.errors import RunFolderError
from spoofscope.metrics.rates import Floats

KINDS = ("family", "algorithm", "vocoder")


def coverage(book: Notebook, on_progress: OnProgress) -> list[str]:
    """Calibrate a promise on known groups and hold it against each new one; return which detectors have no scores.

    Of a detector under every condition; of the first head in the stated layer of every embedder, heard clean, that has not met the group.
    """
    recipe, design, missing = book.recipe, book.design, []
    shared: dict[str, Any] = {
        "target": 1 - recipe.coverage,
        "resampling": book.resampling,
        "min_count": recipe.min_count,
        "seed": recipe.seed,
    }
    first = next(iter(book.audit.embedders))
    for detector in book.audit.detectors:
        try:
            heard = {condition: _scores(book, detector, condition) for condition in book.audit.conditions}
        except RunFolderError:
            missing.append(
                f"{detector} has no scores in this run, so its coverage is not known: run 'spoofscope score RECIPE' first."
            )
            continue
        vectors = book.spaces.space(detector if detector in book.audit.embedders else first, CLEAN).vectors
        for condition, scores in heard.items():
            clean = None if condition == CLEAN else heard[CLEAN]
            rows = coverage_rows(scores, design, vectors=vectors if clean is None else None, clean=clean, **shared)
            book.add("coverage", rows, scores_of=detector, condition=condition.name)
            on_progress(f"coverage of {detector}", len(heard), 1)
    for embedder in book.audit.embedders:
        unheard = {one.group: one.unheard for one in book.scores[embedder, book.column]}
        rows = coverage_rows(unheard, design, vectors=book.spaces.space(embedder, CLEAN).vectors, **shared)
        book.add("coverage", rows, scores_of=f"{embedder} + {book.heads[0].name}", condition=CLEAN.name)
        on_progress(f"coverage of heads on {embedder}", 1, 1)
    return missing


def _scores(book: Notebook, detector: str, condition: Condition) -> Floats:
    """Read a detector's scores of the analysed trials, nan where it has none."""
    found = book.audit.scores(detector, condition).frame["score"].cast(pl.Float64).fill_null(np.nan)
    return found.to_numpy()[book.spaces.rows]


def foresee(book: Notebook) -> None:
    """Predict each group's gap from the others', and how much of it will be accepted from a few of its clips."""
    recipe, kinds = book.recipe, _kinds(book)
    for embedder, layer in book.spaces.stated.items():
        names = {"embedder": embedder, "condition": CLEAN.name, "layer": layer, "head": book.heads[0].name}
        near = book.frame("geometry").filter(
            pl.col("embedder") == embedder,
            pl.col("layer") == layer,
            pl.col("held_by") == book.column,
            pl.col("method") == CROSS_FITTED,
        )
        rows, attacks = prospect_rows(
            book.stated_gaps(embedder),
            near,
            families=kinds,
            replicates=recipe.replicates,
            level=recipe.level,
            permutations=min(recipe.permutations, 10_000),
            seed=recipe.seed,
        )
        book.add("prospect", rows, **names)
        book.add("prospect_attacks", attacks, **names)
        few = few_sample_rows(book.scores[embedder, book.column], level=recipe.level, seed=recipe.seed)
        book.add("few_samples", few, **names)


def _kinds(book: Notebook) -> Mapping[str, str]:
    """Say what each group is made of, by the first column that puts some of them together."""
    spoof = book.spaces.frame.filter(~book.design.is_bonafide)
    for column in KINDS:
        if column in spoof.columns and column != book.column:
            pairs = (
                spoof.select(pl.col(book.column).cast(pl.String).alias("held"), pl.col(column).alias("kind"))
                .drop_nulls()
                .unique()
            )
            is_one = pairs["held"].n_unique() == pairs.height
            if is_one and 1 < pairs["kind"].n_unique() < pairs.height:
                return dict(pairs.iter_rows())
    return {}
