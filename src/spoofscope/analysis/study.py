"""The reference study's leave-one-attack-out as published, for repeating it; `holdout` is what should be believed.

Its rows are split at random: a speaker, and an utterance sent through two codecs, may stand on both sides; the two heads have different numbers
of rows; and the five splits overlap, so that their standard deviation is not a standard error. `method = "reference"` gives these figures beside
the cross-fitted ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.design import Mask
from spoofscope.analysis.heads.logistic import fit_logistic
from spoofscope.metrics.rates import eer

REFERENCE = "reference"
SEEDS = range(5)
TEST_SHARE = 0.3
LAYER = "9"


def reference_test_rows(is_bonafide: Mask, held: NDArray[np.object_], seed: int, share: float = TEST_SHARE) -> Mask:
    """Draw the test rows of one split: `max(1, round(share * n))` of bona fide and of every group, at random."""
    rng = np.random.default_rng(seed)
    test = np.zeros(len(is_bonafide), dtype=bool)
    for rows in [
        np.flatnonzero(is_bonafide),
        *(np.flatnonzero(held == group) for group in sorted(set(held[~is_bonafide]) - {""})),
    ]:
        test[rng.permutation(rows)[: max(1, round(share * len(rows)))]] = True
    return test


def reference_hold_out(
    vectors: NDArray[np.float32], is_bonafide: Mask, held: NDArray[np.object_], *, seeds: Sequence[int] = SEEDS, c: float = 1.0
) -> list[dict[str, Any]]:
    """Repeat the study's leave-one-attack-out on one layer.

    Heads are L2 logistic regressions on standardised vectors (C = 1, classes unweighted); the score is the probability of bona
    fide; `gap` is the mean over the splits of EER without the group less EER with it.

    Parameters
    ----------
    vectors : (n, d) float array
    is_bonafide : (n,) bool array
    held : (n,) array
        The group of each spoof row.

    Returns
    -------
    list of dict
        Rows of holdout.csv, less what names the space and the head; groups with fewer than two test rows are skipped, as in
        the study.
    """
    groups = sorted(set(held[~is_bonafide]) - {""})
    tests = [reference_test_rows(is_bonafide, held, seed) for seed in seeds]
    masks = [~test & ~(held == group) for test in tests for group in [None, *groups]]
    weights = np.column_stack(masks).astype(np.float64)
    log_odds = fit_logistic(vectors, is_bonafide, weights, c=c).decision(vectors)
    chance = 0.5 * (1 + np.tanh(log_odds / 2))
    rows = []
    for at, group in enumerate(groups, 1):
        errors = []
        for split, test in enumerate(tests):
            first = split * (len(groups) + 1)
            bonafide, own = test & is_bonafide, test & (held == group)
            if own.sum() >= 2:
                errors.append([eer(chance[bonafide, place], chance[own, place]) for place in (first, first + at)])
        if not errors:
            continue
        known, unknown = np.array(errors).T
        rows.append(
            {
                "method": REFERENCE,
                "held": group,
                "n_bonafide": int((tests[0] & is_bonafide).sum()),
                "n_spoof": int((tests[0] & (held == group)).sum()),
                "eer_with": float(known.mean()),
                "eer_without": float(unknown.mean()),
                "gap": float((unknown - known).mean()),
                "gap_std": float((unknown - known).std(ddof=1)) if len(errors) > 1 else None,
                "disjoint": "nothing",
                "note": "random splits of rows; heads of different sizes; no interval",
            }
        )
    return rows
