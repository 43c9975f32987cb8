"""Statistics of short-time spectra: what can be told apart without any learned representation; a floor to compare with.

References
----------
S. Young et al.: The HTK Book, version 3.4, 2006, section 5.4: mel(f) = 2595 log10(1 + f / 700), triangular filters equally
spaced on that scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio
from spoofscope.embedders import Card, embedder
from spoofscope.embedders._pool import moments_of, vector
from spoofscope.errors import UserError
from spoofscope.networks.lfcc import FRAME, N_FFT, TINY, lfcc, power_spectrum
from spoofscope.networks.products import stable_product

Features: TypeAlias = Literal["lfcc", "log_mel", "both"]

N_BANDS = 60


@embedder(
    Card(
        name="spectral",
        licence="Apache-2.0",
        output="mean and population standard deviation over 20 ms frames of 60 LFCC features and of 60 log mel energies",
        paper="Todisco et al., ASVspoof 2019: Future Horizons in Spoofed and Fake Audio Detection, Interspeech 2019 (the LFCC)",
        note="No model: level, channel and codec show in it as plainly as speech does.",
    )
)
class SpectralStatistics:
    """Mean and standard deviation over time of LFCC with their differences, and of log mel energies; the same bit for bit.

    Both are 60 numbers for each 20 ms frame, every 10 ms, so both layers are 120 numbers. A recording shorter than a frame is
    repeated up to it.

    Parameters
    ----------
    features : {"lfcc", "log_mel", "both"}
        The layers kept.

    Raises
    ------
    UserError
        If `features` is none of the three words.
    """

    card: Card
    dim = 2 * N_BANDS

    def __init__(self, *, features: Features = "both") -> None:
        if features not in get_args(Features):
            raise UserError(f"features is '{features}'; it must be one of {', '.join(get_args(Features))}")
        self.layers = tuple(FEATURES) if features == "both" else (features,)
        self.settings: Mapping[str, Any] = {"features": features}

    def embed(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the statistics of each recording, (n, layers, 120) float32: means, then standard deviations."""
        vectors = np.empty((len(batch), len(self.layers), self.dim), dtype=np.float32)
        for row, audio in enumerate(batch):
            for place, layer in enumerate(self.layers):
                vectors[row, place] = vector(moments_of(FEATURES[layer](audio)), "mean_std")
        return vectors


def log_mel(audio: Audio) -> NDArray[np.float32]:
    """Energies of 60 triangular filters spaced equally on the mel scale from 0 to 8 kHz, in decibels: (frames, 60).

    Frames, pre-emphasis and window are those of `networks.lfcc.lfcc`.
    """
    energies = stable_product(power_spectrum(audio, np.hamming(FRAME)), mel_filters(N_BANDS))
    return np.asarray(np.float32(10.0) * np.log10(energies + TINY))


@cache
def mel_filters(n_filters: int) -> NDArray[np.float32]:
    """Triangular filters in frequency whose feet stand on their neighbours' tops: (257, n_filters), tops at 1."""
    top_mel = 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top_mel, n_filters + 2) / 2595.0) - 1.0)
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)[:, None]
    left, top, right = edges[:-2], edges[1:-1], edges[2:]
    slopes = np.minimum((bins - left) / (top - left), (right - bins) / (right - top))
    return np.asarray(np.maximum(0.0, slopes), dtype=np.float32)


FEATURES: Mapping[str, Callable[[Audio], NDArray[np.float32]]] = {"lfcc": lfcc, "log_mel": log_mel}
