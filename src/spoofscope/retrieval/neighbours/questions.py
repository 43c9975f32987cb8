"""The questions that are asked of neighbours: each leaves rows in a `Notebook`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from spoofscope.analysis.association.associate import associate, association_table
from spoofscope.analysis.cells import with_interval
from spoofscope.analysis.design import codes_of, known_columns
from spoofscope.analysis.generalise.spaces import Space
from spoofscope.analysis.geometry import cross_fitted_geometry
from spoofscope.analysis.holdout import CROSS_FITTED, cross_fitted_scores, within_noise
from spoofscope.analysis.tables import Row
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics.correlations import FEWEST
from spoofscope.metrics.intervals import ScorePair, bootstrap, bootstrap_difference
from spoofscope.metrics.rates import auc
from spoofscope.retrieval.heads import study
from spoofscope.retrieval.heads.attribution import Judged, by_probe, by_vote, tasks_of
from spoofscope.retrieval.heads.detection import METHODS, Floats
from spoofscope.retrieval.heads.known import Known, Sides, cross_fitted_sides, search_without
from spoofscope.retrieval.heads.novelty import HeldOut, novelty_row, refusal_rows
from spoofscope.retrieval.neighbours.notebook import Notebook

ALONE, APART = "leave self out", "self, speaker and source out"
OUTCOMES = ("overlap", "evading", "eer_without")
"""What close groups may do, each higher for the worse: 1 - AUROC of novelty against bona fide, the share taken for known, the EER of neighbours without them."""


def detect(book: Notebook, space: Space) -> list[Sides]:
    """Score every trial by its neighbours in other folds; beside them the linear head and the detectors on the same trials.

    Returns
    -------
    list of Sides
        What was found by each index heard clean, elsewhere by the first.
    """
    settings = book.settings if space.is_clean else book.settings[:1]
    sides = cross_fitted_sides(space.vectors, book.design, settings, book.neighbours)
    head = cross_fitted_scores(space.vectors, book.design, book.head)
    others = {name: scores for (name, condition), scores in book.evaluated.items() if condition == space.condition.name}

    def row(method: str, scores: Floats, **names: Any) -> Row:
        return {"method": method} | names | _detection(book, scores, head, next(iter(others.values()), None))

    found = {"split": CROSS_FITTED, "index": book.setting.expression, "k": sides[0].k, "n_missing": sides[0].n_missing}
    rows = [row(name, method(sides[0]), **found) for name, method in METHODS.items()]
    rows.append(row(book.head.name, head, split=CROSS_FITTED))
    rows += [row(name, scores, split="its own training") for name, scores in others.items()]
    if space.is_clean:
        rows += _left_out(book, space, row)
    book.add("knn", rows, **space.names)
    return sides


def _detection(book: Notebook, scores: Floats, head: Floats, detector: Floats | None) -> Row:
    pair = book.pair(scores)
    estimate = bootstrap("eer", *pair, book.clusters, rng=book.rng(), **book.resampling)
    row: Row = {"n_bonafide": estimate.n_bonafide, "n_spoof": estimate.n_spoof}
    row |= with_interval("eer", estimate) | {"auc": auc(*pair)}
    for name, other in (("difference", head), ("detector_difference", detector)):
        if other is None or other is scores:
            row |= {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
            continue
        against = bootstrap_difference("eer", book.pair(other), pair, book.clusters, rng=book.rng(), **book.resampling)
        row |= with_interval(name, against) | {f"{name}_within_noise": within_noise(against)}
    return row | {"note": estimate.note}


def _left_out(book: Notebook, space: Space, row: Callable[..., Row]) -> Iterator[Row]:
    """Ask among all rows but the trial's own, and among those that share neither its speaker nor its source."""
    design, frame, k = book.design, book.spaces.frame, book.neighbours
    known = Known.of(space.vectors, design.is_bonafide, np.full(len(design), True), book.setting)
    own = np.arange(len(design))
    linked = [(own, own)]
    for split, columns in ((ALONE, ()), (APART, known_columns(frame, ("speaker", "source")))):
        if split == APART and not columns:
            continue
        codes = [codes_of(frame[column]) for column in columns]
        sides = search_without(known, space.vectors, k, linked + [(code, code) for code in codes])
        found = {"split": split, "index": book.setting.expression, "k": k, "n_missing": sides.n_missing}
        for name, method in METHODS.items():
            yield row(name, method(sides), **found)


