import math

import numpy as np
import pytest

from spoofscope.errors import NotEnoughTrials, ScoresError, UnknownName
from spoofscope.metrics import intervals
from spoofscope.metrics.clusters import clusters_of
from spoofscope.metrics.costs import act_dcf, cllr, dcf_at, min_cllr, min_dcf
from spoofscope.metrics.intervals import (
    METRICS,
    TallyMetric,
    bootstrap,
    bootstrap_difference,
    false_alarm_at,
    fixed_dcf,
    miss_at,
)
from spoofscope.metrics.rates import auc, eer, eer_threshold, rates_at

PLAIN = {
    "eer": eer,
    "eer_threshold": eer_threshold,
    "auc": auc,
    "min_dcf": min_dcf,
    "act_dcf": act_dcf,
    "cllr": cllr,
    "min_cllr": min_cllr,
}


@pytest.fixture(scope="module")
def case():
    """Scores with a strong effect of the speaker, twenty speakers, three attacks."""
    rng = np.random.default_rng(5)
    effect = rng.normal(0, 0.8, 20)
    speaker_b, speaker_s, attack = rng.integers(20, size=200), rng.integers(20, size=600), rng.integers(3, size=600)
    bonafide = 1.5 + effect[speaker_b] + rng.normal(0, 1, 200)
    spoof = effect[speaker_s] + 0.4 * attack + rng.normal(0, 1, 600)
    clusters = clusters_of({"speaker": speaker_b}, {"speaker": speaker_s, "attack": attack})
    return bonafide.round(2), spoof.round(2), clusters


def test_there_is_a_plain_function_for_every_name():
    assert set(PLAIN) == set(METRICS)


@pytest.mark.parametrize("name", sorted(PLAIN))
@pytest.mark.parametrize("clustered", [True, False])
def test_the_value_is_that_of_the_plain_function(case, name, clustered):
    bonafide, spoof, clusters = case
    estimate = bootstrap(name, bonafide, spoof, clusters if clustered else None, rng=np.random.default_rng(0), replicates=20)
    assert estimate.value == pytest.approx(PLAIN[name](bonafide, spoof), abs=1e-12)


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_the_interval_lies_around_the_value(case, name):
    estimate = bootstrap(name, *case, rng=np.random.default_rng(0), replicates=200)
    assert estimate.low < estimate.value < estimate.high


def test_rates_and_cost_at_a_fixed_threshold_have_the_plain_values(case):
    bonafide, spoof, clusters = case
    rates = rates_at(bonafide, spoof, 1.0)
    rng = np.random.default_rng(0)
    values = [
        bootstrap(metric(1.0), bonafide, spoof, clusters, rng=rng).value for metric in (miss_at, false_alarm_at, fixed_dcf)
    ]
    assert values == pytest.approx([rates.miss, rates.false_alarm, dcf_at(bonafide, spoof, 1.0)])


def test_an_estimate_says_what_it_rests_on(case):
    estimate = bootstrap("eer", *case, rng=np.random.default_rng(0), level=0.9)
    assert estimate[3:7] == (0.9, 200, 600, 20)
    assert "only 3 attack clusters" in estimate.note


