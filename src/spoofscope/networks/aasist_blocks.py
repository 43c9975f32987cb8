"""The blocks that AASIST and its descendants are made of, as functions of tensors and folded weights.

Conventions
-----------
Convolutional maps are `(n, time, frequency, channels)`: channels are innermost, so oneDNN multiplies without reordering, and a
stretch of time is contiguous, so a block can be computed stretch by stretch inside the second-level cache. Sets of graph nodes
are `(n, nodes, dim)`. Weights are a flat mapping by the published names, after `fold_block`, `fold_attention` and the like have
merged each batch normalisation (at inference a fixed scale and shift) into the layer before it. Nothing here is for training.

References
----------
Jung et al., "AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks", ICASSP 2022,
https://arxiv.org/abs/2110.01200, and the published code at https://github.com/clovaai/aasist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Tensor: TypeAlias = Any  # torch.Tensor: torch is imported only where it is used
Weights: TypeAlias = Mapping[str, Tensor]
Run: TypeAlias = Callable[[Callable[[int, int], None], Iterable[tuple[int, int]]], None]

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
NORM_EPS = 1e-5
EDGE = 2  # frames of zeros that a padded map carries at each end of time: two convolutions of three taps


def under(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """Return the weights whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def norm_scale_shift(weights: Weights, prefix: str) -> tuple[Tensor, Tensor]:
    """Return the scale and shift that the batch normalisation called `prefix` applies to each channel."""
    scale = weights[f"{prefix}.weight"] / (weights[f"{prefix}.running_var"] + NORM_EPS).sqrt()
    return scale, weights[f"{prefix}.bias"] - weights[f"{prefix}.running_mean"] * scale


def selu(x: Tensor) -> Tensor:
    """Scaled exponential linear unit."""
    import torch

    return torch.selu(x)


# ---- convolution -------------------------------------------------------------------------------------------------------


def fold_block(weights: Weights) -> dict[str, Tensor]:
    """Fold one residual block: `bn2` into `conv1`, the constants of SELU into `conv2`, kernels turned to (time, frequency).

    `bn1` is dropped: the published code computes it, and then convolves the input of the block instead.
    """
    scale, shift = norm_scale_shift(weights, "bn2")
    conv2 = weights["conv2.weight"] * SELU_SCALE
    bias2 = weights["conv2.bias"] - SELU_ALPHA * conv2.sum(dim=(1, 2, 3))
    folded = {
        "conv1.weight": _time_first(weights["conv1.weight"] * scale[:, None, None, None]),
        "conv1.bias": weights["conv1.bias"] * scale + shift,
        "conv2.weight": _time_first(conv2),
        "conv2.bias": bias2 + weights.get("conv_downsample.bias", 0.0),
    }
    if "conv_downsample.weight" in weights:
        folded["conv_downsample.weight"] = _time_first(weights["conv_downsample.weight"])
    return folded


