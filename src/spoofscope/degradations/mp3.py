"""MP3: what sharing, podcasting and upload do to a recording."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from spoofscope.audio import Audio, same_length
from spoofscope.degradations import degradation
from spoofscope.degradations._settings import require_one_of, require_whole
from spoofscope.errors import RecipeError

BITRATES_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128)
"""The bit rates of MPEG-2 layer III, the standard of 16, 22.05 and 24 kHz, up to 128 kb/s."""

SAMPLE_RATES = (16_000, 22_050, 24_000)
FAST = 7


@degradation("mp3", version=1, swept="bitrate_kbps")
@dataclass(frozen=True, kw_only=True)
class Mp3:
    """Encode to MP3 at a constant bit rate and decode again, in memory, with the codec's delay removed.

    Parameters
    ----------
    bitrate_kbps : int
        One of `BITRATES_KBPS`.
    lame_quality : int
        LAME's effort, from 0 (slowest) to 9. 7 is `lame -f`, without noise shaping; 3 is what `lame` and `ffmpeg` do
        unless told otherwise, at nearly twice the time.

    References
    ----------
    ISO/IEC 13818-3 (MPEG-2 audio): layer III at half the MPEG-1 sampling rates, with its table of bit rates.
    """

    bitrate_kbps: int = 32
    lame_quality: int = FAST

    def __post_init__(self) -> None:
        require_one_of("mp3", "bitrate_kbps", self.bitrate_kbps, BITRATES_KBPS)
        require_whole("mp3", "lame_quality", self.lame_quality, low=0, high=9, unit="")

    @property
    def label(self) -> str:
        """Words for a figure's axis."""
        effort = "" if self.lame_quality == FAST else f", q{self.lame_quality}"
        return f"MP3 {self.bitrate_kbps} kb/s{effort}"

    def library(self) -> dict[str, str]:
        """Versions of everything that decides the samples."""
        return dict(_library())

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Return the sound after the round trip, as long as before.

        Raises
        ------
        RecipeError
            If MPEG-2 layer III does not exist at `sample_rate`, or PyAV has no MP3 encoder.
        """
        if sample_rate not in SAMPLE_RATES:
            raise RecipeError(f"mp3: the sound is at {sample_rate} Hz; this degradation works at {SAMPLE_RATES} Hz")
        packets = _encode(audio, sample_rate, self.bitrate_kbps, self.lame_quality)
        delay = -packets[0].pts
        decoded = _decode(packets, sample_rate)
        return same_length(decoded[delay : delay + len(audio)], len(audio))


def _encode(audio: Audio, sample_rate: int, bitrate_kbps: int, lame_quality: int) -> list[Any]:
    import av

    try:
        encoder: Any = av.CodecContext.create("libmp3lame", "w")
    except av.codec.codec.UnknownCodecError as error:
        raise RecipeError(f"mp3: PyAV {av.__version__} was built without libmp3lame; install PyAV's own wheel") from error
    encoder.sample_rate = sample_rate
    encoder.layout = "mono"
    encoder.format = "fltp"
    encoder.bit_rate = bitrate_kbps * 1000
    encoder.time_base = Fraction(1, sample_rate)
    encoder.options = {"compression_level": str(lame_quality)}
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio, dtype=np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate = sample_rate
    frame.time_base = encoder.time_base
    frame.pts = 0
    return list(encoder.encode(frame) + encoder.encode(None))


def _decode(packets: list[Any], sample_rate: int) -> Audio:
    """Decode everything, the encoder's and decoder's delay included."""
    import av

    decoder: Any = av.CodecContext.create("mp3float", "r")
    # Whether the decoder skips the delay by itself depends on the version of FFmpeg; here it never does.
    decoder.flags2 |= av.codec.context.Flags2.skip_manual
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    assert all(frame.sample_rate == sample_rate for frame in frames)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


@cache
def _library() -> dict[str, str]:
    import av

    libavcodec = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return {"pyav": av.__version__, "libavcodec": libavcodec, "encoder": f"libmp3lame {_lame_version()}"}


def _lame_version() -> str:
    """Read LAME's version from its own stream: it fills unused bits with its name."""
    stream = b"".join(bytes(packet) for packet in _encode(np.zeros(16_000, dtype=np.float32), 16_000, 128, FAST))
    start = stream.find(b"LAME")
    return stream[start + 4 : start + 9].decode("ascii", "replace").rstrip("\x00U ") if start >= 0 else "of unknown version"
