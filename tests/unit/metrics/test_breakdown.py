import math

import numpy as np
import pytest

from spoofscope.errors import ScoresError
from spoofscope.metrics.breakdown import breakdown
from spoofscope.metrics.rates import eer, rates_at


@pytest.fixture(scope="module")
def table():
    """Two codecs on both classes, three attacks (A09 only through C1 and rare), twelve speakers."""
    rng = np.random.default_rng(2)
    is_bonafide = np.arange(900) < 300
    attack = np.where(is_bonafide, "-", rng.choice(["A07", "A08"], 900)).astype(object)
    codec = rng.choice(["C1", "C2"], 900).astype(object)
    attack[890:], codec[890:] = "A09", "C1"
    columns = {"attack": attack, "codec": codec, "speaker": rng.integers(12, size=900).astype(str)}
    return columns, is_bonafide, np.where(is_bonafide, 1.5, 0.0) + rng.normal(0, 1, 900)


def run(table, by, **settings):
    cells = breakdown(*table, by=by, rng=np.random.default_rng(0), **{"replicates": 50, "min_count": 10, **settings})
    return {cell.group: cell for cell in cells}


def test_attacks_are_each_compared_with_all_bona_fide(table):
    columns, is_bonafide, scores = table
    cells = run(table, "attack")
    assert list(cells) == ["A07", "A08", "A09"]
    assert {cell.n_bonafide for cell in cells.values()} == {300}
    assert cells["A08"].estimate.value == pytest.approx(eer(scores[is_bonafide], scores[columns["attack"] == "A08"]))


def test_codecs_are_compared_within_themselves(table):
    columns, is_bonafide, scores = table
    through = columns["codec"] == "C2"
    cell = run(table, "codec")["C2"]
    assert (cell.n_bonafide, cell.n_spoof) == ((through & is_bonafide).sum(), (through & ~is_bonafide).sum())
    assert cell.estimate.value == pytest.approx(eer(scores[through & is_bonafide], scores[through & ~is_bonafide]))


def test_a_crossing_applies_the_rule_to_each_column(table):
    columns, is_bonafide, scores = table
    cells = run(table, ("attack", "codec"))
    through = columns["codec"] == "C2"
    spoof = through & (columns["attack"] == "A07")
    cell = cells["A07 x C2"]
    assert cell.columns == "attack*codec"
    assert cell.estimate.value == pytest.approx(eer(scores[through & is_bonafide], scores[spoof]))


def test_a_combination_that_no_trial_has_is_left_out(table):
    assert list(run(table, ("attack", "codec"))) == ["A07 x C1", "A07 x C2", "A08 x C1", "A08 x C2", "A09 x C1"]


def test_a_small_group_says_so_and_has_no_figure(table):
    cell = run(table, "attack", min_count=11, threshold=0.5)["A09"]
    assert cell.n_spoof == 10
    assert cell.note == "only 10 spoof trials, fewer than 11"
    assert all(math.isnan(figure.value) for figure in (cell.estimate, cell.miss, cell.false_alarm))


def test_a_group_at_the_minimum_count_has_a_figure(table):
    assert math.isfinite(run(table, "attack", min_count=10)["A09"].estimate.value)


def test_a_value_that_only_bona_fide_carries_has_no_figure(table):
    columns, is_bonafide, scores = table
    source = np.where(is_bonafide & (np.arange(900) < 100), "studio", "street").astype(object)
    cell = run(({**columns, "source": source}, is_bonafide, scores), "source", min_count=0)["studio"]
    assert (cell.n_bonafide, cell.n_spoof) == (100, 0)
    assert cell.note == "only 0 spoof trials, fewer than 1"


def test_rates_are_measured_at_the_given_threshold(table):
    columns, is_bonafide, scores = table
    cell = run(table, "attack", threshold=0.7)["A07"]
    rates = rates_at(scores[is_bonafide], scores[columns["attack"] == "A07"], 0.7)
    assert (cell.miss.value, cell.false_alarm.value, cell.threshold) == pytest.approx((*rates, 0.7))
    assert cell.false_alarm.low < cell.false_alarm.value < cell.false_alarm.high


def test_rates_without_a_threshold_do_not_exist(table):
    cell = run(table, "attack")["A07"]
    assert math.isnan(cell.miss.value)
    assert cell.miss.note == "no threshold given"


def test_intervals_are_clustered_by_the_speakers_of_the_group(table):
    assert run(table, "attack")["A07"].estimate.n_clusters == 12
    assert run(table, "attack", cluster_by=())["A07"].estimate.n_clusters > 300


def test_a_column_that_bona_fide_lacks_clusters_spoof_alone(table):
    cell = run(table, "codec", cluster_by=("speaker", "attack"))["C1"]
    assert "3 attack" in cell.note


def test_null_counts_as_not_carried(table):
    columns, is_bonafide, scores = table
    nulls = np.where(is_bonafide, None, columns["attack"])
    assert run(({**columns, "attack": nulls}, is_bonafide, scores), "attack") == run(table, "attack")


def test_an_unknown_column_is_refused_with_the_known_ones(table):
    with pytest.raises(ScoresError, match="cannot group by 'vocoder': the score table has attack, codec, speaker"):
        run(table, "vocoder")


def test_a_column_of_another_length_is_refused(table):
    columns, is_bonafide, scores = table
    with pytest.raises(ScoresError, match="column 'codec' has 3 values for 900 scores"):
        run(({**columns, "codec": ["a"] * 3}, is_bonafide, scores), "codec")
