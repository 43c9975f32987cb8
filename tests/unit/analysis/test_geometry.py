import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.design import Design, design_of
from spoofscope.analysis.geometry import PREDICTORS, PRIMARY, cross_fitted_geometry, reference_geometry
from spoofscope.errors import NotEnoughTrials, ScoresError

OURS = [name for name, predictor in PREDICTORS.items() if not predictor.reference]
STUDY = ["d_bona", "cos_bona", "d_near_spoof", "d_mean_spoof", "rel", "bona_axis_proj", "knn_bona_frac"]


def trials(counts, *, bonafide=100, seed=0, d=6, speakers=20):
    """Vectors and a table with `counts` rows of each group, the later groups further away."""
    rng = np.random.default_rng(seed)
    attack = np.repeat(["", *counts], [bonafide, *counts.values()])
    place = {name: at**2 for at, name in enumerate(["", *counts])}
    vectors = rng.normal(size=(len(attack), d)) + np.array([place[name] for name in attack])[:, None]
    frame = pl.DataFrame(
        {
            "trial_id": [f"t{at}" for at in range(len(attack))],
            "label": np.where(attack == "", "bonafide", "spoof"),
            "attack": [name or None for name in attack.tolist()],
            "speaker": [f"s{at % speakers}" for at in range(len(attack))],
        }
    )
    return vectors.astype(np.float32), frame


def asked(vectors, frame, **more):
    return cross_fitted_geometry(vectors, design_of(frame, "attack", "toy"), **more)


def row(table, held, predictor):
    return table.row(by_predicate=(pl.col("held") == held) & (pl.col("predictor") == predictor), named=True)


def test_the_registry_knows_the_reference_study_by_its_names():
    assert [name for name, predictor in PREDICTORS.items() if predictor.reference] == STUDY
    signs = {name: PREDICTORS[name].expected_sign for name in STUDY}
    assert list(signs.values()) == ["-", "-", "+", "", "-", "+", "+"]


def test_scores_of_a_detector_by_another_name_are_marked_circular():
    circular = {name for name, predictor in PREDICTORS.items() if predictor.circular}
    assert circular == {"knn_bona_frac", "bona_axis_proj", "cf_axis_proj", "boundary_margin"}


def test_the_primary_predictor_is_ours_and_not_circular():
    assert PRIMARY in OURS and not PREDICTORS[PRIMARY].circular


def test_every_group_has_every_predictor_in_order():
    table = asked(*trials({"a": 30, "b": 30}))
    names = [name for name in OURS if name != "boundary_margin"]
    assert list(zip(table["held"], table["predictor"], strict=True)) == [(held, name) for held in "ab" for name in names]
    assert table.columns == ["held", "predictor", "value", "circular", "expected_sign", "note"]
    assert table["value"].is_finite().all()
    assert set(table["note"]) == {""}


def test_the_reference_predictors_come_in_the_same_form():
    vectors, frame = trials({"a": 30, "b": 30})
    design = design_of(frame, "attack", "toy")
    table = reference_geometry(vectors, design.is_bonafide, design.held)
    assert table.schema == asked(vectors, frame).schema
    assert table["predictor"].to_list() == STUDY * 2
    assert table["value"].is_finite().all() and set(table["note"]) == {""}


def test_six_clips_are_enough():
    table = asked(*trials({"few": 6, "b": 30}))
    assert table["value"].is_finite().all()


def test_a_group_that_cannot_be_held_out_has_no_geometry_and_says_why():
    table = asked(*trials({"one": 1, "b": 30, "c": 30})).filter(pl.col("held") == "one")
    assert table["value"].is_nan().all()
    assert table["note"].str.contains("share one speaker").all()


def test_a_group_of_one_speaker_says_that_the_speaker_is_in_its_value():
    vectors, frame = trials({"lone": 20, "b": 30, "c": 30})
    lone = frame["attack"] == "lone"
    frame = frame.with_columns(
        speaker=pl.when(lone).then(pl.lit("s1")).otherwise("speaker"),
        source=pl.when(lone).then(pl.format("u{}", pl.int_range(pl.len()))).otherwise(None),
    )
    table = asked(vectors, frame)
    assert table.filter(pl.col("held") == "lone")["value"].is_finite().all()
    assert "1 of the folds" in row(table, "lone", PRIMARY)["note"]
    assert row(table, "lone", "intrinsic_dim")["note"] == row(table, "b", PRIMARY)["note"] == ""


def test_generators_of_the_same_speaker_are_left_out_of_the_nearest_and_counted():
    vectors, frame = trials({"lone": 20, "twin": 20, "c": 30})
    same = frame["attack"].is_in(["lone", "twin"]).fill_null(False)
    frame = frame.with_columns(
        speaker=pl.when(same).then(pl.lit("s1")).otherwise("speaker"),
        source=pl.when(same).then(pl.format("u{}", pl.int_range(pl.len()))).otherwise(None),
    )
    near = row(asked(vectors, frame), "lone", "cf_d_near_spoof")
    assert "1 of 2 other groups" in near["note"]
    assert near["value"] == pytest.approx(np.sqrt(6) * 8, rel=0.3)


def test_without_another_generator_what_compares_with_one_does_not_exist():
    table = asked(*trials({"only": 30}))
    missing = table.filter(pl.col("value").is_nan())
    assert missing["predictor"].to_list() == ["cf_cos_bona", "cf_d_near_spoof", "cf_rel", "cf_axis_proj"]
    assert missing["note"].str.starts_with("needs another generator").all()


