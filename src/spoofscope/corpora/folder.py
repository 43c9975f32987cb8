"""A corpus that is a folder: `bonafide/**` and `spoof/<attack>/**`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import polars as pl

from spoofscope.corpora import Card, corpus
from spoofscope.errors import CorpusError
from spoofscope.trials import BONAFIDE, NO_ATTACK, SPOOF, Trials

SUFFIXES = frozenset({".flac", ".wav", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".m4a"})
EVERYTHING = "all"

CARD = Card(name="folder", title="A folder of recordings")


@corpus(CARD)
class Folder:
    """Recordings whose place says what they are.

    ::

        ROOT/bonafide/[<speaker>/]**/*.flac
        ROOT/spoof/<attack>/[<speaker>/]**/*.flac

    The first folder below `bonafide/` and below an attack is the speaker; a recording without one has none. A recording
    directly in `spoof/` is of the attack `unknown`. Recordings are told by their suffix; names that begin with a dot are
    not read. Linked folders are followed.
    """

    card: Card

    def trials(self, protocol: str = EVERYTHING, *, root: Path | None = None) -> Trials:
        """List the recordings, sorted by path; the path is the id.

        Parameters
        ----------
        protocol : str
            `"all"` for `ROOT` itself; another word for the folder of that name below it, such as `ROOT/eval/bonafide/**`.
        root : Path
            The folder.

        Raises
        ------
        CorpusError
            If a class has no folder or no recording.
        """
        if root is None:
            raise CorpusError("folder: give root=, the folder that holds bonafide/ and spoof/")
        base = Path(root) if protocol == EVERYTHING else Path(root) / protocol
        rows = [_row(path) for label in (BONAFIDE, SPOOF) for path in sorted(_recordings(base, label))]
        schema = dict.fromkeys(("trial_id", "path", "label", "attack", "speaker"), pl.String)
        return Trials(pl.DataFrame(rows, schema=schema, orient="row"), base, f"{Path(root).resolve().name}, {protocol}")


def _recordings(base: Path, label: str) -> list[str]:
    if not (base / label).is_dir():
        held = ", ".join(sorted(entry.name for entry in base.iterdir() if entry.is_dir())) if base.is_dir() else "nothing"
        raise CorpusError(f"no folder '{label}' in {base}; it needs {BONAFIDE}/ and {SPOOF}/ and holds {held or 'no folder'}")
    found = [
        (Path(at) / name).relative_to(base).as_posix()
        for at, names in _walk(base / label)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
    ]
    if not found:
        raise CorpusError(f"no recording in {base / label} (suffixes {', '.join(sorted(SUFFIXES))})")
    return found


def _walk(top: Path) -> Iterator[tuple[str, list[str]]]:
    seen = set()
    for at, folders, names in os.walk(top, followlinks=True):
        if os.path.realpath(at) in seen:  # a link back up would be walked for ever
            folders.clear()
            continue
        seen.add(os.path.realpath(at))
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        yield at, names


def _row(path: str) -> tuple[str, str, str, str, str | None]:
    label, *folders = PurePosixPath(path).parent.parts
    attack = NO_ATTACK
    if label == SPOOF:
        attack, folders = (folders[0], folders[1:]) if folders else ("unknown", [])
    return path, path, label, attack, folders[0] if folders else None
