"""SSL_Anti-spoofing: XLS-R 300M with an AASIST back end, from its two published checkpoints or one of your own."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import BASELINE_WINDOW_S, Audio
from spoofscope.cards import Card
from spoofscope.detectors import detector
from spoofscope.errors import RecipeError, WeightsError
from spoofscope.fetch import weights_path
from spoofscope.networks import linear
from spoofscope.networks.aasist import logits
from spoofscope.networks.aasist_blocks import Tensor
from spoofscope.networks.convolution import channels_innermost
from spoofscope.networks.devices import checked_device
from spoofscope.networks.hub import need_transformers
from spoofscope.networks.ssl_aasist import fold, hidden_layer
from spoofscope.networks.ssl_aasist_checkpoint import DF21, LA21, PAPER, Checkpoint, open_checkpoint, require_published
from spoofscope.networks.xlsr import XLSR_300M, build_encoder

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "int8"]
Score: TypeAlias = Literal["logit", "difference"]

FOLDER = "https://drive.google.com/drive/folders/1c4ywztEVlYVijfwbGLl9OEa1SNtFKppB"
OUTPUT = {
    "logit": "logit of the class bona fide (index 1 of 2), before any softmax, as its authors score",
    "difference": "logit of bona fide minus logit of spoof (index 1 minus index 0), as the reference study scored",
}
NOTE = (
    "Its encoder heard VoxPopuli, MLS, Common Voice, VoxLingua107 and BABEL in pre-training: bona fide speech of these is not new to it. "
    f"Published at {FOLDER}."
)


class _SslAasist:
    """What the three detectors share; see `SslAasistLa21`."""

    card: Card
    layers = ("last_hidden",)
    dim = 160

    def _prepare(self, checkpoint: Checkpoint, *, score: str, device: str, precision: str, compile: bool) -> None:
        """Build the network for inference from the tensors of a checkpoint."""
        import torch

        if score not in get_args(Score):
            raise RecipeError(f"{self.card.name}: score is '{score}'; it must be {' or '.join(get_args(Score))}")
        self._device, self._score = checked_device(device), score
        if compile and self._device == "cpu":
            raise RecipeError(
                f"{self.card.name}: compile is for cuda; on a CPU it would take twice as long as what is done there anyway"
            )
        self.precision = _checked_precision(precision, self._device, self.card.name)
        self.settings: Mapping[str, Any] = {"heads": checkpoint.sizes.heads}
        self.card = replace(self.card, output=OUTPUT[score])
        with torch.inference_mode():
            encoder = build_encoder(checkpoint.encoder, checkpoint.sizes, attention="sdpa")
            self._weights = {name: value.to(self._device) for name, value in fold(checkpoint.back_end).items()}
            if self._device != "cpu":
                encoder = encoder.to(self._device)
            elif self.precision == "int8":
                encoder = linear.quantise(channels_innermost(encoder))
            else:
                encoder = linear.pack(channels_innermost(encoder), bfloat16=self.precision == "bfloat16")
        self._encoder = torch.compile(encoder, dynamic=False) if compile else encoder

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the score of each recording, (n,) float32: the logit of bona fide, or its difference from that of spoof.

        On a CPU recordings are heard one at a time, so that a score is the same whatever the batch and its order.
        """
        both = self.logits(batch)
        return both[:, 1] - both[:, 0] if self._score == "difference" else both[:, 1]

    def logits(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return both logits, (n, 2) float32: index 0 is spoof, index 1 bona fide."""
        return self._forward(batch)[1]

    def embed(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the last hidden layer, of which the logits are linear functions: (n, 1, 160) float32."""
        return self._forward(batch)[0][:, None]

    def _forward(self, batch: Sequence[Audio]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        import torch

        if not batch:
            return np.empty((0, self.dim), np.float32), np.empty((0, 2), np.float32)
        heard = torch.from_numpy(np.stack([self.card.fit(audio) for audio in batch]).astype(np.float32, copy=False))
        with torch.inference_mode():
            groups: Iterable[Tensor] = map(torch.clone, heard.split(1)) if self._device == "cpu" else [heard.to(self._device)]
            answers = [self._hear(group) for group in groups]
        hidden, both = (torch.cat(parts).cpu().numpy() for parts in zip(*answers, strict=True))
        return hidden, both

    def _hear(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        half = self._device != "cpu" and self.precision == "bfloat16"
        with torch.autocast(self._device.partition(":")[0], dtype=torch.bfloat16, enabled=half):
            frames = self._encoder(audio).last_hidden_state
        hidden = hidden_layer(frames.float(), self._weights)
        return hidden, logits(hidden, self._weights)


class _Published(_SslAasist):
    """A detector whose checkpoint is published and known by its digest."""

    def __init__(
        self,
        *,
        weights: str | Path | None = None,
        score: Score = "logit",
        device: str = "cpu",
        precision: Precision = "auto",
        compile: bool = False,
    ) -> None:
        need_transformers(self.card.name)
        path = weights_path(self.card, weights=weights)
        checkpoint = open_checkpoint(path, self.card.name, sizes=XLSR_300M)
        require_published(checkpoint, self.card, path, own="ssl_aasist")
        self._prepare(checkpoint, score=score, device=device, precision=precision, compile=compile)


@detector(
    Card(
        name="ssl_aasist.la21",
        licence="MIT",
        window_s=BASELINE_WINDOW_S,
        output=OUTPUT["logit"],
        trained_on=("asvspoof2019_la/train",),
        paper=PAPER,
        published={"ASVspoof 2021 LA eval, EER %": 0.82, "ASVspoof 2021 LA eval, min t-DCF": 0.2066},
        note=NOTE,
        **LA21,
    )
)
class SslAasistLa21(_Published):
    """XLS-R 300M and AASIST, 317,837,834 parameters, fine-tuned on ASVspoof 2019 LA (A01 to A06) for ASVspoof 2021 LA.

    Parameters
    ----------
    weights : path, optional
        The published checkpoint, or what `spoofscope convert ssl_aasist` made of it, which loads at once; looked up in
        `SPOOFSCOPE_WEIGHTS` and the user's cache unless given.
    score : {"logit", "difference"}
        The logit of bona fide, as its authors score; or bona fide minus spoof, as the reference study did.
    device : str
        `"cpu"`, or `"cuda"`, where a batch is computed at once and a score may differ in its last digits with the batch.
    precision : {"auto", "float32", "bfloat16", "int8"}
        Of the encoder; the back end is always float32. `auto` is float32 on a CPU, bfloat16 autocast on CUDA. `int8` (CPU)
        rounds the linear layers dynamically. A precision that the processor has no instructions for is refused or, for
        bfloat16, replaced by float32 with a warning.
    compile : bool
        Whether the encoder goes through `torch.compile` (CUDA only: on a CPU it takes twice as long as what is done there anyway).

    Raises
    ------
    WeightsError
        If the checkpoint is absent, damaged, or that of another model.
    """


@detector(
    Card(
        name="ssl_aasist.df21",
        licence="MIT",
        window_s=BASELINE_WINDOW_S,
        output=OUTPUT["logit"],
        trained_on=("asvspoof2019_la/train",),
        paper=PAPER,
        published={"ASVspoof 2021 DF eval, EER %": 2.85},
        note=f"The training that its authors chose for ASVspoof 2021 DF. {NOTE}",
        **DF21,
    )
)
class SslAasistDf21(_Published):
    """XLS-R 300M and AASIST, fine-tuned on ASVspoof 2019 LA for ASVspoof 2021 DF; options as `SslAasistLa21`."""


@detector(Card(name="ssl_aasist", licence="", window_s=BASELINE_WINDOW_S, output=OUTPUT["logit"], paper=PAPER))
class SslAasist(_SslAasist):
    """A checkpoint of this architecture that was trained elsewhere; its sizes are read off its tensors.

    Parameters
    ----------
    weights : path
        A state dict in the published form, with or without the `module.` of parallel training, as `.pth` or `.safetensors`; or
        what `spoofscope convert ssl_aasist` made of one.
    name : str
        What the detector is called in tables; `ssl_aasist.` and the file's name unless given.
    trained_on : sequence of str
        Corpora that it was trained on.
    heads : int, optional
        Attention heads of the encoder, which the tensors do not tell; 16, as in the published XLS-R models, unless given.
    score, device, precision, compile
        As for `ssl_aasist.la21`.
    """

    def __init__(
        self,
        *,
        weights: str | Path,
        name: str = "",
        trained_on: Sequence[str] = (),
        heads: int | None = None,
        score: Score = "logit",
        device: str = "cpu",
        precision: Precision = "auto",
        compile: bool = False,
    ) -> None:
        need_transformers("ssl_aasist")
        path = Path(weights)
        if not path.is_file():
            raise WeightsError(f"ssl_aasist: no weights at {path}. Give the path of a checkpoint.")
        checkpoint = open_checkpoint(path, "ssl_aasist", heads=heads)
        self.card = replace(
            type(self).card,
            name=name or f"ssl_aasist.{path.stem}",
            trained_on=tuple(trained_on),
            weights_file=path.name,
            weights_sha256=checkpoint.sha256,
        )
        self._prepare(checkpoint, score=score, device=device, precision=precision, compile=compile)


def _checked_precision(precision: str, device: str, name: str) -> str:
    if precision not in get_args(Precision):
        raise RecipeError(f"{name}: precision is '{precision}'; it must be one of {', '.join(get_args(Precision))}")
    if precision == "auto":
        return "float32" if device == "cpu" else "bfloat16"
    if precision == "int8" and device != "cpu":
        raise RecipeError(f"{name}: int8 is for a CPU; on {device} choose bfloat16 or float32")
    if precision == "int8" and not linear.can_quantise():
        raise RecipeError(f"{name}: this processor has no fast eight-bit products (VNNI), so int8 would be slower than float32")
    if precision == "bfloat16" and device == "cpu" and not linear.has_bfloat16():
        warnings.warn(f"{name}: this processor has no bfloat16 instructions; staying in float32", stacklevel=4)
        return "float32"
    return precision
