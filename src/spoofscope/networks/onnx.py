"""Open an ONNX file safely, and run it on recordings.

A model is known by all that it is made of, and may reach no file outside its folder. Every operation runs on one thread, so that
sums are rounded alike on every machine; several recordings are computed side by side instead.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio, Padding
from spoofscope.errors import AudioError, MissingExtra, UserError, WeightsError
from spoofscope.fetch import sha256_of
from spoofscope.networks.workers import checked_threads

Session: TypeAlias = Any
Result = TypeVar("Result")

LEAST_SAMPLES = 160  # 10 ms at 16 kHz: what is shorter is a frame of features
FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
NUMBERS = FLOATS | {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}


class Hearing(NamedTuple):
    """How a model is given a recording: by which input, in what shape (-1 for its samples), of what type, how long (None: any)."""

    name: str
    shape: tuple[int, ...]
    dtype: Any
    samples: int | None


class Network:
    """An ONNX file that hears one recording at a time: (samples,), (batch, samples), (batch, 1, samples) or (batch, samples, 1).

    Parameters
    ----------
    path : Path
        The model. Tensors that it keeps in further files must lie in its folder.
    input, output : str
        The input that hears and the output that is kept; the only ones that can be, unless given.
    constants : mapping of str to number or list
        Values of the model's other inputs.
    verb, kept : str
        What is done with a recording and what is kept of the answer, as in "score" and "the scores"; for errors.
    device : str
        As for `open_session`.
    threads : int, optional
        Recordings computed side by side on a CPU; as many as this process may use unless given.

    Attributes
    ----------
    name, sha256 : str
        The file's name, and its digest.
    hearing : Hearing
        How it is given a recording.
    settings : mapping
        What, beside the file itself, decides an answer: part of a model's `identity`.

    Raises
    ------
    MissingExtra, WeightsError
        As `read_digests` and `open_session` do.
    UserError
        If an option does not fit the model, or one that it needs is missing.
    """

    def __init__(
        self,
        path: Path,
        input: str = "",
        output: str = "",
        constants: Mapping[str, Any] | None = None,
        *,
        verb: str,
        kept: str,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        threads = checked_threads(threads, name=path.name)
        self.name, self._verb, given = path.name, verb, dict(constants or {})
        self.sha256, data = read_digests(path)
        self.session = open_session(path, name="onnx", device=device)
        self.hearing, self._constants = _find_input(self.session.get_inputs(), input, given, path.name)
        self._output = _find_output(self.session.get_outputs(), output, kept, path.name)
        self._pool = ThreadPoolExecutor(threads if device == "cpu" else 1, thread_name_prefix="spoofscope-onnx")
        self.settings: Mapping[str, Any] = {
            "data_sha256": data,
            "input": self.hearing.name,
            "output": self._output,
            "constants": given,
        }

    def window_s(self, window_s: float | None, sample_rate: int, padding: Padding) -> float | None:
        """Return the window of a recording in seconds: what the input has room for, or else what is asked for.

        Raises
        ------
        UserError
            If the input has room for another number of samples, or a shorter recording is not to be filled up to it.
        """
        samples = self.hearing.samples
        if samples is None:
            return window_s
        if window_s is not None and (asked := round(window_s * sample_rate)) != samples:
            raise UserError(
                f"window_s is {window_s:g}, {asked} samples at {sample_rate} Hz, but {self.name} hears exactly {samples}. Leave "
                "window_s out."
            )
        if padding == "none":
            raise UserError(
                f"padding is 'none', but {self.name} hears exactly {samples} samples: say how a shorter recording is filled up"
            )
        return samples / sample_rate

    def answer(self, heard: Audio) -> NDArray[Any]:
        """Return what the model answers to one recording, already cut to its window.

        Raises
        ------
        AudioError
            If it fails on the recording.
        """
        fed = heard.astype(self.hearing.dtype).reshape(self.hearing.shape)
        try:
            return run(self.session, self._output, {self.hearing.name: fed, **self._constants})
        except RuntimeError as error:
            raise AudioError(f"{self.name} cannot {self._verb} a recording of {len(heard)} samples ({error})") from error

    def map(self, compute: Callable[[Audio], Result], batch: Sequence[Audio]) -> list[Result]:
        """Return `compute`, which asks for an answer, of each recording; how many run at once cannot be seen in the result."""
        return list(self._pool.map(compute, batch))


def open_session(path: Path, *, name: str, device: str = "cpu") -> Session:
    """Start a session in which every operation runs on one thread.

    Parameters
    ----------
    path : Path
        The model.
    name : str
        The detector or embedder that needs ONNX Runtime.
    device : str
        `"cpu"`, `"cuda"`, or the number of a graphics processor as in `"cuda:1"`.

    Raises
    ------
    MissingExtra
        If ONNX Runtime is not installed.
    WeightsError
        If the file is no ONNX model, or one that ONNX Runtime cannot run.
    UserError
        If the device is none, or does not start.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(name, "onnx") from error
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(str(path), _one_thread(onnxruntime), providers=providers)
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


