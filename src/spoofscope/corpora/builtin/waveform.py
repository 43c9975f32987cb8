"""Edit the waveform itself: pitch-synchronous shift, splices, and genuine speech with a resynthesised part.

References
----------
E. Moulines, F. Charpentier, "Pitch-synchronous waveform processing techniques for text-to-speech synthesis using
diphones", Speech Communication 9, 1990.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE
from spoofscope.corpora.builtin.analysis import HOP, Analysis, Signal


def psola(speech: Analysis, *, factor: float) -> Signal:
    """F0 times `factor`, formants and length kept: two-period grains laid down at another spacing."""
    marks = _pitch_marks(speech)
    spacing = np.diff(marks, append=2 * marks[-1] - marks[-2]) if len(marks) > 1 else np.array([HOP])
    voiced = speech.f0_hz[np.minimum(marks // HOP, len(speech.f0_hz) - 1)] > 0
    n = len(speech)
    out, weight = np.zeros(n), np.full(n, 1e-3)
    at = float(marks[0])
    while at < n - 1:
        grain = int(np.argmin(np.abs(marks - at)))
        reach = int(max(spacing[grain], 16))
        low = max(-reach, -int(at), -int(marks[grain]))
        high = min(reach, n - int(at), n - int(marks[grain]))
        window = 0.5 + 0.5 * np.cos(np.pi * np.arange(low, high) / reach)
        out[int(at) + low : int(at) + high] += speech.audio[marks[grain] + low : marks[grain] + high] * window
        weight[int(at) + low : int(at) + high] += window
        at += spacing[grain] / (factor if voiced[grain] else 1.0)
    shifted: Signal = out / np.maximum(weight, 0.3)
    return shifted


def spliced(speech: Analysis, rng: np.random.Generator, *, pieces: int) -> Signal:
    """Cut the speech into `pieces` at random places, and join them in another order with hard edges."""
    n = len(speech)
    cuts = np.sort((np.arange(1, pieces) + rng.uniform(-0.3, 0.3, size=pieces - 1)) * n / pieces).astype(np.int64)
    parts = np.split(speech.audio, cuts)
    order = rng.permutation(pieces)
    while np.array_equal(order, np.arange(pieces)):
        order = rng.permutation(pieces)
    return np.concatenate([parts[part] for part in order])


def partly_replaced(genuine: Signal, fake: Signal, rng: np.random.Generator) -> Signal:
    """Replace 35 to 60 % of the recording, in two places, with 10 ms cross-fades."""
    n = len(genuine)
    share = rng.uniform(0.35, 0.6) / 2
    mask = np.zeros(n)
    for half in (0.0, 0.5):
        start = int((half + rng.uniform(0.02, 0.48 - share)) * n)
        mask[start : start + int(share * n)] = 1
    ramp = np.convolve(mask, np.full(160, 1 / 160), mode="same")
    mixed: Signal = genuine * (1 - ramp) + matched(fake, genuine) * ramp
    return mixed


def low_band_replaced(genuine: Signal, fake: Signal, *, crossover_hz: float) -> Signal:
    """Take what lies below the crossover from `fake` and the rest from `genuine`."""
    from scipy.signal import fftconvolve, firwin

    low_pass = firwin(257, crossover_hz, fs=SAMPLE_RATE)
    mixed: Signal = genuine + fftconvolve(matched(fake, genuine) - genuine, low_pass, mode="same")
    return mixed


def matched(fake: Signal, genuine: Signal) -> Signal:
    """Scale `fake` to the root mean square of `genuine`."""
    scaled: Signal = fake * np.sqrt((np.mean(genuine**2) + 1e-12) / (np.mean(fake**2) + 1e-12))
    return scaled


def _pitch_marks(speech: Analysis) -> NDArray[np.int64]:
    """One sample per period: the largest peak near where the fundamental's phase says; every 5 ms where unvoiced."""
    magnitude = np.abs(speech.audio)
    marks: list[int] = []
    at, n = 0, len(speech)
    while at < n:
        f0 = speech.f0_hz[min(at // HOP, len(speech.f0_hz) - 1)]
        if f0 > 0:
            period = int(SAMPLE_RATE / f0)
            start = max(at - period // 5, marks[-1] + period // 2 if marks else 0)
            stop = max(at + period // 5, start + 1)
            at = start + int(np.argmax(magnitude[start:stop])) if start < n else at
            marks.append(min(at, n - 1))
            at += period
        else:
            marks.append(at)
            at += HOP
    return np.unique(np.array(marks, dtype=np.int64))
