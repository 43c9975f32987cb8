"""Read the recordings to train on, and write down where weights come from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from spoofscope import __version__
from spoofscope.audio import Audio, read_audio
from spoofscope.errors import NotEnoughTrials
from spoofscope.training.progress import Progress, silent
from spoofscope.trials import Trials


class Recording(NamedTuple):
    """One training recording at 16 kHz."""

    trial_id: str
    audio: Audio
    is_bonafide: bool


def read_recordings(trials: Trials, *, progress: Progress = silent) -> list[Recording]:
    """Read every recording of a training list.

    Raises
    ------
    NotEnoughTrials
        If a class is empty.
    AudioError
        If a recording cannot be read: training goes on with all trials or not at all.
    """
    bonafide, spoof = trials.counts
    if not bonafide or not spoof:
        raise NotEnoughTrials(f"cannot train on {trials.describe()}: both classes are needed")
    recordings = []
    rows = zip(trials.ids, trials.paths, trials.is_bonafide, strict=True)
    for number, (trial_id, path, is_bonafide) in enumerate(rows, 1):
        recordings.append(Recording(trial_id, read_audio(path), bool(is_bonafide)))
        progress("reading", number / len(trials))
    return recordings


def history(trials: Trials, recordings: Sequence[Recording], settings: Any) -> dict[str, Any]:
    """Say what weights were trained on and how: the part of their file that lets anyone train them again.

    `trials_digest` is that of the table, `audio_sha256` that of every sample heard, in order.
    """
    heard = hashlib.sha256()
    for recording in recordings:
        heard.update(recording.audio.tobytes())
    return {
        "trials": trials.name,
        "trials_digest": trials.digest(),
        "audio_sha256": heard.hexdigest(),
        "settings": asdict(settings),
        "version": __version__,
    }
