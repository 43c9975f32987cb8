"""The band that is taken out is gone, and nothing else is."""

import numpy as np
import pytest

from spoofscope.degradations._measure import measure
from spoofscope.degradations.band_mask import BandMask
from spoofscope.degradations.conditions import parse_condition
from spoofscope.errors import RecipeError

RATE = 16_000


def gain_db(settings, hertz, rate=RATE):
    """Gain at one frequency, from the middle of a tone."""
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(2 * rate) / rate).astype(np.float32)
    passed = settings(tone, rate, np.random.default_rng(0))[rate // 2 : -rate // 2]
    return 20 * np.log10(np.std(passed) / np.std(tone) + 1e-12)


@pytest.mark.parametrize("hertz", [3000, 3001, 3700, 4999, 5000])
def test_the_band_is_gone_up_to_its_edges(hertz):
    assert gain_db(BandMask(low_hz=3000, high_hz=5000), hertz) < -100


@pytest.mark.parametrize("hertz", [50, 1000, 2950, 5050, 7900])
def test_everything_from_50_hz_outside_passes_unchanged(hertz):
    assert abs(gain_db(BandMask(low_hz=3000, high_hz=5000), hertz)) < 0.001


@pytest.mark.parametrize(("rate", "hertz"), [(8_000, 1600), (48_000, 1600)])
def test_the_band_is_the_same_at_another_sample_rate(rate, hertz):
    settings = BandMask(low_hz=1000, high_hz=2000)
    assert gain_db(settings, hertz, rate) < -100
    assert abs(gain_db(settings, 900, rate)) < 0.001


def test_a_band_from_0_is_a_high_pass_and_one_to_the_top_a_low_pass():
    high_pass, low_pass = BandMask(low_hz=0, high_hz=1000), BandMask(low_hz=6000, high_hz=8000)
    assert gain_db(high_pass, 20) < -100 and abs(gain_db(high_pass, 7950)) < 0.001
    assert gain_db(low_pass, 7950) < -100 and abs(gain_db(low_pass, 20)) < 0.001


def test_length_is_kept_and_there_is_no_delay(speech, rng):
    masked = BandMask()(speech, RATE, rng)
    assert masked.dtype == np.float32 and masked.shape == speech.shape
    assert measure(speech, masked, RATE).delay_samples == 0


def test_time_turned_round_before_or_after_is_the_same(speech, rng):
    settings = BandMask(low_hz=500, high_hz=2500)
    np.testing.assert_allclose(settings(speech[::-1], RATE, rng)[::-1], settings(speech, RATE, rng), atol=1e-6)


def test_two_masks_side_by_side_are_one_mask(rng):
    noise = rng.standard_normal(RATE).astype(np.float32)
    parts = BandMask(low_hz=4000, high_hz=5000)(BandMask(low_hz=3000, high_hz=4000)(noise, RATE, rng), RATE, rng)
    whole = BandMask(low_hz=3000, high_hz=5000)(noise, RATE, rng)
    np.testing.assert_allclose(parts[2000:-2000], whole[2000:-2000], atol=1e-4)


def test_a_log_spectrum_no_longer_tells_what_stood_in_the_band(rng):
    def decibels(audio):
        return 10 * np.log10(np.abs(np.fft.rfft(np.hanning(512) * audio[8000:8512])) ** 2 + 1e-12)

    noise = rng.standard_normal(RATE).astype(np.float32)
    louder = noise + np.sin(2 * np.pi * 4000 * np.arange(RATE) / RATE).astype(np.float32)
    assert np.abs(decibels(noise) - decibels(louder)).max() > 20
    assert np.abs(decibels(BandMask()(noise, RATE, rng)) - decibels(BandMask()(louder, RATE, rng))).max() < 1


def test_one_sample_is_enough(rng):
    assert BandMask()(np.ones(1, dtype=np.float32), RATE, rng).shape == (1,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low_hz": -1}, "low_hz is -1; it must be a number from 0 to 96000 Hz"),
        ({"high_hz": float("nan")}, "high_hz is nan"),
        ({"low_hz": 5000, "high_hz": 3000}, "low_hz is 5000 and high_hz 3000; low_hz must be the lower one"),
        ({"low_hz": 3000, "high_hz": 3000}, "low_hz must be the lower one"),
        ({"low_hz": 30}, "low_hz is 30; below 50 Hz nothing could pass under the band, so give 0"),
    ],
)
def test_settings_that_make_no_band_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        BandMask(**settings)


@pytest.mark.parametrize(
    ("band", "message"),
    [((8000, 9000), "ends at 8000 Hz, and the band lies beyond it"), ((0, 8000), "and the band takes out all of it")],
)
def test_a_band_that_leaves_all_or_nothing_is_refused(band, message, speech, rng):
    with pytest.raises(RecipeError, match=message):
        BandMask(low_hz=band[0], high_hz=band[1])(speech, RATE, rng)


def test_the_label_names_the_band_and_a_recipe_can_ask_for_it():
    assert parse_condition("band_mask(3000, 5000)").label == BandMask().label == "without 3000-5000 Hz"
