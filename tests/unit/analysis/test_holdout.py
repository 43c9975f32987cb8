"""Holding a generator out: what a head loses on it, and what it does not."""

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.cells import Resampling
from spoofscope.analysis.design import design_of
from spoofscope.analysis.holdout import (
    GroupScores,
    cross_fitted_scores,
    gap_row,
    hold_out,
    plan_jobs,
    score_across,
    within_noise,
)
from spoofscope.metrics import Estimate
from spoofscope.metrics.rates import eer
from tests.simulated import simulated_embeddings

RESAMPLING = Resampling(replicates=200, level=0.95)
FAR = {"known-1": (3, 0), "known-2": (3, 0.5), "known-3": (3, -0.5), "other way": (0, 0, 3)}


class NearestCentre:
    """Distance to the centre of spoof less that to the centre of bona fide: a head that anyone can follow."""

    name = "nearest centre"

    def fit_score(self, vectors, is_bonafide, weights):
        columns = []
        for weight in np.asarray(weights).T:
            centres = [np.average(vectors, axis=0, weights=weight * side) for side in (is_bonafide, ~is_bonafide)]
            columns.append(np.linalg.norm(vectors - centres[1], axis=1) - np.linalg.norm(vectors - centres[0], axis=1))
        return np.column_stack(columns)


def held_out(attacks=FAR, **changes) -> tuple[np.ndarray, object, dict[str, GroupScores], dict[str, str]]:
    vectors, frame = simulated_embeddings(np.random.default_rng(5), attacks=attacks, **changes)
    design = design_of(frame, "attack", "simulated", folds=4)
    plan = plan_jobs(design, min_count=5, seed=0)
    scores = hold_out(vectors, design, NearestCentre(), plan)
    return vectors, design, {one.group: one for one in scores}, plan.left_out


def test_a_generator_that_lies_elsewhere_has_a_gap_and_one_like_others_has_none() -> None:
    _, _, scores, _ = held_out()
    gaps = {group: gap_row(one, ("speaker", "attack"), seed=0, resampling=RESAMPLING) for group, one in scores.items()}
    assert gaps["other way"]["gap"] > 0.1
    assert gaps["other way"]["within_noise"] is False
    assert abs(gaps["known-1"]["gap"]) < 0.05


def test_every_trial_is_tested_once_by_heads_that_did_not_hear_it() -> None:
    vectors, design, scores, _ = held_out()
    one = scores["other way"]
    assert sorted(one.frame["trial_id"]) == sorted(
        design.frame.filter(pl.Series(design.is_bonafide | (design.held == "other way")))["trial_id"]
    )
    fold = int(design.fold[0])
    train = (design.fold != fold) & ~(design.held == "other way")
    slow = NearestCentre().fit_score(vectors, design.is_bonafide, train[:, None].astype(float))[:, 0]
    rows = one.frame.with_columns(score=one.without).join(
        design.frame.with_columns(slow=slow, fold=design.fold).filter(pl.col("fold") == fold), on="trial_id"
    )
    assert rows.height > 10
    np.testing.assert_allclose(rows["score"], rows["slow"])


def test_the_row_says_what_the_scores_say() -> None:
    one = held_out()[2]["other way"]
    row = gap_row(one, ("speaker",), seed=0, resampling=RESAMPLING)
    known, unknown = one.pairs
    assert row["eer_with"] == pytest.approx(eer(*known))
    assert row["eer_without"] == pytest.approx(eer(*unknown))
    assert row["gap"] == pytest.approx(row["eer_without"] - row["eer_with"])
    assert row["gap_low"] < row["gap"] < row["gap_high"]
    assert (row["n_bonafide"], row["n_spoof"]) == (120, 40)
    assert row["disjoint"] == "speaker and source"
    assert row["false_alarm_without"] > row["false_alarm_with"]


def test_a_threshold_is_frozen_on_known_trials_alone() -> None:
    one = held_out()[2]["other way"]
    assert len(one.known_without.spoof) == 120
    moved = one.frozen[1]
    known = np.concatenate(one.known_without)
    assert np.isin(np.round(one.pairs[1].spoof - moved.spoof, 9)[0], np.round(known, 9)) or np.ptp(
        one.pairs[1].spoof - moved.spoof
    ) == pytest.approx(0, abs=1e-9)
    assert known.min() <= (one.pairs[1].spoof - moved.spoof)[0] <= known.max()


def test_a_group_with_few_trials_is_listed_with_the_reason_and_still_trained_on() -> None:
    _, design, scores, left_out = held_out({"many": (2,), "more": (1, 2), "few": (2, 1)})
    assert not left_out and set(scores) == {"many", "more", "few"}
    short = design.frame.filter((pl.col("attack") != "few") | (pl.col("speaker") == "s1"))
    plan = plan_jobs(design_of(short, "attack", "short", folds=4), min_count=5, seed=0)
    assert plan.left_out == {"few": "2 trials, fewer than min_count 5"}
    again = design_of(short, "attack", "short", folds=4)
    assert any((job.without & (again.held == "few")).any() for job in plan.jobs if job.group == "many")


def test_spoof_of_one_voice_is_resampled_by_sentence() -> None:
    vectors, frame = simulated_embeddings(np.random.default_rng(1), attacks={"X1": (2,), "X2": (2,)}, speakers=12)
    one_voice = frame.with_columns(speaker=pl.when(pl.col("attack") == "X1").then(pl.lit("robot")).otherwise("speaker"))
    design = design_of(one_voice, "attack", "one voice", folds=3)
    scores = hold_out(vectors, design, NearestCentre(), plan_jobs(design, min_count=5, seed=0))
    own = next(one for one in scores if one.group == "X1")
    assert own.disjoint == ("source",)
    assert own.clusters(("speaker", "attack")).describe() == "12 speaker x 24 source"
    row = gap_row(own, ("speaker", "attack"), seed=0, resampling=RESAMPLING)
    assert row["disjoint"] == "source" and row["gap_low"] < row["gap_high"]


def test_a_head_of_another_corpus_scores_this_one() -> None:
    vectors, design, _, _ = held_out()
    flipped = score_across(vectors, ~design.is_bonafide, vectors, NearestCentre())
    direct = score_across(vectors, design.is_bonafide, vectors, NearestCentre())
    np.testing.assert_allclose(flipped, -direct)
    assert direct.shape == (len(design),)


def test_cross_fitted_scores_do_not_depend_on_a_trial_s_own_fold() -> None:
    vectors, design, _, _ = held_out()
    before = cross_fitted_scores(vectors, design, NearestCentre())
    moved = vectors.copy()
    moved[design.fold == 0] += 50 * design.is_bonafide[design.fold == 0, None]
    after = cross_fitted_scores(moved, design, NearestCentre())
    untouched = cross_fitted_scores(moved, design, NearestCentre())
    np.testing.assert_array_equal(after, untouched)
    assert not np.allclose(before[design.fold == 1], after[design.fold == 1])
    own = (design.fold == 0) & ~design.is_bonafide
    np.testing.assert_allclose(before[own], after[own])


def test_an_estimate_without_an_interval_is_neither_within_noise_nor_beyond_it() -> None:
    estimate = Estimate(0.1, np.nan, np.nan, 0.95, 5, 5, 1)
    assert within_noise(estimate) is None
    assert within_noise(estimate._replace(low=-0.1, high=0.2)) is True
    assert within_noise(estimate._replace(low=0.01, high=0.2)) is False
