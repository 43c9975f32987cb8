"""Rank correlations over a handful of attacks, with intervals, influence and power.

Conventions
-----------
Rows are attacks. `predictors` is an (n,) array or an (n, ...) array with a column for each predictor, and every result has the shape
of one row; `outcome` is an (n,) array, or has a column for each column of `predictors`. Ties share their mean rank. A column that is
the same for every attack has no correlation: `nan`.

Resamples of attacks are weights: the mean rank of a value in a weighted sample is a product of the weights and a matrix of comparisons,
so that a bootstrap, a jackknife and a sample without two attacks are each one matrix product.

References
----------
Spearman, "The proof and measurement of association between two things", American Journal of Psychology 15, 1904.
Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945.
Efron, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82, 1987.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import ScoresError

Floats = NDArray[np.float64]
FloatArray = NDArray[np.floating]
FEWEST = 4
"""Attacks below which no correlation is given: of three, every order has a |rho| of 0.5 or 1."""
_NOTHING = 1e-9


class RhoInterval(NamedTuple):
    """Bootstrap intervals of Spearman's rho, an entry for each predictor; `lost` counts resamples without a correlation."""

    low: Floats
    high: Floats
    bca_low: Floats
    bca_high: Floats
    lost: NDArray[np.intp]


class PredictionError(NamedTuple):
    """Mean absolute error of predicting each attack from the others: by a line on each predictor, and by their median."""

    line: Floats
    median: float


