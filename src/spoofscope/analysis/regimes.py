"""Two representations of the same trials, compared group by group: frozen and fine-tuned, mean and mean with deviation, one encoder and another.

A group that either representation has met in its training says nothing about generalisation; such groups are marked, and left out of a second test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.cells import Resampling, with_interval
from spoofscope.analysis.holdout import GroupScores, within_noise
from spoofscope.metrics.correlations import spearman
from spoofscope.metrics.intervals import bootstrap_contrast

Floats = NDArray[np.float64]
MOST_EXACT = 16
"""Groups up to which all 2^n signs are gone through."""


def contrast_row(
    first: GroupScores, second: GroupScores, clusters: Sequence[str], *, seed: int, resampling: Resampling
) -> dict[str, Any]:
    """Return how much larger the gap of a group is in a second representation, paired.

    Both must come from one design and plan, so that the trials and their order are the same.
    """
    contrast = bootstrap_contrast(
        "eer",
        (*first.pairs, *second.pairs),
        (1, -1, -1, 1),
        first.clusters(clusters),
        rng=np.random.default_rng(seed),
        **resampling,
    )
    return with_interval("difference", contrast) | {"within_noise": within_noise(contrast), "note": contrast.note}


def compare_gaps(
    first: Floats, second: Floats, *, permutations: int, replicates: int, level: float, seed: int
) -> dict[str, Any]:
    """Test whether the gaps of the same groups differ on the whole between two representations.

    Returns
    -------
    dict
        The mean difference with its bootstrap interval over groups, the two-sided p of the sign-flip test, and Spearman's rho of the
        two: whether the same groups are the different ones.
    """
    shuffling, resampling = np.random.default_rng(seed).spawn(2)
    difference = second - first
    draws = resampling.integers(len(difference), size=(replicates, len(difference)))
    low, high = np.quantile(difference[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return {
        "n_attacks": len(difference),
        "mean_difference": float(difference.mean()),
        "mean_difference_low": float(low),
        "mean_difference_high": float(high),
        "p": sign_flip_p(difference, permutations=permutations, rng=shuffling),
        "rho": float(spearman(first[:, None], second)[0]),
        "note": "",
    }


def sign_flip_p(difference: Floats, *, permutations: int, rng: np.random.Generator) -> float:
    """Return the two-sided p of a mean difference of 0, every difference as likely to have the other sign.

    All signs of up to sixteen differences are gone through; of more, `permutations` random ones, the one seen counting as one of them (Fisher,
    "The Design of Experiments", 1935, section 21; Phipson and Smyth 2010).
    """
    n = len(difference)
    exact = n <= MOST_EXACT
    codes = np.arange(2**n)[:, None] >> np.arange(n) & 1 if exact else rng.integers(2, size=(permutations, n))
    sums = np.abs((1 - 2 * codes) @ difference)
    as_large = int((sums >= abs(difference.sum()) - 1e-12).sum())
    return as_large / len(codes) if exact else (as_large + 1) / (permutations + 1)
