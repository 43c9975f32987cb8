"""Python code as a detector: a function, a class that scores batches, or the class of a network and its checkpoint."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding
from spoofscope.cards import Polarity, adapter_card
from spoofscope.detectors import Card, Detector, detector
from spoofscope.detectors._construction import build_network, construct, digest, read_arguments, weights_facts
from spoofscope.detectors._outputs import Score, check_choice, column, last_tensor, rows, spoof_and_bonafide, tried
from spoofscope.errors import AudioError, PluginError, UserError
from spoofscope.fetch import sha256_of
from spoofscope.networks.devices import checked_device
from spoofscope.registry import import_file

Kind: TypeAlias = Literal["function", "class that scores", "network"]
OPTIONS: Mapping[Kind, Mapping[str, Any]] = {  # what each kind takes beside what all take, with its defaults
    "function": {"takes": "batch"},
    "class that scores": {"args": None, "config": ""},
    "network": {"args": None, "config": "", "weights": "", "bonafide": None, "score": "logit", "device": "cpu"},
}


@detector(Card(name="python", licence="", output="as the code returns"))
def python(
    *,
    target: str,
    takes: Literal["batch", "recording"] = "batch",
    args: Mapping[str, Any] | None = None,
    config: str | Path = "",
    weights: str | Path = "",
    bonafide: int | None = None,
    score: Score = "logit",
    device: str = "cpu",
    sample_rate: int | None = None,
    window_s: float | None = None,
    padding: Padding = "repeat",
    polarity: Polarity = "bonafide",
    name: str = "",
    trained_on: Sequence[str] = (),
) -> Detector:
    """A Python function, a class with `score_batch`, or a `torch.nn.Module` as a detector.

    A class with `score_batch(recordings, sample_rate) -> scores`, as speech_spoof_bench has it, is constructed, and `load()` called if
    it has that; `unload()` when it is no longer needed. A parameter in the plural, such as `srs`, is given the rate of each recording.
    No batch is larger than its `batch_size`, if it has one.

    A network is constructed by the contract of the AASIST family, `Model(args)` or `Model(args, device)`, given its weights, and
    called in evaluation mode as `model((n, samples) float32 tensor)`. It answers scores, logits, or a tuple whose last tensor holds
    them, as in `(hidden, logits)`. On a CPU it hears one recording at a time, so that a score is the same whatever the batch.

    Parameters
    ----------
    target : str
        `module:name` or `file.py:name`.
    takes : {"batch", "recording"}
        Whether a function is called as `function(list of (n,) float32 arrays, sample_rate) -> (batch,) scores`, or as
        `function((n,) float32 array, sample_rate) -> score`.
    args : mapping, optional
        What a class is constructed with, by name. A network that does not know every key by its name is given them whole, as its
        first argument; their values are attributes as well, as in the namespace of a command line.
    config : path, optional
        JSON or YAML file that holds `args`: its key `model_config` or `model`, or all of it.
    weights : path, optional
        State dict of a network: safetensors, or what `torch.save` writes. Only tensors are read; nothing in it is executed.
    bonafide : int, optional
        The column that stands for bona fide, from 0, in a network that answers several numbers for each recording; 1 in AASIST's.
    score : {"logit", "difference"}
        Whether that column is the score, or that column minus the other of two.
    device : str
        Where a network computes: `"cpu"`, or `"cuda"`, where a batch of one length is computed at once.
    sample_rate : int, optional
        Rate of the audio that it is given, in hertz; the `expected_sample_rate` of a class, or 16,000, unless given.
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

    Raises
    ------
    PluginError
        If the code cannot be imported or constructed, or a network does not answer a tone with scores.
    UserError
        If an option does not fit what the target is, or one that it needs is missing.
    WeightsError
        If the weights are not those of the network.
    """
    found = _import_target(target)
    kind = _kind_of(found, target)
    given: dict[str, Any] = {"takes": takes, "args": args, "config": config, "weights": weights}
    given |= {"bonafide": bonafide, "score": score, "device": device}
    own = _own_options(kind, given, target)
    if kind == "class that scores":
        own["sample_rate"] = sample_rate
    card = adapter_card(
        name or Path(target.rpartition(":")[0]).name.removesuffix(".py") + "." + target.rpartition(":")[2],
        sample_rate=SAMPLE_RATE if sample_rate is None else sample_rate,
        window_s=window_s,
        padding=padding,
        polarity=polarity,
        output=f"as {target} returns",
        trained_on=trained_on,
        **weights_facts(weights),
    )
    builders: Mapping[Kind, Callable[..., Detector]] = {
        "function": PythonFunction,
        "class that scores": PythonClass,
        "network": PythonNetwork,
    }
    return builders[kind](found, target=target, card=card, **own)


class PythonFunction:
    """A function as a detector; see `python`."""

    def __init__(self, function: Callable[..., Any], *, target: str, card: Card, takes: str) -> None:
        if takes not in ("batch", "recording"):
            raise UserError(f"takes is '{takes}'; it must be batch or recording")
        self._function, self._target, self._takes = function, target, takes
        self.card = card
        self.settings: Mapping[str, Any] = {"target": target, "takes": takes, "source_sha256": _source_sha256(function)}

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Call the function.

        Raises
        ------
        PluginError
            If it raises, or answers with anything but one number for each recording.
        """
        rate = self.card.sample_rate
        with _edge(f"{self._target} failed"):
            if self._takes == "batch":
                answer = self._function(list(batch), rate)
            else:
                answer = [float(self._function(audio, rate)) for audio in batch]
            scores = np.asarray(answer, dtype=np.float32)
        return _checked(
            scores, len(batch), self._target, "Choose the column that stands for bona fide, or say takes='recording'."
        )


