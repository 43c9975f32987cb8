"""Conditions: named chains of degradations, and grids of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from spoofscope.audio import Audio
from spoofscope.degradations import Degradation, degradations, settings_of
from spoofscope.errors import RecipeError, UnknownName
from spoofscope.recipe import Call, parse_expression
from spoofscope.windows import Windows

NAMED = {"telephony": "bandpass(300, 3400, 6) + g711('mu')"}

GRIDS: dict[str, tuple[str, ...]] = {
    "quick": (
        *(f"mp3({rate})" for rate in (64, 16)),
        "telephony",
        *(f"noise('white', {snr})" for snr in (20, 10, 0)),
        "resample(8000)",
        "trim_silence",
        *(f"windows({seconds})" for seconds in (2, 1, 0.5)),
    ),
    "standard": (
        *(f"mp3({rate})" for rate in (128, 64, 32, 16, 8)),
        "bandpass(300, 3400, 6)",
        "g711('mu')",
        "g711('a')",
        "telephony",
        *(f"noise('white', {snr})" for snr in (30, 20, 10, 5, 0)),
        *(f"noise('pink', {snr})" for snr in (30, 20, 10, 5, 0)),
        *(f"resample({rate})" for rate in (12000, 8000, 6000)),
        *(f"gain({gain})" for gain in (-20, -10, 10)),
        "trim_silence",
        *(f"windows({seconds})" for seconds in (4, 2, 1, 0.5)),
    ),
    "reference": (
        *(f"mp3({rate}, lame_quality=3)" for rate in (128, 64, 32, 16, 8)),
        "bandpass(300, 3400, 6)",
        "telephony",
        *(f"noise('white', {snr}, over='file')" for snr in (30, 20, 10, 5, 0)),
        "windows(4, tail='drop')",
        "windows(2, tail='drop')",
        "windows(2, 1.8, tail='drop')",
        "windows(0.5, tail='drop')",
    ),
}

_UNITS = {"_kbps": "kb/s", "_db": "dB", "_hz": "Hz", "_s": "s"}


@dataclass(frozen=True)
class Condition:
    """A name, a chain of degradations, and how the answer is listened to; `clean` is the empty chain heard at once.

    Attributes
    ----------
    name : str
        The expression that it was made from.
    label : str
        A few words for a figure.
    family, level, unit : str, float or None, str
        The sweep that it belongs to, where on it, and in what unit; empty where it is on none.
    """

    name: str
    chain: tuple[Degradation, ...] = ()
    windows: Windows | None = None
    label: str = ""
    family: str = ""
    level: float | None = None
    unit: str = ""

    def degrade(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Pass one recording through the chain."""
        for step in self.chain:
            audio = step(audio, sample_rate, rng)
        return audio

    def settings(self) -> dict[str, Any]:
        """All that decides what this condition does, versions and libraries included: its part of the key of a score."""
        return {
            "chain": [settings_of(step) for step in self.chain],
            "windows": asdict(self.windows) if self.windows else None,
        }

    def rng(self, seed: int, trial_id: str) -> np.random.Generator:
        """Return the stream of one trial: the same for any order, batch, worker, shard or resumption."""
        asked = [{"name": step.name} | {f.name: getattr(step, f.name) for f in fields(step)} for step in self.chain]  # type: ignore[arg-type]
        text = json.dumps([seed, asked, trial_id], sort_keys=True)
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


CLEAN = Condition("clean", label="clean")


def parse_condition(text: str) -> Condition:
    """Build a condition from an expression such as `mp3(32)`, `noise('pink', 10) + g711('a')` or `windows(2, 1.8)`.

    Raises
    ------
    RecipeError, UnknownName
        If the expression cannot be read, names no degradation, or a setting is unknown or out of range.
    """
    name = " ".join(text.split())
    if name == "clean":
        return CLEAN
    steps: list[Degradation] = []
    windows: Windows | None = None
    for call in parse_expression(NAMED.get(name, name)):
        if call.name == "windows":
            if windows is not None:
                raise RecipeError(f"'{text}' has windows twice")
            windows = Windows(**_options(call, Windows, text))
        elif call.name in NAMED:
            steps += parse_condition(call.name).chain
        elif windows is not None:
            raise RecipeError(f"'{text}' degrades after windows; put windows last")
        else:
            steps.append(_step(call, text))
    family, level, unit = _sweep(name, steps, windows)
    return Condition(name, tuple(steps), windows, _label(name, steps, windows), family, level, unit)


def parse_conditions(grid: str, expressions: Sequence[str]) -> list[Condition]:
    """Return clean, then the conditions of a named grid, then others, refusing to list one twice."""
    if grid and grid not in GRIDS:
        raise UnknownName(f"no grid is named '{grid}'. Known: {', '.join(GRIDS)}.")
    asked: Iterable[str] = (*GRIDS.get(grid, ()), *(text for text in expressions if text.strip() != "clean"))
    conditions = [CLEAN, *(parse_condition(text) for text in asked)]
    seen: dict[str, str] = {}
    for condition in conditions:
        same = seen.setdefault(json.dumps(condition.settings(), sort_keys=True), condition.name)
        if same != condition.name or sum(other.name == condition.name for other in conditions) > 1:
            raise RecipeError(f"'{same}' and '{condition.name}' are the same condition; list it once")
    return conditions


def _step(call: Call, text: str) -> Degradation:
    try:
        kind = degradations.get(call.name)
    except UnknownName as error:
        raise UnknownName(f"{error} Also known: clean, windows, {', '.join(NAMED)}.") from None
    return kind(**_options(call, kind, text))


def _options(call: Call, kind: Any, text: str) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]
    if len(call.positional) > len(names):
        raise RecipeError(f"'{text}': {call.name} takes at most {len(names)} settings ({', '.join(names)})")
    options = dict(zip(names, call.positional, strict=False))
    for name, value in call.options.items():
        if name not in names:
            raise RecipeError(f"'{text}': {call.name} has no setting '{name}'; it has {', '.join(names) or 'none'}")
        if name in options:
            raise RecipeError(f"'{text}': {name} is given twice")
        options[name] = value
    return options


def _sweep(name: str, steps: Sequence[Degradation], windows: Windows | None) -> tuple[str, float | None, str]:
    if windows is not None and not steps:
        fixed = {"hop_s": windows.hop_s, "pool": windows.pool}
        extra = ", ".join(f"{key} {value}" for key, value in fixed.items() if value not in (None, "mean"))
        return f"windows ({extra})" if extra else "windows", windows.window_s, "s"
    if len(steps) == 1 and windows is None and steps[0].swept:
        step = steps[0]
        settings = [(at, getattr(step, field.name), field.default) for at, field in enumerate(fields(step))]  # type: ignore[arg-type]
        words = [value for at, value, default in settings if isinstance(value, str) and (at == 0 or value != default)]
        unit = next((unit for suffix, unit in _UNITS.items() if step.swept.endswith(suffix)), "")
        return " ".join([step.name, *words]), float(getattr(step, step.swept)), unit
    return (name if name in NAMED else ""), None, ""


def _label(name: str, steps: Sequence[Degradation], windows: Windows | None) -> str:
    if name in NAMED:
        return name
    words = [step.label for step in steps]
    if windows is not None:
        overlap = f", every {windows.hop_s:g} s" if windows.hop_s is not None else ""
        pool = f", {windows.pool}" if windows.pool != "mean" else ""
        words.append(f"{windows.window_s:g} s windows{overlap}{pool}")
    return " + ".join(words)
