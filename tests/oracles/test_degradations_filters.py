"""The band-pass, the trimming and the measure against slow second implementations of their definitions."""

import numpy as np
import pytest

from spoofscope.degradations._measure import measure
from spoofscope.degradations.bandpass import Bandpass
from spoofscope.degradations.trim_silence import TrimSilence

RATE = 16_000


@pytest.mark.parametrize(("low_hz", "high_hz", "order"), [(300, 3400, 6), (100, 7000, 2), (50, 4000, 4)])
def test_the_band_pass_has_the_magnitude_of_butterworths_formula(low_hz, high_hz, order):
    """|H|^2 = 1 / (1 + Q^2N), Q = (w^2 - w1 w2) / (w (w2 - w1)), with w = tan(pi f / rate): the bilinear transform."""
    impulse = np.zeros(1 << 16, dtype=np.float32)
    impulse[0] = 1
    response = np.abs(
        np.fft.rfft(Bandpass(low_hz=low_hz, high_hz=high_hz, order=order)(impulse, RATE, np.random.default_rng(0)))
    )
    hertz = np.fft.rfftfreq(len(impulse), 1 / RATE)[1:-1]
    warped, low, high = (np.tan(np.pi * np.asarray(f) / RATE) for f in (hertz, low_hz, high_hz))
    ratio = (warped**2 - low * high) / (warped * (high - low))
    assert response[1:-1] == pytest.approx(1 / np.sqrt(1 + ratio ** (2 * order)), abs=1e-4)


def trimmed_slowly(audio, top_db):
    """What `librosa.effects.trim` documents, one frame of 2048 samples after another, every 512, centred, zero-padded."""
    padded = np.concatenate([np.zeros(1024), audio, np.zeros(1024)])
    levels = []
    for start in range(0, len(padded) - 2048 + 1, 512):
        levels.append(np.sqrt(np.mean(padded[start : start + 2048] ** 2)))
    loud = [n for n, level in enumerate(levels) if 20 * np.log10(max(level, 1e-12) / max(levels)) > -top_db]
    return audio[loud[0] * 512 : min(len(audio), (loud[-1] + 1) * 512)]


@pytest.mark.parametrize("top_db", [10, 30, 60])
@pytest.mark.parametrize("samples", [1000, 2048, 20_000, 33_333])
def test_trimming_keeps_what_librosas_definition_keeps(samples, top_db):
    rng = np.random.default_rng(samples)
    envelope = np.exp(-(((np.arange(samples) / samples - 0.4) / 0.12) ** 2))
    audio = (0.3 * envelope * rng.standard_normal(samples)).astype(np.float32)
    heard = TrimSilence(top_db=top_db)(audio, RATE, rng)
    assert np.array_equal(heard, trimmed_slowly(audio, top_db))


@pytest.mark.parametrize("samples", [50, 900, 3000])
def test_the_delay_is_the_peak_of_the_correlation_written_out(samples):
    rng = np.random.default_rng(samples)
    before = rng.standard_normal(samples).astype(np.float32)
    after = (np.convolve(before, rng.standard_normal(40))[:samples]).astype(np.float32)
    early, late = (np.diff(np.concatenate([[0], audio, [0]])) for audio in (before, after))

    def correlation(lag):
        here, there = (late[lag:], early[: len(early) - lag]) if lag >= 0 else (late[:lag], early[-lag:])
        size = min(len(here), len(there))
        return abs(np.dot(here[:size], there[:size]))

    lags = range(-min(800, samples), min(800, samples) + 1)
    assert measure(before, after, RATE).delay_samples == max(lags, key=correlation)


def test_the_bandwidth_is_where_99_percent_of_the_tilted_spectrum_is_reached():
    rng = np.random.default_rng(5)
    audio = np.convolve(rng.standard_normal(8000), [1, 1.6, 0.7])[:8000].astype(np.float32)
    spectrum = np.abs(np.fft.rfft(np.diff(np.concatenate([[0], audio, [0]])), 1 << 17)) ** 2
    reached = np.cumsum(spectrum) / spectrum.sum()
    expected_hz = np.fft.rfftfreq(1 << 17, 1 / RATE)[np.argmax(reached >= 0.99)]
    assert measure(audio, audio, RATE).bandwidth_hz == pytest.approx(expected_hz, abs=4)
