import numpy as np
import pytest

from spoofscope.errors import ScoresError
from spoofscope.metrics.clusters import Cells, clusters_of, draw_weights, independent


def test_a_name_in_both_classes_is_one_factor():
    clusters = clusters_of({"speaker": ["a", "b"]}, {"speaker": ["b", "c", "b"]})
    (speaker,) = clusters.factors
    assert speaker.size == 3
    assert speaker.bonafide.tolist() == [0, 1]
    assert speaker.spoof.tolist() == [1, 2, 1]


def test_a_trial_without_a_speaker_is_its_own_cluster():
    clusters = clusters_of({"speaker": [None, None, "a"]}, {"speaker": [None, "a"]})
    assert clusters.n_clusters == 4
    assert clusters.factors[0].bonafide[2] == clusters.factors[0].spoof[1]


def test_attack_concerns_spoof_alone():
    clusters = clusters_of({"speaker": ["a", "b"]}, {"speaker": ["a", "b"], "attack": ["A07", "A08"]})
    assert clusters.factors[1].bonafide is None
    assert clusters.describe() == "2 speaker x 2 attack"


def test_taking_trials_drops_values_that_no_kept_trial_carries():
    clusters = clusters_of({"speaker": ["a", "b", "c"]}, {"speaker": ["a", "d"], "attack": ["A07", "A08"]})
    kept = clusters.take(np.array([True, False, False]), np.array([False, True]))
    assert kept.describe() == "2 speaker x 1 attack"
    assert (kept.n_bonafide, kept.n_spoof) == (1, 1)
    assert kept.factors[0].bonafide.tolist() != kept.factors[0].spoof.tolist()


def test_taking_everything_changes_nothing():
    clusters = clusters_of({"speaker": ["a", "b"]}, {"speaker": ["b", "c"], "attack": ["x", "y"]})
    assert clusters.take(slice(None), slice(None)).describe() == clusters.describe()


def test_weights_of_a_factor_sum_to_its_size():
    clusters = clusters_of({"speaker": list("abcde")}, {"speaker": list("abc"), "attack": list("xyz")})
    speaker, attack = draw_weights(clusters, 50, np.random.default_rng(0))
    assert speaker.shape == (50, 5)
    assert (speaker.sum(axis=1) == 5).all()
    assert (attack.sum(axis=1) == 3).all()


def test_drawn_weights_have_the_variance_of_a_multinomial():
    clusters = clusters_of({"speaker": list("abcd")}, {"speaker": list("abcd")})
    (weights,) = draw_weights(clusters, 20_000, np.random.default_rng(0))
    assert weights.mean(axis=0) == pytest.approx(np.ones(4), abs=0.03)
    assert weights.var(axis=0) == pytest.approx(np.full(4, 0.75), abs=0.03)


def test_a_spoof_trial_weighs_its_speaker_times_its_attack():
    clusters = clusters_of({"speaker": ["a", "b"]}, {"speaker": ["a", "b", "b"], "attack": ["x", "x", "y"]})
    cells = Cells(clusters, "spoof")
    drawn = [np.array([[2.0, 3.0]]), np.array([[5.0, 7.0]])]
    assert cells.weights(drawn)[0][cells.index].tolist() == [10, 15, 21]
    bonafide = Cells(clusters, "bonafide")
    assert bonafide.weights(drawn)[0][bonafide.index].tolist() == [2, 3]


def test_independent_clusters_resample_each_class_to_its_own_size():
    first, second = draw_weights(independent(3, 7), 10, np.random.default_rng(0))
    assert (first.sum(axis=1) == 3).all()
    assert (second.sum(axis=1) == 7).all()


def test_few_clusters_are_named_in_the_caveat():
    few = clusters_of({"speaker": ["a", "b", "a"]}, {"speaker": ["a", "b", "b"], "attack": ["x", "x", "x"]})
    assert few.caveat() == "only 2 speaker clusters: the interval is rough and probably too narrow"


def test_a_table_without_speakers_says_that_trials_count_as_independent():
    unknown = clusters_of({"speaker": [None] * 30}, {"speaker": [None] * 40})
    assert "trials count as independent" in unknown.caveat()


def test_many_clusters_need_no_caveat():
    speakers = [str(number % 12) for number in range(40)]
    assert clusters_of({"speaker": speakers}, {"speaker": speakers}).caveat() == ""


def test_columns_of_another_length_are_refused():
    with pytest.raises(ScoresError, match=r"spoof clusters have shape \(3,\) for 2 trials"):
        clusters_of({"speaker": ["a"]}, {"speaker": ["a", "b"], "attack": ["x", "x", "y"]})


def test_a_class_without_a_column_is_refused():
    with pytest.raises(ScoresError, match="each class needs a column"):
        clusters_of({}, {"speaker": ["a"]})
