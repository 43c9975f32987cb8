"""What the command line prints about names, cards, checks and score files: rows of text, computed elsewhere."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from spoofscope.analysis.scorefile import ScoreFileResult
from spoofscope.audit import default_protocol, open_corpus, open_detector
from spoofscope.checks import Finding
from spoofscope.corpora import corpora
from spoofscope.degradations import degradations
from spoofscope.degradations.conditions import GRIDS, NAMED, parse_condition
from spoofscope.detectors import card_of, detectors
from spoofscope.metrics import Estimate

Row = tuple[str, ...]


def listing(kind: str) -> list[Row]:
    """Name everything of a kind, with a sentence on each."""
    if kind == "corpora":
        return [(name, _sentence(corpus)) for name, corpus in corpora.items()]
    if kind == "detectors":
        return [(name, card_of(name).note or card_of(name).paper or _sentence(factory)) for name, factory in detectors.items()]
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


def card(kind: str, name: str) -> list[Row]:
    """Give everything that is known of one detector, corpus or degradation."""
    if kind == "detector":
        return [(key, _text(value)) for key, value in asdict(card_of(name)).items()]
    if kind == "corpus":
        known = open_corpus(name)[0].card
        return [(field.name, _text(getattr(known, field.name))) for field in fields(known)]
    condition = parse_condition(name)
    return [("label", condition.label), *((key, _text(value)) for key, value in condition.settings().items())]


def check(kind: str, expression: str, *, root: Path | None, protocol: str | None, limit: int) -> list[Finding]:
    """Run the checks of one corpus, detector or degradation."""
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
    from spoofscope.checks.degradation import check_degradation

    return [
        finding._replace(name=f"{step.label}: {finding.name}")
        for step in parse_condition(expression).chain
        for finding in check_degradation(step)
    ]


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
