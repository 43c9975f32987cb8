"""Clusters of trials: what an interval resamples as a whole.

Conventions
-----------
A factor is a column whose values are drawn with replacement: all trials of a speaker come and go together. Several factors are
drawn independently and a trial weighs the product of its factors' weights (the pigeonhole bootstrap), so that speakers and
attacks both count as samples of a larger population.

References
----------
Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007, doi:10.1214/07-AOAS122.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import ScoresError

Codes = NDArray[np.intp]
FEW_CLUSTERS = 10


@dataclass(frozen=True)
class Factor:
    """One column to resample: how many values it has, and which one each trial carries (`None`: this class has no such column)."""

    name: str
    size: int
    bonafide: Codes | None
    spoof: Codes | None


@dataclass(frozen=True)
class Clusters:
    """How the trials of both classes fall into clusters, factor by factor.

    Parameters
    ----------
    factors : tuple of Factor
        Each class has a code in at least one of them.
    n_bonafide, n_spoof : int
        Number of trials of each class, in the order of the scores that they belong to.
    """

    factors: tuple[Factor, ...]
    n_bonafide: int
    n_spoof: int

    def __post_init__(self) -> None:
        for label, expected in (("bonafide", self.n_bonafide), ("spoof", self.n_spoof)):
            codes = [code for factor in self.factors if (code := getattr(factor, label)) is not None]
            if not codes:
                raise ScoresError(f"no column says how to cluster the {label} trials; give at least one for each class")
            for code in codes:
                if code.shape != (expected,):
                    raise ScoresError(f"{label} clusters have shape {code.shape} for {expected} trials")

    @property
    def n_clusters(self) -> int:
        """Number of values of the first factor: speakers, where speakers are resampled."""
        return self.factors[0].size

    def describe(self) -> str:
        """Say in a phrase what is resampled, such as `48 speaker x 13 attack`."""
        return " x ".join(f"{factor.size:,} {factor.name}" for factor in self.factors)

    def caveat(self) -> str:
        """Say what makes the interval rough; empty if nothing does."""
        first = self.factors[0]
        if first.size == self.n_bonafide + self.n_spoof:
            return f"no two trials are known to share a {first.name}: trials count as independent"
        few = [f"{factor.size} {factor.name}" for factor in self.factors if 1 < factor.size < FEW_CLUSTERS]
        return f"only {' and '.join(few)} clusters: the interval is rough and probably too narrow" if few else ""

    def take(self, bonafide: NDArray[np.generic] | slice, spoof: NDArray[np.generic] | slice) -> Clusters:
        """Keep the trials that two masks, index arrays or slices select; values that no kept trial carries are dropped."""
        kept = []
        n_bonafide, n_spoof = (len(np.arange(n)[rows]) for n, rows in ((self.n_bonafide, bonafide), (self.n_spoof, spoof)))
        for factor in self.factors:
            own = None if factor.bonafide is None else factor.bonafide[bonafide]
            other = None if factor.spoof is None else factor.spoof[spoof]
            used = np.zeros(factor.size, dtype=bool)
            for codes in (own, other):
                if codes is not None:
                    used[codes] = True
            renumber = np.cumsum(used) - 1
            kept.append(
                Factor(
                    factor.name,
                    int(used.sum()),
                    None if own is None else renumber[own],
                    None if other is None else renumber[other],
                )
            )
        return Clusters(tuple(kept), n_bonafide, n_spoof)


def clusters_of(
    bonafide: Mapping[str, Sequence[str | None] | NDArray[np.generic]],
    spoof: Mapping[str, Sequence[str | None] | NDArray[np.generic]],
) -> Clusters:
    """Cluster trials by columns.

    Parameters
    ----------
    bonafide, spoof : mapping of column name to (n,), (m,) values
        The columns to resample by. A name in both is one factor over both classes (a speaker's bona fide and spoof trials come
        and go together); a name in one, such as `attack`, concerns that class alone. A trial whose value is None is its own
        cluster.

    Raises
    ------
    ScoresError
        If a class has no column, or its columns differ in length.

    Examples
    --------
    >>> clusters = clusters_of({"speaker": ["a", "b", None]}, {"speaker": ["a", "a"], "attack": ["A07", "A08"]})
    >>> clusters.describe()
    '3 speaker x 2 attack'
    """
    if not bonafide or not spoof:
        raise ScoresError("each class needs a column to cluster by")
    n_bonafide, n_spoof = (len(next(iter(columns.values()))) for columns in (bonafide, spoof))
    factors = []
    for name in dict.fromkeys((*bonafide, *spoof)):
        known: dict[object, int] = {}
        own = _encode(bonafide[name], known) if name in bonafide else None
        other = _encode(spoof[name], known) if name in spoof else None
        factors.append(Factor(name, len(known), own, other))
    return Clusters(tuple(factors), n_bonafide, n_spoof)


def independent(n_bonafide: int, n_spoof: int) -> Clusters:
    """Make every trial its own cluster, each class resampled to its own size: the iid bootstrap."""
    return Clusters(
        (
            Factor("bona fide trials", n_bonafide, np.arange(n_bonafide), None),
            Factor("spoof trials", n_spoof, None, np.arange(n_spoof)),
        ),
        n_bonafide,
        n_spoof,
    )


def _encode(values: Sequence[str | None] | NDArray[np.generic], known: dict[object, int]) -> Codes:
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    return np.fromiter(
        (known.setdefault(object() if value is None else value, len(known)) for value in listed),
        dtype=np.intp,
        count=len(listed),
    )


class Cells:
    """The trials of one class gathered into cells: the combinations of factor values that occur."""

    def __init__(self, clusters: Clusters, label: str) -> None:
        self.factors = [place for place, factor in enumerate(clusters.factors) if getattr(factor, label) is not None]
        codes = [getattr(clusters.factors[place], label) for place in self.factors]
        joint = codes[0]
        for place, code in zip(self.factors[1:], codes[1:], strict=True):
            joint = joint * clusters.factors[place].size + code
        _, first, self.index = np.unique(joint, return_index=True, return_inverse=True)
        self.levels = [code[first] for code in codes]

    def __len__(self) -> int:
        return len(self.levels[0])

    def weights(self, drawn: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Multiply the drawn weights of the factors: (replicates, cells)."""
        product = drawn[self.factors[0]][:, self.levels[0]]
        for place, level in zip(self.factors[1:], self.levels[1:], strict=True):
            product = product * drawn[place][:, level]
        return product


def draw_weights(clusters: Clusters, replicates: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Draw how often each value of each factor is picked: one (replicates, size) array per factor, every row summing to size."""
    drawn = []
    for factor in clusters.factors:
        picks = rng.integers(factor.size, size=(replicates, factor.size))
        picks += factor.size * np.arange(replicates)[:, None]
        counts = np.bincount(picks.ravel(), minlength=replicates * factor.size)
        drawn.append(counts.reshape(replicates, factor.size).astype(np.float64))
    return drawn
