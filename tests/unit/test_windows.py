"""Listening in windows: every sample is heard once or more, and the pooled score is that of the windows so far."""

import numpy as np
import pytest

from spoofscope.errors import RecipeError
from spoofscope.windows import Windows, pool_scores, running_scores

RATE = 1000


def cut(samples: int, **settings):
    return Windows(**settings).cut(np.arange(samples, dtype=np.float32), RATE)


@pytest.mark.parametrize("samples", [1, 999, 1000, 1001, 1800, 2000, 2001, 4999])
@pytest.mark.parametrize("hop_s", [None, 1.0, 0.8, 0.3])
def test_every_sample_is_heard_and_windows_are_whole_but_for_the_last(samples, hop_s):
    windows = cut(samples, window_s=1.0, hop_s=hop_s)
    assert set(np.concatenate([window.audio for window in windows])) == set(range(samples))
    assert all(len(window.audio) == 1000 for window in windows[:-1])
    assert 0 < len(windows[-1].audio) <= 1000
    assert [window.end_s for window in windows] == [(window.audio[-1] + 1) / RATE for window in windows]
    assert windows[-1].end_s == samples / RATE


def test_a_dropped_tail_loses_only_what_is_shorter_than_a_window():
    assert [window.end_s for window in cut(2500, window_s=1.0, tail="drop")] == [1.0, 2.0]
    assert [len(window.audio) for window in cut(400, window_s=1.0, tail="drop")] == [400]
    assert [window.end_s for window in cut(2700, window_s=1.0, hop_s=0.8, tail="drop")] == [1.0, 1.8, 2.6]


def test_the_reference_study_windows_start_where_its_own_do():
    starts = [window.audio[0] for window in cut(10_000, window_s=2.0, hop_s=1.8, tail="drop")]
    assert starts == list(range(0, 10_000 - 2000 + 1, 1800))


@pytest.mark.parametrize(("pool", "reduce"), [("mean", np.mean), ("min", np.min), ("max", np.max), ("last", lambda x: x[-1])])
def test_the_running_score_is_the_pool_of_the_windows_so_far(pool, reduce):
    scores = np.random.default_rng(0).standard_normal(9).astype(np.float32)
    expected = [reduce(scores[: at + 1].astype(np.float64)) for at in range(9)]
    assert running_scores(scores, pool) == pytest.approx(expected)
    assert pool_scores(scores, pool) == np.float32(expected[-1])
    assert pool_scores(scores[:1], pool) == scores[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_s": 0}, "window_s is 0; a window must last longer than 0 s"),
        ({"window_s": float("nan")}, "window_s is nan"),
        ({"window_s": 1, "hop_s": 0}, "hop_s is 0; it must be above 0 and at most window_s"),
        ({"window_s": 1, "hop_s": 1.1}, r"hop_s is 1\.1"),
        ({"window_s": 1, "pool": "median"}, "pool is 'median'; it must be one of mean, min, max, last"),
        ({"window_s": 1, "tail": "pad"}, "tail is 'pad'; it must be one of keep, drop"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        Windows(**settings)