class PythonClass:
    """A class with `score_batch` as a detector; see `python`."""

    def __init__(
        self,
        found: type,
        *,
        target: str,
        card: Card,
        args: Mapping[str, Any] | None,
        config: str | Path,
        sample_rate: int | None,
    ) -> None:
        self._target = target
        arguments = read_arguments(args, config)
        self._model = construct(found, arguments, target=target)
        self.card = replace(card, sample_rate=_rate(self._model, sample_rate, target))
        self.settings: Mapping[str, Any] = {
            "target": target,
            "source_sha256": _source_sha256(found),
            "args_sha256": digest(arguments),
        }
        parameters = list(inspect.signature(self._model.score_batch).parameters)
        self._rates_each = len(parameters) > 1 and parameters[1].endswith("s")
        size = getattr(self._model, "batch_size", None)
        self._batch_size = size if isinstance(size, int) and size > 0 else None
        if callable(load := getattr(self._model, "load", None)):
            with _edge(f"{target}: load() failed"):
                load()
        if callable(unload := getattr(self._model, "unload", None)):
            weakref.finalize(self, _ignoring_errors, unload)

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Call `score_batch`, as often as its `batch_size` demands.

        Raises
        ------
        PluginError
            If it raises, or answers with anything but one number for each recording.
        """
        size = self._batch_size or max(1, len(batch))
        parts = [self._score(batch[start : start + size]) for start in range(0, len(batch), size)]
        return np.concatenate([np.empty(0, dtype=np.float32), *parts])

    def _score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        rate = self.card.sample_rate
        with _edge(f"{self._target}: score_batch failed"):
            answer = self._model.score_batch(list(batch), [rate] * len(batch) if self._rates_each else rate)
            scores = np.asarray(answer, dtype=np.float32)
        return _checked(scores, len(batch), f"{self._target}: score_batch", "Return the column that stands for bona fide.")


class PythonNetwork:
    """A `torch.nn.Module` as a detector; see `python`."""

    def __init__(
        self,
        found: type,
        *,
        target: str,
        card: Card,
        args: Mapping[str, Any] | None,
        config: str | Path,
        weights: str | Path,
        bonafide: int | None,
        score: Score,
        device: str,
    ) -> None:
        check_choice(bonafide=bonafide, score=score)
        self._target, self._device = target, checked_device(device)
        self._columns: dict[str, Any] = {"bonafide": bonafide, "score": score, "name": target}
        arguments = read_arguments(args, config)
        self._network = build_network(found, arguments, target=target, weights=weights, device=self._device)
        self.settings: Mapping[str, Any] = {
            "target": target,
            "source_sha256": _source_sha256(found),
            "args_sha256": digest(arguments),
            "bonafide": bonafide,
            "score": score,
        }
        self.card = card
        hint = "It must take (n, samples) float32 tensors."
        self.card = tried(card, lambda tone: self._answer([tone]), **self._columns, hint=hint)

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the score of each recording, (n,) float32.

        Raises
        ------
        AudioError
            If the network, which does answer others, fails on a recording.
        PluginError
            If it answers with anything but one number, or one for each class.
        """
        parts = [column(answer, len(answer), **self._columns) for answer in self._answers(batch)]
        return np.concatenate([np.empty(0, dtype=np.float32), *parts])

    def logits(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return both numbers of a network that answers two, (n, 2) float32: index 0 is spoof, index 1 bona fide.

        Raises
        ------
        UserError
            If the network does not answer two.
        """
        bonafide = self._columns["bonafide"]
        parts = [
            spoof_and_bonafide(answer, len(answer), bonafide=bonafide, name=self._target) for answer in self._answers(batch)
        ]
        return np.concatenate([np.empty((0, 2), dtype=np.float32), *parts])

    def _answers(self, batch: Sequence[Audio]) -> Iterator[NDArray[np.float32]]:
        heard = [np.array(self.card.fit(audio), dtype=np.float32) for audio in batch]
        at_once = self._device != "cpu" and len({len(audio) for audio in heard}) == 1
        for group in [heard] if at_once else [[audio] for audio in heard]:
            yield self._answer(group)

    def _answer(self, heard: list[Audio]) -> NDArray[np.float32]:
        import torch

        audio = torch.from_numpy(np.stack(heard)).to(self._device)
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        try:
            with torch.inference_mode(), exact:
                answer = self._network(audio)
        except Exception as error:  # a plug-in's edge: anything may come out of it
            raise AudioError(
                f"{self._target} cannot score a recording of {audio.shape[1]} samples ({type(error).__name__}: {error})"
            ) from error
        scores = torch.as_tensor(last_tensor(answer, len(heard), name=self._target))
        values = (scores.float() if scores.is_floating_point() else scores).cpu().numpy()
        return rows(values, len(heard), name=self._target)


def _kind_of(found: Any, target: str) -> Kind:
    if not isinstance(found, type):
        return "function"
    if callable(getattr(found, "score_batch", None)):
        return "class that scores"
    torch = sys.modules.get("torch")  # a network has imported it
    if torch is not None and issubclass(found, torch.nn.Module):
        return "network"
    raise PluginError(
        f"{target} is a class without the method score_batch(recordings, sample_rate), and no torch.nn.Module. Give it that method, or "
        "name a function or an instance that can be called."
    )


def _own_options(kind: Kind, given: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Return the options that this kind of target takes; another that was given is an error."""
    known = {option: default for options in OPTIONS.values() for option, default in options.items()}
    for option, value in given.items():
        if option not in OPTIONS[kind] and value != known[option]:
            raise UserError(
                f"{target} is a {kind}, for which {option} has no meaning. Leave it out; its own options are "
                f"{', '.join(OPTIONS[kind])}."
            )
    return {option: given[option] for option in OPTIONS[kind]}


def _rate(model: Any, sample_rate: int | None, target: str) -> int:
    """Return the rate that a model is given: the one asked for, which must be the one that it expects, if it says so."""
    expected = getattr(model, "expected_sample_rate", None)
    if isinstance(expected, int) and sample_rate not in (None, expected):
        raise UserError(f"sample_rate is {sample_rate}, but {target} expects {expected} Hz. Leave sample_rate out.")
    return expected if isinstance(expected, int) else sample_rate or SAMPLE_RATE


@contextmanager
def _edge(what: str) -> Iterator[None]:
    """Turn whatever comes out of code that is not ours into a `PluginError` that says what failed."""
    try:
        yield
    except Exception as error:
        raise PluginError(f"{what}: {type(error).__name__}: {error}") from error


def _checked(scores: NDArray[np.float32], n: int, what: str, advice: str) -> NDArray[np.float32]:
    if scores.shape != (n,):
        raise PluginError(
            f"{what} answered {n} recordings with shape {scores.shape}; it must be ({n},), one score each. {advice}"
        )
    return scores


def _ignoring_errors(function: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):  # at the end of its use, when every score is out
        function()


def _import_target(target: str) -> Callable[..., Any]:
    module_name, colon, attribute = target.rpartition(":")
    if not colon or not module_name or not attribute:
        raise UserError(f"target is '{target}'; write module:name or file.py:name")
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
    """SHA-256 of the file that the function or class is written in; empty where there is none to read."""
    try:
        source = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        source = inspect.getsourcefile(type(function)) if not inspect.isbuiltin(function) else None
    return sha256_of(Path(source)) if source else ""
