"""LFCC-GMM: the log-likelihood ratio of two Gaussian mixtures, the classic baseline; its shipped weights serve the demo.

References
----------
M. Todisco et al.: ASVspoof 2019: Future Horizons in Spoofed and Fake Audio Detection. Interspeech 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.detectors import Card, detector
from spoofscope.detectors._trained import checked, open_weights
from spoofscope.networks.lfcc import Features, lfcc
from spoofscope.networks.products import stable_product

KIND = "lfcc_gmm"
SIDES = ("bonafide", "spoof")

CARD = Card(
    name="lfcc_gmm.builtin",
    licence="Apache-2.0",
    window_s=4.0,
    padding="none",
    output="mean over frames of log p(x | bona fide) - log p(x | spoof)",
    trained_on=("builtin/train",),
    paper="Todisco et al., ASVspoof 2019: Future Horizons in Spoofed and Fake Audio Detection, Interspeech 2019 (the method)",
    weights_file="lfcc_gmm.safetensors",
    weights_sha256="cad77aea6e0666d1ffe08fb72cea6ad7778f645cd933d18db8b0dee96f2c4695",
    note="Machinery for the demo and the tests: trained on synthetic talkers, it says nothing about real speech.",
)


class Mixture(NamedTuple):
    """A Gaussian mixture with diagonal covariances."""

    log_weights: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]


@detector(CARD)
class LfccGmm:
    """Scores by the ratio of two Gaussian mixtures over LFCC frames.

    Parameters
    ----------
    weights : path, optional
        Weights written by `spoofscope train lfcc_gmm`; those shipped with the package unless given.

    Raises
    ------
    WeightsError
        If the weights are missing, damaged, or of another detector.
    """

    def __init__(self, *, weights: str | Path | None = None) -> None:
        trained, self.card = open_weights(CARD, KIND, weights)
        shapes: dict[str, tuple[int | None, ...]] = {}
        for side in SIDES:
            shapes |= {f"{side}.log_weights": (None,), f"{side}.means": (None, 60), f"{side}.variances": (None, 60)}
        tensors = checked(trained, shapes)
        self._mixtures = {
            side: Mixture(*(tensors[f"{side}.{part}"].astype(np.float64) for part in Mixture._fields)) for side in SIDES
        }

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return one float32 log-likelihood ratio for each recording, in nats per frame."""
        return np.array([self._ratio(lfcc(self.card.fit(audio))) for audio in batch], dtype=np.float32)

    def _ratio(self, frames: Features) -> float:
        bonafide, spoof = (log_likelihood(frames, self._mixtures[side]) for side in SIDES)
        return float(np.mean(bonafide - spoof))


def log_likelihood(frames: Features, mixture: Mixture) -> NDArray[np.float64]:
    """Log density of each frame, in nats: log sum_k w_k N(x; mean_k, diag(variance_k))."""
    joint = log_joint(frames, mixture)
    top = joint.max(axis=1)
    return np.asarray(top + np.log(np.exp(joint - top[:, None]).sum(axis=1)))


def log_joint(frames: Features | NDArray[np.float64], mixture: Mixture) -> NDArray[np.float64]:
    """Log of each component's share of the density of each frame: (frames, components)."""
    values = frames.astype(np.float64)
    precisions = 1.0 / mixture.variances
    quadratic = np.concatenate([-0.5 * precisions, mixture.means * precisions], axis=1).T
    dimensions = mixture.means.shape[1]
    constant = mixture.log_weights - 0.5 * (
        dimensions * np.log(2.0 * np.pi) + np.log(mixture.variances).sum(axis=1) + (mixture.means**2 * precisions).sum(axis=1)
    )
    return np.asarray(stable_product(np.concatenate([values**2, values], axis=1), quadratic) + constant)
