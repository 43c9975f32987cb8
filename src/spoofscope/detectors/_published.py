"""What published networks share: weights verified, a score that depends on its recording alone, and the layer behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.cards import Card
from spoofscope.errors import MissingExtra
from spoofscope.fetch import verify, weights_path
from spoofscope.networks.aasist_blocks import Run, Tensor, Weights
from spoofscope.networks.checkpoint import Shape, check_state, read_state
from spoofscope.networks.devices import checked_device
from spoofscope.networks.workers import Workers, checked_threads, in_turn

OUTPUT = "logit of the class bona fide (index 1 of 2), before any softmax"


class HiddenLayer(Protocol):
    """(n, samples) audio and folded weights to the last hidden layer, (n, dim)."""

    def __call__(self, audio: Tensor, weights: Weights, *, run: Run, whole: bool) -> Tensor:
        """Compute; `run` is given independent stretches of time, `whole` asks for one stretch."""
        ...


class Network(NamedTuple):
    """A network as four functions: the tensors of its checkpoint, their folding, and the way from audio to two logits."""

    expected_shapes: Callable[[], dict[str, Shape]]
    fold: Callable[[Weights], dict[str, Tensor]]
    hidden_layer: HiddenLayer
    logits: Callable[[Tensor, Weights], Tensor]


class PublishedDetector:
    """A network with the one checkpoint that its card names.

    Parameters
    ----------
    weights : path, optional
        The published checkpoint; looked up in `SPOOFSCOPE_WEIGHTS` and the user's cache unless given.
    device : str
        `"cpu"`, or `"cuda"`, where a batch is computed at once and a score may differ in its last digits with the batch.
    threads : int, optional
        Recordings computed side by side; as many as this process may use unless given. It does not change a score.

    Raises
    ------
    WeightsError
        If the checkpoint is absent, damaged, or that of another model.
    """

    card: ClassVar[Card]
    network: ClassVar[Network]
    dim: ClassVar[int]
    layers = ("last_hidden",)
    precision = "float32"

    def __init__(self, *, weights: str | Path | None = None, device: str = "cpu", threads: int | None = None) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtra(self.card.name, "torch") from error
        self._device = checked_device(device)
        threads = checked_threads(threads, name=self.card.name)
        path = weights_path(self.card, weights=weights)
        state = read_state(path)
        check_state(state, self.network.expected_shapes(), path=path, name=self.card.name)
        verify(path, self.card)
        self._workers = Workers(threads)
        with torch.inference_mode():
            folded = self.network.fold(state)
            self._weights = {name: value.to(self._device) for name, value in folded.items()}

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the logit of bona fide for each recording, (n,) float32.

        On a CPU the score of a recording is the same to the last bit whatever the batch, its order, and `threads`.
        """
        return self.logits(batch)[:, 1]

    def logits(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return both logits, (n, 2) float32: index 0 is spoof, index 1 bona fide."""
        return self._forward(batch)[1]

    def embed(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the last hidden layer, of which the score is a linear function: (n, 1, dim) float32."""
        return self._forward(batch)[0][:, None]

    def _forward(self, batch: Sequence[Audio]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        import torch

        heard = [torch.from_numpy(np.array(self.card.fit(audio), dtype=np.float32))[None] for audio in batch]
        if not heard:
            return np.empty((0, self.dim), np.float32), np.empty((0, 2), np.float32)
        if self._device == "cpu":
            answers = self._workers.map(self._hear, heard)
        else:
            with torch.inference_mode():
                answers = [self._hear(torch.cat(heard).to(self._device), in_turn)]
        hidden, both = (torch.cat(parts).cpu().numpy() for parts in zip(*answers, strict=True))
        return hidden, both

    def _hear(self, audio: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        hidden = self.network.hidden_layer(audio, self._weights, run=run, whole=self._device != "cpu")
        return hidden, self.network.logits(hidden, self._weights)
