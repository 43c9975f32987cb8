"""Predictions of what took no part in making them."""

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.design import design_of
from spoofscope.analysis.heads import open_head
from spoofscope.analysis.holdout import hold_out, plan_jobs
from spoofscope.analysis.prospect import beta_of, few_sample_rows, prospect_rows
from tests.shared import SHARED, needs_shared
from tests.simulated import simulated_embeddings


def tables(gap, near, known=None):
    names = [f"A{at:02}" for at in range(len(gap))]
    gaps = pl.DataFrame({"held": names, "gap": gap, "eer_with": known if known is not None else np.zeros(len(gap))})
    predictors = pl.DataFrame({"held": names, "predictor": "near", "value": near, "circular": False})
    return gaps, predictors


@needs_shared
@pytest.mark.parametrize(
    ("suffix", "line", "median", "apart"), [("", 2.66, 1.66, (1.75, 0.58)), ("_meanstd", 2.77, 1.57, None)]
)
def test_the_reference_study_s_gaps_are_predicted_worse_by_distance_than_by_their_median(suffix, line, median, apart) -> None:
    folder = SHARED / "study" / "published"
    gaps = pl.read_csv(folder / f"loao_per_attack{suffix}.csv").select(held="family", gap="gap_pct", eer_with="eer_seen_pct")
    near = pl.read_csv(folder / f"geometry_h2{suffix}.csv")
    near = near.select(held="family", value="d_bona", predictor=pl.lit("d_bona"), circular=pl.lit(False))
    rows, attacks = prospect_rows(gaps, near)
    by_model = {row["model"]: row for row in rows}
    assert by_model["d_bona"]["mae"] == pytest.approx(line, abs=0.005)
    assert by_model["median"]["mae"] == by_model["d_bona"]["mae_median"] == pytest.approx(median, abs=0.005)
    assert by_model["d_bona"]["note"] == "worse than the median"
    if apart:
        errors = pl.DataFrame(attacks).filter(pl.col("held") != "A19")
        errors = errors.group_by("model").agg((pl.col("predicted") - pl.col("actual")).abs().mean().alias("mae"))
        found = dict(errors.iter_rows())
        assert (found["d_bona"], found["median"]) == pytest.approx(apart, abs=0.005)


def test_each_line_is_fitted_without_the_attack_that_it_predicts() -> None:
    rng = np.random.default_rng(0)
    near, gap = rng.standard_normal(9), rng.standard_normal(9)
    _rows, attacks = prospect_rows(*tables(gap, near))
    predicted = [row["predicted"] for row in attacks if row["model"] == "near"]
    for at in range(9):
        rest = np.arange(9) != at
        slope, intercept = np.polyfit(near[rest], gap[rest], 1)
        assert predicted[at] == pytest.approx(slope * near[at] + intercept)
    medians = [row["predicted"] for row in attacks if row["model"] == "median"]
    assert medians == pytest.approx([np.median(np.delete(gap, at)) for at in range(9)])


def test_a_predictor_that_tells_the_gap_beats_the_median_and_ranks_it() -> None:
    rng = np.random.default_rng(1)
    near = rng.uniform(0, 3, 16)
    rows, _ = prospect_rows(*tables(0.1 * near + rng.normal(0, 0.01, 16), near))
    row = {row["model"]: row for row in rows}["near"]
    assert row["difference_high"] < 0 and row["note"] == "better than the median"
    assert row["rank_rho"] > 0.9 and row["rank_p"] < 0.001


def test_where_nothing_is_known_a_rank_is_as_rare_as_its_p_says() -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(200):
        rows, _ = prospect_rows(*tables(rng.standard_normal(10), rng.standard_normal(10)), replicates=20, permutations=199)
        found.append(rows[-1]["rank_p"] <= 0.1)
    assert 0.03 < np.mean(found) < 0.18


def test_a_family_speaks_for_its_members_and_the_median_for_the_others() -> None:
    gaps, near = tables(np.array([1.0, 3, 10, 20, 5]), np.arange(5.0))
    families = {"A00": "x", "A01": "x", "A02": "y", "A03": "y", "A04": "z"}
    _, attacks = prospect_rows(gaps, near, families=families)
    predicted = {row["held"]: row["predicted"] for row in attacks if row["model"] == "family"}
    assert predicted == {"A00": 3, "A01": 1, "A02": 20, "A03": 10, "A04": 6.5}


def test_circular_predictors_and_too_few_attacks_are_left_out() -> None:
    gaps, near = tables(np.arange(8.0), np.arange(8.0) ** 2)
    rows, _ = prospect_rows(gaps, near.with_columns(circular=True))
    assert {row["model"] for row in rows} <= {"median", "difficulty"}
    assert prospect_rows(*tables(np.arange(3.0), np.arange(3.0))) == ([], [])


def test_a_beta_distribution_is_found_again_from_rates() -> None:
    rng = np.random.default_rng(3)
    rates = rng.binomial(400, rng.beta(2, 6, 3000)) / 400
    assert beta_of(rates, np.full(3000, 400)) == pytest.approx((2, 6), rel=0.1)


def scores_of(seed: int = 0):
    rng = np.random.default_rng(seed)
    attacks = {f"X{at}": tuple(rng.uniform(0, 2.5, 2)) for at in range(8)}
    vectors, frame = simulated_embeddings(rng, attacks=attacks, speakers=24, per_attack=2)
    design = design_of(frame, "attack", "simulated", folds=4)
    return hold_out(vectors, design, open_head("lda"), plan_jobs(design, min_count=5, seed=0))


def test_more_clips_of_a_new_generator_tell_more_and_intervals_hold_the_truth() -> None:
    rows = pl.DataFrame(few_sample_rows(scores_of(), draws=100), infer_schema_length=None)
    by_samples = rows.group_by("samples", maintain_order=True).agg(
        pl.col("mae", "covered").mean(), (pl.col("predicted_high") - pl.col("predicted_low")).mean().alias("width")
    )
    assert by_samples["samples"].to_list() == [0, 1, 5, 20]
    assert by_samples["mae"][3] < by_samples["mae"][0]
    assert by_samples["width"][3] < by_samples["width"][1]
    assert (by_samples["covered"] > 0.8).all()


def test_a_group_that_leaves_too_few_to_predict_says_so() -> None:
    rows = few_sample_rows(scores_of(), samples=(1, 45), draws=3)
    notes = {row["samples"]: row["note"] for row in rows}
    assert notes[1] == "" and "leave fewer than 5" in notes[45]
