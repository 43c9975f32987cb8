"""Which of a classifier's labels stands for bona fide: read where it is plain, asked where it is not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spoofscope.errors import UserError

BONAFIDE_WORDS = frozenset({"bonafide", "real", "genuine", "human", "authentic", "original", "live"})
SPOOF_WORDS = frozenset(
    {"spoof", "spoofed", "fake", "faked", "deepfake", "deepfaked", "synthetic", "synthesized", "synthesised", "generated", "ai"}
    | {"machine", "clone", "cloned", "artificial", "converted", "tts", "vc", "replay", "replayed", "fraud", "robot"}
)
NEGATIONS = frozenset({"not", "no", "non", "un"})


def bonafide_label(labels: Sequence[str], bonafide: str | int | None, *, name: str) -> int:
    """Return the number of the label that stands for bona fide.

    Parameters
    ----------
    labels : sequence of str
        One for each number that the classifier answers.
    bonafide : str, int or None
        The label, or its number; None to read it off the labels.
    name : str
        What to call the model in an error.

    Raises
    ------
    UserError
        If it is none of them, or none is given and not exactly one label is plainly bona fide; the message lists them.
    """
    listed = ", ".join(f"{number} '{label}'" for number, label in enumerate(labels))
    if bonafide is not None:
        return _asked(labels, bonafide, f"bonafide is {bonafide!r}, but the labels of {name} are {listed}. Give one of them.")
    plain = [number for number, label in enumerate(labels) if is_bonafide(label)]
    if len(plain) == 1:
        return plain[0]
    found = f"{len(plain)} of the labels of {name} are" if plain else f"no label of {name} is"
    raise UserError(
        f"{found} plainly bona fide: {listed}. Say which one is, by its name or its number, as in bonafide='{labels[-1]}' or "
        f"bonafide={len(labels) - 1}; the model's authors say it on its page."
    )


def _asked(labels: Sequence[str], bonafide: str | int, otherwise: str) -> int:
    if isinstance(bonafide, str):
        same = [number for number, label in enumerate(labels) if label == bonafide] or [
            number for number, label in enumerate(labels) if label.casefold() == bonafide.casefold()
        ]
        if len(same) == 1:
            return same[0]
    elif isinstance(bonafide, int) and not isinstance(bonafide, bool) and 0 <= bonafide < len(labels):
        return bonafide
    raise UserError(otherwise)


def is_bonafide(label: str) -> bool:
    """Tell whether a label plainly says bona fide: one of its words does, and none says spoof or not."""
    words = _words(label)
    return bool(words & BONAFIDE_WORDS) and not words & (SPOOF_WORDS | NEGATIONS)


def _words(label: str) -> set[str]:
    """Part a label into lower-case words: at spaces, signs, and the capitals of `HumanVoice` and `AIVoice`."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", label)
    text = " ".join(re.findall(r"[a-z]+", parted.casefold()))
    return set(re.sub(r"\bbona fide\b", "bonafide", text).split())
