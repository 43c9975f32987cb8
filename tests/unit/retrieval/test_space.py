"""Centring and whitening, fitted in blocks."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

import spoofscope.retrieval.space as space_module
from spoofscope.errors import DataError
from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.space import fit_space


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(space_module, "ROWS_AT_ONCE", 64)


def rows_of(n, d=8, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 50).astype(np.float32)


def test_centred_rows_have_mean_zero():
    rows = rows_of(500)
    assert fit_space(rows, whiten=False)(rows).mean(axis=0) == pytest.approx(np.zeros(8), abs=1e-4)


@pytest.mark.parametrize("n", [12, 60, 500])
def test_whitening_is_by_the_shrunk_covariance_of_scikit_learn(n):
    rows = rows_of(n)
    shrunk, _ = ledoit_wolf(rows.astype(np.float64))
    space = fit_space(rows, whiten=True)
    axes = space.axes.astype(np.float64)
    assert axes.T @ shrunk @ axes == pytest.approx(np.eye(8), abs=1e-4)
    variances = (space(rows) / np.linalg.norm(space.axes, axis=0)).var(axis=0)
    assert (np.diff(variances) <= 1e-5 * variances[0]).all()


def test_many_whitened_rows_have_the_identity_as_covariance():
    rows = np.random.default_rng(0).standard_normal((20_000, 8)) * np.geomspace(0.3, 3, 8) + 50
    assert np.cov(fit_space(rows, whiten=True)(rows).T) == pytest.approx(np.eye(8), abs=0.01)


def test_components_are_the_first_whitened_axes():
    rows = rows_of(300)
    assert (fit_space(rows, whiten=True, components=3)(rows) == fit_space(rows, whiten=True)(rows)[:, :3]).all()


def test_half_precision_rows_are_read_as_they_are():
    rows = rows_of(200).astype(np.float16)
    assert (fit_space(rows, whiten=True).axes == fit_space(rows.astype(np.float64), whiten=True).axes).all()


def test_rows_that_do_not_vary_cannot_be_whitened():
    with pytest.raises(DataError, match="4 rows vary in 0 of 3 directions; whitening needs at least 1"):
        fit_space(np.full((4, 3), 0.1, dtype=np.float32), whiten=True)
    with pytest.raises(DataError, match="9 rows vary in 3 of 3 directions; whitening needs 5"):
        fit_space(rows_of(9, 3), whiten=True, components=5)


def test_the_space_is_that_of_the_first_rows_and_stays():
    rows = rows_of(100)
    index = ExactIndex(metric="euclidean", whiten=True)
    index.add(np.arange(60), rows[:60])
    before = index.search(rows[:5], 3).similarities
    index.add(np.arange(60, 100), rows[60:] + 1000)
    index.remove(np.arange(30, 60))
    assert index.vectors[:30] == pytest.approx(fit_space(rows[:60], whiten=True)(rows[:30]), abs=1e-5)
    assert (index.search(rows[:5], 1).similarities == before[:, :1]).all()
