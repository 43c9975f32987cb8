import warnings

import numpy as np
import pytest
from scipy import stats

from spoofscope.errors import ScoresError
from spoofscope.metrics.correlations import (
    bootstrap_spearman,
    correlation_p,
    critical_rho,
    draw_attacks,
    kendall,
    leave_one_out_error,
    partial_spearman,
    pearson,
    ranks,
    spearman,
    spearman_power,
    spearman_without,
    weighted_spearman,
)

MEASURES = [(pearson, stats.pearsonr), (spearman, stats.spearmanr), (kendall, stats.kendalltau)]


@pytest.fixture(scope="module")
def case():
    """Thirteen attacks, four predictors, with ties on both sides."""
    rng = np.random.default_rng(3)
    return rng.integers(0, 6, (13, 4)).astype(float), rng.integers(0, 7, 13).astype(float)


def repeated(values, weights):
    return np.repeat(values, weights, axis=0)


def test_ranks_share_the_mean_among_ties(case):
    predictors, _ = case
    assert np.array_equal(ranks(predictors), stats.rankdata(predictors, axis=0))
    assert ranks(np.array([2.0, 1.0, 2.0, 5.0])).tolist() == [2.5, 1, 2.5, 4]


@pytest.mark.parametrize(("ours", "theirs"), MEASURES)
def test_every_correlation_is_scipys(case, ours, theirs):
    predictors, outcome = case
    assert ours(predictors, outcome) == pytest.approx([theirs(column, outcome)[0] for column in predictors.T], abs=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), MEASURES)
def test_each_layer_may_have_its_own_outcome(ours, theirs):
    rng = np.random.default_rng(0)
    predictors, outcome = rng.normal(size=(9, 2, 3)), rng.normal(size=(9, 3))
    found = ours(predictors, outcome)
    assert found.shape == (2, 3)
    assert found[1, 2] == pytest.approx(theirs(predictors[:, 1, 2], outcome[:, 2])[0])


@pytest.mark.parametrize(("ours", "theirs"), MEASURES)
def test_a_constant_column_has_no_correlation_and_a_single_one_a_number(ours, theirs):
    outcome = np.arange(5.0)
    assert np.isnan(ours(np.full(5, 0.1), outcome))
    assert float(ours(outcome, outcome)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("predictors", "outcome", "words"),
    [
        (np.arange(4.0), np.arange(5.0), "for every attack"),
        (np.arange(3.0), np.arange(3.0), "at least 4"),
        (np.array([1, 2, np.nan, 4]), np.arange(4.0), "not finite"),
    ],
)
def test_what_cannot_be_correlated_is_said(predictors, outcome, words):
    with pytest.raises(ScoresError, match=words):
        spearman(predictors, outcome)


@pytest.mark.parametrize("n", [4, 5, 13, 32, 200])
def test_p_of_a_correlation_is_that_of_students_t(n):
    rho = np.array([-0.9, -0.3, 0.0, 0.05, 0.6, 0.99])
    expected = 2 * stats.t.sf(np.abs(rho) * np.sqrt((n - 2) / (1 - rho**2)), n - 2)
    assert correlation_p(rho, n) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert correlation_p(1.0, n) == 0
    assert correlation_p(0.0, n) == 1


@pytest.mark.parametrize("n", [5, 13, 32])
def test_the_critical_rho_is_that_of_students_t(n):
    t = stats.t.ppf(0.975, n - 2)
    assert critical_rho(n) == pytest.approx(t / np.sqrt(n - 2 + t**2), abs=1e-12)
    assert critical_rho(n, 0.99) > critical_rho(n)


def test_a_partial_correlation_of_one_covariate_follows_the_recursion(case):
    predictors, outcome = case
    given = predictors[:, 3]
    among = stats.spearmanr(np.column_stack((predictors[:, 0], outcome, given))).statistic
    (xy, xz), yz = among[0, 1:], among[1, 2]
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(predictors[:, 0], outcome, given) == pytest.approx(expected, abs=1e-12)


def test_a_partial_correlation_of_two_covariates_is_that_of_the_inverse_matrix(case):
    predictors, outcome = case
    inverse = np.linalg.inv(stats.spearmanr(np.column_stack((predictors[:, :2], outcome, predictors[:, 2:]))).statistic)
    found = partial_spearman(predictors[:, :2], outcome, predictors[:, 2:])
    alone = np.linalg.inv(stats.spearmanr(np.column_stack((predictors[:, 0], outcome, predictors[:, 2:]))).statistic)
    assert found[0] == pytest.approx(-alone[0, 1] / np.sqrt(alone[0, 0] * alone[1, 1]), abs=1e-12)
    assert found[0] != pytest.approx(
        -inverse[0, 2] / np.sqrt(inverse[0, 0] * inverse[2, 2])
    )  # the other predictor is not given


def test_what_the_covariate_explains_completely_has_no_partial_correlation(case):
    predictors, outcome = case
    assert np.isnan(partial_spearman(predictors[:, :1], outcome, predictors[:, 0])).all()


def test_a_weight_counts_an_attack_so_often(case):
    predictors, outcome = case
    weights = draw_attacks(13, 50, np.random.default_rng(0))
    assert (weights.sum(axis=1) == 13).all()
    found = weighted_spearman(predictors, outcome, weights)
    for sample, row in zip(weights, found, strict=True):
        assert row == pytest.approx(spearman(repeated(predictors, sample), repeated(outcome, sample)), abs=1e-12)


