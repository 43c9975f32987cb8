"""An embedder's vectors under one condition: one vector per trial and layer, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.cards import identity
from spoofscope.degradations.conditions import Condition
from spoofscope.embedders import Embedder
from spoofscope.embeddings import DTYPES, FORMAT, Embeddings, narrowed, open_embeddings, write_embeddings
from spoofscope.errors import PluginError, RecipeError
from spoofscope.executors import Executor
from spoofscope.run import MEASURED, Answer, OnProgress, Plan, Prepared, best_of, finished, measured_columns, work_through
from spoofscope.scores import OK
from spoofscope.storage import open_keyed
from spoofscope.trials import Trials
from spoofscope.windows import Pool

TABLE = "ids.parquet"
PART_BYTES = 64 << 20
_KNOWN: dict[str, Any] = {"trial_id": pl.String, "status": pl.String, **MEASURED}
_SCHEMA: dict[str, Any] = {**_KNOWN, "vectors": pl.Binary}


def embed_trials(
    embedder: Embedder,
    trials: Trials,
    condition: Condition,
    parent: Path,
    *,
    executor: Executor,
    seed: int = 0,
    batch_size: int = 16,
    max_duration_s: float = 600.0,
    dtype: str = "float16",
    on_progress: OnProgress = lambda done: None,
) -> Embeddings:
    """Embed every trial under one condition, continuing whatever its folder already holds.

    Under a windowed condition a trial's vector is pooled over its windows element by element, as the condition pools scores.

    Parameters
    ----------
    parent : Path
        The embeddings of this embedder; each condition has a folder in it, named after the condition and its key.
    dtype : {"float16", "float32"}
        How numbers are stored. A trial whose numbers do not fit is given the reason.

    Returns
    -------
    Embeddings
        In the order of the trials, mapped from disk; trials that could not be read or embedded carry the reason.

    Raises
    ------
    RunFolderError
        If the folder cannot be written; what was finished before is kept.
    """
    if dtype not in DTYPES:
        raise RecipeError(f"vectors is '{dtype}'; it must be {' or '.join(DTYPES)}")
    key = embedding_key(embedder, trials, condition, seed=seed, max_duration_s=max_duration_s, dtype=dtype)
    sink = _Vectors(embedder, condition, open_keyed(parent, condition.name, key), dtype)
    plan = Plan(condition, embedder.card, seed, max_duration_s)
    work_through(sink, trials, plan, executor=executor, batch_size=batch_size, on_progress=on_progress)
    return open_embeddings(sink.folder, trials.name)


def embedding_key(
    embedder: Embedder, trials: Trials, condition: Condition, *, seed: int, max_duration_s: float, dtype: str
) -> dict[str, Any]:
    """Return what makes a vector the same vector, as one JSON object."""
    return {
        "format": FORMAT,
        "trials": trials.digest(),
        "condition": condition.settings(),
        "embedder": identity(embedder),
        "layers": list(embedder.layers),
        "dim": embedder.dim,
        "dtype": dtype,
        "seed": seed,
        "max_duration_s": max_duration_s,
    }


@dataclass(frozen=True)
class _Vectors:
    """The sink of vectors. A part holds each trial's vectors as bytes; finishing spreads them over the files of the layers."""

    embedder: Embedder
    condition: Condition
    folder: Path
    dtype: str
    table: str = TABLE

    @property
    def schema(self) -> Mapping[str, Any]:
        return _SCHEMA

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.embedder.layers), self.embedder.dim

    @property
    def parts_together(self) -> int:
        return max(2, PART_BYTES // (16 * self.shape[0] * self.shape[1] * np.dtype(self.dtype).itemsize))

    def ask(self, audio: list[Audio]) -> list[Answer]:
        vectors = np.asarray(self.embedder.embed(audio))
        if vectors.shape != (len(audio), *self.shape):
            raise PluginError(
                f"{self.embedder.card.name} answered {len(audio)} recordings with shape {vectors.shape}; "
                f"it must be {(len(audio), *self.shape)}: recordings, layers, dim"
            )
        return [Answer(own, narrowed(own, self.dtype)[1]) for own in vectors]

    def row(self, trial: Prepared, values: list[Any]) -> tuple[Any, ...]:
        windows = self.condition.windows
        vectors = values[0] if windows is None else pool_vectors(np.stack(values), windows.pool)
        stored, _ = narrowed(vectors, self.dtype)
        return (trial.trial_id, OK, *measured_columns(trial.measured), stored.tobytes())

    def failure(self, trial: Prepared, reason: str) -> tuple[Any, ...]:
        return (trial.trial_id, reason, *measured_columns(None), None)

    def finish(self, trials: Trials, parts: Sequence[Path]) -> None:
        rows = best_of(finished(self, tuple(_KNOWN)))
        frame = trials.frame.drop("path").join(rows, on="trial_id", how="left", maintain_order="left")
        first = ["trial_id", "status"]
        place = {trial_id: at for at, trial_id in enumerate(trials.ids)}
        write_embeddings(
            self.folder,
            frame.select(*first, pl.exclude(first)),
            self.embedder.layers,
            self.embedder.dim,
            self.dtype,
            self._blocks(parts, place),
        )

    def _blocks(self, parts: Sequence[Path], place: Mapping[str, int]) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        for part in parts:
            rows = pl.read_parquet(part, columns=["trial_id", "status", "vectors"]).filter(pl.col("status") == OK)
            at = np.array([place[trial_id] for trial_id in rows["trial_id"]], dtype=np.int64)
            vectors = np.frombuffer(b"".join(rows["vectors"]), dtype=self.dtype).reshape(-1, *self.shape)
            if len(at):
                yield at, vectors


def pool_vectors(vectors: NDArray[np.float32], pool: Pool) -> NDArray[np.float32]:
    """Return (layers, dim) vectors of a recording from those of its windows, (windows, layers, dim), in order of time."""
    if pool == "last":
        return np.asarray(vectors[-1])
    if pool == "mean":
        return np.asarray(vectors.mean(axis=0))
    return np.asarray(vectors.min(axis=0) if pool == "min" else vectors.max(axis=0))
