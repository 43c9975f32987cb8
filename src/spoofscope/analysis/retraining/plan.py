"""A plan of a band-mask test: what is asked, of what, and how the answer will be judged, fixed before anything is trained.

A plan is a TOML file. Its digest is the SHA-256 of its canonical text (every key, defaults written out, in one order), so comments
and layout may change and nothing else. `register` writes the digest into the folder of the run first; a folder that holds another
plan is refused.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from spoofscope.errors import RecipeError, RunFolderError
from spoofscope.storage import write_text
from spoofscope.training.trainables import trainable
from spoofscope.trials import Trials

FORMAT = 1

MaskedAt: TypeAlias = Literal["training", "training and test"]
Measure: TypeAlias = Literal["eer", "auc"]
Direction: TypeAlias = Literal["narrows", "widens"]


class Band(NamedTuple):
    """A band of the spectrum, in hertz."""

    low_hz: float
    high_hz: float

    @property
    def width_hz(self) -> float:
        """How much of the spectrum it takes."""
        return self.high_hz - self.low_hz

    def overlaps(self, other: Band) -> bool:
        """Whether the two share any frequency but an edge."""
        return self.low_hz < other.high_hz and other.low_hz < self.high_hz


USABLE = Band(100.0, 7000.0)
NARROWEST_HZ = 200.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A band-mask test.

    Parameters
    ----------
    hypothesis : str
        What is expected, in words.
    detectors : tuple of str
        What is trained: `lfcc_gmm`, `lfcc_cnn`, `logmel_cnn`.
    held : tuple of tuple of str
        Groups of values of `held_by`; each group in turn is left out of training as a whole.
    held_by : str
        The column: family, attack, vocoder ...
    target : "most contrast" or (low_hz, high_hz)
        The band that is masked: where the training attacks that are not held out differ most from bona fide speech, or a fixed one.
    control : "least contrast" or (low_hz, high_hz)
        The control, as wide as the target and apart from it: where they differ least, or a fixed one.
    width_hz : float
        Width of located bands, in hertz; 0 if both are fixed.
    range_hz : (float, float)
        Where bands may be located: the part of the spectrum that the recordings fill.
    masked_at : {"training and test", "training"}
        What passes the mask. With "training", the test holds a band that training never heard.
    measure : {"eer", "auc"}
        The error whose gap is compared: equal error rate, or 1 - area under the ROC curve.
    direction : {"narrows", "widens"}
        What the target mask is expected to do to the gap, compared with the control mask.
    sides : {1, 2}
        A one-sided or two-sided test.
    seeds : tuple of int
        One training each; at least two, so that chance in training is part of the interval.
    steps : int
        Updates of a network's weights.
    replicates, level
        Bootstrap replicates, and coverage of the intervals; 1 - level is the error rate of the test.
    """

    hypothesis: str
    detectors: tuple[str, ...]
    held: tuple[tuple[str, ...], ...]
    held_by: str = "family"
    target: Literal["most contrast"] | Band = "most contrast"
    control: Literal["least contrast"] | Band = "least contrast"
    width_hz: float = 0.0
    range_hz: Band = USABLE
    masked_at: MaskedAt = "training and test"
    measure: Measure = "eer"
    direction: Direction = "narrows"
    sides: int = 1
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 200
    replicates: int = 2000
    level: float = 0.95

    def __post_init__(self) -> None:
        if not self.hypothesis.strip():
            raise RecipeError("the plan's hypothesis is empty; say in a sentence what is expected")
        for name in self.detectors:
            trainable(name)
        for name, values in (("detectors", self.detectors), ("held", self.held), ("seeds", self.seeds)):
            least = 2 if name == "seeds" else 1
            if len(values) < least or len(set(values)) < len(values):
                raise RecipeError(f"the plan's {name} are {list(values)}; at least {least} are needed, and none twice")
        if not all(self.held):
            raise RecipeError("the plan holds out a group without values; every group of held names at least one")
        for name, words in (("masked_at", MaskedAt), ("measure", Measure), ("direction", Direction)):
            if getattr(self, name) not in get_args(words):
                raise RecipeError(f"the plan's {name} is '{getattr(self, name)}'; it must be {' or '.join(get_args(words))}")
        if self.sides not in (1, 2):
            raise RecipeError(f"the plan's sides are {self.sides}; a test has 1 or 2")
        if not 0 < self.level < 1:
            raise RecipeError(f"the plan's level is {self.level}; it is a coverage between 0 and 1, such as 0.95")
        # No p is below sides / (1 + replicates), and Holm multiplies the smallest by the number of detectors.
        enough = math.ceil(len(self.detectors) * self.sides / (1 - self.level) - 1e-9) - 1
        for name, found, low in (
            ("steps", self.steps, 1),
            ("seeds", min(self.seeds), 0),
            ("replicates", self.replicates, enough),
        ):
            if found < low:
                why = ", or no result could support the hypothesis" if name == "replicates" else ""
                raise RecipeError(f"the plan's {name}: {found} is given; at least {low} is needed{why}")
        self._check_bands()

    def _check_bands(self) -> None:
        for name in ("target", "control", "range_hz"):
            band = getattr(self, name)
            if isinstance(band, Band) and not 0 <= band.low_hz < band.high_hz:
                raise RecipeError(f"the plan's {name} is {list(band)}; a band is [low_hz, high_hz] with 0 <= low_hz < high_hz")
        widths = {band.width_hz for band in (self.target, self.control) if isinstance(band, Band)}
        widths |= {self.width_hz} - {0.0}
        if len(widths) != 1:
            found = " and ".join(f"{width:g}" for width in sorted(widths)) or "none"
            raise RecipeError(
                f"the plan's bands need one width in hertz; found {found}. Give width_hz for located bands, and make fixed bands as wide"
            )
        located = isinstance(self.target, str) or isinstance(self.control, str)
        if located and not NARROWEST_HZ <= self.width < self.range_hz.width_hz:
            raise RecipeError(
                f"the plan's width is {self.width:g} Hz; a band that is located is at least {NARROWEST_HZ:g} Hz wide and fits into "
                f"range_hz, {list(self.range_hz)}"
            )
        if isinstance(self.target, Band) and isinstance(self.control, Band) and self.target.overlaps(self.control):
            raise RecipeError(f"the plan's target {list(self.target)} and control {list(self.control)} overlap")

    @property
    def width(self) -> float:
        """Width of both bands, in hertz."""
        fixed = [band.width_hz for band in (self.target, self.control) if isinstance(band, Band)]
        return fixed[0] if fixed else self.width_hz

    @property
    def text(self) -> str:
        """The canonical text: JSON, keys sorted, defaults written out."""
        return json.dumps({"format": FORMAT} | asdict(self), sort_keys=True, ensure_ascii=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_plan(path: str | Path) -> Plan:
    """Read a plan from a TOML file.

    Raises
    ------
    RecipeError
        If the file is missing or no TOML, a key is unknown (the nearest known one is named) or missing, or a value makes no sense.
    """
    try:
        keys = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the plan {path}: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    return plan_from(keys, where=str(path))


def plan_from(keys: Mapping[str, Any], *, where: str = "plan") -> Plan:
    """Build a plan from keys and values as TOML gives them, checking both.

    Raises
    ------
    RecipeError
        If a key is unknown or missing, or a value has the wrong type or makes no sense.
    """
    known = {item.name: item for item in fields(Plan)}
    for name in keys:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise RecipeError(f"{where}: unknown key '{name}'.{hint} Known: {', '.join(known)}.")
    missing = [name for name, item in known.items() if item.default is MISSING and name not in keys]
    if missing:
        raise RecipeError(f"{where}: the key '{missing[0]}' is missing; a plan must say {', '.join(missing)}")
    values = {}
    for name, value in keys.items():
        words, read = _READERS[name]
        try:
            values[name] = read(value)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"{where}: {name} is {value!r}; it must be {words}") from error
    return Plan(**values)