def test_a_wider_level_gives_a_wider_interval(case):
    narrow = bootstrap("eer", *case, rng=np.random.default_rng(0), level=0.5)
    wide = bootstrap("eer", *case, rng=np.random.default_rng(0), level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_state_of_the_generator_gives_one_interval(case):
    first, again = (bootstrap("eer", *case, rng=np.random.default_rng(3), replicates=50) for _ in range(2))
    other = bootstrap("eer", *case, rng=np.random.default_rng(4), replicates=50)
    assert first == again
    assert first.low != other.low


def test_trials_of_one_speaker_make_the_clustered_interval_wider_than_the_iid_one(case):
    bonafide, spoof, clusters = case
    clustered = bootstrap("eer", bonafide, spoof, clusters, rng=np.random.default_rng(0))
    iid = bootstrap("eer", bonafide, spoof, rng=np.random.default_rng(0))
    assert clustered.high - clustered.low > 1.5 * (iid.high - iid.low)
    assert iid.n_clusters == 800


def test_a_class_that_is_one_cluster_has_no_interval(case):
    bonafide, spoof, _ = case
    clusters = clusters_of({"speaker": ["a"] * 200}, {"speaker": ["b", "c"] * 300})
    estimate = bootstrap("eer", bonafide, spoof, clusters, rng=np.random.default_rng(0))
    assert estimate.value == eer(bonafide, spoof)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    assert "the bonafide trials are one cluster" in estimate.note


def test_a_rate_of_one_class_does_not_need_clusters_in_the_other(case):
    bonafide, spoof, _ = case
    clusters = clusters_of({"speaker": ["a"] * 200}, {"speaker": ["b", "c"] * 300})
    estimate = bootstrap(false_alarm_at(1.0), bonafide, spoof, clusters, rng=np.random.default_rng(0))
    assert estimate.low < estimate.value < estimate.high


def test_resamples_that_lack_a_class_are_counted():
    clusters = clusters_of({"speaker": ["a", "b"]}, {"speaker": ["a", "b", "c", "d"]})
    scores = np.array([1.0, 0.2]), np.array([0.0, 0.5, 0.1, 0.3])
    estimate = bootstrap("eer", *scores, clusters, rng=np.random.default_rng(0), replicates=400)
    assert np.isfinite(estimate.low)
    # neither a nor b drawn: (2/4)^4 = 1/16 of the resamples
    assert "of 400 resamples lacked a class" in estimate.note
    assert 8 <= int(estimate.note.split("; ")[-1].split()[0]) <= 45


def test_a_detector_does_not_differ_from_itself(case):
    bonafide, spoof, clusters = case
    estimate = bootstrap_difference("eer", (bonafide, spoof), (bonafide, spoof), clusters, rng=np.random.default_rng(0))
    assert estimate[:3] == (0, 0, 0)


def test_a_difference_is_second_minus_first(case):
    bonafide, spoof, clusters = case
    estimate = bootstrap_difference("eer", (bonafide, spoof), (bonafide - 1, spoof), clusters, rng=np.random.default_rng(0))
    assert estimate.value == pytest.approx(eer(bonafide - 1, spoof) - eer(bonafide, spoof))
    assert 0 < estimate.low < estimate.value < estimate.high


def test_a_paired_difference_is_narrower_than_the_two_intervals_suggest(case):
    bonafide, spoof, clusters = case
    noisy = bonafide + np.random.default_rng(1).normal(0, 0.2, len(bonafide))
    difference = bootstrap_difference("eer", (bonafide, spoof), (noisy, spoof), clusters, rng=np.random.default_rng(0))
    alone = bootstrap("eer", bonafide, spoof, clusters, rng=np.random.default_rng(0))
    assert difference.high - difference.low < 0.4 * (alone.high - alone.low)


def test_the_difference_of_two_iid_conditions_is_paired_too(case):
    bonafide, spoof, _ = case
    estimate = bootstrap_difference("eer", (bonafide, spoof), (bonafide, spoof), rng=np.random.default_rng(0), replicates=20)
    assert estimate[:3] == (0, 0, 0)


def test_a_metric_of_ones_own_can_be_resampled(case):
    def share_tied(counts):
        both = (counts.bonafide > 0) & (counts.spoof > 0)
        return float((counts.bonafide + counts.spoof)[both].sum() / (counts.bonafide + counts.spoof).sum())

    estimate = bootstrap(TallyMetric("tied", share_tied), *case, rng=np.random.default_rng(0), replicates=50)
    assert 0 < estimate.low <= estimate.high < 1


def test_replicates_beyond_one_chunk_are_all_drawn(case, monkeypatch):
    monkeypatch.setattr(intervals, "MOST_ENTRIES", 500)
    seen = []

    def count(counts):
        seen.append(counts.bonafide.sum())
        return 0.0

    bootstrap(TallyMetric("count", count), *case, rng=np.random.default_rng(0), replicates=33)
    assert len(seen) == 1 + 33


def test_an_unknown_metric_is_refused_with_the_known_ones(case):
    with pytest.raises(UnknownName, match=r"no metric 'err' to resample; known: act_dcf, auc"):
        bootstrap("err", *case, rng=np.random.default_rng(0))


def test_clusters_of_other_trials_are_refused(case):
    bonafide, spoof, clusters = case
    with pytest.raises(ScoresError, match="clusters are of 200 bona fide and 600 spoof trials, scores of 199 and 600"):
        bootstrap("eer", bonafide[1:], spoof, clusters, rng=np.random.default_rng(0))


def test_a_difference_over_other_trials_is_refused(case):
    bonafide, spoof, clusters = case
    with pytest.raises(ScoresError, match="needs the same trials on both sides"):
        bootstrap_difference("eer", (bonafide, spoof), (bonafide, spoof[1:]), clusters, rng=np.random.default_rng(0))


def test_an_empty_class_is_refused(case):
    with pytest.raises(NotEnoughTrials, match="no spoof scores"):
        bootstrap("eer", case[0], np.array([]), rng=np.random.default_rng(0))


@pytest.mark.parametrize("clustered", [True, False])
def test_no_error_seen_is_not_a_certainty_of_none(clustered: bool) -> None:
    bonafide, spoof = np.arange(100.0, 140.0), np.arange(40.0)
    speakers = [f"s{at % 12}" for at in range(40)]
    clusters = clusters_of({"speaker": speakers}, {"speaker": speakers}) if clustered else None
    found = bootstrap("eer", bonafide, spoof, clusters, rng=np.random.default_rng(0), replicates=50)
    assert found.value == 0 and np.isnan(found.low) and np.isnan(found.high)
    assert "every resample gives this value" in found.note


def test_the_difference_of_identical_scores_is_exactly_nothing() -> None:
    pair = (np.arange(1.0, 41.0), np.arange(40.0))
    found = bootstrap_difference("eer", pair, pair, rng=np.random.default_rng(0), replicates=50)
    assert (found.value, found.low, found.high) == (0, 0, 0)
