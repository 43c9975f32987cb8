"""Band mask: one band of the spectrum taken out, to ask whether a detector needs it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.degradations import degradation
from spoofscope.degradations._settings import require_number
from spoofscope.errors import RecipeError

TRANSITION_HZ = 50.0
DESIGN_DB = 110.0


@degradation("band_mask", version=1)
@dataclass(frozen=True, kw_only=True)
class BandMask:
    """Take out everything between two frequencies, without delay.

    A linear-phase FIR band-stop whose delay is cut off. From `low_hz` to `high_hz` the gain is below -100 dB; from 50 Hz outside
    it is 1 within 0.001 dB. The filter reaches 71 ms to either side. Deep attenuation matters: to a detector that hears
    log-energies, a band that is merely lowered is a band that is still there.

    Parameters
    ----------
    low_hz, high_hz : float
        The band. 0 for `low_hz` takes out everything below `high_hz`; half the sample rate or more for `high_hz`
        everything above `low_hz`.

    References
    ----------
    J. F. Kaiser: Nonrecursive Digital Filter Design Using the I0-sinh Window Function. IEEE ISCAS 1974.
    """

    low_hz: float = 3000.0
    high_hz: float = 5000.0

    def __post_init__(self) -> None:
        require_number("band_mask", "low_hz", self.low_hz, low=0, high=96_000, unit="Hz")
        require_number("band_mask", "high_hz", self.high_hz, low=1, high=96_000, unit="Hz")
        if self.low_hz >= self.high_hz:
            raise RecipeError(
                f"band_mask: low_hz is {self.low_hz:g} and high_hz {self.high_hz:g}; low_hz must be the lower one"
            )
        if 0 < self.low_hz < TRANSITION_HZ:
            raise RecipeError(
                f"band_mask: low_hz is {self.low_hz:g}; below {TRANSITION_HZ:g} Hz nothing could pass under the band, so give 0"
            )

    @property
    def label(self) -> str:
        """Words for a figure's axis."""
        return f"without {self.low_hz:g}-{self.high_hz:g} Hz"

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Return the sound without the band.

        Raises
        ------
        RecipeError
            If the band leaves nothing of sound at this sample rate, or lies beyond it.
        """
        from scipy.signal import oaconvolve

        top_hz = sample_rate / 2
        if self.low_hz >= top_hz or (self.low_hz == 0 and self.high_hz + TRANSITION_HZ >= top_hz):
            found = "lies beyond it" if self.low_hz else "takes out all of it"
            raise RecipeError(f"{self.label}: sound at {sample_rate} Hz ends at {top_hz:g} Hz, and the band {found}")
        taps = _design(self.low_hz, self.high_hz, sample_rate)
        return np.asarray(oaconvolve(audio.astype(np.float64), taps, mode="same"), dtype=np.float32)


@lru_cache(maxsize=64)
def _design(low_hz: float, high_hz: float, sample_rate: int) -> NDArray[np.float64]:
    """Taps of the band-stop, an odd number: a unit impulse less the difference of two windowed low-passes."""
    width = TRANSITION_HZ / sample_rate
    reach = int(np.ceil((DESIGN_DB - 7.95) / (14.36 * width) / 2))
    place = np.arange(-reach, reach + 1)
    window = np.kaiser(2 * reach + 1, 0.1102 * (DESIGN_DB - 8.7))

    def low_pass(cutoff_hz: float) -> NDArray[np.float64]:
        cutoff = 2 * min(max(cutoff_hz / sample_rate, 0.0), 0.5)
        return np.asarray(cutoff * np.sinc(cutoff * place) * window)

    taps = low_pass(low_hz - TRANSITION_HZ / 2) - low_pass(high_hz + TRANSITION_HZ / 2)
    taps[reach] += 1.0
    return taps
