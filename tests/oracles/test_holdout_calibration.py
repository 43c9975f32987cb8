"""The hold-out keeps what it promises on data whose truth is known."""

import numpy as np
import polars as pl

from spoofscope.analysis.cells import Resampling
from spoofscope.analysis.design import design_of
from spoofscope.analysis.heads import open_head
from spoofscope.analysis.holdout import GroupScores, cross_fitted_scores, gap_row, hold_out, plan_jobs
from spoofscope.metrics.intervals import ScorePair, bootstrap_contrast
from spoofscope.metrics.rates import eer
from tests.simulated import simulated_embeddings

RUNS = 400


def drawn(rng: np.random.Generator, speakers: int, takes: int) -> GroupScores:
    """Scores with and without the group; a voice moves all its trials, and does so differently for the two heads."""
    rows, without, with_group = [], [], []
    for label, moved in (("bonafide", (2.0, 1.2)), ("spoof", (0.0, 0.0))):
        voices = rng.standard_normal((2, speakers))
        for speaker in range(speakers):
            noise = rng.standard_normal((2, takes))
            with_group.append(moved[0] + voices[0, speaker] + 0.5 * noise[0])
            without.append(moved[1] + 0.5 * voices[0, speaker] + voices[1, speaker] + 0.5 * noise[1])
            rows += [
                {"trial_id": f"{label}{speaker}-{take}", "label": label, "speaker": f"s{speaker}"} for take in range(takes)
            ]
    frame = pl.DataFrame(rows).with_columns(source=pl.col("trial_id"))
    pair = ScorePair(np.zeros(1), np.zeros(1))
    return GroupScores(
        "X", frame, np.concatenate(without), np.concatenate(with_group), pair, pair, 1, ("speaker", "source"), np.empty(0)
    )


def true_gap() -> float:
    known, unknown = drawn(np.random.default_rng(12), 200_000, 1).pairs
    return eer(*unknown) - eer(*known)


def test_clustered_intervals_of_a_gap_cover_and_those_of_single_trials_do_not() -> None:
    truth = true_gap()
    covered = np.zeros(2)
    for run in range(RUNS):
        scores = drawn(np.random.default_rng((1, run)), 60, 8)
        for at, clusters in enumerate((scores.clusters(("speaker",)), None)):
            rng = np.random.default_rng(run)
            estimate = bootstrap_contrast("eer", scores.pairs, (-1, 1), clusters, rng=rng, replicates=300)
            covered[at] += estimate.low <= truth <= estimate.high
    clustered, single = covered / RUNS
    assert abs(clustered - 0.95) <= 0.03, clustered
    assert single < 0.85, single


def test_a_generator_like_the_others_has_a_gap_beyond_noise_no_more_often_than_promised() -> None:
    beyond = []
    head = open_head("logistic")
    for run in range(60):
        vectors, frame = simulated_embeddings(
            np.random.default_rng((2, run)), attacks={f"X{at}": (1.5,) for at in range(7)}, speakers=24, per_attack=3
        )
        design = design_of(frame, "attack", "simulated", folds=4, seed=run)
        for scores in hold_out(vectors, design, head, plan_jobs(design, min_count=5, seed=run)):
            row = gap_row(scores, ("speaker",), seed=run, resampling=Resampling(replicates=200, level=0.95))
            beyond.append(not row["within_noise"])
    allowed = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)  # the seven gaps of one run are far from independent
    assert np.mean(beyond) <= allowed, np.mean(beyond)


def test_speakers_on_both_sides_make_a_worthless_head_look_good() -> None:
    vectors, frame = simulated_embeddings(
        np.random.default_rng(3), attacks={"X1": ()}, speakers=40, per_speaker=6, per_attack=6, dim=40, speaker_spread=3.0
    )
    # Half of the voices are human, half are synthetic, and nothing else tells them apart.
    human = pl.col("speaker").str.slice(1).cast(pl.Int64) < 20
    kept = frame.with_row_index("row").filter((pl.col("label") == "bonafide") == human)
    vectors, frame = vectors[kept["row"].to_numpy()], kept.drop("row")
    errors = []
    for disjoint in (("speaker", "source"), ("source",)):
        design = design_of(frame, "attack", "simulated", folds=4, disjoint=disjoint)
        scores = cross_fitted_scores(vectors, design, open_head("logistic"))
        errors.append(eer(scores[design.is_bonafide], scores[~design.is_bonafide]))
    assert errors[0] > 0.3, errors
    assert errors[1] < 0.05, errors
