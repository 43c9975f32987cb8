"""Numbers and settings as people read them: percentages, intervals and plurals, each missing quantity an en dash."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "–"
THIN_SPACE = "\u202f"
MOST_LAYERS = 3
POOLS = {"mean": "mean over time", "mean_std": "mean and standard deviation over time"}


def is_missing(value: float | None) -> bool:
    """Tell whether a quantity does not exist."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as a percentage: 0.0812 is `8.1 %`. What would round to 0 without being 0 is `< 0.1 %`."""
    if value is None or is_missing(value):
        return MISSING
    return f"{points(value, digits)}{THIN_SPACE}%"


def points(value: float | None, digits: int = 1) -> str:
    """Return a fraction times 100, without the sign of percent."""
    if value is None or is_missing(value):
        return MISSING
    if value == 0:
        return "0"
    smallest = 10.0**-digits
    if abs(value) * 100 < smallest / 2:
        return f"{'<' if value > 0 else '>'}{THIN_SPACE}{'' if value > 0 else minus('-')}{smallest:.{digits}f}"
    return minus(f"{100 * value:.{digits}f}")


def signed_points(value: float | None, digits: int = 1) -> str:
    """Return a difference of fractions in percentage points, always with its sign: `+23.1`, `−0.4`."""
    if value is None or is_missing(value):
        return MISSING
    return minus(f"{100 * value:+.{digits}f}")


def signed(value: float | None, decimals: int = 2) -> str:
    """Return a figure with its sign, such as a rank correlation: `+0.41`, `−0.67`."""
    if value is None or is_missing(value):
        return MISSING
    return minus(f"{value:+.{decimals}f}")


def p_value(value: float | None) -> str:
    """Return a p-value with two significant digits; a very small one is `< 0.001`."""
    return f"<{THIN_SPACE}0.001" if value is not None and not is_missing(value) and value < 0.001 else number(value, 2)


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure that is not a rate with so many significant digits."""
    if value is None or is_missing(value):
        return MISSING
    if float(value).is_integer() and abs(value) < 1e15:
        return minus(f"{value:,.0f}")
    if abs(value) < 1e-4 or abs(value) >= 1e9:
        return minus(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return minus(f"{value:,.{decimals}f}".rstrip("0").rstrip(".") if decimals else f"{value:,.0f}")


def fixed(value: float | None, decimals: int = 3) -> str:
    """Return a figure with so many decimals, so that a column of them lines up."""
    return MISSING if value is None or is_missing(value) else minus(f"{value:,.{decimals}f}")


def count(value: int | None) -> str:
    """Return a count with its thousands set apart."""
    return MISSING if value is None else f"{value:,}"


def one_in(value: float | None) -> str:
    """Return a rate as `1 in 12`; empty where that says nothing (0, or above two in five)."""
    if value is None or is_missing(value) or not 0 < value <= 0.4:
        return ""
    return f"1 in {round(1 / value):,}"


def minus(text: str) -> str:
    """Return a number's text with a true minus sign."""
    return text.replace("-", "−")


def plural(many: int, noun: str) -> str:
    """Return `1 attack`, `2 attacks`."""
    return f"{many:,} {noun}" if many == 1 else f"{many:,} {noun}s"


def in_words(items: list[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def short(text: Any, length: int = 28) -> str:
    """Return a text cut to a length, with an ellipsis where something is lost."""
    words = str(text)
    return words if len(words) <= length else f"{words[: length - 1]}…"


def quantity_name(quantity: str, unit: str) -> str:
    """Return a measured quantity with its unit once: `snr_db` in dB is `SNR, dB`."""
    name = quantity.removesuffix(f"_{unit.lower()}").replace("_", " ").replace("snr", "SNR")
    return f"{name}, {unit}" if unit else name


def layers_in_words(layers: Sequence[str]) -> str:
    """Return the names of a few layers; of more, the first and the last."""
    return in_words(list(layers)) if len(layers) <= MOST_LAYERS else f"{layers[0]} to {layers[-1]}"


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Return what decides an embedder's vectors, such as `mean over time; not normalised; heads 16`.

    What is empty is left out, and so are the layers, which have a column of their own.
    """
    said = [_setting(name, value) for name, value in settings.items() if name != "layers" and value not in (None, "", [], {})]
    return "; ".join(said)


def _setting(name: str, value: Any) -> str:
    if name == "pool" and str(value) in POOLS:
        return POOLS[value]
    if name == "normalise" and isinstance(value, bool):
        return "normalised first" if value else "not normalised"
    return f"{name.replace('_sha256', ' SHA-256').replace('_', ' ')} {_plain(value)}"


def _plain(value: Any) -> str:
    """Return a JSON value as it would be said, of a SHA-256 only the beginning."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    text = minus(f"{value:g}") if isinstance(value, float) else str(value)
    return f"{text[:12]}…" if re.fullmatch("[0-9a-f]{64}", text) else text
