"""The table of scores: one float32 per trial, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.errors import ScoresError
from spoofscope.trials import BONAFIDE, SPOOF

OK = "ok"


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one detector under one condition, beside the columns of their trials.

    Columns are `trial_id, score, status`, then the trial columns. `status` is `ok`, or says why a trial has no score; then
    its score is null. A higher score is more bona fide, always.

    Parameters
    ----------
    frame : polars.DataFrame
        One row per trial, in the order of the protocol.
    name : str
        Which trials these are.

    Raises
    ------
    ScoresError
        If an id repeats, a label is not a label, a row has no status, a row marked `ok` has a score that is missing or not
        finite, or a row with a score is not marked `ok`.
    """

    frame: pl.DataFrame
    name: str

    def __post_init__(self) -> None:
        for column in ("trial_id", "score", "status", "label"):
            if column not in self.frame.columns:
                raise ScoresError(f"{self.name}: the score table has no column '{column}'")
        if not self.frame["score"].dtype.is_numeric() and self.frame["score"].dtype != pl.Null:
            raise ScoresError(f"{self.name}: the column 'score' holds {self.frame['score'].dtype}; it must hold numbers")
        object.__setattr__(self, "frame", self.frame.with_columns(pl.col("score").cast(pl.Float32)))
        ok = (pl.col("status") == OK).fill_null(False)
        finite = pl.col("score").is_finite().fill_null(False)
        unlike = pl.col("status").is_null() | (ok & ~finite) | (~ok & pl.col("score").is_not_null())
        self._refuse(unlike, "has status '{status}' and score {score}")
        self._refuse(~pl.col("label").is_in([BONAFIDE, SPOOF]).fill_null(False), "has the label '{label}'")
        self._refuse(pl.col("trial_id").is_duplicated(), "appears more than once")

    def _refuse(self, is_wrong: pl.Expr, what: str) -> None:
        wrong = self.frame.filter(is_wrong)
        if wrong.height:
            row = wrong.row(0, named=True)
            raise ScoresError(f"{self.name}: trial '{row['trial_id']}' {what.format_map(row)} ({wrong.height} such rows)")

    def __len__(self) -> int:
        return self.frame.height

    @property
    def failures(self) -> pl.DataFrame:
        """The rows that have no score."""
        return self.frame.filter(pl.col("status") != OK)

    def scored(self, *, allow_missing: bool = False) -> Scores:
        """Return the rows that have a score.

        Raises
        ------
        ScoresError
            If there are rows without one, unless `allow_missing`.
        """
        failures = self.failures
        if failures.height and not allow_missing:
            row = failures.row(0, named=True)
            raise ScoresError(
                f"{self.name}: {failures.height} of {len(self)} trials have no score (first: {row['trial_id']}: {row['status']}). "
                "Mend the files and run again, or pass --allow-missing to evaluate without them and carry the count."
            )
        return Scores(self.frame.filter(pl.col("status") == OK), self.name)

    @property
    def bonafide(self) -> NDArray[np.float32]:
        """(n,) scores of bona fide trials that have one."""
        return self._of(pl.col("label") == BONAFIDE)

    @property
    def spoof(self) -> NDArray[np.float32]:
        """(m,) scores of spoof trials that have one."""
        return self._of(pl.col("label") != BONAFIDE)

    def _of(self, rows: pl.Expr) -> NDArray[np.float32]:
        return self.frame.filter(rows & (pl.col("status") == OK))["score"].to_numpy()


def read_score_text(path: str | Path) -> pl.DataFrame:
    """Read the challenge's score text: `utt score`, `utt attack label score`, or a header of `filename<tab>cm-score`.

    Returns
    -------
    polars.DataFrame
        `trial_id, score`, and `attack, label` where the file has four columns. `.gz` is read as it is.

    Raises
    ------
    ScoresError
        If there is no such file, a row has another number of fields than the first, an id repeats, or a score is not a
        finite number; the message names the row.
    """
    import gzip
    import zlib

    file = Path(path)
    if not file.is_file():
        raise ScoresError(f"no score file at {path}")
    try:
        with gzip.open(file, "rt", encoding="utf-8-sig") if file.suffix == ".gz" else file.open(encoding="utf-8-sig") as lines:
            rows = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ScoresError(f"{path} is not a text of scores ({error})") from error
    if rows and rows[0][1][:2] == ["filename", "cm-score"]:
        rows = rows[1:]
    if not rows:
        raise ScoresError(f"{path} holds no scores")
    width = len(rows[0][1])
    if width not in (2, 4):
        raise ScoresError(
            f"{path}: row {rows[0][0]} has {width} fields; a score file has 2 (id score) or 4 (id attack label score)"
        )
    for number, fields in rows:
        if len(fields) != width:
            raise ScoresError(f"{path}: row {number} has {len(fields)} fields where the first has {width}")
    columns = ["trial_id", "score"] if width == 2 else ["trial_id", "attack", "label", "score"]
    table = pl.DataFrame([fields for _, fields in rows], schema=dict.fromkeys(columns, pl.String), orient="row")
    parsed = pl.col("score").cast(pl.Float64, strict=False)
    bad = table.with_columns(parsed.alias("_number"), pl.Series("_row", [row for row, _ in rows])).filter(
        ~pl.col("_number").is_finite().fill_null(False)
    )
    if bad.height:
        raise ScoresError(
            f"{path}: row {bad['_row'][0]}: the score '{bad['score'][0]}' is not a finite number ({bad.height} such rows)"
        )
    repeated = table.filter(pl.col("trial_id").is_duplicated())
    if repeated.height:
        raise ScoresError(f"{path}: trial '{repeated['trial_id'][0]}' appears more than once ({repeated.height} such rows)")
    return table.with_columns(parsed)
