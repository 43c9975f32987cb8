"""The second part of the page, why it does not generalise: which sections there are, their rows, what the first screen says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoofscope.report import control_figures, gap_figures, probe_figures, retrained_figures
from spoofscope.report.chosen import (
    ALL,
    CROSS_FITTED,
    FEW_LAYERS,
    NOT_EXPOSED,
    REFERENCE,
    Chosen,
    by,
    first,
    is_beyond_noise,
    middle,
    values,
)
from spoofscope.report.figures import Figure, Sketchbook
from spoofscope.report.findings import largest
from spoofscope.report.folder import Row, RunFolder
from spoofscope.report.words import is_missing

MOST_DRAWN = 4
UNSAID: dict[str, Any] = {
    "held_by": "",
    "disjoint": [],
    "contamination": [],
    "warnings": [],
    "findings": [],
    "left_out": {},
    "plan": None,
}
"""What the page takes for said where tables were made elsewhere and there is no analysis.json."""
SECTIONS = {  # anchor: (name in the contents, tables that it is made from)
    "generalisation": ("Generalisation", ()),
    "gaps": ("Held-out gaps", ("holdout",)),
    "predictors": ("Predictors", ("association",)),
    "layers": ("By layer", ("layers",)),
    "regimes": ("Between embedders", ("regimes", "regime_tests")),
    "probes": ("Probes", ("probes",)),
    "confounds": ("Confounds", ("confounds",)),
    "coverage": ("Coverage", ("coverage",)),
    "foresight": ("Foresight", ("prospect", "prospect_attacks", "few_samples")),
    "interventions": ("Interventions", ("masking", "augmentation")),
    "across": ("Across corpora", ("cross_corpus",)),
}
KINDS = (
    *("gaps", "predictors", "forest", "layers", "regimes", "probe_sweeps", "probes", "shortcuts", "coverage", "coverage_maps"),
    *("foresight", "few_samples", "masking", "augmentation"),
)


@dataclass(frozen=True)
class Held:
    """What the first screen of the second part says of one embedder.

    Parameters
    ----------
    embedder, layer : str
    rows : list of Row
        Of holdout.csv, the largest gap first.
    largest, middle, hardest : Row or None
        The largest gap; the gap that at least half of the groups do not exceed; the largest EER of a group that was trained on.
    n_beyond : int
        Gaps above 0 whose interval leaves out 0.
    stated, unexposed : Row or None
        Of association.csv: the predictor that was named beforehand, over all groups and over those that are not exposed.
    exposed : list of str
        Groups whose algorithm the embedder was trained on.
    matched : Row or None
        Of confounds.csv: how distance goes with the gap once bona fide speech is matched to each group.
    """

    embedder: str
    layer: str
    rows: list[Row]
    largest: Row | None
    middle: Row | None
    hardest: Row | None
    n_beyond: int
    stated: Row | None
    unexposed: Row | None
    exposed: list[str]
    matched: Row | None

    @property
    def known(self) -> list[Row]:
        """The rows that have a gap."""
        return [row for row in self.rows if not is_missing(row["gap"])]


def held_of(chosen: Chosen, embedder: str) -> Held:
    """Return what the first screen says of one embedder."""
    rows = chosen.gaps(embedder)
    stated = (chosen.folder.analysis.get("exposure") or {}).get(embedder) or []
    return Held(
        embedder=embedder,
        layer=chosen.layer(embedder),
        rows=rows,
        largest=first(largest(rows, "gap")),
        middle=middle(rows, "gap"),
        hardest=first(largest(rows, "eer_with")),
        n_beyond=sum(map(is_beyond_noise, rows)),
        stated=chosen.primary(embedder, ALL),
        unexposed=chosen.primary(embedder, NOT_EXPOSED),
        exposed=list(dict.fromkeys([*(row["held"] for row in rows if row["exposed"]), *map(str, stated)])),
        matched=_matched(chosen, embedder),
    )


def _matched(chosen: Chosen, embedder: str) -> Row | None:
    """Return the association with bona fide speech matched in the columns that leave most groups; of equals, in the most columns."""
    rows = [row for row in chosen.rows("confounds", embedder=embedder, question="matched bona fide") if not row["held"]]
    known = [row for row in rows if not is_missing(row["value"])]
    return max(known, key=lambda row: (row["n"] or 0, len(row["target"])), default=None)


def generalisation(folder: RunFolder) -> dict[str, Any] | None:
    """Return what the templates of the second part need; None where the run holds none of its tables."""
    chosen = Chosen(folder)
    if chosen.is_empty:
        return None
    analysis = UNSAID | dict(folder.analysis)
    return {
        "sections": {anchor: name for anchor, (name, tables) in SECTIONS.items() if _is_there(chosen, anchor, tables)},
        "labels": chosen.labels,
        "analysis": analysis,
        "alerts": [*analysis["contamination"], *analysis["warnings"]],
        "held": [held for embedder in chosen.embedders if (held := held_of(chosen, embedder)).rows or held.stated],
        "reference": {embedder: by(_reference(chosen, embedder), "held") for embedder in chosen.embedders},
        "associations": _associations(chosen),
        "regimes": folder.rows("regimes"),
        "regime_tests": folder.rows("regime_tests"),
        "probes": [row for embedder in chosen.embedders for row in chosen.rows("probes", embedder=embedder)],
        "confounds": [row for row in folder.rows("confounds") if row["question"] != "shortcut"],
        "shortcuts": control_figures.shortcut_rows(chosen),
        "coverage": _coverage(chosen),
        "prospect": [row for embedder in chosen.embedders for row in chosen.rows("prospect", embedder=embedder)],
        "few_samples": [row for embedder in chosen.embedders for row in chosen.rows("few_samples", embedder=embedder)],
        "masking": folder.rows("masking"),
        "augmentation": folder.rows("augmentation"),
        "cross_corpus": sorted(folder.rows("cross_corpus"), key=lambda row: row["held"] != "all"),
        "probe_name": probe_figures.probe_in_words,
        "is_stated": chosen.is_primary,
    }


def _is_there(chosen: Chosen, anchor: str, tables: tuple[str, ...]) -> bool:
    if anchor == "layers":
        return any(len(values(chosen.folder.rows("layers", embedder=name), "layer")) > FEW_LAYERS for name in chosen.embedders)
    return not tables or any(chosen.folder.tables[name] for name in tables)


def _reference(chosen: Chosen, embedder: str) -> tuple[Row, ...]:
    """Return the rows of the reference study's own way, where they stand beside cross-fitted ones."""
    rows = chosen.rows("holdout", embedder=embedder, method=REFERENCE)
    return rows if chosen.folder.rows("holdout", embedder=embedder, method=CROSS_FITTED) else ()


