"""Gain."""

import numpy as np
import pytest

from spoofscope.degradations.gain import Gain
from spoofscope.errors import RecipeError


@pytest.mark.parametrize(("gain_db", "factor"), [(20, 10.0), (-20, 0.1), (0, 1.0), (6.0206, 2.0)])
def test_decibels_become_a_factor_without_clipping(rng, gain_db, factor):
    audio = np.array([0.5, -0.9, 0.0], dtype=np.float32)
    heard = Gain(gain_db=gain_db)(audio, 16_000, rng)
    assert heard.dtype == np.float32
    assert heard == pytest.approx(audio * factor, rel=1e-5)


def test_the_answer_is_another_array(rng):
    audio = np.ones(4, dtype=np.float32)
    assert not np.shares_memory(audio, Gain(gain_db=0)(audio, 16_000, rng))


@pytest.mark.parametrize("gain_db", [61, -101, float("nan"), "loud", None])
def test_a_gain_out_of_range_is_refused(gain_db):
    with pytest.raises(RecipeError, match=r"gain: gain_db is .*; it must be a number from -100 to 60 dB"):
        Gain(gain_db=gain_db)


def test_the_label_shows_the_sign():
    assert [Gain(gain_db=gain).label for gain in (6, -10)] == ["gain +6 dB", "gain -10 dB"]
