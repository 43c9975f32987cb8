"""The figures of what can be read out of an embedding, beside what a probe of the same capacity reads out of nothing."""

from __future__ import annotations

from spoofscope.report.chosen import FEW_LAYERS, Chosen, is_clear, values
from spoofscope.report.figures import Figure, Sketchbook
from spoofscope.report.findings import largest
from spoofscope.report.folder import Row
from spoofscope.report.marks import Panel, Series, draw_marks
from spoofscope.report.relations import probe_layers
from spoofscope.report.style import BLUE, MUTED, PURPLE
from spoofscope.report.words import is_missing, percent, plural, signed_points

EMBEDDING, LINEAR = "embedding", "linear"
OVER = "whole speakers"


def probe_sweeps(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """Accuracy and selectivity by layer, one figure for each thing that is read out; nothing for an embedder with few layers."""
    rows = chosen.rows("probes", embedder=embedder, layer=None, within="", features=EMBEDDING)
    layers = values(rows, "layer")
    if len(layers) <= FEW_LAYERS:
        return []
    probe = rows[0]["probe"]
    answer = []
    for target in values(rows, "target"):
        own = [row for row in rows if (row["target"], row["probe"]) == (target, probe) and not is_missing(row["accuracy"])]
        if own:
            answer.append(_probe_sweep(book, chosen, target, own, layers))
    return answer


def _probe_sweep(book: Sketchbook, chosen: Chosen, target: str, rows: list[Row], layers: list[str]) -> Figure:
    best, embedder = largest(rows, "accuracy")[0], rows[0]["embedder"]
    message = (
        f"{embedder}, {target}, {best['probe']} probe: most accurate at layer {best['layer']}, {percent(best['accuracy'])}, where "
        f"chance (dotted) is {percent(best['chance'])}"
    )
    if not is_missing(best["selectivity"]):
        message += f" and {signed_points(best['selectivity'])} points lie beyond the control task"
    message += "; below, the length of the online code." if any(not is_missing(row["codelength"]) for row in rows) else "."
    message += chosen.scope(best, OVER, "bands")
    primary = chosen.layer(embedder)
    return book.draw(
        f"probes-{embedder}-{target}", f"{embedder}: {target}", message, lambda: probe_layers(rows, layers, primary=primary)
    )


def probe_marks(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """Linear probes of the primary layer, and every capacity for what was held out: accuracy, and what is beyond the control task."""
    rows = [row for row in chosen.rows("probes", embedder=embedder) if not is_missing(row["accuracy"])]
    front = rows[0]["target"] if rows else ""
    rows = [row for row in rows if row["probe"] == LINEAR or (row["target"] == front and _is_plain(row))]
    if not rows:
        return []
    tested = [row for row in rows if not is_missing(row["selectivity"])]
    clear = sum(is_clear(row, "selectivity") and row["selectivity"] > 0 for row in tested)
    message = (
        f"{embedder}, layer {rows[0]['layer']}: {clear} of {plural(len(tested), 'probe')} read out more than their control task beyond noise "
        "(filled). Accuracy is on new speakers; selectivity is where speakers recur, for there alone a control task can be learnt. "
        "A probe that does as well on random or untrained features has found nothing that training put there."
    )
    panels = [
        Panel(
            (Series(rows, "accuracy", "probe", BLUE, "o"), Series(rows, "chance", "chance", MUTED, "|")),
            "balanced accuracy",
            "percent",
            title="Read out",
        ),
        Panel(
            (Series(rows, "selectivity", "", PURPLE, "D", is_hollow=lambda row: not is_clear(row, "selectivity")),),
            "selectivity, points",
            "points",
            title="Beyond the control task",
            lines=((0.0, False),),
        ),
    ]
    labels = [probe_in_words(row) for row in rows]
    message += chosen.scope(rows[0], OVER)
    return [book.draw(f"probes-{embedder}", embedder, message, lambda: draw_marks(labels, panels, width_px=680))]


def _is_plain(row: Row) -> bool:
    return row["features"] == EMBEDDING and not row["within"]


def probe_in_words(row: Row) -> str:
    """Return what a probe reads out of what, such as `attack within codec` or `attack, mlp`; a linear probe is not named."""
    parts = [f"{row['target']}{' within ' if row['within'] else ''}{row['within']}"]
    parts += [row["probe"].removeprefix(f"{LINEAR}, ")] if row["probe"] != LINEAR else []
    return ", ".join([*parts, *([f"{row['features']} features"] if row["features"] != EMBEDDING else [])])
