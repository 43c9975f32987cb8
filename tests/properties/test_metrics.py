"""Statements that hold for all scores, ties included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoofscope.metrics.clusters import Cells, clusters_of
from spoofscope.metrics.costs import ASVSPOOF5, BONAFIDE_RARE, act_dcf, cllr, dcf_at, min_cllr, min_dcf
from spoofscope.metrics.rates import (
    Tally,
    auc,
    crossing,
    det_points,
    eer,
    eer_challenge,
    eer_threshold,
    rates_at,
    tied_fraction,
)
from spoofscope.metrics.resampled import CrossingEvaluator

# whole numbers: exactly representable, and dense enough that ties are the rule
WHOLE = st.integers(-8, 8)
CLASS = st.lists(WHOLE, min_size=1, max_size=40).map(lambda values: np.array(values, dtype=float))
WEIGHTS = st.integers(0, 3)
COSTS = st.sampled_from([ASVSPOOF5, BONAFIDE_RARE])
ORDER_ONLY = [eer, eer_challenge, auc, min_dcf, min_cllr, tied_fraction]


def cubed(scores):
    """An increasing map that is exact on whole numbers."""
    return scores**3 + scores


@pytest.mark.parametrize("metric", ORDER_ONLY)
@given(bonafide=CLASS, spoof=CLASS)
def test_what_depends_on_order_is_unchanged_by_an_increasing_map(metric, bonafide, spoof):
    assert metric(cubed(bonafide), cubed(spoof)) == metric(bonafide, spoof)


@given(bonafide=CLASS, spoof=CLASS)
def test_the_eer_threshold_moves_with_an_increasing_map(bonafide, spoof):
    assert eer_threshold(cubed(bonafide), cubed(spoof)) == cubed(eer_threshold(bonafide, spoof))


@pytest.mark.parametrize("metric", [*ORDER_ONLY, eer_threshold, cllr])
@given(bonafide=CLASS, spoof=CLASS, seed=st.integers(0, 2**32 - 1))
def test_no_metric_depends_on_the_order_of_the_trials(metric, bonafide, spoof, seed):
    rng = np.random.default_rng(seed)
    shuffled = metric(rng.permutation(bonafide), rng.permutation(spoof))
    assert shuffled == pytest.approx(metric(bonafide, spoof), abs=1e-12)


@pytest.mark.parametrize("metric", [eer, eer_threshold, auc, min_dcf, min_cllr, cllr])
@given(bonafide=CLASS, spoof=CLASS, times=st.integers(2, 5), again=st.integers(1, 5))
def test_no_metric_depends_on_repetition_of_a_class(metric, bonafide, spoof, times, again):
    repeated = metric(np.tile(bonafide, times), np.repeat(spoof, again))
    assert repeated == pytest.approx(metric(bonafide, spoof), abs=1e-12)


@given(bonafide=CLASS, spoof=CLASS)
def test_flipping_the_scores_turns_eer_and_auc_into_their_complements(bonafide, spoof):
    assert eer(-bonafide, -spoof) == pytest.approx(1 - eer(bonafide, spoof), abs=1e-12)
    assert auc(-bonafide, -spoof) == pytest.approx(1 - auc(bonafide, spoof), abs=1e-12)


@given(bonafide=CLASS, spoof=CLASS)
def test_eer_does_not_change_when_classes_and_signs_are_both_exchanged(bonafide, spoof):
    assert eer(-spoof, -bonafide) == pytest.approx(eer(bonafide, spoof), abs=1e-12)


@given(shift=st.integers(1, 20), bonafide=CLASS, spoof=CLASS)
def test_raising_every_bona_fide_score_never_raises_the_eer(shift, bonafide, spoof):
    assert eer(bonafide + shift, spoof) <= eer(bonafide, spoof) + 1e-12


@given(bonafide=CLASS, spoof=CLASS)
def test_without_ties_the_challenge_eer_is_within_one_trial_of_the_interpolated(bonafide, spoof):
    both = np.concatenate((bonafide, spoof)) + np.linspace(0, 0.5, len(bonafide) + len(spoof))
    apart = both[: len(bonafide)], both[len(bonafide) :]
    assert tied_fraction(*apart) == 0
    assert abs(eer(*apart) - eer_challenge(*apart)) <= max(1 / len(bonafide), 1 / len(spoof)) / 2 + 1e-12


@given(bonafide=CLASS, spoof=CLASS)
def test_the_rates_at_the_eer_threshold_enclose_the_eer_or_are_its_neighbours(bonafide, spoof):
    rates, curve = rates_at(bonafide, spoof, eer_threshold(bonafide, spoof)), det_points(bonafide, spoof)
    gaps = np.abs(curve.miss - curve.false_alarm)
    assert abs(rates.miss - rates.false_alarm) == pytest.approx(gaps.min(), abs=1e-12)


@given(bonafide=CLASS, spoof=CLASS)
def test_along_the_curve_miss_rises_and_false_alarm_falls(bonafide, spoof):
    curve = det_points(bonafide, spoof)
    assert np.all(np.diff(curve.miss) >= 0)
    assert np.all(np.diff(curve.false_alarm) <= 0)
    assert np.all(np.diff(curve.miss) + -np.diff(curve.false_alarm) > 0)


@given(bonafide=CLASS, spoof=CLASS, limit=st.integers(2, 12))
def test_a_thinned_curve_has_at_most_as_many_points_as_asked_and_both_ends(bonafide, spoof, limit):
    curve = det_points(bonafide, spoof, limit=limit)
    assert len(curve.miss) <= limit
    assert (curve.miss[0], curve.false_alarm[0], curve.miss[-1], curve.false_alarm[-1]) == (0, 1, 1, 0)


@given(bonafide=CLASS, spoof=CLASS, threshold=WHOLE, cost=COSTS)
def test_no_threshold_costs_less_than_the_minimum(bonafide, spoof, threshold, cost):
    least = min_dcf(bonafide, spoof, cost=cost)
    assert 0 <= least <= 1 + 1e-12
    assert least <= dcf_at(bonafide, spoof, threshold, cost=cost) + 1e-12
    assert least <= act_dcf(bonafide, spoof, cost=cost) + 1e-12


@given(bonafide=CLASS, spoof=CLASS)
def test_no_increasing_map_has_a_lower_cllr_than_the_minimum(bonafide, spoof):
    least = min_cllr(bonafide, spoof)
    assert 0 <= least <= 1 + 1e-12
    for scores in ((bonafide, spoof), (bonafide / 3, spoof / 3), (cubed(bonafide) / 99, cubed(spoof) / 99)):
        assert least <= cllr(*scores) + 1e-12


@given(pairs=st.lists(st.tuples(WHOLE, WEIGHTS), min_size=2, max_size=30), n_bonafide=st.integers(1, 29))
def test_a_weighted_crossing_is_the_crossing_of_repeated_trials(pairs, n_bonafide):
    score, weight = (np.array(column) for column in zip(*pairs, strict=True))
    cut = min(n_bonafide, len(pairs) - 1)
    distinct, place = np.unique(score.astype(float), return_inverse=True)
    counts = Tally(
        distinct, *(np.bincount(place[part], weight[part], len(distinct)) for part in (slice(cut), slice(cut, None)))
    )
    again = np.repeat(score[:cut], weight[:cut]), np.repeat(score[cut:], weight[cut:])
    if min(map(len, again)):
        assert crossing(counts).eer == pytest.approx(eer(*again), abs=1e-12)
    else:
        assert np.isnan(crossing(counts).eer)


@given(
    bonafide=st.lists(st.tuples(WHOLE, st.integers(0, 3)), min_size=1, max_size=60),
    spoof=st.lists(st.tuples(WHOLE, st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=200),
    weights=st.tuples(st.lists(WEIGHTS, min_size=4, max_size=4), st.lists(WEIGHTS, min_size=3, max_size=3)),
)
def test_the_bracketed_crossing_is_the_plain_one_under_any_weights(bonafide, spoof, weights):
    scores_b, speaker_b = (np.array(column) for column in zip(*bonafide, strict=True))
    scores_s, speaker_s, attack = (np.array(column) for column in zip(*spoof, strict=True))
    clusters = clusters_of({"speaker": speaker_b}, {"speaker": speaker_s, "attack": attack})
    drawn = [np.array([values[: factor.size]], float) for values, factor in zip(weights, clusters.factors, strict=True)]
    cells = Cells(clusters, "bonafide"), Cells(clusters, "spoof")
    per_cell = [cell.weights(drawn) for cell in cells]
    fast = CrossingEvaluator(scores_b.astype(float), scores_s.astype(float), cells).solve(*per_cell)
    score, place = np.unique(np.concatenate((scores_b, scores_s)).astype(float), return_inverse=True)
    places = np.split(place, [len(scores_b)])
    tallies = (np.bincount(p, w[0][c.index], len(score)) for p, w, c in zip(places, per_cell, cells, strict=True))
    assert [part[0] for part in fast] == pytest.approx(list(crossing(Tally(score, *tallies))), abs=1e-12, nan_ok=True)
