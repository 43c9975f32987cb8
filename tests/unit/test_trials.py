"""The table of trials: what it refuses, what it adds, how it draws a subset, and what its digest sees."""

import numpy as np
import polars as pl
import pytest

from spoofscope.errors import TrialsError
from spoofscope.storage import slug
from spoofscope.trials import Trials


def make(rows, **more) -> Trials:
    frame = pl.DataFrame(rows, schema=["trial_id", "path", "label"], orient="row")
    return Trials(frame.with_columns(**{name: pl.Series(values) for name, values in more.items()}), "data", "Test, eval")


def corpus(counts: dict[str, int], *, speakers: int = 4) -> Trials:
    """`counts` trials of each attack ('-' is bona fide), speakers in turn."""
    attacks = [attack for attack, count in counts.items() for _ in range(count)]
    return make(
        [(f"t{at}", f"{at}.wav", "bonafide" if attack == "-" else "spoof") for at, attack in enumerate(attacks)],
        attack=attacks,
        speaker=[f"s{at % speakers}" for at in range(len(attacks))],
    )


def test_optional_columns_are_added_and_the_order_of_columns_is_fixed():
    trials = make([("a", "a.wav", "bonafide"), ("b", "b.wav", "spoof")], codec=["x", "y"])
    assert trials.frame.columns == ["trial_id", "path", "label", "attack", "speaker", "source", "duration_s", "codec"]
    assert trials.frame["attack"].to_list() == ["-", "unknown"]
    assert trials.frame["duration_s"].dtype == pl.Float64
    assert trials.counts == (1, 1)
    assert [str(path) for path in trials.paths] == ["data/a.wav", "data/b.wav"]
    assert trials.describe() == "Test, eval, 2 trials (1 bona fide, 1 spoof)"


def test_an_empty_text_is_no_value():
    trials = make([("a", "a", "bonafide"), ("b", "b", "spoof")], attack=["", ""], speaker=["", "s"])
    assert trials.frame["attack"].to_list() == ["-", "unknown"]
    assert trials.frame["speaker"].to_list() == [None, "s"]


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ([], {}, "has no rows"),
        (
            [("a", "a", "bonafide"), ("a", "b", "spoof")],
            {},
            r"trial_id appears more than once in 2 of 2 rows \(first: row 1, trial 'a'",
        ),
        ([("a", "a", "Bonafide")], {}, r"label is not bonafide or spoof in 1 of 1 rows .*label 'Bonafide'"),
        ([("a", "a", None)], {}, "label is not bonafide or spoof"),
        ([("a", None, "spoof")], {}, "path is empty"),
        ([("", "a", "spoof")], {}, "trial_id is empty"),
        ([("a", "a", "bonafide")], {"attack": ["A01"]}, "attack is given for a bona fide trial .*attack 'A01'"),
        ([("a", "a", "spoof")], {"attack": ["-"]}, "attack is '-' for a spoof trial"),
        ([("a", "a", "spoof")], {"duration_s": ["2 s"]}, "duration_s is not a number of seconds above 0 .*'2 s'"),
        ([("a", "a", "spoof")], {"duration_s": [0.0]}, "duration_s is not a number of seconds above 0"),
        ([("a", "a", "spoof")], {"duration_s": [float("nan")]}, "duration_s is not a number of seconds above 0"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(rows, more, message):
    with pytest.raises(TrialsError, match=f"Test, eval: .*{message}"):
        if rows:
            make(rows, **more)
        else:
            Trials(pl.DataFrame(schema={"trial_id": pl.String, "path": pl.String, "label": pl.String}), "data", "Test, eval")


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(TrialsError, match="no column 'path'; it needs trial_id, path, label and has trial_id, label"):
        Trials(pl.DataFrame({"trial_id": ["a"], "label": ["spoof"]}), "data", "Test, eval")


def test_the_digest_sees_every_value_name_and_order():
    rows = [("a", "a", "bonafide"), ("b", "b", "spoof")]
    one = make(rows, codec=["x", None]).digest()
    assert make(rows, codec=["x", None]).digest() == one
    others = [
        make(rows),
        make(rows, codec=["x", "y"]),
        make(rows, codec=["x", ""]),
        make(rows, codec=[None, "x"]),
        make(rows, channel=["x", None]),
        make(rows[::-1], codec=["x", None]),
        make(rows, codec=["x", None], speaker=["s", None]),
    ]
    assert len({one, *(trials.digest() for trials in others)}) == len(others) + 1


def test_a_mask_and_an_expression_keep_the_same_trials():
    trials = corpus({"-": 3, "A": 4})
    by_mask = trials.where(np.array([True, False] * 3 + [True]), name="odd")
    assert by_mask.ids == ["t0", "t2", "t4", "t6"]
    assert by_mask.name == "odd"
    assert trials.where(pl.col("label") == "spoof", name="spoof").counts == (0, 4)


@pytest.mark.parametrize("size", [1, 2, 7, 50, 99, 170, 199])
def test_a_subset_has_exactly_the_asked_size_and_keeps_the_order(size):
    trials = corpus({"-": 40, "A": 100, "B": 55, "C": 5})
    drawn = trials.subset(size)
    assert len(drawn) == size
    positions = [int(one[1:]) for one in drawn.ids]
    assert positions == sorted(positions)
    assert f"{size} of 200 stratified by attack and speaker (seed 0)" in drawn.name


def test_a_subset_as_large_as_the_table_is_the_table():
    trials = corpus({"-": 4, "A": 6})
    assert trials.subset(10) is trials
    assert trials.subset(99) is trials


def test_small_attacks_keep_their_floor_and_large_ones_share_the_rest_in_proportion():
    drawn = corpus({"-": 100, "A": 800, "B": 95, "C": 5}).subset(100)
    counts = dict(drawn.frame["attack"].value_counts().iter_rows())
    assert counts["C"] == 5
    assert counts["B"] >= 12
    assert counts["-"] >= 12
    assert counts["A"] > 50


def test_as_many_speakers_as_possible_are_heard():
    attacks = ["A"] * 100
    speakers = ["loud"] * 91 + [f"rare{at}" for at in range(9)]
    rows = [(f"t{at}", f"{at}.wav", "spoof") for at in range(100)]
    drawn = make(rows, attack=attacks, speaker=speakers).subset(10)
    assert drawn.frame["speaker"].n_unique() == 10


def test_the_draw_depends_on_the_seed_and_on_nothing_else():
    trials = corpus({"-": 40, "A": 100})
    assert trials.subset(20).ids == trials.subset(20).ids
    assert trials.subset(20, seed=1).ids != trials.subset(20).ids


def test_a_draw_by_label_or_by_nothing_is_stratified_by_label():
    trials = corpus({"-": 50, "A": 150})
    for by in ((), ("label",), ("label", "speaker")):
        # a floor of 40 // (2 x 2) each, and the other 20 in proportion to the 40 and 140 left
        assert trials.subset(40, by=by).counts == (14, 26)


def test_a_draw_that_makes_no_sense_is_refused():
    trials = corpus({"-": 4, "A": 6})
    with pytest.raises(TrialsError, match="cannot stratify Test, eval by codec: it has trial_id"):
        trials.subset(3, by=("codec",))
    with pytest.raises(TrialsError, match="cannot draw 0 trials"):
        trials.subset(0)


def test_a_slug_is_safe_for_a_folder():
    assert slug("aasist.la19 / MP3 8 kb/s") == "aasist.la19-MP3-8-kb-s"
    assert slug("../..") == "unnamed"
    assert len(slug("x" * 200)) == 60
