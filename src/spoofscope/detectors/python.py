"""Python code as a detector: a function, or a class."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding
from spoofscope.detectors import Card, detector
from spoofscope.detectors._adapter import Polarity, adapter_card
from spoofscope.errors import PluginError, UserError
from spoofscope.fetch import sha256_of
from spoofscope.registry import import_file


@detector(Card(name="python", licence="", output="as the function returns"))
class PythonCallable:
    """A Python function as a detector.

    Parameters
    ----------
    target : str
        `module:function` or `file.py:function`.
    takes : {"batch", "recording"}
        Whether it is called as `function(list of (n,) float32 arrays, sample_rate) -> (batch,) scores`, or as
        `function((n,) float32 array, sample_rate) -> score`.
    sample_rate : int
        Rate of the audio that it is given, in hertz.
    window_s : float, optional
        Seconds that it is given, from the start; the whole recording unless given.
    padding : {"repeat", "zero", "none"}
        How a shorter recording is filled up to the window.
    polarity : {"bonafide", "spoof"}
        The class that a higher score stands for.
    name : str
        What the detector is called in tables; its target unless given.
    trained_on : sequence of str
        Corpora that it was trained on.
    """

    def __init__(
        self,
        *,
        target: str,
        takes: Literal["batch", "recording"] = "batch",
        sample_rate: int = SAMPLE_RATE,
        window_s: float | None = None,
        padding: Padding = "repeat",
        polarity: Polarity = "bonafide",
        name: str = "",
        trained_on: Sequence[str] = (),
    ) -> None:
        if takes not in ("batch", "recording"):
            raise UserError(f"takes is '{takes}'; it must be batch or recording")
        self._target, self._takes = target, takes
        self._function = _import_target(target)
        self.settings: Mapping[str, Any] = {"target": target, "takes": takes, "source_sha256": _source_sha256(self._function)}
        self.card = adapter_card(
            name or Path(target.rpartition(":")[0]).name.removesuffix(".py") + "." + target.rpartition(":")[2],
            sample_rate=sample_rate,
            window_s=window_s,
            padding=padding,
            polarity=polarity,
            output=f"as {target} returns",
            trained_on=trained_on,
        )

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Call the function.

        Raises
        ------
        PluginError
            If it raises, or answers with anything but one number for each recording.
        """
        rate = self.card.sample_rate
        try:
            if self._takes == "batch":
                answer = self._function(list(batch), rate)
            else:
                answer = [float(self._function(audio, rate)) for audio in batch]
            scores = np.asarray(answer, dtype=np.float32)
        except Exception as error:  # a plug-in's edge: anything may come out of it
            raise PluginError(f"{self._target} failed: {type(error).__name__}: {error}") from error
        if scores.shape != (len(batch),):
            raise PluginError(
                f"{self._target} answered {len(batch)} recordings with shape {scores.shape}; it must be ({len(batch)},), one score "
                "each. Choose the column that stands for bona fide, or say takes='recording'."
            )
        return scores


def _import_target(target: str) -> Callable[..., Any]:
    module_name, colon, attribute = target.rpartition(":")
    if not colon or not module_name or not attribute:
        raise UserError(f"target is '{target}'; write module:function or file.py:function")
    try:
        module = _import_file(Path(module_name)) if module_name.endswith(".py") else importlib.import_module(module_name)
    except UserError:
        raise
    except Exception as error:  # a plug-in's edge: anything may come out of it
        raise PluginError(f"cannot import '{module_name}' for target '{target}': {type(error).__name__}: {error}") from error
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise PluginError(f"'{attribute}' in '{module_name}' is {'absent' if found is None else 'not callable'}")
    return found  # type: ignore[no-any-return]


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise UserError(f"target: no such file: {file}")
    name = f"spoofscope_python_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    return import_file(file, name)


def _source_sha256(function: Callable[..., Any]) -> str:
    """SHA-256 of the file that the function is written in; empty where there is none to read."""
    try:
        source = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        source = inspect.getsourcefile(type(function)) if not inspect.isbuiltin(function) else None
    return sha256_of(Path(source)) if source else ""
