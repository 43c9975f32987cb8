"""A saved index: a folder with one `.npy` per array, and `key.json`, which says what they are and is written last.

Arrays are mapped, not read, when an index is opened. All but `vectors` are compared with the CRC-32 of their bytes in the key; vectors, which may
be larger than memory, with their shape and type only.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import RunFolderError
from spoofscope.storage import write_beside, write_text, writing

FORMAT = 1


def write_index(folder: Path, kind: str, key: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an index over whatever index the folder held, which is none until all is written.

    Raises
    ------
    RunFolderError
        If the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "key.json").unlink(missing_ok=True)
    for name, array in arrays.items():
        write_beside(folder / f"{name}.npy", partial(np.save, arr=np.ascontiguousarray(array), allow_pickle=False))
    described = {name: _described(name, array) for name, array in arrays.items()}
    whole = {"format": FORMAT, "kind": kind, **key, "arrays": described}
    write_text(json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False), folder / "key.json")


def read_key(folder: Path) -> dict[str, Any]:
    """Read the key of a saved index of any kind.

    Raises
    ------
    RunFolderError
        If the folder holds no finished index, or one of another format.
    """
    try:
        key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"no index in {folder} ({error}). Save one there first, or name another folder.") from error
    if not isinstance(key, dict) or not {"format", "kind", "arrays"} <= set(key):
        raise RunFolderError(f"{folder / 'key.json'} is not the key of an index. Name another folder.")
    if key["format"] != FORMAT:
        raise RunFolderError(
            f"{folder} holds an index of format {key['format']}; this version reads format {FORMAT}. Build the index again."
        )
    return key


def read_index(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Open the arrays of an index as read-only maps; answers with its key and them.

    Raises
    ------
    RunFolderError
        If the folder holds no index of this kind and format, or an array is not as it was written.
    """
    key = read_key(folder)
    if key["kind"] != kind:
        raise RunFolderError(f"{folder} holds an index of kind '{key['kind']}', not '{kind}'. Open it as that kind.")
    arrays = {}
    for name, described in key["arrays"].items():
        file = folder / f"{name}.npy"
        try:
            arrays[name] = np.load(file, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except (OSError, ValueError, EOFError) as error:
            raise RunFolderError(f"{file} cannot be read ({error}). Build the index again.") from error
        if _described(name, arrays[name]) != described:
            raise RunFolderError(f"{file} is not what was written with the index. Build the index again.")
    return key, arrays


def _described(name: str, array: NDArray[Any]) -> dict[str, Any]:
    checked = {} if name == "vectors" else {"crc32": zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data)}
    return {"dtype": array.dtype.str, "shape": list(array.shape), **checked}
