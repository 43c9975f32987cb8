"""The band-mask test on planted cues: it finds the band, tells an effect from none, and cheats in none of the known ways."""

import dataclasses
import shutil
from pathlib import Path

import polars as pl
import pytest

from spoofscope.analysis.retraining import trainings
from spoofscope.analysis.retraining.masking import run_masking
from spoofscope.analysis.retraining.plan import Band, Plan
from spoofscope.errors import AudioError, LeakError, NotEnoughTrials, RecipeError, RunFolderError, TrialsError, UserError
from spoofscope.training.trainables import TRAINABLES
from spoofscope.trials import Trials
from tests.planted import planted_trials

LEANT_ON = {(5100.0, 5700.0): 6.0, (5700.0, 6300.0): -6.0}
AGAINST = {band: -gain_db for band, gain_db in LEANT_ON.items()}
SHARED = {(1500.0, 2000.0): 3.0}
LEANING = {"A1": LEANT_ON | SHARED, "B1": LEANT_ON | SHARED, "C1": AGAINST | SHARED}
"""In one band C is bona fide and more so, next to what A and B are there; something else is common to all attacks."""
ALIKE = dict.fromkeys(LEANING, LEANT_ON | SHARED)
PLAN = Plan(
    hypothesis="C is missed because of the band by which A and B are told.",
    detectors=("lfcc_gmm",),
    held=(("C",),),
    width_hz=1500,
    seeds=(0, 1),
    steps=5,
    replicates=200,
)


def planted(root: Path, cues=LEANING, **sizes) -> tuple[Trials, Trials]:
    return planted_trials(root / "train", "train", cues, **sizes), planted_trials(root / "test", "test", cues, **sizes)


@pytest.fixture(scope="module")
def leaning(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("leaning"))


