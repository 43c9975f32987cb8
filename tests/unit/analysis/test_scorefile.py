import gzip
import math

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.scorefile import evaluate_score_file, match_score_file, polarity_warning, read_asv_scores
from spoofscope.errors import NotEnoughTrials, ScoresError
from spoofscope.metrics.costs import BONAFIDE_RARE, TDCF_2019, TDCF_2021, AsvScores, min_dcf, min_tdcf
from spoofscope.metrics.rates import eer, eer_challenge
from spoofscope.trials import Trials


@pytest.fixture(scope="module")
def trials():
    """120 bona fide and 240 spoof trials of twelve speakers and two attacks."""
    rows = [(f"T_{n:03}", "bonafide" if n < 120 else "spoof", f"s{n % 12}") for n in range(360)]
    attack = ["-" if label == "bonafide" else f"A0{7 + n % 2}" for n, (_, label, _) in enumerate(rows)]
    ids, labels, speakers = zip(*rows, strict=True)
    columns = {"trial_id": ids, "path": ids, "label": labels, "attack": attack, "speaker": speakers}
    return Trials(pl.DataFrame(columns), ".", "Toy corpus, eval")


@pytest.fixture(scope="module")
def scores(trials):
    return np.where(trials.is_bonafide, 1.5, 0.0) + np.random.default_rng(0).normal(0, 1, len(trials))


