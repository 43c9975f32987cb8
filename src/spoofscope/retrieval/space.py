"""The space in which rows are compared: as given, centred, or whitened.

Embeddings of self-supervised models lie in a narrow cone about their mean, where all cosines are near 1 and a hyperplane through the origin
hardly parts them. Centring takes the cone away; whitening also stops few directions of large variance from deciding every comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import DataError
from spoofscope.retrieval.index import Vectors

ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Space:
    """An affine map: `(x - mean) @ axes`; `axes` None leaves the centred vector as it is."""

    mean: NDArray[np.float32]
    axes: NDArray[np.float32] | None = None

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (n, dim) vectors to (n, r)."""
        centred: NDArray[np.float32] = vectors - self.mean
        return centred if self.axes is None else centred @ self.axes


def fit_space(vectors: Vectors, *, whiten: bool, components: int | None = None) -> Space:
    """Fit centring or whitening to rows, reading them in blocks.

    Parameters
    ----------
    vectors : (n, dim) float array
        Finite rows.
    whiten : bool
        Whether to whiten too: principal axes, each divided by its standard deviation under the covariance C of the rows, shrunk towards a multiple of
        the identity, (1 - s) C + s (tr C / dim) I. The share s is Ledoit and Wolf's.
    components : int, optional
        Keep the axes of largest variance only. Axes without any variance are never kept.

    Raises
    ------
    DataError
        If rows are to be whitened and do not vary, or vary in fewer directions than `components`.

    References
    ----------
    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 88, 2004.
    """
    n, dim = vectors.shape
    mean = sum((block.sum(axis=0) for block in _blocks(vectors)), np.zeros(dim)) / n
    if not whiten:
        return Space(mean.astype(np.float32))
    covariance, fourth = np.zeros((dim, dim)), 0.0
    for block in _blocks(vectors):
        block -= mean
        covariance += block.T @ block
        fourth += float((np.einsum("ij,ij->i", block, block) ** 2).sum())
    covariance /= n
    square, level = float((covariance**2).sum()), float(np.trace(covariance)) / dim
    apart = square - level**2 * dim
    share = min(max((fourth / n - square) / n / apart, 0.0), 1.0) if apart > 0 else 1.0
    values, directions = np.linalg.eigh((1 - share) * covariance + share * level * np.eye(dim))
    kept = np.flatnonzero(values > dim * np.finfo(np.float64).eps * max(values[-1], np.square(mean).max()))[::-1]
    if not len(kept) or len(kept) < (components or 0):
        raise DataError(
            f"{n} rows vary in {len(kept)} of {dim} directions; whitening needs {components or 'at least 1'}. "
            "Add different rows first, or do not whiten."
        )
    kept = kept[:components]
    return Space(mean.astype(np.float32), (directions[:, kept] / np.sqrt(values[kept])).astype(np.float32))


def _blocks(vectors: Vectors) -> Iterator[NDArray[Any]]:
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        yield np.array(vectors[start : start + ROWS_AT_ONCE], dtype=np.float64)
