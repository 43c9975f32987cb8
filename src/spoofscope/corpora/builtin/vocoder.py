"""Put speech together again from F0, envelope and aperiodicity: source-filter, buzzy, and harmonics plus noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spoofscope.audio import SAMPLE_RATE
from spoofscope.corpora.builtin.analysis import BINS, FFT, HOP, Analysis, Signal, Spectra, istft, log_spectrum, stft


@dataclass(frozen=True)
class Parameters:
    """What a parametric vocoder transmits: `f0_hz` (frames,), `envelope` and `aperiodicity` (frames, 481)."""

    f0_hz: Signal
    envelope: Signal
    aperiodicity: Signal


def analysed(speech: Analysis) -> Parameters:
    """The parameters of `speech`."""
    return Parameters(speech.f0_hz, speech.envelope, speech.aperiodicity)


def smoothed(parameters: Parameters, *, frames: float, cepstra: int) -> Parameters:
    """Over-smooth as statistical parametric synthesis does: over time, and to the first cepstra of the envelope."""
    from scipy.fft import irfft
    from scipy.ndimage import gaussian_filter1d

    log = gaussian_filter1d(np.log(parameters.envelope), frames, axis=0)
    cepstrum = irfft(log, FFT, axis=1)[:, :BINS]
    cepstrum[:, cepstra:] = 0
    voiced = parameters.f0_hz > 0
    f0 = parameters.f0_hz
    if voiced.any():
        contour = np.interp(np.arange(len(f0)), np.flatnonzero(voiced), f0[voiced])
        f0 = np.where(voiced, gaussian_filter1d(contour, 2 * frames), 0.0)
    return replace(parameters, f0_hz=f0, envelope=np.exp(log_spectrum(cepstrum)))


def converted(parameters: Parameters, *, f0_factor: float, warp: float) -> Parameters:
    """Another voice: F0 times `f0_factor`, formants times `warp`."""
    source = np.minimum(np.arange(BINS) / warp, BINS - 1)
    lower = np.minimum(source.astype(np.int64), BINS - 2)
    share = source - lower
    log = np.log(parameters.envelope)
    warped = np.exp(log[:, lower] * (1 - share) + log[:, lower + 1] * share)
    return replace(parameters, f0_hz=parameters.f0_hz * f0_factor, envelope=warped)


def monotone(parameters: Parameters) -> Parameters:
    """A flat melody and a source without any noise in voiced frames."""
    voiced = parameters.f0_hz > 0
    middle = float(np.median(parameters.f0_hz[voiced])) if voiced.any() else 0.0
    buzz = np.where(voiced[:, None], 0.0, parameters.aperiodicity)
    return replace(parameters, f0_hz=np.where(voiced, middle, 0.0), aperiodicity=buzz)


def synthesise(parameters: Parameters, length: int, rng: np.random.Generator) -> Signal:
    """Filter pulses and noise by the minimum-phase envelope; `length` samples."""
    pulses = stft(_pulses(parameters.f0_hz, length), size=FFT, hop=HOP)
    noise = stft(rng.standard_normal(length, dtype=np.float32), size=FFT, hop=HOP)
    source = pulses * np.sqrt(1 - parameters.aperiodicity) + noise * np.sqrt(parameters.aperiodicity)
    return istft(source * _minimum_phase(parameters.envelope), length, hop=HOP)


def harmonics_and_noise(parameters: Parameters, length: int, rng: np.random.Generator) -> Signal:
    """Sum sinusoids at the harmonics below 6 kHz and add envelope-shaped noise; `length` samples.

    References
    ----------
    Y. Stylianou, "Applying the harmonic plus noise model in concatenative speech synthesis", IEEE Trans. Speech and
    Audio Processing 9(1), 2001.
    """
    at = np.arange(length) / HOP
    frames = np.arange(len(parameters.f0_hz))
    voiced = parameters.f0_hz > 0
    noise = stft(rng.standard_normal(length, dtype=np.float32), size=FFT, hop=HOP)
    out = istft(noise * np.sqrt(parameters.envelope * parameters.aperiodicity), length, hop=HOP).astype(np.float64)
    if not voiced.any():
        return out
    contour = np.interp(frames, np.flatnonzero(voiced), parameters.f0_hz[voiced])
    turns = np.cumsum(np.interp(at, frames, contour)) / SAMPLE_RATE
    fundamental = np.exp(2j * np.pi * turns)
    rotating = np.ones(length, dtype=np.complex128)
    for harmonic in range(1, int(6000 / contour.min()) + 1):
        rotating *= fundamental
        hertz = harmonic * contour
        bins = np.minimum(np.round(hertz * FFT / SAMPLE_RATE).astype(np.int64), BINS - 1)
        power = parameters.envelope[frames, bins] * (1 - parameters.aperiodicity[frames, bins])
        amplitude = np.sqrt(4 * power * contour / SAMPLE_RATE) * voiced * (hertz < 6000)
        out += np.interp(at, frames, amplitude) * rotating.real
    return out


def _pulses(f0_hz: Signal, length: int) -> Signal:
    """Unit-power pulse train; a pulse between two samples is shared by both."""
    at = np.arange(length) / HOP
    f0 = np.interp(at, np.arange(len(f0_hz)), f0_hz)
    is_voiced = f0_hz[np.minimum(np.round(at).astype(np.int64), len(f0_hz) - 1)] > 0
    phase = np.cumsum(np.where(is_voiced, np.maximum(f0, 50.0), 0.0)) / SAMPLE_RATE
    marks = np.flatnonzero(np.diff(np.floor(phase)) > 0) + 1
    step = phase[marks] - phase[marks - 1]
    early = (phase[marks] - np.floor(phase[marks])) / step
    height = np.sqrt(1 / step)
    train = np.zeros(length, dtype=np.float32)
    train[marks] = height * (1 - early)
    train[marks - 1] += height * early
    return train


def _minimum_phase(envelope: Signal) -> Spectra:
    from scipy.fft import irfft, rfft

    cepstrum = irfft(np.log(envelope), FFT, axis=1)[:, :BINS]
    cepstrum[:, [0, -1]] *= 0.5
    phase = rfft(cepstrum, FFT, axis=1).imag
    response: Spectra = np.sqrt(envelope) * (np.cos(phase) + 1j * np.sin(phase))
    return response
