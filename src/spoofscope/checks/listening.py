"""Hear recordings under the usual readings of a detector: each recording is read once, and only what is answered is kept.

Conventions
-----------
A reading is one way to hand a recording to a detector: window, padding, pre-emphasis, normalisation, level. An output is one way
to take a score from the logits that it answers: a column, a difference, a sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import BASELINE_WINDOW_S, SAMPLE_RATE, Audio, Padding, read_audio, standardised
from spoofscope.cards import Card
from spoofscope.detectors import Detector
from spoofscope.errors import DataError, PluginError, SpoofscopeError

Scores = NDArray[np.float32]
Logits = NDArray[np.float32]
Ask = Callable[[Sequence[Audio]], NDArray[np.float32]]

WINDOWS_S = (BASELINE_WINDOW_S, 64_000 / SAMPLE_RATE)
PADDINGS: tuple[Padding, ...] = ("zero", "repeat")
PRE_EMPHASIS = 0.97
MAX_DURATION_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to hand a recording to a detector.

    Parameters
    ----------
    name : str
        What it is called in tables.
    changes : str
        What is done to the recording.
    hear : callable
        `(audio, card) -> audio`: what the detector is given of the whole recording.
    """

    name: str
    changes: str
    hear: Callable[[Audio, Card], Audio]


class Output(NamedTuple):
    """One score of logits: a column, or its difference from another; `sign` is -1 where the door negates it."""

    column: int
    sign: int = 1
    minus: int | None = None

    def take(self, logits: Logits) -> Scores:
        """Return the score of each row of (n, classes) logits."""
        column = logits[:, self.column]
        return np.float32(self.sign) * (column if self.minus is None else column - logits[:, self.minus])


def pre_emphasised(audio: Audio) -> Audio:
    """Return `y[0] = x[0]`, `y[n] = x[n] - 0.97 x[n - 1]`."""
    return np.concatenate([audio[:1], audio[1:] - np.float32(PRE_EMPHASIS) * audio[:-1]])


def peak_normalised(audio: Audio) -> Audio:
    """Return `x / max |x|`; digital silence as it is."""
    peak = np.abs(audio).max()
    return audio / peak if peak > 0 else audio


def int16_scaled(audio: Audio) -> Audio:
    """Return the samples as the whole numbers of a 16-bit file: `32768 x`."""
    return audio * np.float32(32_768)


_WHOLE: tuple[tuple[str, str, Callable[[Audio], Audio]], ...] = (
    (f"pre-emphasis {PRE_EMPHASIS}", "y[n] = x[n] - 0.97 x[n - 1] over the whole recording, before it is cut", pre_emphasised),
    ("zero mean, unit variance", "of the whole recording, before it is cut", standardised),
    ("peak 1", "the whole recording divided by its peak", peak_normalised),
    ("int16 scale", "samples times 32,768", int16_scaled),
)


def declared_reading(card: Card) -> Reading:
    """Return the reading that `card` declares."""
    filled = "shorter ones as they are" if card.padding == "none" else f"shorter ones with {card.padding} padding"
    window = "the whole recording" if card.window_s is None else f"first {_samples(card.window_s, card)}, {filled}"
    return Reading(name="as declared", changes=window, hear=_fitted)


def other_readings(card: Card) -> list[Reading]:
    """List the usual readings of a recording that may differ from what `card` declares."""
    readings = []
    if card.window_s is not None:
        readings += [
            Reading(
                name=f"{padding} padding",
                changes=f"where a recording is shorter than {_samples(card.window_s, card)}",
                hear=partial(_fitted, padding=padding),
            )
            for padding in PADDINGS
            if padding != card.padding
        ]
        readings.append(Reading(name="whole recording", changes="neither cut nor filled", hear=lambda audio, card: audio))
    for window_s in WINDOWS_S:
        window = _samples(window_s, card)
        if card.window_s is None or window != _samples(card.window_s, card):
            changes = "a detector that fits what it is given to its own window does so again"
            readings.append(Reading(name=f"first {window}", changes=changes, hear=partial(_fitted, window_s=window_s)))
    return [*readings, *(Reading(name=name, changes=text, hear=partial(_made, make)) for name, text, make in _WHOLE)]


def outputs(classes: int, declared: Output) -> dict[str, Callable[[Logits], Scores]]:
    """Name the usual scores of (n, classes) logits: each column, and for two classes the difference and the log-softmax.

    They take the class and the sign that the declared score takes: what only turns a score round is a matter of polarity.
    """
    minus = "-" if declared.sign < 0 else ""
    named: dict[str, Callable[[Logits], Scores]] = {
        f"{minus}logit {column}": Output(column, declared.sign).take for column in range(classes)
    }
    if classes == 2:
        own, other = declared.column, 1 - declared.column
        difference = f"logit {own} - logit {other}"
        named[f"-({difference})" if minus else difference] = Output(own, declared.sign, other).take
        named[f"{minus}log-softmax of class {own}"] = partial(_log_softmax, declared)
    return named


def _fitted(audio: Audio, card: Card, **changes: Any) -> Audio:
    return replace(card, **changes).fit(audio)


def _made(make: Callable[[Audio], Audio], audio: Audio, card: Card) -> Audio:
    return card.fit(make(audio))


def _samples(seconds: float, card: Card) -> str:
    return f"{round(seconds * card.sample_rate):,} samples"


def _log_softmax(declared: Output, logits: Logits) -> Scores:
    """In float32, as networks compute it: scores that saturate there tie."""
    below = logits - logits.max(axis=1, keepdims=True)
    score = below[:, declared.column] - np.log(np.exp(below).sum(axis=1))
    return np.asarray(np.float32(declared.sign) * score, dtype=np.float32)


