"""The bootstrap's fast paths against arrays that are really resampled."""

import numpy as np
import pytest

from spoofscope.metrics import resampled
from spoofscope.metrics.clusters import Cells, clusters_of, draw_weights, independent
from spoofscope.metrics.costs import cllr, min_cllr, min_dcf
from spoofscope.metrics.intervals import METRICS, bootstrap, bootstrap_difference, miss_at
from spoofscope.metrics.rates import Tally, auc, crossing, eer, eer_threshold
from spoofscope.metrics.resampled import CrossingEvaluator

SHAPES = {"continuous": None, "one decimal": 1, "whole numbers": 0}


def case(decimals, *, n_bonafide=700, n_spoof=5200, speakers=15, attacks=4, seed=0):
    rng = np.random.default_rng(seed)
    speaker_b, speaker_s = rng.integers(speakers, size=n_bonafide), rng.integers(speakers, size=n_spoof)
    attack = rng.integers(attacks, size=n_spoof)
    bonafide = rng.normal(1.5, 1.2, n_bonafide) + 0.1 * speaker_b
    spoof = rng.normal(0, 1, n_spoof) + 0.3 * attack
    if decimals is not None:
        bonafide, spoof = bonafide.round(decimals), spoof.round(decimals)
    return bonafide, spoof, clusters_of({"speaker": speaker_b}, {"speaker": speaker_s, "attack": attack})


def weights_per_trial(clusters, replicates, seed=1):
    """Weights of every trial, multiplied out factor by factor without cells."""
    drawn = draw_weights(clusters, replicates, np.random.default_rng(seed))
    sides = []
    for label, n in (("bonafide", clusters.n_bonafide), ("spoof", clusters.n_spoof)):
        weights = np.ones((replicates, n))
        for factor, values in zip(clusters.factors, drawn, strict=True):
            codes = getattr(factor, label)
            if codes is not None:
                weights *= values[:, codes]
        sides.append(weights.astype(int))
    return sides


def slow_weighted_eer(bonafide, spoof, weight_b, weight_s):
    """Sort and accumulate all trials anew; interpolate on the diagonal."""
    score = np.unique(np.concatenate((bonafide, spoof)))
    miss = [0.0, *(weight_b[bonafide <= value].sum() / weight_b.sum() for value in score)]
    false_alarm = [1.0, *(weight_s[spoof > value].sum() / weight_s.sum() for value in score)]
    gap = np.subtract(miss, false_alarm)
    after = int(np.flatnonzero(gap >= 0)[0])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return miss[after - 1] + share * (miss[after] - miss[after - 1])


@pytest.mark.parametrize("decimals", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dense", [True, False])
def test_the_fast_eer_equals_a_slow_weighted_eer_in_every_replicate(decimals, dense, monkeypatch):
    if not dense:
        monkeypatch.setattr(resampled, "MOST_ENTRIES", 0)
    bonafide, spoof, clusters = case(decimals, n_bonafide=120, n_spoof=900)
    cells = Cells(clusters, "bonafide"), Cells(clusters, "spoof")
    evaluator = CrossingEvaluator(bonafide, spoof, cells)
    drawn = draw_weights(clusters, 40, np.random.default_rng(1))
    fast = evaluator(*(cell.weights(drawn) for cell in cells))
    slow = [slow_weighted_eer(bonafide, spoof, *row) for row in zip(*weights_per_trial(clusters, 40), strict=True)]
    assert (evaluator.sides[0].cumulative is not None) == dense
    assert evaluator.bin_of_score[-1] > 0
    assert fast == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("decimals", SHAPES.values(), ids=SHAPES)
def test_the_fast_eer_and_threshold_equal_those_of_resampled_arrays(decimals):
    bonafide, spoof, clusters = case(decimals)
    cells = Cells(clusters, "bonafide"), Cells(clusters, "spoof")
    drawn = draw_weights(clusters, 60, np.random.default_rng(1))
    rates, thresholds = CrossingEvaluator(bonafide, spoof, cells).solve(*(cell.weights(drawn) for cell in cells))
    score, place = np.unique(np.concatenate((bonafide, spoof)), return_inverse=True)
    for rate, threshold, weight_b, weight_s in zip(rates, thresholds, *weights_per_trial(clusters, 60), strict=True):
        again = np.repeat(bonafide, weight_b), np.repeat(spoof, weight_s)
        assert rate == pytest.approx(eer(*again), abs=1e-12)
        counts = Tally(
            score, *(np.bincount(p, w, len(score)) for p, w in zip(np.split(place, [700]), (weight_b, weight_s), strict=True))
        )
        assert threshold == crossing(counts).threshold
        below = np.max(score[score < threshold], initial=-np.inf)
        assert below < eer_threshold(*again) or threshold == eer_threshold(*again)


@pytest.mark.parametrize(
    ("name", "plain"), [("eer", eer), ("auc", auc), ("min_dcf", min_dcf), ("cllr", cllr), ("min_cllr", min_cllr)]
)
@pytest.mark.parametrize("decimals", SHAPES.values(), ids=SHAPES)
def test_the_interval_is_the_percentiles_over_resampled_arrays(name, plain, decimals):
    bonafide, spoof, clusters = case(decimals, n_bonafide=150, n_spoof=600)
    estimate = bootstrap(name, bonafide, spoof, clusters, rng=np.random.default_rng(1), replicates=80, level=0.9)
    values = [
        plain(np.repeat(bonafide, weight_b), np.repeat(spoof, weight_s))
        for weight_b, weight_s in zip(*weights_per_trial(clusters, 80), strict=True)
    ]
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])), abs=1e-12)


