"""The figures of shortcuts, coverage and foresight, each with a caption that states its message."""

from __future__ import annotations

from collections.abc import Sequence

from spoofscope.report.chosen import ALL, Chosen, by, first, values
from spoofscope.report.figures import Figure, Sketchbook
from spoofscope.report.findings import largest
from spoofscope.report.folder import Row
from spoofscope.report.gap_figures import space_in_words
from spoofscope.report.marks import Panel, Series, draw_marks
from spoofscope.report.relations import Point, heat_map, scatter
from spoofscope.report.style import BLUE, GREEN, INK, STROKES, VERMILLION
from spoofscope.report.words import in_words, is_missing, p_value, percent, plural, signed

VARIANTS = {
    "held out": ("group in neither training nor calibration", VERMILLION, "D"),
    "f included": ("group in the calibration", BLUE, "o"),
    "within f": ("calibrated on the group alone", GREEN, "s"),
}
FOUND_SIZE = 26.0


def shortcuts(book: Sketchbook, chosen: Chosen) -> list[Figure]:
    """The equal error rate of what is no speech: duration, level, silence."""
    rows = [row for row in shortcut_rows(chosen) if not row["held"]]
    if not rows:
        return []
    best = largest(rows, "value")[-1]
    clear = [row["target"] for row in rows if not is_missing(row["value_high"]) and row["value_high"] < 0.5]
    message = (
        f"Told apart without hearing speech: {_alone(best['target'])} reaches an EER of {percent(best['value'])}, where guessing gives 50 %. "
        f"Better than guessing beyond noise: {in_words(clear) or 'none'}.{chosen.scope(rows[0])}"
    )
    panel = Panel(
        (Series(rows, "value", "", VERMILLION, "D"),), "equal error rate (dashed: guessing)", "percent", lines=((0.5, True),)
    )
    labels = [row["target"] for row in rows]
    return [book.draw("shortcuts", "Shortcuts", message, lambda: draw_marks(labels, [panel], width_px=480))]


def _alone(target: str) -> str:
    return f"{target} of it together" if target == ALL else f"{target} alone"


def shortcut_rows(chosen: Chosen) -> list[Row]:
    """Return the rows on shortcuts, each once: they are of the recordings, whichever embedder they stand beside."""
    rows = [row for row in chosen.folder.rows("confounds", question="shortcut") if not is_missing(row["value"])]
    conditions = chosen.conditions("confounds")
    rows = [row for row in rows if row["condition"] == ("clean" if "clean" in conditions else conditions[0])]
    return list({(row["target"], row["held"]): row for row in reversed(rows)}.values())[::-1]


def coverage(book: Sketchbook, chosen: Chosen, scores_of: str) -> list[Figure]:
    """The share of every group that is accepted at the promised rate, with the two controls."""
    rows = [row for row in chosen.rows("coverage", scores_of=scores_of) if row["held"] != ALL]
    variants = {name: by((row for row in rows if row["variant"] == name), "held") for name in VARIANTS}
    held_out = largest(variants["held out"].values(), "rate")
    if not held_out:
        return []
    groups, target = [row["held"] for row in held_out], held_out[0]["target"]
    above = {name: {held for held, row in of.items() if is_above(row)} for name, of in variants.items()}
    message = (
        f"{scores_of}: at a threshold that promises to accept {percent(target)} of fakes, {len(above['held out'])} of "
        f"{plural(len(groups), 'group')} {'is' if len(above['held out']) == 1 else 'are'} accepted more often, beyond noise, when held out; "
        f"the most is {percent(held_out[0]['rate'])} ({groups[0]})."
    )
    if above["held out"] and variants["f included"]:
        still = len(above["held out"] & above["f included"])
        message += f" {still} of these {'is' if still == 1 else 'are'} so with the group in the calibration as well: there, being new is not the reason."
    message += chosen.scope(rows[0], "whole speakers")
    series = [
        Series([of.get(group) for group in groups], "rate", label, colour, marker, 0.26 * (at - 1))
        for at, (name, (label, colour, marker)) in enumerate(VARIANTS.items())
        if (of := variants[name])
    ]
    panel = Panel(series, "share of the group accepted (dashed: promised)", "percent", lines=((target, True),))
    return [book.draw(f"coverage-{scores_of}", scores_of, message, lambda: draw_marks(groups, [panel], width_px=560))]


def is_above(row: Row) -> bool:
    """Tell whether a group is accepted more often than promised, beyond noise."""
    return not is_missing(row["rate_low"]) and not is_missing(row["target"]) and bool(row["rate_low"] > row["target"])


def coverage_map(book: Sketchbook, chosen: Chosen, scores_of: str) -> list[Figure]:
    """The share accepted of every held-out group under every condition, where there are several."""
    rows = [
        row
        for row in chosen.rows("coverage", scores_of=scores_of, condition=None, variant="held out")
        if not is_missing(row["rate"]) and row["held"] != ALL
    ]
    conditions = [name for name in chosen.conditions("coverage") if any(row["condition"] == name for row in rows)]
    if len(conditions) < 2:
        return []
    ordered = largest((row for row in rows if row["condition"] == conditions[0]), "rate")
    groups = list(dict.fromkeys([*(row["held"] for row in ordered), *(row["held"] for row in rows)]))
    worst, labels = largest(rows, "rate")[0], chosen.labels
    message = (
        f"{scores_of}: percent of each held-out group accepted at a threshold that promises {percent(worst['target'])}, calibrated on "
        f"the others under the same condition; darker is worse. The most is {percent(worst['rate'])}, {worst['held']} under {labels[worst['condition']]}."
    )
    return [book.draw(f"coverage-map-{scores_of}", scores_of, message, lambda: heat_map(rows, groups, conditions, labels))]


