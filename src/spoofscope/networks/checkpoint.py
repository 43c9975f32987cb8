"""Read a published checkpoint without executing anything in it, and refuse any other model's."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from spoofscope.errors import WeightsError
from spoofscope.networks.aasist_blocks import Tensor

Shape = tuple[int, ...]


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a bare state dict, mapped into memory where the format allows; nothing but tensors is unpickled.

    A file whose name ends in `.safetensors` is read as such, any other as what `torch.save` writes.

    Raises
    ------
    WeightsError
        If the file is not a PyTorch checkpoint, is damaged, or holds anything else than named tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:  # PyTorch's own words advise to load such a file unsafely, so they are not passed on
            raise WeightsError(
                f"{path} is not a readable PyTorch checkpoint (no pickle of tensors). Fetch it again."
            ) from error
        raise WeightsError(
            f"{path} holds more than tensors: it asks for {found[1]}, which could run anything. Nothing of it was loaded. "
            "Get a file of tensors only (model.state_dict(), or safetensors) from its authors."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise WeightsError(f"{path} is not a readable PyTorch checkpoint ({_first_line(error)}). Fetch it again.") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} does not hold a bare state dict, that is: names and tensors. Save model.state_dict().")
    return dict(state)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the texts that a safetensors file carries beside its tensors.

    Raises
    ------
    WeightsError
        If the file is no safetensors file, or is cut short.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({_first_line(error)}). Fetch it again.") from error


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].partition(". ")[0] if str(error).strip() else type(error).__name__


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Shape], *, path: Path, name: str) -> None:
    """Raise unless every tensor of the network is there, in its shape, and nothing else is.

    Raises
    ------
    WeightsError
        Naming the first missing, unexpected and misshapen tensors.
    """
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
            "Give the file published for it, or choose the detector that this file belongs to."
        )


def block_shapes(name: str, inputs: int, outputs: int, *, first: bool) -> Iterator[tuple[str, Shape]]:
    """Name the tensors of a residual block, with their shapes."""
    if not first:
        yield from norm_shapes(f"{name}.bn1", inputs)
    yield from norm_shapes(f"{name}.bn2", outputs)
    kernels = {"conv1": (outputs, inputs, 2, 3), "conv2": (outputs, outputs, 2, 3)}
    if inputs != outputs:
        kernels["conv_downsample"] = (outputs, inputs, 1, 3)
    for kernel, shape in kernels.items():
        yield f"{name}.{kernel}.weight", shape
        yield f"{name}.{kernel}.bias", (outputs,)


def attention_shapes(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    """Name the tensors of a graph attention layer, with their shapes."""
    yield f"{name}.att_weight", (outputs, 1)
    for part in ("att_proj", "proj_with_att", "proj_without_att"):
        yield from linear_shapes(f"{name}.{part}", inputs, outputs)
    yield from norm_shapes(f"{name}.bn", outputs)


def mixed_shapes(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    """Name the tensors of a graph attention layer over two kinds of nodes, with their shapes."""
    yield from ((f"{name}.att_weight{pair}", (outputs, 1)) for pair in ("11", "22", "12", "M"))
    for part in ("proj_type1", "proj_type2"):
        yield from linear_shapes(f"{name}.{part}", inputs, inputs)
    for part in ("att_proj", "att_projM", "proj_with_att", "proj_without_att", "proj_with_attM", "proj_without_attM"):
        yield from linear_shapes(f"{name}.{part}", inputs, outputs)
    yield from norm_shapes(f"{name}.bn", outputs)


def linear_shapes(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    """Name the tensors of a linear layer, with their shapes."""
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def norm_shapes(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    """Name the tensors of a batch normalisation, with their shapes."""
    yield from ((f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var"))
    yield f"{name}.num_batches_tracked", ()