@pytest.fixture(scope="module")
def finished(leaning, tmp_path_factory):
    """A run that is done, and its table."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run_masking(PLAN, *leaning, folder)


def stated(table: pl.DataFrame, held="all", arm="target") -> dict:
    (row,) = table.filter(held=held, arm=arm, seed="all").to_dicts()
    return row


def changed(trials: Trials, **columns) -> Trials:
    return Trials(trials.frame.with_columns(**columns), trials.root, trials.name)


def test_a_detector_that_leans_on_the_band_is_found_out(finished):
    _, table = finished
    row = stated(table)
    assert row["supports"] == "true"
    assert row["difference_high"] < -0.2
    assert row["p"] == row["p_holm"] == pytest.approx(1 / 201)
    assert stated(table, arm="control")["gap"] > 0.3
    assert "told less well" not in row["note"]


def test_the_target_is_where_training_attacks_differ_and_the_control_is_apart_from_it_and_as_wide(finished):
    _, table = finished
    target, control = (stated(table, held="C", arm=arm) for arm in ("target", "control"))
    assert target["low_hz"] <= 5100
    assert target["high_hz"] >= 6300
    assert target["high_hz"] - target["low_hz"] == control["high_hz"] - control["low_hz"] == 1500
    assert control["high_hz"] <= target["low_hz"] or control["low_hz"] >= target["high_hz"]


def test_without_an_effect_the_difference_is_within_noise(tmp_path):
    row = stated(run_masking(PLAN, *planted(tmp_path, ALIKE), tmp_path / "run"))
    assert row["supports"] == "within noise"
    assert row["difference_low"] <= 0 <= row["difference_high"]
    assert "without a mask the gap is within noise" in row["note"]


def test_an_effect_against_the_hypothesis_does_not_support_it(leaning, tmp_path):
    row = stated(run_masking(dataclasses.replace(PLAN, direction="widens"), *leaning, tmp_path))
    assert (row["supports"], row["p_holm"]) == ("false", 1.0)


def test_a_gap_that_only_narrows_because_heard_attacks_are_lost_is_called_that(tmp_path):
    trials = planted(tmp_path, {"A1": LEANT_ON, "B1": LEANT_ON, "C1": {}})
    row = stated(run_masking(PLAN, *trials, tmp_path / "run"))
    assert row["supports"] == "true"
    assert row["note"].startswith("the gap narrows because attacks that were heard are told less well")


def test_the_bands_are_located_without_a_look_at_what_is_held_out(finished, leaning, tmp_path):
    folder, table = finished
    contrasts = (folder / "contrasts.csv").read_bytes()
    for attack, is_same in (("C1", True), ("A1", False)):
        other = planted_trials(tmp_path / attack, "train", LEANING | {attack: {(300.0, 1800.0): 20.0}})
        again = run_masking(PLAN, other, leaning[1], tmp_path / f"run-{attack}")
        assert ((tmp_path / f"run-{attack}" / "contrasts.csv").read_bytes() == contrasts) is is_same
        assert again.equals(table) is is_same


def test_seeds_are_trainings_of_their_own(finished):
    scores = pl.read_parquet(finished[0] / "masking" / "*.parquet").filter(arm="control").partition_by("seed")
    assert not scores[0]["score"].equals(scores[1]["score"])


def test_the_same_plan_and_seeds_give_the_same_table_to_the_byte(finished, leaning, tmp_path):
    assert run_masking(PLAN, *leaning, tmp_path).write_csv() == finished[1].write_csv()


class Counted:
    """How often a detector was trained."""

    def __init__(self, monkeypatch, name="lfcc_gmm"):
        self.count, self.fit = 0, TRAINABLES[name].fit
        monkeypatch.setitem(TRAINABLES, name, dataclasses.replace(TRAINABLES[name], fit=self))

    def __call__(self, *asked):
        self.count += 1
        return self.fit(*asked)


def test_a_run_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(finished, leaning, tmp_path, monkeypatch):
    counted = Counted(monkeypatch)

    def stop_after_one(phase, share):
        if phase.startswith("training"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_masking(PLAN, *leaning, tmp_path, progress=stop_after_one)
    assert counted.count == 2  # one arm, two seeds
    assert run_masking(PLAN, *leaning, tmp_path).equals(finished[1])
    assert counted.count == 6


def test_what_is_finished_is_neither_heard_nor_trained_again(finished, leaning, monkeypatch):
    def refuse(path):
        raise AssertionError(path)

    monkeypatch.setattr(trainings, "read_audio", refuse)
    counted = Counted(monkeypatch)
    assert run_masking(PLAN, *leaning, finished[0]).equals(finished[1])
    assert counted.count == 0


def test_scores_of_every_training_are_kept_with_their_trials(finished, leaning):
    folder, _ = finished
    scores = pl.read_parquet(folder / "masking" / "*.parquet")
    assert scores.select("held", "arm", "seed").unique().height == 6
    own = scores.filter(arm="target", seed=0)
    assert own["trial_id"].to_list() == leaning[1].ids


def test_a_damaged_part_says_what_to_do(finished, leaning, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    min((folder / "masking").iterdir()).write_bytes(b"PAR1")
    with pytest.raises(RunFolderError, match="Delete it and run again"):
        run_masking(PLAN, *leaning, folder)


def test_a_plan_that_was_changed_is_refused_before_anything_is_trained(finished, leaning, monkeypatch):
    counted = Counted(monkeypatch)
    with pytest.raises(RunFolderError, match="not changed after it was registered"):
        run_masking(dataclasses.replace(PLAN, sides=2), *leaning, finished[0])
    assert counted.count == 0


def test_a_voice_on_both_sides_is_refused_and_nothing_is_registered(leaning, tmp_path):
    train, test = leaning
    with pytest.raises(LeakError, match="speaker 'train-s0' stands in training and in test"):
        run_masking(PLAN, train, changed(test, speaker=pl.col("speaker").str.replace("test-s0", "train-s0")), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_recording_that_cannot_be_read_is_named_with_what_to_do(leaning, tmp_path, side):
    both = {"train": leaning[0], "test": leaning[1]}
    broken = both[side].ids[7]
    both[side] = changed(both[side], path=pl.col("path").str.replace(f"{broken}.wav", "absent.wav", literal=True))
    with pytest.raises(AudioError, match=rf"planted, {side}: trial '{broken}': .*absent.wav.* take the trial out of the list"):
        run_masking(PLAN, both["train"], both["test"], tmp_path)


def test_a_group_of_one_voice_cannot_be_judged_and_is_refused(leaning, tmp_path):
    train, test = leaning
    one_voice = test.where((pl.col("family") != "C") | (pl.col("speaker") == "test-s0"), name="one voice")
    with pytest.raises(NotEnoughTrials, match="'C' cannot be judged: no interval: the spoof trials are of one speaker"):
        run_masking(PLAN, train, one_voice, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"held": (("D",),)}, TrialsError, "no spoof trial of family 'D' to hold out; there are A, B, C"),
        ({"held": (("A", "B", "C"),)}, NotEnoughTrials, "lacks bona fide or spoof"),
        ({"held_by": "vocoder"}, TrialsError, "no column 'vocoder'"),
        ({"width_hz": 4000.0}, RecipeError, "no control of 4000 Hz fits beside the target"),
    ],
)
def test_what_the_trials_do_not_allow_is_said(leaning, tmp_path, keys, error, message):
    with pytest.raises(error, match=message):
        run_masking(dataclasses.replace(PLAN, **keys), *leaning, tmp_path)


def test_features_that_would_not_fit_are_refused_before_anything_is_read(leaning, tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "MOST_BYTES", 2**20)
    with pytest.raises(UserError, match=r"50 trials \(planted, train\) and 50 trials \(planted, test\) for 1 detectors need"):
        run_masking(PLAN, *leaning, tmp_path)


def test_a_mask_of_training_alone_leaves_the_test_as_it_is(leaning, tmp_path):
    phases = set()
    plan = dataclasses.replace(PLAN, masked_at="training", target=Band(5000, 6500), control=Band(3000, 4500))
    run_masking(plan, *leaning, tmp_path, progress=lambda phase, share: phases.add(phase))
    assert "hearing planted, train without 5000-6500 Hz" in phases
    assert "hearing planted, test as it is" in phases
    assert not any(phase.startswith("hearing planted, test without") for phase in phases)


def test_each_detector_is_tested_and_the_p_values_are_adjusted_for_their_number(leaning, tmp_path):
    pytest.importorskip("torch")
    plan = dataclasses.replace(PLAN, detectors=("lfcc_gmm", "logmel_cnn"), measure="auc")
    rows = run_masking(plan, *leaning, tmp_path).filter(held="all", arm="target")
    assert rows["detector"].to_list() == ["lfcc_gmm", "logmel_cnn"]
    low, high = sorted(rows.select("p", "p_holm").rows())
    assert low[1] == pytest.approx(min(1, 2 * low[0]))
    assert high[1] == pytest.approx(max(low[1], high[0]))
