"""Whether what was found is what it seems: probes beside their controls, and what else could be heard."""

from __future__ import annotations

from typing import Any

import numpy as np

from spoofscope.analysis.confounds import decodability_rows, identity_rows, leak_rows, matched_distances, matched_rows
from spoofscope.analysis.design import DISJOINT
from spoofscope.analysis.generalise.notebook import Notebook, OnProgress
from spoofscope.analysis.generalise.spaces import Space
from spoofscope.analysis.holdout import cross_fitted_scores
from spoofscope.analysis.probing.decoding import LINEAR, PROBES
from spoofscope.analysis.probing.probes import probe_rows
from spoofscope.analysis.shortcuts import measure_recordings, shortcut_rows, trimmed_rows
from spoofscope.degradations.conditions import CLEAN, Condition
from spoofscope.executors import open_executor

TRIMMED = "trim_silence"


def nuisances_of(book: Notebook) -> list[str]:
    """Return the nuisances that take at least two values among the trials."""
    frame = book.spaces.frame
    return [name for name in book.recipe.nuisances if name in frame.columns and frame[name].drop_nulls().n_unique() > 1]


def probe(book: Notebook, space: Space) -> None:
    """Probe a layer for the groups, the nuisances and the speaker; in the stated layer by every capacity and within each nuisance."""
    frame, recipe = book.spaces.frame, book.recipe
    is_first = space.layer == book.spaces.layers(space.embedder, CLEAN)[0]
    untrained = book.spaces.untrained(space)
    spoof = ~book.design.is_bonafide
    for target in dict.fromkeys([*recipe.hold_out, *nuisances_of(book), *_known(book, ["speaker"])]):
        rows = spoof if target in recipe.hold_out else np.ones(frame.height, dtype=bool)
        others = [name for name in (*nuisances_of(book), *_known(book, ["speaker"])) if name != target]
        for within in ["", *(others if space.is_stated and target == book.column else [])]:
            found = probe_rows(
                space.vectors[rows],
                frame.filter(rows),
                target,
                resampling=book.resampling,
                within=within,
                probes=PROBES if space.is_stated and not within else (LINEAR,),
                random=is_first and not within,
                untrained=None if untrained is None or within else untrained[rows],
                folds=recipe.folds,
                min_count=recipe.min_count,
                seed=recipe.seed,
            )
            book.add("probes", found, **space.names)


def confounds(book: Notebook, space: Space) -> None:
    """Ask of the stated layer what else is decodable from it, and what is left when that is held constant, matched or kept apart."""
    if not space.is_stated:
        return
    frame, recipe, column = book.spaces.frame, book.recipe, book.column
    names, head = space.names, book.heads[0]
    nuisances = nuisances_of(book)
    shared: dict[str, Any] = {"resampling": book.resampling, "seed": recipe.seed}
    tasks = {**shared, "folds": recipe.folds, "min_count": recipe.min_count}
    book.add("confounds", decodability_rows(space.vectors, frame, [*nuisances, *_known(book, ["speaker"])], **tasks), **names)
    for target in [*nuisances, *_known(book, ["speaker"])]:
        book.add("confounds", identity_rows(space.vectors, frame, column, target, **tasks), **names)
    gaps = {row["held"]: row["gap"] for row in book.stated_gaps(space.embedder).iter_rows(named=True)}
    for columns in [[name] for name in nuisances] + ([nuisances] if len(nuisances) > 1 else []):
        distances = matched_distances(space.vectors, book.design, columns)
        book.add("confounds", matched_rows(distances, gaps, columns, **shared), **names)
    folds = {**shared, "clusters": recipe.clusters, "folds": recipe.folds}
    book.add("confounds", leak_rows(space.vectors, frame, column, head, **folds), **names)
    for condition in book.audit.conditions:
        if [step.name for step in condition.chain] == [TRIMMED]:
            _trimmed(book, space, condition)


def _trimmed(book: Notebook, space: Space, condition: Condition) -> None:
    """Compare the head of each condition on its own trials, over the same folds."""
    design, recipe = book.design, book.recipe
    spaces = (space, book.spaces.space(space.embedder, condition))
    untrimmed, trimmed = (cross_fitted_scores(one.vectors, design, book.heads[0]) for one in spaces)
    rows = trimmed_rows(
        untrimmed,
        trimmed,
        design,
        clusters=recipe.clusters,
        resampling=book.resampling,
        min_count=recipe.min_count,
        seed=recipe.seed,
        target=condition.label,
    )
    book.add("confounds", rows, **space.names)


def of_recordings(book: Notebook, on_progress: OnProgress) -> None:
    """Ask how far duration, level, silence and bandwidth alone tell the classes apart: no model hears anything."""
    audit, recipe = book.audit, book.recipe
    with open_executor(recipe.executor, workers=recipe.workers, plugins=recipe.plugins) as executor:
        measured = measure_recordings(audit.data.trials, executor)
    on_progress("shortcuts", 1, 1)
    rows = shortcut_rows(
        measured,
        book.spaces.frame,
        book.column,
        clusters=recipe.clusters,
        resampling=book.resampling,
        folds=recipe.folds,
        min_count=recipe.min_count,
        seed=recipe.seed,
    )
    book.add("confounds", rows, embedder="", condition=CLEAN.name, layer="")


def _known(book: Notebook, columns: list[str]) -> list[str]:
    return [name for name in columns if name in DISJOINT and name in book.design.known and name != book.column]
