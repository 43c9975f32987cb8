"""An audio-classification model of Hugging Face transformers as a detector, from the hub or a folder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio, Padding, fit_length
from spoofscope.cards import adapter_card
from spoofscope.detectors import Card, detector
from spoofscope.detectors._labels import bonafide_label
from spoofscope.detectors._outputs import Score, check_choice
from spoofscope.errors import AudioError, UserError
from spoofscope.networks.devices import checked_device
from spoofscope.networks.hub import (
    Kind,
    digest,
    find,
    first_line,
    load,
    need_transformers,
    read_configuration,
    read_feature_extractor,
)
from spoofscope.networks.workers import Workers, checked_threads, in_turn

if TYPE_CHECKING:
    from spoofscope.networks.aasist_blocks import Run

TRAINING_ONLY = ("masked_spec_embed",)  # what frames are replaced by in training; no score depends on it
NORMALISING = ("do_normalize", "do_normalize_per_mel_bins")  # what feature extractors call it
TWO_FRAMES_S = 0.035  # of 25 ms, 10 ms apart: the least that a filterbank with a variance over time is made of


@detector(Card(name="hf", licence="", output="logit of the label that stands for bona fide"))
class HfClassifier:
    """An audio-classification model of transformers: wav2vec 2.0, HuBERT, WavLM, w2v-BERT, AST, Whisper and the like.

    The model's own feature extractor says at what rate it hears and how sound is normalised. Only weights are loaded: code beside them is
    never run, and a pickled checkpoint may hold tensors only. A checkpoint without the weights of its classifier, which transformers
    would draw at random, is refused. A recording shorter than the network can hear (400 samples for wav2vec 2.0) is filled up to
    that as `padding` says. `HF_HUB_OFFLINE=1` keeps to what the hub's cache holds.

    Parameters
    ----------
    model : str
        `ORG/NAME` of the Hugging Face hub, or a folder with `config.json`, `preprocessor_config.json` and weights.
    bonafide : str or int, optional
        The label that stands for bona fide, or its number; read off the model's labels, where one of them plainly says so, unless given.
    score : {"logit", "difference"}
        Whether the logit of that label is the score, or that logit minus the log of the summed exponentials of all others.
    revision : str
        Branch, tag or commit of the hub; the commit that it stands for is in `settings`.
    normalise : bool, optional
        Whether sound (w2v-BERT: its mel bands) is normalised; as the model's feature extractor says unless given.
    window_s : float, optional
        Seconds that it is given, from the start; the whole recording unless given.
    padding : {"repeat", "zero", "none"}
        How a shorter recording is filled up to the window.
    device : str
        `"cpu"`, or `"cuda"`, where a batch of one length is computed at once and a score may differ in its last digits with the batch.
    threads : int, optional
        Recordings computed side by side on a CPU; as many as this process may use unless given. It does not change a score.
    name : str
        What the detector is called in tables; the last part of `model` unless given.
    trained_on : sequence of str
        Corpora that it was trained on.

    Raises
    ------
    MissingExtra
        If PyTorch or transformers is not installed.
    UserError
        If an option makes no sense, the model is no audio classifier, or no label is plainly bona fide and none is named.
    WeightsError
        If the model cannot be had, is damaged, or its checkpoint is not that of its configuration.
    """

    precision = "float32"

    def __init__(
        self,
        *,
        model: str,
        bonafide: str | int | None = None,
        score: Score = "logit",
        revision: str = "main",
        normalise: bool | None = None,
        window_s: float | None = None,
        padding: Padding = "repeat",
        device: str = "cpu",
        threads: int | None = None,
        name: str = "",
        trained_on: Sequence[str] = (),
    ) -> None:
        need_transformers("hf")
        check_choice(bonafide=None, score=score)
        self._device, self._score = checked_device(device), score
        threads = checked_threads(threads, name="hf")
        source = find(model, revision=None if revision == "main" else revision, name="hf")
        kind = _classifier()
        configuration, extractor = read_configuration(source, kind), read_feature_extractor(source)
        network, files = load(source, configuration, kind)
        self._network = network.to(self._device)
        self._labels = _labels(configuration, source.name)
        self._column = bonafide_label(self._labels, bonafide, name=source.name)
        self._extract, self._options = extractor, _normalising(extractor, normalise, source.name)
        self._least = _least_samples(configuration, extractor)
        self._workers = Workers(threads if device == "cpu" else 1)
        self.settings: Mapping[str, Any] = {
            "model": source.name,
            "revision": source.commit,
            "configuration_sha256": source.configuration_sha256,
            "feature_extractor": type(extractor).__name__,
            "normalise": _normalises(extractor, self._options),
            "labels": list(self._labels),
            "bonafide": self._labels[self._column],
            "score": score,
        }
        self.card = adapter_card(
            name or source.name.rpartition("/")[2],
            sample_rate=extractor.sampling_rate,
            window_s=window_s,
            padding=padding,
            output=_describe(self._labels, self._column, score),
            trained_on=trained_on,
            weights_file=files[0].name,
            weights_sha256=digest(files),
            note=_hears_at_most(extractor),
        )

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the score of each recording, (n,) float32.

        On a CPU recordings are heard one at a time, so that a score is the same to the last bit whatever the batch and `threads`.

        Raises
        ------
        AudioError
            If the model fails on a recording.
        """
        logits = self.logits(batch)
        chosen = np.ascontiguousarray(logits[:, self._column])
        if self._score == "logit" or len(logits) == 0:
            return chosen
        others = np.delete(logits, self._column, axis=1)
        highest = others.max(axis=1)
        rest: NDArray[np.float32] = highest + np.log(np.exp(others - highest[:, None]).sum(axis=1))
        return chosen - rest

    def logits(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the logits of all labels, (n, labels) float32, in the model's own order.

        Raises
        ------
        AudioError
            If the model fails on a recording.
        """
        heard = [self._heard(audio) for audio in batch]
        if self._device == "cpu":
            answers = self._workers.map(self._answer, [[audio] for audio in heard])
        else:
            at_once = len({len(audio) for audio in heard}) == 1
            answers = [self._answer(group, in_turn) for group in ([heard] if at_once else [[audio] for audio in heard])]
        return np.concatenate([np.empty((0, len(self._labels)), dtype=np.float32), *answers])

    def _heard(self, audio: Audio) -> Audio:
        fitted = self.card.fit(audio)
        heard = fit_length(fitted, max(len(fitted), self._least), padding=self.card.padding)
        if len(heard) < self._least:
            raise AudioError(
                f"{self.card.name} cannot hear a recording of {len(audio)} samples; it needs {self._least}. Say padding='repeat' or "
                "padding='zero'."
            )
        return np.array(heard, dtype=np.float32)

    def _answer(self, heard: list[Audio], run: Run) -> NDArray[np.float32]:
        import torch

        try:
            inputs = self._extract(heard, sampling_rate=self._extract.sampling_rate, return_tensors="pt", **self._options)
            mask = inputs.get("attention_mask")
            if mask is not None and bool(mask.all()):
                inputs.pop("attention_mask")  # it masks nothing
            exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
            with torch.inference_mode(), exact:
                logits = self._network(**inputs.to(self._device)).logits
        except (RuntimeError, ValueError, IndexError) as error:
            raise AudioError(
                f"{self.card.name} cannot score a recording of {len(heard[0])} samples ({type(error).__name__}: {first_line(error)})"
            ) from error
        values: NDArray[np.float32] = logits.float().cpu().numpy()
        return values


def _classifier() -> Kind:
    from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES as CLASSIFIERS

    return Kind(
        noun="audio classifier",
        types=tuple(CLASSIFIERS),
        otherwise="Adapt another one with python:FILE.py:FUNCTION or onnx:FILE.",
        auto="AutoModelForAudioClassification",
        needs=lambda weight: not weight.endswith(TRAINING_ONLY),
        exact=True,
    )


def _labels(configuration: Any, name: str) -> tuple[str, ...]:
    """Return the labels of a classifier, by number."""
    labels = tuple(str(configuration.id2label.get(number, number)) for number in range(configuration.num_labels))
    if len(labels) < 2:
        raise UserError(f"{name} has {len(labels)} label; a classifier that tells bona fide from spoof has at least two")
    return labels


def _normalising(extractor: Any, normalise: bool | None, name: str) -> dict[str, bool]:
    """Set a feature extractor as asked, and return what it must be told at each call."""
    if normalise not in (None, True, False):
        raise UserError(
            f"normalise is {normalise!r}; it must be True, False, or None for what the model's feature extractor says"
        )
    if normalise is None:
        return {}
    if hasattr(extractor, NORMALISING[0]):
        extractor.do_normalize = normalise
        return {}
    told = [option for option in NORMALISING if option in inspect.signature(extractor.__call__).parameters]
    if not told:
        raise UserError(f"{name}: its {type(extractor).__name__} does not normalise. Leave 'normalise' out.")
    return {told[0]: normalise}


def _normalises(extractor: Any, options: Mapping[str, bool]) -> bool:
    if options or hasattr(extractor, NORMALISING[0]):
        return bool(next(iter(options.values()), getattr(extractor, NORMALISING[0], False)))
    parameters = inspect.signature(extractor.__call__).parameters
    return any(option in parameters and parameters[option].default is True for option in NORMALISING)


def _least_samples(configuration: Any, extractor: Any) -> int:
    """Return the shortest sound that the network answers: the receptive field of its convolutions, or two frames."""
    if hasattr(extractor, "n_samples"):
        return 1  # whatever it is given is filled up with silence
    if not hasattr(configuration, "conv_kernel"):
        rate: int = extractor.sampling_rate
        return round(TWO_FRAMES_S * rate)
    least = int(getattr(configuration, "squeeze_factor", 1))
    for kernel, stride in reversed(list(zip(configuration.conv_kernel, configuration.conv_stride, strict=True))):
        least = (least - 1) * int(stride) + int(kernel)
    return least


def _describe(labels: Sequence[str], column: int, score: str) -> str:
    listed = ", ".join(f"'{label}'" for label in labels)
    what = "" if score == "logit" else " minus the log-sum-exp of the others"
    return f"logit of '{labels[column]}' (index {column} of {listed}){what}"


def _hears_at_most(extractor: Any) -> str:
    """Say how much a feature extractor of a fixed length lets through; '' where it lets everything through."""
    if hasattr(extractor, "n_samples"):
        return f"Its feature extractor keeps the first {extractor.n_samples / extractor.sampling_rate:g} s."
    if type(extractor).__name__ == "ASTFeatureExtractor":
        return f"Its feature extractor keeps the first {extractor.max_length} frames of 10 ms."
    return ""
