"""Trials x condition x model into parts on disk: stop anywhere, resume, and the answer is the same.

One loop, two sinks: a detector's scores and an embedder's vectors. The folder of one model under one condition holds `key.json` (what
makes its content what it is), part files while work is in progress, and the finished table. A part is whole or absent; resuming is
an anti-join on trial ids; trials that failed are tried again.
"""

from __future__ import annotations

import functools
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl

from spoofscope.audio import Audio, read_audio
from spoofscope.cards import Card
from spoofscope.degradations._measure import Measured, measure
from spoofscope.degradations.conditions import Condition
from spoofscope.errors import AudioError, DataError
from spoofscope.executors import Executor
from spoofscope.scores import OK
from spoofscope.storage import write_table
from spoofscope.trials import Trials

MEASURED = {f"measured_{name}": pl.Float32 for name in Measured._fields}
OnProgress = Callable[[int], None]


class Plan(NamedTuple):
    """What a worker must know to read and degrade a trial."""

    condition: Condition
    card: Card
    seed: int
    max_duration_s: float


class Prepared(NamedTuple):
    """One trial, ready for the model: its stretches of audio, or why there are none."""

    trial_id: str
    stretches: list[Audio]
    ends_s: list[float]
    measured: Measured | None
    reason: str


class Answer(NamedTuple):
    """What a model said of one stretch of audio, or why it said nothing ('' if it did)."""

    value: Any
    reason: str


class Sink(Protocol):
    """Where the answers of a model under one condition go, and how they are asked for."""

    @property
    def folder(self) -> Path:
        """Where the parts and the finished table lie."""
        ...

    @property
    def schema(self) -> Mapping[str, Any]:
        """The columns of a part."""
        ...

    @property
    def table(self) -> str:
        """The file that holds `trial_id` and `status` once everything is finished."""
        ...

    @property
    def parts_together(self) -> int:
        """How many parts are made one, so that neither files nor the memory to read them grow with the corpus."""
        ...

    def ask(self, audio: list[Audio]) -> list[Answer]:
        """Ask the model about a batch; `DataError` if it refuses any of it."""
        ...

    def row(self, trial: Prepared, values: list[Any]) -> tuple[Any, ...]:
        """Return the row of a trial, in the order of `schema`, from the answers to its stretches."""
        ...

    def failure(self, trial: Prepared, reason: str) -> tuple[Any, ...]:
        """Return the row of a trial that has no answer."""
        ...

    def finish(self, trials: Trials, parts: Sequence[Path]) -> None:
        """Write the finished table from what it was before and the parts."""
        ...


def work_through(
    sink: Sink,
    trials: Trials,
    plan: Plan,
    *,
    executor: Executor,
    batch_size: int,
    on_progress: OnProgress = lambda done: None,
) -> None:
    """Bring every trial before the model, continuing whatever the sink's folder already holds.

    Parameters
    ----------
    on_progress : callable
        Called with the number of trials finished since the last call.

    Raises
    ------
    RunFolderError
        If the folder cannot be written; what was finished before is kept.
    """
    todo, parts = begin(sink, trials, on_progress), list[Path]()
    prepared = executor.imap(functools.partial(prepare, plan), _batches(todo, trials.root, batch_size))
    for batch in prepared:
        keep(sink, _listen(sink, batch, plan, batch_size), parts)
        on_progress(len(batch))
    end(sink, trials, anew=todo.height > 0)


def begin(sink: Sink, trials: Trials, on_progress: OnProgress) -> pl.DataFrame:
    """Return `trial_id, path` of the trials that have no answer yet."""
    have = finished(sink).filter(pl.col("status") == OK).select("trial_id").unique()
    on_progress(have.height)
    return trials.frame.select("trial_id", "path").join(have, on="trial_id", how="anti", maintain_order="left")


def keep(sink: Sink, rows: Sequence[tuple[Any, ...]], parts: list[Path]) -> None:
    """Write a part; make one of many when there are enough. `parts` lists those that may be."""
    parts.append(write_part(sink, pl.DataFrame(rows, schema=dict(sink.schema), orient="row")))
    if len(parts) >= sink.parts_together:
        write_part(sink, pl.concat([pl.read_parquet(part) for part in parts], rechunk=True))
        for part in parts:
            part.unlink()
        parts.clear()


