"""Two representations of the same trials, group by group and on the whole."""

import itertools

import numpy as np
import pytest

from spoofscope.analysis.design import design_of
from spoofscope.analysis.holdout import gap_row, hold_out, plan_jobs
from spoofscope.analysis.regimes import compare_gaps, contrast_row, sign_flip_p
from tests.simulated import simulated_embeddings
from tests.unit.analysis.test_holdout import FAR, RESAMPLING, NearestCentre


def test_two_representations_are_compared_on_the_same_trials() -> None:
    vectors, frame = simulated_embeddings(np.random.default_rng(5), attacks=FAR)
    design = design_of(frame, "attack", "simulated", folds=4)
    plan = plan_jobs(design, min_count=5, seed=0)
    noise = vectors + np.random.default_rng(0).standard_normal(vectors.shape).astype(np.float32)
    sides = [
        {one.group: one for one in hold_out(seen, design, NearestCentre(), plan)}["other way"] for seen in (vectors, noise)
    ]
    row = contrast_row(*sides, ("speaker",), seed=0, resampling=RESAMPLING)
    gaps = [gap_row(side, ("speaker",), seed=0, resampling=RESAMPLING)["gap"] for side in sides]
    assert row["difference"] == pytest.approx(gaps[1] - gaps[0])
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    same = contrast_row(sides[0], sides[0], ("speaker",), seed=0, resampling=RESAMPLING)
    assert (same["difference"], same["difference_low"], same["difference_high"]) == (0, 0, 0)


def test_every_sign_is_gone_through_where_there_are_few() -> None:
    difference = np.array([0.3, -0.1, 0.2, 0.25, 0.05])
    sums = [abs(np.dot(signs, difference)) for signs in itertools.product((1, -1), repeat=5)]
    slow = np.mean(np.array(sums) >= abs(difference.sum()) - 1e-12)
    assert sign_flip_p(difference, permutations=100, rng=np.random.default_rng(0)) == slow


def test_random_signs_agree_with_all_of_them() -> None:
    difference = np.random.default_rng(1).normal(0.2, 1, 20)
    many = sign_flip_p(difference, permutations=200_000, rng=np.random.default_rng(0))
    more = sign_flip_p(difference, permutations=200_000, rng=np.random.default_rng(1))
    assert many == pytest.approx(more, abs=0.01)
    exact = sign_flip_p(difference[:16], permutations=1, rng=np.random.default_rng(0))
    sampled = np.random.default_rng(2).integers(2, size=(200_000, 16)) * 2 - 1
    assert exact == pytest.approx(np.mean(np.abs(sampled @ difference[:16]) >= abs(difference[:16].sum())), abs=0.005)


def test_no_difference_is_found_as_often_as_promised() -> None:
    rng = np.random.default_rng(7)
    found = [sign_flip_p(rng.standard_normal(10), permutations=1, rng=rng) < 0.05 for _ in range(600)]
    assert abs(np.mean(found) - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 600)


def test_a_shift_of_all_groups_is_found_and_the_order_of_groups_is_told() -> None:
    first = np.linspace(0, 0.2, 9)
    row = compare_gaps(first, first + 0.05, permutations=1000, replicates=500, level=0.95, seed=0)
    assert row["mean_difference"] == pytest.approx(0.05)
    assert row["p"] == 2 / 2**9
    assert row["rho"] == pytest.approx(1)
    assert row["mean_difference_low"] <= 0.05 + 1e-12 and row["mean_difference_high"] >= 0.05 - 1e-12
