import numpy as np
import pytest

from spoofscope.errors import NotEnoughTrials, ScoresError
from spoofscope.metrics.rates import auc, det_points, eer, eer_challenge, eer_threshold, rates_at, tied_fraction

HIGH, LOW = np.array([3.0, 4.0]), np.array([1.0, 2.0])


def test_eer_of_separated_classes_is_zero():
    assert eer(HIGH, LOW) == 0


def test_eer_of_classes_separated_the_wrong_way_is_one():
    assert eer(LOW, HIGH) == 1


@pytest.mark.parametrize(("n_bonafide", "n_spoof"), [(1, 1), (1, 9), (40, 400)])
def test_eer_of_a_constant_score_is_one_half(n_bonafide, n_spoof):
    assert eer(np.zeros(n_bonafide), np.zeros(n_spoof)) == 0.5


def test_eer_is_read_between_operating_points_where_no_threshold_balances_the_rates():
    # thresholds give (miss, false alarm) = (0, 1/2) and (1/3, 0): the line between them meets the diagonal at 1/5
    assert eer(np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.0])) == pytest.approx(1 / 5)


def test_eer_of_a_hand_counted_case():
    assert eer(np.array([1.0, 3.0, 4.0, 5.0]), np.array([-1.0, 0.0, 0.5, 2.0])) == pytest.approx(1 / 4)


def test_challenge_eer_of_a_constant_score_is_one():
    assert eer_challenge(np.zeros(7), np.zeros(5)) == 1


def test_challenge_eer_is_not_interpolated():
    assert eer_challenge(np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0])) == 0
    assert eer_challenge(np.array([1.0, 3.0, 5.0]), np.array([2.0, 0.0])) == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_challenge_eer_rejects_bona_fide_first_inside_a_tie():
    bonafide, spoof = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.0, 0.0])
    assert eer_challenge(bonafide, spoof) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert eer(bonafide, spoof) == pytest.approx(1 / 3)


def test_tied_fraction_counts_only_ties_between_the_classes():
    assert tied_fraction(np.array([1.0, 1.0, 2.0]), np.array([3.0, 3.0])) == 0
    assert tied_fraction(np.array([1.0, 1.0, 2.0]), np.array([1.0, 0.0])) == pytest.approx(3 / 5)


def test_threshold_of_separated_classes_accepts_all_bona_fide_and_no_spoof():
    assert eer_threshold(HIGH, LOW) == 3
    assert rates_at(HIGH, LOW, eer_threshold(HIGH, LOW)) == (0, 0)


def test_threshold_is_the_one_at_which_the_rates_differ_least():
    bonafide, spoof = np.random.default_rng(0).normal(1, 1, 60), np.random.default_rng(1).normal(0, 1, 90)
    curve = det_points(bonafide, spoof)
    gap = np.abs(curve.miss - curve.false_alarm)
    assert eer_threshold(bonafide, spoof) == curve.threshold[np.argmin(gap)]


def test_a_score_at_the_threshold_is_accepted():
    assert rates_at(np.array([0.0, 1.0]), np.array([1.0, 2.0, 0.0, 0.5]), 1.0) == (0.5, 0.5)


def test_auc_counts_a_tie_as_one_half():
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5
    assert auc(np.array([1.0, 2.0]), np.array([1.0, 0.0])) == pytest.approx(3.5 / 4)


def test_det_points_begin_with_everything_accepted_and_end_with_everything_rejected():
    curve = det_points(HIGH, LOW)
    assert (curve.miss[0], curve.false_alarm[0]) == (0, 1)
    assert (curve.miss[-1], curve.false_alarm[-1], curve.threshold[-1]) == (1, 0, np.inf)


def test_det_points_are_the_rates_at_their_thresholds():
    bonafide, spoof = np.array([1.0, 1.0, 2.0, 5.0]), np.array([0.0, 1.0, 2.0, 2.0, 3.0])
    for threshold, miss, false_alarm in zip(*det_points(bonafide, spoof), strict=True):
        assert rates_at(bonafide, spoof, threshold) == pytest.approx((miss, false_alarm))


def test_thinned_det_points_are_points_of_the_curve_with_both_ends():
    rng = np.random.default_rng(0)
    bonafide, spoof = rng.normal(3, 1, 2000), rng.normal(0, 1, 9000)
    whole, thin = det_points(bonafide, spoof), det_points(bonafide, spoof, limit=100)
    assert 60 <= len(thin.miss) <= 100
    assert np.isin(thin.threshold, whole.threshold).all()
    assert np.all(np.diff(thin.threshold) > 0)
    assert (thin.miss[0], thin.false_alarm[0], thin.miss[-1], thin.false_alarm[-1]) == (0, 1, 1, 0)


def test_thinned_det_points_keep_the_rare_error_corners():
    rng = np.random.default_rng(0)
    thin = det_points(rng.normal(3, 1, 20000), rng.normal(0, 1, 20000), limit=60)
    assert np.count_nonzero(thin.miss < 0.01) >= 10
    assert np.count_nonzero(thin.false_alarm < 0.01) >= 10


def test_a_curve_cannot_be_thinned_below_its_two_ends():
    with pytest.raises(ValueError, match="at least its two ends"):
        det_points(HIGH, LOW, limit=1)


@pytest.mark.parametrize("metric", [eer, eer_challenge, eer_threshold, auc, tied_fraction, det_points])
def test_every_rate_refuses_an_empty_class(metric):
    with pytest.raises(NotEnoughTrials, match="no spoof scores"):
        metric(HIGH, np.array([]))


@pytest.mark.parametrize("metric", [eer, eer_challenge, auc])
def test_every_rate_refuses_a_score_that_is_not_finite(metric):
    with pytest.raises(ScoresError, match="1 of 2 bona fide scores are not finite"):
        metric(np.array([1.0, np.nan]), LOW)


def test_eer_does_not_change_its_arguments():
    bonafide, spoof = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0])
    eer(bonafide, spoof)
    assert bonafide.tolist() == [3, 1, 2]
    assert spoof.tolist() == [2, 0]
