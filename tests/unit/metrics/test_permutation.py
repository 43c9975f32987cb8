from itertools import permutations as all_orders

import numpy as np
import pytest
from scipy import stats

from spoofscope.metrics import permutation
from spoofscope.metrics.correlations import bootstrap_spearman, draw_attacks, spearman, weighted_spearman
from spoofscope.metrics.permutation import benjamini_hochberg, holm, layer_band, permutation_test


@pytest.fixture(scope="module")
def layered():
    """Six attacks, two predictors at three layers, each layer with its own gap; ties on both sides."""
    rng = np.random.default_rng(2)
    return rng.integers(0, 4, (6, 2, 3)).astype(float), rng.integers(0, 5, (6, 3)).astype(float)


def rng(seed=0):
    return np.random.default_rng(seed)


def enumerated(predictors, outcome):
    """|rho| of every column in every order of the attacks, one scipy call at a time."""
    columns = [(p, layer) for p in range(predictors.shape[1]) for layer in range(predictors.shape[2])]
    return np.array(
        [
            [abs(stats.spearmanr(predictors[:, p, layer], outcome[list(order), layer])[0]) for p, layer in columns]
            for order in all_orders(range(len(outcome)))
        ]
    ).reshape(-1, *predictors.shape[1:])


def test_few_attacks_are_tested_in_every_order(layered):
    predictors, outcome = layered
    found = permutation_test(predictors, outcome, rng=rng())
    rho = enumerated(predictors, outcome)
    seen = rho[0] - 1e-9  # the first order is the one seen
    assert found.exact and found.permutations == 720
    assert found.p == pytest.approx((rho >= seen).mean(axis=0), abs=1e-12)
    assert found.p_max_t == pytest.approx((rho.max(axis=(1, 2))[:, None, None] >= seen).mean(axis=0), abs=1e-12)


def test_many_attacks_are_tested_in_random_orders(layered, monkeypatch):
    exact = permutation_test(*layered, rng=rng())
    monkeypatch.setattr(permutation, "MOST_EXACT", 5)
    found = permutation_test(*layered, rng=rng(), permutations=20_000)
    assert not found.exact and found.permutations == 20_000
    for random, true in ((found.p, exact.p), (found.p_max_t, exact.p_max_t)):
        assert (np.abs(random - true) < 4 * np.sqrt(true * (1 - true) / 20_000) + 1e-4).all()


def test_one_predictor_gives_the_p_that_scipy_enumerates():
    predictor, outcome = rng().normal(size=(2, 7))
    test = stats.permutation_test((predictor,), lambda x: stats.spearmanr(x, outcome)[0], permutation_type="pairings")
    far = np.abs(test.null_distribution) >= abs(test.statistic) - 1e-9
    assert permutation_test(predictor, outcome, rng=rng()).p == pytest.approx(far.mean(), abs=1e-12)


def test_p_is_never_zero():
    outcome = np.arange(13.0)
    found = permutation_test(outcome, outcome, rng=rng(), permutations=999)
    assert found.p == found.p_max_t == 1 / 1000


def test_the_blocks_that_bound_the_memory_change_nothing(monkeypatch):
    predictors, outcome = rng().normal(size=(13, 3)), rng(1).normal(size=13)
    whole = permutation_test(predictors, outcome, rng=rng(), permutations=500)
    monkeypatch.setattr(permutation, "_BLOCK_ENTRIES", 13 * 7)
    assert np.array_equal(permutation_test(predictors, outcome, rng=rng(), permutations=500).p_max_t, whole.p_max_t)


def test_a_copy_of_a_predictor_costs_nothing_in_max_t_and_doubles_holm():
    predictor, outcome = rng().normal(size=(2, 13))
    once = permutation_test(predictor[:, None], outcome, rng=rng(), permutations=999)
    twice = permutation_test(np.column_stack((predictor, predictor)), outcome, rng=rng(), permutations=999)
    assert (twice.p_max_t == once.p_max_t).all()
    assert holm(twice.p)[0] == pytest.approx(min(1, 2 * once.p[0]))


