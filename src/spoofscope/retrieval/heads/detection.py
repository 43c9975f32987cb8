"""Detection by neighbours: scores, higher meaning more bona fide, all read off one search.

`density`
    The k-th nearest spoof row's distance against the k-th nearest bona fide row's: log d_k(spoof) - log d_k(bonafide). Up to a factor, the number of
    dimensions, and a constant, it is the log ratio of two nearest-neighbour density estimates (Loftsgaarden and Quesenberry, Annals of Mathematical Statistics 36,
    1965), so that classes of any size compare.
`vote`
    Of the k nearest of all, the share that is bona fide less the share that is spoof: k + 1 different scores, and the larger class is nearer by numbers alone.
`weighted`
    The same with each vote weighed: by the cosine, clipped at 0, as the reference study has it; or by exp(-d^2 / 2 d_k^2) for distances.
`one_class`
    The k-th nearest bona fide row's similarity: no spoof is needed.

Scores order trials and are not calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from spoofscope.retrieval.heads.known import Sides, Similarities
from spoofscope.retrieval.index import Metric

Floats = NDArray[np.float64]
RESOLVED = 1e-6
"""The nearest that float32 similarities tell two rows apart, as a distance."""


def density(sides: Sides) -> Floats:
    """Return (q,) log ratios of the distances to both classes."""
    far = [np.maximum(sides.distances(side.similarities[:, -1]), RESOLVED) for side in (sides.spoof, sides.bonafide)]
    return np.log(far[0]) - np.log(far[1])


def vote(sides: Sides) -> Floats:
    """Return (q,) differences of shares, from -1 to 1; a neighbour that was not found votes for neither."""
    near, is_bonafide = sides.nearest
    answer: Floats = np.where(near.rows < 0, 0.0, np.where(is_bonafide, 1.0, -1.0)).mean(axis=1)
    return answer


def weighted(sides: Sides) -> Floats:
    """Return (q,) differences of weighed shares, from -1 to 1; 0 where no neighbour has weight."""
    near, is_bonafide = sides.nearest
    weights = np.where(near.rows < 0, 0.0, vote_weights(near.similarities, sides.metric))
    total = weights.sum(axis=1)
    signed = np.where(is_bonafide, weights, -weights).sum(axis=1)
    answer: Floats = np.divide(signed, total, out=np.zeros(len(total)), where=total > 0)
    return answer


def one_class(sides: Sides) -> Floats:
    """Return (q,) similarities of the k-th nearest bona fide row."""
    return sides.bonafide.similarities[:, -1].astype(np.float64)


def vote_weights(similarities: Similarities, metric: Metric) -> Floats:
    """Weigh neighbours, nearest first: (q, k) weights of at least 0."""
    values = similarities.astype(np.float64)
    if metric == "cosine":
        return np.maximum(values, 0.0)
    width = np.maximum(-values[:, -1:], RESOLVED)
    return np.exp(-np.square(values / width) / 2)


METHODS: Mapping[str, Callable[[Sides], Floats]] = {
    "density": density,
    "vote": vote,
    "weighted": weighted,
    "one_class": one_class,
}
"""Ways to score, the first being the one that answers are about."""
