"""Gain: the same sound, louder or softer; what a detector ought not to notice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spoofscope.audio import Audio
from spoofscope.degradations import degradation
from spoofscope.degradations._settings import require_number


@degradation("gain", version=1, swept="gain_db")
@dataclass(frozen=True, kw_only=True)
class Gain:
    """Multiply by a constant; nothing is clipped, so samples may leave [-1, 1].

    Parameters
    ----------
    gain_db : float
        Change of level.
    """

    gain_db: float = -6.0

    def __post_init__(self) -> None:
        require_number("gain", "gain_db", self.gain_db, low=-100, high=60, unit="dB")

    @property
    def label(self) -> str:
        """Words for a figure's axis."""
        return f"gain {self.gain_db:+g} dB"

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Return the sound at its new level."""
        return audio * np.float32(10 ** (self.gain_db / 20))
