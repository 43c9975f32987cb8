"""What is true of every logistic regression."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofscope.analysis.heads.logistic import fit_logistic

seeds = st.integers(0, 10_000)


def problem(seed: int, n: int = 40, d: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, d))
    return rows, rows[:, 0] + rng.standard_normal(n) > 0, rng.integers(0, 3, n).astype(float) + (np.arange(n) < 20)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_order_of_rows_is_indifferent(seed: int) -> None:
    rows, target, weights = problem(seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    first = fit_logistic(rows, target, weights, tolerance=1e-9).decision(rows)
    second = fit_logistic(rows[order], target[order], weights[order], tolerance=1e-9).decision(rows)
    np.testing.assert_allclose(first, second, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_a_row_of_weight_2_is_two_rows(seed: int) -> None:
    rows, target, weights = problem(seed)
    repeated = np.repeat(np.arange(len(rows)), weights.astype(int))
    weighed = fit_logistic(rows, target, weights, tolerance=1e-9).decision(rows)
    written_out = fit_logistic(rows[repeated], target[repeated], np.ones(len(repeated)), tolerance=1e-9).decision(rows)
    np.testing.assert_allclose(weighed, written_out, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0.01, 100), st.floats(-50, 50))
def test_a_column_s_unit_and_origin_are_indifferent(seed: int, unit: float, origin: float) -> None:
    rows, target, weights = problem(seed)
    moved = rows.copy()
    moved[:, 1] = unit * rows[:, 1] + origin
    first, second = (fit_logistic(seen, target, weights, tolerance=1e-9).decision(seen) for seen in (rows, moved))
    np.testing.assert_allclose(first, second, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_swapping_the_classes_turns_the_sign(seed: int) -> None:
    rows, target, weights = problem(seed)
    first, second = (fit_logistic(rows, side, weights, tolerance=1e-9).decision(rows) for side in (target, ~target))
    np.testing.assert_allclose(first, -second, atol=1e-5)
