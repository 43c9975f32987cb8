"""Heads against scikit-learn, converged, and against formulas written out."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from spoofscope.analysis.heads import class_log_odds, mlp_loss, open_head
from spoofscope.analysis.heads.logistic import fit_logistic

RNG = np.random.default_rng(3)
N, D, K = 240, 12, 6
VECTORS = (RNG.standard_normal((N, D)) @ RNG.standard_normal((D, D)) * np.geomspace(1e-2, 1e3, D) + 7).astype(np.float32)
BONAFIDE = VECTORS @ RNG.standard_normal(D) / np.geomspace(1e-2, 1e3, D).max() + RNG.standard_normal(N) > np.float32(0.3)
WEIGHTS = (RNG.random((N, K)) < 0.7).astype(float)


def sklearn_scores(column: int, weights: np.ndarray = WEIGHTS, **settings: object) -> np.ndarray:
    rows = weights[:, column] > 0
    share = weights[rows, column]
    scaler = StandardScaler().fit(VECTORS[rows].astype(np.float64), sample_weight=share)
    model = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1000, **settings)
    model.fit(scaler.transform(VECTORS[rows].astype(np.float64)), BONAFIDE[rows], sample_weight=share)
    return model.decision_function(scaler.transform(VECTORS.astype(np.float64)))


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
def test_logistic_is_scikit_learn_s_at_its_optimum(c: float) -> None:
    fitted = fit_logistic(VECTORS, BONAFIDE, WEIGHTS, c=c, tolerance=1e-9)
    assert fitted.gradient_norms.max() < 1e-9
    for column in range(K):
        np.testing.assert_allclose(fitted.decision(VECTORS)[:, column], sklearn_scores(column, C=c), rtol=1e-5, atol=1e-5)


def test_row_weights_are_sample_weights_and_balanced_is_balanced() -> None:
    weights = WEIGHTS * RNG.uniform(0.2, 3, (N, 1))
    plain = fit_logistic(VECTORS, BONAFIDE, weights, tolerance=1e-9).decision(VECTORS)
    np.testing.assert_allclose(plain[:, 2], sklearn_scores(2, weights), rtol=1e-4, atol=1e-5)
    even = open_head("logistic(class_weight='balanced')").fit_score(VECTORS, BONAFIDE, WEIGHTS)
    rows = WEIGHTS[:, 1] > 0
    scaler = StandardScaler().fit(VECTORS[rows].astype(np.float64))
    model = LogisticRegression(class_weight="balanced", tol=1e-12, solver="newton-cholesky", max_iter=1000)
    model.fit(scaler.transform(VECTORS[rows].astype(np.float64)), BONAFIDE[rows])
    # the scaler of scikit-learn is not told of class weights, ours standardises by row weights; the difference is in the penalty alone
    reference = model.decision_function(scaler.transform(VECTORS.astype(np.float64)))
    assert np.corrcoef(even[:, 1], reference)[0, 1] > 0.9995


def test_many_features_and_few_rows_are_solved_exactly() -> None:
    rng = np.random.default_rng(0)
    wide, labels = rng.standard_normal((30, 200)), np.arange(30) % 2 == 0
    fitted = fit_logistic(wide, labels, np.ones(30), standardise=False, tolerance=1e-9)
    model = LogisticRegression(tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(wide, labels)
    np.testing.assert_allclose(fitted.decision(wide)[:, 0], model.decision_function(wide), atol=1e-5)


def test_each_target_has_its_own_fit() -> None:
    targets = np.column_stack([BONAFIDE, VECTORS[:, 0] > np.median(VECTORS[:, 0])])
    both = fit_logistic(VECTORS, targets, np.ones((N, 2)), tolerance=1e-9).decision(VECTORS)
    for column, target in enumerate(targets.T):
        alone = fit_logistic(VECTORS, target, np.ones(N), tolerance=1e-9).decision(VECTORS)[:, 0]
        np.testing.assert_allclose(both[:, column], alone, rtol=1e-5, atol=1e-6)


def test_lda_is_the_textbook_s_with_the_textbook_s_shrinkage() -> None:
    scores = open_head("lda").fit_score(VECTORS, BONAFIDE, WEIGHTS)
    for column in (0, 4):
        rows = WEIGHTS[:, column] > 0
        scaler = StandardScaler().fit(VECTORS[rows].astype(np.float64))
        own, labels = scaler.transform(VECTORS[rows].astype(np.float64)), BONAFIDE[rows]
        centres = [own[labels == side].mean(axis=0) for side in (True, False)]
        within = np.where(labels[:, None], own - centres[0], own - centres[1])
        covariance, _ = ledoit_wolf(within, assume_centered=True)
        axis = np.linalg.inv(covariance) @ (centres[0] - centres[1])
        slow = (scaler.transform(VECTORS.astype(np.float64)) - (centres[0] + centres[1]) / 2) @ axis
        np.testing.assert_allclose(scores[:, column], slow, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_knn_averages_the_log_distances_that_scikit_learn_finds(metric: str) -> None:
    scores = open_head(f"knn(k=7, metric='{metric}')").fit_score(VECTORS, BONAFIDE, WEIGHTS)
    rows = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True) if metric == "cosine" else VECTORS
    rows = rows.astype(np.float64)
    for column in (0, 5):
        logs = []
        for side in (~BONAFIDE, BONAFIDE):
            members = side & (WEIGHTS[:, column] > 0)
            distance, _ = NearestNeighbors(n_neighbors=7).fit(rows[members]).kneighbors(rows[WEIGHTS[:, column] == 0])
            logs.append(np.log(distance).mean(axis=1))
        np.testing.assert_allclose(scores[WEIGHTS[:, column] == 0, column], logs[0] - logs[1], atol=1e-5)


def test_the_gradient_of_the_network_is_that_of_its_loss() -> None:
    rng = np.random.default_rng(0)
    rows, sign, share = rng.standard_normal((9, 4)), rng.choice((-1.0, 1.0), 9), np.full(9, 1 / 9)
    weights = rng.standard_normal(4 * 3 + 3 + 1 + 3)
    arguments = (rows, sign, share, 3, 0.1)
    _, gradient = mlp_loss(weights, *arguments)
    numeric = [
        (mlp_loss(weights + step, *arguments)[0] - mlp_loss(weights - step, *arguments)[0]) / 2e-6
        for step in 1e-6 * np.eye(len(weights))
    ]
    np.testing.assert_allclose(gradient, numeric, atol=1e-7)


def test_a_log_likelihood_ratio_is_the_log_odds_less_the_prior_s() -> None:
    head = open_head("logistic")
    scores = head.fit_score(VECTORS, BONAFIDE, WEIGHTS)
    rows = WEIGHTS[:, 0] > 0
    prior = np.log(BONAFIDE[rows].sum() / (~BONAFIDE[rows]).sum())
    np.testing.assert_allclose(scores[:, 0] + prior, sklearn_scores(0), rtol=1e-2, atol=1e-2)
    assert class_log_odds(BONAFIDE, WEIGHTS)[0] == pytest.approx(prior)
