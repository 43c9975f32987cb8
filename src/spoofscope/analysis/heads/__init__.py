"""Heads on frozen embeddings, by name: fit many training sets over the same rows, and score every row with each.

Conventions
-----------
A head answers with (n, k) natural log-likelihood ratios of bona fide against spoof: its log-odds of bona fide less the log-odds of the
classes in each training set, so the share of bona fide trials in training does not move 0. `class_log_odds` gives back what was taken off. The
ratios of `knn` are of distances: they order trials, but are not calibrated.

References
----------
Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 88, 2004.
Loftsgaarden and Quesenberry, "A nonparametric estimate of a multivariate density function", Annals of Mathematical Statistics 36, 1965.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.heads.logistic import Floats, Vectors, balanced, check_problems, fit_logistic
from spoofscope.errors import RecipeError, UnknownName
from spoofscope.recipe import parse_call

Mask = NDArray[np.bool_]
ClassWeight = Literal["", "balanced"]
ROWS_AT_ONCE = 256
NEAREST_LOOKED_AT = 64
MLP_STEPS = 200
TINY = 1e-12


class Head(Protocol):
    """A classifier that is fitted and applied in one call."""

    @property
    def name(self) -> str:
        """The expression that builds it."""
        ...

    def fit_score(self, vectors: Vectors, is_bonafide: Mask, weights: NDArray[Any]) -> Floats:
        """Fit k training sets and score all rows with each.

        Parameters
        ----------
        vectors : (n, d) float array
            One embedding per trial.
        is_bonafide : (n,) bool array
            The classes.
        weights : (n,) or (n, k) float array
            Row weights of each training set, at least 0; 0 leaves a row out of training.

        Returns
        -------
        (n, k) float64 array
            Log-likelihood ratios, higher meaning more bona fide; those of training rows are fitted, not predicted.
        """
        ...


def class_log_odds(is_bonafide: Mask, weights: NDArray[Any]) -> Floats:
    """Return the (k,) log-odds of bona fide in each training set: log-odds = log-likelihood ratio + these."""
    weights = np.asarray(weights, dtype=np.float64).reshape(len(is_bonafide), -1)
    found: Floats = np.log(weights[is_bonafide].sum(axis=0)) - np.log(weights[~is_bonafide].sum(axis=0))
    return found


@dataclass(frozen=True)
class LogisticHead:
    """L2 logistic regression on standardised vectors, the reference study's head; `C` as in scikit-learn."""

    name: str
    C: float = 1.0
    class_weight: ClassWeight = ""

    def __post_init__(self) -> None:
        _require_positive(self.name, "C", self.C)
        _require_class_weight(self.name, self.class_weight)

    def fit_score(self, vectors: Vectors, is_bonafide: Mask, weights: NDArray[Any]) -> Floats:
        """Fit all training sets together."""
        weights = _weighed(is_bonafide, weights, self.class_weight)
        return fit_logistic(vectors, is_bonafide, weights, c=self.C).decision(vectors) - class_log_odds(is_bonafide, weights)


@dataclass(frozen=True)
class LdaHead:
    """Two Gaussians with one covariance, shrunk as Ledoit and Wolf have it in columns standardised on training rows."""

    name: str

    def fit_score(self, vectors: Vectors, is_bonafide: Mask, weights: NDArray[Any]) -> Floats:
        """Fit one training set after another."""
        vectors, _, weights = check_problems(vectors, is_bonafide, weights)
        scores = [self._one(vectors, is_bonafide, weight) for weight in weights.T]
        return np.column_stack(scores)

    @staticmethod
    def _one(vectors: Vectors, is_bonafide: Mask, weight: Floats) -> Floats:
        rows = weight > 0
        own, share = vectors[rows].astype(np.float64), weight[rows] / weight[rows].sum()
        mean, scale = _standard(own, share)
        own = (own - mean) / scale
        centres = [np.average(own[side], axis=0, weights=share[side]) for side in (is_bonafide[rows], ~is_bonafide[rows])]
        own -= np.where(is_bonafide[rows][:, None], centres[0], centres[1])
        covariance = _shrunk((own * share[:, None]).T @ own, own, share)
        axis = np.linalg.solve(covariance, centres[0] - centres[1])
        middle = (centres[0] + centres[1]) / 2
        score: Floats = ((vectors - mean) / scale - middle) @ axis
        return score


