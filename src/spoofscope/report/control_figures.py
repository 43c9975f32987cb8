"""The figures of probes, shortcuts, coverage, foresight and interventions, each with a caption that states its message."""

from __future__ import annotations

from collections.abc import Sequence

from spoofscope.report.chosen import ALL, Chosen, by, first, is_clear, values
from spoofscope.report.figures import Figure, Sketchbook
from spoofscope.report.findings import largest
from spoofscope.report.folder import Row
from spoofscope.report.gap_figures import points_with_interval, space_in_words
from spoofscope.report.marks import Panel, Series, draw_marks
from spoofscope.report.relations import Point, heat_map, probe_layers, scatter
from spoofscope.report.style import BLUE, GREEN, INK, MUTED, PURPLE, STROKES, VERMILLION
from spoofscope.report.words import in_words, is_missing, number, p_value, percent, plural, points, signed, signed_points

EMBEDDING, LINEAR = "embedding", "linear"
VARIANTS = {
    "held out": ("group in neither training nor calibration", VERMILLION, "D"),
    "f included": ("group in the calibration", BLUE, "o"),
    "within f": ("calibrated on the group alone", GREEN, "s"),
}
MOST_SEEDS = 5
FEW_LAYERS = 2
VERDICTS = {
    "true": "the result supports the hypothesis",
    "false": "the result goes against the hypothesis",
    "within noise": "within noise",
}


def probe_sweeps(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """Accuracy against control by layer, one panel for each thing that is read out; nothing for an embedder with few layers."""
    rows = chosen.rows("probes", embedder=embedder, layer=None, within="", features=EMBEDDING)
    if not rows:
        return []
    probe, layers = rows[0]["probe"], values(rows, "layer")
    answer = []
    for target in values(rows, "target") if len(layers) > FEW_LAYERS else []:
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
    """Linear probes of the primary layer, and every capacity for what was held out: accuracy, that of the control, and chance."""
    rows = [row for row in chosen.rows("probes", embedder=embedder) if not is_missing(row["accuracy"])]
    front = rows[0]["target"] if rows else ""
    rows = [row for row in rows if row["probe"] == LINEAR or (row["target"] == front and _is_plain(row))]
    if not rows:
        return []
    clear = sum(is_clear(row, "selectivity") and row["selectivity"] > 0 for row in rows)
    message = (
        f"{embedder}, layer {rows[0]['layer']}: {clear} of {plural(len(rows), 'probe')} read out more than their control task, beyond noise. "
        "A probe that does as well on random or untrained features has found nothing that training put there. Accuracy is on new speakers; the "
        "control task, like the selectivity that is counted, is where speakers recur."
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


def _is_plain(row: Row) -> bool:
    return row["features"] == EMBEDDING and not row["within"]


def probe_in_words(row: Row) -> str:
    """Return what a probe reads out of what, such as `attack within codec` or `attack, mlp`; a linear probe is not named."""
    parts = [f"{row['target']}{' within ' if row['within'] else ''}{row['within']}"]
    parts += [row["probe"].removeprefix(f"{LINEAR}, ")] if row["probe"] != LINEAR else []
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
    """The share accepted of a new group as foretold from a few of its clips, with what was found."""
    rows = [row for row in chosen.rows("few_samples", embedder=embedder) if not is_missing(row["predicted"])]
    if not rows:
        return []
    found = by(largest(rows, "actual"), "held")
    groups, sizes = list(found), sorted(values(rows, "samples"))
    held = {size: by((row for row in rows if row["samples"] == size), "held") for size in sizes}
    said = []
    for size, of in held.items():
        off, inside = (sum(row[name] for row in of.values()) / len(of) for name in ("mae", "covered"))
        said.append(
            f"from {plural(size, 'clip')} {points(off)} points off, {percent(inside, 0)} of intervals hold the truth ({plural(len(of), 'group')})"
        )
    message = f"{embedder}: share of a new group that is accepted, as foretold and as found (upright strokes). On average {'; '.join(said)}."
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
    actual = [
        Series(list(found.values()), "actual", "found" if not lift else "", INK, "|", lift) for lift in (0.0, -0.25, 0.25)
    ]
    panel = Panel([*series, *actual], "share of the group accepted", "percent")
    return [book.draw(f"few-samples-{embedder}", embedder, message, lambda: draw_marks(groups, [panel], width_px=560))]


def masking(book: Sketchbook, chosen: Chosen, detector: str) -> list[Figure]:
    """What masking the target band does to the gap beyond masking its control: over all seeds, and for each."""
    rows = [row for row in chosen.folder.rows("masking", detector=detector, arm="target") if not is_missing(row["difference"])]
    if not rows:
        return []
    groups, seeds = values(rows, "held"), values(rows, "seed")
    whole = [row for row in rows if row["seed"] == ALL]
    stated = first(row for row in whole if row["held"] == ALL)
    message = (
        f"{detector}: gap with the target band masked less gap with the control band masked; the hypothesis puts it below 0."
    )
    if stated is not None:
        message += f" Over all groups {points_with_interval(stated, 'difference')}, p {p_value(stated['p'])}, {p_value(stated['p_holm'])} after Holm: "
        message += VERDICTS.get(stated["supports"], stated["supports"]) + "."
    series = []
    for at, seed in enumerate([ALL, *(seed for seed in seeds if seed != ALL)][: MOST_SEEDS + 1]):
        own = by((row for row in rows if row["seed"] == seed), "held")
        lift = 0.0 if seed == ALL else 0.12 + 0.3 * at / len(seeds)
        stroke = STROKES[at % len(STROKES)]
        label = "all seeds" if seed == ALL else f"seed {seed}"
        series.append(Series([own.get(group) for group in groups], "difference", label, stroke.colour, stroke.marker, lift))
    panel = Panel(series, "target less control, points of EER", "points", lines=((0.0, False),))
    lines = [band_in_words(first(row for row in rows if row["held"] == group) or rows[0]) for group in groups]
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
