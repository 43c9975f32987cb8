"""Read a run folder: its description, its recipe, and every table with the columns and types that the page relies on.

The format is that of docs/run-folder.md. A table that the page cannot do without is an error when it is absent; the others
belong to questions that a run may not have asked, and an absent one reads as an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from spoofscope.errors import RunFolderError

NEXT_STEP = "Run 'spoofscope evaluate RECIPE' to make it."

_TYPES: dict[str, pl.DataType] = {"text": pl.String(), "float": pl.Float64(), "int": pl.Int64(), "flag": pl.Boolean()}


def _columns(**groups: str) -> dict[str, pl.DataType]:
    return {column: _TYPES[kind] for kind, columns in groups.items() for column in columns.split()}


SCHEMAS: dict[str, dict[str, pl.DataType]] = {
    "conditions": _columns(
        text="detector condition label family unit clusters note",
        float="level eer eer_low eer_high eer_iid_low eer_iid_high eer_challenge tied_fraction auc auc_low auc_high min_dcf "
        "min_dcf_low min_dcf_high act_dcf cllr min_cllr delta_eer delta_eer_low delta_eer_high",
        int="n_bonafide n_spoof n_failed n_clusters",
        flag="within_noise",
    ),
    "transfer": _columns(
        text="detector condition operating_point note",
        float="threshold development_miss development_false_alarm miss miss_low miss_high false_alarm false_alarm_low "
        "false_alarm_high dcf dcf_low dcf_high min_dcf calibration_loss own_threshold shift",
        int="n_bonafide n_spoof",
    ),
    "breakdown": _columns(
        text="detector condition columns group note",
        float="eer eer_low eer_high miss false_alarm threshold",
        int="n_bonafide n_spoof",
    ),
    "det": _columns(text="detector condition", float="miss false_alarm"),
    "histograms": _columns(text="detector condition label", float="left right", int="count"),
    "heard": _columns(text="detector condition", float="seconds eer eer_low eer_high miss false_alarm", int="n_listening"),
    "detectors": _columns(text="detector other", float="delta_eer delta_eer_low delta_eer_high", int="n", flag="within_noise"),
    "measured": _columns(text="detector condition quantity unit", float="median low high", int="n"),
    "failures": _columns(text="detector condition trial_id path reason"),
    "worst": _columns(text="detector condition trial_id label attack speaker clip", float="score threshold margin", int="rank"),
    "embeddings": _columns(text="embedder condition label layers dtype heard settings folder", int="trials n_failed dim"),
}

REQUIRED_TABLES = ("conditions", "breakdown", "det", "histograms", "failures")

_RUN_KEYS: dict[str, tuple[str, ...]] = {
    "title": (),
    "corpus": ("name", "title", "licence", "url", "citation", "synthetic", "note"),
    "trials": ("describe", "n", "n_bonafide", "n_spoof", "n_speakers", "n_attacks", "digest"),
    "development": ("source", "n_bonafide", "n_spoof"),
    "detectors": (),
    "conditions": (),
    "cost": ("name", "p_spoof", "c_miss", "c_fa"),
    "level": (),
    "replicates": (),
    "clusters": (),
    "seed": (),
    "min_count": (),
    "versions": (),
    "machine": ("processor", "cores"),
    "seconds": (),
    "warnings": (),
}
_LISTED_KEYS: dict[str, tuple[str, ...]] = {
    "detectors": (
        *("name", "paper", "licence", "output", "trained_on", "weights_sha256", "published", "note", "flipped", "parameters"),
    ),
    "conditions": ("name", "label", "family", "level", "unit", "settings"),
}


@dataclass(frozen=True)
class Row:
    """One row of a table that knows where it stands, so that a number on the page can name its source.

    Parameters
    ----------
    table : str
        Name of the table, such as `conditions`.
    number : int
        1 for the first row after the header.
    cells : mapping of str to value
        A missing quantity is None.
    """

    table: str
    number: int
    cells: Mapping[str, Any]

    def __getitem__(self, column: str) -> Any:
        return self.cells[column]

    def source(self, column: str) -> str:
        """Return the address of a cell: `tables/conditions.csv#row=3,column=eer`."""
        return f"tables/{self.table}.csv#row={self.number},column={column}"


@dataclass(frozen=True)
class RunFolder:
    """Everything that a page is made from.

    Parameters
    ----------
    path : Path
        The folder.
    run : mapping
        What run.json holds.
    recipe : str
        The text of recipe.toml.
    tables : mapping of str to tuple of Row
        Every table of `SCHEMAS`; one that the run did not write is empty.
    absent : frozenset of str
        Names of the tables that the run did not write.
    """

    path: Path
    run: Mapping[str, Any]
    recipe: str
    tables: Mapping[str, tuple[Row, ...]]
    absent: frozenset[str]

    def rows(self, table: str, **wanted: Any) -> tuple[Row, ...]:
        """Return the rows of a table whose columns hold the wanted values, in the order of the file."""
        return tuple(row for row in self.tables[table] if all(row[column] == value for column, value in wanted.items()))

    @property
    def detectors(self) -> list[str]:
        """Names of the detectors, in the order of the recipe."""
        return [detector["name"] for detector in self.run["detectors"]]

    @property
    def labels(self) -> dict[str, str]:
        """What people call each condition, by its name, in the order of the recipe."""
        return {condition["name"]: condition["label"] for condition in self.run["conditions"]}


def read_run_folder(path: str | Path) -> RunFolder:
    """Read and check a run folder.

    Raises
    ------
    RunFolderError
        If a file is missing or unreadable, a table lacks a column or holds a value of another type, or a table speaks of
        a detector or condition that run.json does not know; the message names the file, the row and the next step.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise RunFolderError(f"no run folder at {folder}. Run 'spoofscope evaluate RECIPE' first.")
    run = _read_run(folder / "run.json")
    recipe = _read_text(folder / "recipe.toml")
    frames = {name: _read_table(folder / "tables" / f"{name}.csv", name) for name in SCHEMAS}
    tables = {
        name: () if frame is None else tuple(Row(name, at, cells) for at, cells in enumerate(frame.iter_rows(named=True), 1))
        for name, frame in frames.items()
    }
    absent = frozenset(name for name, frame in frames.items() if frame is None)
    answer = RunFolder(folder, run, recipe, tables, absent)
    _check_names(answer)
    return answer


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RunFolderError(f"{file} is missing. {NEXT_STEP}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{file} cannot be read ({error})") from error


