"""Make recordings of both classes alike in everything that is not speech, so that no detector wins by a shortcut."""

from __future__ import annotations

import numpy as np

from spoofscope.audio import SAMPLE_RATE, Audio
from spoofscope.corpora.builtin.analysis import Signal

FRAME = 160
LOW_CUT_HZ, HIGH_CUT_HZ = 80.0, 7000.0
GATE_DB = -28.0
"""Below this level (re the speech) a frame is a pause, and fades into the drawn background."""

CREST_DB = 11.5
LEVEL_DB = (-29.0, -21.0)
FLOOR_DB = (-42.0, -32.0)
SILENCE_S = (0.05, 0.3)
KEPT = (0.85, 1.0)
"""Ranges that are drawn from, for either class alike: level re full scale, background re speech, silence at each end,
and the share of the speech that is kept."""


def equalise(audio: Audio, rng: np.random.Generator, *, max_speech_s: float) -> Audio:
    """Give a recording the band, ends, duration, pauses, crest, background and level that both classes share.

    In order: what lies outside 80 Hz to 7 kHz is removed, and DC with it; silence at both ends is trimmed; a drawn
    share of the speech is kept; pauses fade out; peaks are limited to 11.5 dB over the root mean square; a drawn
    silence is put at both ends; a drawn background is laid under everything; the whole is set to a drawn level and
    rounded to 16 bits with triangular dither.

    Parameters
    ----------
    audio : (n,) float array
        16 kHz.
    rng : numpy.random.Generator
        Source of the draws; it must not depend on the class of the recording.
    max_speech_s : float
        Longest speech that is kept, in seconds.

    Returns
    -------
    (m,) float32 array
        Multiples of 2 ** -15 within [-1, 1].
    """
    keep, floor_db, level_db = rng.uniform(*KEPT), rng.uniform(*FLOOR_DB), rng.uniform(*LEVEL_DB)
    lead, trail = (rng.uniform(*SILENCE_S, size=2) * SAMPLE_RATE).astype(np.int64)
    speech = trim_silence(_band_passed(np.asarray(audio, dtype=np.float64)))
    speech = speech[: int(keep * min(len(speech), max_speech_s * SAMPLE_RATE))]
    speech = _limited(_gated(speech)) * _edges(len(speech))
    speech /= _rms(speech)
    background = _band_passed(rng.standard_normal(len(speech) + lead + trail))
    whole = background / _rms(background) * 10 ** (floor_db / 20)
    whole[lead : lead + len(speech)] += speech
    whole -= whole.mean()
    whole *= 10 ** (level_db / 20) / _rms(whole)
    dither = rng.random(len(whole)) - rng.random(len(whole))
    steps = np.clip(np.round(whole * 32767 + dither), -32767, 32767)
    return (steps / 32768).astype(np.float32)


def trim_silence(audio: Signal, *, below_db: float = -25.0) -> Signal:
    """Cut both ends where 10 ms frames stay `below_db` under the root mean square; silence comes back whole."""
    level = _frame_rms(audio)
    active = np.flatnonzero(level > _rms(audio) * 10 ** (below_db / 20))
    if len(active) == 0:
        return audio
    return audio[active[0] * FRAME : min((active[-1] + 1) * FRAME, len(audio))]


def _band_passed(audio: Signal) -> Signal:
    from scipy.signal import butter, fftconvolve, firwin, sosfilt

    flat = sosfilt(butter(4, LOW_CUT_HZ, "highpass", fs=SAMPLE_RATE, output="sos"), audio - audio.mean())
    band: Signal = fftconvolve(flat, firwin(191, HIGH_CUT_HZ, fs=SAMPLE_RATE), mode="same")
    return band


def _gated(speech: Signal) -> Signal:
    """Fade pauses out: gain 1 well above the threshold, falling with the fourth power of the level below it."""
    level = _frame_rms(speech) / _rms(speech)
    gain = 1 / (1 + (10 ** (GATE_DB / 20) / (level + 1e-9)) ** 4)
    return speech * np.interp(np.arange(len(speech)), (np.arange(len(gain)) + 0.5) * FRAME, gain)


def _limited(speech: Signal) -> Signal:
    """Turn peaks down to `CREST_DB` over the root mean square, with 5 ms of look-ahead."""
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    for _ in range(3):
        ceiling = _rms(speech) * 10 ** (CREST_DB / 20)
        gain = np.minimum(1, ceiling / (maximum_filter1d(np.abs(speech), 161) + 1e-12))
        speech = speech * uniform_filter1d(gain, 81)
    return speech


def _edges(length: int) -> Signal:
    """Half-cosine ramps of 15 ms."""
    ramp = min(240, length // 2)
    edges = np.ones(length)
    if ramp:
        edges[:ramp] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)
        edges[-ramp:] = edges[:ramp][::-1]
    return edges


def _frame_rms(audio: Signal) -> Signal:
    count = max(1, len(audio) // FRAME)
    frames = np.pad(audio, (0, max(0, FRAME - len(audio))))[: count * FRAME].reshape(count, FRAME)
    level: Signal = np.sqrt(np.mean(frames**2, axis=1))
    return level


def _rms(audio: Signal) -> float:
    return float(np.sqrt(np.mean(audio**2))) + 1e-12
