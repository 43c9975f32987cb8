"""Draw what is compared across conditions: error by condition, the frozen threshold, attack by condition, score histograms.

Each function takes rows of tables and returns a matplotlib figure; call them inside `style.styled()`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spoofscope.report.folder import Row
from spoofscope.report.style import BLUE, INK, MUTED, PAPER, RULE, STROKES, VERMILLION, new_figure
from spoofscope.report.words import MISSING, is_missing, points, short

ROW_PX = 21


def _rows_axis(axes: Any, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def _percent_axis(axes: Any, upper: float, *, label: str) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.set_xlim(-0.01 * upper, upper)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0 if upper > 0.05 else 1))
    axes.set_xlabel(label)


def upper_limit(values: Sequence[float | None], *, at_least: float = 0.05) -> float:
    """Return where a rate axis should end: a little above the largest value, never above 100 %."""
    present = [value for value in values if value is not None and not is_missing(value)]
    return min(1.03, max([at_least, *(1.06 * value for value in present)]))


def _whisker(axes: Any, at: float, row: Row, name: str, *, colour: str) -> None:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if not is_missing(low) and not is_missing(high):
        axes.plot([low, high], [at, at], color=colour, linewidth=1.2, zorder=2)


def error_by_condition(rows: Sequence[Row], detectors: Sequence[str], labels: Mapping[str, str]) -> Any:
    """Draw the EER of every condition with its interval; one marker for each detector."""
    conditions = [name for name in labels if any(row["condition"] == name for row in rows)]
    figure = new_figure(480, 70 + max(ROW_PX, 8 * len(detectors)) * len(conditions) + (26 if len(detectors) > 1 else 0))
    axes = figure.subplots()
    offsets = [0.0] if len(detectors) == 1 else [0.5 * (at / (len(detectors) - 1) - 0.5) for at in range(len(detectors))]
    for at, (detector, offset) in enumerate(zip(detectors, offsets, strict=True)):
        stroke = STROKES[at % len(STROKES)]
        own = {row["condition"]: row for row in rows if row["detector"] == detector}
        for height, condition in enumerate(conditions):
            row = own.get(condition)
            if row is None or is_missing(row["eer"]):
                continue
            _whisker(axes, height + offset, row, "eer", colour=stroke.colour)
            axes.plot(row["eer"], height + offset, stroke.marker, color=stroke.colour, markersize=6, zorder=3)
        clean = own.get("clean")
        if clean is not None and not is_missing(clean["eer"]):
            axes.axvline(clean["eer"], color=stroke.colour, linewidth=0.9, linestyle=stroke.dash, alpha=0.6, zorder=1)
        axes.plot([], [], stroke.marker, color=stroke.colour, label=short(detector))
    _rows_axis(axes, [labels[name] for name in conditions])
    _percent_axis(
        axes,
        upper_limit([row[name] for row in rows for name in ("eer", "eer_high")]),
        label="equal error rate (vertical line: clean)",
    )
    if len(detectors) > 1:
        figure.legend(loc="outside upper left", ncols=min(3, len(detectors)), handletextpad=0.3, columnspacing=1.4)
    return figure


def frozen_threshold(rows: Sequence[Row], labels: Mapping[str, str]) -> Any:
    """Draw, for one detector and operating point, both errors at the frozen threshold and the shift that would be needed."""
    figure = new_figure(620, 108 + ROW_PX * len(rows))
    rates, shifts = figure.subplots(1, 2, sharey=True, width_ratios=(2.1, 1))
    for height, row in enumerate(rows):
        _dumbbell(rates, height, row)
        if not is_missing(row["shift"]) and abs(row["shift"]) > 0:
            arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 10}
            shifts.annotate("", xy=(row["shift"], height), xytext=(0, height), arrowprops=arrow)
            shifts.plot(row["shift"], height, alpha=0)
    rates.plot([], [], "o", color=BLUE, label="real people turned away (miss)")
    rates.plot([], [], "D", color=VERMILLION, label="fakes let through (false alarm)")
    _rows_axis(rates, [labels[row["condition"]] for row in rows])
    upper = upper_limit([row[f"{rate}{end}"] for row in rows for rate in ("miss", "false_alarm") for end in ("", "_high")])
    _percent_axis(rates, upper, label="share of trials, at the frozen threshold")
    shifts.axvline(0, color=MUTED, linewidth=1)
    shifts.set_xlabel("shift of the threshold needed")
    shifts.grid(axis="y", visible=False)
    shifts.tick_params(axis="y", length=0)
    shifts.margins(x=0.12)
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.3, columnspacing=1.4)
    return figure


def _dumbbell(axes: Any, height: float, row: Row) -> None:
    miss, false_alarm = row["miss"], row["false_alarm"]
    if not is_missing(miss) and not is_missing(false_alarm):
        axes.plot([miss, false_alarm], [height, height], color=RULE, linewidth=5, solid_capstyle="round", zorder=1)
    for name, colour, marker, lift in (("miss", BLUE, "o", -0.13), ("false_alarm", VERMILLION, "D", 0.13)):
        if not is_missing(row[name]):
            _whisker(axes, height + lift, row, name, colour=colour)
            axes.plot(row[name], height, marker, color=colour, markersize=6.5, markeredgecolor=PAPER, zorder=3)


def attack_by_condition(
    rows: Sequence[Row], attacks: Sequence[str], conditions: Sequence[str], labels: Mapping[str, str], *, min_count: int
) -> Any:
    """Draw the EER of each attack under each condition as a heat map; a cell with too few trials is hatched and says so."""
    by_cell = {(row["condition"], row["group"]): row for row in rows}
    figure = new_figure(max(360, 150 + 44 * len(attacks)), 96 + ROW_PX * len(conditions))
    axes = figure.subplots()
    for down, condition in enumerate(conditions):
        for across, attack in enumerate(attacks):
            row = by_cell.get((condition, attack))
            rate = row["eer"] if row is not None and is_reliable(row, min_count) else None
            draw_cell(axes, across, down, rate, MISSING if row is None else "few")
    name_cells(axes, attacks, [labels[name] for name in conditions])
    return figure


def draw_cell(axes: Any, across: int, down: int, rate: float | None, otherwise: str) -> None:
    """Draw one cell of a heat map: shaded by its rate on a fixed scale from 0 to 50 %, or hatched, saying why it has none."""
    import matplotlib
    from matplotlib.patches import Rectangle

    corner = (across - 0.5, down - 0.5)
    if rate is None:
        axes.add_patch(Rectangle(corner, 1, 1, facecolor="none", edgecolor=RULE, hatch="////", linewidth=0))
        axes.text(across, down, otherwise, ha="center", va="center", color=MUTED, fontsize=9.5)
        return
    red, green, blue, _ = shade = matplotlib.colormaps["magma_r"](0.04 + 0.8 * min(rate / 0.5, 1.0))
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=shade, edgecolor=PAPER, linewidth=1))
    is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    text = points(rate, 0 if rate >= 0.0995 else 1)
    axes.text(across, down, text, ha="center", va="center", color="#ffffff" if is_dark else "#000000", fontsize=10)


def name_cells(axes: Any, across: Sequence[str], down: Sequence[str]) -> None:
    """Name the columns of a heat map above it, slanted where they are long, and its rows at the left."""
    _rows_axis(axes, down)
    axes.set_ylim(len(down) - 0.5, -0.5)
    slanted = any(len(name) > 5 for name in across)
    tilt = {"rotation": 35, "ha": "left", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(across)), [short(name, 18) for name in across], **tilt)
    axes.set_xlim(-0.5, len(across) - 0.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)


def is_reliable(row: Row, min_count: int) -> bool:
    """Tell whether a group has a figure and at least the minimum number of trials of each class."""
    return not is_missing(row["eer"]) and min(row["n_bonafide"], row["n_spoof"]) >= min_count


def score_histograms(rows: Sequence[Row], conditions: Sequence[str], labels: Mapping[str, str], threshold: float | None) -> Any:
    """Draw the scores of each condition: bona fide above its line, spoof hatched below, the frozen threshold through all."""
    figure = new_figure(480, 92 + 34 * len(conditions))
    axes = figure.subplots()
    for height, condition in enumerate(conditions):
        axes.axhline(height, color=RULE, linewidth=0.8, zorder=1)
        for label, direction in (("bonafide", -1.0), ("spoof", 1.0)):
            own = [row for row in rows if row["condition"] == condition and row["label"] == label]
            _half_histogram(axes, own, height, direction=direction, is_bonafide=label == "bonafide")
    if threshold is not None and not is_missing(threshold):
        axes.axvline(threshold, color=INK, linewidth=1.4, linestyle=(0, (4, 2)), label="frozen threshold", zorder=4)
    axes.fill_between([], [], color=BLUE, alpha=0.75, label="real speech (above)")
    axes.fill_between([], [], facecolor="none", edgecolor=VERMILLION, hatch="//////", label="fakes (below)")
    _rows_axis(axes, [labels[name] for name in conditions])
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("score (higher: sounds more real)")
    figure.legend(loc="outside upper left", ncols=3, columnspacing=1.4, handletextpad=0.5)
    return figure


def _half_histogram(axes: Any, rows: Sequence[Row], height: float, *, direction: float, is_bonafide: bool) -> None:
    filled = [at for at, row in enumerate(rows) if row["count"]]
    if not filled:
        return
    rows = rows[filled[0] : filled[-1] + 1]
    total = sum(row["count"] for row in rows)
    densities = [row["count"] / total / max(row["right"] - row["left"], 1e-12) for row in rows]
    tallest = max(densities)
    edges = [rows[0]["left"], *(row["right"] for row in rows)]
    levels = [height + direction * 0.46 * density / tallest for density in densities]
    style = (
        {"facecolor": BLUE, "alpha": 0.75, "linewidth": 0}
        if is_bonafide
        else {"facecolor": "none", "edgecolor": VERMILLION, "hatch": "//////", "linewidth": 0.8}
    )
    axes.fill_between(edges, height, [*levels, levels[-1]], step="post", zorder=3, **style)
