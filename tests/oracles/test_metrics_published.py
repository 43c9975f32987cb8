"""Published systems and the challenge's own script: the numbers that everybody else prints."""

import gzip
import json

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.scorefile import evaluate_score_file, read_asv_scores
from spoofscope.metrics.costs import TDCF_2019, TDCF_2021, AsvScores, min_tdcf, tdcf_weights
from spoofscope.metrics.rates import auc, challenge_crossing, det_points, eer, eer_challenge, rates_at
from spoofscope.trials import Trials
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
EXPECTED = SHARED / "scores" / "asvspoof2019_la_eval_expected.json"
SYSTEMS = {row["system"]: row for row in json.loads(EXPECTED.read_text())} if EXPECTED.is_file() else {"absent": {}}
ATTACKS = [f"A{number:02}" for number in range(7, 20)]


@pytest.fixture(scope="module")
def table():
    with np.load(SHARED / "scores" / "asvspoof2019_la_eval_14systems.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def asv():
    return read_asv_scores(SHARED / "protocols" / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt.gz")


@pytest.fixture(scope="module")
def golden():
    with np.load(SHARED / "golden" / "challenge_metrics" / "metrics_golden.npz") as arrays:
        return dict(arrays)


def split(table, system):
    bonafide = table["label"] == "bonafide"
    return table[system][bonafide], table[system][~bonafide]


def test_there_are_fourteen_systems():
    assert len(SYSTEMS) == 14


@pytest.mark.parametrize("system", SYSTEMS)
def test_eer_of_a_published_system_is_within_a_hundredth_of_a_point(table, system):
    assert 100 * eer(*split(table, system)) == pytest.approx(SYSTEMS[system]["eer_percent"], abs=0.01)


@pytest.mark.parametrize("system", SYSTEMS)
def test_challenge_eer_of_a_published_system_agrees_to_every_printed_digit(table, system):
    # the expected values are challenge-style, not interpolated; float32 scores leave one unit of the last digit
    assert 100 * eer_challenge(*split(table, system)) == pytest.approx(SYSTEMS[system]["eer_percent"], abs=1.01e-4)


@pytest.mark.parametrize("system", SYSTEMS)
def test_eer_per_attack_of_a_published_system_is_within_a_hundredth_of_a_point(table, system):
    bonafide, _ = split(table, system)
    found = [100 * eer(bonafide, table[system][table["attack"] == attack]) for attack in ATTACKS]
    assert found == pytest.approx([SYSTEMS[system][attack] for attack in ATTACKS], abs=0.01)


@pytest.mark.parametrize("system", SYSTEMS)
def test_min_tdcf_of_a_published_system_is_within_two_ten_thousandths(table, asv, system):
    found = min_tdcf(*split(table, system), asv, cost=TDCF_2019)
    assert found == pytest.approx(SYSTEMS[system]["min_tdcf_2019"], abs=2e-4)


def test_the_reversed_system_is_below_one_half_in_auc(table):
    assert auc(*split(table, "lfcc_resnet_ocsoftmax_REVERSED")) < 0.01


@pytest.mark.parametrize(
    ("file", "system"),
    [
        ("raw_rawgat_mul", "rawgat_st_mul"),
        ("raw_aasistL_pr9", "aasist_l"),
        ("raw_air_ocsoftmax", "lfcc_resnet_ocsoftmax_REVERSED"),
    ],
)
def test_eer_of_a_file_as_published_is_within_a_hundredth_of_a_point(file, system):
    with gzip.open(SHARED / "scores" / f"{file}.txt.gz", "rt") as lines:
        rows = [line.split() for line in lines]
    classes = (np.array([float(row[3]) for row in rows if row[2] == label]) for label in ("bonafide", "spoof"))
    assert 100 * eer(*classes) == pytest.approx(SYSTEMS[system]["eer_percent"], abs=0.01)


def test_the_speaker_verifier_has_its_published_eer(asv):
    assert 100 * challenge_crossing(asv.target, asv.nontarget).eer == pytest.approx(2.458, abs=5e-4)


def test_challenge_eer_and_threshold_are_those_of_the_challenges_script(golden):
    found = challenge_crossing(golden["bona"], golden["spoof"])
    assert found.eer == pytest.approx(float(golden["eer"]), abs=1e-15)
    assert found.threshold == float(golden["eer_thr"])


def test_the_verifiers_rates_are_those_of_the_challenges_script(golden):
    crossing = challenge_crossing(golden["asv_target"], golden["asv_nontarget"])
    own = rates_at(golden["asv_target"], golden["asv_nontarget"], crossing.threshold)
    assert crossing == pytest.approx((float(golden["asv_eer"]), float(golden["asv_thr"])))
    assert own == pytest.approx((float(golden["Pmiss_asv"]), float(golden["Pfa_asv"])))
    spoof = rates_at(golden["asv_target"], golden["asv_spoof"], crossing.threshold)
    assert spoof.false_alarm == pytest.approx(float(golden["Pfa_spoof_asv"]))


def test_tandem_cost_of_2021_is_that_of_the_challenges_script(golden):
    asv = AsvScores(golden["asv_target"], golden["asv_nontarget"], golden["asv_spoof"])
    weights = tdcf_weights(asv, TDCF_2021)
    assert weights == pytest.approx([float(golden[name]) for name in ("C0", "C1", "C2")], abs=1e-15)
    assert weights.c0 + min(weights.c1, weights.c2) == pytest.approx(float(golden["tdcf_default"]), abs=1e-15)
    assert min_tdcf(golden["bona"], golden["spoof"], asv) == pytest.approx(float(golden["min_tdcf"]), abs=1e-15)


def test_every_untied_step_of_the_challenges_curve_is_an_operating_point(golden):
    curve = det_points(golden["bona"], golden["spoof"])
    ours = {(round(miss, 12), round(false_alarm, 12)) for miss, false_alarm in zip(curve.miss, curve.false_alarm, strict=True)}
    theirs = zip(golden["frr_every50"], golden["far_every50"], golden["thr_every50"], strict=True)
    score, counts = np.unique(np.concatenate((golden["bona"], golden["spoof"])), return_counts=True)
    untied = [(round(frr, 12), round(far, 12)) for frr, far, thr in theirs if counts[np.searchsorted(score, thr)] == 1]
    assert len(untied) > 60
    assert set(untied) <= ours


@pytest.mark.parametrize(
    ("file", "eer_percent", "min_tdcf_2019", "warned"),
    [("raw_rawgat_mul", 1.0601, 0.03354, False), ("raw_air_ocsoftmax", 97.8220, 1.0, True)],
)
def test_a_file_as_published_is_evaluated_against_the_protocol(table, asv, file, eer_percent, min_tdcf_2019, warned):
    frame = pl.DataFrame(
        {"trial_id": table["utt_id"], "path": table["utt_id"], "label": table["label"], "speaker": table["speaker"]}
    )
    frame = frame.with_columns(attack=pl.Series(np.where(table["label"] == "bonafide", "-", table["attack"])))
    trials = Trials(frame, ".", "ASVspoof 2019 LA, eval")
    path = SHARED / "scores" / f"{file}.txt.gz"
    found = evaluate_score_file(path, trials, asv=asv, rng=np.random.default_rng(0), replicates=20)
    assert (found.n_bonafide, found.n_spoof) == (7355, 63882)
    assert found.metrics["eer"].value == pytest.approx(eer_percent / 100, abs=1e-4)
    assert found.min_tdcf_2019 == pytest.approx(min_tdcf_2019, abs=2e-4)
    assert [row.group for row in found.attacks] == ATTACKS
    assert bool(found.warnings) == warned
