"""Random hyperplanes and the codes they give: bit i says on which side of hyperplane i a vector lies.

For hyperplanes with independent normal coefficients, two vectors at angle theta get the same bit with probability 1 - theta / pi, and the same b bits
with (1 - theta / pi)^b (Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002).
"""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from functools import lru_cache
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from spoofscope.retrieval.index import Places
from spoofscope.retrieval.rows import RowIndex
from spoofscope.retrieval.selection import Words
from spoofscope.retrieval.space import ROWS_AT_ONCE

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]

WORD = 64


def hyperplanes(dim: int, n_bits: int, seed: int) -> Floats:
    """Draw (dim, n_bits) normal coefficients."""
    return np.random.default_rng(seed).standard_normal((dim, n_bits), dtype=np.float32)


def packed_codes(vectors: Floats, planes: Floats) -> Words:
    """Pack the sides of (n, dim) vectors into (n, words) uint64, bit i of the code being bit i % 64 of word i // 64."""
    octets = np.zeros((len(vectors), 8 * -(-planes.shape[1] // WORD)), dtype=np.uint8)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        sides = np.packbits(vectors[start : start + ROWS_AT_ONCE] @ planes > 0, axis=1, bitorder="little")
        octets[start : start + len(sides), : sides.shape[1]] = sides
    return octets.view("<u8").astype(np.uint64, copy=False)


def bits_of(codes: Words, first: int, n_bits: int) -> Words:
    """Read `n_bits` < 64 bits of each packed code, from bit `first` on: (n,) uint64."""
    word, shift = divmod(first, WORD)
    found = codes[:, word] >> np.uint64(shift)
    if shift + n_bits > WORD:
        found |= codes[:, word + 1] << np.uint64(WORD - shift)
    found &= np.uint64(2**n_bits - 1)
    return found


class CodedIndex(RowIndex):
    """An index whose rows have packed codes of `n_code_bits` hyperplanes, drawn with the setting `seed`."""

    def __init__(self, n_code_bits: int, seed: int, **space: Any) -> None:
        super().__init__(**space)
        self._n_code_bits = n_code_bits
        self._settings |= {"seed": seed}
        self._planes: Floats = np.empty((0, 0), dtype=np.float32)
        self._codes: Words = np.empty((0, -(-n_code_bits // WORD)), dtype=np.uint64)

    def _copied(self) -> Self:
        """Return an index of the same arrays, whose settings are its own."""
        other = copy(self)
        other._settings = dict(self._settings)
        return other

    @abstractmethod
    def _arrange(self) -> None:
        """Lay out the codes for the search."""

    def _follow(self, old: Places) -> None:
        if not self._planes.size:
            self._planes = hyperplanes(self.vectors.shape[1], self._n_code_bits, self._settings["seed"])
        new = packed_codes(self.vectors[len(old) :], self._planes)
        self._codes = np.concatenate((self._codes[old], new)) if len(old) else new
        self._arrange()


@lru_cache
def ball(n_bits: int, radius: int) -> Numbers:
    """Codes of at most `radius` set bits: what to flip to reach each bucket of a Hamming ball."""
    flips = [sum(1 << bit for bit in chosen) for r in range(radius + 1) for chosen in combinations(range(n_bits), r)]
    return np.array(flips, dtype=np.int64)


@lru_cache
def perturbations(n_bits: int, count: int) -> Floats:
    """Sets of bits that may be among the `count` cheapest to flip: (sets, n_bits) of 0 and 1, column 0 for the least certain bit.

    The cost of a set is the sum of its bits' squared margins. Whatever the margins, a set costs no less than any that it dominates: one of no more
    bits, each of which can be paired with a bit of the set that is as certain or more. A set that dominates `count` others is therefore not needed, nor
    is any made from it by moving its most certain bit up or by adding a more certain one; those two steps lead to every set (Lv et al. 2007, section 4.4).
    """
    kept: list[tuple[int, ...]] = [()]
    waiting: list[tuple[int, ...]] = [(0,)]
    while waiting:
        bits = waiting.pop()
        if bits[0] >= n_bits or _dominated(bits, count) > count:
            continue
        kept.append(bits)
        waiting += [(bits[0] + 1, *bits[1:]), (bits[0] + 1, *bits)]
    sets = np.zeros((len(kept), n_bits), dtype=np.float32)
    for at, bits in enumerate(kept):
        sets[at, list(bits)] = 1
    return sets


def _dominated(bits: tuple[int, ...], most: int) -> int:
    """Count the sets that a set (most certain bit first) dominates, itself included; above `most` the count may stop."""
    # below[b]: how many ways the bits handled so far, the least certain ones, can be dominated by sets of bits below b
    below = [1] * (bits[0] + 2)
    for bit in reversed(bits):
        total, following = 1, [1]
        for candidate in range(bits[0] + 1):
            if candidate <= bit:
                total += below[candidate]
            following.append(total)
        below = following
        if below[-1] > most:
            break
    return below[-1]
