"""Controls must find a confound that was planted, and must not find one where there is none."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from spoofscope.analysis.confounds import (
    compared,
    decodability_rows,
    identity_rows,
    leak_rows,
    matched_distances,
    matched_rows,
    matched_weights,
)
from spoofscope.analysis.design import design_of
from spoofscope.analysis.heads.logistic import fit_logistic
from spoofscope.errors import NotEnoughTrials, TrialsError
from spoofscope.metrics.intervals import ScorePair
from spoofscope.metrics.rates import eer

RESAMPLING = {"replicates": 200, "level": 0.95}
ATTACKS = tuple(f"A{at}" for at in range(6))
DIM = 10


@dataclass(frozen=True)
class Plain:
    """A logistic regression as a head."""

    name: str = "logistic"

    def fit_score(self, vectors, is_bonafide, weights):
        return fit_logistic(vectors, is_bonafide, weights).decision(vectors)


def corpus(mix, *, seed=0, speakers=20, each=3):
    """Bona fide speech and attacks by every speaker; `mix` is the share of each that went through the second codec."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "label": "bonafide" if attack == "-" else "spoof",
            "attack": attack,
            "speaker": f"s{speaker}",
            "source": f"{attack}-{speaker}-{take}",
            "codec": "opus" if rng.random() < share else "none",
        }
        for attack, share in mix.items()
        for speaker in range(speakers)
        for take in range(each * (4 if attack == "-" else 1))
    ]
    return pl.DataFrame(rows)


def confounded(seed=0):
    """Attacks that differ from each other and from bona fide speech in their codecs alone."""
    frame = corpus({"-": 0.3} | dict(zip(ATTACKS, (0.02, 0.15, 0.35, 0.6, 0.8, 0.98), strict=True)), seed=seed)
    rng = np.random.default_rng(seed + 1000)
    return frame, rng.normal(size=(frame.height, DIM)) + 4 * (frame["codec"] == "opus").to_numpy()[:, None] * np.eye(DIM)[0]


def sound(seed=0):
    """Attacks that differ in themselves, and codecs that all have alike."""
    frame = corpus(dict.fromkeys(("-", *ATTACKS), 0.5), seed=seed)
    rng = np.random.default_rng(seed + 1000)
    vectors = rng.normal(size=(frame.height, DIM)) + 4 * (frame["codec"] == "opus").to_numpy()[:, None] * np.eye(DIM)[0]
    for at, attack in enumerate(ATTACKS):
        vectors[(frame["attack"] == attack).to_numpy(), at + 1] += 2
    return frame, vectors


def by_group(rows):
    return {row["held"]: row for row in rows}


def test_an_identity_that_is_the_codec_s_vanishes_within_a_codec() -> None:
    rows = by_group(identity_rows(*reversed(confounded()), "attack", "codec", resampling=RESAMPLING))
    for row in (rows["A0"], rows["A5"]):
        assert row["baseline"] > 0.65
        assert row["value_low"] < 0.5 < row["value_high"]
        assert row["difference_high"] < -0.05
    assert rows[""]["value_low"] < 0.5 < rows[""]["value_high"]
    assert rows[""]["difference_high"] < 0


def test_an_identity_that_is_the_attack_s_own_stays_within_a_codec() -> None:
    found = [by_group(identity_rows(*reversed(sound(seed)), "attack", "codec", resampling=RESAMPLING)) for seed in range(12)]
    assert all(row["value_low"] > 0.6 for rows in found for row in rows.values())
    alarms = [row["difference_high"] < 0 for rows in found for held, row in rows.items() if held]
    assert np.mean(alarms) <= 0.1


def test_a_group_that_is_alone_in_its_codec_has_no_value_and_says_why() -> None:
    frame, vectors = sound()
    frame = frame.with_columns(codec=pl.when(pl.col("attack") == "A1").then(pl.lit("gsm")).otherwise("codec"))
    rows = by_group(identity_rows(vectors, frame, "attack", "codec", resampling=RESAMPLING))
    assert np.isnan(rows["A1"]["value"])
    assert "no value of codec holds" in rows["A1"]["note"]
    assert np.isfinite(rows["A2"]["value"])
    assert np.isfinite(rows[""]["value"])


def test_distance_that_is_the_codec_s_vanishes_with_matched_bona_fide_speech() -> None:
    frame, vectors = confounded()
    table = matched_distances(vectors, design_of(frame, "attack", "planted"), ["codec"])
    raw, matched = (dict(zip(table["held"], table[name], strict=True)) for name in ("raw", "matched"))
    assert raw["A5"] > 1.1 > raw["A4"] > 0.8
    assert all(matched[attack] < 0.55 for attack in ATTACKS)
    gaps = {attack: -raw[attack] for attack in ATTACKS}
    overall = matched_rows(table, gaps, ["codec"], resampling=RESAMPLING)[0]
    assert overall["baseline"] == pytest.approx(-1)
    assert overall["value"] > -0.9
    assert overall["difference"] == pytest.approx(overall["value"] + 1)


