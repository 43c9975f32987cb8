"""Trials x condition x detector into parts on disk: stop anywhere, resume, and the answer is the same.

The folder of one detector under one condition holds `key.json` (what makes a score the same score), part files while work
is in progress, and `scores.parquet` when it is finished. A part is whole or absent; resuming is an anti-join on trial ids;
trials that failed are tried again.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.audio import Audio, read_audio
from spoofscope.cards import Card, identity
from spoofscope.degradations._measure import Measured, measure
from spoofscope.degradations.conditions import Condition
from spoofscope.detectors import Detector
from spoofscope.errors import AudioError, DataError, PluginError, RunFolderError
from spoofscope.executors import Executor
from spoofscope.scores import OK, Scores
from spoofscope.trials import Trials, slug
from spoofscope.windows import pool_scores

FORMAT = 1
GATHERED = 64  # parts are made one by this many: reading thousands of tiny files takes far more memory than they hold
_MEASURED = {f"measured_{name}": pl.Float32 for name in Measured._fields}
_SCHEMA: dict[str, Any] = {
    "trial_id": pl.String,
    "score": pl.Float32,
    "status": pl.String,
    "window_scores": pl.List(pl.Float32),
    "window_ends_s": pl.List(pl.Float32),
    **_MEASURED,
}


class Plan(NamedTuple):
    """What a worker must know to read and degrade a trial."""

    condition: Condition
    card: Card
    seed: int
    max_duration_s: float


class Prepared(NamedTuple):
    """One trial, ready for the detector: its stretches of audio, or why there are none."""

    trial_id: str
    stretches: list[Audio]
    ends_s: list[float]
    measured: Measured | None
    reason: str


def score_trials(
    detector: Detector,
    trials: Trials,
    condition: Condition,
    parent: Path,
    *,
    executor: Executor,
    seed: int = 0,
    batch_size: int = 16,
    max_duration_s: float = 600.0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Score every trial under one condition, continuing whatever its folder already holds.

    Parameters
    ----------
    parent : Path
        The scores of this detector; each condition has a folder in it, named after the condition and its key.
    on_progress : callable
        Called with the number of trials finished since the last call.

    Returns
    -------
    Scores
        In the order of the trials; those that could not be read or scored carry the reason.

    Raises
    ------
    RunFolderError
        If the folder cannot be written; what was finished before is kept.
    """
    key = score_key(detector, trials, condition, seed=seed, max_duration_s=max_duration_s)
    folder = open_scores(parent, condition, key)
    have = _finished(folder).filter(pl.col("status") == OK).select("trial_id")
    todo = trials.frame.select("trial_id", "path").join(have, on="trial_id", how="anti", maintain_order="left")
    on_progress(have.height)
    plan = Plan(condition, detector.card, seed, max_duration_s)
    parts: list[Path] = []
    for rows in _score_batches(detector, _batches(todo, trials.root, batch_size), plan, executor, batch_size):
        parts.append(_write_part(pl.DataFrame(rows, schema=_SCHEMA, orient="row"), folder))
        on_progress(len(rows))
        if len(parts) == GATHERED:
            _gather(folder, parts)
            parts.clear()
    if todo.height or not (folder / "scores.parquet").exists():
        _compact(folder, trials)
    return read_scores(folder, trials.name)


def score_key(detector: Detector, trials: Trials, condition: Condition, *, seed: int, max_duration_s: float) -> dict[str, Any]:
    """Return what makes a score the same score, as one JSON object."""
    return {
        "format": FORMAT,
        "trials": trials.digest(),
        "condition": condition.settings(),
        "detector": identity(detector),
        "seed": seed,
        "max_duration_s": max_duration_s,
    }


def open_scores(parent: Path, condition: Condition, key: dict[str, Any]) -> Path:
    """Return the folder of a key, made if absent, refusing one that holds another key."""
    folder, text = scores_folder(parent, condition, key), _key_text(key)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "key.json").exists():
            write_text(text, folder / "key.json")
    if (folder / "key.json").read_text(encoding="utf-8") != text:
        raise RunFolderError(f"{folder} was made for another key. Move it away, or choose another --out.")
    return folder


def scores_folder(parent: Path, condition: Condition, key: dict[str, Any]) -> Path:
    """Name the folder of a key: something to read, and 12 hex digits of its SHA-256."""
    return parent / f"{slug(condition.name)}-{hashlib.sha256(_key_text(key).encode()).hexdigest()[:12]}"


def _key_text(key: dict[str, Any]) -> str:
    return json.dumps(key, indent=1, sort_keys=True, ensure_ascii=False)


def read_scores(folder: Path, name: str) -> Scores:
    """Read the finished scores of one folder."""
    try:
        return Scores(pl.read_parquet(folder / "scores.parquet"), name)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunFolderError(
            f"no finished scores in {folder}. Run 'spoofscope score RECIPE' (or 'run') with the same recipe."
        ) from error


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


