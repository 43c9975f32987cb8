"""The table of embeddings: a vector per trial and layer, mapped into memory, beside the columns of the trials.

A finished store is a folder with `layer_<name>.npy`, one (trials, dim) array per layer in the order of the protocol; `ids.parquet`, whose
`status` is `ok` or says why a trial has no vectors (its rows are then nan); and `key.json`. Any layer is read with numpy alone:
`numpy.load("layer_9.npy", mmap_mode="r")`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.errors import RunFolderError
from spoofscope.scores import OK
from spoofscope.storage import write_table, writing

Vectors: TypeAlias = NDArray[np.floating[Any]]

FORMAT = 1
DTYPES = ("float16", "float32")
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors of one embedder under one condition; opening them reads no vector.

    Parameters
    ----------
    frame : polars.DataFrame
        `trial_id, status` and the columns of the trials, one row per trial, in the order of the vectors.
    layers : mapping of str to (trials, dim) array
        Read-only maps of the files, float16 unless float32 was asked for; nan where `status` is not `ok`.
    name : str
        Which trials these are.
    key : mapping
        What makes these vectors these vectors.
    """

    frame: pl.DataFrame
    layers: Mapping[str, Vectors]
    name: str
    key: Mapping[str, Any]

    def __len__(self) -> int:
        return self.frame.height

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(next(iter(self.layers.values())).shape[1])

    @property
    def is_ok(self) -> NDArray[np.bool_]:
        """(trials,) bool array: True where a trial has vectors."""
        return (self.frame["status"] == OK).to_numpy()

    @property
    def failures(self) -> pl.DataFrame:
        """The rows that have no vectors."""
        return self.frame.filter(pl.col("status") != OK)

    def vectors(self, layer: str, rows: NDArray[Any] | slice | None = None) -> NDArray[np.float32]:
        """Read the vectors of a layer, all or some rows, as float32.

        Raises
        ------
        RunFolderError
            If there is no such layer; the message lists them.
        """
        if layer not in self.layers:
            raise RunFolderError(f"{self.name}: no layer '{layer}'; there are {', '.join(self.layers)}")
        mapped = self.layers[layer]
        return np.asarray(mapped if rows is None else mapped[rows], dtype=np.float32)


def open_embeddings(folder: str | Path, name: str = "") -> Embeddings:
    """Open a finished store; its vectors stay on disk until they are used.

    Raises
    ------
    RunFolderError
        If the folder holds no finished store, or its parts do not fit together.
    """
    folder = Path(folder)
    try:
        key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
        frame = pl.read_parquet(folder / "ids.parquet")
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise RunFolderError(f"no finished embeddings in {folder} ({error}). Run 'spoofscope embed RECIPE' first.") from error
    layers: dict[str, Vectors] = {}
    for layer in key["layers"]:
        try:
            layers[layer] = np.load(layer_file(folder, layer), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RunFolderError(
                f"{layer_file(folder, layer)} cannot be read ({error}). Move {folder} away and embed again."
            ) from error
        if layers[layer].ndim != 2 or len(layers[layer]) != frame.height:
            raise RunFolderError(
                f"{layer_file(folder, layer)} holds {layers[layer].shape}, not one vector for each of {frame.height} trials. "
                f"Move {folder} away and embed again."
            )
    return Embeddings(frame, layers, name or str(key.get("trials_name", folder.name)), key)


def layer_file(folder: Path, layer: str) -> Path:
    """Name the file of a layer."""
    return folder / f"layer_{layer}.npy"


def write_embeddings(
    folder: Path,
    frame: pl.DataFrame,
    layers: Sequence[str],
    dim: int,
    dtype: str,
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[Any]]],
) -> None:
    """Write the layers and then the table, each whole or not at all, so that what the table calls `ok` is there.

    Parameters
    ----------
    frame : polars.DataFrame
        `trial_id, status` and whatever else is known of each trial.
    dtype : {"float16", "float32"}
        How numbers are stored.
    blocks : iterable of (rows, vectors)
        (k,) row numbers and their (k, layers, dim) vectors. A row that no block names keeps what an earlier table of this folder
        had for it, or nan.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = _Layers(folder, layers, (frame.height, dim), dtype)
    try:
        written.begin()
        for rows, vectors in blocks:
            written.put(rows, vectors)
        written.finish()
    finally:
        written.discard()
    write_table(frame, folder / "ids.parquet")


class _Layers:
    """Arrays being written beside their places. They are written as files and not as maps, which would crash on a full disk."""

    def __init__(self, folder: Path, layers: Sequence[str], shape: tuple[int, int], dtype: str) -> None:
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._places = [layer_file(folder, layer) for layer in layers]
        self._beside = [place.with_name(f".{place.name}.partial") for place in self._places]
        self._files: list[BinaryIO] = []

    def begin(self) -> None:
        for place, beside in zip(self._places, self._beside, strict=True):
            before = np.load(place, mmap_mode="r", allow_pickle=False) if place.exists() else None
            with writing(place):
                file = beside.open("wb")
                self._files.append(file)
                header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": self._shape}
                np.lib.format.write_array_header_1_0(file, header)
                self._start = file.tell()
                for start in range(0, self._shape[0], ROWS_AT_ONCE):
                    stop = min(start + ROWS_AT_ONCE, self._shape[0])
                    nothing = np.full((stop - start, self._shape[1]), np.nan, dtype=self._dtype)
                    file.write((nothing if before is None else before[start:stop].astype(self._dtype)).tobytes())

    def put(self, rows: NDArray[np.int64], vectors: NDArray[Any]) -> None:
        row_bytes = self._shape[1] * self._dtype.itemsize
        runs = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1)
        for at, (file, place) in enumerate(zip(self._files, self._places, strict=True)):
            with writing(place):
                for run in runs:
                    file.seek(self._start + int(rows[run[0]]) * row_bytes)
                    file.write(vectors[run, at].astype(self._dtype).tobytes())

    def finish(self) -> None:
        for file, beside, place in zip(self._files, self._beside, self._places, strict=True):
            with writing(place):
                file.close()
                beside.replace(place)

    def discard(self) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()
        for beside in self._beside:
            beside.unlink(missing_ok=True)


def narrowed(vectors: NDArray[np.float32], dtype: str) -> tuple[NDArray[Any], str]:
    """Return (layers, dim) vectors as they are stored, and why they cannot be ('' if they can)."""
    if not np.isfinite(vectors).all():
        return vectors, f"the embedder answered {np.count_nonzero(~np.isfinite(vectors))} numbers that are NaN or infinite"
    largest = float(np.abs(vectors).max(initial=0.0))
    if largest > float(np.finfo(dtype).max):
        return (
            vectors,
            f"a number of its vectors is {largest:.3g}, too large for {dtype}: set vectors = 'float32' in the recipe",
        )
    return vectors.astype(dtype), ""
