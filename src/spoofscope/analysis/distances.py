"""How far groups of rows lie from a cloud of vectors: by their means, its shape, its neighbourhoods, its whole distribution.

Conventions
-----------
The cloud comes in folds that share no speaker and no source. Whatever compares rows of the cloud with each other (how dense it is, how alike its
rows are) takes both rows from different folds, so that recordings of one speaker cannot make it look denser than it is to a stranger.
Distances are Euclidean. Rows are float32; sums, means and covariances are float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.design import Codes

Floats = NDArray[np.float64]
Rows = NDArray[np.floating[Any]]
ROWS_AT_ONCE = 1024
CROSSING = 3
"""In how many folds a group must stand for one to speak against another: two clusters alone say nothing of the variance between clusters."""
ALIKE = 1e-5
"""Two rows closer than this, relative to their norms, are taken for copies."""
SAME = 1e-6
"""A dimension whose standard deviation is below this share of its mean is constant but for rounding."""


class Axes(NamedTuple):
    """A covariance, shrunk towards a multiple of the identity, by its axes.

    `variances` (r,) falls along `directions` (r, d); every direction outside them has the variance `rest`.
    """

    variances: Floats
    directions: Floats
    rest: float


class Cloud(NamedTuple):
    """Rows to compare others with, and what they are to each other.

    Parameters
    ----------
    rows : (n, d) float32 array
        Centred.
    axes : Axes
        Their shrunk covariance.
    reach : (n,) float array
        Mean distance of each row to its `k` nearest rows of other folds; nan if there are not so many.
    bandwidth : float
        Median distance between rows of different folds; nan if there is one fold.
    likeness : float
        Mean kernel between rows of different folds.
    """

    rows: Rows
    axes: Axes
    reach: Floats
    bandwidth: float
    likeness: float


class Standing(NamedTuple):
    """How m rows stand to a cloud: (m,) arrays.

    `mahalanobis` is the distance to its centre in units of its spread; `distance` the mean distance to the k nearest of its rows; `sparsity` is
    that relative to the reach of those rows (above 1: sparser than they are used to); `likeness` the mean kernel to all of its rows.
    """

    mahalanobis: Floats
    distance: Floats
    sparsity: Floats
    likeness: Floats


class Totals(NamedTuple):
    """Rows, sums and sums of squares of every class in every fold: (folds, classes), and (folds, classes, d) twice. Class 0 is bona fide."""

    counts: Floats
    sums: Floats
    squares: Floats


class Placement(NamedTuple):
    """Where the mean of each group lies, seen from rows that share nothing with it: (groups,) arrays.

    `weight` is how much a part counts in an average; `apart` (groups, classes) are squared distances from the mean of each class; `along` is the place
    between the mean of the other groups (0) and that of bona fide speech (1), `onto` the projection on that axis from its middle, and `off` the
    squared distance from there.
    """

    weight: Floats
    apart: Floats
    along: Floats
    onto: Floats
    off: Floats


def squared_distances(first: Rows, second: Rows) -> Rows:
    """Return the (m, n) squared distances between the rows of two arrays, never below 0."""
    squares: Rows = np.einsum("ij,ij->i", first, first)[:, None] + np.einsum("ij,ij->i", second, second)
    squares -= 2 * (first @ second.T)
    np.maximum(squares, 0, out=squares)
    return squares


def kernel(squares: Rows, bandwidth: float) -> Rows:
    """Gaussian kernel `exp(-d^2 / 2 bandwidth^2)` of squared distances."""
    answer: Rows = np.exp(squares * squares.dtype.type(-0.5 / bandwidth**2))
    return answer


def ledoit_wolf(rows: Rows, size: float | None = None) -> float:
    """Share of a multiple of the identity in the covariance of centred rows, at which the expected error is least.

    Parameters
    ----------
    rows : (n, d) float array
        Centred.
    size : float, optional
        Squared Frobenius norm of their covariance, where it is known already.

    References
    ----------
    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 88, 2004.
    """
    n, d = rows.shape
    if size is None:
        size = float(((rows.T @ rows if d < n else rows @ rows.T) ** 2).sum()) / n**2
    norms = np.einsum("ij,ij->i", rows, rows)
    apart = size - float(norms.sum() / n) ** 2 / d
    error = (float((norms**2).sum()) / n - size) / n
    return min(max(error / apart, 0.0), 1.0) if apart > 0 else 1.0


def shrunk_axes(rows: Rows) -> Axes:
    """Decompose the covariance of centred rows, shrunk as `ledoit_wolf` says, by the smaller of its two Gram matrices."""
    rows = rows.astype(np.float64)
    n, d = rows.shape
    wide = n <= d
    values, vectors = np.linalg.eigh((rows @ rows.T if wide else rows.T @ rows) / n)
    kept = np.flatnonzero(values > max(n, d) * np.finfo(np.float64).eps * values[-1])[::-1]
    values, vectors = values[kept], vectors[:, kept]
    directions = (rows.T @ vectors / np.sqrt(n * values)).T if wide else vectors.T
    share = ledoit_wolf(rows, float((values**2).sum()))
    rest = share * float(values.sum()) / d
    return Axes((1 - share) * values + rest, directions, rest)


def mahalanobis(rows: Rows, axes: Axes) -> Floats:
    """Distance of each row from the origin under a shrunk covariance: (m,) array."""
    along = (rows @ axes.directions.T.astype(rows.dtype)).astype(np.float64) ** 2
    squares: Floats = (along / axes.variances).sum(axis=1)
    if len(axes.variances) < rows.shape[1]:
        outside = np.maximum(np.einsum("ij,ij->i", rows, rows) - along.sum(axis=1), 0)
        squares += outside / axes.rest if axes.rest > 0 else np.nan
    np.sqrt(squares, out=squares)
    return squares


def bures_squared(first: Floats, second: Floats) -> float:
    """Squared Bures distance of two covariances: `tr(A + B - 2 (A^1/2 B A^1/2)^1/2)`, by eigenvalues, which rounding cannot make complex.

    With the squared distance of the means it makes the Fréchet distance of two Gaussians.

    References
    ----------
    Dowson and Landau, "The Fréchet distance between multivariate normal distributions", Journal of Multivariate Analysis 12, 1982.
    """
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ second @ root)
    return float(np.trace(first) + np.trace(second) - 2 * np.sqrt(np.maximum(inner, 0)).sum())


def spread_like(rows: Floats, variances: Floats) -> Floats:
    """Covariance of rows in coordinates where another cloud has `variances`, shrunk towards the shape of that cloud: (p, p) array.

    A few rows then have the other cloud's shape at their own size, and many rows their own.
    """
    white = rows / np.sqrt(variances)
    white = white - white.mean(axis=0)
    share = ledoit_wolf(white)
    spread: Floats = white.T @ white / (len(white) - 1)
    spread = (1 - share) * spread + share * np.trace(spread) / len(variances) * np.eye(len(variances))
    spread *= np.sqrt(np.outer(variances, variances))
    return spread


def cloud_of(rows: Rows, fold: NDArray[np.intp], k: int) -> Cloud:
    """Describe centred rows that come in folds; distances are taken once for each pair of folds."""
    folds = [np.flatnonzero(fold == at) for at in np.unique(fold)]
    squares = {
        (a, b): squared_distances(rows[folds[a]], rows[folds[b]]) for a in range(len(folds)) for b in range(a + 1, len(folds))
    }
    reach = np.full(len(rows), np.nan)
    for at, own in enumerate(folds):
        if len(rows) - len(own) >= k:
            others = [squares[at, b] if at < b else squares[b, at].T for b in range(len(folds)) if b != at]
            reach[own] = np.sqrt(np.partition(np.hstack(others), k - 1, axis=1)[:, :k]).mean(axis=1, dtype=np.float64)
    if not squares:
        return Cloud(rows, shrunk_axes(rows), reach, np.nan, np.nan)
    bandwidth = float(np.sqrt(np.median(np.concatenate([block.ravel() for block in squares.values()])))) or np.nan
    pairs = sum(block.size for block in squares.values())
    likeness = sum(float(kernel(block, bandwidth).sum(dtype=np.float64)) for block in squares.values()) / pairs
    return Cloud(rows, shrunk_axes(rows), reach, bandwidth, likeness)


def standing(rows: Rows, cloud: Cloud, k: int) -> Standing:
    """Compare rows with a cloud, in blocks; k-nearest quantities are nan if the cloud has fewer than `k` rows."""
    distance, sparsity, likeness = np.full((3, len(rows)), np.nan)
    for at in blocks(len(rows)):
        squares = squared_distances(rows[at], cloud.rows)
        likeness[at] = kernel(squares, cloud.bandwidth).mean(axis=1, dtype=np.float64)
        if len(cloud.rows) >= k:
            near = np.argpartition(squares, k - 1, axis=1)[:, :k]
            distance[at] = np.sqrt(np.take_along_axis(squares, near, axis=1)).mean(axis=1, dtype=np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                sparsity[at] = distance[at] / cloud.reach[near].mean(axis=1)
    return Standing(mahalanobis(rows, cloud.axes), distance, sparsity, likeness)


def mean_likeness(first: Rows, second: Rows | None, bandwidth: float) -> float:
    """Mean kernel between the rows of two arrays, or between different rows of one; nan if there is no pair."""
    other = first if second is None else second
    itself = len(first) if second is None else 0
    pairs = len(first) * len(other) - itself
    if not pairs:
        return np.nan
    total = sum(
        float(kernel(squared_distances(first[at], other), bandwidth).sum(dtype=np.float64)) for at in blocks(len(first))
    )
    return (total - itself) / pairs


def log_distances(rows: Rows) -> Floats:
    """Mean log distance of a row to its nearest, second nearest ... other row: (n - 1,) array; rows that have a copy are left out."""
    if len(rows) < 2:
        return np.empty(0)
    rows = rows.astype(np.float64)
    total, n_kept = np.zeros(len(rows) - 1), 0
    nothing = ALIKE * np.sqrt(np.einsum("ij,ij->i", rows, rows).mean())
    for at in blocks(len(rows)):
        squares = squared_distances(rows[at], rows)
        squares[np.arange(len(squares)), np.arange(len(rows))[at]] = -1
        distances = np.sqrt(np.sort(squares, axis=1)[:, 1:])
        distances = distances[distances[:, 0] > nothing]
        total += np.log(distances).sum(axis=0)
        n_kept += len(distances)
    return total / n_kept if n_kept else np.full(len(total), np.nan)


def two_nearest(profile: Floats, n: int) -> float:
    """Intrinsic dimension by the ratio of the two nearest distances, as `n` rows would show it that were drawn from those of a profile.

    The maximum-likelihood estimate is `1 / mean log(r_2 / r_1)`. It grows with the number of rows, so clouds are comparable at equal numbers alone; the
    mean over every possible draw of `n` rows is exact, by the chance that a drawn row's nearest is its j-th nearest of all.

    Parameters
    ----------
    profile : (N - 1,) float array
        What `log_distances` says of all N rows.
    n : int
        At most N. With `n = N`, the estimate itself. nan below three rows.

    References
    ----------
    Facco, d'Errico, Rodriguez and Laio, "Estimating the intrinsic dimension of datasets by a minimal neighborhood information",
    Scientific Reports 7, 2017, eq. 5.
    """
    from scipy.special import gammaln

    def log_choose(a: Floats, b: int) -> Floats:
        with np.errstate(invalid="ignore"):
            answer: Floats = np.where(a >= b, gammaln(a + 1) - gammaln(b + 1) - gammaln(np.maximum(a - b, 0) + 1), -np.inf)
        return answer

    others = len(profile)
    if n < 3 or n > others + 1:
        return np.nan
    rank = np.arange(1.0, others + 1)
    draws = log_choose(np.array([float(others)]), n - 1)
    nearest = np.exp(log_choose(others - rank, n - 2) - draws)
    second = (rank - 1) * np.exp(log_choose(others - rank, n - 3) - draws)
    return float(1 / ((second - nearest) @ profile))


def totals_of(vectors: Rows, code: Codes, fold: Codes, n_groups: int) -> Totals:
    """Sum the rows of each class and fold; `code` is -1 for bona fide, the group's number from 0, or -2 for rows to leave out."""
    from scipy.sparse import csr_array

    folds, place = np.unique(fold, return_inverse=True)
    known = np.flatnonzero(code >= -1)
    shape = (len(folds), n_groups + 1)
    cell = place[known] * shape[1] + code[known] + 1
    member = csr_array((np.ones(len(known)), (cell, known)), shape=(shape[0] * shape[1], len(code)))
    rows = vectors.astype(np.float64)
    sums, squares = (np.asarray(member @ part).reshape(*shape, -1) for part in (rows, rows**2))
    return Totals(np.asarray(member.sum(axis=1)).reshape(shape), sums, squares)


