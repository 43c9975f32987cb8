"""The augmentation baseline: how much of what a detector loses returns when its training hears noise and codecs too.

The same detector is trained twice, plain and augmented: on clean recordings, and on them and degraded copies of them, for as many
updates, from the same seeds. Two questions are asked of both.

robustness
    Trained on all attacks, tested on all trials through each condition. `loss = plain(condition) - plain(clean)`.
gap
    Trained without a held-out group, tested clean. `loss = plain(held) - plain(seen)`, the gap between the group and the attacks heard.

`difference` is augmented - plain: of the error in a condition, or of the gap. `recovered = -difference / loss` is the share of the
loss that returns: 1 if all of it, negative if augmentation makes it worse; it exists only where the loss itself is above noise.
What augmentation does to clean speech is the difference in the row of clean: the part of a recovery that has nothing to do with the
condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from spoofscope.analysis.cells import blank
from spoofscope.analysis.retraining.paired import Paired, Values, laid_out
from spoofscope.analysis.retraining.parts import Parts
from spoofscope.analysis.retraining.trainings import (
    Group,
    Heard,
    Mask,
    flat,
    groups_of,
    hear,
    listen,
    pools_of,
    require_room,
    shared_groups,
)
from spoofscope.audio import SAMPLE_RATE, Audio
from spoofscope.degradations.conditions import CLEAN, Condition, parse_condition, parse_conditions
from spoofscope.errors import AudioError, RecipeError
from spoofscope.storage import open_keyed
from spoofscope.training.cnn import CHANNELS, CnnTraining, heard
from spoofscope.training.progress import Progress, silent
from spoofscope.training.recordings import Recording
from spoofscope.training.trainables import Score, Trainable, trainable
from spoofscope.trials import Trials

FORMAT = 1
ALL = "all"
VARIANTS = ("plain", "augmented")
CONDITIONS = (
    *(f"noise('white', {snr})" for snr in (20, 10, 0)),
    "noise('pink', 5)",
    *(f"mp3({rate})" for rate in (16, 8)),
    "telephony",
    "resample(6000)",
)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is trained, with which copies, and what it is tested on.

    Parameters
    ----------
    detectors : tuple of str
        `lfcc_gmm`, `lfcc_cnn`, `logmel_cnn`.
    held_by : str
        The column that groups are held out by.
    held : tuple of tuple of str
        The groups; every value that training and test share, one by one, unless given.
    channels : tuple of str
        Conditions that copies pass through, each copy through one that is drawn for it.
    copies : int
        Degraded copies of each training recording, heard as often as the clean one.
    conditions : tuple of str
        What the test passes through, besides clean: some that training heard and some that it did not.
    seeds : tuple of int
        One training each, plain and augmented; at least two, so that chance in training is part of the interval.
    steps : int
        Updates of a network's weights, plain and augmented alike. Too few of them, and copies seem to do harm: they are more to learn.
    seed : int
        Of the copies and of the conditions: each trial has its own stream.
    replicates, level
        Bootstrap replicates, and coverage of the intervals.
    """

    detectors: tuple[str, ...] = ("lfcc_gmm", "lfcc_cnn", "logmel_cnn")
    held_by: str = "family"
    held: tuple[tuple[str, ...], ...] = ()
    channels: tuple[str, ...] = CHANNELS
    copies: int = 2
    conditions: tuple[str, ...] = CONDITIONS
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1200
    seed: int = 0
    replicates: int = 2000
    level: float = 0.95

    def __post_init__(self) -> None:
        for name in self.detectors:
            trainable(name)
        if not self.detectors or len(set(self.seeds)) < 2 or not self.channels or self.copies < 1 or self.steps < 1:
            raise RecipeError("augmentation needs at least one detector, channel, copy and step, and two seeds")
        for text in (*self.channels, *self.conditions):
            if parse_condition(text).windows is not None:
                raise RecipeError(f"'{text}' cuts recordings into windows; augmentation takes degradations only")


