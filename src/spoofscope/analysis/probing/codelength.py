"""Measures of decodability that do not saturate: the online codelength of labels, and what a probe learns from a few examples.

Conventions
-----------
Probes are those of `decoding`. Their distribution over classes is the sigmoid of each class's log-odds, divided by the sum of all. Codelengths are
in bits.

References
----------
Voita and Titov, "Information-theoretic probing with minimum description length", EMNLP 2020, section 3.2 (online code).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from spoofscope.analysis.heads.logistic import Floats, Vectors
from spoofscope.analysis.probing.decoding import Codes, one_vs_rest

STRENGTHS = (1e-6, 1e-4, 1e-2, 1.0)
"""The penalties (C) that a sender may choose from; naming one costs 2 bits of the whole message."""


class Code(NamedTuple):
    """Length of a message that tells every label to one who has the vectors, in bits; `bits` is nan where nothing can be learnt."""

    bits: float
    uniform: float
    n: int


class Taught(NamedTuple):
    """One draw of a few examples: the rows that are tested, (m,), and their (m, k) log-odds."""

    rows: Codes
    decision: Floats


def online_code(vectors: Vectors, codes: Codes, clusters: Codes, n_classes: int, *, rng: np.random.Generator) -> Code:
    """Measure how many bits tell the labels when each block is coded by a probe trained on all blocks before it.

    Whole clusters (speakers) come one after another in random order, those that show a class for the first time in front; they are the first
    block, coded uniformly. Each further block doubles what has been sent, up to the end of a cluster, so that what is coded comes from clusters
    that were not learnt from. The penalty is chosen from `STRENGTHS` for the whole message and named in it.

    Parameters
    ----------
    vectors : (n, d) float array
    codes : (n,) int array
        Class of each row, from 0, every one of `n_classes` present.
    clusters : (n,) int array
        What must not be split between blocks.
    """
    order, ends = _blocks(codes, clusters, rng)
    n = len(codes)
    uniform = n * float(np.log2(n_classes))
    if len(ends) < 2:
        return Code(np.nan, uniform, n)
    bits = np.zeros(len(STRENGTHS))
    for start, stop in itertools.pairwise(ends):
        known, coded = order[:start], order[start:stop]
        everything = np.ones((start, len(STRENGTHS)))
        fit = one_vs_rest(vectors[known], codes[known], everything, n_classes, c=np.array(STRENGTHS))
        decision = fit.decision(vectors[coded]).reshape(len(coded), len(STRENGTHS), n_classes)
        bits += _bits(decision, codes[coded]).sum(axis=0)
    return Code(ends[0] * float(np.log2(n_classes)) + float(np.log2(len(STRENGTHS))) + float(bits.min()), uniform, n)


def few_shot(
    vectors: Vectors, codes: Codes, fold: Codes, n_classes: int, *, shots: int, draws: int, rng: np.random.Generator
) -> Iterator[Taught]:
    """Teach a probe with a few rows per class of the other folds and test it on one fold, the folds taking turns.

    Parameters
    ----------
    vectors : (n, d) float array
    codes, fold : (n,) int array
        Class and fold of each row; every class stands in two folds at least.
    shots : int
        Rows per class; a class that has fewer outside the tested fold gives all.
    draws : int
        How often rows are drawn anew.
    """
    folds = np.unique(fold)
    for draw in range(draws):
        tested = np.flatnonzero(fold == folds[draw % len(folds)])
        order = rng.permutation(np.flatnonzero(fold != folds[draw % len(folds)]))
        taught = np.concatenate([order[codes[order] == code][:shots] for code in range(n_classes)])
        fit = one_vs_rest(vectors[taught], codes[taught], np.ones((len(taught), 1)), n_classes)
        yield Taught(tested, fit.decision(vectors[tested]))


def _blocks(codes: Codes, clusters: Codes, rng: np.random.Generator) -> tuple[Codes, list[int]]:
    """Order the rows by cluster, and say after how many rows each block ends."""
    cluster = np.unique(clusters, return_inverse=True)[1]
    place = rng.permutation(cluster.max() + 1)[cluster]
    first_to_show = [place[codes == code].min() for code in np.unique(codes)]
    place = np.where(np.isin(place, first_to_show), place - (cluster.max() + 1), place)
    order = np.lexsort((rng.permutation(len(codes)), place))
    cuts = np.flatnonzero(np.diff(place[order], append=place.max() + 1)) + 1
    ends = [int((place < 0).sum())]
    while ends[-1] < len(codes):
        ends.append(int(cuts[np.searchsorted(cuts, min(2 * ends[-1], len(codes)))]))
    return order, ends


def _bits(decision: Floats, codes: Codes) -> Floats:
    """Return the (n, p) bits that tell each row's class under (n, p, k) log-odds."""
    log_chance = -np.logaddexp(0, -decision)
    own = np.take_along_axis(log_chance, codes[:, None, None], axis=2)[:, :, 0]
    bits: Floats = (np.logaddexp.reduce(log_chance, axis=2) - own) / np.log(2)
    return bits
