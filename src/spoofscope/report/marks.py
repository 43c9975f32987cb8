"""Draw lines of marks: one line for each thing that is compared, on each panel a mark with its interval for each quantity.

Most figures of the second part are of this kind. Call it inside `style.styled()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spoofscope.report.charts import ROW_PX
from spoofscope.report.folder import Row
from spoofscope.report.style import MUTED, PAPER, RULE, new_figure
from spoofscope.report.words import is_missing, short

ENDS = ("", "_low", "_high")
MARK = 6.0
LIFTED_PX = 10
ROUND_STEPS = [1, 2, 5, 10]
Unit = Literal["percent", "points", "size", "plain"]


def is_never(row: Row) -> bool:
    """Answer no."""
    return False


@dataclass(frozen=True)
class Series:
    """One mark on each line.

    Parameters
    ----------
    rows : sequence of Row or None
        One for each line; a line without a row, or whose cell is missing, has no mark.
    name : str
        The column; its interval stands in `NAME_low` and `NAME_high`, where the table has them.
    label : str
        For the legend; empty for none.
    colour, marker : str
    lift : float
        How far above (negative) or below its line the mark is drawn, in lines.
    is_hollow : function of a Row
        Whether the mark is drawn hollow.
    size : float
        Of the mark; a stroke as high as its line has the size of one.
    """

    rows: Sequence[Row | None]
    name: str
    label: str
    colour: str
    marker: str
    lift: float = 0.0
    is_hollow: Callable[[Row], bool] = is_never
    size: float = MARK


@dataclass(frozen=True)
class Panel:
    """Marks that share an axis.

    Parameters
    ----------
    series : sequence of Series
    label : str
        Of the axis.
    unit : {"percent", "points", "size", "plain"}
        Rates from 0; signed differences of rates in percentage points; sizes of such differences; or figures as they are.
    title : str
    lines : sequence of (value, is dashed)
        Upright lines that the marks are compared with.
    bar : str or tuple of str
        Two columns of the first series between which a pale bar is drawn; or none.
    joins : bool
        Whether the marks of the first two series are joined on every line.
    """

    series: Sequence[Series]
    label: str
    unit: Unit
    title: str = ""
    lines: Sequence[tuple[float, bool]] = ()
    bar: tuple[str, str] | None = None
    joins: bool = False

    def values(self) -> list[float]:
        """Every value that is drawn, and the ends of its interval."""
        cells = (
            row.cells.get(series.name + end) for series in self.series for row in series.rows if row is not None for end in ENDS
        )
        return [value for value in cells if value is not None and not is_missing(value)]


def draw_marks(
    labels: Sequence[str], panels: Sequence[Panel], *, width_px: int, columns: Sequence[tuple[str, Sequence[str]]] = ()
) -> Any:
    """Draw one line for each label on every panel, and columns of words (head, words) at the right of the last panel."""
    named = [series for panel in panels for series in panel.series if series.label]
    has_titles = any(panel.title for panel in panels)
    row_px = row_height(panels)
    figure = new_figure(width_px, 66 + row_px * len(labels) + (24 if named else 0) + (20 if has_titles or columns else 0))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for at, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        _draw_panel(axis, panel)
        axis.set_title(panel.title, fontsize=11.5)
        axis.tick_params(axis="y", length=0)
        if at:
            axis.tick_params(axis="y", labelleft=False)
    _name_lines(axes[0], labels)
    for place, (head, words) in enumerate(columns):
        _write_column(axes[-1], 1.04 + 0.2 * place, head, words)
    if named:
        fits = sum(7 * len(series.label) + 34 for series in named) <= width_px
        ncols = len(named) if fits else min(3, len(named))
        figure.legend(handles=list(_keys(named)), loc="outside upper left", ncols=ncols, handletextpad=0.3, columnspacing=1.2)
    return figure


def row_height(panels: Sequence[Panel]) -> int:
    """Return how high a line must be, in CSS pixels, for marks that are lifted apart on it."""
    lifts = [
        {series.lift for series in panel.series if series.size == MARK and series.rows[line] is not None}
        for panel in panels
        for line in range(len(panel.series[0].rows))
    ]
    return max(ROW_PX, LIFTED_PX * max(map(len, lifts), default=1))


def _name_lines(axis: Any, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), [short(label, 36) for label in labels])
    axis.set_ylim(len(labels) - 0.4, -0.6)


def _draw_panel(axis: Any, panel: Panel) -> None:
    axis.grid(axis="y", visible=False)
    for value, is_dashed in panel.lines:
        axis.axvline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 2)) if is_dashed else "-", zorder=1)
    if panel.joins:
        _join(axis, *panel.series[:2])
    if panel.bar:
        _bars(axis, panel.series[0].rows, panel.bar)
    for series in panel.series:
        _draw_series(axis, series)
    _scale(axis, panel)
    axis.set_xlabel(panel.label)


def _draw_series(axis: Any, series: Series) -> None:
    for line, row in enumerate(series.rows):
        if row is None or is_missing(row[series.name]):
            continue
        at, value = line + series.lift, row[series.name]
        ends = [row.cells.get(f"{series.name}{end}") for end in ("_low", "_high")]
        if not any(is_missing(end) for end in ends):
            axis.plot(ends, [at, at], color=series.colour, linewidth=1.3, zorder=3, solid_capstyle="butt")
        face = PAPER if series.is_hollow(row) else series.colour
        axis.plot(
            value,
            at,
            series.marker,
            color=series.colour,
            markerfacecolor=face,
            markersize=series.size,
            markeredgewidth=1.3,
            zorder=4,
        )


def _join(axis: Any, first: Series, second: Series) -> None:
    for line, (one, other) in enumerate(zip(first.rows, second.rows, strict=True)):
        ends = [None if row is None else row[series.name] for row, series in ((one, first), (other, second))]
        if not any(is_missing(end) for end in ends):
            axis.plot(ends, [line, line], color=RULE, linewidth=5, solid_capstyle="round", zorder=2)


def _bars(axis: Any, rows: Sequence[Row | None], columns: tuple[str, str]) -> None:
    for line, row in enumerate(rows):
        ends = [None if row is None else row[column] for column in columns]
        if not any(is_missing(end) for end in ends):
            axis.plot(ends, [line, line], color=RULE, linewidth=8, solid_capstyle="butt", zorder=2)


def _scale(axis: Any, panel: Panel) -> None:
    values = [*panel.values(), *(value for value, _ in panel.lines)]
    lowest, highest = min([0.0, *values]), max([0.0, *values])
    span = highest - lowest or 1.0
    if panel.unit in ("percent", "size"):
        axis.set_xlim(-0.02 * span, highest + 0.05 * span)
    else:
        axis.set_xlim(lowest - 0.06 * span, highest + 0.06 * span)
    if panel.unit == "plain":
        axis.locator_params(axis="x", nbins=6)
    else:
        round_ticks(axis.xaxis, TICKS[panel.unit])


def round_ticks(axis: Any, words: Callable[[float, int], str]) -> None:
    """Give an axis of matplotlib that shows rates ticks at round percentages, written with the decimals that they need."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def decimals() -> int:
        ticks = [100 * tick for tick in axis.get_majorticklocs()]
        return next((count for count in (0, 1) if all(abs(round(tick, count) - tick) < 1e-6 for tick in ticks)), 2)

    axis.set_major_locator(MaxNLocator(6, steps=ROUND_STEPS))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(value, decimals())))


def in_points(value: float, decimals: int) -> str:
    """Return the tick of a difference of rates: `+2`, `0`, `−2`."""
    text = f"{100 * value:+.{decimals}f}"
    return "0" if not float(text) else text.replace("-", "−")


TICKS: dict[str, Callable[[float, int], str]] = {
    "points": in_points,
    "percent": lambda value, decimals: f"{100 * value:.{decimals}f}%",
    "size": lambda value, decimals: f"{100 * value:.{decimals}f}",
}


def _write_column(axis: Any, across: float, head: str, words: Sequence[str]) -> None:
    place = axis.get_yaxis_transform()
    axis.text(across, -1.0, head, transform=place, ha="left", va="bottom", color=MUTED, fontsize=10)
    for line, word in enumerate(words):
        axis.text(across, line, word, transform=place, ha="left", va="center", fontsize=10)


def _keys(named: Sequence[Series]) -> Iterator[Any]:
    from matplotlib.lines import Line2D

    for series in named:
        yield Line2D([], [], color=series.colour, marker=series.marker, linestyle="", label=short(series.label, 44))
