import math

import numpy as np
import pytest

from spoofscope.errors import NotEnoughTrials, RecipeError, ScoresError
from spoofscope.metrics.costs import (
    ASVSPOOF5,
    BONAFIDE_RARE,
    TDCF_2019,
    TDCF_2021,
    AsvScores,
    DcfCost,
    act_dcf,
    cllr,
    dcf_at,
    min_cllr,
    min_dcf,
    min_dcf_threshold,
    min_tdcf,
    pool_violators,
    tdcf_weights,
)
from spoofscope.metrics.rates import tally

HIGH, LOW = np.array([3.0, 4.0]), np.array([1.0, 2.0])
BONAFIDE, SPOOF = np.array([1.0, 3.0, 4.0, 5.0]), np.array([-1.0, 0.0, 0.5, 2.0, 3.5])


def test_asvspoof5_cost_is_beta_times_miss_plus_false_alarm():
    assert ASVSPOOF5.miss_weight == pytest.approx(1.9)
    assert ASVSPOOF5.false_alarm_weight == pytest.approx(1.0)


def test_min_dcf_of_a_hand_counted_case():
    # at 2.0: miss 1/4, false alarm 2/5; at 3.0: 1/4, 1/5; at 1.0: 0, 2/5; at 4.0: 1/2, 0
    assert min_dcf(BONAFIDE, SPOOF) == pytest.approx(0.4)
    assert min_dcf_threshold(BONAFIDE, SPOOF) == 1.0


def test_min_dcf_in_the_reference_study_convention_makes_false_alarms_dear():
    # prior of bona fide 0.05, equal costs: miss + 19 false alarm
    assert min_dcf(BONAFIDE, SPOOF, cost=BONAFIDE_RARE) == pytest.approx(0.5)
    assert min_dcf_threshold(BONAFIDE, SPOOF, cost=BONAFIDE_RARE) == 4.0


def test_min_dcf_is_one_for_a_blind_detector():
    assert min_dcf(np.zeros(3), np.zeros(5)) == pytest.approx(1)
    assert min_dcf(LOW, HIGH) == pytest.approx(1)


def test_min_dcf_threshold_is_infinite_where_rejecting_everything_is_cheapest():
    assert min_dcf_threshold(LOW, HIGH, cost=BONAFIDE_RARE) == math.inf


def test_dcf_at_a_bad_threshold_exceeds_one():
    assert dcf_at(HIGH, LOW, 10.0) == pytest.approx(1.9)


def test_act_dcf_decides_at_the_bayes_threshold():
    assert ASVSPOOF5.bayes_threshold == pytest.approx(-math.log(1.9))
    just = ASVSPOOF5.bayes_threshold
    assert act_dcf(np.array([just]), np.array([just - 1e-9])) == 0
    assert act_dcf(np.array([just - 1e-9]), np.array([just])) == pytest.approx(2.9)


@pytest.mark.parametrize("broken", [{"p_spoof": 0.0}, {"p_spoof": 1.0}, {"c_miss": 0.0}, {"c_fa": -1.0}])
def test_constants_without_meaning_are_refused(broken):
    with pytest.raises(RecipeError, match="p_spoof must lie between 0 and 1"):
        DcfCost(**{"name": "mine", "p_spoof": 0.05, "c_miss": 1.0, "c_fa": 10.0, **broken})


def test_cllr_of_scores_that_say_nothing_is_one_bit():
    assert cllr(np.zeros(3), np.zeros(4)) == pytest.approx(1)


def test_cllr_of_a_hand_computed_case():
    assert cllr(np.array([math.log(3)]), np.array([-math.log(7)])) == pytest.approx((math.log2(4 / 3) + math.log2(8 / 7)) / 2)


def test_cllr_of_huge_scores_does_not_overflow():
    assert cllr(np.array([-1e4]), np.array([1e4])) == pytest.approx(1e4 / math.log(2))


def test_min_cllr_is_zero_for_separated_and_one_for_constant_or_reversed_scores():
    assert min_cllr(HIGH, LOW) == 0
    assert min_cllr(np.zeros(3), np.zeros(5)) == pytest.approx(1)
    assert min_cllr(LOW, HIGH) == pytest.approx(1)


def test_min_cllr_of_a_hand_pooled_case():
    # order s, b, s, b: the middle pair pools to one half each; half the weight of each class costs log2(2)
    assert min_cllr(np.array([2.0, 4.0]), np.array([1.0, 3.0])) == pytest.approx(0.5)


def test_pooled_blocks_rise_strictly_and_keep_all_trials():
    rng = np.random.default_rng(0)
    bonafide, spoof = pool_violators(tally(rng.normal(1, 1, 300).round(1), rng.normal(0, 1, 500).round(1)))
    assert (bonafide.sum(), spoof.sum()) == (300, 500)
    assert np.all(np.diff(bonafide / (bonafide + spoof)) > 0)


ASV = AsvScores(target=np.array([2.0, 3.0, 4.0, 5.0]), nontarget=np.array([0.0, 1.0]), spoof=np.array([1.0, 3.0, 4.0, 5.0]))


def test_tandem_weights_of_a_perfect_verifier():
    # the challenge's threshold is the last rejected score, 1.0: one nontarget of two lies at it and is accepted
    weights = tdcf_weights(ASV, TDCF_2021)
    assert weights.c0 == pytest.approx(0.0095 * 10 * 0.5)
    assert weights.c1 == pytest.approx(0.9405 - 0.0095 * 10 * 0.5)
    assert weights.c2 == pytest.approx(0.05 * 10 * 1.0)


def test_legacy_tandem_cost_leaves_out_the_verifiers_own_errors():
    assert tdcf_weights(ASV, TDCF_2019) == (0.0, *tdcf_weights(ASV, TDCF_2021)[1:])


def test_min_tdcf_of_a_perfect_countermeasure_is_what_the_verifier_costs():
    weights = tdcf_weights(ASV)
    assert min_tdcf(HIGH, LOW, ASV) == pytest.approx(weights.c0 / (weights.c0 + weights.c2))
    assert min_tdcf(HIGH, LOW, ASV, cost=TDCF_2019) == 0


def test_min_tdcf_of_a_blind_countermeasure_is_one():
    assert min_tdcf(np.zeros(3), np.zeros(4), ASV) == pytest.approx(1)


def test_min_tdcf_does_not_exist_where_the_verifier_accepts_no_spoof_and_has_no_cost():
    no_spoof = ASV._replace(spoof=np.array([-9.0]))
    assert math.isnan(min_tdcf(HIGH, LOW, no_spoof, cost=TDCF_2019))


def test_a_verifier_too_weak_for_a_tandem_is_refused():
    weak = AsvScores(target=np.arange(20.0), nontarget=np.arange(20.0, 40.0), spoof=np.array([0.0]))
    with pytest.raises(ScoresError, match="Check the ASV scores and their labels"):
        min_tdcf(HIGH, LOW, weak)


@pytest.mark.parametrize("metric", [min_dcf, act_dcf, cllr, min_cllr])
def test_every_cost_refuses_an_empty_class(metric):
    with pytest.raises(NotEnoughTrials, match="no bona fide scores"):
        metric(np.array([]), LOW)
