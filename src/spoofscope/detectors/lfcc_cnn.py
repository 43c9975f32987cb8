"""A small residual network over a linear filterbank, run by NumPy alone; its shipped weights serve the demo.

The network has a stem and three residual blocks of 3 x 3 convolutions, then the mean and the standard deviation of
each channel over time and frequency, then one linear unit. Training folds batch normalisation into the convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.detectors import Card, detector
from spoofscope.detectors._trained import checked, open_weights
from spoofscope.networks.lfcc import Features, floored, log_filterbank

KIND = "lfcc_cnn"

CARD = Card(
    name="lfcc_cnn.builtin",
    licence="Apache-2.0",
    window_s=4.0,
    padding="none",
    output="logit of the class bona fide",
    trained_on=("builtin/train",),
    weights_file="lfcc_cnn.safetensors",
    weights_sha256="85c381753d458c896d939a103c64fd853053887ced322b5083d0bd69829c4d10",
    note="Machinery for the demo and the tests: trained on synthetic talkers, it says nothing about real speech.",
)

Maps = NDArray[np.float32]


class Convolution(NamedTuple):
    """The shape of one convolution: channels in and out, kernel edge, and stride over (time, frequency)."""

    inputs: int
    outputs: int
    kernel: int
    stride: tuple[int, int]


class Block(NamedTuple):
    """A residual block: relu(second(relu(first(x))) + shortcut(x))."""

    first: Convolution
    second: Convolution
    shortcut: Convolution


def _block(inputs: int, outputs: int, stride: tuple[int, int]) -> Block:
    return Block(
        Convolution(inputs, outputs, 3, stride),
        Convolution(outputs, outputs, 3, (1, 1)),
        Convolution(inputs, outputs, 1, stride),
    )


STEM = Convolution(1, 16, 3, (1, 2))
BLOCKS = (_block(16, 16, (2, 1)), _block(16, 32, (2, 2)), _block(32, 48, (2, 2)))
POOLED = 2 * BLOCKS[-1].second.outputs


def convolutions() -> Iterator[tuple[str, Convolution]]:
    """Every convolution of the network with the name that its weights have."""
    yield "stem", STEM
    for number, block in enumerate(BLOCKS):
        for part, shape in block._asdict().items():
            yield f"block{number}.{part}", shape


@detector(CARD)
class LfccCnn:
    """Scores with a small residual network over 60 linear filterbank energies; its pooled maps are an embedding.

    Parameters
    ----------
    weights : path, optional
        Weights written by `spoofscope train lfcc_cnn`; those shipped with the package unless given.

    Raises
    ------
    WeightsError
        If the weights are missing, damaged, or of another detector.
    """

    layers = ("pooled",)
    dim = POOLED

    def __init__(self, *, weights: str | Path | None = None) -> None:
        trained, self.card = open_weights(CARD, KIND, weights)
        shapes: dict[str, tuple[int | None, ...]] = {"head.weight": (1, POOLED), "head.bias": (1,)}
        for name, shape in convolutions():
            shapes[f"{name}.weight"] = (shape.outputs, shape.inputs, shape.kernel, shape.kernel)
            shapes[f"{name}.bias"] = (shape.outputs,)
        self._tensors = checked(trained, shapes)

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return one float32 logit for each recording."""
        return np.array([logit(self._heard(audio), self._tensors) for audio in batch], dtype=np.float32)

    def embed(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return what the linear unit sees of each recording: (n, 1, 96) float32."""
        return np.array([pooled(self._heard(audio), self._tensors)[None] for audio in batch], dtype=np.float32)

    def _heard(self, audio: Audio) -> Features:
        return floored(log_filterbank(self.card.fit(audio)))


def logit(features: Features, tensors: Mapping[str, NDArray[np.float32]]) -> float:
    """Run the network on (frames, bands) features: positive for bona fide."""
    return float((tensors["head.weight"][0] * pooled(features, tensors)).sum() + tensors["head.bias"][0])


def pooled(features: Features, tensors: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run the network up to its linear unit: (96,) means and standard deviations of the channels."""

    def convolve(name: str, maps: Maps, shape: Convolution) -> Maps:
        return convolution(maps, tensors[f"{name}.weight"], tensors[f"{name}.bias"], shape.stride)

    maps = _relu(convolve("stem", features[:, None, :], STEM))
    for number, block in enumerate(BLOCKS):
        inner = _relu(convolve(f"block{number}.first", maps, block.first))
        inner = convolve(f"block{number}.second", inner, block.second)
        maps = _relu(inner + convolve(f"block{number}.shortcut", maps, block.shortcut))
    return np.concatenate([maps.mean(axis=(0, 2)), maps.std(axis=(0, 2))])


def convolution(maps: Maps, weight: Maps, bias: NDArray[np.float32], stride: tuple[int, int]) -> Maps:
    """Convolve with zero padding that keeps the size at stride 1.

    Parameters
    ----------
    maps : (frames, channels, bands) float32 array
        Time first, so that each frame is one small matrix product: one that the BLAS never splits over threads,
        whose bits are therefore the same on one core and on many.
    weight : (outputs, channels, kernel, kernel) float32 array
        Kernel axes are time, then frequency; the kernel's edge is odd.
    bias : (outputs,) float32 array
    stride : (int, int)
        Over time and over frequency.

    Returns
    -------
    (ceil(frames / stride[0]), outputs, ceil(bands / stride[1])) float32 array
    """
    frames, channels, bands = maps.shape
    outputs, _, kernel, _ = weight.shape
    margin = kernel // 2
    padded = np.pad(maps, ((margin, margin), (0, 0), (margin, margin))) if margin else maps
    size = (-(-frames // stride[0]), -(-bands // stride[1]))
    patches = np.empty((size[0], kernel, kernel, channels, size[1]), dtype=np.float32)
    for over_time in range(kernel):
        for over_bands in range(kernel):
            shifted = padded[over_time : over_time + frames : stride[0], :, over_bands : over_bands + bands : stride[1]]
            patches[:, over_time, over_bands] = shifted
    matrix = weight.transpose(0, 2, 3, 1).reshape(outputs, -1)
    product: Maps = matrix @ patches.reshape(size[0], -1, size[1])
    return product + bias[:, None]


def _relu(maps: Maps) -> Maps:
    return np.maximum(maps, np.float32(0.0))
