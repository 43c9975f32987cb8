"""Check a corpus against its card and against its own files, and say what a detector could learn from it by accident."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from spoofscope.audio import Audio, probe_audio, read_audio
from spoofscope.checks import Finding
from spoofscope.corpora import Card, Counts
from spoofscope.errors import AudioError
from spoofscope.metrics.rates import eer
from spoofscope.trials import BONAFIDE, SPOOF, Trials

FRAME_S = 0.02
SILENT_DBFS = -60.0
SILENT_SHARE = 0.95
FULL_SCALE = 0.999
CLIPPED_SHARE = 0.001
SHORT_S = 0.3
CONFOUND_EER = 0.35
MISSING = "no such file"

MEASURED = {
    "sample_rate": pl.Int64,
    "channels": pl.Int64,
    "duration_s": pl.Float64,
    "level_dbfs": pl.Float64,
    "peak": pl.Float64,
    "clipped_share": pl.Float64,
    "silent_share": pl.Float64,
    "leading_silence_s": pl.Float64,
    "bandwidth_hz": pl.Float64,
}
CONFOUNDS = ("sample_rate", "duration_s", "level_dbfs", "silent_share", "leading_silence_s", "bandwidth_hz")

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class CorpusCheck:
    """What a check of a corpus found.

    Parameters
    ----------
    findings : tuple of Finding
        One per thing that was checked; `ok` is False where something should be mended or borne in mind.
    files : polars.DataFrame
        One row per trial examined: `trial_id, path, label, attack, status` and what was measured (null where unreadable).
    confounds : polars.DataFrame
        One row per quantity: its median in each class, and the EER of a detector that knows nothing else.
    """

    findings: tuple[Finding, ...]
    files: pl.DataFrame
    confounds: pl.DataFrame

    @property
    def is_clean(self) -> bool:
        """Whether every finding is good."""
        return all(finding.ok for finding in self.findings)


def check_corpus(
    trials: Trials,
    card: Card,
    protocol: str,
    *,
    workers: int | None = None,
    limit: int | None = None,
    max_duration_s: float = 600.0,
    train: Trials | None = None,
) -> CorpusCheck:
    """Check counts, files, duplicates, formats, durations, silence and clipping, and look for confounds.

    Parameters
    ----------
    trials : Trials
        What the corpus answered for `protocol`.
    card : Card
        Its card, with the published counts.
    protocol : str
        The list that was asked for.
    workers : int, optional
        Threads that read files; one per core unless given.
    limit : int, optional
        Examine the files of a stratified draw of this many trials; counts are checked on all of them always.
    max_duration_s : float
        A longer recording is reported as unreadable, so that memory stays bounded.
    train : Trials, optional
        Another list of the same corpus: a classifier trained there on level, duration, silence, background and bandwidth alone
        is tried on the readable trials of this one.
    """
    workers = workers or os.cpu_count() or 1
    drawn = trials if limit is None else trials.subset(limit, by=("attack", "speaker"))
    examined = _in_threads(lambda path: _examine(path, max_duration_s), drawn.paths, workers)
    columns = {"status": pl.String, **MEASURED}
    measured = pl.DataFrame([dict(zip(columns, row, strict=True)) for row in examined], schema=columns)
    about = drawn.frame.select("trial_id", "path", "label", "attack")
    files = pl.concat([about, measured], how="horizontal")
    readable = files.filter(pl.col("status") == "ok")
    confounds = _confounds(readable)
    findings = [
        _counts(trials, card, protocol),
        _present(files),
        _readable(files),
        *_duplicates(drawn, workers),
        *_formats(readable),
        _share(
            readable, "silence", "silent_share", SILENT_SHARE, f"below {SILENT_DBFS:g} dBFS in over {SILENT_SHARE:.0%} of it"
        ),
        _share(
            readable, "clipping", "clipped_share", CLIPPED_SHARE, f"at full scale in over {CLIPPED_SHARE:.1%} of its samples"
        ),
        _confounded(confounds),
    ]
    if train is not None:
        readable_trials = drawn.where((files["status"] == "ok").to_numpy(), name=drawn.name)
        findings.append(_shortcut(train if limit is None else train.subset(limit), readable_trials))
    return CorpusCheck(findings=tuple(findings), files=files, confounds=confounds)


def _examine(path: Path, max_duration_s: float) -> tuple[str | float | None, ...]:
    nothing = (None,) * len(MEASURED)
    if not path.is_file():
        return (MISSING, *nothing)
    try:
        info = probe_audio(path)
        audio = read_audio(path, sample_rate=info.sample_rate, max_duration_s=max_duration_s)
    except AudioError as error:
        return (str(error), *nothing)
    return ("ok", info.sample_rate, info.channels, len(audio) / info.sample_rate, *_measure(audio, info.sample_rate))


def _measure(audio: Audio, sample_rate: int) -> tuple[float, ...]:
    """Level, peak, clipped share, silent share, leading silence and bandwidth, in the order of `MEASURED`."""
    size = max(1, round(FRAME_S * sample_rate))
    padded = np.pad(audio, (0, -len(audio) % size)).reshape(-1, size)
    silent = np.mean(padded.astype(np.float64) ** 2, axis=1) < 10 ** (SILENT_DBFS / 10)
    leading = len(silent) if silent.all() else int(np.argmin(silent))
    power = float(np.mean(audio.astype(np.float64) ** 2))
    spectrum = np.cumsum(np.abs(np.fft.rfft(audio)) ** 2)
    bandwidth = np.searchsorted(spectrum, 0.99 * spectrum[-1]) / len(audio) * sample_rate if spectrum[-1] > 0 else 0.0
    magnitude = np.abs(audio)
    return (
        10 * np.log10(power) if power > 0 else -np.inf,
        float(magnitude.max()),
        float(np.mean(magnitude >= FULL_SCALE)),
        float(np.mean(silent)),
        min(leading * FRAME_S, len(audio) / sample_rate),
        float(bandwidth),
    )


def _counts(trials: Trials, card: Card, protocol: str) -> Finding:
    found, expected = Counts(*trials.counts), card.protocols.get(protocol)
    if expected is None:
        return Finding("counts", found.bonafide > 0 and found.spoof > 0, f"{found}; the card publishes none")
    return Finding("counts", found == expected, f"expected {expected}, found {found}")


def _present(files: pl.DataFrame) -> Finding:
    missing = files.filter(pl.col("status") == MISSING)
    return _listed("files", missing["path"].to_list(), files.height, "missing", "all are there")


def _readable(files: pl.DataFrame) -> Finding:
    bad = files.filter(~pl.col("status").is_in(["ok", MISSING]))
    return _listed("reading", bad["status"].to_list(), files.height, "unreadable", "every file that is there can be read")


def _listed(name: str, found: Sequence[str], total: int, what: str, otherwise: str) -> Finding:
    if not found:
        return Finding(name, True, otherwise)
    return Finding(name, False, f"{len(found)} of {total} {what} (first: {found[0]})")


def _duplicates(trials: Trials, workers: int) -> list[Finding]:
    groups = _same_bytes(trials.paths, workers)
    labels = trials.frame["label"].to_list()
    ids = trials.ids
    shown = [" = ".join(ids[at] for at in group) for group in groups]
    torn = [text for text, group in zip(shown, groups, strict=True) if len({labels[at] for at in group}) > 1]
    return [
        _listed("duplicates", shown, len(trials), "groups of trials hold the same bytes", "no two files hold the same bytes"),
        _listed("labels", torn, len(groups), "of these groups are both bona fide and spoof", "no recording has two labels"),
    ]


def _same_bytes(paths: Sequence[Path], workers: int) -> list[list[int]]:
    """Positions of the files that are byte for byte the same; only files of one size are read."""
    sized = _grouped((path.stat().st_size if path.is_file() else None) for path in paths)
    suspects = [at for group in sized for at in group]
    digests = _in_threads(_sha256, [paths[at] for at in suspects], workers)
    return [[suspects[at] for at in group] for group in _grouped(digests)]


def _grouped(keys: Iterable[object]) -> list[list[int]]:
    groups: dict[object, list[int]] = {}
    for at, key in enumerate(keys):
        if key is not None:
            groups.setdefault(key, []).append(at)
    return [group for group in groups.values() if len(group) > 1]


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # reported as unreadable already
        return None


def _formats(readable: pl.DataFrame) -> list[Finding]:
    if readable.height == 0:
        return [Finding("formats", False, "no file could be read")]
    findings = []
    for name, column, unit in (("sample rates", "sample_rate", "Hz"), ("channels", "channels", "channel(s)")):
        counted = readable[column].value_counts(sort=True)
        text = ", ".join(f"{value} {unit} x {count}" for value, count in counted.iter_rows())
        findings.append(Finding(name, counted.height == 1 and (column != "channels" or counted[column][0] == 1), text))
    durations = readable["duration_s"].to_numpy()
    short = int(np.count_nonzero(durations < SHORT_S))
    text = f"{durations.min():.2f} s to {durations.max():.2f} s, median {np.median(durations):.2f} s"
    return [*findings, Finding("durations", short == 0, text + (f"; {short} shorter than {SHORT_S:g} s" if short else ""))]


def _share(readable: pl.DataFrame, name: str, column: str, limit: float, what: str) -> Finding:
    bad = readable.filter(pl.col(column) > limit)
    return _listed(name, bad["trial_id"].to_list(), readable.height, what, f"no recording is {what}")


def _confounds(readable: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for quantity in CONFOUNDS:
        bonafide, spoof = (
            readable.filter(pl.col("label") == label)[quantity].to_numpy().astype(np.float64) for label in (BONAFIDE, SPOOF)
        )
        if len(bonafide) and len(spoof):
            # A silent file has a level of -inf dB: any finite floor keeps the order, which is all that an EER depends on.
            rate = eer(np.maximum(bonafide, -1e6), np.maximum(spoof, -1e6))
            rows.append((quantity, float(np.median(bonafide)), float(np.median(spoof)), min(rate, 1 - rate)))
    schema = {"quantity": pl.String, "bonafide_median": pl.Float64, "spoof_median": pl.Float64, "eer_alone": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _confounded(confounds: pl.DataFrame) -> Finding:
    if confounds.height == 0:
        return Finding("confounds", False, "a class has no readable recording to compare")
    worst = confounds.sort("eer_alone")
    text = ", ".join(f"{row['quantity']} {row['eer_alone']:.1%}" for row in worst.iter_rows(named=True))
    return Finding("confounds", worst["eer_alone"][0] > CONFOUND_EER, f"EER of a detector that hears nothing else: {text}")


def _shortcut(train: Trials, test: Trials) -> Finding:
    from spoofscope.corpora.builtin.shortcut import shortcut_scores

    name = "shortcuts"
    try:
        scores, is_bonafide = shortcut_scores(train, test)
    except AudioError as error:
        return Finding(name, False, f"the training list cannot be read: {error}")
    rates = {feature: eer(values[is_bonafide], values[~is_bonafide]) for feature, values in scores.items()}
    text = ", ".join(f"{feature} {rate:.1%}" for feature, rate in sorted(rates.items(), key=lambda item: item[1]))
    return Finding(name, min(rates.values()) > CONFOUND_EER, f"EER of a classifier trained on {train.name}: {text}")


def _in_threads(function: Callable[[Item], Answer], items: Sequence[Item], workers: int) -> list[Answer]:
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(function, items))