def _one_thread(onnxruntime: Any) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.use_deterministic_compute = True
    settings.log_severity_level = 4  # what goes wrong is raised; printed as well, it would tear the progress bar
    return settings


def _providers(device: str, available: Sequence[str]) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if not re.fullmatch(r"cuda(:[0-9]+)?", device):
        raise UserError(f"device is '{device}'; it must be cpu, cuda, or cuda and a number, as in cuda:0")
    if "CUDAExecutionProvider" not in available:
        raise UserError(
            f"device is '{device}', but this ONNX Runtime offers {', '.join(available)} only. Install onnxruntime-gpu in place of "
            "onnxruntime, or leave the device at cpu."
        )
    # The full 32 bits, and no algorithm chosen by how fast it was this time: a score is the same tomorrow.
    settings = {"device_id": int(device.partition(":")[2] or 0), "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", settings), "CPUExecutionProvider"]


def run(session: Session, output: str, fed: Mapping[str, Any]) -> NDArray[Any]:
    """Return one output of a model.

    Raises
    ------
    RuntimeError
        If the model fails on what it is fed; the message is ONNX Runtime's, in one line.
    """
    try:
        answer: NDArray[Any] = session.run([output], dict(fed))[0]
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise RuntimeError(_reason(error)) from error
    return answer


def read_digests(path: Path) -> tuple[str, dict[str, str]]:
    """Return the SHA-256 of a model, and those of the files that it keeps tensors in, by their names.

    Raises
    ------
    WeightsError
        If the file is absent, cut short or no ONNX model, or keeps tensors in a file that is absent or outside its folder.
    """
    if not path.is_file():
        raise WeightsError(f"no ONNX file at {path}. Give the path of a file, relative to the working folder.")
    content = path.read_bytes()
    try:
        locations = sorted(set(_locations("model", memoryview(content))))
    except (ValueError, IndexError, RecursionError) as error:
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
    axis = max((at for at, size in enumerate(shape) if size != 1), default=0)
    samples = shape[axis] if shape and isinstance(shape[axis], int) else None
    # A free axis before one of fixed length is that of frames, and a few dozen samples are the bands of a filterbank.
    between = [size for size in shape[1:axis] if size != 1 and (isinstance(size, int) or samples is not None)]
    is_short = samples is not None and samples < LEAST_SAMPLES
    if len(shape) not in (1, 2, 3) or (len(shape) > 1 and axis == 0) or between or is_short:
        raise UserError(
            f"{found} takes no raw sound, which is (samples), (batch, samples), (batch, 1, samples) or (batch, samples, 1). Export "
            "the model with its front end, and with the axes of its input declared."
        )
    if axis > 0 and isinstance(shape[0], int) and shape[0] != 1:
        raise UserError(f"{found} takes {shape[0]} recordings at once. Export it for one, or with a free first axis.")
    fed = tuple(-1 if at == axis else 1 for at in range(len(shape)))
    return Hearing(node.name, fed, FLOATS[node.type], samples)


def _constant(node: Any, value: Any, name: str) -> NDArray[Any]:
    """Return the value of an input in its declared type and shape; a free axis is as long as the value, or else 1."""
    try:
        array = np.asarray(value, dtype=NUMBERS[node.type])
        own = (1,) * (len(node.shape) - array.ndim) + array.shape
        axes = [axis if isinstance(axis, int) else size for axis, size in zip(node.shape, own, strict=True)]
        return np.broadcast_to(array, axes).copy()
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise UserError(f"constants: {value!r} is no value for the input {_listed([node])} of {name}") from error


def _find_output(outputs: Sequence[Any], wanted: str, kept: str, name: str) -> str:
    listed = f"{name} has the outputs {_listed(outputs)}"
    named = [one for one in outputs if one.name == wanted] if wanted else list(outputs)
    if not named:
        raise UserError(f"{listed}; none is called '{wanted}'")
    able = [one for one in named if one.type in FLOATS]
    if len(able) > 1:
        raise UserError(f"{listed}. Name the one that holds {kept}, as in output='{able[-1].name}'.")
    if not able and any(one.type.startswith("seq(map(") for one in named):
        raise UserError(
            f"{listed}: probabilities as a list of mappings (ZipMap), not as a tensor. Export it without, as skl2onnx does with "
            "options={'zipmap': False}."
        )
    if not able:
        raise UserError(f"{listed}; none that was asked for is a tensor of floating-point numbers, as {kept} must be")
    return str(able[0].name)


def _listed(nodes: Sequence[Any]) -> str:
    return ", ".join(
        f"'{node.name}' {node.type} ({', '.join(str(axis or '?') for axis in node.shape or ())})" for node in nodes
    )


def _reason(error: Exception) -> str:
    """Return the sentence in an error of ONNX Runtime, without its codes and the place in its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?", "", lines[0])
    return re.sub(r"/\S+\.(cc|h):\d+ .*?\) (const\) )?(?=[A-Z])", "", text)[:300]