def _associations(chosen: Chosen) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of association.csv of the primary choice, by embedder and by which groups are in."""
    answer = {(name, groups): chosen.associations(name, groups) for name in chosen.embedders for groups in (ALL, NOT_EXPOSED)}
    return {key: rows for key, rows in answer.items() if rows}


def _coverage(chosen: Chosen) -> dict[str, tuple[list[str], dict[str, dict[str, Row]]]]:
    """Return, for each set of scores, the variants and each group's row of every variant, the group accepted most often first."""
    answer = {}
    for scores_of in values(chosen.folder.rows("coverage"), "scores_of"):
        rows = chosen.rows("coverage", scores_of=scores_of)
        ordered = sorted(
            [*largest((row for row in rows if row["variant"] == "held out"), "rate"), *rows], key=lambda row: row["held"] != ALL
        )
        cells = {group: by((row for row in rows if row["held"] == group), "variant") for group in values(ordered, "held")}
        answer[scores_of] = (values(rows, "variant"), cells)
    return answer


def draw_generalisation(folder: RunFolder, path: Path) -> dict[str, list[Figure]]:
    """Draw every figure of the second part that the tables allow; a kind that they do not allow is an empty list."""
    chosen, book = Chosen(folder), Sketchbook(folder, path)

    def each(names: list[str], *draws: Callable[[Sketchbook, Chosen, str], list[Figure]]) -> list[Figure]:
        return [figure for name in names[:MOST_DRAWN] for draw in draws for figure in draw(book, chosen, name)]

    embedders, scores = chosen.embedders, values(folder.rows("coverage"), "scores_of")
    return {
        "gaps": each(embedders, gap_figures.gap_bars),
        "predictors": each(embedders, gap_figures.predictors),
        "forest": each(embedders, gap_figures.forest),
        "layers": each(embedders, gap_figures.by_layer),
        "regimes": gap_figures.regimes(book, chosen),
        "probe_sweeps": each(embedders, probe_figures.probe_sweeps),
        "probes": each(embedders, probe_figures.probe_marks),
        "shortcuts": control_figures.shortcuts(book, chosen),
        "coverage": each(scores, control_figures.coverage),
        "coverage_maps": each(scores, control_figures.coverage_map),
        "foresight": each(embedders, control_figures.foresight),
        "few_samples": each(embedders, control_figures.few_samples),
        "masking": each(values(folder.rows("masking"), "detector"), retrained_figures.masking),
        "augmentation": each(
            values(folder.rows("augmentation"), "detector"), retrained_figures.robustness, retrained_figures.narrowed
        ),
    }
