"""Check how a detector is read: its usual readings on a labelled corpus, each against the one that its card declares.

Conventions
-----------
A difference is the EER of a reading minus the EER of the declared one, over the same recordings, from a paired bootstrap of whole
speakers and attacks. Its interval is Bonferroni-adjusted: all of them together have the level that was asked for. A reading
that changes no score, or leaves them in their order, is no test and is given no EER.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from spoofscope.analysis.cells import Resampling, cluster_rows, pair_of
from spoofscope.checks import Finding
from spoofscope.checks.listening import Listener, Scores, outputs
from spoofscope.detectors import Detector
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics import Estimate
from spoofscope.metrics.intervals import bootstrap, bootstrap_difference
from spoofscope.trials import BONAFIDE, Trials

Kind = Literal["input", "score", "polarity"]

DECLARED = "as declared"
NEGATED = "negated"
CLUSTERS = ("speaker", "attack")
TUNING = (
    "To choose the best of several readings on a corpus is to tune on it: its EER here is no result. "
    "Let the code that the detector was trained with decide, and measure on other trials."
)


class ReadingRow(NamedTuple):
    """One reading: its EER, its paired difference from the declared EER, and what both rest on.

    `n_changed` counts the trials whose score is not the declared one to the last bit. `eer` and `difference` are None where
    there is nothing to compare; `note` then says why.
    """

    reading: str
    kind: Kind
    changes: str
    n_bonafide: int
    n_spoof: int
    n_changed: int
    eer: Estimate | None = None
    difference: Estimate | None = None
    note: str = ""

    @property
    def within_noise(self) -> bool | None:
        """Whether the difference may be none at all; None where there is no difference to speak of."""
        return None if self.difference is None else not (self.difference.high < 0 or self.difference.low > 0)

    @property
    def is_better(self) -> bool:
        """Whether the EER is shown to be lower than the declared one."""
        return self.difference is not None and self.difference.high < 0


@dataclass(frozen=True, kw_only=True)
class ReadingsCheck:
    """What a check of readings found.

    Parameters
    ----------
    trials, clusters : str
        Which trials were read, and what of them is resampled as a whole.
    rows : tuple of ReadingRow
        The declared reading first.
    findings : tuple of Finding
        Whether every recording was heard, on which side of one half the declared EER lies, and whether another reading is
        shown to be better.
    level, paired_level : float
        Coverage of the interval of each EER, and of each difference after the adjustment.
    """

    trials: str
    clusters: str
    rows: tuple[ReadingRow, ...]
    findings: tuple[Finding, ...]
    level: float
    paired_level: float


class _Candidate(NamedTuple):
    """A reading with its scores, one per trial, `nan` where there is none; `lost` is the first reason for that."""

    reading: str
    kind: Kind
    changes: str
    scores: Scores
    refused: str = ""
    lost: str = ""


def check_readings(
    detector: Detector,
    trials: Trials,
    *,
    limit: int | None = None,
    seed: int = 0,
    replicates: int = 1000,
    level: float = 0.95,
    batch_size: int = 16,
    on_progress: Callable[[int], None] = lambda done: None,
) -> ReadingsCheck:
    """Score labelled trials under the usual readings of a detector, and compare each with the declared one.

    A score file, which hears nothing, is tried as it is and negated.

    Parameters
    ----------
    limit : int, optional
        Read a stratified draw of this many trials; all of them unless given, or where 0.
    seed : int
        Of the draw and of the resampling.
    replicates : int
        Resamples behind the interval of an EER; a difference has as many for each reading that is compared, so that the
        tails which the adjustment leaves hold as many.
    level : float
        Coverage of the interval of an EER, and of all differences together.
    batch_size : int
        Recordings held at a time; changes no result.
    on_progress : callable
        Called with the number of trials finished since the last call.

    Raises
    ------
    NotEnoughTrials
        If the trials, or those of them that have a score, lack a class.
    PluginError
        If the detector does not answer as its contract says when it is read as declared.
    """
    drawn = trials.subset(limit, by=("attack", "speaker"), seed=seed) if limit and limit < len(trials) else trials
    _refuse_one_class(drawn.frame, drawn.name)
    ids = drawn.ids
    if hasattr(detector, "lookup"):
        scores = np.asarray(detector.lookup(ids), dtype=np.float32)
        candidates = [_Candidate(DECLARED, "score", "as the file gives it", scores)]
        failures = [f"{ids[place]}: its score is {scores[place]}" for place in np.flatnonzero(~np.isfinite(scores))]
        on_progress(len(drawn))
    else:
        listener = _listen(detector, drawn, batch_size, on_progress)
        candidates = list(_candidates(listener))
        failures = [f"{ids[place]}: {listener.reasons[place]}" for place in sorted(listener.reasons)]
    declared = candidates[0].scores
    _refuse_one_class(drawn.frame.filter(np.isfinite(declared)), drawn.name, failures)
    candidates.append(_Candidate(NEGATED, "polarity", "the declared score, its sign turned", -declared))
    single = Resampling(replicates=replicates, level=level)
    return _Comparison(drawn, declared, candidates, seed, single).check(failures)


def _refuse_one_class(frame: pl.DataFrame, name: str, failures: Sequence[str] = ()) -> None:
    bonafide = int((frame["label"] == BONAFIDE).sum())
    if 0 < bonafide < frame.height:
        return
    found = f"{bonafide} bona fide and {frame.height - bonafide} spoof trials"
    step = (
        f"{len(failures)} have no score (first: {failures[0]})" if failures else "Name a protocol with both, or raise --limit"
    )
    raise NotEnoughTrials(f"{name}: readings are compared by their EER, which needs both classes; found {found}. {step}.")


def _listen(detector: Detector, trials: Trials, batch_size: int, on_progress: Callable[[int], None]) -> Listener:
    listener = Listener(detector, len(trials))
    paths = list(enumerate(trials.paths))
    for start in range(0, len(paths), batch_size):
        batch = dict(paths[start : start + batch_size])
        listener.hear(batch)
        on_progress(len(batch))
    return listener


def _candidates(listener: Listener) -> Iterator[_Candidate]:
    """Give every reading that was heard, the declared one first, then every score of its logits."""
    for reading in (listener.declared, *listener.readings):
        refused, lost = listener.refused.get(reading.name, ""), listener.lost.get(reading.name, "")
        yield _Candidate(reading.name, "input", reading.changes, listener.scores[reading.name], refused, lost)
    if listener.logits:
        places = sorted(listener.logits)
        logits = np.stack([listener.logits[place] for place in places])
        for name, take in outputs(logits.shape[1], listener.declared_output).items():
            scores = np.full_like(listener.scores[DECLARED], np.nan)
            scores[places] = take(logits)
            yield _Candidate(name, "score", "another score of the same outputs", scores)


@dataclass(frozen=True)
class _Comparison:
    """Readings of the same trials, the declared one first, and how their intervals are made."""

    trials: Trials
    declared: Scores
    readings: Sequence[_Candidate]
    seed: int
    single: Resampling

    def check(self, failures: Sequence[str]) -> ReadingsCheck:
        """Compare every reading, and say what follows."""
        rows = [self._row(reading) for reading in self.readings]
        level, paired_level = self.single["level"], self.paired["level"]
        clusters = cluster_rows(self.trials.frame.filter(np.isfinite(self.declared)), CLUSTERS)
        return ReadingsCheck(
            trials=self.trials.describe(),
            clusters="trials" if clusters is None else clusters.describe(),
            rows=tuple(rows),
            findings=(_heard(failures, len(self.trials)), _below_one_half(rows), _none_better(rows, level, paired_level)),
            level=level,
            paired_level=paired_level,
        )

    @cached_property
    def paired(self) -> Resampling:
        """Share what an interval may miss among all readings that are compared."""
        share = max(1, [self._nothing_to_compare(reading) for reading in self.readings[1:]].count(""))
        return Resampling(replicates=self.single["replicates"] * share, level=1 - (1 - self.single["level"]) / share)

    def _row(self, reading: _Candidate) -> ReadingRow:
        """Estimate one reading over the trials that have a score both under it and as declared."""
        both = np.isfinite(self.declared) & np.isfinite(reading.scores)
        frame = self.trials.frame.filter(both)
        before, after = (pair_of(frame.with_columns(score=scores[both])) for scores in (self.declared, reading.scores))
        changed = np.count_nonzero(self.declared[both] != reading.scores[both])
        lost = np.count_nonzero(np.isfinite(self.declared) & ~both)
        note = f"{lost} trials have no score under it (first: {reading.lost})" if lost else ""
        row = ReadingRow(*reading[:3], len(after.bonafide), len(after.spoof), int(changed), None, None, note)
        is_declared = reading.reading == DECLARED
        if not is_declared and (nothing := self._nothing_to_compare(reading)):
            return row._replace(note=nothing)
        clusters = cluster_rows(frame, CLUSTERS)
        row = row._replace(eer=bootstrap("eer", *after, clusters, rng=self._rng(), **self.single))
        if is_declared:
            return row
        return row._replace(difference=bootstrap_difference("eer", before, after, clusters, rng=self._rng(), **self.paired))

    def _nothing_to_compare(self, reading: _Candidate) -> str:
        """Say why a reading is no test of the declared one; empty if it is one."""
        if reading.refused:
            return f"not accepted: {reading.refused}"
        both = np.isfinite(self.declared) & np.isfinite(reading.scores)
        if not 0 < np.count_nonzero(self.trials.is_bonafide[both]) < np.count_nonzero(both):
            return f"a class has no score left under it: {reading.lost}"
        before, after = self.declared[both], reading.scores[both]
        if np.array_equal(before, after):
            return "no difference: the same scores"
        ranks = [np.unique(scores, return_inverse=True)[1] for scores in (before, after)]
        return "no difference: the scores keep their order" if np.array_equal(ranks[0], ranks[1]) else ""

    def _rng(self) -> np.random.Generator:
        """The same weights for every reading."""
        return np.random.default_rng(self.seed)


def _heard(failures: Sequence[str], total: int) -> Finding:
    name = "every recording was heard"
    if not failures:
        return Finding(name, True, f"{total} of {total}")
    return Finding(name, False, f"{len(failures)} of {total} have no score and are left out (first: {failures[0]})")


def _is_reversed(rows: Sequence[ReadingRow]) -> bool:
    """Whether the declared EER is shown to exceed one half; one that no resample moves has no interval, but the negated has."""
    declared, negated = rows[0].eer, rows[-1]
    assert declared is not None
    return declared.low > 0.5 or (math.isnan(declared.low) and negated.is_better)


def _below_one_half(rows: Sequence[ReadingRow]) -> Finding:
    name = "the declared reading has an EER below one half"
    declared, negated = rows[0].eer, rows[-1].eer
    assert declared is not None
    found = "; ".join(filter(None, (percent(declared), declared.note)))
    if _is_reversed(rows):
        turned = f"negated, it is {percent(negated)}" if negated else "it is the wrong way round"
        step = "Turn the polarity round or take the other class, then check again."
        return Finding(name, False, f"{found}. A higher score stands for spoof on these trials: {turned}. {step}")
    if declared.low <= 0.5 <= declared.high:
        found += ". It cannot be told from chance: these trials say nothing about the polarity."
    return Finding(name, declared.value < 0.5, found)


def _none_better(rows: Sequence[ReadingRow], level: float, paired_level: float) -> Finding:
    compared = [(row, row.difference) for row in rows if row.difference is not None]
    better = sorted((difference.value, f"{row.reading} {points(difference)}") for row, difference in compared if row.is_better)
    said = ["; ".join(text for _, text in better) or f"None of {len(compared)} that change the order of the scores"]
    if better and _is_reversed(rows):
        said.append("Mend the polarity first: against an EER above one half, whatever spoils the detector looks better")
    together = f"so that all {len(compared)} hold together at {100 * level:g} %"
    notes = dict.fromkeys(difference.note for _, difference in compared if difference.note)
    said.append("; ".join((f"Each interval is at {100 * paired_level:.4g} %, {together}", *notes)))
    blind = sum(math.isnan(difference.high) for _, difference in compared)
    if blind:
        said.append(f"{blind} of them have no interval, so nothing is shown of them")
    return Finding("no other reading is shown to be better", not better, ". ".join([*said, TUNING]))


def percent(estimate: Estimate) -> str:
    """Write a rate and its interval in per cent."""
    if math.isnan(estimate.low):
        return f"{100 * estimate.value:.1f} %"
    return f"{100 * estimate.value:.1f} % ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def points(estimate: Estimate) -> str:
    """Write a difference of rates and its interval in percentage points."""
    if math.isnan(estimate.low):
        return f"{100 * estimate.value:+.1f} points"
    return f"{100 * estimate.value:+.1f} points ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"
