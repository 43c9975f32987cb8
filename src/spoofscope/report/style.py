"""How every figure looks, and how it is saved: SVG and PDF files, and an SVG that takes the colours of the page around it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoofscope.errors import MissingExtra

# Okabe and Ito's palette, told apart with any colour vision. Each becomes a CSS variable on the page.
INK, MUTED, RULE, PAPER = "#1d1d1f", "#6b6b70", "#d9d9d5", "#fdfdfb"
BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    PAPER: "--paper",
    BLUE: "--blue",
    VERMILLION: "--vermillion",
    GREEN: "--green",
    ORANGE: "--orange",
    SKY: "--sky",
    PURPLE: "--purple",
}

PIXELS_PER_INCH = 72


@dataclass(frozen=True)
class Stroke:
    """Colour, marker and dash of one series: any one of the three tells it apart."""

    colour: str
    marker: str
    dash: Any


STROKES = (
    Stroke(INK, "o", "-"),
    Stroke(GREEN, "s", (0, (5, 1.5))),
    Stroke(PURPLE, "D", (0, (1.5, 1.5))),
    Stroke(ORANGE, "^", (0, (6, 2, 1.5, 2))),
    Stroke(SKY, "v", (0, (8, 3))),
    Stroke(VERMILLION, "P", (0, (3, 1, 1, 1, 1, 1))),
    Stroke(BLUE, "X", (0, (2, 3))),
)

BONAFIDE, SPOOF = BLUE, VERMILLION

_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spoofscope",
    "pdf.fonttype": 3,
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelsize": 11,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "figure.facecolor": "none",
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
    "savefig.facecolor": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "hatch.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save in the style of the page, whatever the user's own matplotlib settings.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra("the report", "report") from error
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        # A name in a script that the font lacks is drawn by the reader's browser, which has it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def new_figure(width_px: float, height_px: float) -> Any:
    """Return an empty figure of a size in CSS pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_px / PIXELS_PER_INCH, height_px / PIXELS_PER_INCH), layout="constrained")


def save(figure: Any, folder: Path, name: str) -> str:
    """Write NAME.svg and NAME.pdf, byte-identical for identical figures, and return the SVG to set into a page."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": "spoofscope"})
    figure.set_layout_engine("none")  # the PDF takes over the layout that was solved for the SVG
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Creator": "spoofscope"})
    return for_page((folder / f"{name}.svg").read_text(encoding="utf-8"), name)


def for_page(svg: str, name: str) -> str:
    """Turn an SVG file into one that scales with its column, follows dark mode, and shares no id with another."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) xmlns:xlink="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(xlink:href="#|href="#|url\(#)', rf"\1{name}-", body).replace("xlink:href", "href")
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(f": {colour}", f": var({variable})")
    body = re.sub(r'(?<= )d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), body)
    return body.replace("<svg ", '<svg aria-hidden="true" ', 1).strip()
