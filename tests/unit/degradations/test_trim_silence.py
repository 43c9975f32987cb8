"""Trimming of silence."""

import numpy as np
import pytest

from spoofscope.degradations.trim_silence import TrimSilence
from spoofscope.errors import RecipeError

RATE = 16_000
FRAME_S = 0.128


def where(part, whole):
    """Seconds at which `part` starts and ends in `whole`."""
    start = next(at for at in range(len(whole)) if np.array_equal(whole[at : at + len(part)], part))
    return start / RATE, (start + len(part)) / RATE


def test_both_ends_go_and_the_speech_stays_whole(speech, rng):
    start_s, end_s = where(TrimSilence()(speech, RATE, rng), speech)
    assert 0.4 - FRAME_S <= start_s <= 0.4
    assert 1.6 <= end_s <= 1.6 + FRAME_S


def test_one_side_leaves_the_other_as_it_was(speech, rng):
    assert where(TrimSilence(side="lead")(speech, RATE, rng), speech)[1] == len(speech) / RATE
    assert where(TrimSilence(side="trail")(speech, RATE, rng), speech)[0] == 0


def test_both_sides_are_what_the_two_sides_do_one_after_the_other(speech, rng):
    both = where(TrimSilence()(speech, RATE, rng), speech)
    lead = where(TrimSilence(side="lead")(speech, RATE, rng), speech)
    trail = where(TrimSilence(side="trail")(speech, RATE, rng), speech)
    assert both == (lead[0], trail[1])


def test_a_smaller_range_trims_more(rng):
    fade = (np.linspace(0, 1, 4 * RATE) ** 3 * np.sin(np.arange(4 * RATE))).astype(np.float32)
    lengths = [len(TrimSilence(top_db=top_db)(fade, RATE, rng)) for top_db in (60, 40, 20, 10)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < lengths[0]


@pytest.mark.parametrize("samples", [1, 2, 100, 3000])
def test_silence_and_short_sound_stay_as_they_are(rng, samples):
    for audio in (np.zeros(samples, dtype=np.float32), np.full(samples, 0.1, dtype=np.float32)):
        heard = TrimSilence()(audio, RATE, rng)
        assert np.array_equal(heard, audio)
        assert not np.shares_memory(heard, audio)


def test_something_is_always_left(rng):
    click = np.zeros(RATE, dtype=np.float32)
    click[-1] = 1
    assert 0 < len(TrimSilence(top_db=1)(click, RATE, rng)) < RATE


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_db": 0}, "top_db is 0; it must be a number from 1 to 120 dB"),
        ({"side": "left"}, "side is 'left'; it must be one of both, lead, trail"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        TrimSilence(**settings)


def test_it_declares_that_the_length_changes_and_labels_the_side():
    assert not TrimSilence.keeps_length
    assert TrimSilence().label == "silence trimmed at -30 dB"
    assert TrimSilence(side="lead").label == "leading silence trimmed at -30 dB"
