"""AASIST before any training: what its architecture alone makes of speech, to hold the layers of a trained one against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import BASELINE_WINDOW_S, Audio
from spoofscope.embedders import Card, embedder
from spoofscope.errors import MissingExtra
from spoofscope.networks.aasist import AASIST, expected_shapes, fold, hidden_layer
from spoofscope.networks.workers import Workers, checked_threads

if TYPE_CHECKING:
    from spoofscope.networks.aasist_blocks import Run, Tensor
    from spoofscope.networks.checkpoint import Shape

NAME = "aasist.untrained"


@embedder(
    Card(
        name=NAME,
        licence="MIT",
        window_s=BASELINE_WINDOW_S,
        output="the last hidden layer of AASIST, whose weights are drawn at random",
        paper="Jung et al., AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks, arXiv:2110.01200",
        note="A baseline: what a probe finds here, no training put there.",
    )
)
class AasistUntrained:
    """AASIST with random weights; its batch normalisations have seen nothing and change nothing.

    Parameters
    ----------
    seed : int
        Of the weights.
    threads : int, optional
        Recordings computed side by side; as many as this process may use unless given. It changes no vector.

    Raises
    ------
    MissingExtra
        If PyTorch is not installed.
    """

    card: Card
    layers = ("last_hidden",)
    dim = 5 * AASIST.dims[1]

    def __init__(self, *, seed: int = 0, threads: int | None = None) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtra(NAME, "torch") from error
        self.settings: Mapping[str, Any] = {"seed": seed}
        self._workers = Workers(checked_threads(threads, name=NAME))
        rng = np.random.default_rng(seed)
        state = {name: torch.from_numpy(value) for name, value in _drawn(expected_shapes(AASIST), rng)}
        with torch.inference_mode():
            self._weights = fold(state, AASIST)

    def embed(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the last hidden layer of each recording, (n, 1, dim) float32, the same to the last bit whatever the batch."""
        import torch

        heard = [torch.from_numpy(np.array(self.card.fit(audio), dtype=np.float32))[None] for audio in batch]
        if not heard:
            return np.empty((0, 1, self.dim), dtype=np.float32)
        vectors: NDArray[np.float32] = torch.stack(self._workers.map(self._hear, heard)).numpy()
        return vectors

    def _hear(self, audio: Tensor, run: Run) -> Tensor:
        return hidden_layer(audio, self._weights, AASIST, run=run)


def _drawn(shapes: Mapping[str, Shape], rng: np.random.Generator) -> Iterator[tuple[str, NDArray[Any]]]:
    """Draw every tensor of a checkpoint: kernels so that no layer shrinks its input (He et al. 2015), norms as if they had seen nothing."""
    for name, shape in shapes.items():
        layer, _, part = name.rpartition(".")
        is_norm = f"{layer}.running_mean" in shapes
        if part == "num_batches_tracked":
            yield name, np.zeros(shape, dtype=np.int64)
        elif part in ("running_mean", "bias"):
            yield name, np.zeros(shape, dtype=np.float32)
        elif is_norm:
            yield name, np.ones(shape, dtype=np.float32)
        else:
            inputs = prod(shape[1:]) if part == "weight" else shape[0] if part.startswith("att_weight") else 2
            yield name, rng.standard_normal(shape, dtype=np.float32) * np.float32(sqrt(2 / inputs))