@dataclass(frozen=True)
class KnnHead:
    """Mean log distance to the k nearest spoof rows of training less that to the k nearest bona fide rows.

    Up to a factor, the log ratio of two k-nearest-neighbour densities: without ties, and indifferent to how many rows each class has
    in the way that votes are not. Vectors are taken as they are; `metric` is `cosine` or `euclidean`.
    """

    name: str
    k: int = 15
    metric: Literal["cosine", "euclidean"] = "cosine"

    def __post_init__(self) -> None:
        _require_positive(self.name, "k", self.k)
        if self.metric not in ("cosine", "euclidean"):
            raise RecipeError(f"{self.name}: metric is '{self.metric}'; it must be cosine or euclidean")

    def fit_score(self, vectors: Vectors, is_bonafide: Mask, weights: NDArray[Any]) -> Floats:
        """Find neighbours once, and read each training set off them; row weights must be 0 or 1."""
        vectors, _, weights = check_problems(vectors, is_bonafide, weights)
        if not np.isin(weights, (0, 1)).all():
            raise RecipeError(f"{self.name} has no use for row weights other than 0 and 1")
        rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(TINY) if self.metric == "cosine" else vectors
        rows = rows - rows[(weights > 0).any(axis=1)].mean(axis=0)
        sets = [(weights > 0) & side[:, None] for side in (~is_bonafide, is_bonafide)]
        return np.concatenate([self._block(block, sets) for block in _distances(rows)])

    def _block(self, distance: Floats, sets: list[Mask]) -> Floats:
        order = np.argsort(distance, axis=1)
        logs = np.log(np.take_along_axis(distance, order, axis=1).clip(TINY))
        answer = np.empty((len(distance), sets[0].shape[1]))
        for column in range(answer.shape[1]):
            spoof, bonafide = (self._mean_log(order, logs, members[:, column]) for members in sets)
            answer[:, column] = spoof - bonafide
        return answer

    def _mean_log(self, order: NDArray[np.intp], logs: Floats, member: Mask) -> Floats:
        """Average the log distances to the k nearest members, looking no further than it takes."""
        k = min(self.k, int(member.sum()))
        looked = min(order.shape[1], NEAREST_LOOKED_AT * k)
        while True:
            is_in = member[order[:, :looked]]
            rank = np.cumsum(is_in, axis=1)
            if rank[:, -1].min() >= k or looked == order.shape[1]:
                nearest = is_in & (rank <= k)
                mean: Floats = np.where(nearest, logs[:, :looked], 0).sum(axis=1) / k
                return mean
            looked = min(order.shape[1], 4 * looked)


@dataclass(frozen=True)
class MlpHead:
    """One hidden layer of tanh units on standardised vectors, fitted by L-BFGS from seeded weights; `decay` is its L2 penalty."""

    name: str
    hidden: int = 64
    decay: float = 1e-3
    class_weight: ClassWeight = ""
    seed: int = 0

    def __post_init__(self) -> None:
        _require_positive(self.name, "hidden", self.hidden)
        _require_positive(self.name, "decay", self.decay)
        _require_class_weight(self.name, self.class_weight)

    def fit_score(self, vectors: Vectors, is_bonafide: Mask, weights: NDArray[Any]) -> Floats:
        """Fit one training set after another."""
        weights = _weighed(is_bonafide, weights, self.class_weight)
        scores = [self._one(vectors, is_bonafide, weight) for weight in weights.T]
        return np.column_stack(scores) - class_log_odds(is_bonafide, weights)

    def _one(self, vectors: Vectors, is_bonafide: Mask, weight: Floats) -> Floats:
        from scipy.optimize import minimize

        rows = weight > 0
        own, share = vectors[rows].astype(np.float64), weight[rows] / weight[rows].sum()
        mean, scale = _standard(own, share)
        own = (own - mean) / scale
        sign = np.where(is_bonafide[rows], 1.0, -1.0)
        d = own.shape[1]
        rng = np.random.default_rng(self.seed)
        start = np.concatenate((rng.standard_normal(d * self.hidden) / np.sqrt(d), np.zeros(self.hidden + 1 + self.hidden)))
        start[-self.hidden :] = rng.standard_normal(self.hidden) / np.sqrt(self.hidden)
        found = minimize(
            mlp_loss, start, (own, sign, share, self.hidden, self.decay), "L-BFGS-B", jac=True, options={"maxiter": MLP_STEPS}
        )
        return _mlp((vectors - mean) / scale, found.x, self.hidden)[1]


