"""The reference study's grid of hold-out heads against scikit-learn, and permutations over predictors and layers.

    python -m benchmarks.holdout [--quick]

One layer of the grid is 13 attacks x 5 splits: 70 logistic regressions (per split one on everything, one without each attack) on 8,000 x 1,024
synthetic vectors, 10 % bona fide, with a covariance that decays as a power of the rank and a mean for each attack. scikit-learn's solver is timed on a few of the 70,
scaler included: as it comes (tolerance 1e-4, far from the optimum), and at the tolerance that reaches ours. Then 100,000 permutations of 10
predictors x 25 layers, each layer with a gap of its own, over 23 attacks.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.heads.logistic import fit_logistic
from spoofscope.analysis.study import reference_test_rows
from spoofscope.metrics.permutation import permutation_test

ATTACKS, SPLITS, LOOSE, TIGHT = 13, 5, 1e-4, 1e-6
Floats = NDArray[np.floating[Any]]


def grid(rows: int, dim: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_], NDArray[np.object_], Floats]:
    """Draw vectors, classes and attacks, and lay out the (rows, 70) training sets."""
    decay = np.arange(1, dim + 1) ** -0.7
    mix, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    shift = np.zeros((ATTACKS + 1, dim))
    shift[1:] = 0.9 * decay * (rng.standard_normal((ATTACKS, dim)) + 0.8 * rng.standard_normal(dim))
    group = np.concatenate((np.zeros(rows // 10, dtype=int), 1 + np.arange(rows - rows // 10) % ATTACKS))
    vectors = ((rng.standard_normal((rows, dim)) * decay + shift[group]) @ mix).astype(np.float32)
    held = np.array(["", *(f"A{number + 7:02}" for number in range(ATTACKS))], dtype=object)[group]
    is_bonafide = group == 0
    tests = [reference_test_rows(is_bonafide, held, seed) for seed in range(SPLITS)]
    masks = [~test & (held != left_out) for test in tests for left_out in ("none", *sorted(set(held) - {""}))]
    return vectors, is_bonafide, held, np.column_stack(masks).astype(float)


def gradient_norm(vectors: Floats, target: NDArray[np.bool_], coefficients: Floats, intercept: float) -> float:
    """Return the norm of the gradient of scikit-learn's objective (mean loss plus |b|^2 / (2 C n), C = 1)."""
    residual = 1 / (1 + np.exp(-(vectors @ coefficients + intercept))) - target
    gradient = vectors.T @ residual / len(vectors) + coefficients / len(vectors)
    return float(np.hypot(np.linalg.norm(gradient), residual.mean()))


def scikit_learn(
    vectors: Floats, is_bonafide: NDArray[np.bool_], mask: Floats, tolerance: float
) -> tuple[float, float, Floats]:
    """Fit one training set with the default solver: seconds, the norm of its gradient, and the scores of all rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rows = mask > 0
    own, target = vectors[rows], is_bonafide[rows]
    start = time.perf_counter()
    scaler = StandardScaler().fit(own)
    model = LogisticRegression(C=1.0, max_iter=20_000, tol=tolerance).fit(scaler.transform(own), target)
    seconds = time.perf_counter() - start
    exact = StandardScaler().fit(own.astype(np.float64))
    norm = gradient_norm(
        exact.transform(own.astype(np.float64)), target, model.coef_[0].astype(np.float64), float(model.intercept_[0])
    )
    return seconds, norm, model.decision_function(scaler.transform(vectors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 x 128 vectors and 2,000 permutations")
    options = parser.parse_args()
    rows, dim, permutations = (1_000, 128, 2_000) if options.quick else (8_000, 1_024, 100_000)
    rng = np.random.default_rng(0)
    vectors, is_bonafide, _, masks = grid(rows, dim, rng)
    count = masks.shape[1]
    fit_logistic(vectors[::20], is_bonafide[::20], np.ones(len(vectors[::20])))  # the first call reads the libraries
    start = time.perf_counter()
    fitted = fit_logistic(vectors, is_bonafide, masks)
    ours = (time.perf_counter() - start) / count
    scores = fitted.decision(vectors)
    print(
        f"{count} heads on {rows:,} x {dim:,}: {1e3 * ours:.1f} ms a fit, gradient norms below {fitted.gradient_norms.max():.1e}"
    )
    picked = range(0, count, count // 5)
    for name, tolerance in (("as it comes", LOOSE), ("at our optimum", TIGHT / 10)):
        found = [scikit_learn(vectors, is_bonafide, masks[:, column], tolerance) for column in picked]
        seconds, norms = np.mean([one[0] for one in found]), [one[1] for one in found]
        off = max(np.abs(one[2] - scores[:, column]).max() for one, column in zip(found, picked, strict=True))
        print(
            f"scikit-learn, {name}: {1e3 * seconds:.0f} ms a fit, {seconds / ours:.1f} times ours (aim: 15); "
            f"gradient norms up to {max(norms):.1e}, scores differ by up to {off:.2g} (their deviation: {scores.std():.2g})"
        )
    predictors, gaps = rng.standard_normal((23, 10, 25)), rng.standard_normal((23, 25))
    start = time.perf_counter()
    permutation_test(predictors, gaps, rng=rng, permutations=permutations)
    print(f"{permutations:,} permutations of 10 predictors x 25 layers: {time.perf_counter() - start:.2f} s (aim: 10)")


if __name__ == "__main__":
    main()
