"""Where PyTorch computes."""

from __future__ import annotations

import re

from spoofscope.errors import RecipeError


def checked_device(device: str) -> str:
    """Return `device` if PyTorch can compute there.

    Raises
    ------
    RecipeError
        If it is not `cpu`, `cuda` or `cuda:N`, or there is no such processor.
    """
    if device == "cpu":
        return device
    if not re.fullmatch(r"cuda(:[0-9]+)?", device):
        raise RecipeError(f"device is '{device}'; it must be cpu, cuda, or cuda and a number, as in cuda:0")
    import torch

    if not torch.cuda.is_available():
        raise RecipeError(f"device is '{device}', but PyTorch finds no graphics processor here. Leave the device at cpu.")
    if int(device.partition(":")[2] or 0) >= (found := torch.cuda.device_count()):
        raise RecipeError(f"device is '{device}', but PyTorch finds {found} here, and counts from cuda:0.")
    return device