def residual_block(x: Tensor, weights: Weights, *, pool: int, stretch: int, run: Run) -> Tensor:
    """Two convolutions around a SELU, a shortcut, and the maximum over each `pool` frames.

    Parameters
    ----------
    x : (n, 2 + time + 2, 1 + frequency + 1, channels) tensor
        A padded map: zeros around the sound.
    weights : mapping
        From `fold_block`.
    pool : int
        Frames whose maximum makes one frame of the answer; frames left over at the end are dropped.
    stretch : int
        Frames of the answer that are computed at once.
    run : callable
        Calls a function on each (start, stop), in any order.

    Returns
    -------
    (n, 2 + time // pool + 2, 1 + frequency + 1, channels) tensor
        A padded map.
    """
    _, frames, bins, _ = x.shape
    frames -= 2 * EDGE
    answer = padded_map(x, frames // pool, bins - 2, len(weights["conv1.bias"]))

    def compute(start: int, stop: int) -> None:
        first, last = start * pool, stop * pool
        heard = x[:, first : last + 2 * EDGE]
        y = _shifted_selu(_convolve(heard, weights["conv1.weight"], weights["conv1.bias"]))
        # Here the published network pads with zeros, which the shifted SELU writes as alpha.
        if first == 0:
            y[:, 0] = SELU_ALPHA
        if last == frames:
            y[:, -1] = SELU_ALPHA
        y = _convolve(y, weights["conv2.weight"], weights["conv2.bias"])
        if "conv_downsample.weight" in weights:
            y += _convolve(heard[:, 1:-1, 1:-1], weights["conv_downsample.weight"], None)
        else:
            y += heard[:, EDGE:-EDGE, 1:-1]
        _pool_time(y, pool, out=answer[:, EDGE + start : EDGE + stop, 1:-1])

    run(compute, stretches(frames // pool, stretch))
    return answer


def padded_map(like: Tensor, frames: int, bins: int, channels: int) -> Tensor:
    """Return a map of which only the padding is written: zeros around (n, frames, bins, channels)."""
    answer = like.new_empty(len(like), frames + 2 * EDGE, bins + 2, channels)
    answer[:, :EDGE] = answer[:, -EDGE:] = 0.0
    answer[:, :, 0] = answer[:, :, -1] = 0.0
    return answer


def stretches(frames: int, length: int) -> list[tuple[int, int]]:
    """Cut `frames` into (start, stop) of at most `length` each."""
    return [(start, min(start + length, frames)) for start in range(0, frames, length)]


def _time_first(kernel: Tensor) -> Tensor:
    import torch

    return kernel.transpose(2, 3).contiguous(memory_format=torch.channels_last)


def _convolve(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve (n, time, frequency, channels) with (out, channels, taps in time, taps in frequency), without padding."""
    import torch

    if kernel.shape[1] > 1:
        return torch.conv2d(x.permute(0, 3, 1, 2), kernel, bias).permute(0, 2, 3, 1)
    # One channel is too few for oneDNN's blocks: a product with the shifted maps, and with ones for the bias, is faster.
    taps, bands = kernel.shape[2:]
    n, time, frequency = x.shape[0], x.shape[1] - taps + 1, x.shape[2] - bands + 1
    shifted = [x[:, i : i + time, j : j + frequency, 0] for i in range(taps) for j in range(bands)]
    matrix = kernel.flatten(1)
    if bias is not None:
        shifted.append(x.new_ones(n, time, frequency))
        matrix = torch.cat([matrix, bias[:, None]], dim=1)
    return (torch.stack(shifted).flatten(1).T @ matrix.T).view(n, time, frequency, len(kernel))


def _shifted_selu(x: Tensor) -> Tensor:
    """Return SELU(x) / scale + alpha in place: exp is vectorised where expm1 is not, and what is left out is folded away."""
    below = x.clamp_max(0).exp_()
    return x.clamp_min_(0).add_(below, alpha=SELU_ALPHA)


def _pool_time(x: Tensor, pool: int, *, out: Tensor) -> None:
    import torch

    torch.amax(x.unflatten(1, (-1, pool)), dim=2, out=out)


# ---- graphs ------------------------------------------------------------------------------------------------------------


def fold_attention(weights: Weights) -> dict[str, Tensor]:
    """Fold the batch normalisation of a graph layer into the two projections whose sum it normalises."""
    scale, shift = norm_scale_shift(weights, "bn")
    folded = {name: value for name, value in weights.items() if not name.startswith("bn.")}
    for name in ("proj_with_att", "proj_without_att"):
        folded[f"{name}.weight"] = weights[f"{name}.weight"] * scale[:, None]
        folded[f"{name}.bias"] = weights[f"{name}.bias"] * scale
    folded["proj_with_att.bias"] = folded["proj_with_att.bias"] + shift
    return folded


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Apply the linear layer called `name` to the last axis."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def graph_attention(x: Tensor, weights: Weights, *, temperature: float) -> Tensor:
    """Let every node of one kind attend to every other; (n, nodes, dim in) to (n, nodes, dim out)."""
    pairs = linear(x.unsqueeze(2) * x.unsqueeze(1), weights, "att_proj").tanh()  # (n, nodes, nodes, dim out)
    logits = (pairs @ weights["att_weight"]).squeeze(-1)
    attention = (logits / temperature).softmax(dim=2)
    return selu(linear(attention @ x, weights, "proj_with_att") + linear(x, weights, "proj_without_att"))


def mixed_attention(
    time: Tensor, spectrum: Tensor, master: Tensor, weights: Weights, *, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Let temporal and spectral nodes attend to each other, and a master node listen to all of them.

    Both directions between the kinds share one weight (`att_weight12`), as published.
    """
    import torch

    count = time.shape[1]
    x = torch.cat([linear(time, weights, "proj_type1"), linear(spectrum, weights, "proj_type2")], dim=1)
    pairs = linear(x.unsqueeze(2) * x.unsqueeze(1), weights, "att_proj").tanh()
    logits = (pairs @ weights["att_weight12"]).squeeze(-1)  # (n, nodes, nodes)
    logits[:, :count, :count] = (pairs[:, :count, :count] @ weights["att_weight11"]).squeeze(-1)
    logits[:, count:, count:] = (pairs[:, count:, count:] @ weights["att_weight22"]).squeeze(-1)
    attention = (logits / temperature).softmax(dim=2)

    heard = linear(x * master, weights, "att_projM").tanh() @ weights["att_weightM"]  # (n, nodes, 1)
    heard = (heard / temperature).softmax(dim=1).transpose(1, 2)
    master = linear(heard @ x, weights, "proj_with_attM") + linear(master, weights, "proj_without_attM")

    x = selu(linear(attention @ x, weights, "proj_with_att") + linear(x, weights, "proj_without_att"))
    return x[:, :count], x[:, count:], master


def graph_pool(x: Tensor, weights: Weights, *, ratio: float) -> Tensor:
    """Keep the share `ratio` of the nodes, gated by their scores.

    The kept nodes stand in descending order of score: two branches are later compared node by node, so the order counts.
    """
    scores = linear(x, weights, "proj").sigmoid()  # (n, nodes, 1)
    kept = scores.topk(max(int(x.shape[1] * ratio), 1), dim=1).indices
    return (x * scores).gather(1, kept.expand(-1, -1, x.shape[2]))
