"""Linear layers for inference on a CPU: weights laid out once for oneDNN, in float32 or bfloat16, or rounded to eight bits.

PyTorch hands a float32 product to MKL, which on some processors leaves half of their speed unused; oneDNN, which PyTorch brings as well,
does not, if it may lay the weights out beforehand. Each element of its answer is summed by one thread, in one order.
"""

from __future__ import annotations

from typing import Any

from spoofscope.networks.aasist_blocks import Tensor

ROWS = 201  # frames of a window of 64,600 samples, for which oneDNN chooses the layout
INT8_MAX = 127.0


def can_pack() -> bool:
    """Say whether this build of PyTorch can lay weights out for oneDNN."""
    import torch

    return bool(torch.backends.mkldnn.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def has_bfloat16() -> bool:
    """Say whether this processor multiplies bfloat16 itself; without it PyTorch would imitate it, far slower."""
    import torch

    answers = (getattr(torch.cpu, name, bool) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return can_pack() and any(answer() for answer in answers)


def can_quantise() -> bool:
    """Say whether this processor multiplies eight-bit integers fast (VNNI); without it they would be slower than floats."""
    import torch

    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    return can_pack() and bool(supported and supported())


def pack(model: Any, *, bfloat16: bool = False) -> Any:
    """Replace every linear layer of `model` by one whose weights are laid out for oneDNN.

    In float32 they are the same sums, rounded a little differently. With `bfloat16`, weights and inputs are rounded to it,
    products are summed in float32, and the answer is float32 again.
    """
    return _replaced(model, _packed(bfloat16)) if can_pack() else model


def quantise(model: Any) -> Any:
    """Replace every linear layer of `model` by one that multiplies eight-bit integers.

    Weights are rounded once, to 127 steps of each output's largest; inputs as they come, to 127 steps of each frame's largest. Products
    are summed exactly in 32 bits and scaled back to float32 (dynamic quantisation, symmetric, per output and per frame).
    """
    return _replaced(model, _quantised())


def _replaced(model: Any, kind: Any) -> Any:
    import torch

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is torch.nn.Linear:
                setattr(module, name, kind(child))
    return model


def _packed(bfloat16: bool) -> Any:
    import torch

    kind = torch.bfloat16 if bfloat16 else torch.float32

    class Packed(torch.nn.Module):  # type: ignore[misc]
        """A linear layer whose weights lie as oneDNN wants them."""

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(kind), ROWS)
            self.bias = None if layer.bias is None else layer.bias.detach().to(kind)

        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.mkldnn._linear_pointwise(x.to(kind), self.weight, self.bias, "none", [], "").to(x.dtype)

    return Packed


def _quantised() -> Any:
    import torch

    class Quantised(torch.nn.Module):  # type: ignore[misc]
        """A linear layer over eight-bit integers."""

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.out_features = layer.out_features
            weight = layer.weight.detach()
            self.scale = weight.abs().amax(dim=1).clamp_min(1e-30) / INT8_MAX
            self.weight = (weight / self.scale[:, None]).round_().to(torch.int8).T.contiguous()
            self.bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach()

        def forward(self, x: Tensor) -> Tensor:
            rows = x.reshape(-1, x.shape[-1])
            scale = rows.abs().amax(dim=1, keepdim=True).clamp_min_(1e-30).div_(INT8_MAX)
            products = torch._int_mm((rows / scale).round_().to(torch.int8), self.weight)
            answer = torch.addcmul(self.bias, products.float().mul_(scale), self.scale)
            return answer.view(*x.shape[:-1], self.out_features)

    return Quantised
