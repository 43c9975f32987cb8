"""Training: fit one of the built-in detectors to a list of trials.

A trainer takes `Trials` and frozen settings and returns `Trained`, whose `save` writes the safetensors file that the
detector's `weights` option takes. The same trials and settings give the same weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from spoofscope.errors import UnknownName
from spoofscope.trials import Trials

TRAINABLE = ("lfcc_gmm", "lfcc_cnn")


class WeightsFile(NamedTuple):
    """A file of weights and its SHA-256."""

    path: Path
    sha256: str

    def __str__(self) -> str:
        return f"{self.path} (SHA-256 {self.sha256})"


def train(detector: str, trials: Trials, out: Path, *, seed: int = 0) -> WeightsFile:
    """Train a detector with its default settings, showing progress on stderr, and write its weights.

    Parameters
    ----------
    detector : {"lfcc_gmm", "lfcc_cnn"}
        What to train.
    trials : Trials
        What to train it on; both classes.
    out : Path
        The safetensors file to write.
    seed : int
        Seed of everything that is drawn.

    Raises
    ------
    UnknownName
        If no detector that can be trained has this name.
    MissingExtra
        If the detector needs PyTorch to be trained and it is not installed.
    NotEnoughTrials, AudioError
        If a class is empty, or a recording cannot be read.
    """
    from spoofscope.training.progress import shown

    if detector not in TRAINABLE:
        raise UnknownName(f"no detector named '{detector}' can be trained. Known: {', '.join(TRAINABLE)}.")
    with shown() as progress:
        if detector == "lfcc_gmm":
            from spoofscope.training.gmm import GmmTraining, train_gmm

            trained = train_gmm(trials, GmmTraining(seed=seed), progress=progress)
        else:
            from spoofscope.training.cnn import CnnTraining, train_cnn

            trained = train_cnn(trials, CnnTraining(seed=seed), progress=progress)
    return WeightsFile(out, trained.save(out))