def _read_run(file: Path) -> dict[str, Any]:
    try:
        run = json.loads(_read_text(file))
    except json.JSONDecodeError as error:
        raise RunFolderError(f"{file} is not JSON ({error}). {NEXT_STEP}") from error
    if not isinstance(run, dict):
        raise RunFolderError(f"{file} holds a {type(run).__name__} where an object is expected. {NEXT_STEP}")
    for key, inner in _RUN_KEYS.items():
        if key not in run:
            raise RunFolderError(f"{file} has no key '{key}'. {NEXT_STEP}")
        # A run without a development protocol has no `development`.
        if not (key == "development" and not run[key]):
            _check_keys(file, key, run[key], inner)
    for key, inner in _LISTED_KEYS.items():
        if not isinstance(run[key], list) or not run[key]:
            raise RunFolderError(f"{file}: '{key}' must be a list that is not empty. {NEXT_STEP}")
        for at, item in enumerate(run[key]):
            _check_keys(file, f"{key}[{at}]", item, inner)
    return run


def _check_keys(file: Path, key: str, value: Any, inner: tuple[str, ...]) -> None:
    missing = [name for name in inner if not isinstance(value, dict) or name not in value]
    if missing:
        raise RunFolderError(f"{file}: '{key}' has no key '{missing[0]}'. {NEXT_STEP}")


def _read_table(file: Path, name: str) -> pl.DataFrame | None:
    if not file.is_file():
        if name in REQUIRED_TABLES:
            raise RunFolderError(f"{file} is missing. {NEXT_STEP}")
        return None
    try:
        text = pl.read_csv(file, infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise RunFolderError(f"{file} is empty, without even a header. {NEXT_STEP}") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunFolderError(f"{file} is not a CSV table ({error}). {NEXT_STEP}") from error
    missing = [column for column in SCHEMAS[name] if column not in text.columns]
    if missing:
        raise RunFolderError(f"{file} has no column '{missing[0]}'; it has {', '.join(text.columns)}. {NEXT_STEP}")
    return text.select(_parsed(file, text[column], kind) for column, kind in SCHEMAS[name].items())


def _parsed(file: Path, texts: pl.Series, kind: pl.DataType) -> pl.Series:
    if kind == pl.String:
        return texts.fill_null("")
    stripped = texts.str.strip_chars().str.to_lowercase()
    stripped = stripped.set(stripped.is_in(["", "nan", "null"]), None)
    if kind == pl.Boolean:
        values = stripped.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    else:
        values = stripped.cast(pl.Float64, strict=False)
        values = values.cast(pl.Int64, strict=False) if kind == pl.Int64 else values
    bad = (stripped.is_not_null() & values.is_null()).arg_true()
    if len(bad):
        row = bad[0]
        raise RunFolderError(f"{file}: row {row + 1}: {texts.name} is '{texts[row]}', which is not a {_word(kind)}")
    return values


def _word(kind: pl.DataType) -> str:
    return "true or false value" if kind == pl.Boolean else "number"


def _check_names(folder: RunFolder) -> None:
    """Refuse tables of another run: a detector or condition that run.json does not know, or no clean row."""
    known = {"detector": set(folder.detectors), "other": set(folder.detectors), "condition": set(folder.labels)}
    for row in _evaluated_rows(folder):
        for column, names in known.items():
            if column in row.cells and row[column] not in names:
                raise RunFolderError(
                    f"{folder.path / 'tables' / row.table}.csv: row {row.number}: {column} '{row[column]}' is not in run.json; "
                    "the tables and run.json are of different runs. Run 'spoofscope evaluate RECIPE' again."
                )
    for detector in folder.detectors:
        if not folder.rows("conditions", detector=detector, condition="clean"):
            raise RunFolderError(
                f"{folder.path / 'tables' / 'conditions.csv'}: no row of detector '{detector}' under 'clean', "
                f"which everything is compared with. {NEXT_STEP}"
            )


def _evaluated_rows(folder: RunFolder) -> Iterator[Row]:
    """Every row but those of embeddings.csv, which another stage writes: evaluating fewer conditions later makes none of it wrong."""
    for name, rows in folder.tables.items():
        if name != "embeddings":
            yield from rows
