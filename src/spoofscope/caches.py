"""Import embedding caches in the form that the reference study published: `layer_<L>.npy`, `utt_ids.npy`, `meta.csv`."""

from __future__ import annotations

import json
import pickletools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.embeddings import DTYPES, FORMAT, ROWS_AT_ONCE, Embeddings, narrowed, open_embeddings, write_embeddings
from spoofscope.errors import DataError, RecipeError, RunFolderError, TrialsError
from spoofscope.fetch import sha256_of
from spoofscope.scores import OK
from spoofscope.storage import write_text
from spoofscope.trials import BONAFIDE, Trials

COLUMNS = ("utt_id", "label", "attack_id")
NO_ATTACKS = (None, "", "-", BONAFIDE)


def import_cache(source: str | Path, target: str | Path, *, trials: Trials | None = None, dtype: str = "float16") -> Embeddings:
    """Copy a cache into a store of ours, a few thousand rows at a time; the cache is left as it is.

    Parameters
    ----------
    source : path
        Folder of the cache. The order of its rows is that of `utt_ids.npy`, which must be that of `meta.csv`. No pickle in it is
        executed.
    target : path
        Folder to write, which must not hold a store yet.
    trials : Trials, optional
        Trials that the ids belong to: their columns (speaker, codec ...) are taken over, and their labels must agree.
    dtype : {"float16", "float32"}
        How numbers are stored.

    Returns
    -------
    Embeddings
        Layers are called as in the cache. In those of XLS-R, 24 is after the final layer norm: what is `final` elsewhere here.

    Raises
    ------
    DataError
        If the cache is incomplete, damaged, or its parts or the trials do not fit together; file and row are named.
    """
    source, target = Path(source), Path(target)
    if dtype not in DTYPES:
        raise RecipeError(f"vectors is '{dtype}'; it must be {' or '.join(DTYPES)}")
    if (target / "ids.parquet").exists():
        raise RunFolderError(f"{target} holds a store already. Choose another place.")
    frame = _frame(source)
    if trials is not None:
        frame = _joined(frame, trials, source)
    layers = _layers(source, frame.height)
    first = next(iter(layers.values()))
    status = _status(layers, frame.height)
    frame = frame.with_columns(pl.Series("status", status)).select("trial_id", "status", pl.exclude("trial_id", "status"))
    key = {
        "format": FORMAT,
        "imported": {
            "folder": source.resolve().name,
            "files": {path.name: sha256_of(path) for path in sorted(source.iterdir()) if path.is_file()},
        },
        "layers": list(layers),
        "dim": int(first.shape[1]),
        "dtype": dtype,
        "trials_name": trials.name if trials is not None else f"{source.resolve().name}, imported",
    }
    write_text(json.dumps(key, indent=1, sort_keys=True, ensure_ascii=False), target / "key.json")
    write_embeddings(target, frame, list(layers), first.shape[1], dtype, _blocks(layers, status, dtype, source))
    return open_embeddings(target)


def _frame(source: Path) -> pl.DataFrame:
    """Read ids, labels and attacks, validated as trials are."""
    ids = read_ids(source / "utt_ids.npy")
    file = source / "meta.csv"
    try:
        meta = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"cannot read {file} ({error}); a cache has utt_ids.npy, meta.csv and layer_<L>.npy") from error
    if missing := [column for column in COLUMNS if column not in meta.columns]:
        raise DataError(f"{file} has no column '{missing[0]}'; it needs {', '.join(COLUMNS)} and has {', '.join(meta.columns)}")
    if meta.height != len(ids):
        raise DataError(f"{file} has {meta.height} rows where utt_ids.npy has {len(ids)} ids")
    for row, (listed, expected) in enumerate(zip(meta["utt_id"], ids, strict=True), start=2):
        if listed != expected:
            raise DataError(
                f"{file}: row {row} is of '{listed}' where utt_ids.npy has '{expected}': the two are in another order"
            )
    bonafide = pl.col("label") == BONAFIDE
    attack = pl.when(bonafide & pl.col("attack_id").is_in(NO_ATTACKS[1:])).then(None).otherwise(pl.col("attack_id"))
    frame = meta.select(pl.col("utt_id").alias("trial_id"), "label", attack.alias("attack"), pl.exclude(COLUMNS))
    return Trials(frame.with_columns(path=pl.col("trial_id")), source, str(file)).frame.drop("path")


def _joined(frame: pl.DataFrame, trials: Trials, source: Path) -> pl.DataFrame:
    known = trials.frame.drop("path")
    joined = frame.select("trial_id", pl.col("label").alias("_label"), pl.col("attack").alias("_attack")).join(
        known, on="trial_id", how="left", maintain_order="left"
    )
    unknown = joined.filter(pl.col("label").is_null())
    if unknown.height:
        raise TrialsError(
            f"{source}: {unknown.height} of {frame.height} ids are not in {trials.name} (first: '{unknown['trial_id'][0]}'). "
            "Is it of this protocol?"
        )
    unlike = joined.filter((pl.col("label") != pl.col("_label")) | (pl.col("attack") != pl.col("_attack")))
    if unlike.height:
        row = unlike.row(0, named=True)
        raise TrialsError(
            f"{source}: '{row['trial_id']}' is {row['_label']} {row['_attack']} in meta.csv but {row['label']} {row['attack']} in "
            f"{trials.name} ({unlike.height} such rows)"
        )
    return joined.drop("_label", "_attack")


