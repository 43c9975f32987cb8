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
from spoofscope.report.schemas import ANALYSIS, REQUIRED_TABLES, SCHEMAS

NEXT_STEP = "Run 'spoofscope evaluate RECIPE' to make it."
ANALYSIS_STEP = "Run 'spoofscope analyse RECIPE' to make it."

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
_ANALYSIS_KEYS = (
    *("held_by", "disjoint", "folds", "heads", "layers", "primary", "permutations", "level", "method", "exposure"),
    *("contamination", "plan", "groups", "left_out", "findings", "warnings"),
)
_ANALYSIS_TYPES: dict[str, type] = {
    **dict.fromkeys(("disjoint", "heads", "contamination", "findings", "warnings"), list),
    **dict.fromkeys(("layers", "exposure", "left_out"), dict),
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
    analysis : mapping
        What analysis.json holds; empty where nothing was held out.
    """

    path: Path
    run: Mapping[str, Any]
    recipe: str
    tables: Mapping[str, tuple[Row, ...]]
    absent: frozenset[str]
    analysis: Mapping[str, Any]

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
    analysis = _read_analysis(folder / "analysis.json")
    recipe = _read_text(folder / "recipe.toml")
    frames = {name: _read_table(folder / "tables" / f"{name}.csv", name) for name in SCHEMAS}
    tables = {
        name: () if frame is None else tuple(Row(name, at, cells) for at, cells in enumerate(frame.iter_rows(named=True), 1))
        for name, frame in frames.items()
    }
    absent = frozenset(name for name, frame in frames.items() if frame is None)
    answer = RunFolder(folder, run, recipe, tables, absent, analysis)
    _check_names(answer)
    return answer


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RunFolderError(f"{file} is missing. {NEXT_STEP}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{file} cannot be read ({error})") from error


def _read_object(file: Path, next_step: str) -> dict[str, Any]:
    try:
        answer = json.loads(_read_text(file))
    except json.JSONDecodeError as error:
        raise RunFolderError(f"{file} is not JSON ({error}). {next_step}") from error
    if not isinstance(answer, dict):
        raise RunFolderError(f"{file} holds a {type(answer).__name__} where an object is expected. {next_step}")
    return answer


def _read_analysis(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    analysis = _read_object(file, ANALYSIS_STEP)
    for key in _ANALYSIS_KEYS:
        if key not in analysis:
            raise RunFolderError(f"{file} has no key '{key}'. {ANALYSIS_STEP}")
    for key, kind in _ANALYSIS_TYPES.items():
        if not isinstance(analysis[key], kind):
            found = type(analysis[key]).__name__
            raise RunFolderError(f"{file}: '{key}' is a {found} where a {kind.__name__} is expected. {ANALYSIS_STEP}")
    if analysis["plan"]:
        _check_keys(file, "plan", analysis["plan"], ("digest", "text"), ANALYSIS_STEP)
        _check_keys(file, "plan.text", analysis["plan"]["text"], ("hypothesis", "held", "seeds"), ANALYSIS_STEP)
    return analysis


def _read_run(file: Path) -> dict[str, Any]:
    run = _read_object(file, NEXT_STEP)
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


def _check_keys(file: Path, key: str, value: Any, inner: tuple[str, ...], next_step: str = NEXT_STEP) -> None:
    missing = [name for name in inner if not isinstance(value, dict) or name not in value]
    if missing:
        raise RunFolderError(f"{file}: '{key}' has no key '{missing[0]}'. {next_step}")


def _read_table(file: Path, name: str) -> pl.DataFrame | None:
    next_step = ANALYSIS_STEP if name in ANALYSIS else NEXT_STEP
    if not file.is_file():
        if name in REQUIRED_TABLES:
            raise RunFolderError(f"{file} is missing. {next_step}")
        return None
    try:
        text = pl.read_csv(file, infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise RunFolderError(f"{file} is empty, without even a header. {next_step}") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunFolderError(f"{file} is not a CSV table ({error}). {next_step}") from error
    missing = [column for column in SCHEMAS[name] if column not in text.columns]
    if missing:
        raise RunFolderError(f"{file} has no column '{missing[0]}'; it has {', '.join(text.columns)}. {next_step}")
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
    """Every row but those that other stages write: evaluating fewer conditions later makes none of them wrong."""
    for name, rows in folder.tables.items():
        if name != "embeddings" and name not in ANALYSIS:
            yield from rows
