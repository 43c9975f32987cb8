"""Slow, obvious second implementations: exact fractions, and scikit-learn."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from spoofscope.metrics.costs import ASVSPOOF5, BONAFIDE_RARE, min_cllr, min_dcf
from spoofscope.metrics.rates import auc, det_points, eer, eer_challenge, eer_threshold

SIZES = [(1, 1), (1, 30), (30, 1), (13, 17), (40, 400), (300, 2000)]
DECIMALS = [None, 1, 0]


def scores(sizes, decimals, seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.normal(1.4, 1.3, sizes[0]), rng.normal(0, 1, sizes[1])
    return classes if decimals is None else tuple(part.round(decimals) + 0.0 for part in classes)


def points_counted_one_by_one(bonafide, spoof):
    """Every operating point as exact fractions, by counting."""
    thresholds = [*sorted({*bonafide.tolist(), *spoof.tolist()}), float("inf")]
    return [
        (
            t,
            Fraction(sum(b < t for b in bonafide.tolist()), len(bonafide)),
            Fraction(sum(s >= t for s in spoof.tolist()), len(spoof)),
        )
        for t in thresholds
    ]


def exact_eer(bonafide, spoof):
    """Walk along the curve and intersect the segment that crosses the diagonal with it."""
    points = points_counted_one_by_one(bonafide, spoof)
    for (_, miss, false_alarm), (_, next_miss, next_false_alarm) in itertools.pairwise(points):
        if miss <= false_alarm and next_miss >= next_false_alarm:
            gap, next_gap = false_alarm - miss, next_miss - next_false_alarm
            return float((miss * next_gap + next_miss * gap) / (gap + next_gap))
    raise AssertionError("the curve goes from (0, 1) to (1, 0), so it crosses")


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("decimals", DECIMALS)
def test_eer_equals_the_exact_crossing(sizes, decimals):
    classes = scores(sizes, decimals)
    assert eer(*classes) == pytest.approx(exact_eer(*classes), abs=1e-14)


@pytest.mark.parametrize("decimals", DECIMALS)
def test_the_threshold_has_the_least_gap_of_all(decimals):
    classes = scores((40, 90), decimals)
    gaps = {t: abs(miss - false_alarm) for t, miss, false_alarm in points_counted_one_by_one(*classes)}
    assert gaps[eer_threshold(*classes)] == min(gaps.values())


@pytest.mark.parametrize("cost", [ASVSPOOF5, BONAFIDE_RARE], ids=lambda cost: cost.name)
@pytest.mark.parametrize("decimals", DECIMALS)
def test_min_dcf_equals_the_least_of_all_counted_costs(cost, decimals):
    classes = scores((40, 90), decimals)
    blind = min(cost.c_miss * (1 - cost.p_spoof), cost.c_fa * cost.p_spoof)
    costs = [
        (cost.c_miss * (1 - cost.p_spoof) * miss + cost.c_fa * cost.p_spoof * false_alarm) / blind
        for _, miss, false_alarm in points_counted_one_by_one(*classes)
    ]
    assert min_dcf(*classes, cost=cost) == pytest.approx(float(min(costs)), abs=1e-14)


@pytest.mark.parametrize("decimals", DECIMALS)
def test_auc_equals_the_share_of_pairs_in_order(decimals):
    bonafide, spoof = scores((60, 170), decimals)
    pairs = [(b > s) + (b == s) / 2 for b in bonafide for s in spoof]
    assert auc(bonafide, spoof) == pytest.approx(np.mean(pairs), abs=1e-14)


@pytest.mark.parametrize("sizes", [(40, 400), (300, 2000)])
@pytest.mark.parametrize("decimals", DECIMALS)
def test_scikit_learn_agrees_on_curve_area_and_crossing(sizes, decimals):
    from sklearn.metrics import roc_auc_score, roc_curve

    bonafide, spoof = scores(sizes, decimals)
    labels, both = np.repeat([1, 0], sizes), np.concatenate((bonafide, spoof))
    false_alarm, hit, threshold = roc_curve(labels, both, drop_intermediate=False)
    curve = det_points(bonafide, spoof)
    assert curve.threshold.tolist() == threshold[::-1].tolist()
    assert curve.miss == pytest.approx(1 - hit[::-1], abs=1e-12)
    assert curve.false_alarm == pytest.approx(false_alarm[::-1], abs=1e-12)
    assert auc(bonafide, spoof) == pytest.approx(roc_auc_score(labels, both), abs=1e-12)
    assert eer(bonafide, spoof) == pytest.approx(np.interp(0, 1 - hit[::-1] - false_alarm[::-1], false_alarm[::-1]), abs=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("decimals", DECIMALS)
def test_scikit_learns_isotonic_regression_gives_the_same_min_cllr(sizes, decimals):
    from sklearn.isotonic import IsotonicRegression

    bonafide, spoof = scores(sizes, decimals)
    labels = np.repeat([1.0, 0.0], sizes)
    posterior = IsotonicRegression().fit_transform(np.concatenate((bonafide, spoof)), labels)
    with np.errstate(divide="ignore"):
        llr = np.log(posterior) - np.log1p(-posterior) - np.log(sizes[0] / sizes[1])
    expected = (np.logaddexp(0, -llr[: sizes[0]]).mean() + np.logaddexp(0, llr[sizes[0] :]).mean()) / np.log(4)
    assert min_cllr(bonafide, spoof) == pytest.approx(expected, abs=1e-9)


def test_pooling_survives_the_order_that_pools_one_pair_a_round():
    # ever larger shares, then a mass of spoof: each round can merge only the last two blocks
    bonafide = np.concatenate([np.full(number, float(number)) for number in range(1, 60)])
    spoof = np.concatenate((np.arange(1.0, 60.0), np.full(5000, 60.0)))
    assert min_cllr(bonafide, spoof) == pytest.approx(1)


def challenge_steps(bonafide, spoof):
    """Reject one trial at a time, bona fide first inside a tie; answer where the rates differ least."""
    queue = sorted([(score, 0) for score in bonafide.tolist()] + [(score, 1) for score in spoof.tolist()])
    rejected = [0, 0]
    steps = [(Fraction(0), Fraction(1))]
    for _, label in queue:
        rejected[label] += 1
        steps.append((Fraction(rejected[0], len(bonafide)), 1 - Fraction(rejected[1], len(spoof))))
    miss, false_alarm = min(steps, key=lambda step: abs(step[0] - step[1]))
    return float((miss + false_alarm) / 2)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("decimals", DECIMALS)
def test_challenge_eer_equals_the_walk_trial_by_trial(sizes, decimals):
    classes = scores(sizes, decimals)
    assert eer_challenge(*classes) == pytest.approx(challenge_steps(*classes), abs=1e-14)


def test_the_two_conventions_answer_a_constant_detector_as_the_field_has_measured():
    constant = np.zeros(7355), np.zeros(63882)
    assert (eer(*constant), eer_challenge(*constant)) == (0.5, 1.0)


def test_rounding_scores_to_whole_numbers_moves_the_challenge_eer_by_points():
    classes = scores((7355, 63882), None)
    rounded = scores((7355, 63882), 0)
    assert eer_challenge(*classes) == pytest.approx(eer(*classes), abs=2e-4)
    assert eer_challenge(*rounded) > eer(*rounded) + 0.02
    assert eer(*rounded) == pytest.approx(eer(*classes), abs=0.03)