def run_augmentation(
    settings: Augmentation, train: Trials, test: Trials, folder: str | Path, *, progress: Progress = silent
) -> pl.DataFrame:
    """Train every detector plain and augmented, and compare them under every condition and on every held-out group.

    Writes the scores of each training as it is finished into `folder`, under `augmentation-` and the digest of the settings and the
    trials: what was stopped goes on from there, and what was finished is only read.

    Parameters
    ----------
    settings : Augmentation
    train, test : Trials
        Both with the column `settings.held_by`; no speaker or source is in both.
    folder : path
        The run folder; it may be new.
    progress : callable, optional
        Called with a phrase and the share of it that is done.

    Returns
    -------
    polars.DataFrame
        One row per detector, question, condition and held-out group; see the head of this module. Intervals are paired and
        resample speakers and seeds.

    Raises
    ------
    TrialsError, LeakError, NotEnoughTrials, UserError, AudioError
        If the trials do not allow it, need too much memory, or a recording cannot be read or degraded.
    """
    held = settings.held or shared_groups(settings.held_by, train, test)
    groups = groups_of(held, settings.held_by, train, test)
    conditions = parse_conditions("", settings.conditions)
    require_room([trainable(name) for name in settings.detectors], (train, 1 + settings.copies), (test, 1))
    folder = open_keyed(Path(folder), "augmentation", _key(settings, train, test, conditions))
    parts = Parts(folder, test, ("detector", "held", "variant", "condition"), settings.seeds)
    _train(settings, train, test, groups, conditions, parts, progress)
    return _table(settings, test, groups, conditions, parts)


def _key(settings: Augmentation, train: Trials, test: Trials, conditions: Sequence[Condition]) -> dict[str, Any]:
    """Give all that decides what a part holds, besides its name, and not what tables alone are made by."""
    chains = {condition.name: condition.settings() for condition in (*map(parse_condition, settings.channels), *conditions)}
    others = ("detectors", "held", "replicates", "level")
    asked = {name: value for name, value in asdict(settings).items() if name not in others}
    return asked | {"format": FORMAT, "chains": chains, "train": train.digest(), "test": test.digest()}


def _train(
    settings: Augmentation,
    train: Trials,
    test: Trials,
    groups: Sequence[Group],
    conditions: Sequence[Condition],
    parts: Parts,
    progress: Progress,
) -> None:
    """Do every training that is not done yet and score what it is asked; what has a group held out is tested clean only."""
    asked = [(group.name, group.train, [CLEAN]) for group in groups] + [
        (ALL, np.ones(len(train), dtype=bool), list(conditions))
    ]
    kinds = [trainable(name) for name in settings.detectors]
    ways = [(kind, variant) for kind in kinds for variant in VARIANTS]
    features: Heard = {}
    tested: tuple[Condition | None, Heard] = None, {}
    for number, (name, rows, through) in enumerate(asked):
        left = [way for way in ways if not all(parts.has(way[0].name, name, way[1], each.name) for each in through)]
        if left and not features:
            features = _copies(settings, train, kinds, progress)
        models: dict[tuple[str, str], list[Score]] = {}
        for kind, variant in left:
            copies = features[kind.name] if variant == "augmented" else [each[:1] for each in features[kind.name]]
            pools = pools_of(copies, train.is_bonafide, rows)
            models[kind.name, variant] = [kind.fit(pools, settings.steps, seed) for seed in settings.seeds]
            progress("training with and without copies", (number + len(models) / len(left)) / len(asked))
        for condition in through if models else []:
            if tested[0] != condition:
                tested = condition, _heard_through(condition, settings.seed, test, kinds, progress)
            for (detector, variant), fits in models.items():
                batch = flat(tested[1][detector])
                parts.write((detector, name, variant, condition.name), np.array([fit(batch) for fit in fits]))


def _copies(settings: Augmentation, train: Trials, kinds: Sequence[Trainable], progress: Progress) -> Heard:
    """Hear training clean and through channels that are drawn."""
    channels = [parse_condition(text) for text in settings.channels]
    copying = CnnTraining(seed=settings.seed, copies=settings.copies)
    recordings = listen(train, phase=f"degrading {train.name}", progress=progress)
    return hear(recordings, kinds, lambda recording: heard(recording, channels, copying))


def _heard_through(condition: Condition, seed: int, test: Trials, kinds: Sequence[Trainable], progress: Progress) -> Heard:
    def through(recording: Recording) -> list[Audio]:
        try:
            return [condition.degrade(recording.audio, SAMPLE_RATE, condition.rng(seed, recording.trial_id))]
        except AudioError as error:
            raise AudioError(
                f"{test.name}: trial '{recording.trial_id}' through {condition.name}: {error}. Take the trial out of the list."
            ) from error

    return hear(listen(test, phase=f"hearing {test.name} through {condition.name}", progress=progress), kinds, through)