def written(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def two_columns(trials, scores):
    return [f"{trial} {score!r}" for trial, score in zip(trials.ids, scores.tolist(), strict=True)]


def four_columns(trials, scores):
    rows = zip(trials.ids, trials.frame["attack"], trials.frame["label"], scores.tolist(), strict=True)
    return [f"{trial} {attack} {label} {score!r}" for trial, attack, label, score in rows]


def evaluate(path, trials, **settings):
    return evaluate_score_file(path, trials, rng=np.random.default_rng(0), **{"replicates": 40, **settings})


def test_scores_come_back_in_the_order_of_the_protocol(tmp_path, trials, scores):
    file = written(tmp_path / "shuffled.txt", two_columns(trials, scores)[::-1])
    table = match_score_file(file, trials)
    assert table["trial_id"].to_list() == trials.ids
    assert table["score"].to_list() == scores.tolist()


def test_scores_keep_the_digits_that_the_file_has(tmp_path, trials, scores):
    close = 1 - np.arange(len(trials)) * 1e-12
    file = written(tmp_path / "saturated.txt", two_columns(trials, close))
    assert evaluate(file, trials).tied_fraction == 0


def test_the_figures_are_those_of_the_arrays(tmp_path, trials, scores):
    found = evaluate(written(tmp_path / "scores.txt", two_columns(trials, scores)), trials)
    bonafide, spoof = scores[trials.is_bonafide], scores[~trials.is_bonafide]
    assert found.trials == "Toy corpus, eval, 360 trials (120 bona fide, 240 spoof)"
    assert (found.n_bonafide, found.n_spoof) == (120, 240)
    assert found.metrics["eer"].value == pytest.approx(eer(bonafide, spoof))
    assert found.eer_challenge == eer_challenge(bonafide, spoof)
    assert found.metrics["eer"].low < found.metrics["eer"].value < found.metrics["eer"].high
    assert found.eer_iid.value == pytest.approx(eer(bonafide, spoof))
    assert found.clusters == "12 speaker x 2 attack"
    assert found.warnings == ()


def test_the_cost_that_was_asked_for_is_used_and_named(tmp_path, trials, scores):
    found = evaluate(written(tmp_path / "scores.txt", two_columns(trials, scores)), trials, cost=BONAFIDE_RARE)
    expected = min_dcf(scores[trials.is_bonafide], scores[~trials.is_bonafide], cost=BONAFIDE_RARE)
    assert found.metrics["min_dcf"].value == pytest.approx(expected)
    assert found.cost is BONAFIDE_RARE


def test_each_attack_has_a_row_with_its_rates_at_the_frozen_threshold(tmp_path, trials, scores):
    found = evaluate(written(tmp_path / "scores.txt", four_columns(trials, scores)), trials, threshold=0.8)
    assert [row.group for row in found.attacks] == ["A07", "A08"]
    chosen = scores[(trials.frame["attack"] == "A08").to_numpy()]
    assert found.attacks[1].estimate.value == pytest.approx(eer(scores[trials.is_bonafide], chosen))
    assert found.attacks[1].false_alarm.value == pytest.approx(np.mean(chosen >= 0.8))


def test_tandem_cost_exists_only_with_a_verifiers_scores(tmp_path, trials, scores):
    file = written(tmp_path / "scores.txt", two_columns(trials, scores))
    rng = np.random.default_rng(0)
    asv = AsvScores(rng.normal(3, 1, 50), rng.normal(0, 1, 50), rng.normal(2, 1, 50))
    classes = scores[trials.is_bonafide], scores[~trials.is_bonafide]
    with_asv, without = evaluate(file, trials, asv=asv), evaluate(file, trials)
    assert with_asv.min_tdcf_2019 == min_tdcf(*classes, asv, cost=TDCF_2019)
    assert with_asv.min_tdcf_2021 == min_tdcf(*classes, asv, cost=TDCF_2021)
    assert math.isnan(without.min_tdcf_2019)


def test_reversed_scores_are_reported_and_not_flipped(tmp_path, trials, scores):
    found = evaluate(written(tmp_path / "reversed.txt", two_columns(trials, -scores)), trials)
    upright = eer(scores[trials.is_bonafide], scores[~trials.is_bonafide])
    assert found.metrics["eer"].value == pytest.approx(1 - upright)
    (warning,) = found.warnings
    assert all(cause in warning for cause in ("polarity", "padding", "pre-emphasis"))
    assert f"would be {upright:.2%} if flipped" in warning


def test_a_constant_detector_is_not_called_reversed():
    assert polarity_warning(np.zeros(4), np.zeros(5), source="x") == ""


def test_missing_trials_are_counted_and_the_first_is_named(tmp_path, trials, scores):
    file = written(tmp_path / "short.txt", two_columns(trials, scores)[3:])
    with pytest.raises(ScoresError, match=r"3 of 360 trials have no score \(first: T_000\) of Toy corpus, eval. Check"):
        match_score_file(file, trials)


def test_extra_scores_are_counted_and_the_first_is_named(tmp_path, trials, scores):
    file = written(tmp_path / "long.txt", [*two_columns(trials, scores), "LA_E_1 0.5", "LA_E_2 0.5"])
    with pytest.raises(ScoresError, match=r"2 of 362 scores belong to no trial \(first: LA_E_1\)"):
        match_score_file(file, trials)


def test_a_label_that_is_not_the_protocols_is_refused(tmp_path, trials, scores):
    lines = four_columns(trials, scores)
    lines[0] = lines[0].replace("- bonafide", "A07 spoof")
    with pytest.raises(ScoresError, match="trial T_000 is 'spoof' in the file and 'bonafide' in the protocol"):
        match_score_file(written(tmp_path / "wrong.txt", lines), trials)


def test_an_attack_that_is_not_the_protocols_is_refused(tmp_path, trials, scores):
    lines = four_columns(trials, scores)
    lines[121] = lines[121].replace("A08", "A19")
    with pytest.raises(ScoresError, match=r"attack differs from Toy corpus, eval in 1 of 240 .* 'A19' in the file and 'A08'"):
        match_score_file(written(tmp_path / "wrong.txt", lines), trials)


def test_the_attack_written_for_bona_fide_trials_does_not_matter(tmp_path, trials, scores):
    lines = [line.replace(" - bonafide", " A00 bonafide") for line in four_columns(trials, scores)]
    assert match_score_file(written(tmp_path / "a00.txt", lines), trials).height == 360


def test_a_protocol_of_one_class_is_refused(tmp_path, trials, scores):
    alone = trials.where(trials.is_bonafide, name="bona fide only")
    file = written(tmp_path / "one.txt", two_columns(alone, scores[:120]))
    with pytest.raises(NotEnoughTrials, match="no spoof scores"):
        evaluate(file, alone)


def test_asv_scores_are_read_by_kind(tmp_path):
    file = written(tmp_path / "asv.txt", ["bonafide target 7.5", "bonafide nontarget -1", "", "A07 spoof 2.25", "A08 spoof 3"])
    found = read_asv_scores(file)
    assert [part.tolist() for part in found] == [[7.5], [-1.0], [2.25, 3.0]]


def test_asv_scores_are_read_from_gzip(tmp_path):
    file = tmp_path / "asv.txt.gz"
    with gzip.open(file, "wt") as lines:
        lines.write("bonafide target 1\nbonafide nontarget 0\nA07 spoof 0.5\n")
    assert read_asv_scores(file).spoof.tolist() == [0.5]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["bonafide target 1", "bonafide impostor 1"], "row 2: expected 'attack label score'.*found 'bonafide impostor 1'"),
        (["LA_0001 LA_E_1 bonafide target 1"], "row 1: expected 'attack label score'"),
        (["bonafide target high"], "row 1: the score 'high' is not a finite number"),
        (["bonafide target nan"], "row 1: the score 'nan' is not a finite number"),
        (["bonafide target 1", "A07 spoof 1"], "no nontarget trials"),
    ],
)
def test_asv_scores_of_another_form_are_refused_by_row(tmp_path, lines, words):
    with pytest.raises(ScoresError, match=words):
        read_asv_scores(written(tmp_path / "asv.txt", lines))


def test_an_absent_or_broken_file_of_asv_scores_is_refused(tmp_path):
    with pytest.raises(ScoresError, match="no file of ASV scores at"):
        read_asv_scores(tmp_path / "absent.txt")
    (tmp_path / "broken.txt.gz").write_bytes(b"not gzip")
    with pytest.raises(ScoresError, match="is not a text of ASV scores"):
        read_asv_scores(tmp_path / "broken.txt.gz")
