"""Scores of trainings, kept one by one as each is finished, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.errors import RunFolderError
from spoofscope.storage import slug, write_table
from spoofscope.trials import Trials


class Parts:
    """A folder with one table of scores for each way of training: every test trial at every seed.

    Parameters
    ----------
    folder : Path
        Whoever opens it sees to it that all parts in it are of one plan, or of the same settings.
    test : Trials
        What is scored.
    names : sequence of str
        The columns that tell parts apart, such as detector, held, arm; a part is asked for by their values.
    seeds : sequence of int
        One training each.
    """

    def __init__(self, folder: Path, test: Trials, names: Sequence[str], seeds: Sequence[int]) -> None:
        self.folder, self.test, self.names, self.seeds = folder, test, names, seeds

    def has(self, *words: str) -> bool:
        """Whether these trainings are finished."""
        return self._path(words).exists()

    def write(self, words: Sequence[str], scores: NDArray[np.float64]) -> None:
        """Keep the (seeds, n) scores of some trainings."""
        trials = self.test.frame.select("trial_id", "label", "attack", "speaker")
        said = [pl.lit(word).alias(name) for name, word in zip(self.names, words, strict=True)]
        table = pl.concat(
            [
                trials.with_columns(*said, pl.lit(seed).alias("seed"), pl.Series("score", row))
                for seed, row in zip(self.seeds, scores, strict=True)
            ]
        )
        write_table(table, self._path(words))

    def read(self, *words: str) -> NDArray[np.float64]:
        """Return the (seeds, n) scores of some trainings.

        Raises
        ------
        RunFolderError
            If the file is damaged.
        """
        path = self._path(words)
        try:
            return pl.read_parquet(path, columns=["score"])["score"].to_numpy().reshape(len(self.seeds), len(self.test))
        except (OSError, pl.exceptions.PolarsError, ValueError) as error:
            raise RunFolderError(
                f"cannot read {path} ({error}). Delete it and run again: what it held is trained anew."
            ) from error

    def _path(self, words: Sequence[str]) -> Path:
        """Name a part so that it can be read, and told from one that reads alike."""
        digest = hashlib.sha256(json.dumps(list(words)).encode()).hexdigest()
        return self.folder / f"{slug(' '.join(words))}-{digest[:8]}.parquet"
