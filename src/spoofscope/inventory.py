"""What the command line prints about names, cards, checks and score files: rows of text, computed elsewhere."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from spoofscope.analysis.scorefile import ScoreFileResult
from spoofscope.audit import default_protocol, open_corpus, open_detector
from spoofscope.cards import Card
from spoofscope.checks import Finding
from spoofscope.checks.readings import ReadingRow, ReadingsCheck, percent, points
from spoofscope.corpora import corpora
from spoofscope.degradations import degradations
from spoofscope.degradations.conditions import GRIDS, NAMED, parse_condition
from spoofscope.detectors import card_of as detector_card
from spoofscope.detectors import detectors
from spoofscope.embedders import card_of as embedder_card
from spoofscope.embedders import embedders
from spoofscope.metrics import Estimate
from spoofscope.networks.ssl_aasist_checkpoint import Checkpoint
from spoofscope.retrieval.neighbours.answering import Answer

Row = tuple[str, ...]


def listing(kind: str) -> list[Row]:
    """Name everything of a kind, with a sentence on each."""
    if kind == "corpora":
        return [(name, _sentence(corpus)) for name, corpus in corpora.items()]
    if kind == "detectors":
        return [_model_row(detector_card(name), factory) for name, factory in detectors.items()]
    if kind == "embedders":
        also = [_model_row(detector_card(name), factory) for name, factory in detectors.items() if hasattr(factory, "embed")]
        return [*(_model_row(embedder_card(name), factory) for name, factory in embedders.items()), *also]
    if kind == "grids":
        return [(name, ", ".join(("clean", *conditions))) for name, conditions in GRIDS.items()]
    if kind == "metrics":
        from spoofscope.metrics import costs, rates

        functions = [
            function for module in (rates, costs) for function in vars(module).values() if inspect.isfunction(function)
        ]
        on_scores = [function for function in functions if "bonafide" in inspect.signature(function).parameters]
        return [
            (function.__name__, _sentence(function)) for function in on_scores if function.__annotations__["return"] == "float"
        ]
    named = [(name, f"the condition {chain}") for name, chain in NAMED.items()]
    listed = [(f"{name}({', '.join(_defaults(kind_of))})", _sentence(kind_of)) for name, kind_of in degradations.items()]
    return [*listed, *named, ("windows(window_s, hop_s, pool, tail)", "Listen in windows: a way to infer, not a degradation.")]


def _model_row(card: Card, factory: object) -> Row:
    return card.name, _sentence(factory) or card.note or card.paper


def card_of(kind: str, name: str) -> Card:
    """Return the card of what has this name among the kind asked for, or else among the other: some models are both."""
    return _model(kind, name)[0]


def _model(kind: str, name: str) -> tuple[Card, object]:
    first, other = (detectors, embedders) if kind == "detector" else (embedders, detectors)
    is_detector = (name in first.names() or name not in other.names()) == (kind == "detector")
    return (detector_card(name), detectors.get(name)) if is_detector else (embedder_card(name), embedders.get(name))


def card(kind: str, name: str) -> list[Row]:
    """Give everything that is known of one detector, embedder, corpus or degradation."""
    if kind in ("detector", "embedder"):
        model, factory = _model(kind, name)
        facts = [(key, _text(value)) for key, value in asdict(model).items() if value not in ("", (), {})]
        return [*facts, ("options", inspect.getdoc(factory) or "none")]
    if kind == "corpus":
        known = open_corpus(name)[0].card
        return [(field.name, _text(getattr(known, field.name))) for field in fields(known)]
    condition = parse_condition(name)
    return [("label", condition.label), *((key, _text(value)) for key, value in condition.settings().items())]


def check(kind: str, expression: str, *, root: Path | None, protocol: str | None, limit: int) -> list[Finding]:
    """Run the checks of one corpus, detector, embedder or degradation."""
    if kind == "corpus":
        from spoofscope.checks.corpus import check_corpus

        corpus, options = open_corpus(expression)
        chosen = protocol or default_protocol(corpus.card)
        trials = corpus.trials(chosen, root=root, **options)
        train = corpus.trials("train", root=root, **options) if corpus.card.synthetic and chosen != "train" else None
        return list(check_corpus(trials, corpus.card, chosen, limit=limit or None, train=train).findings)
    if kind == "detector":
        from spoofscope.checks.detector import check_detector

        return check_detector(open_detector(expression))
    if kind == "embedder":
        from spoofscope.audit import open_embedder
        from spoofscope.checks.embedder import check_embedder

        return check_embedder(open_embedder(expression))
    from spoofscope.checks.degradation import check_degradation

    return [
        finding._replace(name=f"{step.label}: {finding.name}")
        for step in parse_condition(expression).chain
        for finding in check_degradation(step)
    ]


def reading_rows(check: ReadingsCheck) -> list[Row]:
    """Lay out the readings of a detector: error, interval, difference from the declared one, trials changed, what it is."""
    return [_reading_row(row) for row in check.rows]


def _reading_row(row: ReadingRow) -> Row:
    total = row.n_bonafide + row.n_spoof
    changed = f"{row.n_changed} of {total}" if total else ""
    if row.eer is None:
        return row.reading, "", "", row.note, changed, row.changes
    difference = points(row.difference) + (" (within noise)" if row.within_noise else "") if row.difference else ""
    error, _, interval = percent(row.eer).partition(" (")
    what = ". ".join(filter(None, (row.changes, row.note)))
    return row.reading, error, interval.rstrip(")"), difference, changed, what


def condition_rows(table: pl.DataFrame) -> list[Row]:
    """Lay out the errors of a run: detector, condition, trials, EER in per cent, its interval, the difference from clean."""
    return [_condition_row(row) for row in table.iter_rows(named=True)]


def _condition_row(row: Mapping[str, Any]) -> Row:
    error = "" if row["eer"] is None else f"{100 * row['eer']:.1f}"
    interval = "" if row["eer_low"] is None else f"{100 * row['eer_low']:.1f} to {100 * row['eer_high']:.1f}"
    difference = "" if row["delta_eer"] is None else f"{100 * row['delta_eer']:+.1f}"
    difference += " (within noise)" if row["within_noise"] else ""
    return row["detector"], row["label"], str(row["n_bonafide"] + row["n_spoof"]), error, interval, difference


def embedding_rows(table: pl.DataFrame) -> list[Row]:
    """Lay out the embeddings of a run, of each layer only the first and the last name."""
    rows = []
    for row in table.iter_rows(named=True):
        layers = str(row["layers"]).split()
        named = layers[0] if len(layers) == 1 else f"{len(layers)}: {layers[0]} to {layers[-1]}"
        rows.append(
            (
                row["embedder"],
                row["label"],
                *(str(row[key]) for key in ("trials", "n_failed")),
                named,
                str(row["dim"]),
                row["heard"],
                row["folder"],
            )
        )
    return rows


def neighbour_rows(answer: Answer, held_by: str) -> list[Row]:
    """Lay out the nearest trials of a recording: similarity, id, label, group, speaker, file."""
    return [
        (
            f"{near.similarity:.3f}",
            *(_text(near.row.get(name) or "") for name in ("trial_id", "label", held_by, "speaker", "path")),
        )
        for near in answer.nearest
    ]


def checkpoint_rows(checkpoint: Checkpoint) -> list[Row]:
    """Say what was converted: sizes, numbers of tensors, and the digest of the source."""
    sizes = asdict(checkpoint.sizes).items()
    counts = {"encoder tensors": len(checkpoint.encoder), "back end tensors": len(checkpoint.back_end)}
    digest = ("SHA-256 of the published file", checkpoint.sha256)
    return [*((key, _line(value)) for key, value in sizes), *((key, str(count)) for key, count in counts.items()), digest]


def _line(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def score_file_rows(result: ScoreFileResult) -> list[Row]:
    """Lay out the pooled metrics of a score file."""
    rows: list[Row] = [
        (name, *_interval(estimate, rate=name in ("eer",)), estimate.note) for name, estimate in result.metrics.items()
    ]
    rows.insert(1, ("eer, trials as if independent", *_interval(result.eer_iid, rate=True), result.eer_iid.note))
    rows.insert(
        2, ("eer_challenge", f"{100 * result.eer_challenge:.4f} %", "", "the challenge's own tie order, not interpolated")
    )
    rows.append(("tied_fraction", f"{100 * result.tied_fraction:.2f} %", "", "share of trials that tie with the other class"))
    for year, value in (("2019", result.min_tdcf_2019), ("2021", result.min_tdcf_2021)):
        if not math.isnan(value):
            rows.append((f"min_tdcf, {year} costs", f"{value:.5f}", "", ""))
    return rows


def attack_rows(result: ScoreFileResult) -> list[Row]:
    """Lay out the error of each attack of a score file."""
    return [
        (cell.group, str(cell.n_bonafide), str(cell.n_spoof), *_interval(cell.estimate, rate=True), cell.note)
        for cell in result.attacks
    ]


def attack_table(result: ScoreFileResult) -> list[dict[str, Any]]:
    """Give the error of each attack as a table's rows, in fractions."""
    return [
        {
            "attack": cell.group,
            "n_bonafide": cell.n_bonafide,
            "n_spoof": cell.n_spoof,
            "eer": _known(cell.estimate.value),
            "eer_low": _known(cell.estimate.low),
            "eer_high": _known(cell.estimate.high),
            "note": cell.note,
        }
        for cell in result.attacks
    ]


def _interval(estimate: Estimate, *, rate: bool) -> tuple[str, str]:
    scale, form = (100, "{:.4f} %") if rate else (1, "{:.5f}")
    if math.isnan(estimate.value):
        return "", ""
    value = form.format(scale * estimate.value)
    if math.isnan(estimate.low):
        return value, ""
    return (
        value,
        f"{scale * estimate.low:.2f} to {scale * estimate.high:.2f}" if rate else f"{estimate.low:.3f} to {estimate.high:.3f}",
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _sentence(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def _defaults(settings: Any) -> Sequence[str]:
    return [f"{field.name}={field.default!r}" for field in fields(settings)]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, tuple | list):
        return "\n".join(str(item) for item in value)
    return str(value)