def test_a_constant_column_has_no_p_and_leaves_the_others_theirs():
    predictors, outcome = rng().normal(size=(13, 2)), rng(1).normal(size=13)
    alone = permutation_test(predictors, outcome, rng=rng(), permutations=999)
    found = permutation_test(np.insert(predictors, 1, 0.1, axis=1), outcome, rng=rng(), permutations=999)
    assert np.isnan([found.p[1], found.p_max_t[1]]).all()
    assert np.array_equal(found.p_max_t[[0, 2]], alone.p_max_t)


def test_holm_steps_down():
    # Holm 1979: 4 * 0.005, 3 * 0.01, then 2 * 0.03; the largest is held up by the one before it
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]


def test_holm_never_exceeds_bonferroni():
    p = rng().random(20)
    assert (holm(p) <= np.minimum(1, 20 * p) + 1e-12).all()


def test_benjamini_hochberg_is_scipys():
    p = rng().random(20) ** 2
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


def test_an_empty_family_has_no_p():
    assert holm(np.empty(0)).size == benjamini_hochberg(np.empty(0)).size == 0


@pytest.fixture(scope="module")
def sweep():
    """Thirteen attacks, eight layers that share most of their noise."""
    made = rng(4)
    outcome, shared = made.normal(size=(2, 13))
    return 0.7 * outcome[:, None] + shared[:, None] + 0.3 * made.normal(size=(13, 8)), outcome


def test_the_band_lies_around_rho_and_outside_most_single_intervals(sweep):
    predictors, outcome = sweep
    band = layer_band(predictors, outcome, rng=rng(), replicates=2000)
    alone = bootstrap_spearman(predictors, outcome, rng=rng(), replicates=2000)
    assert np.array_equal(band.rho, spearman(predictors, outcome))
    assert ((band.low < band.rho) & (band.rho < band.high)).all()
    assert (band.high - band.low).mean() > (alone.high - alone.low).mean()
    assert (np.abs(np.concatenate((band.low, band.high))) <= 1).all()


def test_the_band_of_copies_of_one_layer_is_that_of_the_layer(sweep):
    predictors, outcome = sweep
    one = layer_band(predictors[:, :1], outcome, rng=rng(), replicates=500)
    copies = layer_band(np.repeat(predictors[:, :1], 5, axis=1), outcome, rng=rng(), replicates=500)
    assert copies.critical == pytest.approx(one.critical)
    assert copies.low == pytest.approx(np.repeat(one.low, 5))


def test_more_layers_need_a_wider_band(sweep):
    _, outcome = sweep
    layers = rng(9).normal(size=(13, 12))
    few, many = (layer_band(layers[:, :k], outcome, rng=rng(), replicates=1000).critical for k in (2, 12))
    assert many > few


def test_the_critical_value_is_that_of_the_largest_deviation(sweep):
    predictors, outcome = sweep
    band = layer_band(predictors, outcome, rng=rng(), replicates=400, level=0.9)
    rho = weighted_spearman(predictors, outcome, draw_attacks(13, 400, rng()))
    samples = np.arctanh(np.clip(rho, -1 + 1e-15, 1 - 1e-15))  # a resample in perfect order is the largest either way
    error = [(sorted(column)[299] - sorted(column)[99]) / 1.349 for column in samples.T]
    largest = sorted(max(abs(z - np.arctanh(band.rho)) / error) for z in samples)
    assert band.critical == pytest.approx(largest[359])
    assert band.low == pytest.approx(np.tanh(np.arctanh(band.rho) - band.critical * np.array(error)))


def test_a_layer_without_rho_leaves_the_others_their_band(sweep):
    predictors, outcome = sweep
    whole = layer_band(predictors, outcome, rng=rng(), replicates=300)
    found = layer_band(np.insert(predictors, 2, 1.0, axis=1), outcome, rng=rng(), replicates=300)
    assert np.isnan([found.rho[2], found.low[2], found.high[2]]).all()
    assert np.array_equal(np.delete(found.low, 2), whole.low)


def test_perfect_order_has_no_band():
    outcome = np.arange(6.0)
    found = layer_band(outcome[:, None], outcome, rng=rng(), replicates=100)
    assert found.rho[0] == pytest.approx(1)
    assert np.isnan([found.low[0], found.high[0], found.critical]).all()


def test_layers_that_are_all_constant_have_no_band():
    found = layer_band(np.ones((6, 2)), np.arange(6.0), rng=rng(), replicates=20)
    assert np.isnan([*found.rho, *found.low, *found.high, found.critical]).all()
