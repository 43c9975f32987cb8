"""Draw how two quantities go together: gap against predictor, foretold against found, one embedder against another, layer by layer.

Each function takes rows of tables and returns a matplotlib figure; call them inside `style.styled()`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from spoofscope.report.charts import ROW_PX, draw_cell, name_cells
from spoofscope.report.folder import Row
from spoofscope.report.marks import in_points, round_ticks
from spoofscope.report.style import BLUE, GREEN, MUTED, PAPER, PURPLE, RULE, VERMILLION, new_figure
from spoofscope.report.words import MISSING, is_missing, short

LABEL_SIZE = 9.5
LABEL_LENGTH = 18
LONG_NAME, MOST_LONG_LABELS = 6, 6
MOST_HIDDEN = 0.12
MOST_NAMED_ENDS = 14
MOST_TICKS = 13
WAYS = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]


class Point(NamedTuple):
    """A point of a scatter: where, its interval upwards, its name, and how it is drawn."""

    x: float
    y: float
    low: float | None
    high: float | None
    name: str
    is_ringed: bool = False
    is_marked: bool = False


class Box(NamedTuple):
    """A rectangle in points."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Return the area that two boxes share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)


def scatter(drawn: Sequence[Point], *, x_label: str, y_limits: tuple[float, float], has_diagonal: bool = False) -> Any:
    """Draw points with upward intervals, the names beside them; y (and x, where the diagonal is drawn) in percentage points."""
    figure = new_figure(380, 320)
    axes = figure.subplots()
    axes.axhline(0, color=MUTED, linewidth=1)
    if has_diagonal:
        ends = [min(0.0, *(point.x for point in drawn)), max(point.x for point in drawn)]
        axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        round_ticks(axes.xaxis, in_points)
    for point in drawn:
        if not is_missing(point.low) and not is_missing(point.high):
            axes.plot([point.x] * 2, [point.low, point.high], color=BLUE, linewidth=1.1, alpha=0.7, zorder=2)
        face = PAPER if point.is_marked else BLUE
        axes.plot(point.x, point.y, "o", color=BLUE, markerfacecolor=face, markersize=5.5, markeredgewidth=1.3, zorder=3)
        if point.is_ringed:
            axes.plot(
                point.x, point.y, "o", color=VERMILLION, markerfacecolor="none", markersize=13, markeredgewidth=1.6, zorder=4
            )
    axes.margins(x=0.08)
    axes.set_ylim(*y_limits)
    axes.set_xlabel(x_label)
    round_ticks(axes.yaxis, in_points)
    axes.set_ylabel("gap, points of EER")
    _name_points(figure, axes, drawn)
    return figure


def _name_points(figure: Any, axes: Any, drawn: Sequence[Point]) -> None:
    """Write the names where they hide least, the largest first; of many long names only the most telling."""
    figure.draw_without_rendering()
    per_point = figure.dpi / 72
    frame = axes.get_window_extent()
    inside = Box(*(edge / per_point for edge in (frame.x0, frame.y0, frame.x1, frame.y1)))
    places = [tuple(at / per_point for at in axes.transData.transform((point.x, point.y))) for point in drawn]
    taken = [Box(x - 4, y - 4, x + 4, y + 4) for x, y in places] + _whiskers(axes, drawn, per_point)
    order = sorted(range(len(drawn)), key=lambda at: (not drawn[at].is_ringed, -abs(drawn[at].y)))
    if max(len(point.name) for point in drawn) > LONG_NAME:
        order = order[:MOST_LONG_LABELS]
    for at in order:
        text = short(drawn[at].name, LABEL_LENGTH)
        size = (0.62 * LABEL_SIZE * len(text), 1.25 * LABEL_SIZE)
        cost, _, box = min(_tries(places[at], size, taken, inside, reach=9 if drawn[at].is_ringed else 6))
        if cost > MOST_HIDDEN * size[0] * size[1] and not drawn[at].is_ringed:
            continue
        taken.append(box)
        centre = ((box.left + box.right) / 2 - places[at][0], (box.bottom + box.top) / 2 - places[at][1])
        note = axes.annotate(
            text,
            (drawn[at].x, drawn[at].y),
            centre,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=LABEL_SIZE,
            zorder=5,
        )
        note.set_in_layout(False)


def _whiskers(axes: Any, drawn: Sequence[Point], per_point: float) -> list[Box]:
    """Return where the intervals are drawn, so that no name is written across one."""
    answer = []
    for point in drawn:
        if not is_missing(point.low) and not is_missing(point.high):
            (x, bottom), (_, top) = axes.transData.transform([(point.x, point.low), (point.x, point.high)]) / per_point
            answer.append(Box(x - 1, bottom, x + 1, top))
    return answer