def _table(
    settings: Augmentation, test: Trials, groups: Sequence[Group], conditions: Sequence[Condition], parts: Parts
) -> pl.DataFrame:
    paired = Paired(test.frame, seeds=len(settings.seeds), replicates=settings.replicates, level=settings.level)
    channels = [parse_condition(text) for text in settings.channels]
    n_bonafide, n_spoof = test.counts
    rows: list[dict[str, Any]] = []
    for detector in settings.detectors:
        for row in _robustness(paired, detector, conditions, parts, ~test.is_bonafide):
            condition = row.pop("condition")
            shared = {"detector": detector, "question": "robustness", "condition": condition.name, "n_spoof": n_spoof}
            rows.append(row | shared | {"held": "", "note": _joined(_whether_heard(condition, channels), row["note"])})
        for row in _gaps(paired, detector, groups, parts):
            rows.append(row | {"detector": detector, "question": "gap", "condition": CLEAN.name})
    caveat = paired.clusters.caveat()
    for row in rows:
        row |= {"n_bonafide": n_bonafide, "note": _joined(row["note"], caveat)}
    return pl.DataFrame([{name: blank(value) for name, value in row.items()} for row in rows], schema=SCHEMA)


def _whether_heard(condition: Condition, channels: Sequence[Condition]) -> str:
    if condition == CLEAN:
        return ""
    if any(condition.settings() == channel.settings() for channel in channels):
        return "heard in training"
    known = condition.family and condition.family in {channel.family for channel in channels}
    return "heard in training at other levels" if known else "not heard in training"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _robustness(
    paired: Paired, detector: str, conditions: Sequence[Condition], parts: Parts, spoof: Mask
) -> Iterator[dict[str, Any]]:
    clean, alone = None, paired.alone(spoof)
    for condition in conditions:
        plain, augmented = (
            paired.errors("eer", parts.read(detector, ALL, variant, condition.name), spoof) for variant in VARIANTS
        )
        loss = None if clean is None else plain - clean
        clean = plain if clean is None else clean
        yield {"condition": condition} | _row(paired, plain, augmented, augmented - plain, loss, alone)


def _gaps(paired: Paired, detector: str, groups: Sequence[Group], parts: Parts) -> Iterator[dict[str, Any]]:
    """Give the row of each held-out group, then of their mean."""
    found: list[Mapping[str, Values]] = []
    alone = ""
    for group in groups:
        errors = {
            f"{variant} {part}": paired.errors("eer", parts.read(detector, group.name, variant, CLEAN.name), rows)
            for variant in VARIANTS
            for part, rows in (("held", group.held), ("seen", group.seen))
        }
        found.append(errors)
        own = paired.alone(group.held) or paired.alone(group.seen)
        alone = alone or (own and f"{own} ('{group.name}')")
        yield {"held": group.name, "n_spoof": int(group.held.sum())} | _gap_row(paired, errors, own)
    mean = {name: np.mean([errors[name] for errors in found], axis=0) for name in found[0]}
    yield {"held": ALL, "n_spoof": sum(int(group.held.sum()) for group in groups)} | _gap_row(paired, mean, alone)


def _gap_row(paired: Paired, errors: Mapping[str, Values], alone: str) -> dict[str, Any]:
    plain, augmented = (errors[f"{variant} held"] - errors[f"{variant} seen"] for variant in VARIANTS)
    return _row(paired, errors["plain held"], errors["augmented held"], augmented - plain, plain, alone)


def _row(
    paired: Paired, plain: Values, augmented: Values, difference: Values, loss: Values | None, alone: str
) -> dict[str, Any]:
    """Say what is lost and what returns; `alone` says why there are no intervals, if there are none."""
    pooled = paired.over_seeds(difference)
    row: dict[str, Any] = {
        "eer_plain": float(paired.over_seeds(plain)[0]),
        "eer_augmented": float(paired.over_seeds(augmented)[0]),
        "note": alone,
    }
    row |= laid_out("difference", paired.interval(pooled))
    if loss is None:
        return row
    lost = paired.over_seeds(loss)
    row |= laid_out("loss", paired.interval(lost))
    if not row["loss_low"] > 0:
        return row | {"note": alone or "the loss is within noise"}
    share = np.divide(-pooled, lost, out=np.full_like(lost, np.nan), where=lost > 0)
    return row | laid_out("recovered", paired.interval(share))


SCHEMA: dict[str, Any] = (
    dict.fromkeys(("detector", "question", "condition", "held"), pl.String)
    | dict.fromkeys(("eer_plain", "eer_augmented"), pl.Float64)
    | dict.fromkeys(
        [f"{name}{end}" for name in ("loss", "difference", "recovered") for end in ("", "_low", "_high")], pl.Float64
    )
    | {"n_bonafide": pl.Int64, "n_spoof": pl.Int64, "note": pl.String}
)
