"""The linear-frequency features: shapes, short input, what they may and may not depend on."""

import numpy as np
import pytest

from spoofscope.networks.lfcc import N_FFT, SAMPLE_RATE, floored, lfcc, linear_filters, log_filterbank


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize("features", [lfcc, log_filterbank])
@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (319, 1), (320, 1), (479, 1), (480, 2), (64_000, 399)])
def test_only_whole_frames_are_used_and_shorter_sound_is_repeated_up_to_one(features, samples, frames):
    answer = features(np.ones(samples, np.float32))
    assert answer.shape == (frames, 60)
    assert answer.dtype == np.float32
    assert np.isfinite(answer).all()


@pytest.mark.parametrize("features", [lfcc, log_filterbank])
def test_digital_silence_has_finite_features(features):
    assert np.isfinite(features(np.zeros(SAMPLE_RATE, np.float32))).all()


@pytest.mark.parametrize("features", [lfcc, log_filterbank])
def test_features_leave_the_sound_untouched(features):
    audio = noise(0.2)
    before = audio.copy()
    features(audio)
    np.testing.assert_array_equal(audio, before)


def test_a_tone_is_loudest_in_the_band_that_stands_on_it():
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    centres = np.linspace(0, SAMPLE_RATE / 2, 62)[1:-1]
    for band in (3, 30, 57):
        bands = log_filterbank(np.sin(2 * np.pi * centres[band] * seconds).astype(np.float32))
        assert set(bands.argmax(axis=1)) == {band}


def test_neighbouring_filters_sum_to_one_between_the_first_and_the_last_top():
    filters = linear_filters(20)
    bins = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    tops = np.linspace(0, SAMPLE_RATE / 2, 22)
    inside = (bins >= tops[1]) & (bins <= tops[-2])
    np.testing.assert_allclose(filters[inside].sum(axis=1), 1.0, atol=1e-5)


def test_the_difference_of_a_steady_sound_is_zero():
    period = np.sin(2 * np.pi * np.arange(160) / 160).astype(np.float32)
    after_the_start = lfcc(np.tile(period, 50))[3:]
    np.testing.assert_allclose(after_the_start[:, 20:], 0.0, atol=1e-3)


def test_the_network_input_spans_the_loudest_energy_and_60_db_below_it():
    decibels = np.array([[0.0, -30.0], [-60.0, -90.0]], np.float32) + np.float32(17)
    np.testing.assert_allclose(floored(decibels), [[1.0, 0.0], [-1.0, -1.0]], atol=1e-6)


def test_gain_does_not_change_the_network_input():
    audio = noise(0.5)
    np.testing.assert_allclose(floored(log_filterbank(audio)), floored(log_filterbank(audio * 0.1)), atol=1e-4)
