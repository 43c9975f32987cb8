"""Do the tests err as often as they say? Simulated attacks, with no effect and with a known one.

A rate over `RUNS` runs may be off by three of its standard errors.
"""

import numpy as np
import pytest

from spoofscope.metrics.correlations import bootstrap_spearman, correlation_p, spearman, spearman_power
from spoofscope.metrics.permutation import benjamini_hochberg, holm, layer_band, permutation_test

RUNS, PERMUTATIONS, LEVEL = 600, 499, 0.05
PREDICTORS, LAYERS = 5, 5


def within(rate, expected=LEVEL, runs=RUNS):
    return abs(rate - expected) <= 3 * np.sqrt(expected * (1 - expected) / runs)


def correlated(rng, n, effect=0.0):
    """Predictors that share most of what they are, at layers that share most of theirs, and a gap for each layer."""
    gap = 0.9 * rng.normal(size=(n, 1)) + 0.4 * rng.normal(size=(n, LAYERS))
    noise = (
        rng.normal(size=(n, 1, 1)) + 0.7 * rng.normal(size=(n, PREDICTORS, 1)) + 0.5 * rng.normal(size=(n, PREDICTORS, LAYERS))
    )
    predictors = noise / np.sqrt(1.74)
    predictors[:, 0] += effect * gap
    return predictors, gap


@pytest.fixture(scope="module", params=[13, 23])
def null_runs(request):
    """p of every column in runs without an effect."""
    rng = np.random.default_rng(request.param)
    tests = [permutation_test(*correlated(rng, request.param), rng=rng, permutations=PERMUTATIONS) for _ in range(RUNS)]
    return np.array([test.p for test in tests]), np.array([test.p_max_t for test in tests])


def test_a_permutation_test_rejects_5_percent_without_an_effect(null_runs):
    p, _ = null_runs
    assert within(np.mean(p[:, 0, 0] <= LEVEL))
    assert within(np.mean(p[:, 3, 2] <= LEVEL))


def test_a_permutation_p_is_uniform_without_an_effect(null_runs):
    p, _ = null_runs
    for share in (0.1, 0.25, 0.5, 0.75):
        assert within(np.mean(p[:, 0, 0] <= share), share)


def test_max_t_rejects_anything_in_5_percent_of_families_without_an_effect(null_runs):
    _, p_max_t = null_runs
    assert within(np.mean(p_max_t.min(axis=(1, 2)) <= LEVEL))


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_corrections_reject_anything_in_at_most_5_percent_of_families_without_an_effect(null_runs, adjust):
    p, _ = null_runs
    rate = np.mean([adjust(run.ravel()).min() <= LEVEL for run in p])
    assert rate <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / RUNS)


def test_holm_asks_more_of_correlated_columns_than_max_t(null_runs):
    p, p_max_t = null_runs
    least = p.reshape(RUNS, -1).min(axis=1)
    assert np.mean(p.shape[1] * p.shape[2] * least <= LEVEL) < np.mean(p_max_t.min(axis=(1, 2)) <= LEVEL)


@pytest.mark.parametrize("n", [13, 23])
def test_ten_uncorrected_tests_find_something_far_too_often(n):
    """What the corrections are for: ten independent predictors, the usual p of each."""
    rng = np.random.default_rng(n)
    p = [correlation_p(spearman(rng.normal(size=(n, 10)), rng.normal(size=n)), n) for _ in range(RUNS)]
    assert np.mean(np.min(p, axis=1) <= LEVEL) > 0.3  # 1 − 0.95¹⁰ is 40 %


@pytest.mark.parametrize("n", [13, 23])
def test_only_true_effects_are_found_more_often_than_5_percent(n):
    """One predictor goes with the gap at all layers: false rejections among the others stay rare."""
    rng = np.random.default_rng(n)
    false, found, discoveries = [], [], []
    for _ in range(RUNS // 2):
        test = permutation_test(*correlated(rng, n, effect=1.5), rng=rng, permutations=PERMUTATIONS)
        adjusted = holm(test.p.ravel()).reshape(test.p.shape)
        rate = benjamini_hochberg(test.p.ravel()).reshape(test.p.shape) <= LEVEL
        false.append([test.p_max_t[1:].min() <= LEVEL, adjusted[1:].min() <= LEVEL])
        found.append([test.p_max_t[0].min() <= LEVEL, adjusted[0].min() <= LEVEL])
        discoveries.append(rate[1:].sum() / max(1, rate.sum()))
    bound = LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / len(false))
    assert (np.mean(false, axis=0) <= bound).all()
    assert np.mean(discoveries) <= bound
    assert np.mean(found, axis=0)[0] > np.mean(found, axis=0)[1]  # max-T is the stronger of the two


@pytest.mark.parametrize(("n", "rho"), [(13, 0.5), (13, 0.67), (23, 0.5)])
def test_a_planted_effect_is_found_as_often_as_the_power_says(n, rho):
    rng, r = np.random.default_rng(n), 2 * np.sin(np.pi * rho / 6)
    rejected = []
    for _ in range(RUNS):
        x, noise = rng.normal(size=(2, n))
        rejected.append(permutation_test(x, r * x + np.sqrt(1 - r**2) * noise, rng=rng, permutations=PERMUTATIONS).p <= LEVEL)
    assert within(np.mean(rejected), float(spearman_power(rho, n, rng=rng)))


@pytest.mark.parametrize(("n", "rho"), [(13, 0.0), (13, 0.6), (23, 0.6)])
def test_intervals_and_bands_hold_the_true_rho_at_least_as_often_as_they_say(n, rho):
    rng, r, runs = np.random.default_rng(n), 2 * np.sin(np.pi * rho / 6), 250
    held = []
    for _ in range(runs):
        gap, shared = rng.normal(size=(2, n, 1))
        layers = r * gap + np.sqrt(1 - r**2) * (np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.normal(size=(n, 6)))
        interval = bootstrap_spearman(layers[:, :1], gap[:, 0], rng=rng, replicates=400)
        band = layer_band(layers, gap[:, 0], rng=rng, replicates=400)
        inside = [interval.low[0] <= rho <= interval.high[0], interval.bca_low[0] <= rho <= interval.bca_high[0]]
        held.append([*inside, ((band.low <= rho) & (rho <= band.high)).all()])
    assert (np.mean(held, axis=0) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)).all()
