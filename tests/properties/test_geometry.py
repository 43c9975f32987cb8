"""Statements about the geometry that hold for all vectors, and what cross-fitting and correction are for."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofscope.analysis.design import Design, design_of
from spoofscope.analysis.distances import (
    bures_squared,
    cloud_of,
    log_distances,
    mahalanobis,
    placed,
    scale_of,
    shrunk_axes,
    standing,
    totals_of,
)
from spoofscope.analysis.geometry import PREDICTORS, cross_fitted_geometry, reference_geometry

SEEDS = st.integers(0, 2**32 - 1)
DISTANCES = ("cf_d_bona", "cf_cos_bona", "mahalanobis_bona", "knn_dist_bona", "local_density", "frechet_bona", "mmd_bona")


def simulated(rng, shifts, *, d=12, each=60, bonafide=200, speakers=40, speaker_shift=0.5):
    """Rows of speakers that shift them, and groups whose means are moved along one axis."""
    attack = np.repeat(["", *shifts], [bonafide, *[each] * len(shifts)])
    speaker = rng.integers(0, speakers, len(attack))
    vectors = rng.normal(size=(len(attack), d)) + speaker_shift * rng.normal(size=(speakers, d))[speaker]
    vectors[:, 0] += np.array([{"": 0.0, **shifts}[name] for name in attack])
    frame = pl.DataFrame(
        {
            "trial_id": [f"t{at}" for at in range(len(attack))],
            "label": np.where(attack == "", "bonafide", "spoof"),
            "attack": [name or None for name in attack.tolist()],
            "speaker": [f"s{at}" for at in speaker],
        }
    )
    return vectors.astype(np.float32), design_of(frame, "attack", "simulated")


def values_of(table):
    return dict(zip(zip(table["held"], table["predictor"], strict=True), table["value"], strict=True))


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_no_value_depends_on_the_order_of_the_rows(seed):
    rng = np.random.default_rng(seed)
    vectors, design = simulated(rng, {"a": 1.0, "b": 2.0})
    order = rng.permutation(len(design))
    shuffled = Design(design.frame[order], "attack", design.fold[order], "shuffled")
    assert values_of(cross_fitted_geometry(vectors[order], shuffled)) == pytest.approx(
        values_of(cross_fitted_geometry(vectors, design)), rel=1e-4, abs=1e-5, nan_ok=True
    )
    assert values_of(reference_geometry(vectors[order], shuffled.is_bonafide, shuffled.held)) == pytest.approx(
        values_of(reference_geometry(vectors, design.is_bonafide, design.held)), rel=1e-4
    )


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_moving_and_stretching_every_dimension_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    vectors, design = simulated(rng, {"a": 1.0, "b": 2.0})
    moved = vectors * rng.uniform(0.1, 10, vectors.shape[1]).astype(np.float32) + rng.normal(0, 5, vectors.shape[1]).astype(
        np.float32
    )
    for ask in (lambda x: cross_fitted_geometry(x, design), lambda x: reference_geometry(x, design.is_bonafide, design.held)):
        assert values_of(ask(moved)) == pytest.approx(values_of(ask(vectors)), rel=2e-3, abs=2e-4, nan_ok=True)


@given(seed=SEEDS)
def test_a_rotation_changes_no_distance_of_rows_spreads_or_neighbours(seed):
    rng = np.random.default_rng(seed)
    rows, others = rng.normal(size=(40, 6)) * np.arange(1, 7), rng.normal(size=(9, 6))
    rows -= rows.mean(axis=0)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert mahalanobis(others @ turn, shrunk_axes(rows @ turn)) == pytest.approx(mahalanobis(others, shrunk_axes(rows)))
    assert log_distances(rows @ turn) == pytest.approx(log_distances(rows), rel=1e-6, abs=1e-9)
    spreads = np.cov(rows.T), np.cov(others.T)
    assert bures_squared(*(turn.T @ spread @ turn for spread in spreads)) == pytest.approx(bures_squared(*spreads), abs=1e-6)


def test_the_mahalanobis_distance_is_affine_where_rows_abound_and_shrinkage_fades():
    rng = np.random.default_rng(0)
    rows, others, mix = rng.normal(size=(20_000, 4)), rng.normal(size=(9, 4)), np.eye(4) + 0.3 * rng.normal(size=(4, 4))
    rows -= rows.mean(axis=0)
    mixed = mahalanobis(others @ mix, shrunk_axes(rows @ mix))
    assert mixed == pytest.approx(mahalanobis(others, shrunk_axes(rows)), rel=0.02)


@given(seed=SEEDS)
def test_a_spread_is_at_no_distance_from_itself(seed):
    rows = np.random.default_rng(seed).normal(size=(9, 5))
    assert bures_squared(np.cov(rows.T), np.cov(rows.T)) == pytest.approx(0, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_a_generator_placed_nearer_bona_fide_speech_is_nearer_by_every_measure(seed):
    vectors, design = simulated(np.random.default_rng(seed), {"near": 1.0, "far": 4.0, "beyond": 7.0})
    values = values_of(cross_fitted_geometry(vectors, design))
    for name in DISTANCES:
        assert values["near", name] < values["far", name], name
        assert PREDICTORS[name].expected_sign == "-"
    assert values["near", "cf_axis_proj"] > values["far", "cf_axis_proj"] > values["beyond", "cf_axis_proj"]
    assert values["near", "cf_rel"] < values["far", "cf_rel"]


def test_what_a_held_out_group_does_moves_nothing_that_others_are_measured_by():
    vectors, design = simulated(np.random.default_rng(0), {"a": 1.0, "b": 2.0, "c": 3.0})
    moved = vectors.copy()
    moved[design.held == "c"] += 1e4
    before, after = (values_of(cross_fitted_geometry(x, design)) for x in (vectors, moved))
    alone = [name for name in DISTANCES if name != "cf_cos_bona"] + ["intrinsic_dim", "intrinsic_dim_ratio"]
    for name in alone:
        assert after["a", name] == before["a", name], name
        assert after["c", name] > 3 * before["c", name] or name not in ("cf_d_bona", "mahalanobis_bona", "frechet_bona")
    leaky = [values_of(reference_geometry(x, design.is_bonafide, design.held)) for x in (vectors, moved)]
    assert leaky[1]["a", "d_bona"] < 0.1 * leaky[0]["a", "d_bona"]


def test_bona_fide_rows_of_the_tested_fold_move_no_centre_scale_or_covariance():
    vectors, design = simulated(np.random.default_rng(0), {"a": 1.0, "b": 2.0})
    only = (design.held != "a") | (design.fold == 0)
    vectors, design = vectors[only], Design(design.frame.filter(only), "attack", design.fold[only], "simulated")
    moved = vectors.copy()
    moved[np.flatnonzero(design.is_bonafide & (design.fold == 0))[0]] += 1e4

    def measured(x):
        code = np.where(design.is_bonafide, -1, np.where(design.held == "a", 0, 1))
        place = placed(totals_of(x, code, design.fold, 2))
        away, tested = design.is_bonafide & (design.fold != 0), design.held == "a"
        centre, scale = x[away].mean(axis=0), x[away].std(axis=0)
        cloud = cloud_of((x[away] - centre) / scale, design.fold[away], 5)
        return np.concatenate((place.apart[0], [place.along[0]], *standing((x[tested] - centre) / scale, cloud, 5)))

    assert np.array_equal(measured(moved), measured(vectors), equal_nan=True)
    names = ("cf_d_bona", "cf_d_near_spoof", "cf_axis_proj", "frechet_bona", "mmd_bona")
    before, after = (values_of(cross_fitted_geometry(x, design)) for x in (vectors, moved))
    assert [after["a", name] for name in names] == [before["a", name] for name in names]
    leaky = [values_of(reference_geometry(x, design.is_bonafide, design.held))["a", "d_bona"] for x in (vectors, moved)]
    assert leaky[1] != pytest.approx(leaky[0], rel=0.1)


def test_speakers_on_both_sides_make_bona_fide_look_too_near_and_folds_do_not():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(5):
        vectors, design = simulated(rng, {"other": 4.0}, bonafide=150, speakers=50, speaker_shift=3.0)
        leaky = Design(design.frame, "attack", rng.integers(0, 5, len(design)), "leaky", disjoint=())
        found.append([_nearest(vectors, dealt) / _nearest_of_strangers(vectors, design) for dealt in (design, leaky)])
    fair, leaked = np.mean(found, axis=0)
    assert fair == pytest.approx(1, abs=0.1)
    assert leaked < 0.7


def _nearest(vectors, design):
    """Mean distance of bona fide rows to the nearest of other folds."""
    distances = []
    for fold in range(5):
        cloud = design.is_bonafide & (design.fold != fold)
        own = design.is_bonafide & (design.fold == fold)
        rows = vectors - vectors[cloud].mean(axis=0)
        distances.extend(standing(rows[own], cloud_of(rows[cloud], design.fold[cloud], 1), 1).distance)
    return np.mean(distances)


def _nearest_of_strangers(vectors, design):
    """The truth: mean distance of bona fide rows to the nearest row of another speaker."""
    rows, speaker = vectors[design.is_bonafide], design.frame.filter(design.is_bonafide)["speaker"].to_numpy()
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    return np.where(speaker[:, None] == speaker, np.inf, distances).min(axis=1).mean()


def test_distances_of_means_do_not_depend_on_how_many_rows_a_group_has():
    rng = np.random.default_rng(0)
    ours, naive, truth = [], [], 4.0
    for _ in range(60):
        vectors, design = simulated(rng, {"big": 4.0, "small": 4.0, "other": -3.0}, each=120, d=40, speaker_shift=0.3)
        kept = (design.held != "small") | (np.cumsum(design.held == "small") <= 15)
        vectors, design = vectors[kept], Design(design.frame.filter(kept), "attack", design.fold[kept], "simulated")
        values = values_of(cross_fitted_geometry(vectors, design))
        leaky = values_of(reference_geometry(vectors, design.is_bonafide, design.held))
        ours.append([np.sign(values[name, "cf_d_bona"]) * values[name, "cf_d_bona"] ** 2 for name in ("big", "small")])
        naive.append([leaky[name, "d_bona"] ** 2 for name in ("big", "small")])
    big, small = np.mean(ours, axis=0)
    spread = np.std(ours, axis=0) / np.sqrt(60)
    assert small == pytest.approx(big, abs=4 * spread.max())
    assert big == pytest.approx(truth**2 / 1.09, abs=4 * spread.max() + 0.4)
    assert np.mean(naive, axis=0)[1] > 1.2 * np.mean(naive, axis=0)[0]


def test_equal_distributions_are_at_no_distance_beyond_noise():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        vectors, design = simulated(rng, {"double": 0.0, "other": 4.0}, speakers=80)
        values = values_of(cross_fitted_geometry(vectors, design))
        squared = np.sign(values["double", "cf_d_bona"]) * values["double", "cf_d_bona"] ** 2
        found.append([squared, values["double", "mmd_bona"]] + [values["double", name] - 1 for name in DISTANCES[2:5]])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(mean[:2]) < 3.5 * error[:2]).all()
    assert mean[2:] == pytest.approx(0, abs=0.03)


@given(seed=SEEDS)
def test_a_dimension_that_never_varies_is_left_alone(seed):
    value = np.random.default_rng(seed).normal(0, 100, 3)
    rows = np.tile(value, (7, 1))
    assert scale_of(rows.var(axis=0), rows.mean(axis=0)).tolist() == [1, 1, 1]
