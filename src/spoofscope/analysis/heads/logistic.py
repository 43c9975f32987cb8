"""Many L2 logistic regressions over the same rows, solved together to the exact optimum.

Conventions
-----------
Problem j has targets t_ij (True is the positive class) and row weights w_ij >= 0; a row of weight 0 is not in its training set. With
z_ij the row in the problem's own standardised columns and W_j the sum of its weights, its objective is scikit-learn's
`LogisticRegression(C=c)`, in the mean form that its solvers minimise:

    f_j(b, b0) = sum_i w_ij log(1 + exp(-y_ij (z_ij . b + b0))) / W_j  +  |b|^2 / (2 c W_j),      y = +1 or -1

The intercept b0 is not penalised. Standardising is scikit-learn's `StandardScaler` fitted with the same row weights: weighted mean and
population standard deviation, 1 for a constant column. It is folded into the coefficients, which apply to the vectors as given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import DataError, NotEnoughTrials

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Vectors = NDArray[np.floating[Any]]


TINY = 1e-13
MOST_AT_ONCE = 128
POOLED_TOLERANCE = 1e-4
MEMORY = 8
REFRESH = (0, 5, 14, 32, 64, 128, 256, 512)
"""Steps at which the common Hessian is factorised anew."""
PATIENCE = 20
STALLED = 1e-3
MOST_TRIES = 10
NEWTON_STEPS = 100


@dataclass(frozen=True, eq=False)
class Logistic:
    """Fitted problems: `coefficients` (d, k) and `intercepts` (k,) for vectors as given, not standardised.

    `gradient_norms` (k,) are Euclidean norms of the gradient of the mean-form objective in standardised columns, intercept included;
    `iterations` counts the steps of the batch that took most.
    """

    coefficients: Floats
    intercepts: Floats
    gradient_norms: Floats
    iterations: int

    def decision(self, vectors: Vectors) -> Floats:
        """Return the (n, k) log-odds of target True."""
        found: Floats = np.asarray(vectors, dtype=np.float64) @ self.coefficients + self.intercepts
        return found


def balanced(targets: NDArray[Any], weights: NDArray[Any]) -> Floats:
    """Weigh both classes of each problem alike: scikit-learn's `class_weight='balanced'`, n / (2 * count), times `weights`.

    Counts are of rows with a weight above 0, weighed by it, so each problem's sum of weights is unchanged.
    """
    weights = np.asarray(weights, dtype=np.float64)
    targets = np.asarray(targets, dtype=bool)
    if targets.ndim < weights.ndim:
        targets = targets[:, None]
    true, whole = (weights * targets).sum(axis=0), weights.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(targets, whole / (2 * true), whole / (2 * (whole - true)))
    return np.where(weights > 0, weights * factors, 0.0)


def check_problems(vectors: Vectors, targets: NDArray[Any], weights: NDArray[Any]) -> tuple[Vectors, Bools, Floats]:
    """Check that every problem can be fitted; answers with (n, d) vectors, (n, k) targets and (n, k) weights.

    Raises
    ------
    DataError
        If shapes disagree, a number is not finite where it counts, or a weight is negative; the message names the problem.
    NotEnoughTrials
        If there is no row, or a problem has only one class among its training rows.
    """
    vectors, weights = np.asarray(vectors), np.asarray(weights, dtype=np.float64)
    targets = np.asarray(targets).astype(bool)
    targets, weights = (array[:, None] if array.ndim == 1 else array for array in (targets, weights))
    if vectors.ndim != 2 or not len(vectors) == len(targets) == len(weights) or targets.ndim != 2 or weights.ndim != 2:
        shapes = vectors.shape, targets.shape, weights.shape
        raise DataError(
            "vectors (n, d), targets (n, k) and weights (n, k) must share their rows; found {}, {}, {}".format(*shapes)
        )
    if 1 not in (targets.shape[1], weights.shape[1]) and targets.shape[1] != weights.shape[1]:
        raise DataError(f"targets are of {targets.shape[1]} problems, weights of {weights.shape[1]}")
    targets, weights = np.broadcast_arrays(targets, weights)
    for number, column in enumerate(weights.T):
        if not (np.isfinite(column).all() and (column >= 0).all()):
            raise DataError(f"problem {number}: weights must be finite and at least 0; 0 leaves a row out")
    is_in: Bools = np.greater(weights, 0)
    broken: Bools = np.logical_not(np.isfinite(vectors).all(axis=1))
    for number, count in enumerate((is_in & broken[:, None]).sum(axis=0).tolist()):
        if count:
            raise DataError(f"problem {number}: {count} training rows hold nan or inf; give them weight 0")
    rows, positive = is_in.sum(axis=0), (is_in & targets).sum(axis=0)
    for number in map(int, np.flatnonzero((positive == 0) | (positive == rows))):
        raise NotEnoughTrials(
            f"problem {number}: {rows[number]} training rows, {positive[number]} of them of the positive class; a fit needs both classes"
        )
    return vectors, targets, weights


def fit_logistic(
    vectors: Vectors,
    targets: NDArray[Any],
    weights: NDArray[Any],
    *,
    c: float | NDArray[np.floating[Any]] = 1.0,
    standardise: bool = True,
    tolerance: float = 1e-6,
    max_iterations: int = 300,
) -> Logistic:
    """Fit k logistic regressions over the same rows.

    All problems move together, so each step is two matrix products over the rows instead of 2 k passes over them: L-BFGS with one
    factorised Hessian, of the curvature averaged over problems of one strength, as its starting metric. Where all have one target and strength
    they start from the answer to their average. Steps are taken in float32 until they look converged, and the answer is verified, and where needed finished, in float64.

    Parameters
    ----------
    vectors : (n, d) float array
        One row per trial.
    targets : (n,) or (n, k) bool array
        The positive class, for all problems or for each.
    weights : (n,) or (n, k) float array
        Row weights, at least 0; 0 leaves the row out of a problem. For balanced classes see `balanced`.
    c : float or (k,) float array
        Inverse strength of the L2 penalty.
    standardise : bool
        Whether each problem's columns are standardised on its own training rows.
    tolerance : float
        Largest Euclidean norm of an accepted gradient.
    max_iterations : int
        Most steps of L-BFGS; a problem that needs more is finished by Newton's method.

    Raises
    ------
    DataError
        If the input cannot be fitted (see `check_problems`), or a gradient stays above the tolerance.
    NotEnoughTrials
        If a problem has one class only.

    References
    ----------
    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical Programming 45, 1989.
    """
    vectors, targets, weights = check_problems(vectors, targets, weights)
    rows = np.flatnonzero((weights > 0).any(axis=1))
    used = np.asarray(vectors[rows], dtype=np.float64)
    centre, spread = used.mean(axis=0), used.std(axis=0)
    spread[spread <= TINY * np.abs(centre)] = 1
    used -= centre
    used /= spread
    strength = np.broadcast_to(np.asarray(c, dtype=np.float64), weights.shape[1])
    pooled = None
    if weights.shape[1] > 1 and (targets == targets[:, :1]).all() and (strength == strength[0]).all():
        whole = weights[rows].mean(axis=1, keepdims=True)
        pooled = _Batch(used, targets[rows, :1], whole, strength[:1], standardise, spread)
    b, norms, steps = np.empty((used.shape[1] + 1, len(strength))), np.empty(len(strength)), 0
    for part in _alike(strength):
        batch = _Batch(used, targets[np.ix_(rows, part)], weights[np.ix_(rows, part)], strength[part], standardise, spread)
        b[:, part], norms[part] = batch.solve(tolerance, max_iterations, pooled)
        steps = max(steps, batch.steps)
    if (norms >= tolerance).any():
        worst = int(norms.argmax())
        raise DataError(
            f"problem {worst}: the gradient is still {norms[worst]:.2g} after all steps (wanted: below {tolerance:g}). "
            "Standardise the vectors, or lower C."
        )
    coefficients = b[:-1] / spread[:, None]
    return Logistic(coefficients, b[-1] - centre @ coefficients, norms, steps)


def _alike(strength: Floats) -> Iterator[NDArray[np.intp]]:
    """Part problems into batches of one strength, whose Hessians are alike enough to share a metric."""
    for value in np.unique(strength):
        places = np.flatnonzero(strength == value)
        yield from np.split(places, range(MOST_AT_ONCE, len(places), MOST_AT_ONCE))


class _Batch:
    """Problems that are solved together. Coefficients are (d + 1, k), intercepts last, in each problem's standardised columns."""

    def __init__(self, rows: Floats, targets: Bools, weights: Floats, c: Floats, standardise: bool, spread: Floats) -> None:
        total = weights.sum(axis=0)
        self.rows, self.ridge, self.steps = rows, 1 / (c * total), 0
        self.metric: Any = None
        self.sign = np.where(targets, 1.0, -1.0)
        self.pull = self.sign * (weights / total)
        self.mean = np.zeros((rows.shape[1], len(total)))
        self.scale = np.repeat(1 / spread[:, None], len(total), axis=1)
        if standardise:
            self.mean = rows.T @ (weights / total)
            variance = (rows * rows).T @ (weights / total) - self.mean**2
            self.scale = np.sqrt(np.where(variance <= TINY * (1 + self.mean**2), 1.0, variance))

    def solve(self, tolerance: float, max_iterations: int, pooled: _Batch | None) -> tuple[Floats, Floats]:
        """Return the coefficients in the columns as given, and the norms of their gradients, starting from a pooled problem's answer."""
        b = np.zeros((self.mean.shape[0] + 1, self.mean.shape[1]))
        norms = np.full(b.shape[1], np.inf)
        if pooled is not None:
            middle, _ = pooled._descend(np.zeros((len(b), 1)), np.float32, POOLED_TOLERANCE, max_iterations)
            self.metric, inner = pooled.metric, middle[:-1] / pooled.scale
            b[:-1] = inner * self.scale
            b[-1] = middle[-1] + ((self.mean - pooled.mean) * inner).sum(axis=0)
        for kind in (np.float32, np.float64):
            b, norms = self._descend(b, kind, tolerance if kind is np.float64 else tolerance / 2, max_iterations)
        for problem in np.flatnonzero(norms >= tolerance).tolist():
            b[:, problem], norms[problem] = self._finish(problem, b[:, problem], tolerance)
        out = b.copy()
        out[:-1] /= self.scale
        out[-1] -= (self.mean * out[:-1]).sum(axis=0)
        return out, norms

    def _descend(self, b: Floats, kind: type[np.floating[Any]], tolerance: float, max_iterations: int) -> tuple[Floats, Floats]:
        """Descend in one precision until every gradient is below the tolerance, or no step helps."""
        rows, sign, pull = (array.astype(kind, copy=False) for array in (self.rows, self.sign, self.pull))
        margins = rows @ (b[:-1] / self.scale).astype(kind) + self._offset(b).astype(kind)
        memory: list[tuple[Floats, Floats, Floats]] = []
        gradient, norms = self._gradient(b, rows, sign, pull, margins)
        best, least = b, norms
        for step in range(max_iterations):
            stalled = kind is np.float32 and step > PATIENCE and norms.max() > 0.5 * least.max() and norms.max() < STALLED
            if norms.max() < tolerance or stalled:
                break
            if step in REFRESH and (step or self.metric is None):
                self.metric, memory = self._metric(rows, sign, pull, margins), []
            direction = _downhill(gradient, memory, self.metric)
            inner = direction[:-1] / self.scale
            moved = rows @ inner.astype(kind) + self._offset(direction).astype(kind)
            slope = (gradient * direction).sum(axis=0)
            bend = self.ridge * (direction[:-1] ** 2).sum(axis=0)
            lean = self.ridge * (b[:-1] * direction[:-1]).sum(axis=0)
            size = np.where(norms < tolerance, 0.0, _step_size(margins, moved, sign, pull, slope, lean, bend))
            change = size * direction
            b, margins = b + change, margins + size.astype(kind) * moved
            before = gradient
            gradient, norms = self._gradient(b, rows, sign, pull, margins)
            if norms.max() < least.max():
                best, least = b, norms
            turned = gradient - before
            curved = (change * turned).sum(axis=0)
            memory = [*memory, (change, turned, np.divide(1, curved, out=np.zeros_like(curved), where=curved > 0))][-MEMORY:]
            self.steps += 1
        return best, least

    def _finish(self, problem: int, b: Floats, tolerance: float) -> tuple[Floats, float]:
        """Take Newton steps, halved while they do not help: slow for many columns, and sure for classes that hardly overlap."""
        from scipy.linalg import solve

        z = np.column_stack(((self.rows - self.mean[:, problem]) / self.scale[:, problem], np.ones(len(self.rows))))
        sign, pull = self.sign[:, problem], self.pull[:, problem]
        penalty = np.append(np.full(len(b) - 1, self.ridge[problem]), 0.0)

        def value(b: Floats) -> float:
            return float(np.abs(pull) @ np.logaddexp(0, -sign * (z @ b)) + (penalty * b) @ b / 2)

        for _ in range(NEWTON_STEPS):
            sure = np.tanh(0.5 * sign * (z @ b))
            gradient = z.T @ (0.5 * (sure - 1) * pull) + penalty * b
            if (norm := float(np.linalg.norm(gradient))) < tolerance:
                break
            curved = z * (np.abs(pull) * (1 - sure * sure) / 4)[:, None]
            hessian = z.T @ curved + np.diag(penalty + TINY)
            step, before, size = solve(hessian, gradient, assume_a="pos"), value(b), 1.0
            while value(b - size * step) > before and size > TINY:
                size /= 2
            b = b - size * step
        return b, norm

    def _offset(self, b: Floats) -> Floats:
        offset: Floats = b[-1] - (self.mean * b[:-1] / self.scale).sum(axis=0)
        return offset

    def _gradient(self, b: Floats, rows: Any, sign: Any, pull: Any, margins: Any) -> tuple[Floats, Floats]:
        residual = np.tanh(0.5 * sign * margins)
        residual -= 1
        residual *= pull
        residual *= 0.5
        total = residual.sum(axis=0, dtype=np.float64)
        gradient = np.empty_like(b)
        gradient[:-1] = (rows.T @ residual - self.mean * total) / self.scale + self.ridge * b[:-1]
        gradient[-1] = total
        return gradient, np.sqrt((gradient * gradient).sum(axis=0))

    def _metric(self, rows: Any, sign: Any, pull: Any, margins: Any) -> Any:
        """Factorise the Hessian of the average problem."""
        from scipy.linalg import cho_factor

        certainty = np.tanh(0.5 * sign * margins)
        curvature = ((1 - certainty * certainty) * np.abs(pull)).mean(axis=1, dtype=np.float64) / 4
        bent = np.empty((len(rows), rows.shape[1] + 1), dtype=np.float32)
        np.multiply(rows, np.sqrt(curvature)[:, None], out=bent[:, :-1], casting="unsafe")
        bent[:, -1] = np.sqrt(curvature)
        hessian = bent.T @ bent
        scale = np.append(self.scale.mean(axis=1), 1.0).astype(np.float32)
        hessian /= scale[:, None] * scale
        ridge = np.append(np.full(len(scale) - 1, self.ridge.mean()), 0)
        hessian[np.diag_indices_from(hessian)] += ridge.astype(np.float32) + 1e-6 * hessian.diagonal().mean()
        return cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)