def row_noise(totals: Totals, folds: list[int], scale: Floats) -> Floats:
    """Squared error of each class's mean over some folds, were its rows independent: (classes,) array; nan for fewer than two rows."""
    n = totals.counts[folds].sum(axis=0)
    sums, squares = totals.sums[folds].sum(axis=0), totals.squares[folds].sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = ((squares - sums**2 / n[:, None]) / scale**2).sum(axis=1)
        noise: Floats = np.where(n > 1, spread / (n**2 - n), np.nan)
    return noise


def fold_noise(totals: Totals, folds: list[int], scale: Floats) -> Floats:
    """Squared error of each class's mean over some folds by how far they lie apart; as `row_noise` where a single one holds rows."""
    counts = totals.counts[folds]
    n = counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = (totals.sums[folds] / counts[:, :, None] - totals.sums[folds].sum(axis=0) / n[:, None]) / scale
        spread = np.nansum((counts[:, :, None] * off) ** 2, axis=(0, 2)) / (n**2 - (counts**2).sum(axis=0))
    return np.where((counts > 0).sum(axis=0) > 1, spread, row_noise(totals, folds, scale))


def placed(totals: Totals) -> Placement:
    """Place every group, averaged over pairs of its folds; nan where there is nothing to measure from.

    In three folds or more the displacements of two folds are multiplied, in which chance cancels on average. In one or two the noise of the rows is taken
    off the square of their common displacement.
    """
    n_folds, n_groups = len(totals.counts), totals.counts.shape[1] - 1
    nothing = Placement(
        *(np.full((n_groups, n_groups + 1) if name == "apart" else n_groups, np.nan) for name in Placement._fields)
    )
    parts = [_placed_by(totals, sorted({u, v})) or nothing for u in range(n_folds) for v in range(u, n_folds)]
    return Placement(*(averaged(values, [part.weight for part in parts]) for values in zip(*parts, strict=True)))


