"""Turn a plan of utterances and attacks into FLAC files and a table, in several processes, resumably."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from spoofscope.audio import SAMPLE_RATE, Audio, probe_audio
from spoofscope.corpora.builtin.streams import stream
from spoofscope.errors import AudioError, CorpusError
from spoofscope.trials import BONAFIDE, NO_ATTACK, SPOOF

KEY, TABLE, MANIFEST = "key.json", "trials.parquet", "manifest.json"
MIN_SPEECH_S = 0.5


class Utterance(Protocol):
    """Where the sound of a task comes from; it is pickled for worker processes."""

    def sound(self) -> Audio:
        """Return the recording, 16 kHz."""
        ...


class Task(NamedTuple):
    """One utterance and what becomes of it.

    `attacks` holds the names of the attacks to make of it; `-` stands for the utterance itself, kept as bona fide.
    """

    source: str
    speaker: str | None
    protocol: str
    utterance: Utterance
    attacks: tuple[str, ...]


class Refused(NamedTuple):
    """A recording that could not be used, and why."""

    source: str
    reason: str


class Built(NamedTuple):
    """The table of a build, and the recordings that could not be used."""

    frame: pl.DataFrame
    refused: list[Refused]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every recording of a build shares."""

    folder: Path
    seed: int
    max_speech_s: float


class _Done(NamedTuple):
    rows: list[dict[str, object]]
    refused: Refused | None


