"""Noise: a stationary background added at a stated signal-to-noise ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from spoofscope.audio import Audio
from spoofscope.degradations import degradation
from spoofscope.degradations._activity import active_samples, mean_power
from spoofscope.degradations._settings import require_number, require_one_of
from spoofscope.errors import AudioError

Kind: TypeAlias = Literal["white", "pink"]
Over: TypeAlias = Literal["active", "file"]

PINK_FLOOR_HZ = 20.0


@degradation("noise", version=1, swept="snr_db")
@dataclass(frozen=True, kw_only=True)
class Noise:
    """Add Gaussian noise, another one for every trial; the sum is neither clipped nor scaled.

    Parameters
    ----------
    kind : {"white", "pink"}
        Equal power per hertz, or per octave (above 20 Hz).
    snr_db : float
        Power of the sound over power of the noise, both taken over the same samples, so that it holds exactly.
    over : {"active", "file"}
        Which samples: those of the active part (20 ms frames at most 30 dB below the loudest one), or all.
    """

    kind: Kind = "white"
    snr_db: float = 20.0
    over: Over = "active"

    def __post_init__(self) -> None:
        require_one_of("noise", "kind", self.kind, get_args(Kind))
        require_number("noise", "snr_db", self.snr_db, low=-40, high=100, unit="dB")
        require_one_of("noise", "over", self.over, get_args(Over))

    @property
    def label(self) -> str:
        """Words for a figure's axis."""
        where = " (file)" if self.over == "file" else ""
        return f"{self.kind} noise {self.snr_db:g} dB{where}"

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Return the sound with noise added.

        Raises
        ------
        AudioError
            If every sample is zero: silence has no signal-to-noise ratio.
        """
        mask = active_samples(audio, sample_rate)
        if not mask.any():
            raise AudioError("the recording is silent (every sample is 0), so no signal-to-noise ratio exists; leave it out")
        if self.over == "file":
            mask = np.ones(len(audio), dtype=bool)
        noise = rng.standard_normal(len(audio), dtype=np.float32)
        if self.kind == "pink":
            noise = _coloured_pink(noise, sample_rate)
        ratio = mean_power(audio, mask) / mean_power(noise, mask)
        return audio + noise * np.float32(np.sqrt(ratio) * 10 ** (-self.snr_db / 20))


def _coloured_pink(white: Audio, sample_rate: int) -> Audio:
    """Shape white noise to a power that falls as 1/f, flat below `PINK_FLOOR_HZ` so that a long clip does not drift."""
    from scipy import fft

    size = fft.next_fast_len(len(white), real=True)
    hertz = np.arange(size // 2 + 1, dtype=np.float32) * np.float32(sample_rate / size)
    spectrum = fft.rfft(white, size) / np.sqrt(np.maximum(hertz, np.float32(PINK_FLOOR_HZ)))
    return np.asarray(fft.irfft(spectrum, size)[: len(white)], dtype=np.float32)