def _layers(source: Path, rows: int) -> dict[str, NDArray[Any]]:
    files = sorted(source.glob("layer_*.npy"), key=lambda path: (len(path.stem), path.stem))
    if not files:
        raise DataError(f"{source} holds no layer_<L>.npy; a cache has utt_ids.npy, meta.csv and one such file per layer")
    layers = {}
    for file in files:
        try:
            layer = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{file} cannot be read as an array of numbers ({error})") from error
        if layer.ndim != 2 or layer.dtype.kind != "f" or len(layer) != rows:
            raise DataError(
                f"{file} holds {layer.dtype} of shape {layer.shape}; it must be ({rows}, dim) floating-point numbers"
            )
        layers[file.stem.removeprefix("layer_")] = layer
    if len({layer.shape[1] for layer in layers.values()}) > 1:
        raise DataError(
            f"{source}: the layers differ in length: {', '.join(f'{name}: {layer.shape[1]}' for name, layer in layers.items())}"
        )
    return layers


def _status(layers: Mapping[str, NDArray[Any]], rows: int) -> list[str]:
    is_finite = np.ones(rows, dtype=bool)
    for layer in layers.values():
        for at in range(0, rows, ROWS_AT_ONCE):
            is_finite[at : at + ROWS_AT_ONCE] &= np.isfinite(layer[at : at + ROWS_AT_ONCE]).all(axis=1)
    return [OK if finite else "its vectors hold NaN or infinite numbers in the cache" for finite in is_finite]


def _blocks(
    layers: Mapping[str, NDArray[Any]], status: Sequence[str], dtype: str, source: Path
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    is_ok = np.array([word == OK for word in status])
    for at in range(0, len(is_ok), ROWS_AT_ONCE):
        rows = at + np.flatnonzero(is_ok[at : at + ROWS_AT_ONCE])
        if len(rows):
            vectors = np.stack([layer[rows] for layer in layers.values()], axis=1).astype(np.float32)
            stored, reason = narrowed(vectors, dtype)
            if reason:
                raise DataError(
                    f"{source}: rows {rows[0] + 1} to {rows[-1] + 1}: {reason.partition(':')[0]}. Pass --vectors float32."
                )
            yield rows, stored


def read_ids(file: Path) -> list[str]:
    """Read an array of texts. One of Python objects is a pickle: its texts are taken out of it without executing anything.

    Raises
    ------
    DataError
        If the file is no array of texts, or its pickle holds anything else.
    """
    try:
        with file.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, dtype = read_header(stream)
            content = stream.read()
        if dtype.hasobject:
            ids = list(_texts(content))
        elif dtype.kind == "U":
            ids = np.frombuffer(content, dtype=dtype, count=shape[0]).tolist()
        else:
            raise DataError(f"{file} holds {dtype}; ids are texts")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file} cannot be read as an array of ids ({error})") from error
    if len(shape) != 1 or len(ids) != shape[0]:
        raise DataError(f"{file} promises an array of shape {shape} but holds {len(ids)} texts")
    return ids


class _Opaque(NamedTuple):
    """Something on the stack of a pickle that is not looked into."""


_ALLOWED = {"_codecs encode"} | {
    f"{module} {name}"
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
    for name in ("_reconstruct", "ndarray", "dtype")
}
_TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")
_IGNORED = (
    "PROTO",
    "FRAME",
    "STOP",
    "MARK",
    "EMPTY_LIST",
    "EMPTY_TUPLE",
    "NONE",
    "NEWTRUE",
    "NEWFALSE",
    "TUPLE",
    "TUPLE1",
    "TUPLE2",
    "TUPLE3",
)
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "SHORT_BINBYTES", "BINBYTES", "SHORT_BINSTRING", "BINSTRING")


def _texts(content: bytes) -> Iterator[str]:
    """Yield the texts of the one list in the pickle of an object array.

    The pickle is read as a list of instructions, none of which is carried out. The only names that it may call for are those
    with which NumPy rebuilds an array; the list of the array's elements is the only list in it.
    """
    memo: dict[int, Any] = {}
    pending: list[str] = []
    last: Any = None
    in_list = False
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        if name in _TEXTS:
            last = argument
            pending.append(str(argument))
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            last = memo[int(str(argument))]
            pending.append(last)
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
            memo[len(memo) if argument is None else int(str(argument))] = last
        elif name == "EMPTY_LIST":
            in_list, last, pending = True, _Opaque(), []
        elif name == "MARK" and in_list:
            pending = []
        elif name in ("APPENDS", "APPEND"):
            if not all(isinstance(text, str) for text in pending):
                raise ValueError("its list holds something else than texts")
            yield from pending
            pending = []
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            asked = argument if name == "GLOBAL" else " ".join(str(text) for text in pending[-2:])
            if asked not in _ALLOWED:
                raise ValueError(f"its pickle asks for {asked}, which could run anything; nothing of it was executed")
            last = _Opaque()
        elif name in ("REDUCE", "BUILD", *_IGNORED, *_NUMBERS):
            last = _Opaque()
        else:
            raise ValueError(f"its pickle holds the instruction {name}, which an array of texts has no use for")