def test_without_another_generator_the_reference_study_keeps_two_predictors_and_its_neighbours():
    vectors, frame = trials({"only": 30})
    design = design_of(frame, "attack", "toy")
    table = reference_geometry(vectors, design.is_bonafide, design.held)
    assert table.filter(pl.col("value").is_finite())["predictor"].to_list() == ["d_bona", "cos_bona", "knn_bona_frac"]


def test_fewer_bona_fide_rows_than_neighbours_leave_no_neighbourhood():
    table = asked(*trials({"a": 30, "b": 30}, bonafide=40), k=50)
    missing = table.filter(pl.col("value").is_nan())
    assert set(missing["predictor"]) == {"knn_dist_bona", "local_density"}
    assert missing["note"].str.starts_with("needs k different bona fide").sum() == 2


def test_two_folds_leave_what_needs_a_third_undefined():
    vectors, frame = trials({"a": 30, "b": 30})
    table = cross_fitted_geometry(vectors, design_of(frame, "attack", "toy", folds=2))
    finite = set(table.filter(pl.col("value").is_finite())["predictor"])
    assert finite == {"mahalanobis_bona", "knn_dist_bona", "frechet_bona", "intrinsic_dim", "intrinsic_dim_ratio"}
    assert table.filter(pl.col("value").is_nan())["note"].str.starts_with("needs").all()


def test_a_margin_is_taken_as_given_and_absent_where_it_is_not():
    vectors, frame = trials({"a": 30, "b": 30})
    table = asked(vectors, frame, margins={"a": -2.5})
    assert row(table, "a", "boundary_margin") | {"note": ""} == {
        "held": "a",
        "predictor": "boundary_margin",
        "value": -2.5,
        "circular": True,
        "expected_sign": "+",
        "note": "",
    }
    assert np.isnan(row(table, "b", "boundary_margin")["value"])
    assert row(table, "b", "boundary_margin")["note"] == "needs a head's margin"


def test_a_distance_within_its_noise_comes_out_below_zero_and_says_so():
    notes = []
    for seed in range(6):
        vectors, frame = trials({"double": 20, "b": 30}, seed=seed)
        vectors[frame["attack"].fill_null("").to_numpy() == "double"] -= 1
        found = row(asked(vectors, frame), "double", PRIMARY)
        assert (found["value"] < 0) == ("below 0" in found["note"])
        notes.append(found["note"])
    assert 0 < sum("below 0" in note for note in notes) < 6


def test_spoof_rows_of_no_known_group_are_compared_with_nobody():
    vectors, frame = trials({"a": 30, "b": 30, "c": 40})
    unknown = frame.with_columns(attack=pl.when(pl.col("attack") == "c").then(None).otherwise("attack"))
    known = (frame["attack"] != "c").fill_null(True).to_numpy()
    fold = design_of(unknown, "attack", "toy").fold
    table = cross_fitted_geometry(vectors, Design(unknown, "attack", fold, "toy"))
    without = cross_fitted_geometry(vectors[known], Design(unknown.filter(known), "attack", fold[known], "toy"))
    assert table["value"].to_list() == pytest.approx(without["value"].to_list(), rel=1e-5)


def test_copies_of_a_row_do_not_make_it_flat():
    vectors, frame = trials({"a": 30, "b": 30})
    own = np.flatnonzero(frame["attack"].fill_null("").to_numpy() == "a")
    vectors[own[1]] = vectors[own[0]]
    assert row(asked(vectors, frame), "a", "intrinsic_dim")["value"] > 2
    vectors[own] = vectors[own[0]]
    flat = row(asked(vectors, frame), "a", "intrinsic_dim")
    assert np.isnan(flat["value"]) and flat["note"] == "needs three distinct rows"


def test_a_constant_dimension_changes_nothing():
    vectors, frame = trials({"a": 30, "b": 30})
    wider = np.column_stack((vectors, np.full(len(vectors), 7, dtype=np.float32)))
    narrow, wide = (asked(x, frame)["value"].to_numpy() for x in (vectors, wider))
    same = [
        at for at, name in enumerate(asked(vectors, frame)["predictor"]) if name not in ("mahalanobis_bona", "frechet_bona")
    ]
    assert wide[same] == pytest.approx(narrow[same], rel=1e-4)
    assert np.isfinite(wide).all()


def test_bona_fide_rows_that_are_all_alike_give_no_spread_to_measure_in():
    vectors, frame = trials({"a": 30, "b": 30})
    vectors[(frame["label"] == "bonafide").to_numpy()] = 1
    table = asked(vectors, frame)
    missing = set(table.filter(pl.col("value").is_nan())["predictor"])
    assert {"mahalanobis_bona", "knn_dist_bona", "local_density", "mmd_bona", "intrinsic_dim_ratio"} <= missing
    assert row(table, "a", PRIMARY)["value"] > 0


@pytest.mark.parametrize("ask", ["reference", "cross-fitted"])
def test_vectors_of_other_trials_or_with_gaps_are_refused(ask):
    vectors, frame = trials({"a": 30, "b": 30})
    design = design_of(frame, "attack", "toy")

    def geometry(x):
        return (
            reference_geometry(x, design.is_bonafide, design.held) if ask == "reference" else cross_fitted_geometry(x, design)
        )

    with pytest.raises(ScoresError, match="one vector for each of 160 trials; found an array of shape \\(150, 6\\)"):
        geometry(vectors[:150])
    vectors[3, 2] = np.nan
    with pytest.raises(ScoresError, match="1 of 160 vectors hold numbers that are not finite"):
        geometry(vectors)


def test_the_reference_study_needs_bona_fide_rows():
    with pytest.raises(NotEnoughTrials, match="there are none"):
        reference_geometry(np.ones((3, 2)), np.zeros(3, dtype=bool), np.array(["a", "a", "b"], dtype=object))