class Listener:
    """Hears batches of recordings under every reading.

    Parameters
    ----------
    detector : Detector
        One that hears; its card says how it is read.
    trials : int
        How many trials there are.

    Attributes
    ----------
    declared : Reading
        What the card says.
    readings : list of Reading
        The others.
    scores : dict of str to (trials,) float32 array
        By the name of a reading; `nan` where there is none.
    logits : dict of int to (classes,) float32 array
        Of the declared reading, by the place of a trial; empty for a detector without.
    reasons : dict of int to str
        Why a trial has no declared score, by its place.
    refused : dict of str to str
        Why the detector does not take what a reading gives it.
    lost : dict of str to str
        Why a trial that has a declared score has none under a reading: the first reason.
    """

    def __init__(self, detector: Detector, trials: int) -> None:
        self.detector = detector
        self.declared, self.readings = declared_reading(detector.card), other_readings(detector.card)
        self.scores = {reading.name: np.full(trials, np.nan, np.float32) for reading in (self.declared, *self.readings)}
        self.logits: dict[int, Logits] = {}
        self.reasons: dict[int, str] = {}
        self.refused: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        self._output: Output | None = None

    def hear(self, recordings: Mapping[int, Path]) -> None:
        """Read recordings, by the places of their trials, and ask for their scores under every reading."""
        card = self.detector.card
        whole, given, heard = {}, {}, {}
        for place, path in recordings.items():
            try:
                whole[place] = read_audio(path, sample_rate=card.sample_rate, max_duration_s=MAX_DURATION_S)
                given[place] = self.declared.hear(whole[place], card)
            except DataError as error:
                self.reasons[place] = str(error)
        for place, answer, reason in _asked(self._ask_declared, given, forgiven=DataError):
            if reason:
                self.reasons[place] = reason
                continue
            heard[place] = given[place]
            self.scores[self.declared.name][place] = answer[0]
            if len(answer) > 1 and np.isfinite(answer).all():
                self.logits[place] = answer[1:]
        for reading in self.readings:
            if reading.name not in self.refused:
                self._hear_as(reading, whole, heard)

    @property
    def declared_output(self) -> Output:
        """Which output the declared score is; where that is not known, the last class, turned as the declared score is."""
        classes = len(next(iter(self.logits.values())))
        return self._output or Output(classes - 1, -1 if getattr(self.detector, "flipped", False) else 1)

    def _hear_as(self, reading: Reading, whole: Mapping[int, Audio], heard: Mapping[int, Audio]) -> None:
        """Ask again only where the reading changes what the detector is given; elsewhere the declared score stands."""
        scores, places = self.scores[reading.name], list(heard)
        scores[places] = self.scores[self.declared.name][places]
        given = {place: reading.hear(whole[place], self.detector.card) for place in places}
        changed = {place: audio for place, audio in given.items() if not np.array_equal(audio, heard[place])}
        try:
            for place, answer, reason in _asked(self._ask, changed, forgiven=Exception):
                scores[place] = np.nan if reason else answer[0]
                if reason:
                    self.lost.setdefault(reading.name, reason)
        except Exception as error:  # a plug-in's edge: no card promises that it takes other input than declared
            scores[:] = np.nan
            expected = isinstance(error, SpoofscopeError)
            self.refused[reading.name] = str(error) if expected else f"{type(error).__name__}: {error}"

    def _ask(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Answer (n, 1)."""
        scores = np.asarray(self.detector.score(batch), dtype=np.float32)
        if scores.shape != (len(batch),):
            raise self._shaped(batch, f"shape {scores.shape}; it must be ({len(batch)},)")
        return scores[:, None]

    def _ask_declared(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Answer (n, 1 + classes), score and logits: by one forward pass, once it is known which output the score is."""
        logits_of = getattr(self.detector, "logits", None)
        if not callable(logits_of):
            return self._ask(batch)
        logits = np.asarray(logits_of(batch), dtype=np.float32)
        if logits.ndim != 2 or len(logits) != len(batch):
            raise self._shaped(batch, f"logits of shape {logits.shape}; they must be ({len(batch)}, classes)")
        if self._output is not None:
            return np.column_stack([self._output.take(logits), logits])
        scores = self._ask(batch)
        self._output = _recognised(logits, scores[:, 0])
        return np.column_stack([scores, logits])

    def _shaped(self, batch: Sequence[Audio], what: str) -> PluginError:
        return PluginError(f"{self.detector.card.name} answered {len(batch)} recordings with {what}")


def _asked(
    ask: Ask, batch: Mapping[int, Audio], *, forgiven: type[Exception]
) -> Iterator[tuple[int, NDArray[np.float32], str]]:
    """Ask for a batch; where the detector refuses it, one by one, so that one recording costs only itself."""
    if not batch:
        return
    try:
        answers = ask(list(batch.values()))
    except forgiven as error:
        if len(batch) > 1:
            for place, audio in batch.items():
                yield from _asked(ask, {place: audio}, forgiven=forgiven)
            return
        if not isinstance(error, DataError):
            raise
        yield next(iter(batch)), np.empty(0, np.float32), str(error)
        return
    for place, answer in zip(batch, answers, strict=True):
        yield place, answer, "" if np.isfinite(answer[0]) else f"the detector answered {answer[0]}"


def _recognised(logits: Logits, scores: Scores) -> Output | None:
    """Find the one output that the scores are, to the last bit; None if there is none, or more than one."""
    classes = range(logits.shape[1])
    candidates = [Output(column, sign) for column in classes for sign in (1, -1)]
    if len(classes) == 2:
        candidates += [Output(0, 1, 1), Output(1, 1, 0)]
    found = [output for output in candidates if np.array_equal(output.take(logits), scores)]
    return found[0] if len(found) == 1 else None
