"""The measure of what a condition did."""

import math

import numpy as np
import pytest

from spoofscope.degradations._activity import active_samples
from spoofscope.degradations._measure import measure

RATE = 16_000


def test_an_unchanged_sound_has_infinite_snr_and_no_delay(speech):
    measured = measure(speech, speech, RATE)
    assert measured.snr_db == math.inf
    assert (measured.delay_samples, measured.gain_db, measured.length_ratio, measured.clipped_fraction) == (0, 0, 1, 0)


@pytest.mark.parametrize("lag", [-800, -799, -37, -1, 1, 5, 576, 799, 800])
def test_a_shift_is_found_to_the_sample_and_with_its_sign(speech, lag):
    assert measure(speech, np.roll(speech, lag), RATE).delay_samples == lag


@pytest.mark.parametrize("lag", [0, 12])
def test_a_shift_is_found_under_noise_and_reversed_polarity(speech, lag):
    noisy = -np.roll(speech, lag) + 0.05 * np.random.default_rng(0).standard_normal(len(speech), dtype=np.float32)
    assert measure(speech, noisy, RATE).delay_samples == lag


def test_snr_is_taken_over_the_active_part_only(speech):
    error = np.zeros_like(speech)
    active = active_samples(speech, RATE)
    error[~active] = 10
    assert measure(speech, speech + error, RATE).snr_db == math.inf
    error = np.where(active, 0.1 * speech, 10).astype(np.float32)
    assert measure(speech, speech + error, RATE).snr_db == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize("edge_hz", [1000, 2500, 4000, 7000])
def test_bandwidth_finds_the_edge_of_a_band(edge_hz):
    noise = np.random.default_rng(0).standard_normal(4 * RATE)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(noise), 1 / RATE) > edge_hz] = 0
    limited = (0.1 * np.fft.irfft(spectrum)).astype(np.float32)
    assert measure(limited, limited, RATE).bandwidth_hz == pytest.approx(edge_hz, rel=0.02)


def test_level_clipping_and_length_are_what_they_say(speech):
    clipped = np.array([1.0, -1.0, 0.99, 0.5], dtype=np.float32)
    assert measure(clipped, clipped, RATE).clipped_fraction == 0.5
    assert measure(speech, speech * np.float32(0.5), RATE).gain_db == pytest.approx(-6.0206, abs=1e-3)
    assert measure(speech, speech[: len(speech) // 4], RATE).length_ratio == 0.25


def test_a_changed_length_has_neither_snr_nor_delay(speech):
    measured = measure(speech, speech[:-1], RATE)
    assert math.isnan(measured.snr_db)
    assert math.isnan(measured.delay_samples)


@pytest.mark.parametrize("samples", [1, 2, 100, 8192, 8193])
def test_silence_is_nan_where_nothing_exists_and_raises_no_warning(samples):
    zeros = np.zeros(samples, dtype=np.float32)
    ones = np.ones(samples, dtype=np.float32)
    for before, after in ((zeros, zeros), (zeros, ones), (ones, zeros)):
        measured = measure(before, after, RATE)
        assert math.isnan(measured.gain_db)
        assert math.isnan(measured.delay_samples)
        assert measured.length_ratio == 1
    assert math.isnan(measure(zeros, zeros, RATE).bandwidth_hz)


@pytest.mark.parametrize("samples", [1, 2, 100, 319, 320, 321, 8191, 8193, 20_000])
def test_lengths_around_frames_and_blocks_are_measured(samples):
    audio = np.random.default_rng(0).standard_normal(samples, dtype=np.float32)
    measured = measure(audio, audio * np.float32(1.1), RATE)
    assert measured.snr_db == pytest.approx(20, abs=0.01)
    assert measured.delay_samples == 0
    assert 0 < measured.bandwidth_hz <= RATE / 2


def test_blocks_do_not_change_the_measure(speech, monkeypatch):
    shifted = np.roll(speech, 100)
    blocks = measure(speech, shifted, RATE)
    monkeypatch.setattr("spoofscope.degradations._measure.BLOCK", 1 << 16)
    whole = measure(speech, shifted, RATE)
    assert blocks.delay_samples == whole.delay_samples
    assert blocks.bandwidth_hz == pytest.approx(whole.bandwidth_hz, rel=0.01)


def test_an_active_sample_lies_in_a_frame_within_30_db_of_the_loudest(speech):
    active = active_samples(speech, RATE)
    seconds = np.flatnonzero(active) / RATE
    assert (seconds.min(), seconds.max()) == (pytest.approx(0.4, abs=0.02), pytest.approx(1.6, abs=0.02))
    assert not active_samples(np.zeros(1000, dtype=np.float32), RATE).any()
