"""Probes and their controls, on vectors of which it is known what they hold."""

import itertools

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.design import require_disjoint
from spoofscope.analysis.probing.codelength import _blocks, few_shot, online_code
from spoofscope.analysis.probing.decoding import (
    PROBES,
    Probe,
    Resampled,
    balanced_accuracy,
    out_of_fold,
    part_of,
    task_of,
    types_of,
)
from spoofscope.analysis.probing.probes import margin_of, probe_rows
from spoofscope.errors import NotEnoughTrials, TrialsError

RESAMPLING = {"replicates": 200, "level": 0.95}


def trials(*, speakers=20, each=6, attacks=3):
    """Every speaker with every attack, sources that two trials share, and codecs."""
    rows = [
        {"label": "spoof", "attack": f"A{attack}", "speaker": f"s{speaker}", "source": f"s{speaker}-{attack}-{take // 2}"}
        for speaker in range(speakers)
        for attack in range(attacks)
        for take in range(each)
    ]
    return pl.DataFrame(rows).with_columns(codec=pl.Series(["mp3", "none"] * (len(rows) // 2)))


def holding(frame, column, *, strength=3.0, dim=12, seed=0):
    """Noise around a random point for each value of a column."""
    rng = np.random.default_rng(seed)
    codes = frame[column].rank("dense").to_numpy().astype(int) - 1
    return (strength * rng.normal(size=(codes.max() + 1, dim))[codes] + rng.normal(size=(len(codes), dim))).astype(np.float32)


def row_of(vectors, frame, target="attack", **settings):
    rows = probe_rows(vectors, frame, target, resampling=RESAMPLING, **settings)
    return next(row for row in rows if row["probe"] == "linear" and row["features"] == "embedding")


def test_what_the_vectors_hold_is_decoded_and_cannot_be_explained_by_memory() -> None:
    frame = trials()
    row = row_of(holding(frame, "attack"), frame)
    assert row["accuracy"] > 0.95
    assert abs(row["control_accuracy"] - 1 / 3) < 0.1
    assert row["selectivity_low"] > 0.5
    assert abs(row["shuffled_accuracy"] - 1 / 3) < 0.1
    assert abs(row["shuffled_selectivity"] - 2 / 3) < 0.1
    assert row["margin"] > 0


def test_a_probe_that_knows_speakers_again_does_well_on_the_control_task_and_not_on_shuffled_rows() -> None:
    frame = trials()
    row = row_of(holding(frame, "speaker", dim=24), frame)
    assert abs(row["accuracy"] - 1 / 3) < 0.05
    assert row["control_accuracy"] > 0.9
    assert row["selectivity_high"] < -0.3
    assert abs(row["shuffled_accuracy"] - 1 / 3) < 0.1
    assert row["shuffled_selectivity"] > row["selectivity"] + 0.3


def test_less_capacity_memorises_less() -> None:
    frame = trials(attacks=2)
    rows = probe_rows(
        holding(frame, "speaker", dim=24),
        frame,
        "attack",
        resampling=RESAMPLING,
        probes=[Probe("linear"), Probe("linear, 2 components", components=2), Probe("linear, C=1e-4", c=1e-4)],
    )
    control = {row["probe"]: row["control_accuracy"] for row in rows if row["features"] == "embedding" and "margin" in row}
    assert control["linear"] > 0.9
    assert control["linear, 2 components"] < control["linear"] - 0.1
    assert control["linear, C=1e-4"] < control["linear"]


def test_random_features_are_at_chance_and_their_code_is_no_shorter_than_the_uniform_one() -> None:
    frame = trials()
    rows = probe_rows(holding(frame, "attack"), frame, "attack", resampling=RESAMPLING)
    row = next(row for row in rows if row["features"] == "random" and "margin" in row)
    assert abs(row["accuracy"] - row["chance"]) < 0.1
    assert 0.9 < row["compression"] < 1.01


def test_untrained_features_are_a_baseline_of_their_own_width() -> None:
    frame = trials()
    vectors = holding(frame, "attack")
    rows = probe_rows(vectors, frame, "attack", resampling=RESAMPLING, untrained=vectors[:, :2] * 0.1)
    accuracy = {row["features"]: row["accuracy"] for row in rows if row["probe"] == "linear"}
    assert set(accuracy) == {"embedding", "random", "untrained"}
    assert accuracy["random"] < accuracy["untrained"] < accuracy["embedding"]


def test_what_is_carried_by_the_codec_is_gone_within_a_codec() -> None:
    frame = trials(attacks=2, each=20)
    swapped = np.random.default_rng(0).random(frame.height) < 0.2
    told = frame.with_columns(codec=pl.Series(np.where((frame["attack"] == "A0").to_numpy() ^ swapped, "mp3", "none")))
    vectors = holding(told, "codec")
    overall, within = row_of(vectors, told), row_of(vectors, told, within="codec")
    assert overall["accuracy_low"] > 0.7
    assert within["accuracy_low"] < 0.5 < within["accuracy_high"]
    assert within["within"] == "codec"
    assert within["n_trials"] == told.height


@pytest.mark.parametrize(
    ("target", "apart"), [("attack", ["speaker", "source"]), ("codec", ["speaker", "source"]), ("speaker", ["source"])]
)
def test_folds_share_nothing_but_the_target(target, apart) -> None:
    frame = trials()
    task = task_of(frame, target)
    own = frame[task.rows]
    assert list(task.disjoint) == apart
    for fold in range(5):
        require_disjoint(own, task.fold != fold, task.fold == fold, apart)
        assert set(task.codes[task.fold != fold]) == set(range(len(task.classes)))


def test_a_class_of_one_speaker_is_left_out_and_counted() -> None:
    frame = trials().with_columns(attack=pl.when(pl.col("speaker") == "s3").then(pl.lit("lone")).otherwise("attack"))
    task = task_of(frame, "attack")
    assert task.classes == ("A0", "A1", "A2")
    assert "of 4 classes left out: 1 that no such folds part" in task.note
    assert "s3" not in set(frame[task.rows]["speaker"])


def test_a_rare_class_is_left_out_and_counted_and_bona_fide_rows_are_no_class() -> None:
    frame = trials()
    rare = frame.head(4).with_columns(attack=pl.lit("rare"), speaker=pl.Series(list("abcd")))
    bonafide = frame.head(90).with_columns(label=pl.lit("bonafide"), attack=pl.lit("-"))
    task = task_of(pl.concat([frame, rare, bonafide]), "attack")
    assert task.classes == ("A0", "A1", "A2")
    assert "1 with fewer than 10 trials" in task.note
    assert len(task.rows) == frame.height


def test_of_many_classes_the_most_frequent_are_asked_for() -> None:
    frame = trials(speakers=30)
    extra = frame.filter(pl.col("speaker") == "s7").with_columns(source=pl.col("source") + "b")
    task = task_of(pl.concat([frame, extra]), "speaker")
    assert len(task.classes) == 25
    assert "s7" in task.classes
    assert "5 rarer than the 25 most frequent" in task.note


def test_where_one_speaker_has_everything_sources_alone_are_kept_apart_and_resampled() -> None:
    frame = trials().with_columns(speaker=pl.lit("only"))
    task = task_of(frame, "attack")
    assert task.disjoint == ("source",)
    assert types_of(frame, [task])[0] == "source"


def test_a_column_with_one_value_gives_a_row_that_says_so() -> None:
    frame = trials().with_columns(language=pl.lit("en"))
    (row,) = probe_rows(holding(frame, "attack"), frame, "language", resampling=RESAMPLING)
    assert "accuracy" not in row
    assert "fewer than two classes" in row["note"]
    with pytest.raises(NotEnoughTrials):
        task_of(frame, "language")


def test_an_unknown_column_is_refused() -> None:
    frame = trials()
    with pytest.raises(TrialsError, match="no column 'vocoder'"):
        task_of(frame, "vocoder")
    with pytest.raises(TrialsError, match="no column 'line'"):
        probe_rows(holding(frame, "attack"), frame, "attack", within="line", resampling=RESAMPLING)


def test_a_control_of_fewer_trials_than_folds_does_not_exist() -> None:
    frame = trials(speakers=10, each=1, attacks=1).with_columns(codec=pl.Series(["mp3", "none"] * 5))
    twice = frame.head(4).with_columns(speaker=pl.Series(["s0", "s1", "s0", "s1"]))
    frame = pl.concat([twice, frame.tail(6)])
    row = row_of(holding(frame, "codec"), frame, "codec", min_count=2)
    assert "control_accuracy" not in row
    assert "accuracy" in row


def test_without_speaker_and_source_there_is_no_control_and_the_note_says_so() -> None:
    frame = trials().drop("speaker", "source")
    row = row_of(holding(frame, "attack"), frame)
    assert row["accuracy"] > 0.95
    assert "control_accuracy" not in row
    assert "dealt singly" in row["note"]
    assert "no control where too few of trial recur" in row["note"]


def test_the_interval_lies_around_the_accuracy_and_perfection_has_none() -> None:
    frame = trials()
    row = row_of(holding(frame, "attack", strength=0.4), frame)
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    perfect = row_of(holding(frame, "attack", strength=30), frame)
    assert perfect["accuracy"] == 1
    assert np.isnan(perfect["accuracy_low"])


def test_a_class_that_a_resample_lacks_is_left_out_of_its_mean() -> None:
    codes, decision = np.array([0, 0, 1, 1]), np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    part = part_of(decision, codes, np.array([0, 0, 1, 1]))
    weights = np.array([[1.0, 1], [3, 0], [0, 2], [0, 0]])
    np.testing.assert_equal(balanced_accuracy([part], weights), [0.75, 0.5, 1, np.nan])


def test_an_interval_over_draws_is_wider_for_draws_that_differ() -> None:
    codes, types = np.tile([0, 1], 100), np.arange(200) // 10
    right = np.eye(2)[codes]
    parts = [part_of(np.where(np.arange(200)[:, None] % 20 < share, right, -right), codes, types) for share in (4, 10, 16)]
    resampled = Resampled("speaker", types, RESAMPLING, 0)
    fixed, redrawn = (resampled.accuracy("accuracy", parts, redraw=redraw) for redraw in (False, True))
    assert fixed["accuracy"] == redrawn["accuracy"]
    assert redrawn["accuracy_high"] - redrawn["accuracy_low"] > 1.3 * (fixed["accuracy_high"] - fixed["accuracy_low"])


def test_one_seed_gives_one_table() -> None:
    frame = trials(speakers=10)
    vectors = holding(frame, "attack", strength=0.4)
    first, again, other = (probe_rows(vectors, frame, "attack", resampling=RESAMPLING, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first[0]["control_accuracy"] != other[0]["control_accuracy"]


def test_more_examples_teach_more() -> None:
    frame = trials()
    rows = probe_rows(holding(frame, "attack", strength=1.0), frame, "attack", resampling=RESAMPLING)
    taught = {row["probe"]: row for row in rows if row["features"] == "embedding"}
    one, five = taught["linear, 1 per class"], taught["linear, 5 per class"]
    assert 1 / 3 < one["accuracy"] < five["accuracy"] < taught["linear"]["accuracy"]
    assert one["accuracy_low"] < one["accuracy"] < one["accuracy_high"]
    assert taught["linear"]["few_shot_accuracy"] == five["accuracy"]


def test_few_examples_are_as_many_as_promised_and_never_of_the_tested_fold(monkeypatch) -> None:
    frame = trials()
    task = task_of(frame, "attack")
    vectors = np.arange(frame.height, dtype=np.float64)[:, None]
    seen = []

    def spy(rows, codes, weights, n_classes):
        seen.append((rows[:, 0].astype(int), codes))
        raise StopIteration

    monkeypatch.setattr("spoofscope.analysis.probing.codelength.one_vs_rest", spy)
    for draw in range(5):
        with pytest.raises(RuntimeError):
            next(few_shot(vectors, task.codes, task.fold, 3, shots=4, draws=1, rng=np.random.default_rng(draw)))
    for rows, codes in seen:
        assert np.bincount(codes).tolist() == [4, 4, 4]
        assert not (task.fold[rows] == 0).any()


def test_the_code_is_shorter_the_better_the_labels_can_be_told() -> None:
    frame = trials()
    bits = [row_of(holding(frame, "attack", strength=strength), frame)["codelength"] for strength in (0.0, 0.5, 1.0, 3.0)]
    assert bits == sorted(bits, reverse=True)
    assert bits[0] > np.log2(3) * 0.97
    assert bits[-1] < 0.5


def test_the_code_tells_apart_what_accuracy_finds_equally_perfect() -> None:
    frame = trials()
    rows = [row_of(holding(frame, "attack", strength=strength), frame) for strength in (6, 12)]
    assert [row["accuracy"] for row in rows] == [1, 1]
    assert rows[1]["codelength"] < rows[0]["codelength"]
    assert rows[1]["margin"] != rows[0]["margin"]


def test_blocks_of_the_code_double_and_never_split_a_speaker() -> None:
    rng = np.random.default_rng(0)
    speakers, codes = rng.integers(40, size=1000), rng.integers(4, size=1000)
    order, ends = _blocks(codes, speakers, rng)
    assert sorted(order) == list(range(1000))
    assert set(codes[order[: ends[0]]]) == {0, 1, 2, 3}
    assert ends[-1] == 1000
    largest = np.bincount(speakers).max()
    assert all(min(2 * first, 1000) <= second < 2 * first + largest for first, second in itertools.pairwise(ends))
    for end in ends[:-1]:
        assert not set(speakers[order[:end]]) & set(speakers[order[end:]])


def test_no_code_exists_where_the_first_block_is_everything() -> None:
    codes = np.array([0, 0, 1, 1])
    code = online_code(np.eye(4), codes, codes, 2, rng=np.random.default_rng(0))
    assert np.isnan(code.bits)
    assert code.uniform == 4


def test_the_margin_is_that_of_the_true_class_over_the_best_other_each_class_weighing_the_same() -> None:
    decision = np.array([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, -1.0, 5.0]])
    assert margin_of(decision, np.array([0, 0, 1])) == pytest.approx((1.5 - 6) / 2)
    assert margin_of(decision, np.array([0, 1, 0])) == pytest.approx(((2 - 5) / 2 - 1) / 2)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_every_capacity_decides_out_of_fold(probe) -> None:
    frame = trials(speakers=10)
    task = task_of(frame, "attack")
    vectors = holding(frame, "attack")
    decision = out_of_fold(vectors, task.codes, task.fold, 3, probe)
    assert decision.shape == (frame.height, 1, 3)
    assert (decision[:, 0].argmax(axis=1) == task.codes).mean() > 0.9
    moved = vectors.copy()
    moved[task.fold == 2] += 100
    again = out_of_fold(moved, task.codes, task.fold, 3, probe)
    assert not np.allclose(again[task.fold == 1], decision[task.fold == 1])
    alone = np.where((task.fold == 2)[:, None], vectors * 0 + moved, vectors)
    np.testing.assert_array_equal(out_of_fold(alone, task.codes, task.fold, 3, probe), again)
