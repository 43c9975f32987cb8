"""Windows over a recording, and the pooling of their scores."""

import numpy as np
import pytest

from spoofscope.errors import RecipeError
from spoofscope.windows import Windows, pool_scores, running_scores

RATE = 100


def spans(windows, samples):
    """First and last-plus-one sample of every window, read from a ramp."""
    ramp = np.arange(samples, dtype=np.float32)
    return [(int(window.audio[0]), int(window.audio[-1]) + 1) for window in windows.cut(ramp, RATE)]


def test_windows_without_overlap_follow_one_another_and_the_tail_is_kept():
    assert spans(Windows(window_s=2), 500) == [(0, 200), (200, 400), (400, 500)]


def test_dropping_the_tail_loses_the_end_of_the_recording():
    assert spans(Windows(window_s=2, tail="drop"), 390) == [(0, 200)]


def test_a_recording_of_whole_windows_has_no_tail_either_way():
    for tail in ("keep", "drop"):
        assert spans(Windows(window_s=2, tail=tail), 400) == [(0, 200), (200, 400)]


def test_overlapping_windows_start_a_hop_apart():
    assert spans(Windows(window_s=2, hop_s=1.8), 600) == [(0, 200), (180, 380), (360, 560), (540, 600)]


def test_no_window_is_added_for_an_end_that_is_already_heard():
    assert spans(Windows(window_s=2, hop_s=1), 400) == [(0, 200), (100, 300), (200, 400)]


@pytest.mark.parametrize("tail", ["keep", "drop"])
@pytest.mark.parametrize("samples", [1, 199, 200])
def test_a_recording_no_longer_than_a_window_is_heard_whole(tail, samples):
    assert spans(Windows(window_s=2, tail=tail), samples) == [(0, samples)]


def test_a_window_tells_the_second_at_which_it_ends():
    ends = [window.end_s for window in Windows(window_s=2).cut(np.zeros(500, dtype=np.float32), RATE)]
    assert ends == [2, 4, 5]


def test_the_audio_is_neither_copied_nor_changed():
    audio = np.zeros(500, dtype=np.float32)
    assert all(np.shares_memory(window.audio, audio) for window in Windows(window_s=2).cut(audio, RATE))


@pytest.mark.parametrize(
    ("pool", "running"),
    [("mean", [2, 1, 2, 3]), ("min", [2, 0, 0, 0]), ("max", [2, 2, 4, 6]), ("last", [2, 0, 4, 6])],
)
def test_running_scores_are_the_pool_of_what_was_heard_so_far(pool, running):
    scores = np.array([2, 0, 4, 6], dtype=np.float32)
    assert list(running_scores(scores, pool)) == running
    assert pool_scores(scores, pool) == np.float32(running[-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_s": 0}, "window_s is 0; a window must last longer than 0 s"),
        ({"window_s": float("nan")}, "window_s is nan"),
        ({"window_s": 2, "hop_s": 0}, "hop_s is 0; it must be above 0 and at most window_s"),
        ({"window_s": 2, "hop_s": 2.5}, "hop_s is 2.5"),
        ({"window_s": 2, "pool": "median"}, "pool is 'median'; it must be one of mean, min, max, last"),
        ({"window_s": 2, "tail": "pad"}, "tail is 'pad'; it must be one of keep, drop"),
    ],
)
def test_settings_that_skip_or_stall_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        Windows(**settings)
