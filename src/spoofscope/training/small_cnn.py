"""A small network over log mel energies: one that learns in seconds, so that it can be trained many times.

Three convolutions of 3 x 3, then the mean and the standard deviation over time of every channel at every frequency, then one linear
unit. Unlike the LFCC-CNN, which pools over frequency too, it knows which part of the spectrum it hears.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

BANDS = 60
CHANNELS = (1, 8, 16, 32)
STRIDES = ((1, 2), (2, 2), (2, 2))  # over (time, frequency)
POOLED = 2 * CHANNELS[-1] * -(-BANDS // 8)


def new_small_network() -> Any:
    """Make a network with fresh weights from PyTorch's generator."""
    import torch
    from torch import nn

    layers: list[Any] = []
    for (inputs, outputs), stride in zip(pairwise(CHANNELS), STRIDES, strict=True):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    network = nn.ModuleDict({"convolutions": nn.Sequential(*layers), "head": nn.Linear(POOLED, 1)})
    return network.to(memory_format=torch.channels_last)


def small_logits(network: Any, features: Tensor) -> Tensor:
    """Run the network on (recordings, frames, 60) features as `floored` gives them: (recordings,) logits of bona fide."""
    import torch

    maps = network["convolutions"](features[:, None])
    variance, mean = torch.var_mean(maps, dim=2, correction=0)
    pooled = torch.cat([mean.flatten(1), torch.sqrt(variance + 1e-8).flatten(1)], dim=1)
    logit: Tensor = network["head"](pooled)[:, 0]
    return logit
