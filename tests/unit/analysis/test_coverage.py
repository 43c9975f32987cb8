"""Hardness and difference are told apart by what a threshold is calibrated on."""

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.cells import Resampling
from spoofscope.analysis.coverage import ALL, CONTROL, VARIANTS, coverage_rows, density_ratio
from spoofscope.analysis.design import design_of
from tests.simulated import simulated_embeddings

RESAMPLING = Resampling(replicates=100, level=0.95)
ATTACKS = {"plain1": (0, 0), "plain2": (0, 0), "plain3": (0, 0), "hard": (0, 3)}


def rows_of(attacks=ATTACKS, *, score=lambda vectors: vectors[:, 1], target=0.1, seed=0, speakers=40, **options):
    """Score trials by their second coordinate: what lies high there is accepted."""
    vectors, frame = simulated_embeddings(
        np.random.default_rng(seed), attacks=attacks, speakers=speakers, per_attack=6, speaker_spread=0.0
    )
    design = design_of(frame, "attack", "simulated", folds=4)
    rows = coverage_rows(score(vectors), design, target=target, resampling=RESAMPLING, **options)
    return {(row["held"], row["variant"]): row for row in rows}, vectors, design


def test_a_hard_generator_is_let_through_even_when_it_was_calibrated_on_and_meets_the_target_by_itself() -> None:
    rows, *_ = rows_of()
    hard = {variant: rows["hard", variant] for variant in ("held out", CONTROL, "within f")}
    assert hard["held out"]["rate"] > 0.8
    assert hard[CONTROL]["rate"] > 0.2
    assert hard["within f"]["rate"] == pytest.approx(0.1, abs=0.05)
    assert hard["held out"]["difference"] == pytest.approx(hard["held out"]["rate"] - hard[CONTROL]["rate"])
    assert hard["held out"]["difference_low"] > 0
    assert rows["plain1", "held out"]["rate"] < 0.12


def test_alike_generators_meet_the_target_in_every_variant() -> None:
    rows, *_ = rows_of(dict.fromkeys(("a", "b", "c"), (0, 0)), speakers=80)
    for variant in ("held out", CONTROL, "within f"):
        whole = rows[ALL, variant]
        assert whole["rate"] == pytest.approx(0.1, abs=0.02)
        assert whole["rate_low"] < whole["rate"] < whole["rate_high"]
    assert rows[ALL, "mondrian"]["rate"] < 0.1
    assert "difference" not in rows[ALL, CONTROL]


def test_weights_learnt_from_unlabelled_vectors_bring_a_shifted_generator_back_towards_the_target() -> None:
    attacks = {"low": (-1, 0), "middle": (0, 0), "high": (1, 0), "shifted": (1.5, 0)}
    rows, vectors, _ = rows_of(attacks, score=lambda vectors: vectors[:, 0], speakers=80)
    plain = rows["shifted", "held out"]["rate"]
    assert ("shifted", "weighted") not in rows
    rows, *_ = rows_of(attacks, score=lambda vectors: vectors[:, 0], speakers=80, vectors=vectors)
    weighted = rows["shifted", "weighted"]
    assert abs(weighted["rate"] - 0.1) < abs(plain - 0.1) / 2
    assert weighted["effective_n"] < weighted["n_calibration"]


def test_a_ratio_is_that_of_the_densities() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate((rng.normal(1, 1, (3000, 1)), rng.normal(0, 1, (3000, 1))))
    group = np.arange(6000) < 3000
    ratio = density_ratio(vectors, group, ~group)
    truth = np.exp(vectors[:, 0] - 0.5)
    inside = (ratio < 20) & (ratio > 0.05)
    scale = np.median(ratio[inside] / truth[inside])
    np.testing.assert_allclose(ratio[inside] / truth[inside], scale, rtol=0.4)


def test_a_channel_that_moves_all_scores_is_seen_against_a_clean_calibration_only() -> None:
    alike = dict.fromkeys(("a", "b", "c"), (0, 0))
    clean = rows_of(alike)[1][:, 1].astype(float)
    rows, *_ = rows_of(alike, score=lambda vectors: vectors[:, 1] + 2.0, clean=clean)
    assert rows[ALL, "held out, calibrated clean"]["rate"] > 0.4
    assert rows[ALL, "held out"]["rate"] == pytest.approx(0.1, abs=0.03)


def test_trials_without_a_score_neither_calibrate_nor_count_as_accepted() -> None:
    def with_gaps(vectors):
        scores = vectors[:, 1].astype(float).copy()
        scores[::7] = np.nan
        return scores

    rows, *_ = rows_of(score=with_gaps)
    assert all(np.isfinite(row["rate"]) for row in rows.values())
    assert rows["plain1", "held out"]["n_calibration"] < rows_of()[0]["plain1", "held out"]["n_calibration"]


def test_each_group_may_have_scores_of_its_own_and_a_small_one_is_left_out() -> None:
    _, vectors, design = rows_of()
    own = {"hard": vectors[:, 1].astype(float)}
    rows = coverage_rows(own, design, target=0.1, resampling=RESAMPLING)
    assert {row["held"] for row in rows} == {"hard", ALL}
    assert {row["variant"] for row in rows} <= set(VARIANTS)
    assert coverage_rows(own, design, target=0.1, resampling=RESAMPLING, min_count=10_000) == []


def test_a_generator_of_one_voice_is_parted_by_sentence_and_says_so() -> None:
    vectors, frame = simulated_embeddings(np.random.default_rng(0), attacks=ATTACKS, speakers=30, per_attack=4)
    voice = pl.when(pl.col("attack") == "hard").then(pl.lit("s0")).otherwise("speaker").alias("speaker")
    design = design_of(frame.with_columns(voice), "attack", "simulated", folds=4)
    rows = coverage_rows(vectors[:, 1].astype(float), design, target=0.1, resampling=RESAMPLING)
    notes = {row["held"]: row["note"] for row in rows if row["variant"] == CONTROL}
    assert "shares no source" in notes["hard"] and notes["plain1"] == ""


def test_one_seed_gives_one_table() -> None:
    assert rows_of()[0] == rows_of()[0]
