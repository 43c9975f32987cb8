"""Clustered bootstrap of the equal error rate against scikit-learn's `roc_curve` per replicate.

    python -m benchmarks.bootstrap

Scores are drawn for the counts of ASVspoof 2021 LA, eval: 14,816 bona fide and 133,360 spoof trials, 67 speakers, 13 attacks.
Both sides draw the same speaker x attack weights, overall and for each attack; the scikit-learn side is timed on a few
replicates and scaled up. The time of encoding the clusters and sorting counts on our side.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from spoofscope.metrics.clusters import Cells, Clusters, clusters_of, draw_weights
from spoofscope.metrics.intervals import bootstrap
from spoofscope.metrics.resampled import CrossingEvaluator

N_BONAFIDE, N_SPOOF, N_SPEAKERS, N_ATTACKS = 14_816, 133_360, 67, 13
Scores = NDArray[np.float64]


def scores_and_columns(rng: np.random.Generator) -> tuple[Scores, Scores, list[str], list[str], NDArray[np.intp]]:
    """Normal scores with effects of speaker and attack; about 8 % pooled EER."""
    speaker_b, speaker_s = rng.integers(N_SPEAKERS, size=N_BONAFIDE), rng.integers(N_SPEAKERS, size=N_SPOOF)
    attack, effect = rng.integers(N_ATTACKS, size=N_SPOOF), rng.normal(0, 0.3, N_SPEAKERS)
    bonafide = rng.normal(3, 1, N_BONAFIDE) + effect[speaker_b]
    spoof = rng.normal(0, 1, N_SPOOF) + effect[speaker_s] + np.linspace(-0.5, 0.5, N_ATTACKS)[attack]
    return bonafide, spoof, [f"LA_{n:04}" for n in speaker_b], [f"LA_{n:04}" for n in speaker_s], attack


def fast(bonafide: Scores, spoof: Scores, clusters: Clusters, attack: NDArray[np.intp], replicates: int) -> list[float]:
    """Estimate the intervals overall and per attack; answers with their widths."""
    rng = np.random.default_rng(1)
    estimates = [bootstrap("eer", bonafide, spoof, clusters, rng=rng, replicates=replicates)]
    for number in range(N_ATTACKS):
        chosen = attack == number
        kept = clusters.take(slice(None), chosen)
        estimates.append(bootstrap("eer", bonafide, spoof[chosen], kept, rng=rng, replicates=replicates))
    return [estimate.high - estimate.low for estimate in estimates]


def slow_replicates(bonafide: Scores, spoof: Scores, clusters: Clusters, replicates: int) -> Scores:
    """Weigh every trial, call `roc_curve`, and interpolate the crossing, once per replicate."""
    from sklearn.metrics import roc_curve

    labels = np.repeat([1, 0], [len(bonafide), len(spoof)])
    scores = np.concatenate((bonafide, spoof))
    cells = Cells(clusters, "bonafide"), Cells(clusters, "spoof")
    drawn = draw_weights(clusters, replicates, np.random.default_rng(1))
    found = []
    for weights in zip(*(cell.weights(drawn) for cell in cells), strict=True):
        per_trial = np.concatenate([weight[cell.index] for weight, cell in zip(weights, cells, strict=True)])
        false_alarm, hit, _ = roc_curve(labels, scores, sample_weight=per_trial)
        found.append(np.interp(0, (1 - hit - false_alarm)[::-1], false_alarm[::-1]))
    return np.array(found)


def check_agreement(bonafide: Scores, spoof: Scores, clusters: Clusters, slow: Scores) -> None:
    """Refuse to compare the speed of two different answers."""
    cells = Cells(clusters, "bonafide"), Cells(clusters, "spoof")
    drawn = draw_weights(clusters, len(slow), np.random.default_rng(1))
    ours = CrossingEvaluator(bonafide, spoof, cells)(*(cell.weights(drawn) for cell in cells))
    np.testing.assert_allclose(ours, slow, rtol=0, atol=1e-9)


def main() -> None:
    """Time both sides and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000, help="replicates of the interval (default 1000)")
    parser.add_argument("--slow-replicates", type=int, default=5, help="replicates timed with scikit-learn (default 5)")
    settings = parser.parse_args()
    bonafide, spoof, speaker_b, speaker_s, attack = scores_and_columns(np.random.default_rng(0))

    def encode() -> Clusters:
        return clusters_of({"speaker": speaker_b}, {"speaker": speaker_s, "attack": attack})

    slow_replicates(bonafide[:100], spoof[:100], encode().take(slice(100), slice(100)), 1)  # import scikit-learn
    start = time.perf_counter()
    clusters = encode()
    fast(bonafide, spoof, clusters, attack, settings.replicates)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    overall = slow_replicates(bonafide, spoof, clusters, settings.slow_replicates)
    for number in range(N_ATTACKS):
        chosen = attack == number
        slow_replicates(bonafide, spoof[chosen], clusters.take(slice(None), chosen), settings.slow_replicates)
    theirs = (time.perf_counter() - start) * settings.replicates / settings.slow_replicates
    check_agreement(bonafide, spoof, clusters, overall)
    print(f"{settings.replicates} replicates of EER, overall and for {N_ATTACKS} attacks, {N_BONAFIDE + N_SPOOF:,} trials")
    print(f"spoofscope    {ours:8.2f} s")
    print(f"scikit-learn  {theirs:8.2f} s  (scaled up from {settings.slow_replicates} replicates)")
    print(f"ratio         {theirs / ours:8.0f}")


if __name__ == "__main__":
    main()
