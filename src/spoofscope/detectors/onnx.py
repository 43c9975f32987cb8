"""An ONNX file as a detector, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding
from spoofscope.detectors import Card, detector
from spoofscope.detectors._adapter import Polarity, adapter_card
from spoofscope.detectors._outputs import Score, check_choice, column, spoof_and_bonafide, tried
from spoofscope.errors import AudioError, MissingExtra, UserError, WeightsError
from spoofscope.fetch import sha256_of
from spoofscope.networks.workers import available_threads

FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
NUMBERS = FLOATS | {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}


class Hearing(NamedTuple):
    """How a model is given a recording: by which input, with how many axes, of what type, and how long (None: any)."""

    name: str
    rank: int
    dtype: Any
    samples: int | None


@detector(Card(name="onnx", licence="", output="as the model answers"))
class OnnxModel:
    """An ONNX file as a detector.

    The model hears through one floating-point input: (samples,), (batch, samples) or (batch, 1, samples). It is given one
    recording at a time, for in a batch the last digits of a score would depend on the other recordings; several are computed
    side by side instead. When built, it is tried on a tone, so what cannot work is said before a run rests on it.

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
        threads = available_threads() if threads is None else threads
        if threads < 1:
            raise UserError(f"threads is {threads}; it must be at least 1")
        path = Path(file)
        self._name = path.name
        digest, data_files = _read(path)
        self._session = _open(path, device)
        self._hearing, self._constants = _find_input(self._session.get_inputs(), input, constants or {}, path.name)
        self._output = _find_output(self._session.get_outputs(), output, path.name)
        self._pool = ThreadPoolExecutor(threads if device == "cpu" else 1, thread_name_prefix="spoofscope-onnx")
        self._columns: dict[str, Any] = {"bonafide": bonafide, "score": score, "name": path.name}
        self.settings: Mapping[str, Any] = {
            "data_sha256": data_files,
            "input": self._hearing.name,
            "output": self._output,
            "constants": dict(constants or {}),
            "bonafide": bonafide,
            "score": score,
        }
        card = adapter_card(
            name or path.stem,
            sample_rate=sample_rate,
            window_s=window_s,
            padding=padding,
            polarity=polarity,
            output="",
            trained_on=trained_on,
            weights_file=path.name,
            weights_sha256=digest,
        )
        self.card = replace(card, window_s=_window_s(self._hearing.samples, card, path.name))
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
        return np.array([column(answer, 1, **self._columns)[0] for answer in self._answers(batch)], dtype=np.float32)

    def logits(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return both numbers of a model that answers two, (n, 2) float32: index 0 is spoof, index 1 bona fide.

        Raises
        ------
        UserError
            If the model does not answer two.
        """
        pairs = [
            spoof_and_bonafide(answer, 1, bonafide=self._columns["bonafide"], name=self._name)
            for answer in self._answers(batch)
        ]
        return np.concatenate([np.empty((0, 2), dtype=np.float32), *pairs])

    def _answers(self, batch: Sequence[Audio]) -> list[NDArray[Any]]:
        return list(self._pool.map(self._answer, batch))

    def _answer(self, audio: Audio) -> NDArray[Any]:
        heard, hearing = self.card.fit(audio), self._hearing
        shaped = heard.astype(hearing.dtype).reshape((1,) * (hearing.rank - 1) + (-1,))
        try:
            answer: NDArray[Any] = self._session.run([self._output], {hearing.name: shaped, **self._constants})[0]
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise AudioError(f"{self._name} cannot score a recording of {len(heard)} samples ({_reason(error)})") from error
        return answer


def _read(path: Path) -> tuple[str, dict[str, str]]:
    """Return the SHA-256 of a model, and those of the files that it keeps tensors in, by their names."""
    if not path.is_file():
        raise WeightsError(f"no ONNX file at {path}. Give the path of a file, relative to the working folder.")
    content = path.read_bytes()
    try:
        locations = sorted(set(_locations("model", memoryview(content))))
    except (ValueError, IndexError) as error:
        raise WeightsError(f"{path} is not an ONNX file, or is cut short ({error}). Export it, or fetch it, again.") from error
    digests = {}
    for location in locations:
        # On any system: a model must not reach another file on one machine than on the next.
        parts = PurePosixPath(location.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or PureWindowsPath(location).drive:
            raise WeightsError(
                f"{path} keeps tensors in '{location}', outside its own folder. A model may not reach there: export it with its "
                "data beside it."
            )
        if not (path.parent / location).is_file():
            raise WeightsError(f"{path} keeps tensors in '{location}', and there is no such file. Put it into {path.parent}.")
        digests[location] = sha256_of(path.parent / location)
    return hashlib.sha256(content).hexdigest(), digests


# The fields of the ONNX format (onnx.proto) that lead from each kind of message to the tensors in it.
_LEADS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}


def _locations(kind: str, message: memoryview) -> Iterator[str]:
    """Name the files that a model keeps tensors in; the package that could tell is not needed to run a model."""
    if kind == "entry":
        entry = dict(_fields(message))
        if bytes(entry.get(1, b"")) == b"location":
            yield str(entry.get(2, b""), encoding="utf-8")
        return
    for number, value in _fields(message):
        if number in _LEADS[kind]:
            yield from _locations(_LEADS[kind][number], value)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Part a protobuf message into its fields of texts and messages, by number."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        size = {0: 0, 1: 8, 5: 4}.get(tag & 7, 0)
        if tag & 7 in (0, 2):
            number, at = _varint(message, at)
            size = number if tag & 7 == 2 else 0
        elif not size:
            raise ValueError(f"field type {tag & 7}")
        if at + size > len(message):
            raise ValueError(f"{at + size - len(message)} bytes are missing")
        if tag & 7 == 2:
            yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | message[at] << shift, at + 1


def _open(path: Path, device: str) -> Any:
    """Start a session in which every operation runs on one thread, so that sums are rounded alike on every machine."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnx", "onnx") from error
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.use_deterministic_compute = True
    settings.log_severity_level = 4  # what goes wrong is raised; printed as well, it would tear the progress bar
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise WeightsError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {path} ({_reason(error)}). Export it again for this version, or "
            "install one that knows it."
        ) from error
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise UserError(
            f"device is '{device}', but ONNX Runtime could not start CUDA. Are the CUDA and cuDNN that it needs installed?"
        )
    return session


