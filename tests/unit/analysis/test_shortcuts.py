"""What a recording gives away without being listened to, and what trimming its silence takes away."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from spoofscope.analysis.design import design_of
from spoofscope.analysis.shortcuts import (
    SHORTCUTS,
    Features,
    features_of,
    measure_recordings,
    shortcut_rows,
    shortcut_scores,
    trimmed_rows,
)
from spoofscope.degradations.trim_silence import TrimSilence
from spoofscope.metrics.rates import eer
from spoofscope.scores import OK
from spoofscope.trials import Trials

RATE = 16_000
RESAMPLING = {"replicates": 200, "level": 0.95}


def noise(seconds: float, *, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def test_duration_and_silence_at_both_ends_are_measured_in_seconds() -> None:
    found = features_of(np.concatenate((silence(0.5), noise(1), silence(0.25))))
    assert found.duration_s == 1.75
    assert found.leading_s == pytest.approx(0.5, abs=0.07)
    assert found.trailing_s == pytest.approx(0.25, abs=0.07)
    assert found.silence_ratio == pytest.approx(0.75 / 1.75, abs=0.02)


def test_silence_is_what_trimming_would_cut() -> None:
    audio = np.concatenate((silence(0.3), noise(0.8), silence(0.6)))
    kept = TrimSilence()(audio, RATE, np.random.default_rng(0))
    found = features_of(audio)
    assert found.leading_s + found.trailing_s == pytest.approx((len(audio) - len(kept)) / RATE)


def test_the_active_level_does_not_hear_the_silence_and_the_level_of_the_whole_does() -> None:
    alone, padded = features_of(noise(1)), features_of(np.concatenate((noise(1), silence(1))))
    assert padded.active_db == pytest.approx(alone.active_db, abs=0.1)
    assert padded.rms_db == pytest.approx(alone.rms_db - 10 * np.log10(2), abs=0.01)
    assert alone.rms_db == pytest.approx(-20, abs=0.2)


def test_a_louder_recording_has_a_higher_level_and_the_same_crest() -> None:
    quiet, loud = features_of(noise(1)), features_of(2 * noise(1))
    assert loud.rms_db - quiet.rms_db == pytest.approx(20 * np.log10(2), abs=1e-4)
    assert loud.crest_db == pytest.approx(quiet.crest_db, abs=1e-4)
    sine = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    assert features_of(sine).crest_db == pytest.approx(10 * np.log10(2), abs=0.01)


def test_bandwidth_is_where_the_spectrum_ends() -> None:
    from scipy.signal import butter, sosfilt

    narrow = sosfilt(butter(12, 3000, fs=RATE, output="sos"), noise(2)).astype(np.float32)
    assert 3000 <= features_of(narrow).bandwidth_hz < 5200
    assert features_of(noise(2)).bandwidth_hz == 8000


@pytest.mark.parametrize("audio", [silence(0.5), silence(1 / RATE), noise(1 / RATE), noise(0.01)], ids=len)
def test_silence_and_very_short_recordings_have_finite_features(audio) -> None:
    assert np.isfinite(features_of(audio)).all()


def write(folder: Path, names: list[str]) -> Trials:
    for at, name in enumerate(names):
        soundfile.write(folder / name, noise(0.2 + 0.1 * at, seed=at), RATE)
    frame = pl.DataFrame({"trial_id": names, "path": names, "label": ["bonafide"] * len(names)})
    return Trials(frame, folder, "some")


def test_every_recording_is_measured_and_one_that_cannot_be_read_says_why(tmp_path) -> None:
    trials = write(tmp_path, ["a.wav", "b.wav", "c.wav"])
    (tmp_path / "b.wav").write_bytes(b"not audio")
    table = measure_recordings(trials)
    assert table["trial_id"].to_list() == ["a.wav", "b.wav", "c.wav"]
    assert table["status"][0] == OK
    assert "not a readable sound file" in table["status"][1]
    assert table["duration_s"].to_list() == [0.2, None, 0.4]
    assert table.columns[2:] == list(Features._fields)


def measured(seed: int = 0, **shifts: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Features of noise for 20 speakers, bona fide and two attacks; `shifts` moves a feature of the spoof `A1` by standard deviations."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "label": "bonafide" if attack == "-" else "spoof",
            "attack": attack,
            "speaker": f"s{s}",
            "source": f"{attack}-{s}-{take}",
        }
        for attack in ("-", "A1", "A2")
        for s in range(20)
        for take in range(6)
    ]
    frame = pl.DataFrame(rows).with_columns(trial_id=pl.col("source"))
    values = rng.normal(size=(frame.height, len(Features._fields)))
    for name, shift in shifts.items():
        values[(frame["attack"] == "A1").to_numpy(), Features._fields.index(name)] += shift
    table = pl.DataFrame(values, schema=list(Features._fields), orient="row")
    return frame.select("trial_id").with_columns(status=pl.lit(OK)).hstack(table), frame


def rows_of(*tables: pl.DataFrame, **settings: int) -> dict[tuple[str, str], dict]:
    rows = shortcut_rows(*tables, "attack", clusters=["speaker"], resampling=RESAMPLING, **settings)
    return {(row["target"], row["held"]): row for row in rows}


def test_a_planted_shortcut_is_found_in_its_feature_and_its_group_and_nowhere_else() -> None:
    rows = rows_of(*measured(leading_s=4.0))
    assert rows["leading silence", "A1"]["value_high"] < 0.1
    assert rows["silence", "A1"]["value_high"] < 0.15
    assert rows["all", "A1"]["value_high"] < 0.2
    assert rows["leading silence", ""]["value_high"] < 0.45
    assert rows["leading silence", "A2"]["value_low"] > 0.3
    for target in ("duration", "level", "crest", "trailing silence", "bandwidth"):
        assert abs(rows[target, ""]["value"] - 0.5) < 0.12


def test_without_a_shortcut_few_intervals_lie_below_guessing() -> None:
    alarms = [row["value_high"] < 0.5 for seed in range(8) for row in rows_of(*measured(seed)).values()]
    assert np.mean(alarms) < 0.12


def test_a_middle_value_may_be_telling() -> None:
    tables = measured()
    frame = tables[1]
    spread = np.where(frame["label"] == "spoof", 0.2, 3.0)
    table = tables[0].with_columns(duration_s=pl.Series(np.random.default_rng(1).normal(size=frame.height) * spread))
    assert rows_of(table, frame)["duration", ""]["value"] < 0.25


def test_there_is_a_row_for_every_classifier_and_group_that_is_large_enough() -> None:
    table, frame = measured()
    rows = rows_of(table, frame)
    assert set(rows) == {(target, held) for target in SHORTCUTS for held in ("", "A1", "A2")}
    few = rows_of(table, frame, min_count=121)
    assert set(few) == {(target, "") for target in SHORTCUTS}


def test_what_was_not_measured_is_left_out_and_counted() -> None:
    table, frame = measured()
    table = table.with_columns(status=pl.when(pl.col("trial_id") == "A1-3-2").then(pl.lit("truncated")).otherwise("status"))
    row = rows_of(table, frame)["all", ""]
    assert row["n"] == frame.height - 1
    assert "1 recordings not measured" in row["note"]


def test_scores_of_a_fold_do_not_depend_on_the_fold() -> None:
    table, frame = measured(leading_s=1.0)
    design = design_of(frame, "attack", "planted")
    features = table.select(Features._fields).to_numpy()
    scores = shortcut_scores(features, design)
    swapped = features.copy()
    own = np.flatnonzero(design.fold == 1)
    swapped[own[0]] += 100
    again = shortcut_scores(swapped, design)
    np.testing.assert_array_equal(again[own[1:]], scores[own[1:]])


def test_trimming_is_compared_pair_by_pair_overall_and_for_each_group() -> None:
    _, frame = measured()
    design = design_of(frame, "attack", "planted")
    rng = np.random.default_rng(0)
    untrimmed = np.where(design.is_bonafide, 1.5, 0) + rng.normal(size=len(design))
    trimmed = untrimmed + np.where(design.held == "A1", 1.5, 0)
    rows = {row["held"]: row for row in trimmed_rows(untrimmed, trimmed, design, clusters=["speaker"], resampling=RESAMPLING)}
    assert list(rows) == ["", "A1", "A2"]
    assert rows["A1"]["difference_low"] > 0.1
    assert rows["A2"]["difference"] == 0
    for row in rows.values():
        assert row["value"] - row["baseline"] == pytest.approx(row["difference"])
    assert rows[""]["value"] == eer(trimmed[design.is_bonafide], trimmed[~design.is_bonafide])
