"""Where PyTorch computes."""

from __future__ import annotations

from spoofscope.errors import RecipeError


def checked_device(device: str) -> str:
    """Return `device` if PyTorch can compute there.

    Raises
    ------
    RecipeError
        If it is not `cpu`, `cuda` or `cuda:N`, or there is no such processor.
    """
    import torch

    if device == "cpu":
        return device
    if device.partition(":")[0] != "cuda":
        raise RecipeError(f"device is '{device}'; it must be cpu, cuda, or cuda and a number, as in cuda:0")
    if not torch.cuda.is_available():
        raise RecipeError(f"device is '{device}', but PyTorch finds no graphics processor here. Leave the device at cpu.")
    return device