def test_distance_that_is_the_attack_s_own_is_the_same_with_matched_bona_fide_speech() -> None:
    differences = []
    for seed in range(12):
        frame, vectors = sound(seed)
        table = matched_distances(vectors, design_of(frame, "attack", "sound"), ["codec"])
        differences.append((table["matched"] - table["raw"]).to_numpy())
    assert abs(np.mean(differences)) < 0.03
    assert np.abs(differences).max() < 0.35


def test_matching_takes_off_what_fewer_rows_put_on() -> None:
    """All codecs sound alike; one that is rare in bona fide speech leaves few effective rows, which must not look like distance."""
    gains = []
    for seed in range(20):
        frame = corpus({"-": 0.04, "A0": 0.96}, seed=seed)
        vectors = (
            np.random.default_rng(seed).normal(size=(frame.height, 40)) + 0.3 * (frame["label"] == "spoof").to_numpy()[:, None]
        )
        table = matched_distances(vectors, design_of(frame, "attack", "rare"), ["codec"])
        assert table["effective_n"][0] < 20
        gains.append(table["matched"][0] - table["raw"][0])
    assert abs(np.mean(gains)) < 0.15


def test_matched_rows_has_a_row_for_the_association_and_one_for_each_group() -> None:
    frame, vectors = sound()
    table = matched_distances(vectors, design_of(frame, "attack", "sound"), ["codec"])
    gaps = {attack: float(at) for at, attack in enumerate(ATTACKS)} | {"A0": float("nan")}
    rows = matched_rows(table, gaps, ["codec", "speaker"], resampling=RESAMPLING)
    assert [row["held"] for row in rows] == ["", *ATTACKS]
    assert rows[0]["n"] == 5
    assert rows[0]["target"] == "codec x speaker"
    assert rows[0]["value_low"] <= rows[0]["value"] <= rows[0]["value_high"]
    assert rows[1]["baseline"] == table["raw"][0]


def test_distances_that_matching_does_not_change_have_a_difference_of_0_in_every_resample() -> None:
    frame, vectors = sound()
    table = matched_distances(vectors, design_of(frame, "attack", "sound"), ["codec"]).with_columns(matched="raw")
    row = matched_rows(table, {attack: float(at % 4) for at, attack in enumerate(ATTACKS)}, ["codec"], resampling=RESAMPLING)[0]
    assert row["value"] == row["baseline"]
    assert (row["difference_low"], row["difference"], row["difference_high"]) == (0, 0, 0)
    assert row["value_low"] < row["value_high"]


def test_three_groups_have_no_association() -> None:
    frame, vectors = sound()
    table = matched_distances(vectors, design_of(frame, "attack", "sound"), ["codec"])
    row = matched_rows(table, {"A1": 1.0, "A2": 2.0, "A3": 0.0}, ["codec"], resampling=RESAMPLING)[0]
    assert np.isnan(row["value"])
    assert "a correlation needs 4" in row["note"]


def test_matched_weights_have_the_group_s_mix_exactly() -> None:
    frame = corpus({"-": 0.2, "A0": 0.7}).with_columns(line=pl.Series(np.random.default_rng(0).choice(["a", "b", "c"], 300)))
    held, bonafide = ((frame["label"] == label).to_numpy() for label in ("spoof", "bonafide"))
    match = matched_weights(frame, held, bonafide, ["codec", "line"])
    cell = (frame["codec"] + frame["line"]).to_numpy()
    for value in set(cell):
        assert match.weights[cell == value].sum() == pytest.approx((cell[held] == value).mean())
    assert match.weights.sum() == pytest.approx(1)
    assert (match.weights[~bonafide] == 0).all()
    assert match.kept.tolist() == held.tolist()
    assert match.note == ""


def test_equal_mixes_cost_no_effective_row() -> None:
    frame = corpus({"-": 0.5, "A0": 0.5})
    bonafide = (frame["label"] == "bonafide").to_numpy()
    match = matched_weights(frame, bonafide, bonafide, ["codec"])
    assert match.effective_n == pytest.approx(bonafide.sum())


def test_trials_without_a_counterpart_are_left_out_and_counted() -> None:
    frame = corpus({"-": 0.0, "A0": 0.5})
    held, bonafide = ((frame["label"] == label).to_numpy() for label in ("spoof", "bonafide"))
    match = matched_weights(frame, held, bonafide, ["codec"])
    opus = (frame["codec"] == "opus").to_numpy()
    assert match.kept.tolist() == (held & ~opus).tolist()
    assert match.note.startswith(f"{(held & opus).sum()} of its {held.sum()} trials")
    assert match.effective_n == pytest.approx(bonafide.sum())