def write_part(sink: Sink, rows: pl.DataFrame) -> Path:
    """Write one part file under a name of its own."""
    path = sink.folder / f"part-{uuid.uuid4().hex}.parquet"
    write_table(rows, path)
    return path


def end(sink: Sink, trials: Trials, *, anew: bool) -> None:
    """Make the finished table of the parts, if there is anything that it lacks."""
    parts = sorted(sink.folder.glob("part-*.parquet"))
    if anew or parts or not (sink.folder / sink.table).exists():
        sink.finish(trials, parts)
        for part in parts:
            part.unlink()


def finished(sink: Sink, columns: Sequence[str] = ("trial_id", "status")) -> pl.DataFrame:
    """Read some columns of the finished table and of every part."""
    files = [file for file in [sink.folder / sink.table, *sorted(sink.folder.glob("part-*.parquet"))] if file.exists()]
    if not files:
        return pl.DataFrame(schema={name: sink.schema[name] for name in columns})
    return pl.concat([pl.read_parquet(file, columns=list(columns)) for file in files])


def best_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Keep one row a trial: the first that has an answer, else the first."""
    ok_first = rows.with_columns((pl.col("status") != OK).alias("_failed")).sort("_failed", maintain_order=True)
    return ok_first.unique("trial_id", keep="first", maintain_order=True).drop("_failed")


def prepare(plan: Plan, batch: Sequence[tuple[str, Path]]) -> list[Prepared]:
    """Read and degrade a batch of trials; a trial that cannot be read comes back with the reason."""
    return [_prepare_one(plan, trial_id, path) for trial_id, path in batch]


def _prepare_one(plan: Plan, trial_id: str, path: Path) -> Prepared:
    card, condition = plan.card, plan.condition
    try:
        clean = read_audio(path, sample_rate=card.sample_rate, max_duration_s=plan.max_duration_s)
        heard = condition.degrade(clean, card.sample_rate, condition.rng(plan.seed, trial_id))
        if len(heard) == 0:
            raise AudioError(f"nothing is left of {path} after {condition.name}")
    except DataError as error:
        return Prepared(trial_id, [], [], None, str(error))
    measured = measure(clean, heard, card.sample_rate) if condition.chain else None
    if condition.windows is None:
        return Prepared(trial_id, [card.fit(heard)], [len(heard) / card.sample_rate], measured, "")
    windows = condition.windows.cut(heard, card.sample_rate)
    return Prepared(trial_id, [window.audio for window in windows], [window.end_s for window in windows], measured, "")


def _batches(todo: pl.DataFrame, root: Path, size: int) -> Iterator[list[tuple[str, Path]]]:
    for rows in todo.iter_slices(size):
        yield [(trial_id, root / path) for trial_id, path in rows.iter_rows()]


def _listen(sink: Sink, prepared: Sequence[Prepared], plan: Plan, batch_size: int) -> list[tuple[Any, ...]]:
    stretches = [(at, stretch) for at, trial in enumerate(prepared) for stretch in trial.stretches]
    values: list[list[Any]] = [[] for _ in prepared]
    reasons = [trial.reason for trial in prepared]
    for group in _grouped(stretches, batch_size):
        answers = ask_each(sink.ask, [plan.card.fit(stretch) for _, stretch in group])
        for (at, _), answer in zip(group, answers, strict=True):
            values[at].append(answer.value)
            reasons[at] = reasons[at] or answer.reason
    return [
        sink.failure(trial, reason) if reason else sink.row(trial, own)
        for trial, own, reason in zip(prepared, values, reasons, strict=True)
    ]


def _grouped(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group


def ask_each(ask: Callable[[list[Audio]], list[Answer]], audio: list[Audio]) -> list[Answer]:
    """Ask about a batch; where the model refuses it, one by one, so that one recording costs only itself."""
    try:
        return ask(audio)
    except DataError as error:
        if len(audio) == 1:
            return [Answer(None, str(error))]
        return [answer for one in audio for answer in ask_each(ask, [one])]


def measured_columns(measured: Measured | None) -> Sequence[float | None]:
    """Return what was measured of a trial, in the order of `MEASURED`."""
    return measured if measured is not None else [None] * len(MEASURED)
