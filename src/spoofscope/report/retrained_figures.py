"""The figures of detectors that were trained again: with a band masked, and with noise and codecs in their training."""

from __future__ import annotations

from collections.abc import Sequence

from spoofscope.report.chosen import ALL, Chosen, by, first, is_clear, values
from spoofscope.report.figures import Figure, Sketchbook
from spoofscope.report.folder import Row
from spoofscope.report.gap_figures import points_with_interval
from spoofscope.report.marks import Panel, Series, draw_marks
from spoofscope.report.style import BLUE, STROKES, VERMILLION
from spoofscope.report.words import is_missing, number, p_value, percent, plural

OVER = "speakers and seeds"
MOST_SEEDS = 5
SIDES = {"narrows": "below 0", "widens": "above 0"}
VERDICTS = {
    "true": "the result supports the hypothesis",
    "false": "the result goes against the hypothesis",
    "within noise": "within noise",
}


def masking(book: Sketchbook, chosen: Chosen, detector: str) -> list[Figure]:
    """What masking the target band does to the gap beyond masking its control: over all seeds, and for each."""
    rows = [row for row in chosen.folder.rows("masking", detector=detector, arm="target") if not is_missing(row["difference"])]
    if not rows:
        return []
    plan = (chosen.folder.analysis.get("plan") or {}).get("text") or {}
    measure = str(plan.get("measure", "eer")).upper()
    groups = values(rows, "held")
    panel = Panel(_by_seed(rows, groups), f"target less control, points of {measure}", "points", lines=((0.0, False),))
    lines = [band_in_words(next(row for row in rows if row["held"] == group)) for group in groups]
    message = _masked_in_words(detector, rows, SIDES.get(str(plan.get("direction")), "")) + chosen.scope(rows[0], OVER)
    return [book.draw(f"masking-{detector}", detector, message, lambda: draw_marks(lines, [panel], width_px=560))]


def _by_seed(rows: Sequence[Row], groups: Sequence[str]) -> list[Series]:
    """Return the marks of every seed on the line of each group, those over all seeds first; alone on its line, a mark is not lifted."""
    seeds = [ALL, *(seed for seed in values(rows, "seed") if seed != ALL)][: MOST_SEEDS + 1]
    answer = []
    for at, (seed, stroke) in enumerate(zip(seeds, STROKES, strict=False)):
        own = by((row for row in rows if row["seed"] == seed), "held")
        alone = {group for group in own if sum(row["held"] == group for row in rows) == 1}
        label = "all seeds" if seed == ALL else f"seed {seed}"
        for groups_here, lift, said in (
            (own.keys() - alone, 0.6 * (at / max(1, len(seeds) - 1) - 0.5), label),
            (alone, 0.0, ""),
        ):
            marks = [own[group] if group in groups_here else None for group in groups]
            if any(marks):
                answer.append(Series(marks, "difference", said, stroke.colour, stroke.marker, lift))
    return answer


def _masked_in_words(detector: str, rows: Sequence[Row], side: str) -> str:
    """Return what masking did, over all groups where the table has such a row, and on which side of 0 the plan expects it."""
    expected = f"; the hypothesis puts it {side}" if side else ""
    message = f"{detector}: gap with the target band masked less gap with the control band masked{expected}."
    stated = first(row for row in rows if row["seed"] == row["held"] == ALL)
    if stated is not None:
        message += (
            f" Over all groups {points_with_interval(stated, 'difference')}, p {p_value(stated['p'])}, {p_value(stated['p_holm'])} after "
            f"Holm: {VERDICTS.get(stated['supports'], stated['supports'])}."
        )
    return message


def band_in_words(row: Row) -> str:
    """Return what is tested in which band: `A07, 2,400–4,800 Hz`."""
    band = f", {number(row['low_hz'])}–{number(row['high_hz'])} Hz" if not is_missing(row["low_hz"]) else ""
    return f"{row['held'] or ALL}{band}"


def robustness(book: Sketchbook, chosen: Chosen, detector: str) -> list[Figure]:
    """The error of plain and augmented training under every condition, and the paired difference."""
    rows = _augmented(chosen, detector, "robustness")
    if not rows:
        return []
    clean = first(row for row in rows if row["condition"] == "clean")
    message = f"{detector}, trained on all attacks: with noise and codecs in training its error is {_better_and_worse(rows, 'lower', 'higher', 'condition')}"
    message += f"; on clean recordings {points_with_interval(clean, 'difference')}." if clean else "."
    message += f" Returns: the share of what the condition costs, where it costs more than noise. Bars: {_level(chosen)} intervals over {OVER}."
    panels = [
        Panel(
            (
                Series(rows, "eer_plain", "trained plainly", VERMILLION, "D"),
                Series(rows, "eer_augmented", "trained with noise and codecs", BLUE, "o"),
            ),
            "equal error rate",
            "percent",
            joins=True,
        ),
        _difference(rows, "augmented less plain, points"),
    ]
    labels = [chosen.labels[row["condition"]] for row in rows]
    return [book.draw(f"augmentation-{detector}", detector, message, lambda: _with_returns(labels, panels, rows))]


def narrowed(book: Sketchbook, chosen: Chosen, detector: str) -> list[Figure]:
    """The gap of plain training to every held-out group, and what augmentation changes of it."""
    rows = _augmented(chosen, detector, "gap")
    if not rows:
        return []
    whole = first(row for row in rows if row["held"] == ALL)
    message = (
        f"{detector}, the gap to groups held out of training: with noise and codecs in training it is "
        f"{_better_and_worse([row for row in rows if row['held'] != ALL], 'narrower', 'wider', 'group')}"
    )
    message += f"; over all groups {points_with_interval(whole, 'difference')}." if whole else "."
    message += " Returns: the share of the gap that is gone, where there is one beyond noise." + chosen.scope(rows[0], OVER)
    panels = [
        Panel((Series(rows, "loss", "", VERMILLION, "D"),), "gap, trained plainly, points", "points", lines=((0.0, False),)),
        _difference(rows, "augmented less plain, points"),
    ]
    labels = [row["held"] for row in rows]
    return [book.draw(f"augmentation-gap-{detector}", f"{detector}: gap", message, lambda: _with_returns(labels, panels, rows))]


def _augmented(chosen: Chosen, detector: str, question: str) -> list[Row]:
    rows = chosen.folder.rows("augmentation", detector=detector, question=question)
    return [row for row in rows if not is_missing(row["difference"])]


def _level(chosen: Chosen) -> str:
    return percent(chosen.folder.run["level"], 0)


def _better_and_worse(rows: Sequence[Row], better: str, worse: str, noun: str) -> str:
    clear = [row["difference"] for row in rows if is_clear(row, "difference")]
    down, up = sum(change < 0 for change in clear), sum(change > 0 for change in clear)
    return f"{better} beyond noise in {down} of {plural(len(rows), noun)} and {worse} in {up}"


def _difference(rows: Sequence[Row], label: str) -> Panel:
    series = Series(rows, "difference", "", BLUE, "o", is_hollow=lambda row: not is_clear(row, "difference"))
    return Panel((series,), label, "points", lines=((0.0, False),))


def _with_returns(labels: Sequence[str], panels: Sequence[Panel], rows: Sequence[Row]) -> object:
    column = ("returns", [percent(row["recovered"], 0) for row in rows])
    return draw_marks(labels, panels, width_px=680, columns=[column])
