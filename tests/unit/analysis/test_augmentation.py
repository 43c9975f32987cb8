"""The augmentation baseline on planted cues: what a telephone line takes, and what comes back when training hears one."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.retraining import trainings
from spoofscope.analysis.retraining.augmentation import SCHEMA, Augmentation, run_augmentation
from spoofscope.errors import AudioError, LeakError, RecipeError, TrialsError, UnknownName, UserError
from spoofscope.metrics.rates import eer
from spoofscope.training.trainables import TRAINABLES
from spoofscope.trials import Trials
from tests.planted import planted_trials

CUE = {(1500.0, 2000.0): 6.0}
CUES = {"A1": CUE, "B1": CUE, "C1": {(1500.0, 2000.0): -6.0}}
SETTINGS = Augmentation(
    detectors=("lfcc_gmm",),
    held=(("B",), ("C",)),
    channels=("telephony",),
    copies=1,
    conditions=("telephony", "gain(-6)"),
    seeds=(0, 1),
    steps=3,
    replicates=200,
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    root = tmp_path_factory.mktemp("planted")
    return tuple(planted_trials(root / side, side, CUES) for side in ("train", "test"))


@pytest.fixture(scope="module")
def finished(planted, tmp_path_factory):
    """A run that is done, and its table."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run_augmentation(SETTINGS, *planted, folder)


def stated(table: pl.DataFrame, **where) -> dict:
    (row,) = table.filter(**where).to_dicts()
    return row


class Refused:
    """A training that should not take place."""

    def __init__(self, monkeypatch):
        monkeypatch.setitem(TRAINABLES, "lfcc_gmm", dataclasses.replace(TRAINABLES["lfcc_gmm"], fit=self))
        self.count = 0

    def __call__(self, *asked):
        self.count += 1
        raise AssertionError(asked)


def test_both_questions_are_asked_of_every_condition_and_every_group(finished):
    _, table = finished
    assert dict(table.schema) == SCHEMA
    assert table.select("question", "condition", "held").rows() == [
        ("robustness", "clean", ""),
        ("robustness", "telephony", ""),
        ("robustness", "gain(-6)", ""),
        ("gap", "clean", "B"),
        ("gap", "clean", "C"),
        ("gap", "clean", "all"),
    ]


def test_what_a_channel_takes_returns_when_training_hears_it(finished):
    row = stated(finished[1], condition="telephony")
    assert row["loss_low"] > 0.1
    assert row["difference_high"] < 0
    assert row["recovered"] == pytest.approx(-row["difference"] / row["loss"])
    assert row["recovered_low"] > 0.5
    assert row["note"].startswith("heard in training")


def test_a_gap_that_augmentation_has_nothing_to_do_with_does_not_return(finished):
    row = stated(finished[1], held="C")
    assert row["loss_low"] > 0.3
    assert row["recovered_high"] < 0.5


def test_a_share_is_given_only_where_the_loss_is_above_noise(finished):
    _, table = finished
    lost = table.filter(pl.col("loss").is_not_null())
    above = lost["loss_low"] > 0
    assert 0 < above.sum() < len(above)
    for column in ("recovered", "recovered_low", "recovered_high"):
        assert (lost[column].is_not_null() == above).all()
    assert (lost["note"].str.contains("the loss is within noise") != above).all()
    assert stated(table, question="robustness", condition="clean")["recovered"] is None


def test_the_mean_gap_is_the_mean_of_the_groups(finished):
    gaps = finished[1].filter(question="gap")
    for column in ("loss", "difference", "eer_plain", "eer_augmented"):
        first, second, mean = gaps[column]
        assert mean == pytest.approx((first + second) / 2)


def test_every_figure_is_that_of_the_scores_that_are_kept(finished):
    folder, table = finished
    scores = pl.read_parquet(folder / "augmentation-*" / "*.parquet")

    def error(held, variant, condition, attacks):
        own = scores.filter(held=held, variant=variant, condition=condition)
        sides = (
            own.filter((pl.col("seed") == seed) & pl.col("attack").is_in(list(side)))["score"].to_numpy()
            for seed in SETTINGS.seeds
            for side in (("-",), attacks)
        )
        return np.mean([eer(bonafide, next(sides)) for bonafide in sides])

    lost = error("all", "plain", "telephony", CUES) - error("all", "plain", "clean", CUES)
    assert stated(table, condition="telephony")["loss"] == pytest.approx(lost)
    gap = {
        variant: error("C", variant, "clean", ("C1",)) - error("C", variant, "clean", ("A1", "B1"))
        for variant in ("plain", "augmented")
    }
    row = stated(table, held="C")
    assert row["loss"] == pytest.approx(gap["plain"])
    assert row["difference"] == pytest.approx(gap["augmented"] - gap["plain"])


def test_the_same_settings_give_the_same_table_to_the_byte_and_a_stopped_run_ends_alike(finished, planted, tmp_path):
    def stop_at_half(phase, share):
        if phase.startswith("training") and share >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_augmentation(SETTINGS, *planted, tmp_path, progress=stop_at_half)
    assert list(tmp_path.glob("*/*.parquet"))
    assert run_augmentation(SETTINGS, *planted, tmp_path).write_csv() == finished[1].write_csv()