def _mlp(rows: Floats, weights: Floats, hidden: int) -> tuple[Floats, Floats]:
    """Return the hidden units, and the log-odds: weights are input to hidden, hidden biases, bias, hidden to output."""
    d = rows.shape[1]
    first, biases, bias, last = np.split(weights, np.cumsum((d * hidden, hidden, 1)))
    units = np.tanh(rows @ first.reshape(d, hidden) + biases)
    return units, units @ last + bias[0]


def mlp_loss(weights: Floats, rows: Floats, sign: Floats, share: Floats, hidden: int, decay: float) -> tuple[float, Floats]:
    """Return the logistic loss of a network with one hidden layer plus its penalty, and the gradient."""
    units, logit = _mlp(rows, weights, hidden)
    d = rows.shape[1]
    penalised = np.concatenate((np.ones(d * hidden), np.zeros(hidden + 1), np.ones(hidden)))
    loss = share @ np.logaddexp(0, -sign * logit) + decay * (penalised * weights) @ weights / 2
    pull = -share * sign * 0.5 * (1 - np.tanh(sign * logit / 2))
    back = pull[:, None] * weights[-hidden:] * (1 - units * units)
    gradient = np.concatenate(((rows.T @ back).ravel(), back.sum(axis=0), [pull.sum()], units.T @ pull))
    return float(loss), gradient + decay * penalised * weights


HEADS: dict[str, Callable[..., Head]] = {"logistic": LogisticHead, "lda": LdaHead, "knn": KnnHead, "mlp": MlpHead}
"""What a recipe can name."""


def open_head(expression: str) -> Head:
    """Build a head from its expression: `logistic`, `logistic(C=0.1)`, `lda`, `knn(k=15)`, `mlp(hidden=64)`.

    Raises
    ------
    UnknownName
        If no head has that name.
    RecipeError
        If it has no such setting, or the setting no such value.
    """
    call = parse_call(expression, "head", "logistic(C=1)")
    if call.name not in HEADS:
        raise UnknownName(f"no head '{call.name}'; known: {', '.join(HEADS)}")
    known = [name for name in inspect.signature(HEADS[call.name]).parameters if name != "name"]
    for name in call.options:
        if name not in known:
            raise RecipeError(f"'{expression}': {call.name} has no setting '{name}'; it has {', '.join(known) or 'none'}")
    return HEADS[call.name](expression, **call.options)


def _weighed(is_bonafide: Mask, weights: NDArray[Any], class_weight: ClassWeight) -> Floats:
    weights = np.asarray(weights, dtype=np.float64).reshape(len(is_bonafide), -1)
    return balanced(is_bonafide, weights) if class_weight else weights


def _standard(rows: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Return the weighed mean and population deviation of each column; 1 for a constant one."""
    mean = share @ rows
    scale = np.sqrt(share @ (rows - mean) ** 2)
    return mean, np.where(scale <= TINY * np.maximum(np.abs(mean), 1), 1.0, scale)


def _shrunk(covariance: Floats, centred: Floats, share: Floats) -> Floats:
    """Shrink a covariance of centred rows towards a multiple of the identity (Ledoit and Wolf 2004, lemma 3.2 to 3.5)."""
    d, n = len(covariance), 1 / (share @ share)
    level = np.trace(covariance) / d
    spread = ((covariance - level * np.eye(d)) ** 2).sum() / d
    fourth = share @ (centred**2).sum(axis=1) ** 2
    noise = min((fourth - (covariance**2).sum()) / (n * d), spread)
    share_of_identity = noise / spread if spread > 0 else 0.0
    shrunk: Floats = (1 - share_of_identity) * covariance + (share_of_identity * level + TINY) * np.eye(d)
    return shrunk


def _distances(rows: Vectors) -> Iterator[Floats]:
    """Yield the Euclidean distances of blocks of rows to all rows."""
    rows = rows.astype(np.float64)
    squares = (rows**2).sum(axis=1)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        square = squares[block, None] + squares - 2 * rows[block] @ rows.T
        yield np.sqrt(square.clip(0))


def _require_positive(head: str, setting: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise RecipeError(f"{head}: {setting} is {value!r}; it must be a number above 0")


def _require_class_weight(head: str, value: str) -> None:
    if value not in ("", "balanced"):
        raise RecipeError(f"{head}: class_weight is '{value}'; it must be 'balanced' or left out")