def check_attacks(predictors: FloatArray, outcome: FloatArray) -> tuple[Floats, Floats]:
    """Return both as float64 arrays that broadcast against each other, attacks in rows.

    Raises
    ------
    ScoresError
        If their numbers of attacks differ or are fewer than four, or a value is not finite.
    """
    x, y = np.asarray(predictors, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    if not x.ndim or not y.ndim or len(x) != len(y):
        raise ScoresError(f"a correlation needs a value of each for every attack; found shapes {x.shape} and {y.shape}")
    if len(x) < FEWEST:
        raise ScoresError(f"{len(x)} attacks: a correlation needs at least {FEWEST}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ScoresError("a value is not finite: leave the attack or the predictor out before correlating")
    return x, y.reshape(len(y), *(1,) * (x.ndim - y.ndim), *y.shape[1:])


def ranks(values: FloatArray) -> Floats:
    """Rank down each column, from 1; ties share their mean rank.

    Parameters
    ----------
    values : (n, ...) float array

    Returns
    -------
    (n, ...) float array
    """
    array = np.asarray(values, dtype=np.float64)
    order = np.argsort(array, axis=0, kind="stable")
    ordered = np.take_along_axis(array, order, axis=0)
    place = np.arange(len(array), dtype=np.float64).reshape(-1, *(1,) * (array.ndim - 1))
    differs = ordered[1:] != ordered[:-1]
    first, last = np.zeros_like(ordered), np.full_like(ordered, len(array) - 1)
    first[1:] = np.where(differs, place[1:], 0)
    last[:-1] = np.where(differs, place[:-1], len(array) - 1)
    mean = np.maximum.accumulate(first, axis=0) + np.minimum.accumulate(last[::-1], axis=0)[::-1]
    ranked = np.empty_like(array)
    np.put_along_axis(ranked, order, mean / 2 + 1, axis=0)
    return ranked


def standardise(columns: Floats) -> Floats:
    """Centre each column and scale it to length 1, so that correlations are sums of products; a constant column is `nan`."""
    centred = columns - columns.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    constant = length <= _NOTHING * np.sqrt((columns**2).sum(axis=0))
    result: Floats = centred / np.where(constant, np.nan, length)
    return result


def pearson(predictors: FloatArray, outcome: FloatArray) -> Floats:
    """Pearson's correlation of each predictor with the outcome.

    Returns
    -------
    float array, the shape of a row of `predictors`
        Σ(x − x̄)(y − ȳ) / √(Σ(x − x̄)² Σ(y − ȳ)²).
    """
    x, y = check_attacks(predictors, outcome)
    return _products(standardise(x), standardise(y))


def spearman(predictors: FloatArray, outcome: FloatArray) -> Floats:
    """Spearman's rho of each predictor with the outcome: Pearson's correlation of their ranks."""
    x, y = check_attacks(predictors, outcome)
    return _products(standardise(ranks(x)), standardise(ranks(y)))


def kendall(predictors: FloatArray, outcome: FloatArray) -> Floats:
    """Kendall's tau-b of each predictor with the outcome.

    Returns
    -------
    float array, the shape of a row of `predictors`
        (concordant − discordant) / √(pairs untied in x · pairs untied in y).
    """
    x, y = check_attacks(predictors, outcome)
    upper = np.triu_indices(len(x), 1)
    signs_x, signs_y = (np.sign(values[upper[0]] - values[upper[1]]) for values in (x, y))
    untied = np.sqrt((signs_x**2).sum(axis=0) * (signs_y**2).sum(axis=0))
    result: Floats = (signs_x * signs_y).sum(axis=0) / np.where(untied, untied, np.nan)
    return result[()]


def partial_spearman(predictors: FloatArray, outcome: FloatArray, covariates: FloatArray) -> Floats:
    """Spearman's rho of each predictor with the outcome, given covariates: Pearson's correlation of what their ranks leave of the ranks.

    Parameters
    ----------
    predictors, outcome : (n, ...), (n,) float array
    covariates : (n,) or (n, c) float array

    Returns
    -------
    float array, the shape of a row of `predictors`
        `nan` where the covariates explain a rank completely. Its p is that of `correlation_p` with n less the number of covariates.
    """
    x, y = check_attacks(predictors, outcome)
    given, _ = check_attacks(covariates, outcome)
    design = np.column_stack((np.ones(len(x)), ranks(given).reshape(len(x), -1)))
    left = []
    for values in (x, y):
        ranked = ranks(values).reshape(len(x), -1)
        rest = ranked - design @ np.linalg.lstsq(design, ranked, rcond=None)[0]
        explained = (rest**2).sum(axis=0) <= _NOTHING * (ranked**2).sum(axis=0)
        left.append(standardise(np.where(explained, np.nan, rest).reshape(values.shape)))
    return _products(*left)


def correlation_p(rho: float | FloatArray, n: int) -> Floats:
    """Two-sided p of a correlation of n attacks by the t approximation: t = ρ √((n − 2) / (1 − ρ²)), n − 2 degrees of freedom.

    It is the usual p of Pearson's and of Spearman's coefficient, and of a partial one with n less the number of covariates. With ρ =
    sin θ the density of θ is proportional to cosⁿ⁻³ θ, which Gauss-Legendre nodes integrate to the last digits.
    """
    nodes, weights = _legendre()
    start = np.arcsin(np.minimum(np.abs(np.asarray(rho, dtype=np.float64)), 1))
    half = (np.pi / 2 - start) / 2
    tail = half * (np.cos(start[..., None] + half[..., None] * (nodes + 1)) ** (n - 3) @ weights)
    whole = np.pi / 4 * (np.cos(np.pi / 4 * (nodes + 1)) ** (n - 3) @ weights)
    result: Floats = np.minimum(tail / whole, 1)
    return result[()]


def critical_rho(n: int, level: float = 0.95) -> float:
    """Return the least |rho| of n attacks whose `correlation_p` is 1 − level."""
    return _solve(lambda rho: -float(correlation_p(rho, n)), level - 1, 0, 1)


def weighted_spearman(predictors: FloatArray, outcome: FloatArray, weights: NDArray[np.number]) -> Floats:
    """Spearman's rho in weighted samples: an attack of weight 2 stands there twice, one of weight 0 is left out.

    Parameters
    ----------
    predictors : (n, k) float array
    outcome : (n,) or (n, k) float array
    weights : (r, n) array

    Returns
    -------
    (r, k) float array
        `nan` where all that is left of a column is one value.
    """
    x, y = check_attacks(predictors, outcome)
    sizes = np.asarray(weights, dtype=np.float64)
    found = np.empty((len(sizes), x.shape[1]))
    same = _centred_ranks(y[:, 0], sizes) if y.shape[1] == 1 else None
    for at, column in enumerate(x.T):
        a, b = _centred_ranks(column, sizes), _centred_ranks(y[:, at], sizes) if same is None else same
        length = np.sqrt(np.einsum("rn,rn,rn->r", sizes, a, a) * np.einsum("rn,rn,rn->r", sizes, b, b))
        found[:, at] = np.einsum("rn,rn,rn->r", sizes, a, b) / np.where(length > _NOTHING, length, np.nan)
    return np.clip(found, -1, 1)


def spearman_without(predictors: FloatArray, outcome: FloatArray) -> Floats:
    """Spearman's rho without each attack: (n, k), the first row without the first attack."""
    return weighted_spearman(predictors, outcome, 1 - np.eye(len(predictors)))


def draw_attacks(n: int, replicates: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the weights of a bootstrap over n attacks: (replicates, n), each row summing to n."""
    return rng.multinomial(n, np.full(n, 1 / n), size=replicates)


def bootstrap_spearman(
    predictors: FloatArray, outcome: FloatArray, *, rng: np.random.Generator, replicates: int = 10_000, level: float = 0.95
) -> RhoInterval:
    """Bootstrap Spearman's rho over attacks: percentile intervals, and Efron's bias-corrected and accelerated ones (BCa).

    Resamples in which a column is constant have no rho and are left out. Where no resample moves rho, as with perfect order, there is no
    interval: `nan`.

    Parameters
    ----------
    predictors : (n, k) float array
    outcome : (n,) or (n, k) float array
    rng : numpy.random.Generator
        All predictors see the same resamples.
    replicates : int
    level : float

    Notes
    -----
    Simulated (bivariate normal, true rho 0, 0.5, 0.8, 400 runs each), both kinds hold the true rho in 94 to 97 % of runs with 13 to 40
    attacks, at a level of 95 %.

    References
    ----------
    Efron 1987, equations 2.3 and 6.6 (acceleration by the jackknife).
    """
    x, y = check_attacks(predictors, outcome)
    samples = weighted_spearman(x, y, draw_attacks(len(x), replicates, rng))
    rho, without = spearman(x, y), spearman_without(x, y)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    bounds = np.full((4, x.shape[1]), np.nan)
    lost = np.isnan(samples).sum(axis=0)
    for at, sample in enumerate(samples.T):
        known = sample[~np.isnan(sample)]
        if len(known) and np.ptp(known) > _NOTHING:
            bounds[:2, at] = np.quantile(known, tails)
            bounds[2:, at] = np.quantile(known, _bca_tails(known, float(rho[at]), without[:, at], tails))
    return RhoInterval(bounds[0], bounds[1], bounds[2], bounds[3], lost)


def spearman_power(
    rho: float | FloatArray, n: int, *, rng: np.random.Generator, level: float = 0.95, simulations: int = 10_000
) -> Floats:
    """Simulate how often n attacks show a true rho: |rho| of the sample at least `critical_rho`.

    Samples are of a bivariate normal whose Spearman correlation is `rho`: Pearson's is then 2 sin(π rho / 6).

    Returns
    -------
    float array, the shape of `rho`
    """
    true = 2 * np.sin(np.pi * np.asarray(rho, dtype=np.float64) / 6)
    x, noise = rng.standard_normal((2, n, simulations))
    ranked, least = standardise(ranks(x)), critical_rho(n, level) - _NOTHING

    def share(r: float) -> float:
        found = _products(ranked, standardise(ranks(r * x + math.sqrt(max(0, 1 - r * r)) * noise)))
        return float(np.mean(np.abs(found) >= least))

    result: Floats = np.where(np.isnan(true), np.nan, np.array([share(r) for r in true.ravel()]).reshape(true.shape))
    return result[()]


def leave_one_out_error(predictors: FloatArray, outcome: FloatArray) -> PredictionError:
    """Predict each attack from the others, by a least-squares line on each predictor and by their median.

    Parameters
    ----------
    predictors : (n, k) float array
    outcome : (n,) float array

    Returns
    -------
    PredictionError
        In the unit of `outcome`. `nan` for a predictor that is constant without one attack.
    """
    x, y = check_attacks(predictors, outcome)
    n, unit = len(x), standardise(x)
    residual = y - y.mean(axis=0) - unit * (unit * y).sum(axis=0)
    free = 1 - 1 / n - unit**2
    line = np.abs(residual / np.where(free > _NOTHING, free, np.nan)).mean(axis=0)
    others = np.broadcast_to(y.reshape(1, n), (n, n))[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    return PredictionError(line, float(np.abs(np.median(others, axis=1) - y.ravel()).mean()))


def _products(x: Floats, y: Floats) -> Floats:
    """Correlate columns that are standardised."""
    result: Floats = np.clip((x * y).sum(axis=0), -1, 1)
    return result[()]


def _centred_ranks(values: Floats, weights: Floats) -> Floats:
    """Rank the n values in each of r weighted samples, less their mean rank: (r, n)."""
    below = (values[None, :] < values[:, None]) + (values[None, :] == values[:, None]) / 2
    result: Floats = weights @ below.T - weights.sum(axis=1, keepdims=True) / 2
    return result


def _bca_tails(samples: Floats, value: float, without: Floats, tails: Floats) -> Floats:
    """Move the tail probabilities by the bias of the resamples and the acceleration of the jackknife."""
    bias = _normal_quantile((np.mean(samples < value - _NOTHING) + np.mean(samples <= value + _NOTHING)) / 2)
    pull = np.nanmean(without) - without[~np.isnan(without)]
    spread = float((pull**2).sum())
    acceleration = float((pull**3).sum()) / (6 * spread**1.5) if spread > _NOTHING else 0.0
    shifted = [bias + _normal_quantile(tail) for tail in tails]
    return np.array([_normal(bias + shift / (1 - acceleration * shift)) for shift in shifted])


@cache
def _legendre() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights


def _normal(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def _normal_quantile(share: float | np.floating) -> float:
    return _solve(_normal, float(share), -38, 38)


def _solve(increasing: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Bisect for where an increasing function reaches a value."""
    for _ in range(70):
        middle = (low + high) / 2
        low, high = (middle, high) if increasing(middle) < target else (low, middle)
    return (low + high) / 2
