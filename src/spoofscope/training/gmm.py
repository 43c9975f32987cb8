"""Fit the two mixtures of the LFCC-GMM detector by expectation maximisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoofscope.detectors._trained import Trained
from spoofscope.detectors.lfcc_gmm import KIND, SIDES, Mixture, log_joint
from spoofscope.errors import NotEnoughTrials, RecipeError
from spoofscope.networks.lfcc import lfcc
from spoofscope.networks.products import stable_product
from spoofscope.training.progress import Progress, silent
from spoofscope.training.recordings import history, read_recordings
from spoofscope.trials import Trials

Frames = NDArray[np.float64]

VARIANCE_FLOOR = 1e-3
SEEDING_FRAMES = 8192
CHUNK = 4096


@dataclass(frozen=True, kw_only=True)
class GmmTraining:
    """How to fit the mixtures.

    Parameters
    ----------
    seed : int
        Seed of the frames that are drawn and of the first means.
    components : int
        Gaussians in each mixture.
    iterations : int
        Rounds of expectation maximisation.
    max_frames : int
        Frames heard of each class; of more, so many are drawn.
    """

    seed: int = 0
    components: int = 128
    iterations: int = 12
    max_frames: int = 100_000

    def __post_init__(self) -> None:
        for name in ("components", "iterations", "max_frames"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must be at least 1")


def train_gmm(trials: Trials, settings: GmmTraining | None = None, *, progress: Progress = silent) -> Trained:
    """Fit the LFCC-GMM detector to a list of trials.

    Parameters
    ----------
    trials : Trials
        Both classes; every recording is read.
    settings : GmmTraining, optional
        How to fit.
    progress : callable, optional
        Called with a phrase and the share of it that is done.

    Returns
    -------
    Trained
        Weights that `LfccGmm(weights=...)` takes once saved. The same trials and settings give the same bits.

    Raises
    ------
    NotEnoughTrials
        If a class is empty, or has fewer frames than components.
    AudioError
        If a recording cannot be read.
    """
    settings = settings or GmmTraining()
    recordings = read_recordings(trials, progress=progress)
    tensors: dict[str, NDArray[np.float32]] = {}
    for number, side in enumerate(SIDES):
        rng = np.random.default_rng([settings.seed, number])
        heard = [lfcc(recording.audio) for recording in recordings if recording.is_bonafide == (side == "bonafide")]
        frames = _drawn(np.concatenate(heard).astype(np.float64), settings.max_frames, rng)
        if len(frames) < settings.components:
            raise NotEnoughTrials(
                f"{trials.name}: {len(frames)} frames of {side} speech cannot fit {settings.components} components"
            )
        mixture = initial_mixture(frames, settings.components, rng)
        for iteration in range(settings.iterations):
            mixture, _ = em_step(frames, mixture)
            progress(f"fitting {side}", (iteration + 1) / settings.iterations)
        tensors |= {f"{side}.{part}": values.astype(np.float32) for part, values in mixture._asdict().items()}
    return Trained(KIND, tensors, history(trials, recordings, settings))


def initial_mixture(frames: Frames, components: int, rng: np.random.Generator) -> Mixture:
    """Choose first means by k-means++ over (at most 8,192 drawn) frames; every variance is that of all frames.

    References
    ----------
    D. Arthur, S. Vassilvitskii: k-means++: The Advantages of Careful Seeding. SODA 2007.
    """
    variance = np.maximum(frames.var(axis=0), np.finfo(np.float64).tiny)
    candidates = _drawn(frames, SEEDING_FRAMES, rng)
    chosen = [candidates[rng.integers(len(candidates))]]
    nearest = np.full(len(candidates), np.inf)
    for _ in range(components - 1):
        nearest = np.minimum(nearest, ((candidates - chosen[-1]) ** 2 / variance).sum(axis=1))
        total = nearest.sum()
        chosen.append(candidates[rng.choice(len(candidates), p=nearest / total if total > 0 else None)])
    return Mixture(np.full(components, -np.log(components)), np.array(chosen), np.tile(variance, (components, 1)))


def em_step(frames: Frames, mixture: Mixture) -> tuple[Mixture, float]:
    """Improve a mixture by one round of expectation maximisation.

    Variances are kept above a thousandth of the variance of all frames, so that no component collapses onto one; a
    component that no frame chooses stays as it is.

    Returns
    -------
    (Mixture, float)
        The better mixture, and the mean log-likelihood of the frames, in nats, under the one given.
    """
    counts, log_likelihood = np.zeros(len(mixture.log_weights)), 0.0
    moments = np.zeros((len(mixture.log_weights), 2 * frames.shape[1]))
    for at in range(0, len(frames), CHUNK):
        chunk = frames[at : at + CHUNK]
        joint = log_joint(chunk, mixture)
        top = joint.max(axis=1, keepdims=True)
        shares = np.exp(joint - top)
        total = shares.sum(axis=1, keepdims=True)
        log_likelihood += float((top + np.log(total)).sum())
        shares /= total
        counts += shares.sum(axis=0)
        moments += _weighted_sums(shares, np.concatenate([chunk, chunk**2], axis=1))
    return _maximised(mixture, counts, moments, frames.var(axis=0)), log_likelihood / len(frames)


def _maximised(mixture: Mixture, counts: Frames, moments: Frames, variance: Frames) -> Mixture:
    alive = counts > 1e-3
    safe = np.where(alive, counts, 1.0)[:, None]
    means, squares = np.split(moments / safe, 2, axis=1)
    floor = np.maximum(VARIANCE_FLOOR * variance, np.finfo(np.float64).tiny)
    variances = np.maximum(squares - means**2, floor)
    weights = np.maximum(counts, np.finfo(np.float64).tiny)
    return Mixture(
        np.log(weights / weights.sum()),
        np.where(alive[:, None], means, mixture.means),
        np.where(alive[:, None], variances, mixture.variances),
    )


def _weighted_sums(shares: Frames, values: Frames) -> Frames:
    """`shares.T @ values`, summed over stretches short enough for one thread each."""
    rows = max(1, 2**18 // (shares.shape[1] * values.shape[1]))
    sums = np.zeros((shares.shape[1], values.shape[1]))
    for at in range(0, len(shares), rows):
        sums += stable_product(np.ascontiguousarray(shares[at : at + rows].T), values[at : at + rows])
    return sums


def _drawn(frames: Frames, size: int, rng: np.random.Generator) -> Frames:
    """At most `size` frames, drawn without replacement, in their order."""
    if len(frames) <= size:
        return frames
    return frames[np.sort(rng.choice(len(frames), size, replace=False))]
