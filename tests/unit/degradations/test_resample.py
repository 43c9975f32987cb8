"""Resampling down and back."""

import numpy as np
import pytest

from spoofscope.degradations import settings_of
from spoofscope.degradations._measure import measure
from spoofscope.degradations.resample import Resample
from spoofscope.errors import RecipeError

RATE = 16_000


@pytest.mark.parametrize("sample_rate_hz", [12_000, 11_025, 8_000, 4_000])
def test_length_and_time_are_kept_and_the_band_ends_at_half_the_rate(speech, rng, sample_rate_hz):
    measured = measure(speech, Resample(sample_rate_hz=sample_rate_hz)(speech, RATE, rng), RATE)
    assert measured.length_ratio == 1
    assert measured.delay_samples == 0
    assert 0.3 * sample_rate_hz < measured.bandwidth_hz < 0.5 * sample_rate_hz


def test_what_lies_below_the_new_edge_comes_back_unchanged(rng):
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)
    heard = Resample(sample_rate_hz=8_000)(tone, RATE, rng)
    assert heard[1000:-1000] == pytest.approx(tone[1000:-1000], abs=1e-4)


@pytest.mark.parametrize("samples", [1, 2, 3, 99])
def test_short_input_keeps_its_length(rng, samples):
    assert len(Resample(sample_rate_hz=6_000)(np.ones(samples, dtype=np.float32), RATE, rng)) == samples


@pytest.mark.parametrize("sample_rate_hz", [16_000, 44_100])
def test_a_rate_that_loses_nothing_is_refused(speech, rng, sample_rate_hz):
    with pytest.raises(RecipeError, match="the sound is at 16000 Hz; give a lower rate"):
        Resample(sample_rate_hz=sample_rate_hz)(speech, RATE, rng)


@pytest.mark.parametrize("sample_rate_hz", [0, 999, -8000, 8000.0, True, "8000"])
def test_what_is_no_rate_is_refused(sample_rate_hz):
    with pytest.raises(RecipeError, match=r"resample: sample_rate_hz is .*; it must be a whole number from 1000 to 192000 Hz"):
        Resample(sample_rate_hz=sample_rate_hz)


def test_the_label_is_in_kilohertz_and_the_key_names_the_resampler():
    assert Resample(sample_rate_hz=11_025).label == "resampled 11.025 kHz"
    assert settings_of(Resample())["library"]["soxr"]