def attribute(book: Notebook, space: Space) -> list[Row]:
    """Ask neighbours and a probe which generator made each spoof trial, under each rule of what must differ.

    Returns
    -------
    list of Row
        Top-1 accuracy of the vote for each index, under the rule that leaves most generators.
    """
    recipe, frame, column = book.recipe, book.spaces.frame, book.column
    found: dict[str, list[Row]] = {}
    for rule, task in tasks_of(frame, column, folds=recipe.folds, min_count=recipe.min_count, seed=recipe.seed):
        judged = Judged(frame, task, resampling=book.resampling, seed=recipe.seed)
        probe = by_probe(space.vectors, task)
        baseline = judged.figures(probe)
        names = space.names | {"rule": " and ".join(rule) or "nothing known"}
        for setting in book.settings:
            votes = by_vote(space.vectors, task, setting, book.neighbours)
            rows = [judged.summary(one, baseline) for one in votes]
            found.setdefault(names["rule"], []).append(rows[0] | names)
            if setting is not book.setting:
                continue
            book.add("attribution", [*rows, judged.summary(probe)], **names, index=setting.expression)
            for one in (votes[0], probe):
                book.add("attribution_groups", judged.groups(one), **names)
                book.add("confusion", judged.confusion(one), **names)
                book.add("abstention", judged.abstention(one), **names)
    return max(found.values(), key=lambda rows: rows[0]["n_classes"], default=[])


def hold_out(book: Notebook, space: Space, sides: Sides) -> list[list[HeldOut]]:
    """Leave each group out of the index, and ask how novel it looks; what refusing buys, and whether the close ones evade.

    Returns
    -------
    list of list of HeldOut
        For each index, the groups that could be left out.
    """
    recipe, design = book.recipe, book.design
    held: list[list[HeldOut]] = [[] for _ in book.settings]
    for group in design.groups:
        if design.counts(group) < recipe.min_count:
            continue
        try:
            without = cross_fitted_sides(space.vectors, design, book.settings, book.neighbours, without=group)
        except NotEnoughTrials:
            continue
        for place, found in zip(held, without, strict=True):
            place.append(HeldOut.of(design, group, found, recipe.novelty_neighbour))
    if not held[0]:
        raise NotEnoughTrials(
            f"{book.spaces.name}: no value of {design.held_by} can be left out with {book.neighbours} neighbours"
        )
    known = METHODS["density"](sides)
    rows = [_novelty(book, one, known) for one in held[0]]
    names = space.names | {"held_by": design.held_by, "index": book.setting.expression}
    book.add("novelty", rows, **names, method=CROSS_FITTED)
    book.add("refusal", refusal_rows(held[0], resampling=book.resampling, seed=recipe.seed), **names)
    book.add("evasion", _evasion(book, space, rows), **names)
    return held


def _novelty(book: Notebook, held: HeldOut, known: Floats) -> Row:
    recipe = book.recipe
    row = novelty_row(held, recipe.clusters, share=recipe.coverage, seed=recipe.seed, resampling=book.resampling)
    pair = ScorePair(known[held.is_bonafide], known[held.is_own])
    clusters = held.clusters(held.is_bonafide, recipe.clusters)
    estimate = bootstrap("eer", *pair, clusters, rng=book.rng(), **book.resampling)
    return row | with_interval("eer_with", estimate)


def _evasion(book: Notebook, space: Space, rows: list[Row]) -> Iterator[Row]:
    """Hold where a group lies against how badly it is noticed."""
    if len(rows) < FEWEST:
        return
    recipe = book.recipe
    geometry = cross_fitted_geometry(space.vectors, book.design).filter(pl.col("held").is_in([row["held"] for row in rows]))
    primary = recipe.predictor if recipe.predictor in set(geometry["predictor"]) else None
    for outcome in OUTCOMES:
        values = [1 - row["auc_bonafide"] if outcome == "overlap" else row[outcome] for row in rows]
        gaps = pl.DataFrame(
            {"held": [row["held"] for row in rows], "gap": values, "eer_with": [row["eer_with"] for row in rows]}
        )
        found = associate(
            gaps, geometry, primary=primary, permutations=recipe.permutations, level=recipe.level, seed=recipe.seed
        )
        table = association_table(found)
        yield from ({"outcome": outcome} | row for row in table.iter_rows(named=True))


def repeat_study(book: Notebook, space: Space) -> list[str]:
    """Repeat the reference study's detection, attribution and novelty; return why one of them could not be."""
    arguments = space.vectors, book.design.is_bonafide, book.design.held
    names = space.names | {"index": study.SETTING.expression}
    try:
        book.add("knn", [study.reference_detection(*arguments)], **names)
        book.add("attribution", [study.reference_attribution(*arguments)], **names)
        book.add("novelty", study.reference_novelty(*arguments), **names, held_by=book.design.held_by)
    except NotEnoughTrials as error:
        return [f"{space.embedder}: the reference study's neighbours could not be repeated: {error}"]
    return []
