"""Detectors that live elsewhere: a ready score file, a Python callable, a command that scores a list of files."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding
from spoofscope.detectors import Card, detector
from spoofscope.errors import PluginError, ScoresError, UserError
from spoofscope.fetch import sha256_of
from spoofscope.registry import import_file
from spoofscope.scores import read_score_text

Polarity: TypeAlias = Literal["bonafide", "spoof"]

STDERR_LINES = 8


@detector(Card(name="scores", licence="", output="as given in a score file"))
class ReadyScores:
    """Scores that were made elsewhere; there is no audio, so it can be evaluated on clean only.

    Parameters
    ----------
    path : path
        A score text: `id score`, `id attack label score`, or ASVspoof 5's `filename cm-score`; plain or `.gz`.
    polarity : {"bonafide", "spoof"}
        The class that a higher score stands for.
    name : str
        What the detector is called in tables; the name of the file unless given.
    trained_on : sequence of str
        Corpora that it was trained on.
    """

    def __init__(
        self, *, path: str | Path, polarity: Polarity = "bonafide", name: str = "", trained_on: Sequence[str] = ()
    ) -> None:
        table = read_score_text(path)
        self._path = path
        self._scores: dict[str, float] = dict(zip(table["trial_id"], table["score"], strict=True))
        self.settings: Mapping[str, Any] = {"scores_sha256": sha256_of(Path(path))}
        self.card = Card(
            name=name or Path(path).name.removesuffix(".gz").removesuffix(".txt"),
            licence="",
            polarity=_checked(polarity),
            output=f"as given in {Path(path).name}",
            trained_on=tuple(trained_on),
        )

    def lookup(self, trial_ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the score of each trial.

        Raises
        ------
        ScoresError
            If the file has none for some of them; the message names the first, and shows what an id of the file looks like.
        """
        missing = [trial_id for trial_id in trial_ids if trial_id not in self._scores]
        if missing:
            raise ScoresError(
                f"{self._path} has no score for {len(missing)} of {len(trial_ids)} trials (first: {', '.join(missing[:3])}); "
                f"it has {len(self._scores):,} scores, the first of '{next(iter(self._scores))}'. Is it of this protocol?"
            )
        return np.array([self._scores[trial_id] for trial_id in trial_ids], dtype=np.float32)

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Raise `UserError`: a score file cannot hear."""
        raise UserError(f"{self.card.name} is a score file: it cannot score audio, only trials that it has scores for")


@detector(Card(name="callable", licence="", output="as the function returns"))
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
        self.card = Card(
            name=name or Path(target.rpartition(":")[0]).name.removesuffix(".py") + "." + target.rpartition(":")[2],
            licence="",
            sample_rate=sample_rate,
            window_s=window_s,
            padding=padding,
            polarity=_checked(polarity),
            output=f"as {target} returns",
            trained_on=tuple(trained_on),
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


@detector(Card(name="command", licence="", output="as the command writes"))
class Command:
    """A command that scores a list of files.

    The batch is written as float32 WAV files into a temporary folder, with a list of their paths, one a line. The command
    writes `path score` lines, in any order: the path as listed, or the file's name with or without `.wav`. It may write
    `nan` for a recording that it cannot score: that trial then has no score, and the rest stand.

    Parameters
    ----------
    run : str
        The command, such as `python score.py {list} {scores}`. It is split like a shell's line, but no shell is run.
        `{list}` stands for the list, `{scores}` for the file to write; without `{scores}`, its standard output is read.
    timeout_s : float
        Seconds that it may take for a batch.
    sample_rate, window_s, padding, polarity, trained_on
        As for `callable`.
    name : str
        What the detector is called in tables.
    """

    def __init__(
        self,
        *,
        run: str,
        timeout_s: float = 600.0,
        sample_rate: int = SAMPLE_RATE,
        window_s: float | None = None,
        padding: Padding = "repeat",
        polarity: Polarity = "bonafide",
        name: str = "command",
        trained_on: Sequence[str] = (),
    ) -> None:
        try:
            self._words = shlex.split(run)
        except ValueError as error:
            raise UserError(f"cannot split the command '{run}' into words: {error}") from error
        if not any("{list}" in word for word in self._words):
            raise UserError(f"the command '{run}' has no {{list}}: write it where the path of the list of files belongs")
        if not timeout_s > 0:
            raise UserError(f"timeout_s is {timeout_s}; it must be above 0")
        self._timeout_s = timeout_s
        files = [word for word in self._words if Path(word).is_file()]
        self.settings: Mapping[str, Any] = {"run": run, "files_sha256": {file: sha256_of(Path(file)) for file in files}}
        self.card = Card(
            name=name,
            licence="",
            sample_rate=sample_rate,
            window_s=window_s,
            padding=padding,
            polarity=_checked(polarity),
            output=f"as '{run}' writes",
            trained_on=tuple(trained_on),
        )

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Run the command on the batch.

        Raises
        ------
        PluginError
            If it cannot be started, fails, takes too long, or does not write one number for each file.
        """
        import soundfile

        with tempfile.TemporaryDirectory(prefix="spoofscope-") as temporary:
            folder = Path(temporary)
            paths = [folder / f"{at:06}.wav" for at in range(len(batch))]
            for path, audio in zip(paths, batch, strict=True):
                soundfile.write(path, audio, self.card.sample_rate, subtype="FLOAT")
            list_file, scores_file = folder / "list.txt", folder / "scores.txt"
            list_file.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
            named = {"{list}": str(list_file), "{scores}": str(scores_file)}
            words = [_filled(word, named) for word in self._words]
            output = _run(words, folder, self._timeout_s)
            if any("{scores}" in word for word in self._words):
                if not scores_file.is_file():
                    raise PluginError(f"'{shlex.join(self._words)}' ended without writing {{scores}}")
                output = scores_file.read_text(encoding="utf-8", errors="replace")
            return _scores_of(output, paths, shlex.join(self._words))


