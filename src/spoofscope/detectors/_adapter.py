"""What the adapters share: the card of a model whose polarity, window and training only its user knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

from spoofscope.audio import SAMPLE_RATE, Padding
from spoofscope.cards import Card
from spoofscope.errors import UserError

Polarity: TypeAlias = Literal["bonafide", "spoof"]


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
