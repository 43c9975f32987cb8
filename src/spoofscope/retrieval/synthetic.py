"""Draw as many synthetic embeddings as wanted, after real ones: what to measure an index on where real ones are too few.

Two models: `vectors_around` keeps the clusters of the real rows, as a corpus has them; `synthetic_like` keeps only mean and covariance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import DataError
from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.index import Vectors

Floats = NDArray[np.float32]

ROWS_AT_ONCE = 1 << 14
NEIGHBOURS = 32


def synthetic_like(vectors: Vectors, n: int, rng: np.random.Generator) -> Floats:
    """Draw normal vectors of measured mean and covariance.

    The neighbours of such a vector are far and mean nothing: once whitened, all rows are nearly at right angles to it, and no index has an easy
    way to the few that are a little less so. Recall here says what an index does where there is nothing to find.

    Parameters
    ----------
    vectors : (m, dim) float array
        Finite rows to take mean and covariance (divisor m) from; read in blocks.
    n : int
        Vectors to draw.
    rng : numpy.random.Generator
        Its state after is as if the numbers had been drawn at once.

    Returns
    -------
    (n, dim) float32 array

    Raises
    ------
    DataError
        If there are fewer than two rows.
    """
    m, dim = vectors.shape
    if m < 2:
        raise DataError(f"a covariance needs at least 2 rows; found {m}")
    parts = range(0, m, ROWS_AT_ONCE)
    mean = sum((vectors[at : at + ROWS_AT_ONCE].sum(axis=0, dtype=np.float64) for at in parts), np.zeros(dim)) / m
    covariance = np.zeros((dim, dim))
    for at in parts:
        centred = vectors[at : at + ROWS_AT_ONCE] - mean
        covariance += centred.T @ centred
    values, directions = np.linalg.eigh(covariance / m)
    mix = (directions * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)
    drawn = np.empty((n, dim), dtype=np.float32)
    for at in range(0, n, ROWS_AT_ONCE):
        part = drawn[at : at + ROWS_AT_ONCE]
        np.matmul(rng.standard_normal(part.shape, dtype=np.float32), mix, out=part)
        part += mean.astype(np.float32)
    return drawn


def vectors_around(centres: Vectors, n: int, rng: np.random.Generator) -> Floats:
    """Draw vectors around real rows, as many around each, in no order of centres.

    A vector is a centre c plus sum_i w_i (c_i - c) / sqrt(32) over the 32 other centres c_i of largest cosine to c, with standard normal
    weights w_i: the cloud around a centre is flat where its neighbours are. Fewer than 33 centres are all neighbours of each other.

    Parameters
    ----------
    centres : (c, dim) float array
        At least two rows, none zero: whitened ones, where the index whitens.
    n : int
        Vectors to draw.
    rng : numpy.random.Generator
        Of order and weights.

    Returns
    -------
    (n, dim) float32 array

    Raises
    ------
    DataError
        If there are fewer than two centres, or one is not finite or zero.
    """
    centres = np.asarray(centres, dtype=np.float32)
    if len(centres) < 2:
        raise DataError(f"vectors are drawn between centres; at least 2 are needed, found {len(centres)}")
    index = ExactIndex(metric="cosine")
    index.add(np.arange(len(centres)), centres)
    found = index.search(centres, min(NEIGHBOURS + 1, len(centres))).places
    drawn = np.empty((n, centres.shape[1]), dtype=np.float32)
    for centre, places in enumerate(np.array_split(rng.permutation(n), len(centres))):
        near = found[centre][found[centre] != centre][:NEIGHBOURS]
        displacements = (centres[near] - centres[centre]) / np.float32(np.sqrt(len(near)))
        for at in range(0, len(places), ROWS_AT_ONCE):
            part = places[at : at + ROWS_AT_ONCE]
            drawn[part] = centres[centre] + rng.standard_normal((len(part), len(near)), dtype=np.float32) @ displacements
    return drawn
