"""Make a labelled spoof corpus from a folder of real speech, with the attacks of the built-in corpus."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from spoofscope.audio import SAMPLE_RATE, Audio, read_audio
from spoofscope.corpora.builtin.attacks import ATTACKS, find_attack
from spoofscope.corpora.builtin.build import TABLE, Refused, Settings, Task, build, finished
from spoofscope.corpora.builtin.plan import code_digest
from spoofscope.corpora.builtin.streams import stream
from spoofscope.errors import CorpusError, UserError
from spoofscope.storage import slug
from spoofscope.trials import NO_ATTACK

AUDIO_SUFFIXES = (".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav", ".wave")
FOLDER_NAME = r"([^/]+)/"
SHARES = (("dev", 0.15), ("eval", 0.35))


class BuiltCorpus(NamedTuple):
    """What `build_corpus` made.

    Fields
    ------
    table : Path
        `trials.parquet`, to be read by the corpus `table`; `trials.csv` lies beside it.
    frame : polars.DataFrame
        Its rows.
    refused : list of Refused
        Recordings that could not be used, with the reason.
    """

    table: Path
    frame: pl.DataFrame
    refused: list[Refused]


class RecordedUtterance(NamedTuple):
    """One recording of a real person."""

    path: Path
    max_speech_s: float

    def sound(self) -> Audio:
        """Read what is needed of it, from where speech begins."""
        from spoofscope.corpora.builtin.equalise import trim_silence

        speech = trim_silence(read_audio(self.path))
        return speech[: int((self.max_speech_s + 0.5) * SAMPLE_RATE)].astype("float32")


def build_corpus(
    bonafide_dir: str | Path,
    out_dir: str | Path,
    *,
    attacks: Sequence[str] = tuple(ATTACKS),
    seed: int = 0,
    workers: int | None = None,
    limit: int | None = None,
    max_speech_s: float = 6.0,
    speaker_pattern: str = FOLDER_NAME,
) -> BuiltCorpus:
    """Keep half of the recordings as bona fide, and make one spoof per attack of each of the others.

    No recording is on both sides. Both classes are equalised alike (see `equalise`). With at least three speakers the
    rows carry the protocols `train`, `dev` and `eval` (50, 15 and 35 % of the speakers, none in two of them), otherwise all
    are `eval`. Calling it again goes on where it stopped.

    Parameters
    ----------
    bonafide_dir : path
        Folder of recordings, in any format and depth.
    out_dir : path
        Folder to write FLAC files and the table into; not inside `bonafide_dir`.
    attacks : sequence of str
        Names such as `B01`; all of them by default.
    seed : int
        Seed of the split and of all draws.
    workers : int, optional
        Processes; by default as many as this process may use cores. The files do not depend on it.
    limit : int, optional
        Use at most so many recordings, drawn with speakers taking turns.
    max_speech_s : float
        Longest speech kept of a recording, in seconds.
    speaker_pattern : str
        Regular expression for the path relative to `bonafide_dir`, from its start; its first group names the speaker. By
        default the first sub-folder. Where it does not match, the speaker is null.

    Raises
    ------
    CorpusError
        If the folder is missing or holds fewer than two recordings, if none can be used, or if `out_dir` holds a corpus
        made with other settings or from other recordings.
    UserError
        If an attack is unknown, `out_dir` lies inside `bonafide_dir`, or the pattern is not one with a group.
    """
    source, out = Path(bonafide_dir).resolve(), Path(out_dir).resolve()
    names = tuple(find_attack(name).name for name in attacks)
    if not names:
        raise UserError(f"no attacks are given; known: {', '.join(ATTACKS)}")
    if out.is_relative_to(source):
        raise UserError(
            f"{out_dir} lies inside {bonafide_dir}: its spoofs would be read as bona fide. Give a folder outside it."
        )
    speakers = _speakers(_recordings(source), source, speaker_pattern)
    chosen = _limited(speakers, seed, limit)
    tasks = _plan(chosen, source, names, seed, max_speech_s)
    key = _key(chosen, source, names, seed, max_speech_s)
    built = finished(out, key)
    if built is None:
        settings = Settings(folder=out, seed=seed, max_speech_s=max_speech_s)
        built = build(tasks, settings, workers=workers, title="Building the corpus", key=key)
    return BuiltCorpus(out / TABLE, *built)


def _recordings(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CorpusError(f"no such folder: {folder}")
    found = sorted(
        file for file in folder.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith(".")
    )
    if len(found) < 2:
        raise CorpusError(
            f"{folder} holds {len(found)} recordings; two are the least, one for each side. Read are {', '.join(AUDIO_SUFFIXES)}."
        )
    return found


def _speakers(files: list[Path], folder: Path, pattern: str) -> dict[Path, str | None]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"speaker_pattern '{pattern}' is not a regular expression: {error}") from error
    if compiled.groups < 1:
        raise UserError(f"speaker_pattern '{pattern}' has no group; put brackets around the part that names the speaker")
    matches = ((file, compiled.match(file.relative_to(folder).as_posix())) for file in files)
    return {file: match.group(1) if match else None for file, match in matches}


def _by_speaker(speakers: dict[Path, str | None], seed: int) -> dict[str | None, list[Path]]:
    """Files of each speaker in a drawn order, the speakers in a drawn order too."""
    groups: dict[str | None, list[Path]] = {}
    for file, speaker in speakers.items():
        groups.setdefault(speaker, []).append(file)
    names = sorted(groups, key=lambda name: (name is None, name or ""))
    drawn = [names[place] for place in stream(seed, "speakers").permutation(len(names))]
    return {
        name: [groups[name][place] for place in stream(seed, "files", name).permutation(len(groups[name]))] for name in drawn
    }


def _limited(speakers: dict[Path, str | None], seed: int, limit: int | None) -> dict[Path, str | None]:
    if limit is None or limit >= len(speakers):
        return speakers
    if limit < 2:
        raise UserError(f"limit is {limit}; two recordings are the least, one for each side")
    turns = [
        (turn, place, file)
        for place, files in enumerate(_by_speaker(speakers, seed).values())
        for turn, file in enumerate(files)
    ]
    kept = {file for _, _, file in sorted(turns)[:limit]}
    return {file: speaker for file, speaker in speakers.items() if file in kept}


def _plan(chosen: dict[Path, str | None], folder: Path, attacks: tuple[str, ...], seed: int, max_speech_s: float) -> list[Task]:
    groups = _by_speaker(chosen, seed)
    protocols = _protocols([name for name in groups if name is not None])
    tasks, place = [], 0
    for speaker, files in groups.items():
        for file in files:
            path = file.relative_to(folder)
            source = f"{slug(path.with_suffix('').as_posix())}-{hashlib.sha256(path.as_posix().encode()).hexdigest()[:6]}"
            kinds = attacks if place % 2 else (NO_ATTACK,)
            protocol = protocols.get(speaker, "eval") if speaker is not None else "eval"
            tasks.append(Task(source, speaker, protocol, RecordedUtterance(file, max_speech_s), kinds))
            place += 1
    return tasks


def _protocols(speakers: list[str]) -> dict[str, str]:
    """Protocol of each speaker; `speakers` are in a drawn order."""
    if len(speakers) < 3:
        return dict.fromkeys(speakers, "eval")
    protocols = dict.fromkeys(speakers, "train")
    start = 0
    for protocol, share in SHARES:
        count = max(1, round(share * len(speakers)))
        protocols.update(dict.fromkeys(speakers[start : start + count], protocol))
        start += count
    return protocols


def _key(
    chosen: dict[Path, str | None], folder: Path, attacks: tuple[str, ...], seed: int, max_speech_s: float
) -> dict[str, object]:
    listing = hashlib.sha256()
    for file, speaker in chosen.items():
        listing.update(f"{file.relative_to(folder).as_posix()}\x1f{file.stat().st_size}\x1f{speaker}\x1e".encode())
    return {
        "corpus": "own recordings",
        "recordings": listing.hexdigest(),
        "attacks": list(attacks),
        "seed": seed,
        "max_speech_s": max_speech_s,
        "code": code_digest(),
    }