def _score_batches(
    detector: Detector, batches: Iterable[Sequence[tuple[str, Path]]], plan: Plan, executor: Executor, batch_size: int
) -> Iterator[list[tuple[Any, ...]]]:
    if hasattr(detector, "lookup"):
        if plan.condition.chain or plan.condition.windows:
            raise PluginError(f"{detector.card.name} has scores but no audio: it can only be evaluated under 'clean'")
        for batch in batches:
            ids = [trial_id for trial_id, _ in batch]
            yield [_row(trial_id, [score], [], None, plan) for trial_id, score in zip(ids, detector.lookup(ids), strict=True)]
        return
    for prepared in executor.imap(functools.partial(prepare, plan), batches):
        yield _score_prepared(detector, prepared, plan, batch_size)


def _score_prepared(detector: Detector, prepared: Sequence[Prepared], plan: Plan, batch_size: int) -> list[tuple[Any, ...]]:
    stretches = [(at, stretch) for at, trial in enumerate(prepared) for stretch in trial.stretches]
    scores: list[list[float]] = [[] for _ in prepared]
    reasons = [trial.reason for trial in prepared]
    for group in _grouped(stretches, batch_size):
        audio = [plan.card.fit(stretch) for _, stretch in group]
        for (at, _), (score, reason) in zip(group, _score_group(detector, audio), strict=True):
            scores[at].append(score)
            reasons[at] = reasons[at] or reason
    return [
        _row(trial.trial_id, [], [], None, plan, reason)
        if reason
        else _row(trial.trial_id, values, trial.ends_s, trial.measured, plan)
        for trial, values, reason in zip(prepared, scores, reasons, strict=True)
    ]


def _grouped(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group


def _score_group(detector: Detector, audio: list[Audio]) -> list[tuple[float, str]]:
    """Score a batch; where the detector refuses it, one by one, so that one recording costs only itself."""
    try:
        scores = np.asarray(detector.score(audio))
    except DataError as error:
        if len(audio) == 1:
            return [(np.nan, str(error))]
        return [answer for one in audio for answer in _score_group(detector, [one])]
    if scores.shape != (len(audio),):
        raise PluginError(
            f"{detector.card.name} answered {len(audio)} recordings with shape {scores.shape}; it must be ({len(audio)},)"
        )
    return [(float(score), "" if np.isfinite(score) else f"the detector answered {score}") for score in scores]


def _row(
    trial_id: str, scores: Sequence[float], ends_s: Sequence[float], measured: Measured | None, plan: Plan, reason: str = ""
) -> tuple[Any, ...]:
    values: NDArray[np.float32] = np.asarray(scores, dtype=np.float32)
    quantities = measured if measured is not None else [None] * len(_MEASURED)
    if reason:
        return (trial_id, None, reason, None, None, *quantities)
    if plan.condition.windows is None:
        return (trial_id, float(values[0]), OK, None, None, *quantities)
    pooled = pool_scores(values, plan.condition.windows.pool)
    return (trial_id, float(pooled), OK, values.tolist(), list(ends_s), *quantities)


def _write_part(rows: pl.DataFrame, folder: Path) -> Path:
    path = folder / f"part-{uuid.uuid4().hex}.parquet"
    write_table(rows, path)
    return path


def _gather(folder: Path, parts: Sequence[Path]) -> None:
    """Make one part of many, so that neither files nor the memory to read them grow with the corpus."""
    _write_part(pl.concat([pl.read_parquet(part) for part in parts], rechunk=True), folder)
    for part in parts:
        part.unlink()


def _finished(folder: Path) -> pl.DataFrame:
    files = [file for file in [folder / "scores.parquet", *sorted(folder.glob("part-*.parquet"))] if file.exists()]
    if not files:
        return pl.DataFrame(schema=_SCHEMA)
    rows = pl.concat([pl.read_parquet(file).select(*_SCHEMA) for file in files])
    ok_first = rows.with_columns((pl.col("status") != OK).alias("_failed")).sort("_failed", maintain_order=True)
    return ok_first.unique("trial_id", keep="first", maintain_order=True).drop("_failed")


def _compact(folder: Path, trials: Trials) -> None:
    parts = list(folder.glob("part-*.parquet"))
    rows = trials.frame.drop("path").join(_finished(folder), on="trial_id", how="left", maintain_order="left")
    first = ["trial_id", "score", "status"]
    write_table(rows.select(*first, pl.exclude(first)), folder / "scores.parquet")
    for part in parts:
        part.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write into an error that says what to do, and leave nothing half-written."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunFolderError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}. "
            "What was finished is kept: make room or choose another --out, then run the same command again."
        ) from error


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a Parquet or CSV table beside its place and move it in, so that it is whole or absent."""

    def write(file: Path) -> None:
        if path.suffix == ".csv":
            table.write_csv(file)
        else:
            table.write_parquet(file)

    _write_beside(path, write)


def write_text(text: str, path: Path) -> None:
    """Write a text beside its place and move it in."""
    _write_beside(path, lambda file: file.write_text(text, encoding="utf-8"))


def _write_beside(path: Path, write: Callable[[Path], object]) -> None:
    beside = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
