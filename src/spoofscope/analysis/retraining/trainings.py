"""Detectors trained again and again: what each training may hear, and features computed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.design import require_columns, require_disjoint
from spoofscope.audio import Audio, read_audio
from spoofscope.errors import AudioError, NotEnoughTrials, TrialsError, UserError
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
BYTES_PER_SOUND = 400 * 60 * 4


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
        If training without a group lacks a class, or the test has no bona fide trials.
    """
    for trials in (train, test):
        require_columns(trials.frame, (held_by,), trials.name)
    if not test.is_bonafide.any():
        raise NotEnoughTrials(f"{test.name}: no bona fide trials to tell the groups from")
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


def require_room(kinds: Sequence[Trainable], *heard: tuple[Trials, int]) -> None:
    """Refuse to keep more features than 4 GiB at once.

    Parameters
    ----------
    kinds : sequence of Trainable
        For whom.
    heard : (Trials, int)
        Trials, and how many sounds of each are heard.

    Raises
    ------
    UserError
        The message says how much would be needed.
    """
    need = sum(len(trials) * sounds for trials, sounds in heard) * len(kinds) * BYTES_PER_SOUND
    if need > MOST_BYTES:
        raise UserError(
            f"the features of {' and '.join(f'{len(trials):,} trials ({trials.name})' for trials, _ in heard)} for {len(kinds)} detectors "
            f"need {need / 2**30:.1f} GiB, more than {MOST_BYTES / 2**30:.0f}. Draw fewer trials (subset) or name fewer detectors."
        )


def listen(trials: Trials, *, phase: str, progress: Progress = silent) -> Iterator[Recording]:
    """Read recordings one after another.

    Raises
    ------
    AudioError
        If one cannot be read: all trainings hear all trials or there is nothing to compare.
    """
    rows = zip(trials.ids, trials.paths, trials.is_bonafide, strict=True)
    for number, (trial_id, path, is_bonafide) in enumerate(rows, 1):
        try:
            audio = read_audio(path)
        except AudioError as error:
            raise AudioError(
                f"{trials.name}: trial '{trial_id}': {error}. What is compared must hear the same trials: mend the recording, or take the "
                "trial out of the list."
            ) from error
        yield Recording(trial_id, audio, bool(is_bonafide))
        progress(phase, number / len(trials))


def hear(recordings: Iterable[Recording], kinds: Sequence[Trainable], through: Callable[[Recording], Iterable[Audio]]) -> Heard:
    """Compute what each kind of detector hears of recordings, each of them `through` what makes one sound or several of it."""
    heard: Heard = {kind.name: [] for kind in kinds}
    for recording in recordings:
        sounds = list(through(recording))
        for kind in kinds:
            heard[kind.name].append([kind.hear(sound) for sound in sounds])
    return heard


def pools_of(features: Sequence[list[Features]], is_bonafide: Mask, rows: Mask) -> Pools:
    """Gather the features of some trials by class, as trainables take them."""
    return {side: [features[row] for row in np.flatnonzero(rows & (is_bonafide == side)).tolist()] for side in (True, False)}


def flat(features: Sequence[list[Features]]) -> list[Features]:
    """Give the first features of each trial, to be scored."""
    return [copies[0] for copies in features]