def test_each_column_may_be_weighed_against_its_own_outcome(case):
    predictors, outcome = case
    outcomes, weights = (
        np.column_stack((outcome, outcome[::-1], outcome, -outcome)),
        draw_attacks(13, 5, np.random.default_rng(0)),
    )
    found = weighted_spearman(predictors, outcomes, weights)
    assert np.array_equal(found[:, [1]], weighted_spearman(predictors[:, [1]], outcome[::-1], weights))


def test_without_an_attack_is_as_if_it_had_not_been_there(case):
    predictors, outcome = case
    found = spearman_without(predictors, outcome)
    for at in range(13):
        assert found[at] == pytest.approx(spearman(np.delete(predictors, at, axis=0), np.delete(outcome, at)), abs=1e-12)


def test_the_intervals_are_those_of_resampling_row_by_row(case):
    predictors, outcome = case
    found = bootstrap_spearman(predictors, outcome, rng=np.random.default_rng(5), replicates=300, level=0.9)
    weights = draw_attacks(13, 300, np.random.default_rng(5))
    for at, column in enumerate(predictors.T):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a constant resample
            samples = np.array([stats.spearmanr(repeated(column, w), repeated(outcome, w))[0] for w in weights])
        samples = samples[~np.isnan(samples)]
        low, high = bca(samples, column, outcome, 0.9)
        assert (found.low[at], found.high[at]) == pytest.approx(np.quantile(samples, [0.05, 0.95]), abs=1e-9)
        assert (found.bca_low[at], found.bca_high[at]) == pytest.approx((low, high), abs=1e-9)
        assert found.lost[at] == 300 - len(samples)


def bca(samples, predictor, outcome, level):
    """Efron's formulas, spelt out."""
    value = stats.spearmanr(predictor, outcome)[0]
    without = np.array([stats.spearmanr(np.delete(predictor, at), np.delete(outcome, at))[0] for at in range(len(outcome))])
    bias = stats.norm.ppf((np.mean(samples < value - 1e-9) + np.mean(samples <= value + 1e-9)) / 2)
    pull = without.mean() - without
    acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    for z in stats.norm.ppf([(1 - level) / 2, (1 + level) / 2]):
        yield np.quantile(samples, stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z))))


def test_all_predictors_see_the_same_resamples(case):
    predictors, outcome = case
    together = bootstrap_spearman(predictors, outcome, rng=np.random.default_rng(1), replicates=100)
    alone = bootstrap_spearman(predictors[:, [2]], outcome, rng=np.random.default_rng(1), replicates=100)
    assert together.low[2] == alone.low[0]


def test_resamples_without_a_rho_are_counted(case):
    _, outcome = case
    one = np.zeros((13, 1))
    one[0] = 1
    lost = bootstrap_spearman(one, outcome, rng=np.random.default_rng(1), replicates=1000).lost[0]
    assert 280 < lost < 430  # (12/13) ** 13 is 35 %


def test_perfect_order_has_no_interval(case):
    outcome = np.arange(6.0)
    found = bootstrap_spearman(outcome[:, None], outcome, rng=np.random.default_rng(1), replicates=100)
    assert np.isnan([found.low, found.high, found.bca_low, found.bca_high]).all()


def test_power_without_an_effect_is_the_level_and_grows_with_the_effect():
    found = spearman_power(np.array([0, 0.3, 0.6, 0.9, np.nan]), 13, rng=np.random.default_rng(0))
    assert found[0] == pytest.approx(0.05, abs=0.01)
    assert (np.diff(found[:4]) > 0).all()
    assert np.isnan(found[4])
    assert spearman_power(1.0, 13, rng=np.random.default_rng(0)) == 1


def test_power_is_of_a_population_with_that_spearman_correlation():
    rho, many = 0.5, np.random.default_rng(0)
    x, noise = many.normal(size=(2, 200_000))
    r = 2 * np.sin(np.pi * rho / 6)
    assert spearman(x, r * x + np.sqrt(1 - r**2) * noise) == pytest.approx(rho, abs=0.005)
    least = critical_rho(20)
    samples = many.normal(size=(2, 20, 4000))
    found = [stats.spearmanr(a, r * a + np.sqrt(1 - r**2) * b)[0] for a, b in zip(*samples.transpose(0, 2, 1), strict=True)]
    assert spearman_power(rho, 20, rng=np.random.default_rng(1)) == pytest.approx(np.mean(np.abs(found) >= least), abs=0.03)


def test_an_attack_is_predicted_from_the_others(case):
    predictors, outcome = case
    found = leave_one_out_error(predictors, outcome)
    for column, error in zip(predictors.T, found.line, strict=True):
        kept = [np.delete(np.arange(13), at) for at in range(13)]
        missed = [np.polyval(np.polyfit(column[k], outcome[k], 1), column[at]) - outcome[at] for at, k in enumerate(kept)]
        assert error == pytest.approx(np.mean(np.abs(missed)))
    assert found.median == pytest.approx(np.mean([abs(np.median(np.delete(outcome, at)) - outcome[at]) for at in range(13)]))


def test_a_predictor_that_one_attack_alone_varies_predicts_nothing(case):
    _, outcome = case
    one = np.zeros((13, 1))
    one[4] = 1
    assert np.isnan(leave_one_out_error(one, outcome).line[0])
