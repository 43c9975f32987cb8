"""Frozen thresholds, calibration, and the split that they are set on."""

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize

from spoofscope.analysis.transfer import calibrate, split_by_speaker, threshold_at, transfer
from spoofscope.errors import TrialsError
from spoofscope.metrics.costs import ASVSPOOF5, cllr, min_cllr
from spoofscope.metrics.rates import rates_at


def gaussian(rng: np.random.Generator, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(2 + shift, 1, 400), rng.normal(-1 + shift, 1.5, 900)


def test_a_frozen_threshold_does_what_counting_says() -> None:
    rng = np.random.default_rng(0)
    development, evaluated = gaussian(rng), gaussian(rng, shift=-1.5)
    threshold = threshold_at("eer", *development, ASVSPOOF5)
    (row,) = transfer(
        {"eer": threshold}, calibrate(*development), *evaluated, None, cost=ASVSPOOF5, seed=0, replicates=200, level=0.9
    )
    assert row.miss.value == np.mean(evaluated[0] < threshold)
    assert row.false_alarm.value == np.mean(evaluated[1] >= threshold)
    assert row.miss.low < row.miss.value < row.miss.high
    assert row.dcf.value >= row.min_dcf


def test_a_shift_of_all_scores_is_the_shift_of_the_threshold() -> None:
    rng = np.random.default_rng(1)
    bonafide, spoof = gaussian(rng)
    thresholds = {point: threshold_at(point, bonafide, spoof, ASVSPOOF5) for point in ("eer", "dcf", "false_alarm_1pct")}
    rows = transfer(
        thresholds,  # type: ignore[arg-type]
        calibrate(bonafide, spoof),
        bonafide - 3,
        spoof - 3,
        None,
        cost=ASVSPOOF5,
        seed=0,
        replicates=50,
        level=0.95,
    )
    assert [row.shift for row in rows] == pytest.approx([-3, -3, -3])
    assert all(row.miss.value > 0.5 for row in rows)


@pytest.mark.parametrize("n_spoof", [1, 50, 99, 100, 101, 1000])
def test_the_one_percent_point_lets_at_most_one_percent_through(n_spoof: int) -> None:
    rng = np.random.default_rng(n_spoof)
    bonafide, spoof = rng.normal(1, 1, 300), rng.normal(0, 1, n_spoof)
    threshold = threshold_at("false_alarm_1pct", bonafide, spoof, ASVSPOOF5)
    assert rates_at(bonafide, spoof, threshold).false_alarm <= 0.01
    below = np.max(np.concatenate((bonafide, spoof))[np.concatenate((bonafide, spoof)) < threshold])
    assert rates_at(bonafide, spoof, float(below)).false_alarm > 0.01


def test_calibration_is_the_affine_map_of_least_cllr() -> None:
    bonafide, spoof = gaussian(np.random.default_rng(2))
    bonafide, spoof = 5 * bonafide + 7, 5 * spoof + 7
    fit = calibrate(bonafide, spoof)
    best = minimize(lambda at: cllr(at[0] * bonafide + at[1], at[0] * spoof + at[1]), [0.1, 0.0], method="Nelder-Mead")
    assert cllr(fit.apply(bonafide), fit.apply(spoof)) == pytest.approx(best.fun, abs=1e-4)
    assert min_cllr(bonafide, spoof) < cllr(fit.apply(bonafide), fit.apply(spoof)) < cllr(bonafide, spoof)


@pytest.mark.parametrize("scores", [([1.0, 2.0], [-1.0, 0.0]), ([3.0], [3.0]), ([1e6, 2e6], [-1e6])])
def test_calibration_stays_finite_where_classes_do_not_overlap_or_nothing_varies(
    scores: tuple[list[float], list[float]],
) -> None:
    fit = calibrate(np.array(scores[0]), np.array(scores[1]))
    assert np.isfinite(fit).all()


def trials(speakers: list[tuple[str | None, str]]) -> pl.DataFrame:
    rows = [(f"t{number}", speaker, label) for number, (speaker, label) in enumerate(speakers)]
    return pl.DataFrame(rows, schema={"trial_id": pl.String, "speaker": pl.String, "label": pl.String}, orient="row")


def test_the_split_shares_no_speaker_and_balances_both_classes() -> None:
    rng = np.random.default_rng(0)
    labels = ["bonafide"] * 120 + ["spoof"] * 400
    frame = trials([(f"s{rng.integers(40)}", label) for label in labels])
    mask = split_by_speaker(frame, 0)
    sides = frame.filter(mask), frame.filter(~mask)
    assert set(sides[0]["speaker"]).isdisjoint(sides[1]["speaker"])
    for label, total in (("bonafide", 120), ("spoof", 400)):
        assert 0.35 * total < (sides[0]["label"] == label).sum() < 0.65 * total


def test_trials_without_a_speaker_are_split_one_by_one() -> None:
    frame = trials([(None, label) for label in ["bonafide"] * 10 + ["spoof"] * 30])
    assert split_by_speaker(frame, 0).sum() == pytest.approx(20, abs=2)


def test_a_class_of_one_speaker_cannot_be_split() -> None:
    frame = trials([("a", "bonafide")] * 5 + [("b", "spoof")] * 5 + [("c", "spoof")] * 5)
    with pytest.raises(TrialsError, match="Name a development protocol with --development"):
        split_by_speaker(frame, 0)
