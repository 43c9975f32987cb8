"""Embedders: one file per family. An embedder turns each recording into vectors, one per layer.

The contract has no base class. Decorate a class whose constructor needs no argument (or takes only the keyword arguments
that its docstring lists; these become its options in a recipe), with two attributes and one method::

    layers: tuple[str, ...]                                            # what the vectors are called, in order
    dim: int                                                           # length of each
    def embed(self, batch: Sequence[Audio]) -> (n, layers, dim) float32 array

`batch` holds one-dimensional float32 arrays at `card.sample_rate`, of any length above 0, already fitted to `card.window_s`.
The vectors of a recording may not depend on the rest of its batch, beyond rounding (1e-4). What changes the vectors without
changing the card (pooling, normalisation, the layers kept) goes into an attribute `settings`, a mapping of JSON values: it is
part of the key that the vectors are stored under. A detector with these two attributes and this method is an embedder as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.cards import Card as Card
from spoofscope.cards import Models


@runtime_checkable
class Embedder(Protocol):
    """Anything that turns a batch of recordings into vectors; see the docstring of this module."""

    card: Card
    layers: tuple[str, ...]
    dim: int

    def embed(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the vectors of each recording, (n, layers, dim)."""
        ...


embedders: Models[Callable[..., Embedder]] = Models("embedder", "spoofscope.embedders")
embedder = embedders.register
card_of = embedders.card_of


def build_embedder(name: str, /, *source: str, **options: Any) -> Embedder:
    """Build the embedder called `name` with its settings; `source` is what stands behind the colon of `hf:ORG/NAME`.

    Raises
    ------
    UnknownName
        If no embedder has that name.
    UserError
        If an option is none of the embedder's, or one that it needs is missing.
    """
    built: Embedder = embedders.build(name, *source, **options)
    return built
