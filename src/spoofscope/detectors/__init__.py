"""Detectors: one file each. A detector says how bona fide each recording sounds.

The contract has no base class. Decorate a class whose constructor needs no argument (or takes only the keyword
arguments that its docstring lists, such as `device`; these become its options in a recipe), with one method::

    def score(self, batch: Sequence[Audio]) -> (n,) float32 array      # higher = more bona fide

`batch` holds one-dimensional float32 arrays at `card.sample_rate`, of any length above 0 (the loop has already fitted
them to `card.window_s`, but a direct caller may not have). The score of a recording may not depend on the rest of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.cards import Card as Card
from spoofscope.cards import Models


@runtime_checkable
class Detector(Protocol):
    """Anything that scores a batch of recordings; see the docstring of this module."""

    card: Card

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return one float32 score for each recording, higher meaning more bona fide."""
        ...


detectors: Models[Callable[..., Detector]] = Models("detector", "spoofscope.detectors")
detector = detectors.register
card_of = detectors.card_of


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


def build_detector(name: str, /, *source: str, **options: Any) -> Detector:
    """Build the detector called `name` with its settings, its scores turned so that higher is more bona fide.

    `source` is what stands behind the colon of `onnx:model.onnx`: the first of the detector's options.

    Raises
    ------
    UnknownName
        If no detector has that name.
    UserError
        If an option is none of the detector's, or one that it needs is missing.
    """
    built: Detector = detectors.build(name, *source, **options)
    return Flipped(built) if built.card.polarity == "spoof" else built
