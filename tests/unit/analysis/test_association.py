import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.association.associate import HEADER, associate, association_rows, association_table
from spoofscope.analysis.association.attack_table import align
from spoofscope.analysis.association.layer_sweep import sweep_layers
from spoofscope.analysis.association.published import analyse_tables
from spoofscope.errors import DataError, UnknownName
from spoofscope.metrics.correlations import spearman

QUICK = {"permutations": 500, "replicates": 200}
ATTACKS = [f"A{number:02}" for number in range(7, 17)]
COLUMNS = """predictor n_attacks rho rho_low rho_high bca_low bca_high p_t p p_max_t p_holm p_bh tau tau_p pearson pearson_p
    partial_rho partial_p difficulty_rho difficulty_p jackknife_low jackknife_high carried_by rho_without p_without power critical_rho
    mae mae_median circular primary expected_sign verdict"""


@pytest.fixture(scope="module")
def gaps():
    rng = np.random.default_rng(0)
    return pl.DataFrame({"held": ATTACKS, "gap": rng.normal(0.01, 0.01, 10), "eer_with": rng.uniform(0, 0.02, 10)})


@pytest.fixture(scope="module")
def predictors(gaps):
    rng = np.random.default_rng(1)
    near = -gaps["gap"].to_numpy() + rng.normal(0, 0.006, 10)
    return pl.DataFrame({"held": ATTACKS, "d_bona": near, "d_mean_spoof": rng.normal(size=10), "own": rng.normal(size=10)})


@pytest.fixture(scope="module")
def found(gaps, predictors):
    return associate(gaps, predictors, primary="d_bona", **QUICK)


def long(predictors):
    return predictors.unpivot(index="held", variable_name="predictor")


def same(one, other):
    """Equal up to the last digits, which may depend on how many columns are summed at a time."""
    tables = association_table(one), association_table(other)
    numbers = [table.select(pl.selectors.float()).fill_null(-9).to_numpy() for table in tables]
    words = [table.select(~pl.selectors.float()) for table in tables]
    return words[0].equals(words[1]) and np.allclose(*numbers, rtol=1e-9, atol=1e-12)


def test_a_wide_and_a_long_table_say_the_same(gaps, predictors, found):
    assert same(found, associate(gaps, long(predictors), primary="d_bona", **QUICK))


def test_the_order_of_the_rows_says_nothing(gaps, predictors, found):
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=3) for frame in (gaps, predictors)]
    assert same(found, associate(*shuffled, primary="d_bona", **QUICK))


def test_percent_and_the_names_of_the_reference_study_are_understood(gaps, predictors, found):
    theirs = gaps.select(family="held", gap_pct=100 * pl.col("gap"), eer_seen_pct=100 * pl.col("eer_with"))
    assert same(found, associate(theirs, predictors.rename({"held": "family"}), primary="d_bona", **QUICK))


def test_the_seed_decides_what_is_drawn(gaps, predictors, found):
    other = associate(gaps, predictors, primary="d_bona", seed=1, **QUICK)
    assert other[0].rho == found[0].rho and other[0].rho_high != found[0].rho_high


def test_gaps_that_the_rounding_of_a_mean_has_parted_are_ties(gaps, predictors):
    noisy = gaps.with_columns(gap=pl.Series([0.0, 3e-17, -3e-17, *gaps["gap"][3:]]))
    tied = gaps.with_columns(gap=pl.Series([0.0, 0.0, 0.0, *gaps["gap"][3:]]))
    assert associate(noisy, predictors, **QUICK)[0].rho == associate(tied, predictors, **QUICK)[0].rho


def test_the_attack_that_carries_rho_is_the_one_whose_absence_costs_most(gaps, predictors, found):
    for one in found:
        at = ATTACKS.index(one.carried_by)
        rest = [i for i in range(10) if i != at]
        column = predictors[one.predictor].to_numpy()
        assert one.rho_without == pytest.approx(float(spearman(column[rest], gaps["gap"].to_numpy()[rest])))
        assert one.rho_without == pytest.approx(one.jackknife_high if one.rho < 0 else one.jackknife_low)


def test_what_no_hypothesis_was_stated_about_is_outside_the_family(found):
    by = {one.predictor: one for one in found}
    assert math.isnan(by["d_mean_spoof"].p_holm) and math.isnan(by["d_mean_spoof"].p_max_t)
    assert not math.isnan(by["d_mean_spoof"].p)
    assert by["d_bona"].p_holm == pytest.approx(2 * by["d_bona"].p)
    assert "outside the family" in by["d_mean_spoof"].verdict


def test_a_long_table_says_itself_what_is_circular_and_expected(gaps, predictors):
    said = long(predictors).with_columns(circular=pl.col("predictor") == "own", expected_sign=pl.lit("+"))
    found = {one.predictor: one for one in associate(gaps, said, **QUICK)}
    assert [found[name].circular for name in ("own", "d_bona")] == [True, False]
    assert found["d_bona"].expected_sign == "+"
    assert found["own"].verdict.startswith("circular")


