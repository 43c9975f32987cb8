"""Linear-frequency features of the built-in detectors: cepstra and a log filterbank.

Conventions
-----------
Frames last 20 ms and start every 10 ms; only whole frames are used, as in the ASVspoof 2019 baseline. A recording
shorter than one frame is repeated up to one. Everything is float32; rows are frames.

References
----------
M. Sahidullah, T. Kinnunen, C. Hanilçi: A Comparison of Features for Synthetic Speech Detection. Interspeech 2015.
M. Todisco et al.: ASVspoof 2019: Future Horizons in Spoofed and Fake Audio Detection. Interspeech 2019 (LFCC baseline).
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, fit_length
from spoofscope.networks.products import stable_product

Features: TypeAlias = NDArray[np.float32]

FRAME = SAMPLE_RATE * 20 // 1000
HOP = SAMPLE_RATE * 10 // 1000
N_FFT = 512
PRE_EMPHASIS = 0.97
N_CEPSTRA = 20
N_BANDS = 60
FLOOR_DB = 60.0
TINY = np.float32(1e-12)


def lfcc(audio: Audio) -> Features:
    """Linear-frequency cepstral coefficients with their first and second differences.

    The settings of the ASVspoof 2019 baseline: pre-emphasis 0.97, 20 ms Hamming frames every 10 ms, 512-point power
    spectrum, 20 triangular filters spaced linearly from 0 to 8 kHz, log10, orthonormal DCT-II, all 20 coefficients;
    the difference is x[t + 1] - x[t - 1], the first and last frame being repeated.

    Parameters
    ----------
    audio : (n,) float32 array
        Sound at 16 kHz.

    Returns
    -------
    (frames, 60) float32 array
        Static coefficients, differences, differences of the differences.
    """
    energies = stable_product(power_spectrum(audio, np.hamming(FRAME)), linear_filters(N_CEPSTRA))
    static = stable_product(np.log10(energies + TINY), _dct_matrix(N_CEPSTRA))
    delta = _difference(static)
    return np.concatenate([static, delta, _difference(delta)], axis=1)


def log_filterbank(audio: Audio) -> Features:
    """Energies of 60 triangular filters spaced linearly from 0 to 8 kHz, in decibels.

    Parameters
    ----------
    audio : (n,) float32 array
        Sound at 16 kHz.

    Returns
    -------
    (frames, 60) float32 array
        Decibels relative to an arbitrary level; see `floored`.
    """
    energies = stable_product(power_spectrum(audio, np.hanning(FRAME)), linear_filters(N_BANDS))
    return np.asarray(np.float32(10.0) * np.log10(energies + TINY))


def floored(decibels: Features) -> Features:
    """Map the loudest energy to 1 and everything 60 dB or more below it to -1: what the network sees.

    The answer does not change with the gain of the recording.
    """
    below = np.maximum(decibels - decibels.max(), np.float32(-FLOOR_DB))
    return np.asarray(below * np.float32(2.0 / FLOOR_DB) + np.float32(1.0))


def power_spectrum(audio: Audio, window: NDArray[np.float64]) -> Features:
    """Power spectrum of each pre-emphasised, windowed frame: (frames, 257)."""
    audio = fit_length(np.asarray(audio, dtype=np.float32), max(len(audio), FRAME))
    emphasised = audio.copy()
    emphasised[1:] -= np.float32(PRE_EMPHASIS) * audio[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, FRAME)[::HOP]
    spectrum = np.fft.rfft(frames * window.astype(np.float32), N_FFT)
    return np.asarray(spectrum.real**2 + spectrum.imag**2, dtype=np.float32)


@cache
def linear_filters(n_filters: int) -> Features:
    """Triangular filters whose feet stand on their neighbours' tops: (257, n_filters), tops at 1."""
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)[:, None]
    edges = np.linspace(0.0, SAMPLE_RATE / 2, n_filters + 2)
    left, top, right = edges[:-2], edges[1:-1], edges[2:]
    slopes = np.minimum((bins - left) / (top - left), (right - bins) / (right - top))
    return np.asarray(np.maximum(0.0, slopes), dtype=np.float32)


@cache
def _dct_matrix(size: int) -> Features:
    """Orthonormal DCT-II as a matrix to multiply from the right: (size, size)."""
    place, order = np.arange(size)[:, None], np.arange(size)
    matrix = np.sqrt(2.0 / size) * np.cos(np.pi * (place + 0.5) * order / size)
    matrix[:, 0] = np.sqrt(1.0 / size)
    return np.asarray(matrix, dtype=np.float32)


def _difference(values: Features) -> Features:
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.asarray(padded[2:] - padded[:-2])
