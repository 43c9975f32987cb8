"""What holding a group out costs, and what goes with it: over layers, embedders and corpora."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.association.associate import associate, association_table
from spoofscope.analysis.association.layer_sweep import sweep_layers
from spoofscope.analysis.cells import cluster_rows, pair_of, with_interval
from spoofscope.analysis.generalise.notebook import Notebook
from spoofscope.analysis.generalise.spaces import Space
from spoofscope.analysis.geometry import cross_fitted_geometry, reference_geometry
from spoofscope.analysis.heads import Head
from spoofscope.analysis.holdout import CROSS_FITTED, cross_fitted_scores, gap_row, hold_out, score_across
from spoofscope.analysis.probing.selectivity import identity_predictors, reference_selectivity
from spoofscope.analysis.regimes import compare_gaps, contrast_row
from spoofscope.analysis.study import REFERENCE, reference_hold_out
from spoofscope.analysis.tables import Row
from spoofscope.degradations.conditions import CLEAN
from spoofscope.metrics.correlations import FEWEST
from spoofscope.metrics.intervals import bootstrap

ALL, NOT_EXPOSED = "all", "not exposed"
OF_THE_BOUNDARY = "boundary_margin"
"""The predictor that is read off the stated layer's head, and so exists in no other layer."""


def hold_groups_out(book: Notebook, space: Space) -> None:
    """Hold every group out: by every head in the stated layer heard clean, elsewhere by the first."""
    is_in_front = space.is_stated and space.is_clean
    for column, design in book.spaces.designs.items():
        for head in book.heads if is_in_front else book.heads[:1]:
            scores = hold_out(space.vectors, design, head, book.plans[column])
            if is_in_front and head is book.heads[0]:
                book.scores[space.embedder, column] = scores
            rows = (gap_row(one, book.recipe.clusters, seed=book.recipe.seed, resampling=book.resampling) for one in scores)
            _add_gaps(book, space, head, column, rows)
        if book.recipe.reference and space.is_clean:
            repeated = reference_hold_out(space.vectors, design.is_bonafide, design.held)
            _add_gaps(book, space, book.heads[0], column, repeated)


def _add_gaps(book: Notebook, space: Space, head: Head, column: str, rows: Iterable[Row]) -> None:
    met = book.exposure[space.embedder][column]
    named = ({"exposed": row["held"] in met} | row for row in rows)
    book.add("holdout", named, **space.names, head=head.name, held_by=column)


def measure_geometry(book: Notebook, space: Space) -> None:
    """Measure where each group lies, and how well it is told from other spoof."""
    for column, design in book.spaces.designs.items():
        margins = None
        if space.is_stated:
            margins = {one.group: float(one.pairs[1].spoof.mean()) for one in book.scores[space.embedder, column]}
        found = [
            (CROSS_FITTED, cross_fitted_geometry(space.vectors, design, margins=margins)),
            (CROSS_FITTED, identity_predictors(space.vectors, design, seed=book.recipe.seed)),
        ]
        if book.recipe.reference:
            held = design.is_bonafide, design.held
            found += [
                (REFERENCE, reference_geometry(space.vectors, *held)),
                (REFERENCE, reference_selectivity(space.vectors, *held)),
            ]
        for method, frame in found:
            book.add("geometry", frame.iter_rows(named=True), **space.names, method=method, held_by=column)


def associate_all(book: Notebook) -> None:
    """Hold every predictor against the gap of its own layer: all groups, and those that the embedder has not met."""
    gaps, geometry = book.frame("holdout"), book.frame("geometry")
    keys = ("embedder", "condition", "layer", "head", "method", "held_by")
    shared = ("embedder", "condition", "layer", "method", "held_by")
    for names, own in gaps.filter(pl.col("condition") == CLEAN.name).group_by(keys, maintain_order=True):
        row = dict(zip(keys, names, strict=True))
        near = geometry.filter(pl.col(key) == row[key] for key in shared)
        for attacks, kept in ((ALL, own), (NOT_EXPOSED, own.filter(~pl.col("exposed")))):
            if kept.height < FEWEST or (attacks != ALL and kept.height == own.height):
                continue
            table = _associated(book, kept, near.filter(pl.col("held").is_in(kept["held"].implode())))
            book.add("association", table.iter_rows(named=True), **row, attacks=attacks)


def _associated(book: Notebook, gaps: pl.DataFrame, predictors: pl.DataFrame) -> pl.DataFrame:
    recipe = book.recipe
    return association_table(
        associate(
            gaps,
            predictors,
            primary=recipe.predictor if recipe.predictor in set(predictors["predictor"]) else None,
            permutations=recipe.permutations,
            level=recipe.level,
            seed=recipe.seed,
        )
    )


