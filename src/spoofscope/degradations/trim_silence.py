"""Trim silence: take away the quiet before and after speech, a shortcut that detectors are known to lean on.

References
----------
N. M. Mueller et al., "Speech is Silver, Silence is Golden: What do ASVspoof-trained Models Really Learn?", ASVspoof
workshop 2021: the length of leading silence alone tells many spoofs of ASVspoof 2019 from bona fide speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.degradations import degradation
from spoofscope.degradations._settings import require_number, require_one_of

Side: TypeAlias = Literal["both", "lead", "trail"]

FRAME_S = 0.128
HOP_S = 0.032


@degradation("trim_silence", version=1, swept="top_db", keeps_length=False)
@dataclass(frozen=True, kw_only=True)
class TrimSilence:
    """Cut from each end what is quieter than the loudest moment by more than `top_db`.

    Level is taken over frames of 128 ms every 32 ms, centred, as `librosa.effects.trim` does at 16 kHz by default.
    A recording that is silent throughout stays as it is.

    Parameters
    ----------
    top_db : float
        Range below the loudest frame that is kept; less trims more.
    side : {"both", "lead", "trail"}
        Which end is trimmed.
    """

    top_db: float = 30.0
    side: Side = "both"

    def __post_init__(self) -> None:
        require_number("trim_silence", "top_db", self.top_db, low=1, high=120, unit="dB")
        require_one_of("trim_silence", "side", self.side, get_args(Side))

    @property
    def label(self) -> str:
        """Words for a figure's axis."""
        where = {"both": "silence", "lead": "leading silence", "trail": "trailing silence"}[self.side]
        return f"{where} trimmed at -{self.top_db:g} dB"

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Return the part that is kept, at least one sample."""
        hop = max(1, round(HOP_S * sample_rate))
        power = _frame_powers(audio, max(2, round(FRAME_S * sample_rate)), hop)
        loud = np.flatnonzero(power > power.max() * 10 ** (-self.top_db / 10))
        if len(loud) == 0:
            return audio.copy()
        start = 0 if self.side == "trail" else int(loud[0]) * hop
        end = len(audio) if self.side == "lead" else min(len(audio), (int(loud[-1]) + 1) * hop)
        return audio[start:end].copy() if start < end else audio.copy()


def _frame_powers(audio: Audio, frame: int, hop: int) -> NDArray[np.float64]:
    """Mean square of frames centred at every `hop` samples from 0, zeros standing beyond the ends."""
    total = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    centres = np.arange(0, len(audio) + 1, hop)
    first = np.maximum(centres - frame // 2, 0)
    last = np.minimum(centres - frame // 2 + frame, len(audio))
    return np.asarray((total[last] - total[first]) / frame)
