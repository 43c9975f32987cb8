"""Files that are whole or absent, and folders that are named after what makes their content what it is."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from spoofscope.errors import RunFolderError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write into an error that says what to do."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunFolderError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}. "
            "What was finished is kept: make room or choose another --out, then run the same command again."
        ) from error


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside its place, and move it in; if it fails, nothing half-written stays behind."""
    beside = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a Parquet or CSV table, whole or not at all."""

    def write(file: Path) -> None:
        if path.suffix == ".csv":
            table.write_csv(file)
        else:
            table.write_parquet(file)

    write_beside(path, write)


def write_text(text: str, path: Path) -> None:
    """Write a text, whole or not at all."""
    write_beside(path, lambda file: file.write_text(text, encoding="utf-8"))


def open_keyed(parent: Path, name: str, key: dict[str, Any]) -> Path:
    """Return the folder of a key, made if absent, refusing one that holds another key."""
    folder, text = keyed_folder(parent, name, key), _key_text(key)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "key.json").exists():
            write_text(text, folder / "key.json")
    if (folder / "key.json").read_text(encoding="utf-8") != text:
        raise RunFolderError(f"{folder} was made for another key. Move it away, or choose another --out.")
    return folder


def keyed_folder(parent: Path, name: str, key: dict[str, Any]) -> Path:
    """Name the folder of a key: something to read, and 12 hex digits of its SHA-256."""
    return parent / f"{slug(name)}-{hashlib.sha256(_key_text(key).encode()).hexdigest()[:12]}"


def slug(text: str) -> str:
    """Make a name safe for a folder, readable, and short."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:60] or "unnamed"


def _key_text(key: dict[str, Any]) -> str:
    return json.dumps(key, indent=1, sort_keys=True, ensure_ascii=False)
