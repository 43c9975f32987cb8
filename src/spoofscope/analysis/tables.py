"""The tables of one stage of a run: rows are left in them by name, and all are written together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from spoofscope.analysis.cells import blank
from spoofscope.errors import DataError
from spoofscope.storage import write_table

Row = dict[str, Any]


class Tables:
    """Rows under the names of tables, in the order in which they came."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = defaultdict(list)

    def add(self, table: str, rows: Iterable[Row], **names: Any) -> None:
        """Leave rows in a table, each after the same names."""
        self.tables[table] += [names | row for row in rows]

    def frame(self, table: str) -> pl.DataFrame:
        """Return the rows of a table.

        Raises
        ------
        DataError
            If there are none.
        """
        if not self.tables[table]:
            raise DataError(f"no {table} rows: nothing that was asked for gave any")
        rows = [{name: blank(value) for name, value in row.items()} for row in self.tables[table]]
        return pl.DataFrame(rows, infer_schema_length=None)

    def write_tables(self, folder: Path, names: Sequence[str]) -> None:
        """Write those of `names` that have rows to `tables/NAME.csv` of a run folder, and remove the others of an earlier time."""
        for name in names:
            file = folder / "tables" / f"{name}.csv"
            if self.tables[name]:
                write_table(self.frame(name), file)
            else:
                file.unlink(missing_ok=True)