def _providers(device: str, available: Sequence[str]) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise UserError(f"device is '{device}'; it must be cpu, cuda, or cuda and a number, as in cuda:0")
    if "CUDAExecutionProvider" not in available:
        raise UserError(
            f"device is '{device}', but this ONNX Runtime offers {', '.join(available)} only. Install onnxruntime-gpu in place of "
            "onnxruntime, or leave the device at cpu."
        )
    # The full 32 bits, and no algorithm chosen by how fast it was this time: a score is the same tomorrow.
    settings = {"device_id": int(device.partition(":")[2] or 0), "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", settings), "CPUExecutionProvider"]


def _find_input(inputs: Sequence[Any], wanted: str, constants: Mapping[str, Any], name: str) -> tuple[Hearing, dict[str, Any]]:
    """Choose the input that hears, and make arrays of what the others are given."""
    listed = f"{name} has the inputs {_listed(inputs)}"
    hearing = [one for one in inputs if (one.name == wanted if wanted else one.name not in constants)]
    if len(hearing) != 1:
        raise UserError(
            f"{listed}. Name the one that hears, as in input='{inputs[0].name}', and give the others their values in constants."
            if inputs
            else f"{name} has no input: there is nothing for it to hear"
        )
    chosen = hearing[0]
    others = {one.name: one for one in inputs if one is not chosen}
    if set(others) != set(constants):
        wrong = sorted(set(others) ^ set(constants))[0]
        raise UserError(
            f"{listed}. constants must give each but '{chosen.name}' a value; '{wrong}' "
            + ("has none" if wrong in others else "is none of these")
        )
    return _hearing(chosen, name), {one: _constant(others[one], value, name) for one, value in constants.items()}


def _hearing(node: Any, name: str) -> Hearing:
    shape, found = node.shape, f"the input {_listed([node])} of {name}"
    if node.type not in FLOATS:
        raise UserError(f"{found} takes no sound: samples are floating-point numbers. Name another with input.")
    if len(shape) not in (1, 2, 3) or (len(shape) == 3 and isinstance(shape[1], int) and shape[1] != 1):
        raise UserError(
            f"{found} takes no raw sound, which is (samples), (batch, samples) or (batch, 1, samples). Export the model with its "
            "front end, and with the axes of its input declared."
        )
    if len(shape) > 1 and isinstance(shape[0], int) and shape[0] != 1:
        raise UserError(f"{found} takes {shape[0]} recordings at once. Export it for one, or with a free first axis.")
    return Hearing(node.name, len(shape), FLOATS[node.type], shape[-1] if isinstance(shape[-1], int) else None)


def _constant(node: Any, value: Any, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(value, dtype=NUMBERS[node.type])
        return np.broadcast_to(array, [axis if isinstance(axis, int) else 1 for axis in node.shape]).copy()
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"constants: {value!r} is no value for the input {_listed([node])} of {name}") from error


def _find_output(outputs: Sequence[Any], wanted: str, name: str) -> str:
    listed = f"{name} has the outputs {_listed(outputs)}"
    named = [one for one in outputs if one.name == wanted] if wanted else list(outputs)
    if not named:
        raise UserError(f"{listed}; none is called '{wanted}'")
    scoring = [one for one in named if one.type in FLOATS]
    if len(scoring) > 1:
        raise UserError(f"{listed}. Name the one that holds the scores, as in output='{scoring[-1].name}'.")
    if not scoring and any(one.type.startswith("seq(map(") for one in named):
        raise UserError(
            f"{listed}: probabilities as a list of mappings (ZipMap), not as a tensor. Export it without, as skl2onnx does with "
            "options={'zipmap': False}."
        )
    if not scoring:
        raise UserError(f"{listed}; none that was asked for is a tensor of floating-point numbers, which scores are")
    return str(scoring[0].name)


def _window_s(samples: int | None, card: Card, name: str) -> float | None:
    """Return the window of a model whose input has room for so many samples."""
    if samples is None:
        return card.window_s
    asked = samples if card.window_s is None else round(card.window_s * card.sample_rate)
    if asked != samples:
        raise UserError(
            f"window_s is {card.window_s:g}, {asked} samples at {card.sample_rate} Hz, but {name} hears exactly {samples}. "
            "Leave window_s out."
        )
    if card.padding == "none":
        raise UserError(
            f"padding is 'none', but {name} hears exactly {samples} samples: say how a shorter recording is filled up"
        )
    return samples / card.sample_rate


def _listed(nodes: Sequence[Any]) -> str:
    return ", ".join(
        f"'{node.name}' {node.type} ({', '.join(str(axis or '?') for axis in node.shape or ())})" for node in nodes
    )


def _reason(error: Exception) -> str:
    """Return the sentence in an error of ONNX Runtime, without its codes and the place in its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?", "", lines[0])
    return re.sub(r"/\S+\.(cc|h):\d+ .*?\) (const\) )?(?=[A-Z])", "", text)[:300]
