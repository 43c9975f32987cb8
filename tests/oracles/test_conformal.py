"""Conformal acceptance against its definition, and the promise that it makes."""

import numpy as np
import pytest

from spoofscope.errors import NotEnoughTrials, ScoresError
from spoofscope.metrics.conformal import CalibrationSet, acceptance, accepted_weight, conformal_threshold, effective_size


def slow_acceptance(calibration, score, target, weights, own, draws=20_001):
    """The smoothed p-value under evenly spread lots."""
    lots = (np.arange(draws) + 0.5) / draws
    above = sum(weight for value, weight in zip(calibration, weights, strict=True) if value > score)
    level = sum(weight for value, weight in zip(calibration, weights, strict=True) if value == score)
    return np.mean((above + lots * (level + own)) / (sum(weights) + own) <= target)


@pytest.mark.parametrize("seed", range(4))
def test_acceptance_is_the_chance_that_the_smoothed_p_value_is_small(seed: int) -> None:
    rng = np.random.default_rng(seed)
    calibration, judged = rng.integers(0, 8, 15).astype(float), rng.integers(-1, 9, 12).astype(float)
    weights, own = rng.uniform(0.1, 3, 15), rng.uniform(0.1, 3, 12)
    found = acceptance(calibration, judged, 0.2, weights=weights, own_weights=own)
    slow = [slow_acceptance(calibration, score, 0.2, weights, one) for score, one in zip(judged, own, strict=True)]
    np.testing.assert_allclose(found, slow, atol=1e-3)


@pytest.mark.parametrize("n", [3, 19, 40])
@pytest.mark.parametrize("steps", [2, 10, 10_000])
def test_exchangeable_spoof_is_let_through_as_often_as_promised_however_tied(n: int, steps: int) -> None:
    rng = np.random.default_rng(n + steps)
    runs = np.array([acceptance(*np.split(rng.integers(0, steps, n + 20).astype(float), [n]), 0.1).mean() for _ in range(2000)])
    assert abs(runs.mean() - 0.1) < 4 * runs.std() / np.sqrt(len(runs))


def test_the_plain_rule_never_lets_more_through_than_promised() -> None:
    rng = np.random.default_rng(1)
    accepted = [(rng.standard_normal(50) > conformal_threshold(rng.standard_normal(30), 0.1)).mean() for _ in range(3000)]
    assert 0.07 < np.mean(accepted) <= 0.1
    assert conformal_threshold([1.0, 2.0], 0.05) == np.inf


def test_weights_keep_the_promise_under_a_shift_that_breaks_it_without() -> None:
    rng = np.random.default_rng(2)
    plain, weighed = [], []
    for _ in range(400):
        calibration, tested = rng.normal(0, 1, 300), rng.normal(1, 1, 30)  # a covariate that scores follow
        ratio = [np.exp(side - 0.5) for side in (calibration, tested)]
        plain.append(acceptance(calibration, tested, 0.1).mean())
        weighed.append(acceptance(calibration, tested, 0.1, weights=ratio[0], own_weights=ratio[1]).mean())
    assert np.mean(plain) > 0.3
    assert abs(np.mean(weighed) - 0.1) < 4 * np.std(weighed) / np.sqrt(400)


def test_accepted_weight_is_that_of_trials_repeated_as_often_as_their_clusters() -> None:
    rng = np.random.default_rng(3)
    scores, codes = rng.integers(0, 30, 60).astype(float), rng.integers(0, 9, 60)
    judged, own = rng.integers(0, 30, 200).astype(float), rng.integers(0, 9, 200)
    drawn = np.concatenate((np.ones((1, 9)), rng.integers(0, 3, (20, 9)).astype(float)))
    found = accepted_weight([CalibrationSet(scores, codes)], judged, own, drawn, 0.15)
    for weights, value in zip(drawn, found, strict=True):
        calibration = np.repeat(scores, weights[codes].astype(int))
        slow = (acceptance(calibration, judged, 0.15) * weights[own]).sum()
        assert value == pytest.approx(slow)


def test_what_cannot_be_calibrated_on_is_refused() -> None:
    with pytest.raises(NotEnoughTrials, match="no calibration scores"):
        acceptance([], [1.0], 0.05)
    for calibration, target, weights, words in (
        ([np.nan], 0.05, None, "must be finite"),
        ([1.0], 1.5, None, "between 0 and 1"),
        ([1.0], 0.05, [-1.0], "at least 0"),
    ):
        with pytest.raises(ScoresError, match=words):
            acceptance(calibration, [1.0], target, weights=weights)
    assert effective_size([1, 1, 1, 1]) == 4 and effective_size([1, 0, 0]) == 1
