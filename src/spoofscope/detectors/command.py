"""A command that scores a list of files, as a detector."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding
from spoofscope.cards import Polarity, adapter_card
from spoofscope.detectors import Card, detector
from spoofscope.errors import PluginError, UserError
from spoofscope.fetch import sha256_of

STDERR_LINES = 8


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
        As for `python`.
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
        self.card = adapter_card(
            name,
            sample_rate=sample_rate,
            window_s=window_s,
            padding=padding,
            polarity=polarity,
            output=f"as '{run}' writes",
            trained_on=trained_on,
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