def test_the_knn_fraction_is_known_to_be_circular(gaps, predictors):
    found = associate(gaps, predictors.rename({"own": "knn_bona_frac"}), **QUICK)
    assert [one.circular for one in found] == [False, False, True]
    assert not math.isnan(found[2].p_holm)


@pytest.mark.parametrize(
    ("values", "note"), [([0.5] * 10, "the same for every attack"), ([None, *range(8), float("nan")], "no value for A07, A16")]
)
def test_a_predictor_without_a_correlation_has_a_note_and_no_figure(gaps, predictors, found, values, note):
    added = associate(gaps, predictors.with_columns(odd=pl.Series(values, dtype=pl.Float64)), primary="d_bona", **QUICK)
    assert added[3].verdict == f"not tested: {note}"
    assert all(
        math.isnan(getattr(added[3], name))
        for name in ("rho", "rho_low", "p", "p_holm", "tau_p", "partial_rho", "power", "mae")
    )
    assert added[3].carried_by == ""
    assert same(added[:3], found)


def test_without_a_known_difficulty_nothing_is_said_of_it(gaps, predictors):
    one = associate(gaps.drop("eer_with"), predictors, **QUICK)[0]
    assert math.isnan(one.partial_rho) and math.isnan(one.difficulty_p)
    assert "difficulty" not in one.verdict


def test_nothing_goes_with_gaps_that_are_all_the_same(gaps, predictors):
    level = associate(gaps.with_columns(gap=pl.lit(0.01)), predictors, **QUICK)
    assert {one.verdict for one in level} == {"not tested: every attack has the same gap"}
    assert all(math.isnan(one.p) and math.isnan(one.p_holm) for one in level)


def test_a_difficulty_that_is_the_same_for_all_takes_nothing_back(gaps, predictors):
    one = associate(gaps.with_columns(eer_with=pl.lit(0.0)), predictors, **QUICK)[0]
    assert math.isnan(one.partial_rho) and "difficulty" not in one.verdict


def test_few_attacks_are_tested_in_every_order(gaps, predictors):
    few = associate(gaps.head(4), predictors.head(4), **QUICK)
    assert few[0].n_attacks == 4
    assert few[0].p * 24 == pytest.approx(round(few[0].p * 24))


@pytest.mark.parametrize(
    ("change_gaps", "change_predictors", "words"),
    [
        (lambda g: g.drop("gap"), None, "no column 'gap'"),
        (lambda g: g.rename({"gap": "gaps"}), None, "Did you mean 'gaps'"),
        (lambda g: g.drop("held"), None, "no column 'held' \\(or family or attack\\)"),
        (lambda g: g.head(9), None, "only in the table of predictors: A16"),
        (
            None,
            lambda p: p.with_columns(held=pl.col("held").replace("A07", "A99")),
            "gaps: A07; only in the table of predictors: A99",
        ),
        (lambda g: pl.concat([g, g.head(1)]), None, "gaps has more than one row for A07"),
        (None, lambda p: pl.concat([p, p.head(2)]), "predictors has more than one row for A07, A08"),
        (None, lambda p: pl.concat([long(p), long(p).head(1)]), "A07 has 2 values of d_bona"),
        (None, lambda p: long(p).drop("value"), "no column 'value'"),
        (None, lambda p: p.select("held"), "has no predictor"),
        (None, lambda p: p.with_columns(own=pl.lit("far")), "'own' is not of numbers: it holds 'far'"),
        (lambda g: g.with_columns(gap=pl.when(pl.col("held") != "A08").then("gap")), None, "gap is missing for A08"),
        (
            lambda g: g.with_columns(eer_with=pl.when(pl.col("held") != "A08").then("eer_with")),
            None,
            "eer_with is missing for A08",
        ),
        (lambda g: g.head(3), lambda p: p.head(3), "3 attacks \\(A07, A08, A09\\)"),
        (lambda g: g.with_columns(held=pl.lit(None)), None, "10 rows name no attack"),
    ],
)
def test_tables_that_do_not_fit_are_refused_with_the_reason(gaps, predictors, change_gaps, change_predictors, words):
    left = change_gaps(gaps) if change_gaps else gaps
    right = change_predictors(predictors) if change_predictors else predictors
    with pytest.raises(DataError, match=words):
        associate(left, right, **QUICK)


def test_a_primary_predictor_must_be_there(gaps, predictors):
    with pytest.raises(UnknownName, match="no predictor 'd_bonna' to be the primary one. Did you mean 'd_bona'?"):
        associate(gaps, predictors, primary="d_bonna")


