"""Selectivity of each group: the reference study's, and measures that do not saturate."""

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.design import design_of, require_disjoint
from spoofscope.analysis.probing.selectivity import (
    EXPECTED,
    _tests,
    cross_validated,
    identity_predictors,
    reference_selectivity,
    stratified_folds,
)

STRENGTHS = {"A1": 0.0, "A2": 1.0, "A3": 3.0, "A4": 9.0}


@pytest.fixture(scope="module")
def case():
    """Bona fide speech and four attacks by 16 speakers; each attack lies further along an axis of its own than the one before."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "label": "bonafide" if attack == "-" else "spoof",
            "attack": attack,
            "speaker": f"s{s}",
            "source": f"{attack}{s}{take}",
        }
        for attack in ("-", *STRENGTHS)
        for s in range(16)
        for take in range(4)
    ]
    frame = pl.DataFrame(rows)
    vectors = rng.normal(size=(frame.height, 8))
    for axis, (attack, strength) in enumerate(STRENGTHS.items()):
        vectors[(frame["attack"] == attack).to_numpy(), axis] += strength
    return vectors.astype(np.float32), design_of(frame, "attack", "planted")


def values(table, predictor):
    return dict(table.filter(pl.col("predictor") == predictor).select("held", "value").iter_rows())


def test_every_predictor_has_a_sign_and_none_is_circular(case) -> None:
    vectors, design = case
    table = pl.concat([reference_selectivity(vectors, design.is_bonafide, design.held), identity_predictors(vectors, design)])
    assert set(table["predictor"]) == set(EXPECTED)
    assert not table["circular"].any()
    assert dict(table.select("predictor", "expected_sign").unique().iter_rows()) == EXPECTED
    assert table["held"].unique().sort().to_list() == list(STRENGTHS)


def test_the_reference_study_s_selectivity_is_one_half_at_most_but_for_its_control_and_saturates(case) -> None:
    vectors, design = case
    found = values(reference_selectivity(vectors, design.is_bonafide, design.held), "selectivity")
    assert found["A2"] < found["A3"]
    assert found["A3"] == pytest.approx(found["A4"], abs=0.12)
    assert found["A4"] == pytest.approx(0.5, abs=0.12)


def test_raw_selectivity_cannot_exceed_the_share_of_the_group_by_much(case) -> None:
    vectors, design = case
    found = values(reference_selectivity(vectors, design.is_bonafide, design.held), "selectivity_raw")
    assert found["A4"] < 0.25 + 0.1


@pytest.mark.parametrize("predictor", ["codelength", "few_shot", "margin"])
def test_measures_of_our_own_order_groups_by_how_far_apart_they_lie(case, predictor) -> None:
    found = values(identity_predictors(*case), predictor)
    assert sorted(STRENGTHS, key=lambda attack: found[attack], reverse=EXPECTED[predictor] == "-") == list(STRENGTHS)


def test_what_cannot_be_told_has_a_code_of_one_bit_a_curve_of_one_half_and_no_margin(case) -> None:
    table = identity_predictors(np.random.default_rng(1).normal(size=(len(case[1]), 8)), case[1])
    assert all(0.98 < bits < 1.15 for bits in values(table, "codelength").values())
    assert all(abs(area - 0.5) < 0.15 for area in values(table, "few_shot").values())
    assert all(abs(margin) < 0.5 for margin in values(table, "margin").values())


def test_bona_fide_rows_do_not_matter(case) -> None:
    vectors, design = case
    moved = np.where(design.is_bonafide[:, None], vectors + 50, vectors)
    assert identity_predictors(moved, design).equals(identity_predictors(vectors, design))
    assert reference_selectivity(moved, design.is_bonafide, design.held).equals(
        reference_selectivity(vectors, design.is_bonafide, design.held)
    )


def test_a_voice_that_names_its_group_is_no_identity_across_speakers(case) -> None:
    """Each speaker uses one attack and the vectors hold the speaker alone: random splits are fooled, disjoint ones are not."""
    rng = np.random.default_rng(2)
    speaker = np.repeat(np.arange(40), 12)
    frame = pl.DataFrame(
        {
            "label": ["spoof"] * 480 + ["bonafide"] * 40,
            "attack": [f"A{s % 4}" for s in speaker] + ["-"] * 40,
            "speaker": [f"s{s}" for s in speaker] + [f"b{s}" for s in range(40)],
        }
    )
    voices = 4 * rng.normal(size=(40, 24))
    vectors = np.concatenate((voices[speaker], rng.normal(size=(40, 24)))) + rng.normal(size=(520, 24))
    design = design_of(frame, "attack", "voices")
    fooled = values(reference_selectivity(vectors, design.is_bonafide, design.held), "selectivity")
    fair = identity_predictors(vectors, design)
    assert min(fooled.values()) > 0.35
    assert all(abs(area - 0.5) < 0.2 for area in values(fair, "few_shot").values())
    assert all(bits > 0.9 for bits in values(fair, "codelength").values())


def test_a_group_that_one_speaker_and_source_holds_together_has_no_value_and_says_why(case) -> None:
    vectors, design = case
    frame = design.frame.with_columns(
        attack=pl.when(pl.col("source").str.starts_with("A30")).then(pl.lit("lone")).otherwise("attack"),
        source=pl.when(pl.col("source").str.starts_with("A30")).then(pl.lit("one")).otherwise("source"),
    )
    table = identity_predictors(vectors, design_of(frame, "attack", "lone")).filter(pl.col("held") == "lone")
    assert table["value"].is_nan().all()
    assert (table["note"] != "").all()


def test_a_group_of_one_voice_is_parted_by_source_and_says_so(case) -> None:
    vectors, design = case
    frame = design.frame.with_columns(speaker=pl.when(pl.col("attack") == "A4").then(pl.lit("voice")).otherwise("speaker"))
    table = identity_predictors(vectors, design_of(frame, "attack", "voice")).filter(pl.col("held") == "A4")
    assert table["value"].is_finite().all()
    assert set(table["note"]) == {"folds share no source"}


def test_nothing_that_is_tested_shares_a_speaker_or_source_with_what_was_learnt(case) -> None:
    _, design = case
    for group in design.groups:
        tests = list(_tests(design, group))
        assert sum(test.own.sum() for test in tests) == design.counts(group)
        for test in tests:
            require_disjoint(design.frame, test.own_train | test.other_train, test.own | test.other)
            assert not (test.own_train | test.other_train | test.own | test.other)[design.is_bonafide].any()


def test_stratified_folds_give_each_class_its_share_of_each_fold() -> None:
    labels = np.arange(50) < 17
    fold = stratified_folds(labels, 3, np.random.default_rng(0))
    for own in (labels, ~labels):
        counts = np.bincount(fold[own], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_every_prediction_is_out_of_fold() -> None:
    """Labels that noise cannot tell are predicted at chance, where a fit of all rows would know them."""
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(60, 100)), rng.random((60, 4)) < 0.5
    folds = np.column_stack([stratified_folds(label, 3, rng) for label in labels.T])
    assert 0.3 < (cross_validated(vectors, labels, folds) == labels).mean() < 0.7
