"""Cut a recording into windows, and pool the scores of the windows into one.

Windowed scoring is how a detector listens to a stream. It is a way to infer, not a degradation: the audio is untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.errors import RecipeError

Pool: TypeAlias = Literal["mean", "min", "max", "last"]
Tail: TypeAlias = Literal["keep", "drop"]


class Window(NamedTuple):
    """One stretch of a recording and the second at which it ends."""

    audio: Audio
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How to listen in windows.

    Parameters
    ----------
    window_s : float
        Length of a window, in seconds.
    hop_s : float, optional
        Seconds between the starts of two windows; `window_s` (no overlap) unless given.
    pool : {"mean", "min", "max", "last"}
        How the scores of the windows become the score of the recording.
    tail : {"keep", "drop"}
        Whether the shorter window that ends the recording is scored. `"drop"` discards the end of every recording,
        as the reference study did; one shorter than a window is always heard whole.
    """

    window_s: float
    hop_s: float | None = None
    pool: Pool = "mean"
    tail: Tail = "keep"

    def __post_init__(self) -> None:
        if not self.window_s > 0:
            raise RecipeError(f"window_s is {self.window_s}; a window must last longer than 0 s")
        if self.hop_s is not None and not 0 < self.hop_s <= self.window_s:
            raise RecipeError(f"hop_s is {self.hop_s}; it must be above 0 and at most window_s ({self.window_s})")
        if self.pool not in get_args(Pool):
            raise RecipeError(f"pool is '{self.pool}'; it must be one of {', '.join(get_args(Pool))}")
        if self.tail not in get_args(Tail):
            raise RecipeError(f"tail is '{self.tail}'; it must be one of {', '.join(get_args(Tail))}")

    def cut(self, audio: Audio, sample_rate: int) -> list[Window]:
        """Cut one recording; the answer is never empty and, with `tail="keep"`, covers every sample."""
        length = max(1, round(self.window_s * sample_rate))
        hop = length if self.hop_s is None else max(1, round(self.hop_s * sample_rate))
        if len(audio) <= length:
            return [Window(audio, len(audio) / sample_rate)]
        starts = list(range(0, len(audio) - length + 1, hop))
        if self.tail == "keep" and starts[-1] + length < len(audio):
            starts.append(starts[-1] + hop)
        return [Window(audio[at : at + length], min(at + length, len(audio)) / sample_rate) for at in starts]


def pool_scores(scores: NDArray[np.float32], pool: Pool) -> np.float32:
    """Return the score of a recording from the scores of its windows, in order of time."""
    return np.float32(running_scores(scores, pool)[-1])


def running_scores(scores: NDArray[np.float32], pool: Pool) -> NDArray[np.float64]:
    """Return the pooled score as it stood after each window: what a stream's listener would have said by then."""
    values = np.asarray(scores, dtype=np.float64)
    if pool == "mean":
        return np.asarray(np.cumsum(values) / np.arange(1, len(values) + 1))
    if pool == "min":
        return np.minimum.accumulate(values)
    if pool == "max":
        return np.maximum.accumulate(values)
    return values
