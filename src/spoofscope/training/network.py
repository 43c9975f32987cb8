"""The LFCC-CNN network in PyTorch: with batch normalisation while it learns, folded into the convolutions when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.detectors.lfcc_cnn import BLOCKS, POOLED, Convolution, convolutions

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict


def new_network() -> ModuleDict:
    """Make a network with fresh weights from PyTorch's generator."""
    import torch
    from torch import nn

    def normalised(shape: Convolution) -> Any:
        margin = shape.kernel // 2
        convolution = nn.Conv2d(shape.inputs, shape.outputs, shape.kernel, stride=shape.stride, padding=margin, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(shape.outputs))

    layers = {_key(name): normalised(shape) for name, shape in convolutions()}
    network = nn.ModuleDict({**layers, "head": nn.Linear(POOLED, 1)})
    return network.to(memory_format=torch.channels_last)  # a third less time for each step


def logits(network: ModuleDict, features: Tensor) -> Tensor:
    """Run the network on (recordings, frames, bands) features: (recordings,) logits of the class bona fide."""
    import torch

    maps = torch.relu(network["stem"](features[:, None]))
    for number in range(len(BLOCKS)):
        inner = torch.relu(network[f"block{number}_first"](maps))
        inner = network[f"block{number}_second"](inner)
        maps = torch.relu(inner + network[f"block{number}_shortcut"](maps))
    variance, mean = torch.var_mean(maps, dim=(2, 3), correction=0)
    pooled = torch.cat([mean, torch.sqrt(variance + 1e-8)], dim=1)
    return network["head"](pooled)[:, 0]


def exported(network: ModuleDict) -> dict[str, NDArray[np.float32]]:
    """Return the weights as `LfccCnn` names them, each normalisation folded into its convolution.

    With scale s = gain / sqrt(variance + epsilon): the kernel becomes s * kernel, the bias becomes shift - s * mean.
    """
    tensors = {"head.weight": _array(network["head"].weight), "head.bias": _array(network["head"].bias)}
    for name, _ in convolutions():
        convolution, norm = network[_key(name)]
        scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + np.float32(norm.eps))
        tensors[f"{name}.weight"] = _array(convolution.weight) * scale[:, None, None, None]
        tensors[f"{name}.bias"] = _array(norm.bias) - _array(norm.running_mean) * scale
    return tensors


def _key(name: str) -> str:
    """Module names may not hold a dot."""
    return name.replace(".", "_")


def _array(tensor: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().numpy().astype(np.float32)
    return array