def test_columns_of_the_space_are_not_predictors(gaps, predictors):
    space = predictors.with_columns(embedder=pl.lit("xlsr"), layer=pl.lit(9), note=pl.lit("all well"))
    assert align(gaps, space).names == ["d_bona", "d_mean_spoof", "own"]


def test_the_table_has_a_column_for_every_figure_and_null_where_there_is_none(found):
    table = association_table(found)
    assert table.columns == COLUMNS.split()
    assert table["p_holm"].null_count() == 1
    assert table.select(pl.selectors.float().is_nan().any()).row(0) == (False,) * len(
        table.select(pl.selectors.float()).columns
    )
    assert association_table([]).columns == table.columns


def test_the_printed_rows_have_a_cell_for_every_header(found):
    rows = association_rows(found)
    assert {len(row) for row in rows} == {len(HEADER)}
    assert [row[0] for row in rows] == ["d_bona *", "d_mean_spoof", "own"]
    assert rows[1][HEADER.index("Holm")] == "–"


@pytest.fixture(scope="module")
def one(found):
    """The figures of the reference study's headline, so that each rule can be read."""
    return replace(
        found[0], rho=-0.666, p=0.016, p_holm=0.078, primary=False, carried_by="A19", rho_without=-0.574, p_without=0.051,
        partial_rho=0.02, partial_p=0.95, mae=0.0266, mae_median=0.0166, power_medium=0.4, n_attacks=13, level=0.95, expected_sign="-",
        circular=False, note="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {},
            "not significant after Holm (0.078); dropping A19 leaves rho -0.57, p 0.051; given the seen difficulty nothing is left (+0.02); "
            "predicts an unseen attack to 2.66 points on average, where the median of the others does to 1.66",
        ),
        ({"p_holm": 0.04}, "significant after Holm (0.040);"),
        ({"primary": True}, "significant as the primary test (p 0.016), not after Holm (0.078);"),
        ({"primary": True, "p_holm": 0.0004}, "significant as the primary test (p 0.016), after Holm (< 0.001);"),
        ({"p": 0.21}, "not significant (p 0.21; 13 attacks show a true rho of 0.5 in 40 % of cases)"),
        ({"p_holm": math.nan}, "outside the family, as no hypothesis about it was stated (p 0.016);"),
        ({"expected_sign": "+"}, "; the sign is not the one expected (+);"),
        ({"p_without": 0.03}, "; holds without A19 (rho -0.57, p 0.030);"),
        ({"rho_without": math.nan}, "; without A19 there is nothing to correlate;"),
        ({"partial_rho": -0.6, "partial_p": 0.03}, "; holds given the seen difficulty (-0.60, p 0.030);"),
        ({"partial_rho": 0.6, "partial_p": 0.04}, "; the sign turns given the seen difficulty (+0.60, p 0.040);"),
        ({"partial_rho": -0.57, "partial_p": 0.055}, "; given the seen difficulty -0.57 is left (p 0.055);"),
        ({"circular": True}, "circular: it is itself a detector that has not met the attack; not significant"),
        ({"note": "the same for every attack"}, "not tested: the same for every attack"),
    ],
)
def test_the_verdict_follows_the_figures(one, change, words):
    verdict = replace(one, **change).verdict
    assert words in verdict
    assert ("predicts" in verdict) == (not change.keys() & {"note"} and replace(one, **change).p < 0.05)


@pytest.fixture(scope="module")
def layered(gaps):
    rng = np.random.default_rng(6)
    rows = [
        {"held": held, "layer": layer, "predictor": name, "value": rng.normal()}
        for layer in (3, 9)
        for name in ("d_bona", "own")
        for held in ATTACKS
    ]
    own = pl.concat(
        [gaps.with_columns(layer=pl.lit(layer), gap=pl.col("gap") * pl.Series(rng.normal(size=10))) for layer in (3, 9)]
    )
    return own, pl.DataFrame(rows)


def at(frame, layer):
    return frame.filter(pl.col("layer") == layer)


def test_a_sweep_gives_each_layer_its_own_gap(layered):
    own, predictors = layered
    swept = sweep_layers(own, predictors, **QUICK)
    assert swept.select("predictor", "layer").rows() == [("d_bona", "3"), ("d_bona", "9"), ("own", "3"), ("own", "9")]
    assert set(swept["gap_of"]) == {"own"} and set(swept["n_attacks"]) == {10}
    for layer in (3, 9):
        alone = associate(at(own, layer), at(predictors, layer), **QUICK)
        assert at(swept, str(layer))["rho"].to_list() == pytest.approx([one.rho for one in alone])
    assert (swept["p_max_t"] >= swept["p"]).all()
    assert ((swept["band_low"] < swept["rho"]) & (swept["rho"] < swept["band_high"])).all()