def test_a_group_without_any_counterpart_is_refused_and_has_no_matched_distance() -> None:
    frame, vectors = sound()
    frame = frame.with_columns(codec=pl.when(pl.col("attack") == "A1").then(pl.lit("gsm")).otherwise("codec"))
    held, bonafide = (frame["attack"] == "A1").to_numpy(), (frame["label"] == "bonafide").to_numpy()
    with pytest.raises(NotEnoughTrials, match="no bona fide trial has the codec"):
        matched_weights(frame, held, bonafide, ["codec"])
    row = matched_distances(vectors, design_of(frame, "attack", "x"), ["codec"]).row(1, named=True)
    assert np.isnan(row["matched"])
    assert np.isfinite(row["raw"])


def test_what_is_unknown_is_matched_with_what_is_unknown() -> None:
    frame = corpus({"-": 0.5, "A0": 1.0}).with_columns(codec=pl.when(pl.col("codec") == "none").then("codec"))
    held, bonafide = ((frame["label"] == label).to_numpy() for label in ("spoof", "bonafide"))
    unknown = frame["codec"].is_null().to_numpy()
    match = matched_weights(frame, held, bonafide, ["codec"])
    assert match.weights[bonafide & unknown].sum() == pytest.approx(0 if not (held & unknown).any() else (unknown[held]).mean())
    with pytest.raises(TrialsError, match="no column 'line'"):
        matched_weights(frame, held, bonafide, ["line"])


def test_a_codec_that_only_the_class_carries_is_not_decodable_in_either_class() -> None:
    found = []
    for seed in range(10):
        frame = corpus({"-": 0.2} | dict.fromkeys(ATTACKS, 0.8), seed=seed)
        vectors = np.random.default_rng(seed).normal(size=(frame.height, DIM))
        vectors[(frame["label"] == "spoof").to_numpy(), 0] += 5
        found.append([row["value"] for row in decodability_rows(vectors, frame, ["codec"], resampling=RESAMPLING)])
    assert np.abs(np.mean(found, axis=0) - 0.5).max() < 0.05


def test_a_codec_that_is_encoded_is_decodable_in_both_classes() -> None:
    frame, vectors = sound()
    rows = decodability_rows(vectors, frame, ["codec", "speaker", "label"], resampling=RESAMPLING)
    assert [(row["target"], row["held"]) for row in rows][:2] == [("codec", "bonafide"), ("codec", "spoof")]
    assert all(row["value_low"] > 0.9 for row in rows[:2])
    assert all(abs(row["value"] - row["baseline"]) < 0.1 for row in rows[2:4])
    assert [row["n_classes"] for row in rows[2:4]] == [20, 20]
    assert all(np.isnan(row["value"]) and "fewer than two classes" in row["note"] for row in rows[4:])


def leaking(strength, seed=0):
    """Each speaker is of one class; vectors hold the speaker, and a little of the class."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(40), 10)
    spoof = speaker % 2 == 1
    frame = pl.DataFrame(
        {
            "label": np.where(spoof, "spoof", "bonafide"),
            "attack": np.where(spoof, "A1", "-"),
            "speaker": [f"s{s}" for s in speaker],
            "source": [f"u{at}" for at in range(400)],
        }
    )
    voices = strength * rng.normal(size=(40, 30))[speaker]
    return frame, (voices + rng.normal(size=(400, 30)) + spoof[:, None] * 0.3).astype(np.float32)


def test_known_speakers_make_the_error_smaller_and_the_difference_says_by_how_much() -> None:
    frame, vectors = leaking(2.0)
    by_source, by_both = leak_rows(vectors, frame, "attack", Plain(), clusters=["speaker"], resampling=RESAMPLING)
    assert (by_source["target"], by_both["target"]) == ("source", "speaker and source")
    assert by_both["difference_low"] > 0.1
    assert by_both["value"] - by_both["baseline"] == pytest.approx(by_both["difference"])
    assert by_source["difference_low"] < 0.05


def test_without_speaker_effects_nothing_leaks() -> None:
    found = []
    for seed in range(10):
        frame, vectors = leaking(0.0, seed)
        found.append(leak_rows(vectors, frame, "attack", Plain(), clusters=["speaker"], resampling=RESAMPLING)[1])
    assert abs(np.mean([row["difference"] for row in found])) < 0.02
    assert np.mean([row["difference_low"] > 0 for row in found]) <= 0.2


def test_too_few_speakers_for_the_folds_is_a_note_and_no_error() -> None:
    frame, vectors = leaking(0.0)
    frame = frame.with_columns(speaker=pl.col("label"))
    rows = leak_rows(vectors, frame, "attack", Plain(), clusters=["speaker"], resampling=RESAMPLING)
    assert np.isfinite(rows[0]["value"])
    assert np.isnan(rows[1]["value"])
    assert "too few for 5 folds" in rows[1]["note"]


def test_compared_gives_both_error_rates_and_their_paired_difference() -> None:
    rng = np.random.default_rng(0)
    first = ScorePair(rng.normal(1, 1, 50), rng.normal(0, 1, 80))
    second = ScorePair(first.bonafide + 1, first.spoof)
    row = compared(first, second, None, RESAMPLING, 0)
    assert (row["value"], row["baseline"]) == (eer(*second), eer(*first))
    assert row["difference_high"] < 0
    assert row["n"] == 130
