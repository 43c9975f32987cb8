"""Detectors: one file each. A detector says how bona fide each recording sounds.

The contract has no base class. Decorate a class whose constructor needs no argument (or takes only the keyword
arguments that its docstring lists, such as `device`; these become its options in a recipe), with one method::

    def score(self, batch: Sequence[Audio]) -> (n,) float32 array      # higher = more bona fide

`batch` holds one-dimensional float32 arrays at `card.sample_rate`, of any length above 0 (the loop has already fitted
them to `card.window_s`, but a direct caller may not have). The score of a recording may not depend on the rest of its batch.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding, fit_length
from spoofscope.errors import UserError
from spoofscope.registry import Registry, origin_of

Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Card:
    """What must be known of a detector before its scores mean anything.

    Parameters
    ----------
    name : str
        `architecture.weights`, such as `aasist.la19`.
    licence : str
        Licence of the weights.
    sample_rate : int
        Rate of the audio that it hears, in hertz.
    window_s : float or None
        Seconds that it hears, from the start of the recording; None for a whole recording.
    padding : {"repeat", "zero", "none"}
        How a shorter recording is filled up to the window.
    polarity : {"bonafide", "spoof"}
        The class that a *higher* raw output stands for. `"spoof"` is negated at the door, and the run records it.
    output : str
        What the score is: which logit, difference or probability.
    trained_on : tuple of str
        Corpora and protocols of its training; a detector audited on them is not being tested.
    paper, weights_url, weights_sha256, weights_file : str
        Where it comes from. Weights are verified by this SHA-256 before they are used; empty for a detector without.
    published : mapping of str to float
        Figures that its authors give, by the name of what was measured.
    note : str
        What a user must be told beside every result.
    """

    name: str
    licence: str
    sample_rate: int = SAMPLE_RATE
    window_s: float | None = None
    padding: Padding = "repeat"
    polarity: Literal["bonafide", "spoof"] = "bonafide"
    output: str = ""
    trained_on: tuple[str, ...] = ()
    paper: str = ""
    weights_url: str = ""
    weights_sha256: str = ""
    weights_file: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def fit(self, audio: Audio) -> Audio:
        """Return what this detector hears of a recording: its first `window_s` seconds, filled as the card says."""
        if self.window_s is None:
            return audio
        return fit_length(audio, round(self.window_s * self.sample_rate), padding=self.padding)


@runtime_checkable
class Detector(Protocol):
    """Anything that scores a batch of recordings; see the docstring of this module."""

    card: Card

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return one float32 score for each recording, higher meaning more bona fide."""
        ...


detectors: Registry[Callable[..., Detector]] = Registry("detector", "spoofscope.detectors")


def detector(card: Card) -> Callable[[Factory], Factory]:
    """Register a class, or a function that builds one, as the detector that `card` describes."""

    def register(factory: Factory) -> Factory:
        detectors.add(card.name, factory, origin=origin_of(factory))
        cards[card.name] = card
        if isinstance(factory, type):
            factory.card = card  # type: ignore[attr-defined]
        return factory

    return register


cards: dict[str, Card] = {}


def card_of(name: str) -> Card:
    """Return the card of the detector called `name`, without building it."""
    detectors.get(name)
    return cards[name]


class Flipped:
    """A detector whose raw output is higher for spoof, negated at the door; everything else is the detector's own."""

    flipped = True

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.card = detector.card

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return one float32 score for each recording, higher meaning more bona fide."""
        return -np.asarray(self._detector.score(batch), dtype=np.float32)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._detector, name)
        return (lambda trial_ids: -value(trial_ids)) if name == "lookup" else value


def build_detector(name: str, /, **options: Any) -> Detector:
    """Build the detector called `name` with its settings, its scores turned so that higher is more bona fide.

    Raises
    ------
    UnknownName
        If no detector has that name.
    UserError
        If an option is none of the detector's, or one that it needs is missing.
    """
    factory = detectors.get(name)
    parameters = inspect.signature(factory).parameters
    accepted = ", ".join(parameters) or "none"
    for option in options:
        if option not in parameters:
            near = difflib.get_close_matches(option, parameters, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UserError(f"detector {name} has no option '{option}'.{hint} Its options: {accepted}.")
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise UserError(f"detector {name} needs the option '{option}': {name}({option}=...). Its options: {accepted}.")
    built = factory(**options)
    return Flipped(built) if built.card.polarity == "spoof" else built


def identity(detector: Detector) -> dict[str, Any]:
    """Return all of a detector that decides its scores: part of the key that makes a score the same score.

    A detector whose scores depend on more than its card says so in an attribute `settings`, a mapping of JSON values.
    """
    card = detector.card
    return {
        "name": card.name,
        "weights_sha256": card.weights_sha256,
        "output": card.output,
        "sample_rate": card.sample_rate,
        "window_s": card.window_s,
        "padding": card.padding,
        "polarity": card.polarity,
        "precision": getattr(detector, "precision", "float32"),
        "settings": dict(getattr(detector, "settings", {})),
    }
