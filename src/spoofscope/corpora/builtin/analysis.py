"""Take speech apart: short-time spectra, fundamental frequency, spectral envelope, aperiodicity, linear prediction.

References
----------
M. Morise, F. Yokomori, K. Ozawa, "WORLD: a vocoder-based high-quality speech synthesis system for real-time
applications", IEICE Trans. E99-D(7), 2016, and M. Morise, "CheapTrick, a spectral envelope estimator for high-quality
speech synthesis", Speech Communication 67, 2015 (the roles of F0, envelope and aperiodicity, and the lifter).
"""

from __future__ import annotations

import itertools
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio

Signal: TypeAlias = NDArray[np.floating[Any]]
Spectra: TypeAlias = NDArray[np.complexfloating[Any, Any]]

HOP = 80
"""Samples (5 ms) between analysis frames."""

WINDOW = 640
"""Samples (40 ms) that pitch is looked for in."""

FFT = 960
BINS = FFT // 2 + 1
F0_MIN_HZ = 65.0
F0_MAX_HZ = 400.0
VOICED_FROM = 0.45
"""Normalised autocorrelation at which a frame counts as voiced."""

BAND_EDGES_HZ = (0.0, 1000.0, 2000.0, 3500.0, 5500.0, 8000.0)


class Analysis:
    """One utterance with everything that the attacks want to know of it, each part computed once.

    Parameters
    ----------
    audio : (n,) float array
        Speech at 16 kHz.
    """

    def __init__(self, audio: Audio | Signal) -> None:
        self.audio: Signal = np.asarray(audio, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.audio)

    @cached_property
    def _frames_power(self) -> Signal:
        return _power(_rfft(framed(self.audio, WINDOW, HOP) * _hann(WINDOW), 1024))

    @cached_property
    def f0_hz(self) -> Signal:
        """(frames,) fundamental frequency in hertz, 0 where unvoiced."""
        return track_f0(self._frames_power, WINDOW)

    @cached_property
    def envelope(self) -> Signal:
        """(frames, 481) power envelope, smoothed over a fundamental's width."""
        f0 = np.where(self.f0_hz > 0, self.f0_hz, 250.0)
        power = _power(_rfft(framed(self.audio, 480, HOP) * _hann(480), FFT)) / np.float32(0.375 * 480)
        cepstrum = _irfft(np.log(power + np.float32(1e-9)), FFT)[:, :BINS]
        turns = np.outer(f0, np.arange(BINS) / SAMPLE_RATE).astype(np.float32)
        lifter = np.sinc(turns) * (1.18 - 0.18 * np.cos(2 * np.pi * turns))
        return np.exp(log_spectrum(cepstrum * lifter))

    @cached_property
    def aperiodicity(self) -> Signal:
        """(frames, 481) share of the power that is noise, 1 where unvoiced."""
        return _aperiodicity(self._frames_power, self.f0_hz, WINDOW)


def stft(audio: Signal, *, size: int, hop: int) -> Spectra:
    """Hann-windowed short-time spectra, frame k centred on sample k * hop; (frames, size / 2 + 1)."""
    return _rfft(framed(audio, size, hop) * _hann(size), size)


def istft(spectra: Spectra, length: int, *, hop: int) -> Signal:
    """Signal of `length` samples whose short-time spectra are nearest to `spectra` in the least-squares sense."""
    size = 2 * (spectra.shape[1] - 1)
    frames = _irfft(spectra, size) * _hann(size)
    return overlap_add(frames, hop, length) / _overlap_weight(len(frames), size, hop, length)


