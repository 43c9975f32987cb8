"""G.711: the code of fixed telephone lines, 8 bits per sample at 8 kHz.

Conventions
-----------
The tables of ITU-T G.711 give decision values for the amplitude of a sample, the same for both signs. Here they are
applied to all 16 bits of the sample; an amplitude on a decision value takes the outer interval. So the code is odd:
decode(encode(-x)) = -decode(encode(x)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio, resample, same_length
from spoofscope.degradations import degradation
from spoofscope.degradations._settings import require_one_of

Law: TypeAlias = Literal["mu", "a"]

LINE_RATE = 8_000
MU_BIAS = 132
MU_CLIP = 32_635
A_INVERTED_BITS = 0x55
SEGMENT_STARTS = (256, 512, 1024, 2048, 4096, 8192, 16_384)


@degradation("g711", version=1)
@dataclass(frozen=True, kw_only=True)
class G711:
    """Resample to 8 kHz, pass through G.711's segmented code, and come back; without delay.

    Parameters
    ----------
    law : {"mu", "a"}
        mu-law (North America, Japan) or A-law (elsewhere).

    References
    ----------
    ITU-T Recommendation G.711 (11/1988), tables 1a/1b (A-law) and 2a/2b (mu-law).
    """

    law: Law = "mu"

    def __post_init__(self) -> None:
        require_one_of("g711", "law", self.law, get_args(Law))

    @property
    def label(self) -> str:
        """Words for a figure's axis."""
        return "G.711 mu-law" if self.law == "mu" else "G.711 A-law"

    @property
    def passband_hz(self) -> tuple[float, float]:
        """What the line carries."""
        return 0.0, LINE_RATE / 2

    def library(self) -> dict[str, str]:
        """Versions of everything that decides the samples."""
        import soxr

        return {"soxr": str(soxr.__libsoxr_version__)}

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Return the sound as it leaves the line, at `sample_rate` again."""
        line = resample(audio, sample_rate, LINE_RATE)
        linear = np.clip(np.rint(line * 32_768), -32_768, 32_767).astype(np.int16)
        heard = _round_trip(self.law)[linear.view(np.uint16)]
        return same_length(resample(heard, LINE_RATE, sample_rate), len(audio))


def encode(linear: NDArray[np.int16], law: Law) -> NDArray[np.uint8]:
    """Return the 8-bit codes of 16-bit samples, (n,), as they travel on the line."""
    wide = linear.astype(np.int32)
    if law == "mu":
        amplitude = np.minimum(np.abs(wide), MU_CLIP) + MU_BIAS
        segment = np.searchsorted(SEGMENT_STARTS, amplitude, side="right")
        step = (amplitude >> (segment + 3)) & 15
        codes = ~((wide < 0) << 7 | segment << 4 | step) & 0xFF
    else:
        amplitude = np.minimum(np.abs(wide), 32_767)
        segment = np.searchsorted(SEGMENT_STARTS, amplitude, side="right")
        step = (amplitude >> (np.maximum(segment, 1) + 3)) & 15
        codes = ((wide >= 0) << 7 | segment << 4 | step) ^ A_INVERTED_BITS
    return np.asarray(codes, dtype=np.uint8)


def decode(codes: NDArray[np.uint8], law: Law) -> NDArray[np.int16]:
    """Return the 16-bit samples, (n,), that 8-bit codes stand for: the middle of each interval."""
    bits = (~codes if law == "mu" else codes ^ A_INVERTED_BITS).astype(np.int32)
    segment, step = bits >> 4 & 7, bits & 15
    if law == "mu":
        amplitude = (((step << 3) + MU_BIAS) << segment) - MU_BIAS
        negative = bits & 0x80 != 0
    else:
        amplitude = np.where(segment == 0, (step << 4) + 8, ((step << 4) + 264) << np.maximum(segment - 1, 0))
        negative = bits & 0x80 == 0
    return np.where(negative, -amplitude, amplitude).astype(np.int16)


@cache
def _round_trip(law: Law) -> Audio:
    """What each 16-bit sample becomes, (65,536,), indexed by its bits read as an unsigned number."""
    every = np.arange(65_536, dtype=np.uint16).view(np.int16)
    table = decode(encode(every, law), law).astype(np.float32) / np.float32(32_768)
    table.flags.writeable = False
    return table
