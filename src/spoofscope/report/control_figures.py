"""The figures of probes, shortcuts, coverage, foresight and interventions, each with a caption that states its message."""

from __future__ import annotations

from collections.abc import Sequence

from spoofscope.report.chosen import Chosen, by, first, is_clear, values
from spoofscope.report.figures import Figure, Sketchbook
from spoofscope.report.findings import largest
from spoofscope.report.folder import Row
from spoofscope.report.gap_figures import points_with_interval, space_in_words
from spoofscope.report.marks import Panel, Series, draw_marks
from spoofscope.report.relations import Point, heat_map, probe_layers, scatter
from spoofscope.report.style import BLUE, GREEN, INK, MUTED, PURPLE, STROKES, VERMILLION
from spoofscope.report.words import in_words, is_missing, number, p_value, percent, plural, signed, signed_points

EMBEDDING = "embedding"
VARIANTS = {
    "held out": ("group in neither training nor calibration", VERMILLION, "D"),
    "f included": ("group in the calibration", BLUE, "o"),
    "within f": ("calibrated on the group alone", GREEN, "s"),
}
MOST_SEEDS = 5


def probe_sweeps(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """Accuracy against control by layer, one panel for each thing that is read out; nothing for an embedder with one layer."""
    rows = chosen.rows("probes", embedder=embedder, layer=None, within="", features=EMBEDDING)
    if not rows:
        return []
    probe, layers = rows[0]["probe"], values(rows, "layer")
    answer = []
    for target in values(rows, "target") if len(layers) > 1 else []:
        own = [row for row in rows if (row["target"], row["probe"]) == (target, probe) and not is_missing(row["accuracy"])]
        best = largest(own, "accuracy")
        if not best:
            continue
        message = (
            f"{embedder}, {target}, {probe} probe: best at layer {best[0]['layer']}, {percent(best[0]['accuracy'])}; the control task "
            f"reaches {percent(best[0]['control_accuracy'])} there, chance {percent(best[0]['chance'])}."
        )
        message += " Below, the length of the online code." if any(not is_missing(row["codelength"]) for row in own) else ""
        primary = chosen.layer(embedder)
        answer.append(_probe_sweep(book, embedder, target, message, own, layers, primary))
    return answer


def _probe_sweep(
    book: Sketchbook, embedder: str, target: str, message: str, rows: list[Row], layers: list[str], primary: str
) -> Figure:
    title = f"{embedder}: {target}"
    return book.draw(f"probes-{embedder}-{target}", title, message, lambda: probe_layers(rows, layers, primary=primary))


def probe_marks(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """Every probe of the primary layer: its accuracy, that of its control, and chance."""
    rows = [row for row in chosen.rows("probes", embedder=embedder) if not is_missing(row["accuracy"])]
    if not rows:
        return []
    clear = sum(is_clear(row, "selectivity") and row["selectivity"] > 0 for row in rows)
    message = (
        f"{embedder}, layer {rows[0]['layer']}: {clear} of {plural(len(rows), 'probe')} read out more than their control task, beyond noise. "
        "A probe that does as well on random or untrained features has found nothing that training put there."
    )
    panel = Panel(
        (
            Series(rows, "accuracy", "probe", BLUE, "o"),
            Series(rows, "control_accuracy", "control task", PURPLE, "D", is_hollow=lambda row: True),
            Series(rows, "chance", "chance", MUTED, "|"),
        ),
        "balanced accuracy",
        "percent",
        joins=True,
    )
    labels = [probe_in_words(row) for row in rows]
    return [book.draw(f"probes-{embedder}", embedder, message, lambda: draw_marks(labels, [panel], width_px=560))]


def probe_in_words(row: Row) -> str:
    """Return what a probe reads out of what, such as `attack within codec, mlp`."""
    parts = [f"{row['target']}{' within ' if row['within'] else ''}{row['within']}", row["probe"]]
    return ", ".join([*parts, *([f"{row['features']} features"] if row["features"] != EMBEDDING else [])])


def shortcuts(book: Sketchbook, chosen: Chosen) -> list[Figure]:
    """The equal error rate of what is no speech: duration, level, silence."""
    rows = [row for row in shortcut_rows(chosen) if not row["held"]]
    if not rows:
        return []
    best = largest(rows, "value")[-1]
    clear = [row["target"] for row in rows if not is_missing(row["value_high"]) and row["value_high"] < 0.5]
    message = (
        f"Told apart without hearing speech: {best['target']} alone reaches an EER of {percent(best['value'])}, where guessing gives 50 %. "
        f"Better than guessing beyond noise: {in_words(clear) or 'none'}."
    )
    panel = Panel(
        (Series(rows, "value", "", VERMILLION, "D"),), "equal error rate (dashed: guessing)", "percent", lines=((0.5, True),)
    )
    labels = [row["target"] for row in rows]
    return [book.draw("shortcuts", "Shortcuts", message, lambda: draw_marks(labels, [panel], width_px=480))]


def shortcut_rows(chosen: Chosen) -> list[Row]:
    """Return the rows on shortcuts, each once: they are of the recordings, whichever embedder they stand beside."""
    rows = [row for row in chosen.folder.rows("confounds", question="shortcut") if not is_missing(row["value"])]
    conditions = chosen.conditions("confounds")
    rows = [row for row in rows if row["condition"] == ("clean" if "clean" in conditions else conditions[0])]
    return list({(row["target"], row["held"]): row for row in reversed(rows)}.values())[::-1]


def coverage(book: Sketchbook, chosen: Chosen, scores_of: str) -> list[Figure]:
    """The share of every group that is accepted at the promised rate, with the two controls."""
    rows = chosen.rows("coverage", scores_of=scores_of)
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
    if variants["f included"]:
        still = len(above["held out"] & above["f included"])
        message += f" {still} of these {'is' if still == 1 else 'are'} so with the group in the calibration as well: there, being new is not the reason."
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
        if not is_missing(row["rate"])
    ]
    conditions = [name for name in chosen.conditions("coverage") if any(row["condition"] == name for row in rows)]
    if len(conditions) < 2:
        return []
    ordered = largest((row for row in rows if row["condition"] == conditions[0]), "rate")
    groups = list(dict.fromkeys([*(row["held"] for row in ordered), *(row["held"] for row in rows)]))
    worst, labels = largest(rows, "rate")[0], chosen.labels
    message = (
        f"{scores_of}: percent of each held-out group accepted at the threshold that promises {percent(worst['target'])} on clean recordings "
        f"of the others; darker is worse. The most is {percent(worst['rate'])}, {worst['held']} under {labels[worst['condition']]}."
    )
    return [book.draw(f"coverage-map-{scores_of}", scores_of, message, lambda: heat_map(rows, groups, conditions, labels))]


def foresight(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """How far off each model's guess of an unseen group's gap is, and one model's guesses against what was found."""
    rows = [row for row in chosen.rows("prospect", embedder=embedder) if not is_missing(row["mae"])]
    if not rows:
        return []
    baseline = first(row["mae_median"] for row in rows if not is_missing(row["mae_median"]))
    better = [row["model"] for row in rows if baseline is not None and row["model"] != "median" and row["mae"] < baseline]
    clear = [
        row["model"] for row in rows if baseline is not None and not is_missing(row["mae_high"]) and row["mae_high"] < baseline
    ]
    said = (
        f"closer than the median of the other groups: {in_words(better) or 'none'}; beyond noise: {in_words(clear) or 'none'}"
    )
    message = f"{embedder}, {space_in_words(rows[0])}, each group foretold from the others: {said}."
    panel = Panel(
        (Series(rows, "mae", "", BLUE, "o", is_hollow=lambda row: row["model"] not in clear),),
        "mean absolute error, points of EER (dashed: the median)",
        "size",
        lines=[(baseline, True)] if baseline is not None else [],
    )
    labels = [row["model"] for row in rows]
    figures = [book.draw(f"foresight-{embedder}", embedder, message, lambda: draw_marks(labels, [panel], width_px=480))]
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
    """The gap foretold from a few samples of a group, with what was found."""
    rows = [row for row in chosen.rows("few_samples", embedder=embedder) if not is_missing(row["predicted"])]
    if not rows:
        return []
    found = by(largest(rows, "actual"), "held")
    groups, sizes = list(found), sorted(values(rows, "samples"))
    held = {size: by((row for row in rows if row["samples"] == size), "held") for size in sizes}
    said = [
        f"{sum(row['covered'] is True for row in of.values())} of {len(of)} from {plural(size, 'sample')}"
        for size, of in held.items()
    ]
    message = f"{embedder}: the found gap lies in the interval for {in_words(said)}. Upright strokes: found; hollow: outside."
    step = 0.66 / max(1, len(sizes) - 1)
    series = [
        Series(
            [of.get(group) for group in groups],
            "predicted",
            f"from {plural(size, 'sample')}",
            STROKES[at + 1].colour,
            STROKES[at + 1].marker,
            at * step - 0.33 if len(sizes) > 1 else 0.0,
            is_hollow=lambda row: row["covered"] is False,
        )
        for at, (size, of) in enumerate(held.items())
    ]
    actual = [
        Series(list(found.values()), "actual", "found" if not lift else "", INK, "|", lift) for lift in (0.0, -0.25, 0.25)
    ]
    panel = Panel([*series, *actual], "gap, points of EER", "points", lines=((0.0, False),))
    return [book.draw(f"few-samples-{embedder}", embedder, message, lambda: draw_marks(groups, [panel], width_px=560))]


def masking(book: Sketchbook, chosen: Chosen, detector: str) -> list[Figure]:
    """What masking a band costs beyond masking its control, one mark for each seed."""
    rows = [row for row in chosen.folder.rows("masking", detector=detector) if not is_missing(row["difference"])]
    if not rows:
        return []
    lines = list(dict.fromkeys(map(band_in_words, rows)))
    seeds = values(rows, "seed")[:MOST_SEEDS]
    clear = sum(is_clear(row, "difference") and row["difference"] > 0 for row in rows)
    most = largest(rows, "difference")[0]
    supports = sum(row["supports"] == "true" for row in rows)
    message = (
        f"{detector}: error with the band masked less error with its control masked. {clear} of {plural(len(rows), 'difference')} "
        f"{'is' if clear == 1 else 'are'} above 0 beyond noise; the largest is {points_with_interval(most, 'difference')}, {band_in_words(most)}. "
        f"{supports} support{'s' if supports == 1 else ''} the hypothesis as it was stated."
    )
    series = []
    for at, seed in enumerate(seeds):
        own = {band_in_words(row): row for row in rows if row["seed"] == seed}
        lift = 0.5 * (at / (len(seeds) - 1) - 0.5) if len(seeds) > 1 else 0.0
        stroke = STROKES[(at + 1) % len(STROKES)]
        label = f"seed {seed}" if len(seeds) > 1 else ""
        series.append(Series([own.get(line) for line in lines], "difference", label, stroke.colour, stroke.marker, lift))
    panel = Panel(series, "target less control, points of EER", "points", lines=((0.0, False),))
    return [book.draw(f"masking-{detector}", detector, message, lambda: draw_marks(lines, [panel], width_px=560))]


def band_in_words(row: Row) -> str:
    """Return what is tested in which band: `A07, 2,400–4,800 Hz`."""
    band = f", {number(row['low_hz'])}–{number(row['high_hz'])} Hz" if not is_missing(row["low_hz"]) else ""
    return f"{row['held'] or 'all'}{band}"


def augmentation(book: Sketchbook, chosen: Chosen, detector: str) -> list[Figure]:
    """The error of training with and without the augmentation, and the paired difference."""
    rows = [row for row in chosen.folder.rows("augmentation", detector=detector) if not is_missing(row["difference"])]
    if not rows:
        return []
    better = sum(is_clear(row, "difference") and row["difference"] < 0 for row in rows)
    worse = sum(is_clear(row, "difference") and row["difference"] > 0 for row in rows)
    least, labels = largest(rows, "difference")[-1], chosen.labels
    lines = [", ".join(part for part in (row["question"], labels[row["condition"]], row["held"]) if part) for row in rows]
    message = (
        f"{detector}: augmenting lowers the error beyond noise in {better} of {plural(len(rows), 'comparison')} and raises it in {worse}. "
        f"The largest change is {signed_points(least['difference'])} points, {lines[rows.index(least)]}."
    )
    panels = [
        Panel(
            (
                Series(rows, "eer_plain", "trained plainly", VERMILLION, "D"),
                Series(rows, "eer_augmented", "trained with augmentation", BLUE, "o"),
            ),
            "equal error rate",
            "percent",
            joins=True,
        ),
        Panel((Series(rows, "difference", "", BLUE, "o"),), "augmented less plain, points", "points", lines=((0.0, False),)),
    ]
    return [book.draw(f"augmentation-{detector}", detector, message, lambda: draw_marks(lines, panels, width_px=680))]
