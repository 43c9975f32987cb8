"""Detectors trained again and again: what each training may hear, and features computed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.design import require_columns, require_disjoint
from spoofscope.audio import Audio, read_audio
from spoofscope.errors import NotEnoughTrials, TrialsError, UserError
from spoofscope.networks.lfcc import Features
from spoofscope.training.cnn import Pools
from spoofscope.training.progress import Progress, silent
from spoofscope.training.recordings import Recording
from spoofscope.training.trainables import Trainable
from spoofscope.trials import BONAFIDE, Trials

Mask: TypeAlias = NDArray[np.bool_]
Heard: TypeAlias = dict[str, list[list[Features]]]
"""For each detector, the features of each trial: once, or clean and then its copies."""

MOST_BYTES = 4 * 2**30
BYTES_PER_TRIAL = 400 * 60 * 4


class Group(NamedTuple):
    """What one training leaves out, and what it is then tested on.

    Attributes
    ----------
    name : str
        The values that are held out, joined by ` + `.
    train : (n,) bool array
        The training trials that are heard.
    held, seen : (m,) bool array
        The test trials of the group; those of attacks that the training did hear. Every bona fide test trial joins both.
    """

    name: str
    train: Mask
    held: Mask
    seen: Mask


def groups_of(held: Sequence[Sequence[str]], held_by: str, train: Trials, test: Trials) -> list[Group]:
    """Say for each held-out group what is trained and tested on.

    A group that training lacks anyway (an attack that only the test has) is tested like the others.

    Raises
    ------
    TrialsError
        If a column or a value is missing, or no test trial is of an attack that training without the group hears.
    LeakError
        If training and test share a speaker or a source.
    NotEnoughTrials
        If training without a group lacks a class.
    """
    for trials in (train, test):
        require_columns(trials.frame, (held_by,), trials.name)
    columns = ["speaker", "source"]
    both = pl.concat([train.frame.select(columns), test.frame.select(columns)])
    is_train = np.arange(both.height) < len(train)
    require_disjoint(both, is_train, ~is_train, columns)
    return [_group(values, held_by, train, test) for values in held]


def _group(values: Sequence[str], held_by: str, train: Trials, test: Trials) -> Group:
    in_train, in_test = (
        (trials.frame[held_by].cast(pl.String).is_in(list(values)).fill_null(False).to_numpy() & ~trials.is_bonafide)
        for trials in (train, test)
    )
    known = test.frame.filter(~test.is_bonafide)[held_by].cast(pl.String).drop_nulls().unique().sort().to_list()
    for value in values:
        if value not in known:
            raise TrialsError(f"{test.name}: no spoof trial of {held_by} '{value}' to hold out; there are {', '.join(known)}")
    name = " + ".join(values)
    heard = train.frame.filter(~in_train)
    if heard["label"].n_unique() < 2:
        raise NotEnoughTrials(f"{train.name}: training without {held_by} '{name}' lacks bona fide or spoof trials")
    attacks = heard.filter(pl.col("label") != BONAFIDE)["attack"].unique()
    seen = test.frame["attack"].is_in(attacks.implode()).to_numpy() & ~test.is_bonafide & ~in_test
    if not seen.any():
        raise TrialsError(
            f"{test.name}: no spoof trial is of an attack that training without {held_by} '{name}' hears ({', '.join(attacks.sort())}), "
            "so there is nothing to compare the group with. Test on speakers that were held out of the training corpus."
        )
    return Group(name, ~in_train, in_test, seen)


def shared_groups(held_by: str, train: Trials, test: Trials) -> tuple[tuple[str], ...]:
    """Make a group of every value of a column that spoof trials of training and test share.

    Raises
    ------
    TrialsError
        If a column is missing, or nothing is shared.
    """
    found = []
    for trials in (train, test):
        require_columns(trials.frame, (held_by,), trials.name)
        found.append(set(trials.frame.filter(~trials.is_bonafide)[held_by].cast(pl.String).drop_nulls()))
    if not found[0] & found[1]:
        raise TrialsError(f"{train.name} and {test.name} share no {held_by} of spoof trials to hold out")
    return tuple((value,) for value in sorted(found[0] & found[1]))


def hear(
    trials: Trials,
    kinds: Sequence[Trainable],
    through: Callable[[Recording], Iterable[Audio]],
    *,
    copies: int = 0,
    phase: str = "listening",
    progress: Progress = silent,
) -> Heard:
    """Read every recording once and compute what each kind of detector hears of it.

    Parameters
    ----------
    trials : Trials
        All of them are read.
    kinds : sequence of Trainable
        For whom.
    through : callable
        A recording to the sounds that are heard of it, `1 + copies` of them.

    Raises
    ------
    UserError
        If the features could need more than 4 GiB.
    AudioError
        If a recording cannot be read.
    """
    need = len(trials) * (1 + copies) * len(kinds) * BYTES_PER_TRIAL
    if need > MOST_BYTES:
        raise UserError(
            f"{trials.name}: the features of {len(trials):,} trials for {len(kinds)} detectors need {need / 2**30:.1f} GiB, more than "
            f"{MOST_BYTES / 2**30:.0f}. Draw fewer trials (Trials.subset) or name fewer detectors."
        )
    heard: Heard = {kind.name: [] for kind in kinds}
    rows = zip(trials.ids, trials.paths, trials.is_bonafide, strict=True)
    for number, (trial_id, path, is_bonafide) in enumerate(rows, 1):
        sounds = list(through(Recording(trial_id, read_audio(path), bool(is_bonafide))))
        for kind in kinds:
            heard[kind.name].append([kind.hear(sound) for sound in sounds])
        progress(phase, number / len(trials))
    return heard


def pools_of(features: Sequence[list[Features]], is_bonafide: Mask, rows: Mask) -> Pools:
    """Gather the features of some trials by class, as trainables take them."""
    return {side: [features[row] for row in np.flatnonzero(rows & (is_bonafide == side)).tolist()] for side in (True, False)}


def flat(features: Sequence[list[Features]]) -> list[Features]:
    """Give the first features of each trial, to be scored."""
    return [copies[0] for copies in features]


def scores_table(
    test: Trials, scores: Mapping[tuple[str, ...], NDArray[np.float64]], names: Sequence[str], seeds: Sequence[int]
) -> pl.DataFrame:
    """Lay (seeds, n) scores of the test trials out as a table, one row for each trial, training and seed; `names` are of the key."""
    trials = test.frame.select("trial_id", "label", "attack", "speaker")
    return pl.concat(
        [
            trials.with_columns(
                *(pl.lit(word).alias(name) for name, word in zip(names, key, strict=True)),
                pl.lit(seed).alias("seed"),
                pl.Series("score", row),
            )
            for key, rows in scores.items()
            for seed, row in zip(seeds, rows, strict=True)
        ]
    )
