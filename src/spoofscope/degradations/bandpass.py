"""Band-pass: a channel that carries only part of the spectrum, as a telephone line does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.degradations import degradation
from spoofscope.degradations._settings import require_number, require_whole
from spoofscope.errors import RecipeError

ORDER = 6


@degradation("bandpass", version=1)
@dataclass(frozen=True, kw_only=True)
class Bandpass:
    """Filter with a causal Butterworth band-pass.

    The filter runs forward once, from rest, like a real line. So it delays the sound by its group delay: with the
    default settings 0.3 ms from 1 to 3 kHz, and up to 4 ms at the lower edge.

    Parameters
    ----------
    low_hz, high_hz : float
        Frequencies at which the gain is -3 dB.
    order : int
        Order of the low-pass prototype: scipy's argument `N`. The band-pass falls by 6 dB per octave and order on each
        side, and has twice as many poles.
    """

    low_hz: float = 300.0
    high_hz: float = 3400.0
    order: int = ORDER

    causal = True

    def __post_init__(self) -> None:
        require_number("bandpass", "low_hz", self.low_hz, low=1, high=96_000, unit="Hz")
        require_number("bandpass", "high_hz", self.high_hz, low=1, high=96_000, unit="Hz")
        require_whole("bandpass", "order", self.order, low=1, high=12, unit="")
        if self.low_hz >= self.high_hz:
            raise RecipeError(f"bandpass: low_hz is {self.low_hz:g} and high_hz {self.high_hz:g}; low_hz must be the lower one")

    @property
    def label(self) -> str:
        """Words for a figure's axis."""
        order = "" if self.order == ORDER else f", order {self.order}"
        return f"band-pass {self.low_hz:g}-{self.high_hz:g} Hz{order}"

    @property
    def passband_hz(self) -> tuple[float, float]:
        """What the channel carries."""
        return self.low_hz, self.high_hz

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Return the filtered sound.

        Raises
        ------
        RecipeError
            If `high_hz` is not below half of `sample_rate`.
        """
        from scipy.signal import sosfilt

        if self.high_hz >= sample_rate / 2:
            raise RecipeError(
                f"bandpass: high_hz is {self.high_hz:g}; sound at {sample_rate} Hz ends at {sample_rate / 2:g} Hz, so give less"
            )
        sections = _design(self.low_hz, self.high_hz, self.order, sample_rate)
        return np.asarray(sosfilt(sections, audio.astype(np.float64)), dtype=np.float32)


@lru_cache(maxsize=64)
def _design(low_hz: float, high_hz: float, order: int, sample_rate: int) -> NDArray[np.float64]:
    from scipy.signal import butter

    sections: NDArray[np.float64] = butter(order, [low_hz, high_hz], btype="bandpass", fs=sample_rate, output="sos")
    return sections
