"""Which part of a recording is active: the frames that a signal-to-noise ratio is taken over.

Conventions
-----------
The recording is cut into frames of 20 ms. A frame is active when its mean power is at most 30 dB below that of the
loudest frame; samples after the last whole frame belong to it. A recording shorter than a frame is one frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio

FRAME_S = 0.020
ACTIVE_RANGE_DB = 30.0


def active_samples(audio: Audio, sample_rate: int) -> NDArray[np.bool_]:
    """Return a mask, (n,), of the samples in active frames; all False for silence."""
    frame = min(len(audio), max(1, round(FRAME_S * sample_rate)))
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame)
    power = np.einsum("ij,ij->i", frames, frames) / frame
    loudest = power.max()
    active = (power >= loudest * 10 ** (-ACTIVE_RANGE_DB / 10)) & (power > 0)
    mask = np.repeat(active, frame)
    return np.concatenate([mask, np.full(len(audio) - len(mask), active[-1])])


def mean_power(audio: Audio, mask: NDArray[np.bool_]) -> float:
    """Mean square over the samples that `mask` selects; nan if it selects none."""
    chosen = audio[mask]
    return float(np.dot(chosen, chosen) / len(chosen)) if len(chosen) else float("nan")
