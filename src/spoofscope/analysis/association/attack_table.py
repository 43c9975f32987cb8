"""Tables with a row for each attack: gaps and predictors, read, checked and put side by side.

Conventions
-----------
An attack is named in the column `held` (or `family`, `attack`). Gaps have the columns `held`, `gap`, and `eer_with` where the difficulty of an
attack that was trained on is known. Predictors are wide (a column each) or long (`held, predictor, value`, perhaps `circular` and
`expected_sign`). A column `x_pct` is in percent and becomes the fraction `x`; `eer_seen` and `eer_loao`, the reference study's names, become
`eer_with` and `eer_without`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.geometry import PREDICTORS
from spoofscope.errors import DataError
from spoofscope.metrics.correlations import FEWEST

Floats = NDArray[np.float64]
TIED = 12
"""Decimals to which gaps are kept: what differs less is a tie that the rounding of a mean has broken."""


class Predictor(NamedTuple):
    """What is known of a predictor beforehand.

    Parameters
    ----------
    name : str
    expected_sign : str
        The sign of rho that was expected: `+`, `-`, or empty.
    circular : bool
        It holds a detector that never met the attack, so that it is a form of the gap and not a reason for it.
    tested : bool
        A hypothesis about it was stated; others are described, and stand outside the family.
    """

    name: str
    expected_sign: str = ""
    circular: bool = False
    tested: bool = True


KNOWN = {
    name: Predictor(name, known.expected_sign, known.circular, tested=bool(known.expected_sign))
    for name, known in PREDICTORS.items()
}
"""The predictors of geometry; those of which no sign was expected are described and not tested."""

_ALIASES = {"family": "held", "attack": "held", "eer_seen": "eer_with", "eer_loao": "eer_without"}
_OTHER = {"held", "held_by", "gap", "gap_low", "gap_high", "gap_std", "eer_with", "eer_without", "note"}
_OTHER |= {"embedder", "condition", "layer", "head", "method", "circular", "expected_sign"}
"""Columns that are not predictors."""


@dataclass(frozen=True, eq=False)
class AttackTable:
    """Gaps and predictors of the same attacks, sorted by name.

    Parameters
    ----------
    attacks : tuple of str
    gap : (n,) float array
        Fractions.
    difficulty : (n,) float array or None
        EER of a head that was trained on the attack; None if it is not known, or the same for all.
    predictors : tuple of Predictor
    values : (n, p) float array
        `nan` where a predictor is not known.
    """

    attacks: tuple[str, ...]
    gap: Floats
    difficulty: Floats | None
    predictors: tuple[Predictor, ...]
    values: Floats

    @property
    def names(self) -> list[str]:
        """The names of the predictors."""
        return [known.name for known in self.predictors]

    @property
    def usable_values(self) -> Floats:
        """`values`, with zeros for a predictor that has no correlation, so that every figure of it is `nan`."""
        return np.where([not note for note in self.notes], self.values, 0.0)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why each predictor has no correlation; empty where it has one."""
        return tuple(self._note(column) for column in self.values.T)

    def _note(self, column: Floats) -> str:
        missing = [attack for attack, value in zip(self.attacks, column, strict=True) if not np.isfinite(value)]
        if missing:
            return f"no value for {_listed(missing)}"
        if len(np.unique(self.gap)) == 1:
            return "every attack has the same gap"
        return "the same for every attack" if len(np.unique(column)) == 1 else ""