def framed(audio: Signal, size: int, hop: int) -> Signal:
    """Frames of `size` samples centred on every `hop`-th sample, the ends padded with zeros; (frames, size)."""
    padded = np.pad(audio, (size // 2, size // 2 + hop))
    count = len(audio) // hop + 1
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:count]


def overlap_add(frames: Signal, hop: int, length: int) -> Signal:
    """Sum frames that were centred on every `hop`-th sample; their size must be a multiple of it."""
    count, size = frames.shape
    parts = size // hop
    total = np.zeros((count + parts, hop), dtype=frames.dtype)
    for part in range(parts):
        total[part : part + count] += frames[:, part * hop : (part + 1) * hop]
    flat = total.reshape(-1)[size // 2 :]
    return flat[:length] if len(flat) >= length else np.pad(flat, (0, length - len(flat)))


def track_f0(power: Signal, window: int) -> Signal:
    """Fundamental frequency of each frame by autocorrelation and the cheapest path through its peaks.

    Parameters
    ----------
    power : (frames, bins) float array
        Power spectra of Hann-windowed frames of `window` samples, at least twice zero-padded.

    Returns
    -------
    (frames,) float array
        Hertz; 0 where the frame is unvoiced or far quieter than the utterance.
    """
    lags = np.arange(int(SAMPLE_RATE / F0_MAX_HZ), int(SAMPLE_RATE / F0_MIN_HZ) + 1)
    correlation = _irfft(power, 2 * (power.shape[1] - 1))
    normal = correlation[:, lags] / (correlation[:, :1] + 1e-9) / _window_correlation(window)[lags]
    normal -= 0.0003 * lags
    candidates = np.argpartition(-_peaks_only(normal), 4, axis=1)[:, :4]
    merit = np.take_along_axis(normal, candidates, axis=1)
    path = _best_path(np.log2(lags[candidates]), merit)
    chosen = candidates[np.arange(len(path)), path]
    strength = normal[np.arange(len(path)), chosen]
    energy = correlation[:, 0]
    voiced = (strength > VOICED_FROM) & (energy > 1e-4 * np.percentile(energy, 95))
    return np.where(voiced, SAMPLE_RATE / _parabolic(normal, lags, chosen), 0.0)


def lpc(audio: Signal, *, order: int, size: int, hop: int) -> tuple[Signal, Signal]:
    """Predictor polynomials (frames, order + 1) and residual root mean squares (frames,) by autocorrelation."""
    frames = framed(audio.astype(np.float64), size, hop) * _hann(size)
    correlation = _irfft(np.abs(_rfft(frames, 2 * size)) ** 2, 2 * size)[:, : order + 1]
    correlation[:, 0] = correlation[:, 0] * 1.0001 + 1e-7
    index = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    solved = np.linalg.solve(correlation[:, index], correlation[:, 1:, None])[..., 0]
    power = correlation[:, 0] - np.sum(solved * correlation[:, 1:], axis=1)
    polynomials = np.hstack([np.ones((len(frames), 1)), -solved])
    return polynomials, np.sqrt(np.maximum(power, 1e-12) / (0.375 * size))


def log_spectrum(cepstrum: Signal) -> Signal:
    """Log spectrum, (frames, 481), of the first half of an even cepstrum."""
    from scipy.fft import dct

    spectrum: Signal = dct(cepstrum, type=1, axis=1)
    return spectrum


def mel_matrix(bands: int, size: int) -> Signal:
    """Triangular filters up to 8 kHz, equally wide in mel but at least two bins, each summing to one; (bands, bins)."""
    top = 2595 * np.log10(1 + 8000 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    hertz = np.arange(size // 2 + 1) * SAMPLE_RATE / size
    bin_hz = SAMPLE_RATE / size
    rise = 1 + (hertz - edges[1:-1, None]) / np.maximum(edges[1:-1] - edges[:-2], bin_hz)[:, None]
    fall = 1 - (hertz - edges[1:-1, None]) / np.maximum(edges[2:] - edges[1:-1], bin_hz)[:, None]
    filters: Signal = np.maximum(0, np.minimum(rise, fall)) + 1e-8
    filters /= filters.sum(axis=1, keepdims=True)
    return filters


def _aperiodicity(power: Signal, f0_hz: Signal, window: int) -> Signal:
    """One minus the normalised autocorrelation at the period, in five bands, interpolated over frequency."""
    hertz = np.arange(power.shape[1]) * SAMPLE_RATE / (2 * (power.shape[1] - 1))
    voiced = f0_hz > 0
    at_period = np.cos(2 * np.pi * np.outer(1 / f0_hz[voiced], hertz))
    whole = np.interp(SAMPLE_RATE / f0_hz[voiced], np.arange(window), _window_correlation(window))
    bands = np.ones((len(f0_hz), len(BAND_EDGES_HZ) - 1))
    for band, (low, high) in enumerate(itertools.pairwise(BAND_EDGES_HZ)):
        inside = (hertz >= low) & (hertz < high)
        part = power[voiced][:, inside]
        periodic = np.sum(part * at_period[:, inside], axis=1) / (part.sum(axis=1) + 1e-12)
        # The exponent makes up for glides of pitch within a frame, which look like noise at high harmonics.
        bands[voiced, band] = np.clip(1 - periodic / whole, 0.01, 1) ** 1.5
    centres = np.add(BAND_EDGES_HZ[:-1], BAND_EDGES_HZ[1:]) / 2
    bins = np.linspace(0, SAMPLE_RATE / 2, BINS)
    right = np.clip(np.searchsorted(centres, bins), 1, len(centres) - 1)
    share = np.clip((bins - centres[right - 1]) / (centres[right] - centres[right - 1]), 0, 1)
    return bands[:, right - 1] * (1 - share) + bands[:, right] * share


def _peaks_only(rows: Signal) -> Signal:
    inner = rows[:, 1:-1]
    is_peak = (inner >= rows[:, :-2]) & (inner > rows[:, 2:])
    return np.pad(np.where(is_peak, inner, -1.0), ((0, 0), (1, 1)), constant_values=-1.0)


def _best_path(octaves: Signal, merit: Signal) -> NDArray[np.int64]:
    """Viterbi over candidates: much merit, few jumps."""
    frames, width = merit.shape
    back = np.zeros((frames, width), dtype=np.int64)
    best = merit[0].copy()
    for frame in range(1, frames):
        moves = best[:, None] - 1.5 * np.abs(octaves[frame - 1][:, None] - octaves[frame])
        back[frame] = moves.argmax(axis=0)
        best = moves.max(axis=0) + merit[frame]
    path = np.empty(frames, dtype=np.int64)
    path[-1] = best.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return path


def _parabolic(rows: Signal, lags: NDArray[np.int64], chosen: NDArray[np.int64]) -> Signal:
    """Lag of the top of the parabola through a peak and its neighbours."""
    inner = np.clip(chosen, 1, rows.shape[1] - 2)
    here = np.arange(len(rows))
    left, middle, right = rows[here, inner - 1], rows[here, inner], rows[here, inner + 1]
    bend = left - 2 * middle + right
    shift = np.where(np.abs(bend) > 1e-9, 0.5 * (left - right) / np.where(np.abs(bend) > 1e-9, bend, 1), 0.0)
    refined: Signal = lags[inner] + np.clip(shift, -0.5, 0.5)
    return refined


@lru_cache(maxsize=8)
def _hann(size: int) -> Signal:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)


@lru_cache(maxsize=8)
def _window_correlation(size: int) -> Signal:
    """Autocorrelation of the window at each lag, 1 at lag 0: what a perfectly periodic frame would show."""
    correlation: Signal = np.correlate(_hann(size), _hann(size), "full")[size - 1 :]
    correlation /= correlation[0]
    return correlation


@lru_cache(maxsize=8)
def _overlap_weight(count: int, size: int, hop: int, length: int) -> Signal:
    weight: Signal = np.maximum(overlap_add(np.tile(_hann(size) ** 2, (count, 1)), hop, length), np.float32(1e-3))
    return weight


def _power(spectra: Spectra) -> Signal:
    power: Signal = spectra.real**2 + spectra.imag**2
    return power


def _rfft(frames: Signal, size: int) -> Spectra:
    from scipy.fft import rfft

    spectra: Spectra = rfft(frames, size, axis=-1)
    return spectra


def _irfft(spectra: Spectra | Signal, size: int) -> Signal:
    from scipy.fft import irfft

    frames: Signal = irfft(spectra, size, axis=-1)
    return frames