def _tries(
    place: Sequence[float], size: tuple[float, float], taken: Sequence[Box], inside: Box, *, reach: float
) -> list[tuple[float, int, Box]]:
    """Return what each place for a name would hide, in square points, with the place."""
    answer = []
    for way, (right, up) in enumerate(WAYS):
        x, y = place[0] + right * (reach + size[0] / 2), place[1] + up * (reach * 0.6 + size[1] / 2)
        box = Box(x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2)
        outside = size[0] * size[1] - box.overlap(inside)
        answer.append((3 * outside + sum(box.overlap(other) for other in taken), way, box))
    return answer


def slopes(rows: Sequence[Row], names: tuple[str, str]) -> Any:
    """Draw one line for each group from its gap under one embedder to its gap under the other; exposed groups dashed and hollow.

    Of many groups only those with the largest gaps and those that change most are named.
    """
    named = list(rows)
    if len(rows) > MOST_NAMED_ENDS:
        largest = sorted(rows, key=lambda row: -max(row["gap_first"], row["gap_second"]))[:2]
        changed = sorted(rows, key=lambda row: -abs(row["gap_second"] - row["gap_first"]))[: MOST_NAMED_ENDS // 2]
        named = [*largest, *(row for row in changed if row not in largest)]
    figure = new_figure(400, max(300, 70 + 14 * min(len(rows), MOST_NAMED_ENDS)))
    axes = figure.subplots()
    axes.axhline(0, color=MUTED, linewidth=1)
    for row in rows:
        style = {"linestyle": (0, (4, 2)), "markerfacecolor": PAPER} if row["exposed"] else {"linestyle": "-"}
        axes.plot([0, 1], [row["gap_first"], row["gap_second"]], "o", color=BLUE, linewidth=1.2, markersize=5, **style)
    axes.set_xlim(-0.12, 1.75 + 0.03 * max(0, max(len(row["held"]) for row in rows) - 8))
    axes.set_xticks([0, 1], [in_lines(name) for name in names])
    axes.grid(axis="x", visible=False)
    round_ticks(axes.yaxis, in_points)
    axes.set_ylabel("gap, points of EER")
    axes.margins(y=0.06)
    _name_ends(figure, axes, named)
    return figure


def in_lines(name: str) -> str:
    """Return a long name in lines, parted after its own marks: `google_speech_embedding` in two."""
    parts = re.findall(r"[^_\-.:/ ]+[_\-.:/ ]*", name)
    lines = [""]
    for part in parts:
        lines = [*lines[:-1], lines[-1] + part] if len(lines[-1] + part) <= LABEL_LENGTH else [*lines, part]
    return "\n".join(short(line, LABEL_LENGTH) for line in lines if line) or name


def _name_ends(figure: Any, axes: Any, rows: Sequence[Row]) -> None:
    """Write the names at the right in the order of their ends, as far apart as lines of text, each led to its line."""
    figure.draw_without_rendering()
    bottom, top = axes.get_ylim()
    frame = axes.get_window_extent()
    line = (top - bottom) * 1.18 * LABEL_SIZE * figure.dpi / 72 / frame.height
    ordered = sorted(rows, key=lambda row: row["gap_second"])
    for row, height in zip(ordered, spread_apart([row["gap_second"] for row in ordered], line, bottom, top), strict=True):
        axes.plot([1.04, 1.16], [row["gap_second"], height], color=RULE, linewidth=0.8, zorder=1, clip_on=False)
        axes.text(1.18, height, short(row["held"], 26), va="center", fontsize=LABEL_SIZE, clip_on=False).set_in_layout(False)
    axes.set_ylim(bottom, top)


def spread_apart(wanted: Sequence[float], least: float, bottom: float, top: float) -> list[float]:
    """Move ascending heights apart to at least `least`, keeping their order, and inside the ends where they fit."""
    heights: list[float] = []
    for want in wanted:
        heights.append(max(want, heights[-1] + least if heights else bottom))
    over = heights[-1] - top if heights else 0.0
    ceiling = heights[-1] - max(over, 0.0) if heights else top
    for at in range(len(heights) - 1, -1, -1):
        heights[at] = min(heights[at], ceiling)
        ceiling = heights[at] - least
    return heights


def layer_sweep(
    own: Sequence[Row],
    fixed: Sequence[Row],
    gaps: Mapping[str, Sequence[Row]],
    layers: Sequence[str],
    *,
    primary: str,
    predictor: str,
) -> Any:
    """Draw rho by layer, with the layer's own gap and a band over all layers, and with a fixed layer's; below, every gap by layer."""
    figure = new_figure(620, 430 if gaps else 290)
    all_axes = figure.subplots(2 if gaps else 1, 1, sharex=True, squeeze=False, height_ratios=(1.35, 1) if gaps else (1,))[:, 0]
    place = {layer: at for at, layer in enumerate(layers)}
    axes = all_axes[0]
    axes.axhline(0, color=MUTED, linewidth=1)
    _band(axes, own, place, "band")
    for rows, colour, dash, marker, label in (
        (own, BLUE, "-", "o", "gap of the same layer (band: all layers at once)"),
        (fixed, VERMILLION, (0, (5, 2)), "D", f"gap of layer {fixed[0]['gap_of']} throughout" if fixed else ""),
    ):
        known = [row for row in rows if not is_missing(row["rho"])]
        if known:
            xs, ys = [place[row["layer"]] for row in known], [row["rho"] for row in known]
            axes.plot(xs, ys, color=colour, linestyle=dash, marker=marker, markersize=4.5, linewidth=1.5, label=label)
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel(f"rho of {short(predictor, 16)}")
    if gaps:
        _strips(all_axes[1], gaps, place)
    for axis in all_axes:
        if primary in place:
            axis.axvline(place[primary], color=MUTED, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        axis.grid(axis="x", visible=False)
    layer_axis(all_axes[-1], layers, primary)
    figure.legend(loc="outside upper left", ncols=2, columnspacing=1.4)
    return figure


def layer_axis(axis: Any, layers: Sequence[str], primary: str) -> None:
    """Name the layers along x, of many every second or third, and always the primary one."""
    step = -(-len(layers) // MOST_TICKS)
    shown = [at for at, layer in enumerate(layers) if at % step == 0 or layer == primary]
    axis.set_xticks(shown, [layers[at] for at in shown])
    axis.set_xlim(-0.6, len(layers) - 0.4)
    axis.set_xlabel("layer (dashed: the primary one)" if primary in layers else "layer")


def _band(axes: Any, rows: Sequence[Row], place: Mapping[str, int], name: str, colour: str = BLUE) -> None:
    known = [row for row in rows if not is_missing(row[f"{name}_low"]) and not is_missing(row[f"{name}_high"])]
    xs = [place[row["layer"]] for row in known]
    axes.fill_between(
        xs, [row[f"{name}_low"] for row in known], [row[f"{name}_high"] for row in known], color=colour, alpha=0.15, linewidth=0
    )


def _strips(axes: Any, gaps: Mapping[str, Sequence[Row]], place: Mapping[str, int]) -> None:
    axes.axhline(0, color=MUTED, linewidth=1)
    drawn = [(place[layer], sorted(row["gap"] for row in rows)) for layer, rows in gaps.items()]
    for x, heights in drawn:
        axes.plot([x] * len(heights), heights, "o", color=MUTED, markersize=3, alpha=0.55, markeredgewidth=0)
    xs = [x for x, _ in drawn]
    middles = [heights[(len(heights) - 1) // 2] for _, heights in drawn]
    axes.plot(xs, middles, color=GREEN, marker="s", markersize=4, linewidth=1.5)
    round_ticks(axes.yaxis, in_points)
    axes.set_ylabel("gap, points")


PROBE_PANELS = (
    ("accuracy", "accuracy", BLUE, "o"),
    ("selectivity", "selectivity", PURPLE, "D"),
    ("codelength", "bits a label", GREEN, "s"),
)


def probe_layers(rows: Sequence[Row], layers: Sequence[str], *, primary: str) -> Any:
    """Draw a probe's accuracy over chance by layer; below, what it has beyond its control task, and the bits that a label costs."""
    panels = [panel for panel in PROBE_PANELS if any(not is_missing(row[panel[0]]) for row in rows)]
    figure = new_figure(380, 60 + 105 * len(panels))
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    place = {layer: at for at, layer in enumerate(layers)}
    for axes, (name, label, colour, marker) in zip(all_axes, panels, strict=True):
        known = [row for row in rows if not is_missing(row[name])]
        xs = [place[row["layer"]] for row in known]
        axes.plot(xs, [row[name] for row in known], color=colour, marker=marker, markersize=4, linewidth=1.5)
        if name == "codelength":
            axes.set_ylim(bottom=0)
        else:
            _band(axes, known, place, name, colour)
        if name == "accuracy":
            axes.plot(xs, [row["chance"] for row in known], color=MUTED, linestyle=(0, (1, 2)))
            axes.set_ylim(0, 1.04)
        if name == "selectivity":
            axes.axhline(0, color=MUTED, linewidth=1)
        if primary in place:
            axes.axvline(place[primary], color=MUTED, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        axes.set_ylabel(label)
        axes.grid(axis="x", visible=False)
    layer_axis(all_axes[-1], layers, primary)
    figure.align_ylabels()
    return figure


def heat_map(rows: Collection[Row], groups: Sequence[str], conditions: Sequence[str], labels: Mapping[str, str]) -> Any:
    """Draw the share of each held-out group that is accepted under each condition: a line for each group, a column for each condition."""
    by_cell = {(row["condition"], row["held"]): row["rate"] for row in rows if not is_missing(row["rate"])}
    figure = new_figure(max(360, 210 + 52 * len(conditions)), 100 + ROW_PX * len(groups))
    axes = figure.subplots()
    for across, condition in enumerate(conditions):
        for down, group in enumerate(groups):
            draw_cell(axes, across, down, by_cell.get((condition, group)), MISSING)
    name_cells(axes, [labels[name] for name in conditions], groups)
    return figure
