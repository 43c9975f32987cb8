"""Pool the frames of a recording into one vector: their mean, or their mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import UserError

Pool: TypeAlias = Literal["mean", "mean_std"]


class Moments(NamedTuple):
    """How many frames there were, their mean and their population variance, (dim,) each in float64."""

    frames: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def checked_pool(pool: str) -> Pool:
    """Return `pool` if it is one of the two words.

    Raises
    ------
    UserError
        If it is not.
    """
    if pool not in get_args(Pool):
        raise UserError(f"pool is '{pool}'; it must be one of {', '.join(get_args(Pool))}")
    return pool  # type: ignore[return-value]


def pooled_dim(dim: int, pool: Pool) -> int:
    """Return the length of what `pool` makes of frames of `dim` numbers."""
    return dim if pool == "mean" else 2 * dim


def moments_of(frames: NDArray[np.floating]) -> Moments:
    """Return the moments of (frames, dim) numbers."""
    values = frames.astype(np.float64)
    return Moments(len(values), values.mean(axis=0), values.var(axis=0))


def merged(parts: Sequence[Moments]) -> Moments:
    """Return the moments of all frames together, from those of the parts that a recording was cut into.

    References
    ----------
    T. F. Chan, G. H. Golub, R. J. LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances.
    Technical report STAN-CS-79-773, 1979.
    """
    total = parts[0]
    for part in parts[1:]:
        frames = total.frames + part.frames
        step = part.mean - total.mean
        variance = (total.frames * total.variance + part.frames * part.variance) / frames
        between = step**2 * (total.frames / frames) * (part.frames / frames)
        total = Moments(frames, total.mean + step * (part.frames / frames), variance + between)
    return total


def vector(moments: Moments, pool: Pool) -> NDArray[np.float32]:
    """Return the mean, (dim,), or the mean followed by the population standard deviation, (2 dim,)."""
    if pool == "mean":
        return moments.mean.astype(np.float32)
    return np.concatenate([moments.mean, np.sqrt(moments.variance)]).astype(np.float32)
