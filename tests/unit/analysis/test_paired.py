"""What is said of errors that were resampled together: estimates, intervals, p-values, and where there are none."""

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.retraining.paired import Paired, chance

FRAME = pl.DataFrame(
    {
        "label": ["bonafide", "bonafide", "spoof", "spoof", "spoof", "spoof"],
        "speaker": ["a", "b", "a", "b", "c", "c"],
        "attack": ["-", "-", "A", "A", "B", "B"],
    }
)


def of_attack(attack):
    return (FRAME["attack"] == attack).to_numpy()


def paired(**changes):
    return Paired(FRAME, **({"seeds": 2, "replicates": 200, "level": 0.9} | changes))


def test_an_estimate_is_the_mean_over_trainings_and_its_interval_the_quantiles_of_the_resamples():
    values = np.arange(402.0).reshape(2, 201)
    one = paired()
    pooled = one.over_seeds(values)
    assert pooled[0] == pytest.approx((values[0, 0] + values[1, 0]) / 2)
    assert set(np.unique(pooled[1:] - values[0, 1:])) == {0.0, 201.0}
    found = one.interval(pooled)
    assert found == pytest.approx((pooled[0], *np.quantile(pooled[1:], [0.05, 0.95])))


def test_equal_trainings_differ_by_nothing_in_every_resample():
    scores = np.random.default_rng(0).standard_normal((2, 6))
    one = paired()
    errors = one.errors("eer", scores, of_attack("A"))
    assert not np.nansum(np.abs(errors - one.errors("eer", scores, of_attack("A"))))
    assert np.isfinite(errors[:, 0]).all()


def test_trials_of_one_speaker_have_an_estimate_and_no_interval_and_it_is_said_why():
    one = paired()
    assert one.alone(of_attack("A")) == ""
    assert one.alone(of_attack("B")) == "no interval: the spoof trials are of one speaker"
    errors = one.errors("eer", np.array([[1.0, 2, 0, 0, 0, 3]] * 2), of_attack("B"))
    assert errors[0, 0] == pytest.approx(0.5)
    found = one.interval(one.over_seeds(errors))
    assert np.isnan([found.low, found.high]).all()


def test_what_no_resample_moves_has_an_interval_only_if_it_is_a_difference():
    still = np.full(201, 0.25)
    assert paired().interval(still) == (0.25, 0.25, 0.25)
    found = paired().interval(still, paired=False)
    assert found.value == 0.25
    assert np.isnan([found.low, found.high]).all()


def test_p_counts_the_resamples_on_the_other_side_and_never_is_zero():
    values = np.array([-1.0, -3, -2, -1, 0, 2, np.nan, -1, -1, -1, -1])  # the estimate, then nine resamples that exist
    assert chance(values, "narrows", 1) == pytest.approx((1 + 2) / 10)
    assert chance(values, "widens", 1) == pytest.approx((1 + 8) / 10)
    assert chance(values, "narrows", 2) == chance(values, "widens", 2) == pytest.approx(0.6)
    assert chance(np.full(100, -1.0), "narrows", 1) == pytest.approx(1 / 100)
    assert chance(np.zeros(100), "narrows", 2) == 1.0


def test_p_is_below_half_of_what_the_interval_leaves_out_just_when_the_interval_lies_on_the_expected_side():
    rng = np.random.default_rng(1)
    one = paired(replicates=999, level=0.95)
    agree = []
    for shift in rng.uniform(-3.5, 0, 200):
        values = np.concatenate(([shift], shift + rng.standard_normal(999)))
        agree.append((one.interval(values).high < 0) == (chance(values, "narrows", 1) <= 0.025))
    assert np.mean(agree) > 0.98
    assert chance(np.concatenate(([-3.0], -3 + rng.standard_normal(999))), "narrows", 1) < 0.025