def sweep(book: Notebook) -> None:
    """Follow rho over the layers, against each layer's own gap and against the stated layer's."""
    geometry, recipe = book.frame("geometry"), book.recipe
    for embedder, stated in book.spaces.stated.items():
        gaps = book.clean_gaps(embedder)
        if len(book.spaces.layers(embedder, CLEAN)) < 2 or gaps["held"].n_unique() < FEWEST:
            continue
        near = geometry.filter(
            pl.col("embedder") == embedder,
            pl.col("held_by") == book.column,
            pl.col("method") == CROSS_FITTED,
            pl.col("predictor") != OF_THE_BOUNDARY,
            pl.col("held").is_in(gaps["held"].implode()),
        )
        for against in (gaps, gaps.filter(pl.col("layer") == stated)):
            swept = sweep_layers(
                against.select("layer", "held", "gap", "eer_with"),
                near.select("layer", "held", "predictor", "value", "circular", "expected_sign"),
                permutations=recipe.permutations,
                level=recipe.level,
                seed=recipe.seed,
            )
            book.add("layers", swept.iter_rows(named=True), embedder=embedder, condition=CLEAN.name, head=book.heads[0].name)


def compare(book: Notebook) -> None:
    """Compare embedders group by group, on the same trials and folds; groups that either has met are set apart."""
    column, recipe = book.column, book.recipe
    for first, second in combinations(book.audit.embedders, 2):
        gaps = [
            {row["held"]: row["gap"] for row in book.stated_gaps(name, column).iter_rows(named=True)}
            for name in (first, second)
        ]
        met = book.exposure[first][column].keys() | book.exposure[second][column].keys()
        names = {"first": first, "second": second, "condition": CLEAN.name, "head": book.heads[0].name}
        names |= {"first_layer": book.spaces.stated[first], "second_layer": book.spaces.stated[second]}
        for one, other in zip(book.scores[first, column], book.scores[second, column], strict=True):
            held = {"held_by": column, "held": one.group, "exposed": one.group in met}
            held |= {"gap_first": gaps[0][one.group], "gap_second": gaps[1][one.group]}
            row = contrast_row(one, other, recipe.clusters, seed=recipe.seed, resampling=book.resampling)
            book.add("regimes", [held | row], **names)
        for attacks in (ALL, NOT_EXPOSED):
            kept = [group for group in gaps[0] if attacks == ALL or group not in met]
            if len(kept) >= FEWEST and (attacks == ALL or len(kept) < len(gaps[0])):
                both = (np.array([side[group] for group in kept]) for side in gaps)
                row = compare_gaps(*both, permutations=recipe.permutations, seed=recipe.seed, **book.resampling)
                book.add("regime_tests", [row], **names, attacks=attacks)


def cross(book: Notebook) -> list[str]:
    """Train on the other corpus and test on this one, and on its attacks one by one; return what contaminates that."""
    audit = book.audit
    found: list[str] = []
    if audit.other is None:
        return found
    tested = {f"{audit.data.card.name}/{audit.data.protocol}", audit.data.trials.name}
    shared = len(set(audit.other.trials.paths) & set(audit.data.trials.paths))
    if shared:
        found.append(f"{shared} recordings of {audit.other.trials.name}, which heads are trained on, are tested on as well.")
    for embedder, built in audit.embedders.items():
        met = tested & set(built.card.trained_on)
        if met:
            found.append(f"{embedder} was trained on the very trials that it is tested on ({', '.join(sorted(met))}).")
        space = book.spaces.space(embedder, CLEAN)
        vectors, is_bonafide, name = book.spaces.other(embedder)
        for head in book.heads:
            across = score_across(vectors, is_bonafide, space.vectors, head)
            names: dict[str, Any] = {"train": name, "test": book.spaces.name, "contaminated": bool(met or shared)}
            book.add("cross_corpus", _across_rows(book, space, head, across), **space.names, head=head.name, **names)
    return found


def _across_rows(book: Notebook, space: Space, head: Head, across: NDArray[np.float64]) -> Iterator[Row]:
    design = book.design
    within = cross_fitted_scores(space.vectors, design, head)
    for group in (ALL, *dict.fromkeys(job.group for job in book.plans[book.column].jobs)):
        rows = design.is_bonafide | (design.held != "" if group == ALL else design.held == group)
        frame = design.frame.filter(rows)
        clusters = cluster_rows(frame, book.recipe.clusters)
        row: Row = {"held": group}
        for name, scores in (("eer", across), ("eer_within", within)):
            pair = pair_of(frame.with_columns(score=scores[rows]))
            estimate = bootstrap("eer", *pair, clusters, rng=np.random.default_rng(book.recipe.seed), **book.resampling)
            row |= with_interval(name, estimate) | {"n_bonafide": estimate.n_bonafide, "n_spoof": estimate.n_spoof}
        yield row | {"note": estimate.note}
