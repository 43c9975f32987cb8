"""Throw phase away and guess it again: Griffin-Lim, random phase, quantised mel, and the phase vocoder.

References
----------
D. Griffin, J. Lim, "Signal estimation from modified short-time Fourier transform", IEEE Trans. ASSP 32(2), 1984.
N. Perraudin, P. Balazs, P. L. Søndergaard, "A fast Griffin-Lim algorithm", WASPAA 2013 (the momentum).
J. Laroche, M. Dolson, "Improved phase vocoder time-scale modification of audio", IEEE Trans. SAP 7(3), 1999.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, resample
from spoofscope.corpora.builtin.analysis import Analysis, Signal, istft, mel_matrix, stft

SIZE = 512
HOP = 128


def magnitudes(speech: Analysis) -> Signal:
    """Linear magnitude spectrogram, (frames, 257)."""
    return np.abs(stft(speech.audio, size=SIZE, hop=HOP))


def through_mel(magnitude: Signal, *, bands: int) -> Signal:
    """Reduce a magnitude spectrogram to mel bands and spread it back over the bins."""
    matrix, spread = _mel_pair(bands)
    return magnitude @ matrix.T @ spread.T


def quantised_mel(magnitude: Signal, rng: np.random.Generator, *, bands: int, codes: int) -> Signal:
    """Replace each mel frame by the nearest of `codes` codewords learnt on the utterance itself."""
    matrix, spread = _mel_pair(bands)
    log = np.log(magnitude @ matrix.T + 1e-6)
    book = log[rng.choice(len(log), size=min(codes, len(log)), replace=False)]
    for _ in range(6):
        nearest = _nearest(log, book)
        counts = np.bincount(nearest, minlength=len(book))
        sums = np.zeros_like(book)
        np.add.at(sums, nearest, log)
        book = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], book)
    return np.exp(book[_nearest(log, book)]) @ spread.T


def griffin_lim(magnitude: Signal, length: int, rng: np.random.Generator, *, iterations: int) -> Signal:
    """Find a signal with this magnitude spectrogram, from random phase, with fast Griffin-Lim's momentum of 0.9."""
    turns = 2 * np.pi * rng.random(magnitude.shape, dtype=np.float32)
    spectra = magnitude * (np.cos(turns) + 1j * np.sin(turns))
    previous = spectra
    for _ in range(iterations):
        consistent = stft(istft(spectra, length, hop=HOP), size=SIZE, hop=HOP)
        ahead = consistent + 0.9 * (consistent - previous)
        previous = consistent
        spectra = magnitude * ahead / (np.abs(ahead) + np.float32(1e-9))
    return istft(spectra, length, hop=HOP)


def random_phase(speech: Analysis, rng: np.random.Generator, *, spread: float) -> Signal:
    """Keep the magnitudes and turn every phase by up to `spread` half circles either way."""
    spectra = stft(speech.audio, size=SIZE, hop=HOP)
    turned = spectra * np.exp(1j * np.pi * spread * rng.uniform(-1, 1, size=spectra.shape))
    return istft(turned, len(speech), hop=HOP)


def shifted(speech: Analysis, *, factor: float) -> Signal:
    """Pitch and formants times `factor`: stretch in time with a phase vocoder, then resample."""
    hop, size = SIZE // 8, SIZE * 2
    spectra = stft(speech.audio, size=size, hop=hop)
    at = np.arange(0, len(spectra) - 1, 1 / factor)
    lower = np.minimum(at.astype(np.int64), len(spectra) - 2)
    share = (at - lower)[:, None]
    magnitude = np.abs(spectra[lower]) * (1 - share) + np.abs(spectra[lower + 1]) * share
    expected = 2 * np.pi * hop * np.arange(size // 2 + 1) / size
    advance = np.angle(spectra[1:]) - np.angle(spectra[:-1]) - expected
    advance -= 2 * np.pi * np.round(advance / (2 * np.pi))
    phase = np.angle(spectra[0]) + np.cumsum(expected + advance[lower], axis=0)
    stretched = istft(magnitude * np.exp(1j * phase), int(len(speech) * factor), hop=hop)
    squeezed = resample(stretched.astype(np.float32), int(SAMPLE_RATE * factor), SAMPLE_RATE).astype(np.float64)
    return np.pad(squeezed, (0, max(0, len(speech) - len(squeezed))))[: len(speech)]


@lru_cache(maxsize=4)
def _mel_pair(bands: int) -> tuple[Signal, Signal]:
    matrix = mel_matrix(bands, SIZE)
    spread = matrix.T / matrix.sum(axis=0)[:, None]
    return matrix.astype(np.float32), spread.astype(np.float32)


def _nearest(points: Signal, book: Signal) -> NDArray[np.int64]:
    distance = np.sum(book**2, axis=1) - 2 * points @ book.T
    nearest: NDArray[np.int64] = distance.argmin(axis=1)
    return nearest
