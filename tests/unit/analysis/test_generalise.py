"""A whole analysis: what a run asks, writes and says."""

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from spoofscope.analysis.generalise.conclusions import control_findings
from spoofscope.analysis.generalise.notebook import TABLES
from spoofscope.cli import main
from tests.analysed import CUES, write_analysed


def table(run: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(run / "tables" / f"{name}.csv", infer_schema_length=None)


def facts(run: Path) -> dict:
    return json.loads((run / "analysis.json").read_text())


def test_every_table_that_was_asked_for_is_there(analysed: Path) -> None:
    assert {name for name in TABLES if (analysed / "tables" / f"{name}.csv").is_file()} == set(TABLES) - {"augmentation"}


def test_every_group_is_held_out_by_every_column_in_every_space(analysed: Path) -> None:
    holdout = table(analysed, "holdout").filter(pl.col("method") == "cross-fitted")
    attacks = holdout.filter(pl.col("held_by") == "attack")
    assert set(attacks["held"]) == set(CUES)
    assert set(holdout.filter(pl.col("held_by") == "family")["held"]) == {"A", "B", "C"}
    spaces = attacks.select("embedder", "condition", "layer").unique()
    assert spaces.height == 2 * (2 + 1 + 1) + 3  # two layers on clean, the stated one elsewhere; a network of one layer
    assert (attacks["disjoint"] == "speaker").all()


def test_a_gap_is_the_difference_of_its_two_errors_and_lies_in_its_interval(analysed: Path) -> None:
    rows = table(analysed, "holdout").filter(pl.col("method") == "cross-fitted")
    assert (rows["gap"] - (rows["eer_without"] - rows["eer_with"])).abs().max() < 1e-12
    known = rows.filter(pl.col("within_noise").is_not_null())
    assert (known["gap_low"] <= known["gap_high"]).all()
    assert ((known["gap_low"] > 0) | (known["gap_high"] < 0)).equals(~known["within_noise"])


def test_an_attack_whose_cue_no_other_has_is_lost_when_it_is_held_out(analysed: Path) -> None:
    rows = table(analysed, "holdout").filter(
        (pl.col("method") == "cross-fitted") & (pl.col("condition") == "clean") & (pl.col("embedder") == "spectral")
    )
    gaps = dict(rows.filter((pl.col("layer") == "log_mel") & (pl.col("held_by") == "attack")).select("held", "gap").iter_rows())
    assert gaps["C1"] > 0.2
    assert gaps["A1"] < 0.1  # A2 has the same cue, fainter


def test_one_embedder_under_two_names_differs_nowhere(analysed: Path) -> None:
    rows = table(analysed, "regimes").filter((pl.col("first") == "spectral") & (pl.col("second") == "spectral_copy"))
    assert rows.height == len(CUES)
    assert rows["difference"].abs().max() == rows["difference_low"].abs().max() == 0
    tests = table(analysed, "regime_tests")
    assert tests.filter(pl.col("second") == "spectral_copy")["mean_difference"].to_list() == [0]


def test_what_an_embedder_was_trained_on_taints_its_row_and_no_other(analysed: Path) -> None:
    rows = table(analysed, "cross_corpus")
    tainted = set(rows.filter(pl.col("contaminated"))["embedder"])
    assert tainted == {"spectral_copy"}
    said = facts(analysed)["contamination"]
    assert len(said) == 1 and "spectral_copy was trained on the very trials that it is tested on (table/all)" in said[0]
    assert said[0] in facts(analysed)["warnings"]


def test_predictors_of_identity_are_held_against_the_gap_of_their_own_layer(analysed: Path) -> None:
    rows = table(analysed, "association").filter((pl.col("held_by") == "attack") & (pl.col("embedder") == "spectral"))
    ours = rows.filter((pl.col("method") == "cross-fitted") & (pl.col("attacks") == "all"))
    assert {"cf_d_bona", "codelength", "few_shot", "margin"} <= set(ours["predictor"])
    assert set(ours.filter(pl.col("predictor") == "codelength")["layer"]) == {"lfcc", "log_mel"}
    reference = rows.filter(pl.col("method") == "reference")
    assert {"d_bona", "selectivity", "selectivity_raw", "knn_bona_frac"} <= set(reference["predictor"])
    assert ours.filter("primary")["predictor"].unique().to_list() == ["cf_d_bona"]


def test_probes_stand_beside_their_baselines_and_capacities(analysed: Path) -> None:
    rows = table(analysed, "probes").filter(pl.col("embedder") == "spectral")
    assert {"attack", "family", "codec", "speaker"} == set(rows["target"])
    stated = rows.filter((pl.col("layer") == "log_mel") & (pl.col("target") == "attack"))
    assert {"linear", "linear, C=0.01", "mlp, 32 components"} <= set(stated["probe"])
    assert {"codec", "speaker"} <= set(stated["within"].drop_nulls())
    random = rows.filter(pl.col("features") == "random")
    assert random["layer"].unique().to_list() == ["lfcc"]  # the same for every layer, so drawn once


def test_every_kind_of_confound_is_asked_about(analysed: Path) -> None:
    rows = table(analysed, "confounds")
    assert set(rows["question"]) == {
        *("decodable", "identity within", "matched bona fide", "source-disjoint", "shortcut", "trimmed")
    } - {"source-disjoint"}  # there are no source utterances to leak
    assert set(rows.filter(pl.col("question") == "shortcut")["embedder"]) == {""}
    level = rows.filter((pl.col("question") == "decodable") & (pl.col("target") == "codec"))
    assert (level["value_low"] < 0.5).any()  # codec was dealt in turn: there is nothing to find


def test_the_plan_is_sealed_and_its_digest_stands_in_the_page_s_facts(analysed: Path) -> None:
    sealed = json.loads((analysed / "retraining" / "plan.json").read_text())
    assert facts(analysed)["plan"]["digest"] == sealed["digest"]
    assert facts(analysed)["plan"]["text"]["held"] == [["A"], ["B"]]
    assert set(table(analysed, "masking")["plan"]) == {sealed["digest"][:12]}


def test_coverage_is_of_detectors_under_each_condition_and_of_heads_that_have_not_met_the_group(analysed: Path) -> None:
    rows = table(analysed, "coverage")
    detector = rows.filter(pl.col("scores_of") == "lfcc_gmm.builtin")
    assert detector["condition"].n_unique() == 3
    assert "held out, calibrated clean" in set(detector["variant"])
    assert set(rows["scores_of"]) == {
        "lfcc_gmm.builtin",
        *(f"{name} + logistic" for name in ("spectral", "spectral_copy", "lfcc_cnn.builtin")),
    }
    assert (rows["target"] - 0.05).abs().max() < 1e-9


def test_analysing_again_gives_the_same_bytes_and_drops_what_is_no_longer_asked(analysed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(analysed.parent, folder)
    for file in (folder / "recipe.toml", folder / "run" / "recipe.toml"):
        file.write_text(file.read_text().replace(str(analysed.parent), str(folder)))
    assert main(["analyse", str(folder / "recipe.toml"), "--plan", "", "--train-corpus", ""]) == 0
    for name in ("holdout", "association", "probes", "coverage", "few_samples", "regimes"):
        assert (folder / "run" / "tables" / f"{name}.csv").read_bytes() == (analysed / "tables" / f"{name}.csv").read_bytes()
    for name in ("masking", "cross_corpus"):
        assert not (folder / "run" / "tables" / f"{name}.csv").exists()
    assert facts(folder / "run")["plan"] is None


def test_a_plan_without_a_corpus_to_train_on_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_analysed(tmp_path)
    assert main(["analyse", str(recipe), "--train-corpus", ""]) == 2
    assert "train_corpus is empty" in capsys.readouterr().err


def test_findings_speak_of_gaps_controls_promises_and_foresight(analysed: Path) -> None:
    said = " ".join(facts(analysed)["findings"])
    for words in (
        "held-out values of attack lose more than noise",
        "the predictor stated beforehand",
        "Without hearing any speech",
    ):
        assert words in said
    assert re.search(r"promises to let 5.0 % of fakes through lets \d+\.\d % of new ones through", said)
    assert "the median of the others" in said


def test_a_leak_is_told_by_its_difference_and_only_where_it_was_measured() -> None:
    row = {
        "question": "source-disjoint",
        "embedder": "e",
        "layer": "l",
        "target": "speaker and source",
        "value": 0.28,
        "baseline": 0.15,
    }
    row |= {"difference": 0.13, "difference_low": 0.1, "difference_high": 0.16, "held": ""}
    (said,) = control_findings([row, row | {"value": float("nan")}, row | {"target": "source"}])
    assert "would have been 15.0 %; with neither it is 28.0 % (+13.0 points, +10.0 points to +16.0 points)" in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--layer", "nine"), "no embedder has the layer 'nine': spectral has lfcc, log_mel; "),
        (("--nuisances", "codek"), "no column 'codek'; the trials have"),
        (("--hold-out", "vocoder"), "no column 'vocoder'; the trials have"),
        (("--min-count", "1000"), r"no value of attack can be held out \(A1: 12 trials, fewer than min_count 1000; "),
        (("--folds", "50"), "too few for 50 folds"),
        (("--heads", "svm"), "no head 'svm'"),
    ],
)
def test_what_cannot_be_analysed_is_refused_before_anything_is(
    analysed: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], words: str
) -> None:
    before = (analysed / "analysis.json").read_bytes()
    assert main(["analyse", str(analysed.parent / "recipe.toml"), *flags]) != 0
    assert re.search(words, capsys.readouterr().err)
    assert (analysed / "analysis.json").read_bytes() == before
