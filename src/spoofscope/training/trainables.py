"""The detectors that train here, on features that are already computed: for questions that need many trainings of one detector.

Conventions
-----------
Features are computed once by the caller and handed over as `Pools`. At most the first four seconds of a recording are heard, in
training and in scoring. The mixtures and the networks are smaller, or trained for fewer steps, than those that `train` writes:
what is compared is one such detector with another.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, fit_length
from spoofscope.detectors.lfcc_gmm import Mixture, log_likelihood
from spoofscope.embedders.spectral import log_mel
from spoofscope.errors import NotEnoughTrials, UnknownName
from spoofscope.networks.lfcc import Features, floored, lfcc, log_filterbank
from spoofscope.training.cnn import CnnTraining, Pools, fit_network, one_seeded_thread
from spoofscope.training.gmm import em_step, initial_mixture
from spoofscope.training.network import logits, new_network
from spoofscope.training.small_cnn import new_small_network, small_logits

Score: TypeAlias = Callable[[Sequence[Features]], NDArray[np.float64]]
"""Features of recordings to (n,) scores, higher meaning more bona fide."""

WINDOW_S = 4.0
COMPONENTS = 64
ITERATIONS = 10
MAX_FRAMES = 40_000


@dataclass(frozen=True)
class Trainable:
    """A kind of detector: what it hears, and how it learns.

    Attributes
    ----------
    name : str
        What it is called in plans and tables.
    features : callable
        Sound at 16 kHz to (frames, 60) float32.
    fit : callable
        `fit(pools, steps, seed)` returns what scores. `steps` are updates of a network's weights; mixtures have none.
    """

    name: str
    features: Callable[[Audio], Features]
    fit: Callable[[Pools, int, int], Score]

    def hear(self, audio: Audio) -> Features:
        """Features of the first four seconds."""
        return self.features(fit_length(audio, round(WINDOW_S * SAMPLE_RATE), padding="none"))


def trainable(name: str) -> Trainable:
    """Look a trainable detector up by name.

    Raises
    ------
    UnknownName
        If there is none; the message names the nearest.
    """
    if name not in TRAINABLES:
        near = difflib.get_close_matches(name, TRAINABLES, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UnknownName(f"no detector named '{name}' can be trained many times.{hint} Known: {', '.join(TRAINABLES)}.")
    return TRAINABLES[name]


def _fit_mixtures(pools: Pools, _steps: int, seed: int) -> Score:
    bonafide, spoof = (_fit_mixture(pools[side], np.random.default_rng([seed, int(side)])) for side in (True, False))

    def score(batch: Sequence[Features]) -> NDArray[np.float64]:
        return np.array([np.mean(log_likelihood(frames, bonafide) - log_likelihood(frames, spoof)) for frames in batch])

    return score


def _fit_mixture(recordings: Sequence[Sequence[Features]], rng: np.random.Generator) -> Mixture:
    frames = np.concatenate([features for copies in recordings for features in copies])
    if len(frames) < COMPONENTS:
        raise NotEnoughTrials(f"{len(frames)} frames of a class cannot fit {COMPONENTS} components; train on more recordings")
    if len(frames) > MAX_FRAMES:
        frames = frames[np.sort(rng.choice(len(frames), MAX_FRAMES, replace=False))]
    heard = frames.astype(np.float64)
    mixture = initial_mixture(heard, COMPONENTS, rng)
    for _ in range(ITERATIONS):
        mixture, _ = em_step(heard, mixture)
    return mixture


def _network_fitter(new: Callable[[], Any], forward: Callable[[Any, Any], Any]) -> Callable[[Pools, int, int], Score]:
    def fit(pools: Pools, steps: int, seed: int) -> Score:
        with one_seeded_thread(seed):
            network = fit_network(pools, CnnTraining(seed=seed, steps=steps), new=new, forward=forward)

        def score(batch: Sequence[Features]) -> NDArray[np.float64]:
            import torch

            with one_seeded_thread(seed), torch.inference_mode():
                each = [forward(network, torch.from_numpy(floored(features))[None]) for features in batch]
                scores: NDArray[np.float64] = torch.cat(each).double().numpy()
            return scores

        return score

    return fit


TRAINABLES = {
    kind.name: kind
    for kind in (
        Trainable("lfcc_gmm", lfcc, _fit_mixtures),
        Trainable("lfcc_cnn", log_filterbank, _network_fitter(new_network, logits)),
        Trainable("logmel_cnn", log_mel, _network_fitter(new_small_network, small_logits)),
    )
}
