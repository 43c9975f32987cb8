"""A corpus that is a table of its own: any CSV or Parquet file with a row per recording."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from spoofscope.corpora import Card, corpus
from spoofscope.errors import TrialsError, UnknownName, UserError
from spoofscope.trials import COLUMNS, Trials

PROTOCOL = "protocol"
EVERYTHING = "all"

CARD = Card(name="table", title="A table of trials")


@corpus(CARD)
class Table:
    """Trials from a CSV or Parquet file; what its columns mean is said by their names, or by `columns`."""

    card: Card

    def trials(
        self,
        protocol: str = EVERYTHING,
        *,
        root: Path | None = None,
        path: str | Path,
        columns: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        title: str = "",
    ) -> Trials:
        """Read the rows of one protocol.

        Parameters
        ----------
        protocol : str
            A value of the column `protocol` if the table has one; otherwise `"all"`.
        root : Path, optional
            The folder that its paths are relative to; that of the table unless given.
        path : path
            The table: `.csv`, `.tsv` or `.parquet`, with the columns `path` and `label`; `trial_id` (the path unless there is
            one), `attack`, `speaker`, `source` and `duration_s` are used where they are, and other columns are kept.
        columns : mapping of str to str, optional
            Their name to ours, such as `{"generator": "attack", "text_id": "source"}`.
        labels : mapping of str to str, optional
            Their label to ours, such as `{"fake": "spoof", "real": "bonafide"}`.
        title : str, optional
            What the trials are called wherever a figure of them is shown; the name of the file unless given.

        Raises
        ------
        TrialsError
            If the file cannot be read or its rows do not validate; the message names file and row (the first below the
            header is row 1).
        UserError, UnknownName
            If `columns` or `protocol` names something that the table does not have.
        """
        file = Path(path)
        frame = _renamed(_read(file, columns or {}), file, columns or {})
        if "trial_id" not in frame.columns and "path" in frame.columns:
            frame = frame.with_columns(trial_id=pl.col("path"))
        if labels and "label" in frame.columns:
            frame = frame.with_columns(pl.col("label").cast(pl.String).replace(dict(labels)))
        everything = Trials(frame, file.parent if root is None else Path(root), str(path))
        if PROTOCOL not in frame.columns:
            if protocol != EVERYTHING:
                raise UnknownName(
                    f"{path} has no column '{PROTOCOL}', so its only protocol is '{EVERYTHING}', not '{protocol}'"
                )
            return Trials(everything.frame, everything.root, f"{title or file.stem}, {EVERYTHING}")
        return _of_protocol(everything, protocol, file, title or file.stem)


def _of_protocol(everything: Trials, protocol: str, file: Path, title: str) -> Trials:
    known = sorted(everything.frame[PROTOCOL].cast(pl.String).drop_nulls().unique())
    if protocol not in known:
        near = difflib.get_close_matches(protocol, known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UnknownName(
            f"{file} has no protocol '{protocol}'.{hint} Its column '{PROTOCOL}' holds {', '.join(known) or 'none'}."
        )
    return everything.where(pl.col(PROTOCOL).cast(pl.String) == protocol, name=f"{title}, {protocol}")


def _read(file: Path, columns: Mapping[str, str]) -> pl.DataFrame:
    if not file.is_file():
        raise TrialsError(f"no such table: {file}")
    try:
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(file)
        separator = "\t" if file.suffix.lower() == ".tsv" else ","
        header = pl.read_csv(file, separator=separator, n_rows=0, infer_schema=False).columns
        # Ids, labels and names are text even where they look like numbers: speaker 007 is not speaker 7.
        texts = {name: pl.String for name in header if columns.get(name, name) in {*COLUMNS, PROTOCOL} - {"duration_s"}}
        return pl.read_csv(file, separator=separator, infer_schema_length=None, schema_overrides=texts)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrialsError(f"{file} cannot be read as a table: {reason}. It must be CSV, TSV or Parquet.") from error


def _renamed(frame: pl.DataFrame, file: Path, columns: Mapping[str, str]) -> pl.DataFrame:
    for theirs, ours in columns.items():
        if theirs not in frame.columns:
            near = difflib.get_close_matches(theirs, frame.columns, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UserError(f"columns: {file} has no column '{theirs}'.{hint} It has {', '.join(frame.columns)}.")
        others = [columns.get(name, name) for name in frame.columns if name != theirs]
        if ours in others:
            raise UserError(f"columns: {file} would have two columns '{ours}'; map the other one to another name as well")
    return frame.rename(dict(columns))
