"""Resample: a passage through equipment of a lower sample rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spoofscope import audio as sound
from spoofscope.audio import Audio
from spoofscope.degradations import degradation
from spoofscope.degradations._settings import require_whole
from spoofscope.errors import RecipeError


@degradation("resample", version=1, swept="sample_rate_hz")
@dataclass(frozen=True, kw_only=True)
class Resample:
    """Go down to a lower sample rate and come back with soxr (HQ): a sharp low-pass without delay.

    Parameters
    ----------
    sample_rate_hz : int
        Rate in between; nothing above half of it survives.
    """

    sample_rate_hz: int = 8_000

    def __post_init__(self) -> None:
        require_whole("resample", "sample_rate_hz", self.sample_rate_hz, low=1_000, high=192_000, unit="Hz")

    @property
    def label(self) -> str:
        """Words for a figure's axis."""
        return f"resampled {self.sample_rate_hz / 1000:g} kHz"

    @property
    def passband_hz(self) -> tuple[float, float]:
        """What survives."""
        return 0.0, self.sample_rate_hz / 2

    def library(self) -> dict[str, str]:
        """Versions of everything that decides the samples."""
        import soxr

        return {"soxr": str(soxr.__libsoxr_version__)}

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Return the sound after the detour.

        Raises
        ------
        RecipeError
            If the rate in between is not the lower one: nothing would be lost.
        """
        if self.sample_rate_hz >= sample_rate:
            raise RecipeError(
                f"resample: sample_rate_hz is {self.sample_rate_hz} and the sound is at {sample_rate} Hz; give a lower rate"
            )
        low = sound.resample(audio, sample_rate, self.sample_rate_hz)
        return sound.same_length(sound.resample(low, self.sample_rate_hz, sample_rate), len(audio))
