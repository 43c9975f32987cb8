"""The card of a model: what must be known of a detector or an embedder, and what of it decides its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from spoofscope.audio import SAMPLE_RATE, Audio, Padding, fit_length
from spoofscope.errors import UserError
from spoofscope.registry import Registry, origin_of

T = TypeVar("T")
Factory = TypeVar("Factory", bound=Callable[..., Any])

Polarity: TypeAlias = Literal["bonafide", "spoof"]


class WeightsFile(NamedTuple):
    """One published file of a model: which model's, its address, its SHA-256, and its name on this machine."""

    name: str
    weights_url: str
    weights_sha256: str
    weights_file: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """What must be known of a detector before its scores mean anything, and of an embedder before its vectors do.

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
        What the score is: which logit, difference or probability; of an embedder, what the vectors are.
    trained_on : tuple of str
        Corpora and protocols of its training; a detector audited on them is not being tested.
    paper, weights_url, weights_sha256, weights_file : str
        Where it comes from. Weights are verified by this SHA-256 before they are used; empty for a model without.
    parts : tuple of WeightsFile
        Further files that it needs, each verified like the first.
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
    polarity: Polarity = "bonafide"
    output: str = ""
    trained_on: tuple[str, ...] = ()
    paper: str = ""
    weights_url: str = ""
    weights_sha256: str = ""
    weights_file: str = ""
    parts: tuple[WeightsFile, ...] = ()
    published: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def fit(self, audio: Audio) -> Audio:
        """Return what this model hears of a recording: its first `window_s` seconds, filled as the card says."""
        if self.window_s is None:
            return audio
        return fit_length(audio, round(self.window_s * self.sample_rate), padding=self.padding)


class Models(Registry[T]):
    """A room of models: what builds each, and its card."""

    def __init__(self, kind: str, room: str) -> None:
        super().__init__(kind, room)
        self.cards: dict[str, Card] = {}

    def register(self, card: Card) -> Callable[[Factory], Factory]:
        """Register a class, or a function that builds one, as the model that `card` describes: a decorator."""

        def register(factory: Factory) -> Factory:
            self.add(card.name, factory, origin=origin_of(factory))  # type: ignore[arg-type]
            self.cards[card.name] = card
            if isinstance(factory, type):
                factory.card = card  # type: ignore[attr-defined]
            return factory

        return register

    def card_of(self, name: str) -> Card:
        """Return the card of the model called `name`, without building it."""
        self.get(name)
        return self.cards[name]


def adapter_card(
    name: str,
    *,
    output: str,
    polarity: Polarity = "bonafide",
    sample_rate: int = SAMPLE_RATE,
    window_s: float | None = None,
    padding: Padding = "repeat",
    trained_on: Sequence[str] = (),
    **facts: Any,
) -> Card:
    """Return the card of a model that its user describes.

    Parameters
    ----------
    name : str
        What the model is called in tables.
    output : str
        What the score is.
    polarity : {"bonafide", "spoof"}
        The class that a higher raw output stands for.
    sample_rate : int
        Rate of the audio that it is given, in hertz.
    window_s : float, optional
        Seconds that it is given, from the start; the whole recording unless given.
    padding : {"repeat", "zero", "none"}
        How a shorter recording is filled up to the window.
    trained_on : sequence of str
        Corpora that it was trained on.
    **facts
        Further fields of the card, such as `weights_sha256`.

    Raises
    ------
    UserError
        If a word is none of those allowed, or a number makes no sense.
    """
    if polarity not in get_args(Polarity):
        raise UserError(f"polarity is '{polarity}'; say which class a higher score stands for: bonafide or spoof")
    if padding not in get_args(Padding):
        raise UserError(f"padding is '{padding}'; it must be one of {', '.join(get_args(Padding))}")
    if sample_rate < 1:
        raise UserError(f"sample_rate is {sample_rate}; it is a number of hertz, such as {SAMPLE_RATE}")
    if window_s is not None and not window_s > 0:
        raise UserError(f"window_s is {window_s}; a window lasts longer than 0 s (None for the whole recording)")
    return Card(
        name=name,
        licence="",
        output=output,
        polarity=polarity,
        sample_rate=sample_rate,
        window_s=window_s,
        padding=padding,
        trained_on=tuple(trained_on),
        **facts,
    )


def identity(model: Any) -> dict[str, Any]:
    """Return all of a detector or embedder that decides its answers: part of the key that makes a score the same score.

    A model whose answers depend on more than its card says so in an attribute `settings`, a mapping of JSON values.
    """
    card: Card = model.card
    return {
        "name": card.name,
        "weights_sha256": card.weights_sha256,
        "output": card.output,
        "sample_rate": card.sample_rate,
        "window_s": card.window_s,
        "padding": card.padding,
        "polarity": card.polarity,
        "precision": getattr(model, "precision", "float32"),
        "settings": dict(getattr(model, "settings", {})),
    }