def register(plan: Plan, train: Trials, test: Trials, folder: Path) -> None:
    """Write `plan.json`, the plan with its digest and those of the trials, before anything is trained; or find it written.

    Raises
    ------
    RunFolderError
        If the folder holds another plan, or the same one for other trials.
    """
    trials = {side: {"name": set_.name, "digest": set_.digest()} for side, set_ in (("train", train), ("test", test))}
    record = {"digest": plan.digest, "plan": json.loads(plan.text), **trials}
    path = folder / "plan.json"
    if not path.exists():
        write_text(json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n", path)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        digest = str(found["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"cannot read the plan registered in {path} ({error}). Choose another folder.") from error
    if digest != plan.digest:
        raise RunFolderError(
            f"{path} registers the plan {digest[:12]}, and this is the plan {plan.digest[:12]}. A plan is not changed after it was "
            "registered: restore it, or choose another folder for the other plan."
        )
    if found != record:
        raise RunFolderError(
            f"{path} registers the plan {digest[:12]} for other trials ({_named(found)}) than these ({_named(record)}). "
            "Choose another folder for other trials."
        )


def _named(record: Mapping[str, Any]) -> str:
    sides = (record.get(side, {}) for side in ("train", "test"))
    return "; ".join(f"{side.get('name')} {str(side.get('digest'))[:12]}" for side in sides)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(value)
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _band(value: Any) -> Band:
    low_hz, high_hz = (_number(edge) for edge in _list(value))
    return Band(low_hz, high_hz)


def _band_or(word: str) -> tuple[str, Any]:
    def read(value: Any) -> Any:
        return value if value == word else _band(value)

    return f"'{word}' or [low_hz, high_hz]", read


_TEXT = ("a text", _text)
_NUMBER = ("a number", _number)
_WHOLE = ("a whole number", _whole)
_READERS: dict[str, tuple[str, Any]] = {
    "hypothesis": _TEXT,
    "detectors": ("a list of texts", lambda value: tuple(_text(item) for item in _list(value))),
    "held": (
        "a list of lists of texts",
        lambda value: tuple(tuple(_text(word) for word in _list(group)) for group in _list(value)),
    ),
    "held_by": _TEXT,
    "target": _band_or("most contrast"),
    "control": _band_or("least contrast"),
    "width_hz": _NUMBER,
    "range_hz": ("[low_hz, high_hz]", _band),
    "masked_at": _TEXT,
    "measure": _TEXT,
    "direction": _TEXT,
    "sides": _WHOLE,
    "seeds": ("a list of whole numbers", lambda value: tuple(_whole(item) for item in _list(value))),
    "steps": _WHOLE,
    "replicates": _WHOLE,
    "level": _NUMBER,
}