def _downhill(gradient: Floats, memory: list[tuple[Floats, Floats, Floats]], metric: Any) -> Floats:
    """Return the L-BFGS direction of each problem (two-loop recursion)."""
    from scipy.linalg import cho_solve

    direction, shares = -gradient, []
    for change, turned, inverse in reversed(memory):
        shares.append(inverse * (change * direction).sum(axis=0))
        direction = direction - shares[-1] * turned
    direction = cho_solve(metric, direction.astype(np.float32), check_finite=False).astype(np.float64)
    for (change, turned, inverse), share in zip(memory, reversed(shares), strict=True):
        direction = direction + change * (share - inverse * (turned * direction).sum(axis=0))
    found: Floats = direction
    return found


def _step_size(margins: Any, moved: Any, sign: Any, pull: Any, slope: Floats, lean: Floats, bend: Floats) -> Floats:
    """Return a step for each problem at which the slope along its direction is at most half of what it was, by a bracketed secant."""
    k = len(slope)
    size, low, high = np.ones(k), np.zeros(k), np.full(k, np.inf)
    at_low, at_high, todo = slope.copy(), np.ones(k), np.arange(k)
    for _ in range(MOST_TRIES):
        part = slice(None) if len(todo) == k else todo
        there = size[todo].astype(margins.dtype) * moved[:, part]
        there += margins[:, part]
        there *= 0.5 * sign[:, part]
        np.tanh(there, out=there)
        there -= 1
        there *= pull[:, part]
        now = 0.5 * np.einsum("ij,ij->j", there, moved[:, part]).astype(np.float64) + lean[todo] + size[todo] * bend[todo]
        up = now > 0
        high[todo[up]], at_high[todo[up]] = size[todo[up]], now[up]
        low[todo[~up]], at_low[todo[~up]] = size[todo[~up]], now[~up]
        todo = todo[np.abs(now) > 0.5 * np.abs(slope[todo])]
        if not len(todo):
            break
        closed, left = np.isfinite(high[todo]), low[todo]
        width = np.where(closed, high[todo] - left, 0)
        secant = left - at_low[todo] * width / (at_high[todo] - at_low[todo])
        size[todo] = np.where(closed, np.clip(secant, left + 0.1 * width, left + 0.9 * width), 2 * size[todo])
    return size