def test_what_is_finished_is_neither_heard_nor_trained_again_even_for_other_intervals_or_fewer_groups(
    finished, planted, monkeypatch
):
    folder, table = finished
    monkeypatch.setattr(trainings, "read_audio", Refused(monkeypatch))
    assert run_augmentation(SETTINGS, *planted, folder).equals(table)
    narrower = run_augmentation(dataclasses.replace(SETTINGS, level=0.5), *planted, folder)
    assert narrower["loss"].equals(table["loss"])
    assert (narrower["loss_low"] >= table["loss_low"]).all()
    fewer = run_augmentation(dataclasses.replace(SETTINGS, held=(("C",),)), *planted, folder)
    assert fewer.filter(held="C").equals(table.filter(held="C"))


@pytest.mark.parametrize("change", [{"copies": 2}, {"steps": 4}, {"seed": 1}, {"channels": ("mp3(16)",)}])
def test_other_settings_do_not_take_over_what_was_trained_under_these(finished, planted, monkeypatch, change):
    refused = Refused(monkeypatch)
    with pytest.raises(AssertionError):
        run_augmentation(dataclasses.replace(SETTINGS, **change), *planted, finished[0])
    assert refused.count == 1


def test_groups_are_those_that_both_sides_share_unless_given(planted, tmp_path):
    train, test = planted
    only = Trials(train.frame.filter(pl.col("family") != "C"), train.root, train.name)
    table = run_augmentation(dataclasses.replace(SETTINGS, held=(), conditions=()), only, test, tmp_path)
    assert table.filter(question="gap")["held"].to_list() == ["A", "B", "all"]


def test_a_group_of_one_voice_has_estimates_and_no_intervals(planted, finished):
    train, test = planted
    one_voice = test.where((pl.col("family") != "C") | (pl.col("speaker") == "test-s0"), name="one voice")
    table = run_augmentation(dataclasses.replace(SETTINGS, conditions=()), train, one_voice, finished[0])
    alone, mean = stated(table, held="C"), stated(table, held="all")
    assert alone["loss"] is not None
    assert alone["loss_low"] is alone["recovered"] is mean["loss_low"] is None
    assert alone["note"].startswith("no interval: the spoof trials are of one speaker")
    assert "('C')" in mean["note"]


def test_networks_are_trained_with_copies_too(planted, tmp_path):
    pytest.importorskip("torch")
    few = dataclasses.replace(SETTINGS, detectors=("logmel_cnn",), held=(("C",),), conditions=())
    assert run_augmentation(few, *planted, tmp_path)["eer_plain"].is_between(0, 1).all()


def test_a_recording_that_a_condition_cannot_take_is_named(planted, tmp_path):
    import soundfile

    train, test = planted
    silent = test.frame["trial_id"][3]
    soundfile.write(tmp_path / f"{silent}.wav", np.zeros(8000, dtype=np.float32), 16_000)
    moved = test.frame.with_columns(path=pl.lit(f"{test.root}/") + pl.col("path"))
    moved = moved.with_columns(path=pl.when(pl.col("trial_id") == silent).then(pl.lit(f"{silent}.wav")).otherwise("path"))
    noisy = dataclasses.replace(SETTINGS, conditions=("noise('white', 10)",), held=(("C",),))
    with pytest.raises(AudioError, match=rf"test: trial '{silent}' through noise\('white', 10\): .*Take the trial out"):
        run_augmentation(noisy, train, Trials(moved, tmp_path, "test"), tmp_path / "run")


def test_a_voice_on_both_sides_is_refused(planted, tmp_path):
    train, test = planted
    leaking = Trials(test.frame.with_columns(speaker=pl.lit("train-s0")), test.root, test.name)
    with pytest.raises(LeakError, match="speaker 'train-s0'"):
        run_augmentation(SETTINGS, train, leaking, tmp_path)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"detectors": ("lfcc_gm",)}, UnknownName, "Did you mean 'lfcc_gmm'"),
        ({"detectors": ()}, RecipeError, "at least one detector"),
        ({"seeds": (1, 1)}, RecipeError, "two seeds"),
        ({"copies": 0}, RecipeError, "copy"),
        ({"conditions": ("windows(2)",)}, RecipeError, "degradations only"),
    ],
)
def test_settings_that_make_no_sense_are_refused(keys, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(SETTINGS, **keys)


def test_a_corpus_that_shares_no_group_and_one_that_needs_too_much_memory_are_refused(planted, tmp_path, monkeypatch):
    train, test = planted
    other = Trials(test.frame.with_columns(family=pl.lit("other")), test.root, test.name)
    with pytest.raises(TrialsError, match="share no family of spoof trials to hold out"):
        run_augmentation(dataclasses.replace(SETTINGS, held=()), train, other, tmp_path)
    monkeypatch.setattr(trainings, "MOST_BYTES", 2**20)
    with pytest.raises(UserError, match="Draw fewer trials"):
        run_augmentation(SETTINGS, train, test, tmp_path)
