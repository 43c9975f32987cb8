"""Every table of a run against a slow, obvious computation from its score files."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spoofscope import Audit, evaluate, read_recipe
from spoofscope.analysis.transfer import split_by_speaker
from tests.small import write_corpus, write_plugin, write_small_recipe

CONDITIONS = "['noise(\"white\", -15)', 'mp3(16)', 'windows(0.5)', 'trim_silence']"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write_corpus(folder / "corpus", speakers=6, seconds=0.9)
    write_plugin(folder)
    audit = Audit(read_recipe(write_small_recipe(folder, out=folder / "out", clips="4", conditions=CONDITIONS)))
    audit.score()
    evaluate(audit)
    return folder / "out"


def table(run: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(run / "tables" / f"{name}.csv", infer_schema_length=None)


def scores(run: Path, condition: str) -> pl.DataFrame:
    for folder in (run / "scores" / "flatness").iterdir():
        settings = json.loads((folder / "key.json").read_text())["condition"]
        steps = [step["name"] for step in settings["chain"]] + (["windows"] if settings["windows"] else [])
        if steps == ([] if condition == "clean" else [condition.split("(")[0]]):
            return pl.read_parquet(folder / "scores.parquet")
    raise AssertionError(condition)


def split(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    bonafide = frame["label"] == "bonafide"
    return frame.filter(bonafide)["score"].to_numpy(), frame.filter(~bonafide)["score"].to_numpy()


def slow_eer(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    """Walk along every threshold and interpolate where miss overtakes false alarm."""
    before = (0.0, 1.0)
    for threshold in [*np.unique(np.concatenate((bonafide, spoof))), np.inf]:
        after = (float(np.mean(bonafide < threshold)), float(np.mean(spoof >= threshold)))
        if after[0] >= after[1]:
            gap = (before[1] - before[0], after[0] - after[1])
            share = gap[0] / (gap[0] + gap[1]) if sum(gap) else 0.0
            return before[0] + share * (after[0] - before[0])
        before = after
    raise AssertionError("unreachable")


def test_the_error_of_every_condition_is_that_of_its_scores(run: Path) -> None:
    rows = table(run, "conditions")
    assert rows["condition"].to_list() == ["clean", 'noise("white", -15)', "mp3(16)", "windows(0.5)", "trim_silence"]
    for row in rows.iter_rows(named=True):
        bonafide, spoof = split(scores(run, row["condition"]))
        assert row["eer"] == pytest.approx(slow_eer(bonafide, spoof), abs=1e-9)
        assert row["auc"] == pytest.approx(np.mean(bonafide[:, None] > spoof) + np.mean(bonafide[:, None] == spoof) / 2)
        assert (row["n_bonafide"], row["n_spoof"], row["n_failed"]) == (24, 36, 0)
        assert row["eer_low"] <= row["eer"] <= row["eer_high"]


def test_a_difference_from_clean_is_paired(run: Path) -> None:
    rows = table(run, "conditions")
    clean = rows["eer"][0]
    assert rows["delta_eer"][0] is None
    for row in rows[1:].iter_rows(named=True):
        assert row["delta_eer"] == pytest.approx(row["eer"] - clean, abs=1e-9)
        assert row["within_noise"] == (row["delta_eer_low"] <= 0 <= row["delta_eer_high"])
    assert rows["delta_eer"][1] > 0.05, "deep noise has to hurt, or no sign is tested"
    widths = rows["delta_eer_high"] - rows["delta_eer_low"]
    alone = (rows["eer_high"] - rows["eer_low"])[0]
    assert widths[2] < alone, "pairing gains nothing: MP3 hardly changes a score"


def test_the_frozen_threshold_comes_from_other_speakers(run: Path) -> None:
    rows = table(run, "transfer")
    frozen = rows.filter((pl.col("condition") == "clean") & (pl.col("operating_point") == "eer")).row(0, named=True)
    assert rows.filter(pl.col("operating_point") == "eer")["threshold"].n_unique() == 1
    clean = scores(run, "clean")
    development = split_by_speaker(clean, 0)
    seen, held_out = clean.filter(development), clean.filter(~development)
    assert set(seen["speaker"]).isdisjoint(held_out["speaker"])
    assert frozen["threshold"] in seen["score"].to_list()
    assert (frozen["n_bonafide"], frozen["n_spoof"]) == (_count(held_out, "bonafide"), _count(held_out, "spoof"))
    for half, prefix in ((held_out, ""), (seen, "development_")):
        bonafide, spoof = split(half)
        assert frozen[f"{prefix}miss"] == np.mean(bonafide < frozen["threshold"])
        assert frozen[f"{prefix}false_alarm"] == np.mean(spoof >= frozen["threshold"])


def _count(frame: pl.DataFrame, label: str) -> int:
    return frame.filter(pl.col("label") == label).height


def test_an_attack_is_measured_against_all_bona_fide_speech(run: Path) -> None:
    rows = table(run, "breakdown").filter((pl.col("columns") == "attack") & (pl.col("condition") == "clean"))
    bonafide, _ = split(scores(run, "clean"))
    assert rows["group"].to_list() == ["X1", "X2"]
    for row in rows.iter_rows(named=True):
        spoof = scores(run, "clean").filter(pl.col("attack") == row["group"])["score"].to_numpy()
        assert row["eer"] == pytest.approx(slow_eer(bonafide, spoof), abs=1e-9)
        assert row["false_alarm"] == pytest.approx(np.mean(spoof >= row["threshold"]))


def test_a_group_below_the_least_count_says_so(run: Path) -> None:
    crossed = table(run, "breakdown").filter(pl.col("columns") == "speaker*attack")
    assert crossed.height and set(crossed["n_spoof"]) == {3}
    assert crossed["eer"].null_count() == 0
    assert crossed["group"][0] == "s0 x X1"


def test_histograms_count_every_trial_once(run: Path) -> None:
    counts = table(run, "histograms").group_by("condition", "label").agg(pl.col("count").sum())
    assert set(counts.filter(pl.col("label") == "bonafide")["count"]) == {24}
    assert set(counts.filter(pl.col("label") == "spoof")["count"]) == {36}


def test_the_det_curve_runs_from_corner_to_corner(run: Path) -> None:
    curve = table(run, "det").filter(pl.col("condition") == "clean")
    assert (curve["miss"][0], curve["false_alarm"][0]) == (0, 1) and (curve["miss"][-1], curve["false_alarm"][-1]) == (1, 0)
    assert curve["miss"].is_sorted() and curve["false_alarm"].is_sorted(descending=True)


def test_the_worst_clips_are_the_worst_and_can_be_heard(run: Path) -> None:
    import soundfile

    rows = table(run, "worst").filter(pl.col("condition") == "clean")
    clean = scores(run, "clean")
    for row in rows.iter_rows(named=True):
        same = clean.filter(pl.col("label") == row["label"])["score"]
        threshold, score = row["threshold"], row["score"]
        assert score < threshold if row["label"] == "bonafide" else score >= threshold
        better = (same < score).sum() if row["label"] == "bonafide" else (same > score).sum()
        assert better < rows.height
        audio, rate = soundfile.read(run / row["clip"])
        assert rate == 16_000 and len(audio) == 14_400


def test_noise_is_measured_as_it_was_asked(run: Path) -> None:
    rows = table(run, "measured").filter((pl.col("condition") == 'noise("white", -15)') & (pl.col("quantity") == "snr_db"))
    assert rows["median"][0] == pytest.approx(-15, abs=0.1) and rows["n"][0] == 60


def test_the_run_says_what_was_evaluated(run: Path) -> None:
    described = json.loads((run / "run.json").read_text())
    assert described["trials"]["n_bonafide"] == 24 and described["trials"]["n_speakers"] == 6
    assert described["detectors"][0]["name"] == "flatness"
    assert described["versions"]["spoofscope"] and described["seconds"]["score"] >= 0


def test_a_detector_heard_on_its_training_trials_is_called_out(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", speakers=4, seconds=0.5)
    plugin = write_plugin(tmp_path)
    plugin.write_text(
        plugin.read_text()
        .replace('name="flatness"', 'name="learned", trained_on=("folder/all",)')
        .replace("Flatness", "Learned")
    )
    recipe = write_small_recipe(tmp_path, out=tmp_path / "out", detector="learned", conditions="[]", clips="0")
    audit = Audit(read_recipe(recipe))
    audit.score()
    evaluate(audit)
    (warning,) = json.loads((tmp_path / "out" / "run.json").read_text())["warnings"]
    assert "learned was trained on these very trials (folder/all)" in warning


def test_a_detector_that_reads_backwards_is_called_out_and_left_alone(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", speakers=4, seconds=0.5)
    plugin = write_plugin(tmp_path)
    turned = plugin.read_text().replace('name="flatness"', 'name="backwards"').replace("return -np.exp", "return np.exp")
    plugin.write_text(turned)
    recipe = write_small_recipe(tmp_path, out=tmp_path / "out", detector="backwards", conditions="[]", clips="0")
    audit = Audit(read_recipe(recipe))
    audit.score()
    (warning,) = evaluate(audit)
    assert "below 0.5" in warning and all(cause in warning for cause in ("polarity", "padding", "pre-emphasis"))
    assert table(tmp_path / "out", "conditions")["auc"][0] < 0.5
