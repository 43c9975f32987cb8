"""What the tables of neighbours say, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from spoofscope.analysis.holdout import CROSS_FITTED
from spoofscope.analysis.tables import Row
from spoofscope.degradations.conditions import CLEAN
from spoofscope.retrieval.heads.attribution import PROBE, VOTE
from spoofscope.retrieval.neighbours.notebook import Notebook

DENSITY = "density"


def conclude(book: Notebook) -> list[str]:
    """Return the findings of every embedder, each with its interval and whether it is within noise."""
    return [sentence for embedder in book.audit.embedders for sentence in _of(book, embedder)]


def _of(book: Notebook, embedder: str) -> Iterator[str]:
    where = f"{embedder}, {book.spaces.stated[embedder]}"
    yield f"{where}: {_detection(book, embedder)}"
    if told := _attribution(book, embedder):
        yield f"{where}: {told}"
    yield f"{where}: {_novelty(book, embedder)}"
    if told := _evasion(book, embedder):
        yield f"{where}: {told}"


def _rows(book: Notebook, table: str, embedder: str, **wanted: object) -> list[Row]:
    if not book.tables[table]:
        return []
    frame = book.frame(table)
    for column, value in {"embedder": embedder, **wanted}.items():
        frame = frame.filter(pl.col(column) == value)
    return frame.to_dicts()


def _detection(book: Notebook, embedder: str) -> str:
    rows = {row["method"]: row for row in _rows(book, "knn", embedder, condition=CLEAN.name) if row["split"] != "reference"}
    first = _rows(book, "knn", embedder, condition=CLEAN.name, split=CROSS_FITTED, method=DENSITY)[0]
    told = f"{first['k']} neighbours of each class, EER {_percent(first, 'eer')}"
    told += f"; {book.head.name} head {_percent(rows[book.head.name], 'eer')}, difference {_points(first, 'difference')}"
    if first["detector_difference"] is not None:
        name = next(iter(book.audit.detectors))
        told += (
            f"; the detector {name} itself {_percent(rows[name], 'eer')}, difference {_points(first, 'detector_difference')}"
        )
    return told + "."


def _attribution(book: Notebook, embedder: str) -> str:
    rows = [row for row in _rows(book, "attribution", embedder) if row["rule"] != "reference"]
    if not rows:
        return ""
    most = max(row["n_classes"] for row in rows)
    rule = next(row["rule"] for row in rows if row["n_classes"] == most)
    vote, probe = (next(row for row in rows if row["rule"] == rule and row["method"] == name) for name in (VOTE, PROBE))
    told = (
        f"of {most} generators ({vote['n']} trials, no {rule} on both sides) {book.neighbours} neighbours name the right one "
    )
    told += f"{_percent(vote, 'top1')} of the time and have it among three {_percent(vote, 'top3')}; a linear probe {_percent(probe, 'top1')}"
    return (
        told
        + f" (difference {_points(vote, 'difference')}; the largest generator alone would be {100 * vote['largest_class']:.1f} %)."
    )


def _novelty(book: Notebook, embedder: str) -> str:
    rows = _rows(book, "novelty", embedder, method=CROSS_FITTED)
    middle = {name: float(np.median([row[f"auc_{name}"] for row in rows])) for name in ("bonafide", "known")}
    hidden = sorted(rows, key=lambda row: row["auc_bonafide"])[0]
    unseen = sum(row["auc_bonafide_high"] is not None and row["auc_bonafide_high"] < 0.5 for row in rows)
    told = f"left out one by one, {len(rows)} generators have a median novelty AUROC of {middle['bonafide']:.2f} against bona fide speech and "
    told += (
        f"{middle['known']:.2f} against known attacks; {hidden['held']} is least noticed (AUROC {hidden['auc_bonafide']:.2f}"
    )
    if hidden["auc_bonafide_low"] is not None:
        told += f", {hidden['auc_bonafide_low']:.2f} to {hidden['auc_bonafide_high']:.2f}"
    told += (
        f"). Of {len(rows)}, {unseen} lie nearer to what is known than bona fide speech itself does, beyond noise"
        if unseen
        else ")"
    )
    evading = float(np.mean([row["evading"] for row in rows]))
    return (
        told
        + f"; at the threshold that keeps {100 * book.recipe.coverage:g} % of known trials, {100 * evading:.0f} % of them pass for known."
    )


def _evasion(book: Notebook, embedder: str) -> str:
    rows = [row for row in _rows(book, "evasion", embedder) if row["primary"]] if book.tables["evasion"] else []
    parts = []
    names = {
        "overlap": "going unnoticed (1 - AUROC)",
        "evading": "passing for known",
        "eer_without": "the EER of neighbours without it",
    }
    for row in rows:
        if row["rho"] is None:
            continue
        interval = f"{row['rho_low']:+.2f} to {row['rho_high']:+.2f}" if row["rho_low"] is not None else "no interval"
        parts.append(f"{names[row['outcome']]} {row['rho']:+.2f} ({interval}, p {row['p']:.3f})")
    if not parts:
        return ""
    return (
        f"does a generator close to bona fide speech evade? Distance ({rows[0]['predictor']}) against " + "; ".join(parts) + "."
    )


def _percent(row: Row, name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{100 * value:.1f} %" + ("" if low is None else f" ({100 * low:.1f} to {100 * high:.1f})")


def _points(row: Row, name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if low is None:
        return f"{100 * value:+.1f} points"
    return f"{100 * value:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}{', within noise' if low <= 0 <= high else ''})"
