"""The causal Butterworth band-pass."""

import numpy as np
import pytest

from spoofscope.degradations._measure import measure
from spoofscope.degradations.bandpass import Bandpass
from spoofscope.errors import RecipeError

RATE = 16_000


def gain_db(settings, hertz):
    tone = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    passed = settings(tone, RATE, np.random.default_rng(0))
    return 20 * np.log10(np.std(passed[RATE // 2 :]) / np.std(tone[RATE // 2 :]))


@pytest.mark.parametrize("order", [2, 6])
def test_the_edges_lie_at_minus_3_db_and_the_middle_passes(order):
    settings = Bandpass(low_hz=300, high_hz=3400, order=order)
    assert gain_db(settings, 300) == pytest.approx(-3.01, abs=0.05)
    assert gain_db(settings, 3400) == pytest.approx(-3.01, abs=0.05)
    assert gain_db(settings, 1000) == pytest.approx(0, abs=0.1)


def test_each_side_falls_by_at_least_6_db_per_octave_and_order():
    assert gain_db(Bandpass(order=6), 150) < -34
    assert gain_db(Bandpass(order=6), 6800) < -36
    assert gain_db(Bandpass(order=2), 150) > -15


def test_nothing_comes_out_before_something_went_in(rng):
    impulse = np.zeros(1000, dtype=np.float32)
    impulse[500] = 1
    passed = Bandpass()(impulse, RATE, rng)
    assert not passed[:500].any()
    assert passed[500:520].any()


def test_the_delay_is_less_than_a_millisecond(speech, rng):
    assert 0 < measure(speech, Bandpass()(speech, RATE, rng), RATE).delay_samples < 16


def test_one_sample_is_enough(rng):
    assert Bandpass()(np.ones(1, dtype=np.float32), RATE, rng).shape == (1,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low_hz": 0}, "low_hz is 0; it must be a number from 1 to 96000 Hz"),
        ({"low_hz": float("nan")}, "low_hz is nan"),
        ({"high_hz": "3400"}, "high_hz is '3400'"),
        ({"low_hz": 3400, "high_hz": 300}, "low_hz is 3400 and high_hz 300; low_hz must be the lower one"),
        ({"low_hz": 300, "high_hz": 300}, "low_hz must be the lower one"),
        ({"order": 0}, "order is 0; it must be a whole number from 1 to 12"),
        ({"order": 6.0}, "order is 6.0"),
    ],
)
def test_settings_that_make_no_filter_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        Bandpass(**settings)


def test_a_band_beyond_half_the_sample_rate_is_refused(speech, rng):
    with pytest.raises(RecipeError, match="high_hz is 8000; sound at 16000 Hz ends at 8000 Hz"):
        Bandpass(high_hz=8000)(speech, RATE, rng)


def test_the_label_gives_band_unit_and_order():
    assert Bandpass().label == "band-pass 300-3400 Hz" and Bandpass(order=4).label.endswith("order 4")