def _filled(word: str, named: Mapping[str, str]) -> str:
    for name, value in named.items():
        word = word.replace(name, value)
    return word


def _run(words: Sequence[str], folder: Path, timeout_s: float) -> str:
    # Output goes to files, not pipes: a process that the command left behind cannot hold a file's reader up.
    stdout_file, stderr_file = folder / "stdout.txt", folder / "stderr.txt"
    with stdout_file.open("wb") as stdout, stderr_file.open("wb") as stderr:
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True)
        except OSError as error:
            raise PluginError(f"cannot start '{words[0]}': {error.strerror}. Is it installed, and its path right?") from error
        try:
            code = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise PluginError(
                f"'{words[0]}' took over {timeout_s:g} s for one batch; raise timeout_s or lower batch_size.{_last_lines(stderr_file)}"
            ) from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        raise PluginError(f"'{shlex.join(words)}' ended with exit code {code}.{_last_lines(stderr_file)}")
    return stdout_file.read_text(encoding="utf-8", errors="replace")


def _last_lines(stderr_file: Path) -> str:
    lines = stderr_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-STDERR_LINES:]
    return " It said:\n  " + "\n  ".join(lines) if lines else " It said nothing on stderr."


def _scores_of(output: str, paths: Sequence[Path], command: str) -> NDArray[np.float32]:
    places = {word: at for at, path in enumerate(paths) for word in (str(path), path.name, path.stem)}
    scores: dict[int, float] = {}
    for line in filter(str.strip, output.splitlines()):
        words = line.replace(",", " ").rsplit(maxsplit=1)
        at = places.get(words[0].strip()) if len(words) == 2 else None
        if at is None:
            raise PluginError(f"'{command}' wrote the line '{line}'; each must be a file of the list and its score")
        if at in scores:
            raise PluginError(f"'{command}' wrote two scores for {paths[at].name}")
        try:
            scores[at] = float(words[1])
        except ValueError as error:
            raise PluginError(
                f"'{command}' wrote '{words[1]}' as the score of {paths[at].name}; it must be a number"
            ) from error
    missing = [path.name for at, path in enumerate(paths) if at not in scores]
    if missing:
        raise PluginError(f"'{command}' wrote no score for {len(missing)} of {len(paths)} files (first: {missing[0]})")
    return np.array([scores[at] for at in range(len(paths))], dtype=np.float32)


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
    name = f"spoofscope_callable_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    return import_file(file, name)


def _source_sha256(function: Callable[..., Any]) -> str:
    """SHA-256 of the file that the function is written in; empty where there is none to read."""
    try:
        source = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        source = inspect.getsourcefile(type(function)) if not inspect.isbuiltin(function) else None
    return sha256_of(Path(source)) if source else ""


def _checked(polarity: str) -> Polarity:
    if polarity not in ("bonafide", "spoof"):
        raise UserError(f"polarity is '{polarity}'; say which class a higher score stands for: bonafide or spoof")
    return polarity  # type: ignore[return-value]
