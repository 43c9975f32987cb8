"""Pick from the tables what the first screen says of a detector: maxima and their company, no new number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spoofscope.report.charts import is_reliable
from spoofscope.report.folder import Row, RunFolder
from spoofscope.report.words import is_missing

HEADLINE_POINT = "eer"


@dataclass(frozen=True)
class FrozenThreshold:
    """What became of one frozen threshold: on clean recordings, and where each of its errors is largest."""

    clean: Row | None
    most_accepted: Row | None
    most_rejected: Row | None


@dataclass(frozen=True)
class Findings:
    """What the first screen says of one detector.

    Parameters
    ----------
    detector : mapping
        Its entry in run.json.
    clean : Row
        Its clean row of conditions.csv.
    worst : tuple of Row
        Up to three conditions with the largest EER, worst first.
    none_worse : bool
        Whether no condition at all is shown to be worse than clean: every paired difference is within noise or negative.
    attack, rival : Row or None
        The attack with the largest clean EER among those with enough trials; and the next one, where the two
        intervals overlap so that their order is not settled.
    n_attacks, n_small : int
        Attacks in breakdown.csv on clean, and how many of them have too few trials to be ranked.
    frozen : FrozenThreshold or None
        None where no threshold was frozen.
    """

    detector: Mapping[str, Any]
    clean: Row
    worst: tuple[Row, ...]
    none_worse: bool
    attack: Row | None
    rival: Row | None
    n_attacks: int
    n_small: int
    frozen: FrozenThreshold | None


def findings_of(folder: RunFolder, detector: Mapping[str, Any]) -> Findings:
    """Return the findings of one detector of a run."""
    name = detector["name"]
    clean = folder.rows("conditions", detector=name, condition="clean")[0]
    degraded = [row for row in folder.rows("conditions", detector=name) if row["condition"] != "clean"]
    attacks = folder.rows("breakdown", detector=name, condition="clean", columns="attack")
    reliable = largest((row for row in attacks if is_reliable(row, folder.run["min_count"])), "eer")
    first, second = [*reliable[:2], None, None][:2]
    return Findings(
        detector=detector,
        clean=clean,
        worst=tuple(largest(degraded, "eer")[:3]),
        none_worse=bool(degraded) and all(_is_no_worse(row) for row in degraded),
        attack=first,
        rival=second if first and second and intervals_overlap(first, second, "eer") else None,
        n_attacks=len(attacks),
        n_small=len(attacks) - len(reliable),
        frozen=_frozen(folder.rows("transfer", detector=name, operating_point=HEADLINE_POINT)),
    )


def _is_no_worse(row: Row) -> bool:
    if is_missing(row["delta_eer"]) or row["within_noise"] is None:
        return False
    return bool(row["within_noise"] or row["delta_eer"] < 0)


def _frozen(rows: Sequence[Row]) -> FrozenThreshold | None:
    if not rows:
        return None
    clean = next((row for row in rows if row["condition"] == "clean"), None)
    accepted, rejected = largest(rows, "false_alarm"), largest(rows, "miss")
    return FrozenThreshold(clean, accepted[0] if accepted else None, rejected[0] if rejected else None)


def largest(rows: Iterable[Row], column: str) -> list[Row]:
    """Return the rows that have a figure in `column`, the largest first, equal ones in the order of the table."""
    return sorted((row for row in rows if not is_missing(row[column])), key=lambda row: -row[column])


def intervals_overlap(one: Row, other: Row, name: str) -> bool:
    """Tell whether two intervals share a value; False where one does not exist."""
    ends = [row[f"{name}_{end}"] for row in (one, other) for end in ("low", "high")]
    if any(is_missing(end) for end in ends):
        return False
    return bool(ends[0] <= ends[3] and ends[2] <= ends[1])
