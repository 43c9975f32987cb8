"""Heads by name, and what they refuse."""

import numpy as np
import pytest

from spoofscope.analysis.heads import HEADS, logistic, open_head
from spoofscope.analysis.heads.logistic import balanced, fit_logistic
from spoofscope.errors import DataError, NotEnoughTrials, RecipeError, UnknownName
from tests.simulated import simulated_embeddings

VECTORS, FRAME = simulated_embeddings(np.random.default_rng(0), attacks={"X1": (2, 1), "X2": (1, 2)}, speakers=12)
BONAFIDE = (FRAME["label"] == "bonafide").to_numpy()
WEIGHTS = np.column_stack([np.arange(len(BONAFIDE)) % 3 != part for part in range(3)]).astype(float)


@pytest.mark.parametrize("expression", [*HEADS, "logistic(C=0.01)", "knn(k=3, metric='euclidean')", "mlp(hidden=8)"])
def test_every_head_tells_the_classes_apart_on_rows_that_it_has_not_seen(expression: str) -> None:
    head = open_head(expression)
    assert head.name == expression
    scores = head.fit_score(VECTORS, BONAFIDE, WEIGHTS)
    assert scores.shape == WEIGHTS.shape and np.isfinite(scores).all()
    unseen = np.array([row[weight == 0][0] for row, weight in zip(scores, WEIGHTS, strict=True)])
    pairs = unseen[BONAFIDE][:, None] > unseen[~BONAFIDE]
    assert pairs.mean() > 0.8


@pytest.mark.parametrize("expression", [*HEADS])
def test_a_training_set_is_answered_alike_alone_and_among_others(expression: str) -> None:
    head = open_head(expression)
    together = head.fit_score(VECTORS, BONAFIDE, WEIGHTS)
    alone = head.fit_score(VECTORS, BONAFIDE, WEIGHTS[:, 1])
    unseen = WEIGHTS[:, 1] == 0
    np.testing.assert_allclose(together[unseen, 1], alone[unseen, 0], rtol=1e-2, atol=2e-2)


@pytest.mark.parametrize("expression", [*HEADS])
def test_rows_of_weight_0_move_nothing(expression: str) -> None:
    head = open_head(expression)
    moved = VECTORS.copy()
    moved[0] += 1000
    moved[3] -= 500
    weights = WEIGHTS[:, :1].copy()
    weights[[0, 3]] = 0
    before, after = (head.fit_score(seen, BONAFIDE, weights) for seen in (VECTORS, moved))
    rest = np.setdiff1d(np.flatnonzero(weights[:, 0] == 0), [0, 3])
    np.testing.assert_allclose(before[rest], after[rest], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("expression", [*HEADS])
def test_a_row_without_a_vector_costs_the_others_nothing(expression: str) -> None:
    head = open_head(expression)
    broken, weights = VECTORS.copy(), WEIGHTS[:, :1].copy()
    broken[3], weights[3] = np.nan, 0
    before, after = (head.fit_score(seen, BONAFIDE, weights)[:, 0] for seen in (VECTORS, broken))
    rest = np.arange(len(BONAFIDE)) != 3
    assert np.isnan(after[3])
    np.testing.assert_allclose(after[rest], before[rest], rtol=1e-4, atol=1e-4)


def test_an_unknown_head_and_an_unknown_setting_list_what_is_known() -> None:
    with pytest.raises(UnknownName, match="no head 'svm'; known: logistic, lda, knn, mlp"):
        open_head("svm")
    with pytest.raises(RecipeError, match="knn has no setting 'n'; it has k, metric"):
        open_head("knn(n=3)")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("logistic(C=0)", "C is 0; it must be a number above 0"),
        ("logistic(class_weight='even')", "it must be 'balanced' or left out"),
        ("knn(metric='manhattan')", "it must be cosine or euclidean"),
        ("mlp(hidden=-1)", "hidden is -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(expression: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        open_head(expression)


def test_a_training_set_of_one_class_is_named() -> None:
    with pytest.raises(NotEnoughTrials, match=r"problem 1: 72 training rows, 72 of them of the positive class"):
        fit_logistic(VECTORS, BONAFIDE, np.column_stack([np.ones(len(BONAFIDE)), BONAFIDE]))


def test_nan_where_it_counts_is_named_and_elsewhere_left_alone() -> None:
    broken = VECTORS.copy()
    broken[5] = np.nan
    with pytest.raises(DataError, match="problem 0: 1 training rows hold nan or inf; give them weight 0"):
        fit_logistic(broken, BONAFIDE, np.ones(len(BONAFIDE)))
    weights = np.ones(len(BONAFIDE))
    weights[5] = 0
    assert np.isfinite(fit_logistic(broken, BONAFIDE, weights).coefficients).all()


@pytest.mark.parametrize("weights", [-np.ones(len(BONAFIDE)), np.full(len(BONAFIDE), np.inf)])
def test_weights_that_are_none_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(DataError, match="weights must be finite and at least 0"):
        fit_logistic(VECTORS, BONAFIDE, weights)


def test_shapes_that_disagree_are_shown() -> None:
    with pytest.raises(DataError, match=r"must share their rows; found"):
        fit_logistic(VECTORS, BONAFIDE[:-1], np.ones(len(BONAFIDE)))


def test_separable_classes_have_a_finite_answer() -> None:
    rows = np.concatenate((np.full((20, 3), 5.0), np.full((20, 3), -5.0)))
    fitted = fit_logistic(rows, np.arange(40) < 20, np.ones(40), c=1e4)
    assert np.isfinite(fitted.coefficients).all() and fitted.gradient_norms.max() < 1e-6


def test_a_constant_column_has_no_say() -> None:
    padded = np.column_stack((VECTORS, np.full(len(VECTORS), 3.5, dtype=np.float32)))
    fitted = fit_logistic(padded, BONAFIDE, WEIGHTS)
    np.testing.assert_allclose(fitted.coefficients[-1], 0, atol=1e-12)
    np.testing.assert_allclose(fitted.decision(padded), fit_logistic(VECTORS, BONAFIDE, WEIGHTS).decision(VECTORS), atol=1e-2)


def test_what_too_few_steps_leave_is_finished_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = fit_logistic(VECTORS, BONAFIDE, WEIGHTS, tolerance=1e-9)
    finished = fit_logistic(VECTORS, BONAFIDE, WEIGHTS, tolerance=1e-9, max_iterations=1)
    np.testing.assert_allclose(finished.coefficients, exact.coefficients, atol=1e-7)
    monkeypatch.setattr(logistic, "NEWTON_STEPS", 1)
    with pytest.raises(DataError, match="the gradient is still"):
        fit_logistic(VECTORS, BONAFIDE, WEIGHTS, tolerance=1e-9, max_iterations=1)


def test_classes_that_do_not_overlap_are_fitted_under_the_weakest_penalties() -> None:
    rng = np.random.default_rng(5)
    vectors, side = rng.standard_normal((60, 80)), np.arange(60) % 2 == 0
    vectors[side, 0] += 20
    fit = fit_logistic(vectors, side, np.ones((60, 3)), c=np.array([1.0, 1e3, 1e6]))
    assert (fit.gradient_norms < 1e-6).all()
    assert ((fit.decision(vectors) > 0) == side[:, None]).all()


def test_balanced_weights_sum_to_what_the_weights_did() -> None:
    even = balanced(BONAFIDE, WEIGHTS)
    np.testing.assert_allclose(even.sum(axis=0), WEIGHTS.sum(axis=0))
    np.testing.assert_allclose(even[BONAFIDE].sum(axis=0), even[~BONAFIDE].sum(axis=0))
