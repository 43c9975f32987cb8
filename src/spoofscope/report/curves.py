"""Draw what runs along an axis: error against a swept parameter, DET curves, error against seconds heard.

Each function takes rows of tables and returns a matplotlib figure; call them inside `style.styled()`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from spoofscope.report.charts import upper_limit
from spoofscope.report.folder import Row
from spoofscope.report.style import INK, MUTED, RULE, STROKES, new_figure
from spoofscope.report.words import is_missing, number, short

DET_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_NORMAL = NormalDist()


def _percent_y(axes: Any, upper: float) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.set_ylim(0, upper)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0 if upper > 0.05 else 1))


def _band(axes: Any, xs: Sequence[float], rows: Sequence[Row], colour: str) -> None:
    known = [
        (x, row) for x, row in zip(xs, rows, strict=True) if not is_missing(row["eer_low"]) and not is_missing(row["eer_high"])
    ]
    if len(known) > 1:
        lows, highs = [row["eer_low"] for _, row in known], [row["eer_high"] for _, row in known]
        axes.fill_between([x for x, _ in known], lows, highs, color=colour, alpha=0.16, linewidth=0)


def sweep(rows: Sequence[Row], clean: Mapping[str, Row], detectors: Sequence[str], *, unit: str, upper: float) -> Any:
    """Draw the EER against the level of one family, each detector's clean EER as a horizontal line with its interval."""
    figure = new_figure(380, 270)
    axes = figure.subplots()
    levels = sorted({row["level"] for row in rows})
    is_wide = levels[0] > 0 and levels[-1] / levels[0] >= 8
    for at, detector in enumerate(detectors):
        stroke = STROKES[at % len(STROKES)]
        own = sorted(
            (row for row in rows if row["detector"] == detector and not is_missing(row["eer"])), key=lambda row: row["level"]
        )
        if len(detectors) == 1 and not is_missing(clean[detector]["eer_low"]):
            axes.axhspan(clean[detector]["eer_low"], clean[detector]["eer_high"], color=MUTED, alpha=0.14, linewidth=0)
        if not is_missing(clean[detector]["eer"]):
            axes.axhline(clean[detector]["eer"], color=stroke.colour, linewidth=0.9, linestyle=stroke.dash, alpha=0.7)
        xs = [row["level"] for row in own]
        _band(axes, xs, own, stroke.colour)
        axes.plot(xs, [row["eer"] for row in own], marker=stroke.marker, linestyle=stroke.dash, color=stroke.colour)
    if is_wide:
        axes.set_xscale("log")
    axes.set_xticks(levels, [number(level) for level in levels])
    axes.minorticks_off()
    axes.set_xlabel(short(unit, 40))
    axes.grid(axis="x", visible=False)
    _percent_y(axes, upper)
    return figure


def det(rows: Sequence[Row], series: Sequence[tuple[str, str, str]]) -> Any:
    """Draw DET curves on probit axes.

    Parameters
    ----------
    rows : sequence of Row
        Of det.csv.
    series : sequence of (detector, condition, label)
        The curves that are named and told apart; every other curve of `rows` is drawn thin and grey behind them.
    """
    figure = new_figure(420, 412 + 20 * ((len(series) + 1) // 2))
    axes = figure.subplots()
    named = {(detector, condition) for detector, condition, _ in series}
    curves: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        curves.setdefault((row["detector"], row["condition"]), []).append(row)
    floor = _floor(rows)
    for key, curve in curves.items():
        if key not in named:
            axes.plot(*_probit(curve, floor), color=MUTED, linewidth=0.7, alpha=0.55, zorder=1)
    for at, (detector, condition, label) in enumerate(series):
        stroke = STROKES[at % len(STROKES)]
        xs, ys = _probit(curves.get((detector, condition), []), floor)
        every = max(1, len(xs) // 5)
        style = {"marker": stroke.marker, "markevery": (every // 2, every), "markersize": 5, "linestyle": stroke.dash}
        axes.plot(xs, ys, color=stroke.colour, label=short(label), zorder=3, **style)
    _probit_axes(axes, floor)
    figure.legend(loc="outside upper left", ncols=2, columnspacing=1.2, handlelength=2.6)
    return figure


def _probit_axes(axes: Any, floor: float) -> None:
    ends = [_NORMAL.inv_cdf(floor), _NORMAL.inv_cdf(0.8)]
    axes.plot(ends, ends, color=RULE, linewidth=1, zorder=0)
    ticks = [tick for tick in DET_TICKS if tick >= floor]
    names = [f"{100 * tick:g}" for tick in ticks]
    places = [_NORMAL.inv_cdf(tick) for tick in ticks]
    axes.set(
        xlim=ends,
        ylim=ends,
        aspect="equal",
        xlabel="fakes let through (false alarm), %",
        ylabel="real people turned away (miss), %",
    )
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)


def _floor(rows: Sequence[Row]) -> float:
    smallest = min(
        (rate for row in rows for rate in (row["miss"], row["false_alarm"]) if not is_missing(rate) and rate > 0), default=0.01
    )
    return max([tick for tick in DET_TICKS if tick <= smallest] or [DET_TICKS[0]])


def _probit(curve: Sequence[Row], floor: float) -> tuple[list[float], list[float]]:
    """Map both rates, held inside the axes so that a rate of 0 lies on the edge."""
    known = [row for row in curve if not is_missing(row["miss"]) and not is_missing(row["false_alarm"])]
    inside = [[min(max(row[name], floor * 0.98), 0.81) for row in known] for name in ("false_alarm", "miss")]
    return [_NORMAL.inv_cdf(rate) for rate in inside[0]], [_NORMAL.inv_cdf(rate) for rate in inside[1]]


def heard(rows: Sequence[Row], series: Sequence[tuple[str, str]]) -> Any:
    """Draw the EER of one detector against the seconds of a recording that it has heard, one line for each windowed condition."""
    figure = new_figure(420, 290 + 20 * ((len(series) + 1) // 2))
    axes = figure.subplots()
    for at, (condition, label) in enumerate(series):
        stroke = STROKES[at % len(STROKES)]
        own = [row for row in rows if row["condition"] == condition and not is_missing(row["eer"])]
        xs = [row["seconds"] for row in own]
        _band(axes, xs, own, stroke.colour)
        style = {"marker": stroke.marker, "linestyle": stroke.dash, "markersize": 5}
        axes.plot(xs, [row["eer"] for row in own], color=stroke.colour, label=short(label), **style)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds heard")
    axes.set_ylabel("equal error rate", color=INK)
    _percent_y(axes, upper_limit([row[name] for row in rows for name in ("eer", "eer_high")]))
    figure.legend(loc="outside upper left", ncols=2, columnspacing=1.2)
    return figure