def foresight(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """How far off each model's guess of an unseen group's gap is, and one model's guesses against what was found."""
    rows = [row for row in chosen.rows("prospect", embedder=embedder) if not is_missing(row["mae"])]
    if not rows:
        return []
    baseline = first(row["mae_median"] for row in rows if not is_missing(row["mae_median"]))
    better = [row["model"] for row in rows if baseline is not None and row["model"] != "median" and row["mae"] < baseline]
    clear = [row["model"] for row in rows if not is_missing(row["difference_high"]) and row["difference_high"] < 0]
    said = (
        f"closer than the median of the other groups: {in_words(better) or 'none'}; beyond noise: {in_words(clear) or 'none'}"
    )
    message = (
        f"{embedder}, {space_in_words(rows[0])}, each group foretold from the others: {said}.{chosen.scope(rows[0], 'groups')}"
    )
    panel = Panel(
        (Series(rows, "mae", "", BLUE, "o", is_hollow=lambda row: row["model"] not in clear),),
        "mean error, points (dashed: the median)",
        "size",
        lines=[(baseline, True)] if baseline is not None else [],
    )
    labels = [row["model"] for row in rows]
    figures = [book.draw(f"foresight-{embedder}", embedder, message, lambda: draw_marks(labels, [panel], width_px=400))]
    return [*figures, *_foretold(book, chosen, embedder, rows)]


def _foretold(book: Sketchbook, chosen: Chosen, embedder: str, models: Sequence[Row]) -> list[Figure]:
    names = [row["model"] for row in models if row["model"] != "median"]
    stated = chosen.folder.analysis.get("primary")
    model = stated if stated in names else first(names)
    rows = [
        row
        for row in chosen.rows("prospect_attacks", embedder=embedder, model=model)
        if not is_missing(row["predicted"]) and not is_missing(row["actual"])
    ]
    if not rows:
        return []
    own = next(row for row in models if row["model"] == model)
    over = sum(row["predicted"] > row["actual"] for row in rows)
    order = (
        f" Rank correlation {signed(own['rank_rho'])}, p {p_value(own['rank_p'])}." if not is_missing(own["rank_rho"]) else ""
    )
    message = f"{embedder}: foretold by {model} against found; {over} of {len(rows)} foretold too high. On the dashed line they agree.{order}"
    drawn = [Point(row["predicted"], row["actual"], None, None, row["held"]) for row in rows]
    heights = [0.0, *(row["actual"] for row in rows)]
    reach = max(heights) - min(heights)
    limits = (min(heights) - 0.08 * reach, max(heights) + 0.1 * reach)
    return [
        book.draw(
            f"foretold-{embedder}",
            f"{embedder}: {model}",
            message,
            lambda: scatter(drawn, x_label="gap foretold, points", y_limits=limits, has_diagonal=True),
        )
    ]


def few_samples(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """The share accepted of a new group as foretold from a few of its clips, with what was found."""
    rows = [row for row in chosen.rows("few_samples", embedder=embedder) if not is_missing(row["predicted"])]
    if not rows:
        return []
    found = by(largest(rows, "actual"), "held")
    groups, sizes = list(found), sorted(values(rows, "samples"))
    held = {size: by((row for row in rows if row["samples"] == size), "held") for size in sizes}
    message = (
        f"{embedder}, {space_in_words(rows[0])}: share of a new group that is accepted, as found (upright stroke) and as foretold from other "
        f"groups and a few clips.{_nearer_in_words(held)} Clean recordings; bars are {percent(chosen.folder.run['level'], 0)} intervals of the "
        "forecast."
    )
    step = 0.66 / max(1, len(sizes) - 1)
    series = [
        Series(
            [of.get(group) for group in groups],
            "predicted",
            f"from {plural(size, 'clip')}" if size else "from others alone",
            STROKES[at + 1].colour,
            STROKES[at + 1].marker,
            at * step - 0.33 if len(sizes) > 1 else 0.0,
        )
        for at, (size, of) in enumerate(held.items())
    ]
    actual = Series(list(found.values()), "actual", "found", INK, "|", size=FOUND_SIZE)
    panel = Panel([*series, actual], "share of the group accepted", "percent")
    return [book.draw(f"few-samples-{embedder}", embedder, message, lambda: draw_marks(groups, [panel], width_px=560))]


def _nearer_in_words(held: dict[int, dict[str, Row]]) -> str:
    """Return for how many groups clips bring the forecast nearer than other groups alone do, by their number of clips."""
    alone = held.get(0, {})
    said = []
    for size, of in held.items():
        pairs = [(row["mae"], alone[group]["mae"]) for group, row in of.items() if group in alone]
        pairs = [pair for pair in pairs if not any(map(is_missing, pair))]
        if size and pairs:
            said.append(f"{plural(size, 'clip')} for {sum(ours < theirs for ours, theirs in pairs)} of {len(pairs)}")
    return f" Nearer than from the others alone: with {in_words(said)}." if said else ""
