"""A TorchScript file as a detector: a PyTorch model saved with its program."""

from __future__ import annotations

import contextlib
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding
from spoofscope.cards import Polarity, adapter_card
from spoofscope.detectors import Card, detector
from spoofscope.detectors._outputs import Score, check_choice, column, last_tensor, spoof_and_bonafide, tried
from spoofscope.errors import AudioError, MissingExtra, UserError, WeightsError
from spoofscope.fetch import sha256_of
from spoofscope.networks.devices import checked_device
from spoofscope.networks.workers import Workers, checked_threads

if TYPE_CHECKING:
    from spoofscope.networks.aasist_blocks import Run

HINT = "Does it take (batch, samples)? For (samples) say rank=1, for (batch, 1, samples) rank=3."
WAYS_OUT = (
    "Load the network in Python and save torch.jit.trace(model.eval(), example), export it to ONNX (onnx:model.onnx), or score with "
    "it in a function (python:file.py:score)."
)


@detector(Card(name="torchscript", licence="", output="as the model answers"))
class TorchScriptModel:
    """A TorchScript file as a detector: what `torch.jit.save` writes.

    Such a file is a program. It can do whatever TorchScript can, reading and writing files included: load only what you trust.

    The model answers a tensor of scores, or a tuple whose last tensor holds them, such as AASIST's `(hidden, logits)`. It is
    given one recording at a time, for in a batch the last digits of a score would depend on the other recordings; several are
    computed side by side instead. When built, it is tried on a tone, so what cannot work is said before a run rests on it.

    Parameters
    ----------
    file : path
        The model.
    rank : {1, 2, 3}
        How it takes sound: (samples,), (batch, samples) or (batch, 1, samples), float32.
    bonafide : int, optional
        The column that stands for bona fide, from 0, in a model that answers several numbers for each recording.
    score : {"logit", "difference"}
        Whether that column is the score, or that column minus the other of two.
    device : str
        `"cpu"`, `"cuda"`, or the number of a graphics processor as in `"cuda:1"`.
    threads : int, optional
        Recordings computed side by side on a CPU; as many as this process may use unless given. It does not change a score.
    sample_rate : int
        Rate of the audio that it is given, in hertz.
    window_s : float, optional
        Seconds that it is given, from the start; the whole recording unless given.
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
        If the file is absent, damaged, or no TorchScript archive.
    UserError
        If an option does not fit the model, or one that it needs is missing.
    """

    def __init__(
        self,
        *,
        file: str | Path,
        rank: Literal[1, 2, 3] = 2,
        bonafide: int | None = None,
        score: Score = "logit",
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
        if rank not in (1, 2, 3):
            raise UserError(f"rank is {rank}; it must be 1 for (samples), 2 for (batch, samples) or 3 for (batch, 1, samples)")
        threads = checked_threads(threads, name="torchscript")
        path = Path(file)
        self._name, self._rank, self._device = path.name, rank, device
        self._model = _load(path, device)
        self._workers = Workers(threads if device == "cpu" else 1)
        self._columns: dict[str, Any] = {"bonafide": bonafide, "score": score, "name": path.name}
        self.settings: Mapping[str, Any] = {"rank": rank, "bonafide": bonafide, "score": score}
        self.card = adapter_card(
            name or path.stem,
            sample_rate=sample_rate,
            window_s=window_s,
            padding=padding,
            polarity=polarity,
            output="",
            trained_on=trained_on,
            weights_file=path.name,
            weights_sha256=sha256_of(path),
        )
        self.card = tried(self.card, lambda tone: self._answers([tone])[0], **self._columns, hint=HINT)

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
        bonafide = self._columns["bonafide"]
        pairs = [spoof_and_bonafide(answer, 1, bonafide=bonafide, name=self._name) for answer in self._answers(batch)]
        return np.concatenate([np.empty((0, 2), dtype=np.float32), *pairs])

    def _answers(self, batch: Sequence[Audio]) -> list[NDArray[Any]]:
        return self._workers.map(self._answer, batch)

    def _answer(self, audio: Audio, run: Run) -> NDArray[Any]:
        import torch

        heard = np.array(self.card.fit(audio), dtype=np.float32)
        shaped = torch.from_numpy(heard).reshape((1,) * (self._rank - 1) + (-1,)).to(self._device)
        try:
            # Left alone, PyTorch would rewrite the program after the first calls, and convolve in TF32 on a graphics processor.
            with torch.jit.optimized_execution(False), contextlib.nullcontext() if self._device == "cpu" else _all_bits():
                answer = self._model(shaped)
        except Exception as error:  # a program from outside: anything may come out of it
            raise AudioError(f"{self._name} cannot score a recording of {len(heard)} samples ({_reason(error)})") from error
        scores = last_tensor(answer, 1, name=self._name)
        values: NDArray[Any] = (scores.float() if scores.is_floating_point() else scores).cpu().numpy()
        return values


def _all_bits() -> contextlib.AbstractContextManager[None]:
    import torch

    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)  # type: ignore[no-any-return]


def _load(path: Path, device: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torchscript", "torch") from error
    checked_device(device)
    _refuse_other_files(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated", category=DeprecationWarning)
        try:
            return torch.jit.load(str(path), map_location=device).eval()
        except Exception as error:  # a program from outside: anything may come out of it
            raise WeightsError(
                f"PyTorch {torch.__version__} cannot load {path} ({_reason(error)}). Save it again, or with an older version; if it "
                "needs operators of another package, import that in a plug-in."
            ) from error


def _refuse_other_files(path: Path) -> None:
    """Raise `WeightsError`, saying what the file is, unless it is a TorchScript archive."""
    if not path.is_file():
        raise WeightsError(f"no TorchScript file at {path}. Give the path of a file, relative to the working folder.")
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            head = file.read(4)
        if head[:1] == b"\x80":
            raise WeightsError(f"{path} is a checkpoint in PyTorch's old format: weights without their program. {WAYS_OUT}")
        what = "cut short" if head == b"PK\x03\x04" else "not a TorchScript archive"
        raise WeightsError(f"{path} is {what}. Fetch it again, or give the file that torch.jit.save wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = {re.sub(r"^[^/]*/", "", name) for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path} is a damaged archive ({error}). Fetch it again.") from error
    if "constants.pkl" in names:
        return
    if "data.pkl" in names:
        raise WeightsError(f"{path} is a checkpoint, as torch.save writes it: weights without their program. {WAYS_OUT}")
    if any(name.startswith("models/") for name in names):
        raise WeightsError(f"{path} is a program of torch.export, not TorchScript. {WAYS_OUT}")
    raise WeightsError(f"{path} is a zip archive of something else than TorchScript. Give the file that torch.jit.save wrote.")


def _reason(error: Exception) -> str:
    """Return the last line of an error, where TorchScript says what went wrong after its own traceback."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1].strip()[:300]
