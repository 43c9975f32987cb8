"""AASIST, the graph attention detector that hears raw waveforms, with three sets of published weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.detectors import Card, detector
from spoofscope.errors import MissingExtra, RecipeError
from spoofscope.fetch import verify, weights_path
from spoofscope.networks.aasist import AASIST, AASIST_L, Architecture, expected_shapes, fold, hidden_layer, logits
from spoofscope.networks.aasist_blocks import Run, Tensor
from spoofscope.networks.checkpoint import check_state, read_state
from spoofscope.networks.workers import Workers, available_threads, in_turn

PAPER = "Jung et al., AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks, arXiv:2110.01200"
CLOVAAI = "https://raw.githubusercontent.com/clovaai/aasist/main/models/weights"
ASVSPOOF5 = "https://raw.githubusercontent.com/asvspoof-challenge/asvspoof5/main/Baseline-AASIST/models/weights/AASIST/best.pth"
WINDOW_S = 64_600 / 16_000
OUTPUT = "logit of the class bona fide (index 1 of 2), before any softmax"


class _PublishedAasist:
    """What the three detectors share; see `AasistLa19`."""

    card: ClassVar[Card]
    architecture: ClassVar[Architecture]
    precision = "float32"
    layers = ("last_hidden",)
    dim = 160

    def __init__(self, *, weights: str | Path | None = None, device: str = "cpu", threads: int | None = None) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtra(self.card.name, "torch") from error
        self._device = _checked_device(device)
        threads = available_threads() if threads is None else threads
        if threads < 1:
            raise RecipeError(f"{self.card.name}: threads is {threads}; it must be at least 1")
        path = weights_path(self.card, weights=weights)
        state = read_state(path)
        check_state(state, expected_shapes(self.architecture), path=path, name=self.card.name)
        verify(path, self.card)
        self._workers = Workers(threads)
        with torch.inference_mode():
            folded = fold(state, self.architecture)
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
        """Return the last hidden layer, of which the score is a linear function: (n, 1, 160) float32."""
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
        hidden = hidden_layer(audio, self._weights, self.architecture, run=run, whole=self._device != "cpu")
        return hidden, logits(hidden, self._weights)


@detector(
    Card(
        name="aasist.la19",
        licence="MIT",
        window_s=WINDOW_S,
        output=OUTPUT,
        trained_on=("asvspoof2019_la/train",),
        paper=PAPER,
        weights_url=f"{CLOVAAI}/AASIST.pth",
        weights_sha256="51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0",
        weights_file="AASIST.pth",
        published={"ASVspoof 2019 LA eval, EER %": 0.83, "ASVspoof 2019 LA eval, min t-DCF": 0.0275},
        note="The best of several seeds, chosen by its authors: retraining gives about twice this EER.",
    )
)
class AasistLa19(_PublishedAasist):
    """AASIST, 297,866 parameters, trained on ASVspoof 2019 LA.

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

    architecture = AASIST


@detector(
    Card(
        name="aasist_l.la19",
        licence="MIT",
        window_s=WINDOW_S,
        output=OUTPUT,
        trained_on=("asvspoof2019_la/train",),
        paper=PAPER,
        weights_url=f"{CLOVAAI}/AASIST-L.pth",
        weights_sha256="814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a",
        weights_file="AASIST-L.pth",
        published={"ASVspoof 2019 LA eval, EER %": 0.99, "ASVspoof 2019 LA eval, min t-DCF": 0.0309},
    )
)
class AasistLLa19(_PublishedAasist):
    """AASIST-L, the light variant of 85,306 parameters, trained on ASVspoof 2019 LA; options as `AasistLa19`."""

    architecture = AASIST_L


@detector(
    Card(
        name="aasist.asvspoof5",
        licence="MIT",
        window_s=WINDOW_S,
        output=OUTPUT,
        trained_on=("asvspoof5/train",),
        paper=f"{PAPER}; the weights are a baseline of Wang et al., ASVspoof 5, arXiv:2408.08739",
        weights_url=ASVSPOOF5,
        weights_sha256="8f10fe1d1ce3ac62c19f00b86dfaf79f86f464301d23e08726b16b02edbb601c",
        weights_file="AASIST-asvspoof5.pth",
        published={"ASVspoof 5 dev, EER %": 15.2},
        note="The challenge's baseline: a point of comparison.",
    )
)
class AasistAsvspoof5(_PublishedAasist):
    """AASIST trained on ASVspoof 5 as the challenge's baseline; options as `AasistLa19`."""

    architecture = AASIST


def _checked_device(device: str) -> str:
    import torch

    if device == "cpu":
        return device
    if device.partition(":")[0] != "cuda":
        raise RecipeError(f"device is '{device}'; it must be cpu, cuda, or cuda and a number, as in cuda:0")
    if not torch.cuda.is_available():
        raise RecipeError(f"device is '{device}', but PyTorch finds no graphics processor here. Leave the device at cpu.")
    return device
