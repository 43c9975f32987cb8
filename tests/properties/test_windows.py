"""True of all windows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spoofscope.windows import Windows, pool_scores, running_scores

RATE = 50
SETTINGS = st.tuples(st.integers(1, 200), st.integers(1, 200)).map(lambda pair: (max(pair) / RATE, min(pair) / RATE))
SCORES = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30).map(
    lambda values: np.array(values, dtype=np.float32)
)
POOLS = st.sampled_from(["mean", "min", "max", "last"])


def cut(samples, window_s, hop_s, tail):
    return Windows(window_s=window_s, hop_s=hop_s, tail=tail).cut(np.arange(samples, dtype=np.float32), RATE)


@given(st.integers(1, 1000), SETTINGS)
def test_kept_tails_cover_every_sample(samples, settings):
    heard = np.concatenate([window.audio for window in cut(samples, *settings, "keep")])
    assert np.array_equal(np.unique(heard), np.arange(samples))


@given(st.integers(1, 1000), SETTINGS)
def test_dropped_tails_leave_only_whole_windows_as_the_reference_study_counts_them(samples, settings):
    window, hop = (round(seconds * RATE) for seconds in settings)
    windows = cut(samples, *settings, "drop")
    expected = 1 if samples < window else 1 + (samples - window) // hop
    assert len(windows) == expected
    assert all(len(part.audio) == min(window, samples) for part in windows)


@given(st.integers(1, 1000), SETTINGS)
def test_keeping_the_tail_adds_at_most_one_shorter_window(samples, settings):
    kept, dropped = cut(samples, *settings, "keep"), cut(samples, *settings, "drop")
    assert len(kept) - len(dropped) in (0, 1)
    assert all(np.array_equal(one.audio, other.audio) for one, other in zip(kept, dropped, strict=False))


@given(st.integers(1, 1000), SETTINGS, st.sampled_from(["keep", "drop"]))
def test_windows_end_later_and_later_within_the_recording(samples, settings, tail):
    ends = [window.end_s for window in cut(samples, *settings, tail)]
    assert (np.diff(ends) > 0).all()
    assert ends[-1] <= samples / RATE
    assert tail == "drop" or ends[-1] == samples / RATE


@given(SCORES, POOLS)
def test_a_running_score_is_what_pooling_the_first_windows_gives(scores, pool):
    running = running_scores(scores, pool)
    again = [pool_scores(scores[: heard + 1], pool) for heard in range(len(scores))]
    assert np.array_equal(running.astype(np.float32), again)


@given(SCORES, POOLS)
def test_a_pooled_score_lies_among_the_scores(scores, pool):
    assert scores.min() - 1e-4 <= pool_scores(scores, pool) <= scores.max() + 1e-4