def build(
    tasks: Sequence[Task], settings: Settings, *, workers: int | None = None, title: str, key: dict[str, object]
) -> Built:
    """Make every recording that is not there yet, then the table, then the manifest that says all is done.

    Parameters
    ----------
    tasks : sequence of Task
        What to make; the table keeps their order.
    settings : Settings
        Where, from which seed, how long.
    workers : int, optional
        Processes; by default as many as this process may use cores. The files do not depend on it.
    title : str
        What the progress display calls the work.
    key : dict
        What makes these recordings these; a folder begun with another key is refused.

    Returns
    -------
    Built
        The table, with the columns of a trials table and `family`, `method` and `protocol`; and what was left out.

    Raises
    ------
    CorpusError
        If the folder holds a build with another key.
    """
    _claim(settings.folder, key)
    for protocol in sorted({task.protocol for task in tasks}):
        (settings.folder / protocol).mkdir(exist_ok=True)
    rows: list[dict[str, object]] = []
    refused: list[Refused] = []
    with _mapped(tasks, settings, workers or _cores()) as results, _progress(title, len(tasks)) as advance:
        for done in results:
            rows.extend(done.rows)
            refused.extend([done.refused] if done.refused else [])
            advance()
    if not rows:
        first = f" (first: {refused[0].source}: {refused[0].reason})" if refused else ""
        raise CorpusError(f"none of {len(tasks)} recordings could be used{first}; nothing was built in {settings.folder}")
    frame = pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"speaker": pl.String})
    _write_table(frame, settings.folder)
    manifest = {"trials": frame.height, "refused": [entry._asdict() for entry in refused], "key": key}
    _write_whole(settings.folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
    return Built(frame, refused)


def finished(folder: Path, key: dict[str, object]) -> Built | None:
    """What a finished build holds, or None if there is none or a recording has gone missing."""
    if not (folder / MANIFEST).is_file() or not (folder / TABLE).is_file():
        return None
    _claim(folder, key)
    frame = pl.read_parquet(folder / TABLE)
    if not all((folder / path).is_file() for path in frame["path"]):
        return None
    manifest = json.loads((folder / MANIFEST).read_text())
    return Built(frame, [Refused(**entry) for entry in manifest["refused"]])


def _work(task: Task, settings: Settings) -> _Done:
    """Make the missing recordings of one task."""
    names = [(attack, _trial_id(task, attack)) for attack in task.attacks]
    files = {attack: settings.folder / task.protocol / f"{trial_id}.flac" for attack, trial_id in names}
    missing = [attack for attack in task.attacks if not files[attack].is_file()]
    if missing:
        try:
            _make(task, settings, {attack: files[attack] for attack in missing})
        except AudioError as error:
            return _Done([], Refused(task.source, str(error)))
    return _Done([_row(task, settings.folder, attack, trial_id) for attack, trial_id in names], None)


def _make(task: Task, settings: Settings, files: dict[str, Path]) -> None:
    from spoofscope.corpora.builtin.analysis import Analysis
    from spoofscope.corpora.builtin.attacks import find_attack
    from spoofscope.corpora.builtin.equalise import equalise, trim_silence

    speech = Analysis(task.utterance.sound())
    speech_s = len(trim_silence(speech.audio)) / SAMPLE_RATE
    if speech_s < MIN_SPEECH_S or not speech.audio.any():
        raise AudioError(f"only {speech_s:.2f} s of speech, {MIN_SPEECH_S:g} s are needed")
    made = {}
    for attack, file in files.items():
        trial_id = _trial_id(task, attack)
        audio = speech.audio if attack == NO_ATTACK else find_attack(attack)(speech, stream(settings.seed, "attack", trial_id))
        audio = equalise(audio, stream(settings.seed, "equalise", trial_id), max_speech_s=settings.max_speech_s)
        if not np.isfinite(audio).all() or not audio.any():
            raise AudioError(f"{attack} makes no usable sound of it")
        made[file] = audio
    for file, audio in made.items():
        _write_flac(file, audio)


def _trial_id(task: Task, attack: str) -> str:
    return task.source if attack == NO_ATTACK else f"{task.source}-{attack}"


def _row(task: Task, folder: Path, attack: str, trial_id: str) -> dict[str, object]:
    from spoofscope.corpora.builtin.attacks import ATTACKS

    path = f"{task.protocol}/{trial_id}.flac"
    return {
        "trial_id": trial_id,
        "path": path,
        "label": BONAFIDE if attack == NO_ATTACK else SPOOF,
        "attack": attack,
        "speaker": task.speaker,
        "source": task.source,
        "duration_s": probe_audio(folder / path).duration_s,
        "family": NO_ATTACK if attack == NO_ATTACK else ATTACKS[attack].family,
        "method": NO_ATTACK if attack == NO_ATTACK else ATTACKS[attack].method,
        "protocol": task.protocol,
    }


def _claim(folder: Path, key: dict[str, object]) -> None:
    """Write the key into a new folder, or compare it with the one that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / KEY
    text = json.dumps(key, indent=1, sort_keys=True)
    if not file.is_file():
        _write_whole(file, text.encode())
    elif file.read_text() != text:
        raise CorpusError(
            f"{folder} holds a corpus that was built with other settings or by another version (see {KEY}). "
            "Give another folder, or delete this one."
        )


@contextmanager
def _mapped(tasks: Sequence[Task], settings: Settings, workers: int) -> Iterator[Iterator[_Done]]:
    """Results in the order of the tasks; on any way out, work that has not begun is dropped."""
    work = partial(_work, settings=settings)
    if workers == 1 or len(tasks) == 1:
        yield map(work, tasks)
        return
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=get_context("spawn"), initializer=_follow_parent)
    try:
        with _one_thread_each():
            results = pool.map(work, tasks, chunksize=max(1, min(4, len(tasks) // (4 * workers))))
        yield results
    except BrokenProcessPool as error:
        raise CorpusError(
            f"a process that was building {settings.folder} died (out of memory?); run it again to go on where it stopped"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start inside use one thread for linear algebra: the cores are taken by their siblings."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent process, and leave at once when it is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _progress(title: str, total: int) -> Iterator[partial[None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield partial(progress.advance, progress.add_task(title, total=total))


def _write_flac(file: Path, audio: Audio) -> None:
    import soundfile

    beside = file.with_name(f".{file.name}.{os.getpid()}")
    samples = np.round(np.clip(audio, -1, 32767 / 32768) * 32768).astype(np.int16)
    soundfile.write(str(beside), samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    beside.replace(file)


def _write_table(frame: pl.DataFrame, folder: Path) -> None:
    for file, write in ((folder / TABLE, frame.write_parquet), (folder / "trials.csv", frame.write_csv)):
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        write(beside)
        beside.replace(file)


def _write_whole(file: Path, content: bytes) -> None:
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(file)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