@pytest.mark.parametrize("name", ["eer", "min_dcf", "cllr"])
def test_the_paired_interval_is_the_percentiles_of_differences_over_resampled_arrays(name):
    plain = {"eer": eer, "min_dcf": min_dcf, "cllr": cllr}[name]
    bonafide, spoof, clusters = case(None, n_bonafide=150, n_spoof=600)
    rng = np.random.default_rng(9)
    noisy = bonafide + rng.normal(0, 0.5, 150), spoof + rng.normal(0, 0.5, 600)
    estimate = bootstrap_difference(
        name, (bonafide, spoof), noisy, clusters, rng=np.random.default_rng(1), replicates=80, level=0.9
    )
    values = [
        plain(np.repeat(noisy[0], weight_b), np.repeat(noisy[1], weight_s))
        - plain(np.repeat(bonafide, weight_b), np.repeat(spoof, weight_s))
        for weight_b, weight_s in zip(*weights_per_trial(clusters, 80), strict=True)
    ]
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])), abs=1e-12)


@pytest.mark.parametrize("decimals", SHAPES.values(), ids=SHAPES)
def test_the_fast_iid_replicates_are_distributed_like_resampled_trials(decimals):
    bonafide, spoof, _ = case(decimals, n_bonafide=300, n_spoof=900)
    rng = np.random.default_rng(3)
    whole = clusters_of({"class": ["all"] * 300}, {"class": ["all"] * 900})
    fast = CrossingEvaluator(bonafide, spoof, (Cells(whole, "bonafide"), Cells(whole, "spoof"))).solve_iid(4000, rng)[0]
    slow = [eer(rng.choice(bonafide, 300), rng.choice(spoof, 900)) for _ in range(4000)]
    assert np.quantile(fast, [0.025, 0.25, 0.5, 0.75, 0.975]) == pytest.approx(
        np.quantile(slow, [0.025, 0.25, 0.5, 0.75, 0.975]), abs=0.003
    )
    assert fast.std() == pytest.approx(np.std(slow), rel=0.06)


def test_the_iid_interval_of_a_rate_has_the_binomial_width():
    bonafide = np.repeat([0.0, 1.0], [200, 800])
    estimate = bootstrap(miss_at(0.5), bonafide, np.zeros(10), rng=np.random.default_rng(0), replicates=2000)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * np.sqrt(0.2 * 0.8 / 1000), rel=0.08)


def test_the_clustered_interval_of_a_rate_has_the_width_that_its_speakers_give():
    share = np.random.default_rng(0).beta(2, 5, 50)
    bonafide = np.concatenate([np.arange(40) >= round(40 * part) for part in share]).astype(float)
    clusters = clusters_of({"speaker": np.repeat(np.arange(50), 40)}, {"speaker": [None, None]})
    estimate = bootstrap(miss_at(0.5), bonafide, np.zeros(2), clusters, rng=np.random.default_rng(0), replicates=2000)
    rates = bonafide.reshape(50, 40).mean(axis=1)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * rates.std() / np.sqrt(50), rel=0.1)


def test_clustered_intervals_cover_the_truth_where_iid_ones_do_not():
    rng = np.random.default_rng(0)
    covered = {"clustered": 0, "iid": 0}
    for _ in range(150):
        effect = rng.normal(0, 1, 40)
        speaker = rng.integers(40, size=800)
        # over speakers and trials the score is N(0, 2), so that half of all trials are below 0
        bonafide = effect[speaker] + rng.normal(0, 1, 800)
        clusters = clusters_of({"speaker": speaker}, {"speaker": [None, None]})
        for name, plan in (("clustered", clusters), ("iid", None)):
            estimate = bootstrap(miss_at(0.0), bonafide, np.zeros(2), plan, rng=rng, replicates=200)
            covered[name] += estimate.low <= 0.5 <= estimate.high
    assert covered["clustered"] / 150 > 0.87
    assert covered["iid"] / 150 < 0.7


def test_single_trials_as_clusters_give_the_iid_interval():
    bonafide, spoof, _ = case(None, n_bonafide=300, n_spoof=900)
    one = bootstrap("eer", bonafide, spoof, independent(300, 900), rng=np.random.default_rng(0), replicates=3000)
    other = bootstrap("eer", bonafide, spoof, rng=np.random.default_rng(1), replicates=3000)
    assert one[:3] == pytest.approx(other[:3], abs=0.004)


def test_every_named_metric_agrees_with_itself_over_dense_and_sparse_counts(monkeypatch):
    bonafide, spoof, clusters = case(1, n_bonafide=150, n_spoof=600)
    dense = {name: bootstrap(name, bonafide, spoof, clusters, rng=np.random.default_rng(1), replicates=30) for name in METRICS}
    monkeypatch.setattr(resampled, "MOST_ENTRIES", 0)
    sparse = {name: bootstrap(name, bonafide, spoof, clusters, rng=np.random.default_rng(1), replicates=30) for name in METRICS}
    assert dense == sparse
