"""Error against seconds heard, from one pass."""

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.heard import heard_rows
from spoofscope.metrics.rates import eer
from spoofscope.windows import Windows


def rows(scores: list[list[float]], labels: list[str], windows: Windows, hop_s: float) -> list[dict[str, float]]:
    ends = [[windows.window_s + hop_s * at for at in range(len(score))] for score in scores]
    frame = pl.DataFrame({"label": labels, "window_scores": scores, "window_ends_s": ends})
    return list(heard_rows(frame, windows, None, threshold=0.5, seed=0, replicates=20, level=0.9))


def test_each_moment_holds_what_had_been_heard_by_then() -> None:
    scores = [[1.0, 1.0, -5.0], [0.0, 2.0], [0.2, 0.4, 0.6], [0.9]]
    found = rows(scores, ["bonafide", "bonafide", "spoof", "spoof"], Windows(window_s=1.0), 1.0)
    assert [row["seconds"] for row in found] == [1, 2, 3]
    assert [row["n_listening"] for row in found] == [4, 3, 2]
    first = eer(np.array([1.0, 0.0]), np.array([0.2, 0.9]))
    last = eer(np.array([-1.0, 1.0]), np.array([0.4, 0.9]))
    assert (found[0]["eer"], found[2]["eer"]) == (pytest.approx(first), pytest.approx(last))
    assert [(row["miss"], row["false_alarm"]) for row in found] == [(0.5, 0.5), (0.0, 0.5), (0.5, 0.5)]


def test_a_long_stream_is_told_in_at_most_sixteen_moments_and_both_ends() -> None:
    scores = [list(np.linspace(0, 1, 400)), list(np.linspace(1, 0, 400))]
    found = rows(scores, ["bonafide", "spoof"], Windows(window_s=0.5, hop_s=0.25), 0.25)
    assert len(found) <= 16
    assert found[0]["seconds"] == 0.5 and found[-1]["seconds"] == pytest.approx(0.5 + 0.25 * 399)


def test_the_last_moment_is_the_pooled_score() -> None:
    rng = np.random.default_rng(0)
    scores = [rng.normal(at % 2, 1, 5).tolist() for at in range(40)]
    labels = ["bonafide" if at % 2 else "spoof" for at in range(40)]
    found = rows(scores, labels, Windows(window_s=1.0, pool="min"), 1.0)
    lowest = np.array([min(score) for score in scores])
    assert found[-1]["eer"] == pytest.approx(eer(lowest[1::2], lowest[::2]))
