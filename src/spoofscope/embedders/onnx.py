"""An ONNX file as an embedder, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding, tone
from spoofscope.cards import adapter_card
from spoofscope.embedders import Card, embedder
from spoofscope.embedders._pool import checked_pool, moments_of, vector
from spoofscope.errors import AudioError, PluginError, UserError
from spoofscope.networks.onnx import Network

TONE_S = 1.0


@embedder(Card(name="onnx", licence="", output="as the model answers, pooled over its frames"))
class OnnxEmbedder:
    """An ONNX file as an embedder: samples in; one vector, or one for each of many frames, out.

    The model hears through one floating-point input: (samples,), (batch, samples), (batch, 1, samples) or
    (batch, samples, 1). It answers (batch, dim), or (batch, frames, dim), which is pooled over the frames; without a batch
    axis, (dim,) or (frames, dim). Further axes of one before the frames are dropped. It is given one recording at a time,
    several side by side. When built it is tried on a tone, which tells the dimension, and says what cannot work before a run
    rests on it.

    Parameters
    ----------
    file : path
        The model. Tensors that it keeps in further files must lie in its folder.
    sample_rate : int
        Rate of the audio that it is given, in hertz.
    window_s : float, optional
        Seconds that it is given, from the start; what its input has room for, or the whole recording, unless given.
    padding : {"repeat", "zero", "none"}
        How a shorter recording is filled up to the window.
    pool : {"mean", "mean_std"}
        Mean over the frames, or mean followed by population standard deviation; a model that answers one vector has none.
    input, output : str
        The input that hears and the output that is kept; the only ones that can be, unless given.
    constants : mapping of str to number or list
        Values of the model's other inputs, such as `{"sr": 16000}`.
    scale : float
        Factor on the samples, such as 32767 for a model that hears the numbers of a 16-bit file.
    name : str
        What the embedder is called in tables; the name of its file unless given.
    trained_on : sequence of str
        Corpora that it was trained on.

    Raises
    ------
    MissingExtra
        If ONNX Runtime is not installed.
    WeightsError
        If the file is absent, damaged, no ONNX model, or one that ONNX Runtime cannot run.
    PluginError
        If the model fails on the tone, or answers with anything but vectors.
    UserError
        If an option does not fit the model, or one that it needs is missing.
    """

    layers = ("embedding",)

    def __init__(
        self,
        *,
        file: str | Path,
        sample_rate: int = SAMPLE_RATE,
        window_s: float | None = None,
        padding: Padding = "repeat",
        pool: str = "mean",
        input: str = "",
        output: str = "",
        constants: Mapping[str, Any] | None = None,
        scale: float = 1.0,
        name: str = "",
        trained_on: Sequence[str] = (),
    ) -> None:
        path = Path(file)
        self._pool, self._scale = checked_pool(pool), _checked_scale(scale)
        self._network = Network(path, input, output, constants, verb="embed", kept="the embedding")
        card = adapter_card(
            name or path.stem,
            output="as the model answers, pooled over its frames",
            sample_rate=sample_rate,
            window_s=window_s,
            padding=padding,
            trained_on=trained_on,
        )
        heard_s = self._network.window_s(window_s, sample_rate, padding)
        self.card = replace(card, window_s=heard_s, weights_file=path.name, weights_sha256=self._network.sha256)
        self.dim = self._tried()
        self.settings: Mapping[str, Any] = {**self._network.settings, "pool": self._pool, "scale": self._scale}

    def embed(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the vector of each recording, (n, 1, dim) float32, the same to the last bit whatever the batch.

        Raises
        ------
        AudioError
            If the model, which does answer others, fails on a recording.
        PluginError
            If it answers with anything but vectors of the dimension that it answered when it was built.
        """
        vectors = np.empty((len(batch), 1, self.dim), dtype=np.float32)
        for place, found in enumerate(self._network.map(self._vector, batch)):
            if found.shape != (self.dim,):
                raise PluginError(
                    f"{self._network.name} answered {len(batch[place])} samples with {found.shape[0]} numbers, and its tone with "
                    f"{self.dim}. Choose the output that holds the embedding: output=..."
                )
            vectors[place, 0] = found
        return vectors

    def _vector(self, audio: Audio) -> NDArray[np.float32]:
        heard = self.card.fit(audio).astype(np.float32) * np.float32(self._scale)
        batched = len(self._network.hearing.shape) > 1
        frames = _frames(self._network.answer(heard), has_batch_axis=batched, name=self._network.name)
        if frames.ndim == 1 and self._pool == "mean_std":
            raise UserError(f"pool is 'mean_std', but {self._network.name} answers one vector, not frames. Leave pool out.")
        return frames.astype(np.float32) if frames.ndim == 1 else vector(moments_of(frames), self._pool)

    def _tried(self) -> int:
        """Return the dimension of what the model answers to a tone."""
        try:
            return len(self._vector(tone(self.card.window_s or TONE_S, self.card.sample_rate)))
        except AudioError as error:
            raise PluginError(
                f"{self._network.name} fails on a tone, as it would on every recording: {error}. If it hears one length only, "
                "give that as window_s."
            ) from error


def _frames(values: NDArray[np.floating], *, has_batch_axis: bool, name: str) -> NDArray[np.floating]:
    """Return an answer without its batch axis and further axes of one before its frames: (dim,) or (frames, dim)."""
    alone = values[0] if has_batch_axis and values.ndim and len(values) == 1 else values
    while alone.ndim > 2 and len(alone) == 1:
        alone = alone[0]
    if (has_batch_axis and alone is values) or alone.ndim not in (1, 2) or 0 in alone.shape:
        wanted = "(1, dim) or (1, frames, dim)" if has_batch_axis else "(dim,) or (frames, dim)"
        raise PluginError(f"{name} answered one recording with shape {values.shape}; it must be {wanted}")
    return alone


def _checked_scale(scale: float) -> float:
    if not (np.isfinite(scale) and scale != 0):
        raise UserError(f"scale is {scale}; it is a factor on the samples, other than 0, such as 32767")
    return float(scale)
