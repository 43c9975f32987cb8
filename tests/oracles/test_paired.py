"""Errors under shared draws of speakers and seeds, against rows that are written out one resample at a time."""

import numpy as np
import polars as pl
import pytest

import spoofscope.analysis.retraining.paired as paired_module
from spoofscope.analysis.retraining.paired import Paired
from spoofscope.metrics.rates import auc, eer

SEEDS, REPLICATES = 3, 40


@pytest.fixture(scope="module")
def frame():
    """Six voices in both classes, two that only speak bona fide, one trial of nobody; two attacks."""
    rng = np.random.default_rng(5)
    rows = []
    for at in range(90):
        speaker = None if at == 7 else f"s{rng.integers(8)}"
        label = "bonafide" if speaker in ("s6", "s7") or rng.random() < 0.4 else "spoof"
        rows.append((label, "-" if label == "bonafide" else f"A{at % 2}", speaker))
    return pl.DataFrame(rows, schema=["label", "attack", "speaker"], orient="row")


@pytest.fixture(scope="module")
def scores(frame):
    rng = np.random.default_rng(6)
    return (frame["label"] == "bonafide").to_numpy() * 1.0 + rng.standard_normal((SEEDS, len(frame))).round(1)


def resampled_rows(frame, rng):
    """Draw one set of speakers, and list the rows of every speaker as often as it was drawn."""
    rows = [(label, speaker or row, row) for row, (label, speaker) in enumerate(frame.select("label", "speaker").iter_rows())]
    known = {}  # speakers are numbered as they are met, bona fide trials first
    for _, speaker, row in sorted(rows, key=lambda each: each[0] != "bonafide"):
        known.setdefault(speaker, []).append(row)
    speakers = list(known.values())
    return [row for at in rng.integers(len(speakers), size=len(speakers)) for row in speakers[at]]


def slow_errors(frame, measure, scores, spoof):
    rng = np.random.default_rng([0, 0])
    resamples = [list(range(len(frame)))] + [resampled_rows(frame, rng) for _ in range(REPLICATES)]
    is_bonafide = (frame["label"] == "bonafide").to_numpy()
    return np.array(
        [
            [
                measure([own[row] for row in rows if is_bonafide[row]], [own[row] for row in rows if spoof[row]])
                for rows in resamples
            ]
            for own in scores
        ]
    )


@pytest.mark.parametrize("attack", ["A0", "A1"])
@pytest.mark.parametrize("most_entries", [10**6, 100])
def test_every_error_is_that_of_the_rows_of_its_resample(frame, scores, attack, most_entries, monkeypatch):
    monkeypatch.setattr(paired_module, "MOST_ENTRIES", most_entries)
    paired = Paired(frame, seeds=SEEDS, replicates=REPLICATES, level=0.9)
    spoof = (frame["attack"] == attack).to_numpy()
    np.testing.assert_allclose(paired.errors("eer", scores, spoof), slow_errors(frame, eer, scores, spoof), atol=1e-12)
    lost = slow_errors(frame, lambda *sides: 1 - auc(*sides), scores, spoof)
    np.testing.assert_allclose(paired.errors("auc", scores, spoof), lost, atol=1e-12)


def test_resamples_spread_as_the_mean_over_trainings_does_even_with_three_of_them():
    """Speakers change nothing here; the mean of three values of variance 1 has variance 1/3, and draws of three would show 2/9."""
    rng = np.random.default_rng(8)
    frame = pl.DataFrame({"label": ["bonafide", "spoof"] * 2, "speaker": ["a", "a", "b", "b"]})
    paired = Paired(frame, seeds=SEEDS, replicates=2000, level=0.95)
    spreads = [paired.over_seeds(np.broadcast_to(rng.standard_normal((SEEDS, 1)), (SEEDS, 2001)))[1:].var() for _ in range(800)]
    assert np.mean(spreads) == pytest.approx(1 / 3, rel=0.15)
