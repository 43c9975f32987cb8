"""An ONNX file as a detector, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding
from spoofscope.cards import Polarity, adapter_card
from spoofscope.detectors import Card, detector
from spoofscope.detectors._outputs import Score, check_choice, column, spoof_and_bonafide, tried
from spoofscope.networks.onnx import Network


@detector(Card(name="onnx", licence="", output="as the model answers"))
class OnnxModel:
    """An ONNX file as a detector.

    The model hears through one floating-point input: (samples,), (batch, samples), (batch, 1, samples) or
    (batch, samples, 1). It is given one recording at a time, for in a batch the last digits of a score would depend on the
    other recordings; several are computed side by side instead. When built, it is tried on a tone, so what cannot work is
    said before a run rests on it.

    Parameters
    ----------
    file : path
        The model. Tensors that it keeps in further files must lie in its folder.
    bonafide : int, optional
        The column that stands for bona fide, from 0, in a model that answers several numbers for each recording.
    score : {"logit", "difference"}
        Whether that column is the score, or that column minus the other of two.
    input, output : str
        The input that hears and the output that scores; the only ones that can be, unless given.
    constants : mapping of str to number or list
        Values of the model's other inputs, such as `{"sr": 16000}`.
    device : str
        `"cpu"`, `"cuda"`, or the number of a graphics processor as in `"cuda:1"`.
    threads : int, optional
        Recordings computed side by side on a CPU; as many as this process may use unless given. It does not change a score.
    sample_rate : int
        Rate of the audio that it is given, in hertz.
    window_s : float, optional
        Seconds that it is given, from the start; what its input has room for, or the whole recording, unless given.
    padding : {"repeat", "zero", "none"}
        How a shorter recording is filled up to the window.
    polarity : {"bonafide", "spoof"}
        The class that a higher score stands for, in a model that answers one number for each recording.
    name : str
        What the detector is called in tables; the name of its file unless given.
    trained_on : sequence of str
        Corpora that it was trained on.

    Raises
    ------
    MissingExtra
        If ONNX Runtime is not installed.
    WeightsError
        If the file is absent, damaged, no ONNX model, or one that ONNX Runtime cannot run.
    UserError
        If an option does not fit the model, or one that it needs is missing.
    """

    def __init__(
        self,
        *,
        file: str | Path,
        bonafide: int | None = None,
        score: Score = "logit",
        input: str = "",
        output: str = "",
        constants: Mapping[str, Any] | None = None,
        device: str = "cpu",
        threads: int | None = None,
        sample_rate: int = SAMPLE_RATE,
        window_s: float | None = None,
        padding: Padding = "repeat",
        polarity: Polarity = "bonafide",
        name: str = "",
        trained_on: Sequence[str] = (),
    ) -> None:
        check_choice(bonafide=bonafide, score=score)
        path = Path(file)
        self._network = Network(path, input, output, constants, verb="score", kept="the scores", device=device, threads=threads)
        self._columns: dict[str, Any] = {"bonafide": bonafide, "score": score, "name": path.name}
        self.settings: Mapping[str, Any] = {**self._network.settings, "bonafide": bonafide, "score": score}
        card = adapter_card(
            name or path.stem,
            sample_rate=sample_rate,
            window_s=window_s,
            padding=padding,
            polarity=polarity,
            output="",
            trained_on=trained_on,
            weights_file=path.name,
            weights_sha256=self._network.sha256,
        )
        self.card = replace(card, window_s=self._network.window_s(window_s, sample_rate, padding))
        self.card = tried(self.card, self._answer, **self._columns)

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the score of each recording, (n,) float32, the same to the last bit whatever the batch and `threads`.

        Raises
        ------
        AudioError
            If the model, which does answer others, fails on a recording.
        PluginError
            If it answers with anything but one number, or one for each class.
        """
        answers = self._network.map(self._answer, batch)
        return np.array([column(answer, 1, **self._columns)[0] for answer in answers], dtype=np.float32)

    def logits(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return both numbers of a model that answers two, (n, 2) float32: index 0 is spoof, index 1 bona fide.

        Raises
        ------
        UserError
            If the model does not answer two.
        """
        bonafide, name, answers = self._columns["bonafide"], self._columns["name"], self._network.map(self._answer, batch)
        pairs = [spoof_and_bonafide(answer, 1, bonafide=bonafide, name=name) for answer in answers]
        return np.concatenate([np.empty((0, 2), dtype=np.float32), *pairs])

    def _answer(self, audio: Audio) -> NDArray[Any]:
        return self._network.answer(self.card.fit(audio))
