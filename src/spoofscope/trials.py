"""The table of what is evaluated: one row per recording, validated once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.errors import TrialsError

BONAFIDE = "bonafide"
SPOOF = "spoof"
NO_ATTACK = "-"
REQUIRED = ("trial_id", "path", "label")
OPTIONAL = {"attack": pl.String, "speaker": pl.String, "source": pl.String, "duration_s": pl.Float64}
COLUMNS = (*REQUIRED, *OPTIONAL)
TEXTS = [column for column, dtype in OPTIONAL.items() if dtype == pl.String]


@dataclass(frozen=True, eq=False)
class Trials:
    """An immutable table of trials with the name of the set that they are.

    Columns are `trial_id, path, label, attack, speaker, source, duration_s`, then whatever the corpus adds (codec,
    transmission, phase, vocoder ...). `path` is relative to `root`. `label` is `bonafide` or `spoof`; `attack` is `-` for
    bona fide and a name for every spoof (`unknown` where the corpus has none). `speaker`, `source` (the utterance that a
    trial was made from) and `duration_s` may be null.

    Parameters
    ----------
    frame : polars.DataFrame
        The rows; optional columns may be absent and are added as null.
    root : Path
        The folder that paths are relative to.
    name : str
        Corpus and protocol, such as `ASVspoof 2021 LA, eval`: every figure made from these trials carries it.

    Raises
    ------
    TrialsError
        If a column is missing, an id repeats, a label is not a label, a duration is not a number of seconds above 0, or a bona
        fide trial names an attack.
    """

    frame: pl.DataFrame
    root: Path
    name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "frame", _validated(self.frame, self.name))

    def __len__(self) -> int:
        return self.frame.height

    @property
    def ids(self) -> list[str]:
        """Trial ids in the order of the protocol."""
        return self.frame["trial_id"].to_list()

    @property
    def paths(self) -> list[Path]:
        """Full path of each trial's recording."""
        return [self.root / path for path in self.frame["path"]]

    @property
    def is_bonafide(self) -> NDArray[np.bool_]:
        """(n,) bool array, True for bona fide trials."""
        return (self.frame["label"] == BONAFIDE).to_numpy()

    @property
    def counts(self) -> tuple[int, int]:
        """Number of bona fide and of spoof trials."""
        bonafide = int(self.is_bonafide.sum())
        return bonafide, len(self) - bonafide

    def describe(self) -> str:
        """Say in a phrase which trials these are."""
        bonafide, spoof = self.counts
        return f"{self.name}, {len(self):,} trials ({bonafide:,} bona fide, {spoof:,} spoof)"

    def digest(self) -> str:
        """SHA-256 over every column, in order: two tables with one digest hold the same trials."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for column in self.frame.iter_columns():
            digest.update(f"\x1d{column.name}\x1f{column.dtype}\x1f".encode())
            digest.update("\x1e".join("\x00" if value is None else str(value) for value in column).encode())
        return digest.hexdigest()

    def where(self, mask: NDArray[np.bool_] | pl.Expr, *, name: str) -> Trials:
        """Return the trials that `mask` keeps, under a name that says which they are."""
        return Trials(self.frame.filter(mask), self.root, name)

    def subset(self, size: int, *, by: Sequence[str] = ("attack", "speaker"), seed: int = 0) -> Trials:
        """Draw `size` trials, stratified.

        The first column of `by` (with the label) fixes the strata: each receives its share of `size`, but at least
        its fair floor `min(count, size // (2 * strata))`, so that small attacks stay measurable. Inside a stratum
        the values of the other columns take turns, so that as many speakers as possible are heard.

        Returns
        -------
        Trials
            Exactly `min(size, len(self))` trials, in the order of the protocol.
        """
        if size < 1:
            raise TrialsError(f"cannot draw {size} trials of {self.name}; the size of a subset is at least 1")
        missing = [column for column in by if column not in self.frame.columns]
        if missing:
            raise TrialsError(f"cannot stratify {self.name} by {missing[0]}: it has {', '.join(self.frame.columns)}")
        if size >= len(self):
            return self
        shuffled = self.frame.with_row_index("_row")[np.random.default_rng(seed).permutation(len(self))]
        stratum = list(dict.fromkeys(("label", *by[:1])))
        turn = pl.col("_row").cum_count().over([*stratum, *by[1:]]) if by[1:] else pl.lit(0)
        order = shuffled.with_columns(turn.alias("_turn")).sort("_turn", maintain_order=True)
        counts = order.group_by(stratum, maintain_order=True).len().sort(stratum)
        quota = counts.with_columns(pl.Series("_quota", _quotas(counts["len"].to_numpy(), size)))
        ranked = order.with_columns(pl.col("_row").cum_count().over(stratum).alias("_rank")).join(
            quota, on=stratum, nulls_equal=True
        )
        kept = ranked.filter(pl.col("_rank") <= pl.col("_quota")).sort("_row").select(self.frame.columns)
        return Trials(kept, self.root, f"{self.name}, {size} of {len(self):,} stratified by {' and '.join(by)} (seed {seed})")


def _quotas(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Shares of `size` that sum to it: proportional, floored for small strata, by largest remainder."""
    floor = np.minimum(counts, size // (2 * len(counts)))
    share = floor + (size - floor.sum()) * (counts - floor) / (counts - floor).sum()
    quota: NDArray[np.int64] = np.floor(share).astype(np.int64)
    left = size - quota.sum()
    quota[np.argsort(quota - share, kind="stable")[:left]] += 1
    return quota


def _validated(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    missing = [column for column in REQUIRED if column not in frame.columns]
    if missing:
        raise TrialsError(
            f"{name}: the table has no column '{missing[0]}'; it needs {', '.join(REQUIRED)} and has {', '.join(frame.columns) or 'none'}"
        )
    if frame.height == 0:
        raise TrialsError(f"{name}: the table has no rows")
    frame = frame.with_columns(pl.col(column).cast(pl.String) for column in REQUIRED)
    added = [pl.lit(None, dtype=dtype).alias(column) for column, dtype in OPTIONAL.items() if column not in frame.columns]
    frame = frame.with_columns(added)
    seconds = pl.col("duration_s").cast(pl.Float64, strict=False)
    _check_column(
        frame,
        name,
        "duration_s",
        pl.col("duration_s").is_not_null() & ~(seconds.is_finite() & (seconds > 0)).fill_null(False),
        "is not a number of seconds above 0",
    )
    frame = frame.with_columns(seconds, *(pl.col(column).cast(pl.String).replace("", None) for column in TEXTS))
    _check_column(frame, name, "trial_id", pl.col("trial_id").is_null() | (pl.col("trial_id") == ""), "is empty")
    _check_column(frame, name, "path", pl.col("path").is_null() | (pl.col("path") == ""), "is empty")
    _check_column(
        frame,
        name,
        "label",
        ~pl.col("label").is_in([BONAFIDE, SPOOF]) | pl.col("label").is_null(),
        f"is not {BONAFIDE} or {SPOOF}",
    )
    _check_column(frame, name, "trial_id", pl.col("trial_id").is_duplicated(), "appears more than once")
    bonafide = pl.col("label") == BONAFIDE
    frame = frame.with_columns(
        attack=pl.col("attack").fill_null(pl.when(bonafide).then(pl.lit(NO_ATTACK)).otherwise(pl.lit("unknown")))
    )
    _check_column(frame, name, "attack", bonafide & (pl.col("attack") != NO_ATTACK), "is given for a bona fide trial")
    _check_column(frame, name, "attack", ~bonafide & (pl.col("attack") == NO_ATTACK), "is '-' for a spoof trial")
    return frame.select(*COLUMNS, *(column for column in frame.columns if column not in COLUMNS))


def _check_column(frame: pl.DataFrame, name: str, column: str, is_bad: pl.Expr, what: str) -> None:
    bad = frame.with_row_index("_row", offset=1).filter(is_bad)
    if bad.height:
        row = bad.row(0, named=True)
        raise TrialsError(
            f"{name}: {column} {what} in {bad.height} of {frame.height} rows "
            f"(first: row {row['_row']}, trial '{row['trial_id']}', {column} '{row[column]}')"
        )