def _placed_by(totals: Totals, folds: list[int]) -> Placement | None:
    """Place the groups by their rows in one fold or two, measured from all others."""
    rest = [at for at in range(len(totals.counts)) if at not in folds]
    own, n = totals.counts[folds, 1:], totals.counts[rest].sum(axis=0)
    in_folds = (totals.counts[:, 1:] > 0).sum(axis=0)
    crossing = (in_folds >= CROSSING) & (len(folds) == 2)
    together = (in_folds == len(folds)) & (own > 0).all(axis=0) & ~crossing
    weight = own.prod(axis=0) * crossing + together
    if n[0] < 2 or not weight.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = totals.sums[rest].sum(axis=0) / n[:, None]
        scale = scale_of(totals.squares[rest, 0].sum(axis=0) / n[0] - mean[0] ** 2, mean[0])
        target = (mean - mean[0]) / scale
        common = (totals.sums[folds, 1:].sum(axis=0) / own.sum(axis=0)[:, None] - mean[0]) / scale
        first, last = (
            np.where(crossing[:, None], (totals.sums[at, 1:] / totals.counts[at, 1:, None] - mean[0]) / scale, common)
            for at in (folds[0], folds[-1])
        )
        size = (first * last).sum(axis=1) - np.where(crossing, 0, row_noise(totals, folds, scale)[1:])
        both, known = first + last, np.nan_to_num(target)
        apart = size[:, None] - both @ known.T + (target**2).sum(axis=1) - fold_noise(totals, rest, scale)
        others = (n[1:] > 0).sum() - (n[1:] > 0)
        other = (known[1:].sum(axis=0) - known[1:]) / others[:, None]
        length = (other**2).sum(axis=1)
        reach = ((other - both / 2) * other).sum(axis=1)
        off = size - (both * other).sum(axis=1) / 2 + length / 4
    return Placement(weight, apart, reach / length, (reach - length / 2) / np.sqrt(length), off)


def scale_of(variance: Floats, mean: Floats) -> Floats:
    """Standard deviations to divide by; 1 for a dimension that is constant but for rounding."""
    deviation = np.sqrt(np.maximum(variance, 0))
    scale: Floats = np.where(deviation > SAME * np.abs(mean), deviation, 1.0)
    return scale


def rooted(squares: Floats) -> Floats:
    """Square root that keeps the sign: of an unbiased squared distance, which noise can make negative."""
    root: Floats = np.sign(squares) * np.sqrt(np.abs(squares))
    return root


def averaged(parts: Iterable[Floats], weights: list[Floats]) -> Floats:
    """Average what is known over the first axis; (groups, ...) parts by (groups,) weights."""
    values = np.stack(list(parts))
    weight = np.stack(weights).reshape(*values.shape[:2], *[1] * (values.ndim - 2))
    weight = np.where(np.isfinite(values), weight, 0)
    with np.errstate(invalid="ignore"):
        mean: Floats = (weight * np.where(weight > 0, values, 0)).sum(axis=0) / weight.sum(axis=0)
    return mean


def blocks(n: int) -> Iterator[slice]:
    """Cut n rows into blocks that bound the memory of a distance matrix."""
    for start in range(0, n, ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, n))
