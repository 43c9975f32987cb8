"""Train the residual network of the LFCC-CNN detector with PyTorch, and hand its weights over to NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio
from spoofscope.degradations.conditions import CLEAN, Condition, parse_condition
from spoofscope.detectors._trained import Trained
from spoofscope.detectors.lfcc_cnn import KIND
from spoofscope.errors import AudioError, MissingExtra, RecipeError
from spoofscope.networks.lfcc import HOP, Features, floored, log_filterbank
from spoofscope.training.network import exported, logits, new_network
from spoofscope.training.progress import Progress, silent
from spoofscope.training.recordings import Recording, history, read_recordings
from spoofscope.trials import Trials

Pools: TypeAlias = dict[bool, list[list[Features]]]

CHANNELS = (
    *(f"noise('{colour}', {snr})" for colour in ("white", "pink") for snr in (25, 15, 5)),
    *(f"mp3({rate})" for rate in (64, 32, 16)),
    "telephony",
)


@dataclass(frozen=True, kw_only=True)
class CnnTraining:
    """How to train the network.

    Parameters
    ----------
    seed : int
        Seed of the first weights, of the order of trials, and of every channel and crop.
    steps, batch : int
        Updates of the weights, and crops heard for each: half of them bona fide.
    min_crop_s, max_crop_s : float
        Shortest and longest crop, in seconds.
    learning_rate : float
        Highest rate of the one-cycle schedule.
    channels : tuple of str
        Conditions that recordings pass through, as in a recipe; empty trains on clean speech alone.
    copies : int
        Degraded copies of each recording, each under a channel drawn for it, heard as often as the clean one.
    """

    seed: int = 0
    steps: int = 1200
    batch: int = 16
    min_crop_s: float = 0.6
    max_crop_s: float = 1.2
    learning_rate: float = 3e-3
    channels: tuple[str, ...] = CHANNELS
    copies: int = 2

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.copies < 0:
            raise RecipeError(
                f"steps is {self.steps}, batch {self.batch}, copies {self.copies}: at least 1, 2 and 0 are needed"
            )
        if not 0.1 <= self.min_crop_s <= self.max_crop_s:
            raise RecipeError(f"crops of {self.min_crop_s} to {self.max_crop_s} s: need 0.1 <= min_crop_s <= max_crop_s")


def train_cnn(trials: Trials, settings: CnnTraining | None = None, *, progress: Progress = silent) -> Trained:
    """Train the LFCC-CNN detector on a list of trials.

    Parameters
    ----------
    trials : Trials
        Both classes; every recording is read.
    settings : CnnTraining, optional
        How to train.
    progress : callable, optional
        Called with a phrase and the share of it that is done.

    Returns
    -------
    Trained
        Weights that `LfccCnn(weights=...)` takes once saved. The same trials, settings and PyTorch give the same bits.

    Raises
    ------
    MissingExtra
        If PyTorch is not installed.
    NotEnoughTrials
        If a class is empty.
    AudioError
        If a recording cannot be read, or is silent.
    """
    settings = settings or CnnTraining()
    channels = [parse_condition(text) for text in settings.channels]
    with one_seeded_thread(settings.seed):
        pools: Pools = {True: [], False: []}
        recordings = read_recordings(trials, progress=progress)
        for number, recording in enumerate(recordings, 1):
            pools[recording.is_bonafide].append(heard_features(recording, channels, settings))
            progress("degrading", number / len(recordings))
        tensors = exported(fit_network(pools, settings, progress=progress))
    return Trained(KIND, tensors, history(trials, recordings, settings))


def heard_features(recording: Recording, channels: Sequence[Condition], settings: CnnTraining) -> list[Features]:
    """Return the filterbank of a recording, clean and through as many channels as there are copies, drawn for it."""
    return [log_filterbank(audio) for audio in heard(recording, channels, settings)]


def heard(recording: Recording, channels: Sequence[Condition], settings: CnnTraining) -> Iterator[Audio]:
    """Yield a recording clean, then through as many channels as there are copies, drawn for it."""
    yield recording.audio
    draw = CLEAN.rng(settings.seed, recording.trial_id)
    for copy in range(settings.copies if channels else 0):
        channel = channels[int(draw.integers(len(channels)))]
        rng = channel.rng(settings.seed, f"{recording.trial_id}/{copy}")
        try:
            yield channel.degrade(recording.audio, SAMPLE_RATE, rng)
        except AudioError as error:
            raise AudioError(f"training trial '{recording.trial_id}' through {channel.name}: {error}") from error


def fit_network(
    pools: Pools,
    settings: CnnTraining,
    *,
    new: Callable[[], Any] = new_network,
    forward: Callable[[Any, Any], Any] = logits,
    progress: Progress = silent,
) -> Any:
    """Train a network on features of both classes, in decibels; call it inside `one_seeded_thread`.

    Parameters
    ----------
    pools : dict of bool to list of list of (frames, bands) float32 array
        For bona fide (True) and spoof (False), the features of each recording: clean, then its copies.
    settings : CnnTraining
        How to train; channels and copies are those that the pools were made with.
    new, forward : callable
        Make the network; run it on (recordings, frames, bands) features to (recordings,) logits. The LFCC-CNN unless given.
    progress : callable, optional
        Called with a phrase and the share of it that is done.

    Returns
    -------
    torch.nn.Module
        The network, no longer learning.
    """
    import torch

    network = new()
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.steps)
    rng = np.random.default_rng(settings.seed)
    labels = torch.tensor([float(is_bonafide) for is_bonafide in _sides(settings)])
    network.train()
    for step in range(settings.steps):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            forward(network, torch.from_numpy(crops(pools, settings, rng))), labels
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress("training", (step + 1) / settings.steps)
    return network.eval()


def _sides(settings: CnnTraining) -> list[bool]:
    return [place % 2 == 0 for place in range(settings.batch)]


def crops(pools: Pools, settings: CnnTraining, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw one batch of crops of one length, bona fide and spoof in turn: (batch, frames, bands) as the network sees them."""
    frames = round(rng.uniform(settings.min_crop_s, settings.max_crop_s) * SAMPLE_RATE / HOP)
    batch = []
    for is_bonafide in _sides(settings):
        copies = pools[is_bonafide][rng.integers(len(pools[is_bonafide]))]
        features = copies[rng.integers(len(copies))]
        if len(features) < frames:
            features = np.resize(features, (frames, features.shape[1]))
        at = rng.integers(len(features) - frames + 1)
        batch.append(floored(features[at : at + frames]))
    return np.stack(batch)


@contextmanager
def one_seeded_thread(seed: int) -> Iterator[None]:
    """Let PyTorch work on one thread from `seed`, so that sums are taken in one order; then as it was before."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("training a network", "torch") from error
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
