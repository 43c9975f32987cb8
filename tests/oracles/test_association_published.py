"""The reference study's own tables: its correlations, the re-check of them, and what they say under the rules here."""

import csv

import polars as pl
import pytest

from spoofscope.analysis.association.layer_sweep import sweep_layers
from spoofscope.analysis.association.published import analyse_tables
from spoofscope.metrics.correlations import correlation_p, spearman
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
PUBLISHED = SHARED / "study" / "published"
ROUNDED_TWICE = {"mean+std, cos_bona: p", "mean+std without A19, bona_axis_proj: p"}


def read(name):
    return pl.read_csv(PUBLISHED / name)


@pytest.fixture(scope="module")
def analysis():
    return analyse_tables(PUBLISHED / "loao_per_attack.csv", PUBLISHED / "geometry_h2.csv", primary="d_bona", replicates=20_000)


@pytest.mark.parametrize(
    ("predictor", "rho", "p_t", "p", "low", "high", "p_holm"),
    [
        ("d_bona", -0.666, 0.0130, 0.0156, -0.95, -0.11, 0.078),
        ("cos_bona", -0.558, 0.0473, 0.050, -0.94, 0.11, 0.20),
        ("bona_axis_proj", 0.520, 0.0686, 0.072, -0.19, 0.95, None),
        ("knn_bona_frac", 0.684, 0.0100, 0.012, 0.24, 0.92, 0.073),
        ("rel", -0.371, 0.2115, 0.21, -0.89, 0.33, None),
        ("d_near_spoof", -0.042, 0.8928, 0.892, -0.67, 0.73, None),
    ],
)
def test_the_headline_correlations_are_reproduced(analysis, predictor, rho, p_t, p, low, high, p_holm):
    one = {found.predictor: found for found in analysis.associations}[predictor]
    assert one.rho == pytest.approx(rho, abs=5e-4)
    assert one.p_t == pytest.approx(p_t, abs=6e-5)
    assert one.p == pytest.approx(p, abs=0.005)
    assert (one.rho_low, one.rho_high) == pytest.approx((low, high), abs=0.02)
    if p_holm:
        assert one.p_holm == pytest.approx(p_holm, abs=0.008)


def test_the_headline_is_taken_back_by_the_rest_of_its_row(analysis):
    one = analysis.associations[0]
    assert one.predictor == "d_bona" and one.primary and one.carried_by == "A19"
    assert "not after Holm (0.07" in one.verdict
    assert "dropping A19 leaves rho -0.57, p 0.051" in one.verdict
    assert "given the seen difficulty nothing is left (+0.02)" in one.verdict
    assert one.p_max_t > 0.05
    assert "A19 alone is 71 % of their sum" in analysis.sentences[0]
    assert "+0.96" in analysis.sentences[1]


def test_what_is_left_given_the_seen_difficulty_is_that_of_the_re_check(analysis):
    by = {one.predictor: one for one in analysis.associations}
    assert (by["d_bona"].partial_rho, by["d_bona"].partial_p) == pytest.approx((0.02, 0.951), abs=5e-4)
    assert (by["cos_bona"].partial_rho, by["cos_bona"].partial_p) == pytest.approx((0.598, 0.040), abs=5e-4)
    assert (by["d_bona"].difficulty_rho, by["d_bona"].difficulty_p) == pytest.approx((-0.700, 0.008), abs=5e-4)
    assert (by["d_bona"].jackknife_low, by["d_bona"].jackknife_high) == pytest.approx((-0.795, -0.574), abs=5e-4)
    assert (by["d_bona"].mae, by["d_bona"].mae_median) == pytest.approx((0.0266, 0.0166), abs=5e-5)
    assert (by["d_bona"].tau_p, by["d_bona"].pearson_p) == pytest.approx((0.0122, 0.0040), abs=5e-5)


def test_a_gap_table_without_difficulty_serves_as_well(analysis):
    table = PUBLISHED / "geometry_h2.csv"
    found = analyse_tables(table, table, permutations=1000, replicates=100)
    assert [one.rho for one in found.associations] == pytest.approx([one.rho for one in analysis.associations])


def test_all_25_layers_of_the_selectivity_sweep_are_those_of_the_gap_of_layer_9():
    long = read("selectivity_by_layer_attack.csv").unpivot(index="layer", variable_name="held")
    gaps = read("loao_per_attack.csv").select("family", "gap_pct", layer=pl.lit(9))
    swept = sweep_layers(gaps, long.with_columns(predictor=pl.lit("selectivity")), permutations=2000, replicates=200)
    printed = read("layer_sweep_selectivity.csv")
    assert set(swept["gap_of"]) == {"9"}
    assert swept["rho"].to_list() == pytest.approx(printed["rho_vs_gap"].to_list(), abs=1e-12)
    assert correlation_p(swept["rho"].to_numpy(), 13) == pytest.approx(printed["p"].to_numpy(), abs=1e-9)
    assert swept["p_max_t"].min() > 0.5


def test_p_of_the_geometry_sweep_follow_from_its_rho():
    table = read("geometry_layer_sweep.csv")
    for name in ("d_bona", "cos_bona"):  # both have three decimals
        assert correlation_p(table[f"rho_{name}"].to_numpy(), 13) == pytest.approx(table[f"p_{name}"].to_numpy(), abs=1.1e-3)


def test_what_changes_between_encoders_does_not_go_with_what_changes_in_the_gap():
    table = read("regime_comparison.csv")
    rho = spearman(table["d_cos"].to_numpy(), table["d_gap"].to_numpy())
    assert (rho, correlation_p(rho, 13)) == pytest.approx((-0.082, 0.789), abs=5e-4)


def test_identity_selectivity_does_not_go_with_the_gap():
    table = read("loao_per_attack.csv")
    rho = spearman(table["probe_selectivity"].to_numpy(), table["gap_pct"].to_numpy())
    assert (rho, correlation_p(rho, 13)) == pytest.approx((-0.025, 0.936), abs=5e-4)


def test_every_printed_figure_agrees_but_two_that_were_rounded_twice(tmp_path, capsys):
    from examples.published_generalisation import main

    main(PUBLISHED, tmp_path)
    capsys.readouterr()
    with (tmp_path / "published_generalisation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 200
    differing = {row["what"]: row for row in rows if row["agrees"] == "false"}
    assert differing.keys() == ROUNDED_TWICE
    for row in differing.values():
        twice = round(round(float(row["ours"]), 4) + 1e-9, 3)
        assert twice == float(row["published"])
