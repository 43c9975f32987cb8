"""Read a published AASIST checkpoint, and refuse any other model's."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

from spoofscope.detectors._aasist_blocks import Tensor
from spoofscope.detectors._aasist_network import BINS, Architecture
from spoofscope.errors import WeightsError

Shape = tuple[int, ...]


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a bare state dict; nothing but tensors is unpickled.

    Raises
    ------
    WeightsError
        If the file is not a PyTorch checkpoint, is damaged, or holds anything else than named tensors.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"{path} is not a readable PyTorch checkpoint ({first}). Fetch it again.") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} does not hold a bare state dict, that is: names and tensors. Save model.state_dict().")
    return dict(state)


def check_state(state: Mapping[str, Tensor], architecture: Architecture, *, path: Path, name: str) -> None:
    """Raise unless every tensor of the network is there, in its shape, and nothing else is.

    Raises
    ------
    WeightsError
        Naming the first missing, unexpected and misshapen tensors.
    """
    expected = expected_shapes(architecture)
    found = {key: tuple(value.shape) for key, value in state.items()}
    faults = []
    if missing := [key for key in expected if key not in found]:
        faults.append(f"{len(missing)} of {len(expected)} tensors are missing (first: {missing[0]})")
    if unexpected := [key for key in found if key not in expected]:
        faults.append(f"{len(unexpected)} are unexpected (first: {unexpected[0]})")
    if misshapen := [key for key in expected if key in found and found[key] != expected[key]]:
        key = misshapen[0]
        faults.append(f"{len(misshapen)} have another shape (first: {key} is {found[key]}, expected {expected[key]})")
    if faults:
        raise WeightsError(
            f"{path} is not a checkpoint of {name}: {'; '.join(faults)}. "
            f"Give the file that 'spoofscope fetch detector {name}' brings, or choose the detector that it belongs to."
        )


def expected_shapes(architecture: Architecture) -> dict[str, Shape]:
    """Return the name and shape of every tensor of a published checkpoint."""
    return dict(_shapes(architecture))


def _shapes(architecture: Architecture) -> Iterator[tuple[str, Shape]]:
    channels, (dim, mixed_dim) = architecture.channels, architecture.dims
    yield "pos_S", (1, BINS, channels[-1])
    yield from ((name, (1, 1, dim)) for name in ("master1", "master2"))
    yield from _norm("first_bn", 1)
    for index, (inputs, outputs) in enumerate(zip((1, *channels[:-1]), channels, strict=True)):
        yield from _block(f"encoder.{index}.0", inputs, outputs, first=index == 0)
    for kind in "ST":
        yield from _attention(f"GAT_layer_{kind}", channels[-1], dim)
        yield from _linear(f"pool_{kind}.proj", dim, 1)
    for branch in "12":
        yield from _mixed(f"HtrgGAT_layer_ST{branch}1", dim, mixed_dim)
        yield from _mixed(f"HtrgGAT_layer_ST{branch}2", mixed_dim, mixed_dim)
        for kind in "ST":
            yield from _linear(f"pool_h{kind}{branch}.proj", mixed_dim, 1)
    yield from _linear("out_layer", 5 * mixed_dim, 2)


def _block(name: str, inputs: int, outputs: int, *, first: bool) -> Iterator[tuple[str, Shape]]:
    if not first:
        yield from _norm(f"{name}.bn1", inputs)
    yield from _norm(f"{name}.bn2", outputs)
    kernels = {"conv1": (outputs, inputs, 2, 3), "conv2": (outputs, outputs, 2, 3)}
    if inputs != outputs:
        kernels["conv_downsample"] = (outputs, inputs, 1, 3)
    for kernel, shape in kernels.items():
        yield f"{name}.{kernel}.weight", shape
        yield f"{name}.{kernel}.bias", (outputs,)


def _attention(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.att_weight", (outputs, 1)
    for part in ("att_proj", "proj_with_att", "proj_without_att"):
        yield from _linear(f"{name}.{part}", inputs, outputs)
    yield from _norm(f"{name}.bn", outputs)


def _mixed(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield from ((f"{name}.att_weight{pair}", (outputs, 1)) for pair in ("11", "22", "12", "M"))
    for part in ("proj_type1", "proj_type2"):
        yield from _linear(f"{name}.{part}", inputs, inputs)
    for part in ("att_proj", "att_projM", "proj_with_att", "proj_without_att", "proj_with_attM", "proj_without_attM"):
        yield from _linear(f"{name}.{part}", inputs, outputs)
    yield from _norm(f"{name}.bn", outputs)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    yield from ((f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var"))
    yield f"{name}.num_batches_tracked", ()
