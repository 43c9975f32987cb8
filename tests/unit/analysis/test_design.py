"""Folds share no speaker and no source, and a split that does is refused."""

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.design import Design, components, deal, design_of, require_disjoint, spread
from spoofscope.errors import LeakError, NotEnoughTrials, TrialsError
from tests.simulated import simulated_embeddings


def trials(**changes: int) -> pl.DataFrame:
    return simulated_embeddings(np.random.default_rng(0), attacks={"X1": (1,), "X2": (2,)}, **changes)[1]


def test_no_two_folds_share_a_speaker_and_each_has_its_share_of_bona_fide() -> None:
    design = design_of(trials(), "attack", "simulated", folds=4)
    for column in ("speaker", "source"):
        assert design.frame.select(column, fold=design.fold).group_by(column).agg(pl.col("fold").n_unique())["fold"].max() == 1
    assert np.bincount(design.fold[design.is_bonafide]).tolist() == [30] * 4


def test_rows_that_are_linked_in_a_roundabout_way_are_one_component() -> None:
    frame = pl.DataFrame({"speaker": ["a", "a", "b", "c", None], "source": ["1", "2", "2", "3", "3"]})
    assert components(frame, ("speaker", "source")).tolist() == [0, 0, 0, 1, 1]


def test_rows_without_a_speaker_are_nobodys() -> None:
    frame = pl.DataFrame({"speaker": [None, None, "a"]}, schema={"speaker": pl.String})
    assert len(set(components(frame, ("speaker",)))) == 3


def test_a_planted_speaker_on_both_sides_is_refused() -> None:
    frame = trials()
    fold = design_of(frame, "attack", "simulated", folds=4).fold.copy()
    fold[0] = (fold[0] + 1) % 4
    with pytest.raises(LeakError, match="speaker 's0' stands in more than one fold"):
        Design(frame, "attack", fold, "simulated")


def test_a_split_that_shares_a_source_is_refused() -> None:
    frame = pl.DataFrame({"speaker": ["a", "b"], "source": ["u1", "u1"]})
    first = np.array([True, False])
    with pytest.raises(LeakError, match="source 'u1' stands in training and in test"):
        require_disjoint(frame, first, ~first)
    require_disjoint(frame, first, ~first, ("speaker",))


def test_every_trial_of_a_group_is_tested_once_and_shares_nothing_with_training() -> None:
    design = design_of(trials(), "attack", "simulated", folds=4)
    rng = np.random.default_rng(0)
    tested = np.zeros(len(design), dtype=int)
    for split in design.splits("X1"):
        without, with_group = design.matched(split, rng)
        test = split.bonafide | split.own
        tested += test
        require_disjoint(design.frame, without | with_group, test)
        assert not (without & (design.held == "X1")).any()
        assert (with_group & (design.held == "X1")).sum() == split.own_train.sum()
    assert (tested == np.where(design.is_bonafide | (design.held == "X1"), 1, 0)).all()


def test_the_two_training_sets_are_of_one_size_in_each_class() -> None:
    design = design_of(trials(), "attack", "simulated", folds=4)
    for split in design.splits("X2"):
        without, with_group = design.matched(split, np.random.default_rng(1))
        for of_class in (design.is_bonafide, ~design.is_bonafide):
            assert (without & of_class).sum() == (with_group & of_class).sum()


def one_voice() -> pl.DataFrame:
    """Two attacks of one speaker's voice, whose bona fide recordings are there as well."""
    frame = trials()
    own = pl.col("attack").is_in(["X1", "X2"])
    sentence = pl.format("sentence {}", pl.int_range(pl.len()) % 7)
    return frame.with_columns(
        speaker=pl.when(own).then(pl.lit("s0")).otherwise("speaker"), source=pl.when(own).then(sentence).otherwise("source")
    )


def test_a_group_of_one_voice_is_parted_by_sentence_and_says_so() -> None:
    design = design_of(one_voice(), "attack", "simulated", folds=4)
    splits = list(design.splits("X1"))
    assert {split.disjoint for split in splits} == {("source",)}
    assert sum(split.bonafide.sum() for split in splits) == design.is_bonafide.sum() - 6
    for split in splits:
        require_disjoint(design.frame, split.others | split.own_train, split.own, ("source",))
        require_disjoint(design.frame, split.others | split.own_train, split.bonafide)


def test_a_group_that_is_one_recording_cannot_be_parted() -> None:
    frame = trials()
    design = design_of(pl.concat([frame, frame[-1:].with_columns(attack=pl.lit("X9"))]), "attack", "simulated", folds=4)
    with pytest.raises(NotEnoughTrials, match="'X9' share one speaker and one source"):
        list(design.splits("X9"))


def test_fewer_speakers_than_folds_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(TrialsError, match=r"too few for 5 folds\. Lower folds"):
        design_of(trials(speakers=3), "attack", "simulated", folds=5)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(TrialsError, match="no column 'codec'; the trials have"):
        design_of(trials(), "codec", "simulated")


def test_the_same_trials_are_dealt_alike_whatever_else_their_order() -> None:
    component, strata = np.array([0, 0, 1, 2, 2, 3]), np.array([[0], [1], [0], [1], [1], [0]])
    assert deal(component, strata, 2, seed=3).tolist() == deal(component, strata, 2, seed=3).tolist()
    loads = np.bincount(deal(component, strata, 2, seed=3))
    assert loads.min() >= 2


def test_a_draw_takes_its_share_of_every_group() -> None:
    groups = np.repeat(["a", "b", "c"], [60, 30, 10])
    drawn = spread(groups, 20, np.random.default_rng(0))
    assert len(set(drawn)) == 20
    counts = [int((groups[drawn] == name).sum()) for name in "abc"]
    assert np.abs(np.array(counts) - [12, 6, 2]).max() <= 1
