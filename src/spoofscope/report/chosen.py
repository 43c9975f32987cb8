"""Which rows of the second part's tables stand in front: the primary layer, clean recordings, the first head, cross-fitted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from spoofscope.degradations.conditions import parse_condition
from spoofscope.errors import SpoofscopeError
from spoofscope.report.findings import largest
from spoofscope.report.folder import Row, RunFolder
from spoofscope.report.schemas import ANALYSIS
from spoofscope.report.words import is_missing, percent

CROSS_FITTED, REFERENCE = "cross-fitted", "reference"
ALL, NOT_EXPOSED = "all", "not exposed"
STRICTEST = "speaker and source"
EXPOSED_MARK, VOICE_MARK = "†", "‡"
OWN = "own"
FEW_LAYERS = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Chosen:
    """The rows of a run that the figures and the first sentences of the second part are about; the rest is in tables.

    Parameters
    ----------
    folder : RunFolder
        The run.
    """

    folder: RunFolder

    @property
    def is_empty(self) -> bool:
        """Whether the run holds no row of any table of the second part."""
        return not any(self.folder.tables[name] for name in ANALYSIS)

    @cached_property
    def embedders(self) -> list[str]:
        """Names of the embedders, those of analysis.json first."""
        named = [
            row["embedder"] for name, columns in ANALYSIS.items() if "embedder" in columns for row in self.folder.tables[name]
        ]
        return [name for name in dict.fromkeys([*self._layers, *named]) if name]

    def layer(self, embedder: str) -> str:
        """Return the primary layer of an embedder: that of analysis.json, or else the first of the tables."""
        return self._layers.get(embedder) or next(iter(self.layers(embedder)), "")

    @property
    def _layers(self) -> dict[str, str]:
        return {name: str(layer) for name, layer in (self.folder.analysis.get("layers") or {}).items()}

    def rows(self, table: str, **wanted: Any) -> tuple[Row, ...]:
        """Return the rows of a table whose columns hold the wanted values; of each other column of the choice, the primary value.

        A column that is wanted as None is left free. Where the primary value of a column does not occur, the first one that does
        takes its place.
        """
        rows = self.folder.rows(table, **{column: value for column, value in wanted.items() if value is not None})
        for column, preferred in self._preferred(wanted.get("embedder")).items():
            if rows and column in rows[0].cells and column not in wanted:
                value = preferred if any(row[column] == preferred for row in rows) else rows[0][column]
                rows = tuple(row for row in rows if row[column] == value)
        return rows

    def _preferred(self, embedder: str | None) -> dict[str, str]:
        analysis = self.folder.analysis
        heads, held_by = analysis.get("heads") or [], analysis.get("held_by") or ""
        return {
            "condition": "clean",
            "layer": self._layers.get(embedder or "", ""),
            "head": str(heads[0]) if heads else "",
            "method": CROSS_FITTED,
            "held_by": held_by if isinstance(held_by, str) else str(held_by[0]),
        }

    def gaps(self, embedder: str) -> list[Row]:
        """Return the rows of holdout.csv of one embedder, the largest gap first; those without a gap come last."""
        rows = self.rows("holdout", embedder=embedder)
        return [*largest(rows, "gap"), *(row for row in rows if is_missing(row["gap"]))]

    def associations(self, embedder: str, attacks: str = ALL) -> list[Row]:
        """Return the rows of association.csv: the primary predictor first, then by size of rho, the circular ones last."""
        rows = self.rows("association", embedder=embedder, attacks=attacks)
        return sorted(rows, key=lambda row: (not self.is_primary(row), bool(row["circular"]), -abs(row["rho"] or 0.0)))

    def is_primary(self, row: Row) -> bool:
        """Tell whether a row is of the predictor that was named beforehand."""
        stated = self.folder.analysis.get("primary")
        return row["predictor"] == stated if stated else bool(row.cells.get("primary"))

    def primary(self, embedder: str, attacks: str = ALL) -> Row | None:
        """Return the row of association.csv of the predictor that was named beforehand."""
        return first(row for row in self.associations(embedder, attacks) if self.is_primary(row))

    def layers(self, embedder: str) -> list[str]:
        """Return the layers of an embedder that layers.csv or holdout.csv speaks of, in the order of the table."""
        return list(
            dict.fromkeys(
                row["layer"] for table in ("layers", "holdout") for row in self.rows(table, embedder=embedder, layer=None)
            )
        )

    def conditions(self, table: str) -> list[str]:
        """Return the conditions of a table: those of the recipe in its order, then others."""
        there = [row["condition"] for row in self.folder.tables[table]]
        return [
            *(name for name in self.folder.labels if name in there),
            *dict.fromkeys(name for name in there if name not in self.folder.labels),
        ]

    def scope(self, row: Row, over: str = "", drawn: str = "bars") -> str:
        """Return what ends a caption: which recordings a row is about, and what the bars are intervals over.

        Parameters
        ----------
        row : Row
            Of any table.
        over : str
            What the resamples of the intervals draw; the clusters of run.json unless given.
        drawn : str
            What the intervals are drawn as.
        """
        run = self.folder.run
        condition = row.cells.get("condition", "clean")
        heard = "Clean recordings" if condition == "clean" else f"Recordings under {self.labels[condition]}"
        units = over or f"whole clusters ({run['clusters']})"
        return f" {heard}; {drawn} are {percent(run['level'], 0)} intervals over {units}."

    @cached_property
    def labels(self) -> dict[str, str]:
        """What people call each condition; those that were analysed but not evaluated are called as their expression is."""
        names = [row["condition"] for table in ANALYSIS for row in self.folder.tables[table] if "condition" in row.cells]
        return {name: _label(name) for name in names} | self.folder.labels


def _label(name: str) -> str:
    try:
        return parse_condition(name).label
    except SpoofscopeError:  # of a plug-in that is not at hand
        return name


def first(items: Iterable[T]) -> T | None:
    """Return the first item, or None."""
    return next(iter(items), None)


def by(rows: Iterable[Row], column: str) -> dict[Any, Row]:
    """Return the rows by the value of a column; the first of equal ones."""
    answer: dict[Any, Row] = {}
    for row in rows:
        answer.setdefault(row[column], row)
    return answer


def values(rows: Iterable[Row], column: str) -> list[Any]:
    """Return the values of a column, each once, in the order of the rows."""
    return list(dict.fromkeys(row[column] for row in rows))


def marked(row: Row) -> str:
    """Return what was held out with its marks: an algorithm that the embedder has heard, a voice on both sides."""
    marks = (EXPOSED_MARK if row["exposed"] else "") + (VOICE_MARK if is_voice_shared(row) else "")
    return f"{row['held']} {marks}".strip()


def is_voice_shared(row: Row) -> bool:
    """Tell whether a speaker or a source of the tested trials may also stand in the training."""
    return bool(row.cells.get("disjoint", STRICTEST) != STRICTEST)


def is_within_noise(row: Row) -> bool:
    """Tell whether a row is not shown to differ from 0: its interval holds 0, or there is none."""
    return row["within_noise"] is not False


def is_beyond_noise(row: Row) -> bool:
    """Tell whether holding out costs something that its interval does not explain."""
    return not is_within_noise(row) and not is_missing(row["gap"]) and bool(row["gap"] > 0)


def middle(rows: Sequence[Row], column: str) -> Row | None:
    """Return the row such that at least half of the rows are no larger: the lower middle one."""
    ordered = largest(rows, column)
    return ordered[len(ordered) // 2] if ordered else None


def is_clear(row: Row, name: str) -> bool:
    """Tell whether an interval exists and does not hold 0."""
    ends = row[f"{name}_low"], row[f"{name}_high"]
    return not any(map(is_missing, ends)) and not ends[0] <= 0 <= ends[1]