def test_the_interval_of_a_layer_does_not_depend_on_the_other_layers(layered):
    own, predictors = layered
    swept = sweep_layers(own, predictors, **QUICK)
    for layer in (3, 9):
        alone = sweep_layers(at(own, layer), at(predictors, layer), **QUICK)
        for bound in ("rho_low", "rho_high"):
            assert at(swept, str(layer))[bound].to_list() == pytest.approx(alone[bound].to_list())


def test_a_sweep_may_hold_every_layer_against_the_gap_of_one(layered, gaps):
    own, predictors = layered
    swept = sweep_layers(at(own, 9), predictors, **QUICK)
    assert set(swept["gap_of"]) == {"9"}
    alone = associate(at(own, 9), at(predictors, 3), **QUICK)
    assert at(swept, "3")["rho"].to_list() == pytest.approx([one.rho for one in alone])
    assert set(sweep_layers(gaps, predictors, **QUICK)["gap_of"]) == {"fixed"}


def test_a_sweep_does_not_depend_on_the_order_of_the_rows(layered):
    own, predictors = layered
    shuffled = pl.concat([at(predictors, 3), at(predictors, 9).reverse()])
    assert sweep_layers(own, shuffled, **QUICK).equals(sweep_layers(own, predictors, **QUICK))


def test_a_predictor_without_a_correlation_at_one_layer_is_null_there(layered):
    own, predictors = layered
    flat = predictors.with_columns(
        value=pl.when((pl.col("layer") == 3) & (pl.col("predictor") == "own")).then(0.5).otherwise("value")
    )
    swept = sweep_layers(own, flat, **QUICK).filter(pl.col("predictor") == "own")
    assert at(swept, "3").select("rho", "rho_low", "band_low", "p", "p_max_t").row(0) == (None,) * 5
    assert None not in at(swept, "9").row(0)


@pytest.mark.parametrize(
    ("change_gaps", "change_predictors", "words"),
    [
        (lambda g: g, lambda p: p.drop("layer"), "needs a column 'layer'"),
        (lambda g: pl.concat([at(g, 3), at(g, 9).with_columns(layer=pl.lit(10))]), lambda p: p, "no gap for the layers 9"),
        (lambda g: at(g, 9).drop("layer"), lambda p: p.filter((pl.col("layer") == 3) | (pl.col("predictor") == "own")), "layer 9 has other"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_refused_with_the_reason(layered, change_gaps, change_predictors, words):
    own, predictors = layered
    with pytest.raises(DataError, match=words):
        sweep_layers(change_gaps(own), change_predictors(predictors), **QUICK)


def write(folder, gaps, predictors):
    paths = folder / "gaps.csv", folder / "geometry.csv"
    for path, frame in zip(paths, (gaps, predictors), strict=True):
        frame.write_csv(path)
    return paths


def test_ready_tables_give_the_same_and_a_sentence_for_each_predictor(tmp_path, gaps, predictors, found):
    analysis = analyse_tables(*write(tmp_path, gaps, predictors), primary="d_bona", **QUICK)
    assert same(analysis.associations, found)
    assert analysis.sentences[0].startswith("10 attacks with gaps of ")
    assert [sentence.split(":")[0] for sentence in analysis.sentences[-3:]] == ["d_bona", "d_mean_spoof", "own"]
    assert analysis.sentences[-3].endswith(f"{found[0].verdict}.")


def test_a_long_ready_table_keeps_its_flags(tmp_path, gaps, predictors):
    said = long(predictors).with_columns(circular=pl.col("predictor") == "own", expected_sign=pl.lit(None, pl.String))
    analysis = analyse_tables(*write(tmp_path, gaps, said), **QUICK)
    assert [one.circular for one in analysis.associations] == [False, False, True]
    assert [one.expected_sign for one in analysis.associations] == ["-", "", ""]


def test_attacks_named_by_numbers_keep_their_names(tmp_path, gaps, predictors):
    numbered = [frame.with_columns(held=pl.col("held").str.replace("A", "0")) for frame in (gaps, predictors)]
    assert analyse_tables(*write(tmp_path, *numbered), **QUICK).associations[0].carried_by.startswith("0")


@pytest.mark.parametrize(
    ("odd", "words"),
    [(pl.lit(0.5), "odd of .*geometry.csv cannot be correlated .*: the same for every attack"), (pl.lit(None, pl.Float64), "odd of .* cannot be correlated .*: no value for A07")],
)  # fmt: skip
def test_a_ready_table_with_a_useless_predictor_is_refused(tmp_path, gaps, predictors, odd, words):
    with pytest.raises(DataError, match=words):
        analyse_tables(*write(tmp_path, gaps, predictors.with_columns(odd=odd)), **QUICK)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing.csv cannot be read as a table"):
        analyse_tables(tmp_path / "nothing.csv", tmp_path / "nothing.csv")