def read_attack_table(path: str | Path) -> pl.DataFrame:
    """Read a CSV table with a row for each attack.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return pl.read_csv(path, infer_schema=False)  # names stay text, also where they look like numbers
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path} cannot be read as a table: {reason}. It must be CSV with a row for each attack.") from error


def align(gaps: pl.DataFrame, predictors: pl.DataFrame) -> AttackTable:
    """Put gaps and predictors of the same attacks side by side.

    Raises
    ------
    DataError
        If a column is missing or not of numbers, an attack stands in one table only or twice, a gap is missing, or there are fewer than
        four attacks.
    """
    left, right = _named(gaps, "the table of gaps"), _named(predictors, "the table of predictors")
    _require(left, "gap", "the table of gaps")
    known = _known(right)
    wide = _wide(right)
    _check_attacks(left, wide)
    left, wide = left.sort("held"), wide.sort("held")
    attacks = tuple(left["held"])
    gap = _numbers(left, "gap", attacks)
    difficulty = None
    if "eer_with" in left.columns and left["eer_with"].null_count() < left.height:
        known_errors = _numbers(left, "eer_with", attacks)
        difficulty = known_errors if len(np.unique(known_errors)) > 1 else None
    values = np.column_stack([_column(wide, name) for name in wide.columns if name != "held"])
    return AttackTable(attacks, gap, difficulty, tuple(known[name] for name in wide.columns if name != "held"), values)


def _named(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """Give columns their names here, and fractions instead of percent."""
    frame = frame.with_columns(
        (_floats(frame, name) / 100).alias(name.removesuffix("_pct")) for name in frame.columns if name.endswith("_pct")
    ).drop([name for name in frame.columns if name.endswith("_pct")])
    frame = frame.rename({old: new for old, new in _ALIASES.items() if old in frame.columns and new not in frame.columns})
    _require(frame, "held", what, also="family or attack")
    frame = frame.with_columns(pl.col("held").cast(pl.String))
    if frame["held"].null_count():
        raise DataError(f"{what}: {frame['held'].null_count()} rows name no attack")
    return frame


def _known(frame: pl.DataFrame) -> dict[str, Predictor]:
    """Say what is known of each predictor: from the table, else from geometry."""
    if "predictor" not in frame.columns:
        return {name: KNOWN.get(name, Predictor(name)) for name in frame.columns if name not in _OTHER}
    known = {}
    for row in frame.unique("predictor", keep="first", maintain_order=True).iter_rows(named=True):
        name = str(row["predictor"])
        usual = KNOWN.get(name, Predictor(name))
        sign, circular = row.get("expected_sign"), row.get("circular")
        known[name] = usual._replace(
            expected_sign=usual.expected_sign if sign is None else str(sign),
            circular=usual.circular if circular is None else str(circular).lower() == "true",
        )
    return known


def _wide(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each attack and a column for each predictor."""
    if "predictor" in frame.columns:
        _require(frame, "value", "the table of predictors")
        twice = frame.group_by("held", "predictor").len().filter(pl.col("len") > 1).sort("held", "predictor")
        if twice.height:
            held, name, count = twice.row(0)
            raise DataError(
                f"{held} has {count} values of {name}; one is expected: choose one embedder, condition, layer and method"
            )
        return frame.select("held", "predictor", "value").pivot(on="predictor", index="held", values="value")
    names = [name for name in frame.columns if name not in _OTHER]
    if not names:
        raise DataError(f"the table of predictors has no predictor: its columns are {', '.join(frame.columns)}")
    return frame.select("held", *names)


def _check_attacks(gaps: pl.DataFrame, predictors: pl.DataFrame) -> None:
    for frame, what in ((gaps, "gaps"), (predictors, "predictors")):
        twice = sorted(frame["held"].filter(frame["held"].is_duplicated()).unique())
        if twice:
            raise DataError(
                f"the table of {what} has more than one row for {_listed(twice)}: choose one embedder, condition, layer and head"
            )
    left, right = set(gaps["held"]), set(predictors["held"])
    if left != right:
        lone = [
            f"only in the table of {what}: {_listed(sorted(names))}"
            for what, names in (("gaps", left - right), ("predictors", right - left))
            if names
        ]
        raise DataError(f"the two tables are not of the same attacks; {'; '.join(lone)}")
    if len(left) < FEWEST:
        raise DataError(f"{len(left)} attacks ({_listed(sorted(left))}): a correlation needs at least {FEWEST}")


def _numbers(frame: pl.DataFrame, name: str, attacks: Sequence[str]) -> Floats:
    values = _column(frame, name)
    missing = [attack for attack, value in zip(attacks, values, strict=True) if not np.isfinite(value)]
    if missing:
        raise DataError(f"{name} is missing for {_listed(missing)}: leave the attack out of both tables")
    return values.round(TIED)


def _column(frame: pl.DataFrame, name: str) -> Floats:
    return _floats(frame, name).fill_null(np.nan).to_numpy().astype(np.float64)


def _floats(frame: pl.DataFrame, name: str) -> pl.Series:
    numbers = frame[name].cast(pl.Float64, strict=False)
    words = frame[name].filter(numbers.is_null() & frame[name].is_not_null())
    if len(words):
        raise DataError(f"the column '{name}' is not of numbers: it holds '{words[0]}'")
    return numbers


def _require(frame: pl.DataFrame, column: str, what: str, *, also: str = "") -> None:
    if column not in frame.columns:
        near = difflib.get_close_matches(column, frame.columns, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        other = f" (or {also})" if also else ""
        raise DataError(f"{what} has no column '{column}'{other}.{hint} It has {', '.join(frame.columns)}.")


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
