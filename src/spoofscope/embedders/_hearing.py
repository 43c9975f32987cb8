"""What a speech encoder of transformers is fed: samples, a filterbank or Whisper's spectrogram, and how many frames are real."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio, fit_length, standardised


class Piece(NamedTuple):
    """A stretch of a recording as the encoder takes it, (steps, ...) float32, and the frames that it answers with."""

    values: NDArray[np.float32]
    frames: int


class Hearing(Protocol):
    """How one kind of encoder is fed."""

    input_name: str
    channels_first: bool
    most_steps: int

    def pieces(self, audio: Audio) -> list[Piece]:
        """Prepare one recording of any length above 0."""


class Samples:
    """Raw samples, as wav2vec 2.0, HuBERT, WavLM, UniSpeech and data2vec take them.

    A recording shorter than the receptive field of the convolutions (400 samples) is repeated up to it.
    """

    input_name = "input_values"
    channels_first = False
    most_steps = 1_100_000  # 17 windows of 64,600 samples: about 0.5 GB for each convolution's output

    def __init__(self, model: Any, *, normalise: bool) -> None:
        self._model = model
        self._normalise = normalise
        self.shortest = 1
        for kernel, stride in reversed(list(zip(model.config.conv_kernel, model.config.conv_stride, strict=True))):
            self.shortest = (self.shortest - 1) * stride + kernel

    def pieces(self, audio: Audio) -> list[Piece]:
        """Return the recording as one piece."""
        heard = _at_least(audio, self.shortest)
        return [Piece(standardised(heard) if self._normalise else heard, real_frames(self._model, len(heard)))]


class Filterbank:
    """The mel filterbank of w2v-BERT 2.0, two 10 ms frames stacked in each step.

    `normalise` is that of each mel band to zero mean and unit variance over the recording. A recording shorter than the two
    frames (560 samples) that a variance needs is repeated up to them.
    """

    input_name = "input_features"
    channels_first = False
    most_steps = 3_400
    shortest = 400 + 160

    def __init__(self, feature_extractor: Any, *, normalise: bool) -> None:
        self._extract = feature_extractor
        self._normalise = normalise

    def pieces(self, audio: Audio) -> list[Piece]:
        """Return the recording as one piece, without the frame that fills up the last step."""
        features = self._extract(
            _at_least(audio, self.shortest),
            sampling_rate=self._extract.sampling_rate,
            do_normalize_per_mel_bins=self._normalise,
            return_attention_mask=True,
            return_tensors="np",
        )
        frames = int(features["attention_mask"][0].sum())
        return [Piece(np.asarray(features["input_features"][0][:frames], dtype=np.float32), frames)]


class WhisperSpectrogram:
    """Whisper's log mel spectrogram of 30 s, the rest of which is silence; a longer recording is cut into stretches of 30 s.

    `normalise` is that of the samples of the recording, before it is cut.
    """

    input_name = "input_features"
    channels_first = True
    most_steps = 48_000  # 16 stretches

    def __init__(self, encoder: Any, feature_extractor: Any, *, normalise: bool) -> None:
        self._encoder = encoder
        self._extract = feature_extractor
        self._normalise = normalise

    def pieces(self, audio: Audio) -> list[Piece]:
        """Return one piece for each 30 s; its real frames are those that begin before its sound ends."""
        heard = standardised(audio) if self._normalise else np.asarray(audio, dtype=np.float32)
        length = self._extract.n_samples
        return [self._piece(heard[start : start + length]) for start in range(0, len(heard), length)]

    def _piece(self, heard: Audio) -> Piece:
        features = self._extract(heard, sampling_rate=self._extract.sampling_rate, return_tensors="np")
        mel_frames = -(-len(heard) // self._extract.hop_length)
        spectrogram = np.asarray(features["input_features"][0], dtype=np.float32)
        return Piece(spectrogram.T, real_frames(self._encoder, mel_frames))


def real_frames(model: Any, steps: int) -> int:
    """Return how many frames the convolutions of `model` make of so many steps, by the model's own reckoning."""
    import torch

    reckon = model._get_feat_extract_output_lengths
    # An adapter shortens what leaves the encoder, not what its layers hold.
    options = {"add_adapter": False} if "add_adapter" in inspect.signature(reckon).parameters else {}
    return int(reckon(torch.tensor(steps), **options))


def _at_least(audio: Audio, shortest: int) -> Audio:
    return fit_length(np.asarray(audio, dtype=np.float32), max(len(audio), shortest))
