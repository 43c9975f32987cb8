"""A probe that is more than linear: a network with one hidden layer, fitted to all classes at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.heads.logistic import Floats

DECAY, STEPS = 1e-3, 200


def network_decision(
    vectors: Floats, codes: NDArray[np.intp], train: NDArray[np.bool_], n_classes: int, hidden: int, *, seed: int = 0
) -> Floats:
    """Fit a hidden layer of tanh units and a softmax, the classes weighing the same, and decide on every row.

    Columns are divided by one number, so that the first principal component stays the widest. The descent is L-BFGS from seeded weights.

    Parameters
    ----------
    vectors : (n, d) float array
    codes : (n,) int array
        Class of each row, from 0; every one is present in training.
    train : (n,) bool array
        The rows that are learnt from.
    n_classes, hidden : int
        Number of classes, and of hidden units.

    Returns
    -------
    (n, n_classes) float array
        Logarithm of each class's probability, up to a constant of the row.
    """
    from scipy.optimize import minimize

    whole = np.column_stack((vectors / vectors[train].std(), np.ones(len(vectors))))
    rng = np.random.default_rng(seed)
    shapes = (whole.shape[1], hidden), (hidden + 1, n_classes)
    start = np.concatenate([(rng.standard_normal(shape) / np.sqrt(shape[0])).ravel() for shape in shapes])
    targets = np.eye(n_classes)[codes[train]]
    targets /= n_classes * targets.sum(axis=0)
    found = minimize(loss, start, (whole[train], targets, hidden), "L-BFGS-B", jac=True, options={"maxiter": STEPS})
    answer: Floats = _units_and_logits(found.x, whole, n_classes, hidden)[1]
    return answer


def loss(weights: Floats, rows: Floats, targets: Floats, hidden: int) -> tuple[float, Floats]:
    """Return the cross-entropy, `targets` being one-hot rows times their weights, plus the penalty; and its gradient."""
    units, logits = _units_and_logits(weights, rows, targets.shape[1], hidden)
    logits -= logits.max(axis=1, keepdims=True)
    chance = np.exp(logits)
    total = chance.sum(axis=1, keepdims=True)
    back = chance / total * targets.sum(axis=1, keepdims=True) - targets
    last = weights[rows.shape[1] * hidden :].reshape(hidden + 1, -1)
    inner = rows.T @ (back @ last[:-1].T * (1 - units * units))
    gradient = np.concatenate((inner.ravel(), (units.T @ back).ravel(), back.sum(axis=0)))
    value = float((targets * (np.log(total) - logits)).sum()) + DECAY * float(weights @ weights) / 2
    return value, gradient + DECAY * weights


def _units_and_logits(weights: Floats, rows: Floats, n_classes: int, hidden: int) -> tuple[Floats, Floats]:
    first, last = np.split(weights, [rows.shape[1] * hidden])
    last = last.reshape(hidden + 1, n_classes)
    units = np.tanh(rows @ first.reshape(-1, hidden))
    return units, units @ last[:-1] + last[-1]
