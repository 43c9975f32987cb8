"""The AASIST network, from a waveform to its last hidden layer, with everything folded that inference allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoofscope.networks.aasist_blocks import (
    EDGE,
    Run,
    Tensor,
    Weights,
    fold_attention,
    fold_block,
    graph_attention,
    graph_pool,
    linear,
    mixed_attention,
    norm_scale_shift,
    padded_map,
    residual_block,
    selu,
    stretches,
    under,
)
from spoofscope.networks.checkpoint import Shape, attention_shapes, block_shapes, linear_shapes, mixed_shapes, norm_shapes

BANDS = 70
TAPS = 129
POOL = 3  # frames, and in the front end also bands, whose maximum becomes one
BINS = BANDS // POOL
STRETCH_VALUES = 24 * 720 * 32  # of a map, computed at once: two megabytes, about the second-level cache of a core
GRAPH_TEMPERATURE = 2.0
MIXED_TEMPERATURE = 100.0


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The sizes in which published AASIST models differ.

    Parameters
    ----------
    channels : tuple of int
        Of the six residual blocks.
    dims : (int, int)
        Of a node in the first graph layers, and in the mixed ones.
    ratios : (float, float, float)
        Share of the nodes that is kept: spectral, temporal, and in each mixed pool.
    """

    channels: tuple[int, ...]
    dims: tuple[int, int]
    ratios: tuple[float, float, float]


AASIST = Architecture(channels=(32, 32, 64, 64, 64, 64), dims=(64, 32), ratios=(0.5, 0.7, 0.5))
AASIST_L = Architecture(channels=(32, 32, 24, 24, 24, 24), dims=(24, 32), ratios=(0.4, 0.5, 0.7))


def sinc_filters() -> NDArray[np.float32]:
    """Return the (70, 129) band-pass filters: windowed sincs between edges that are equally far apart in mel, 0 to 8 kHz.

    They are fixed and not part of a checkpoint. The published ones, built in float32, differ by less than 1e-7.
    """
    mel = np.linspace(0.0, 2595.0 * np.log10(1.0 + 8000.0 / 700.0), BANDS + 1)
    edges = 2.0 * 700.0 * (10.0 ** (mel / 2595.0) - 1.0) / 16_000.0  # in units of half the sample rate
    low_pass = edges[:, None] * np.sinc(edges[:, None] * np.arange(-(TAPS // 2), TAPS // 2 + 1))
    return (np.hamming(TAPS) * np.diff(low_pass, axis=0)).astype(np.float32)


def expected_shapes(architecture: Architecture) -> dict[str, Shape]:
    """Return the name and shape of every tensor of a published checkpoint."""
    return dict(_shapes(architecture))


def _shapes(architecture: Architecture) -> Iterator[tuple[str, Shape]]:
    channels = architecture.channels
    yield "pos_S", (1, BINS, channels[-1])
    yield from norm_shapes("first_bn", 1)
    for index, (inputs, outputs) in enumerate(zip((1, *channels[:-1]), channels, strict=True)):
        yield from block_shapes(f"encoder.{index}.0", inputs, outputs, first=index == 0)
    yield from graph_shapes(architecture)


def graph_shapes(architecture: Architecture) -> Iterator[tuple[str, Shape]]:
    """Name the tensors that `graph_head` and `logits` read, but for the positions, with their shapes."""
    channels, (dim, mixed_dim) = architecture.channels, architecture.dims
    yield from ((name, (1, 1, dim)) for name in ("master1", "master2"))
    for kind in "ST":
        yield from attention_shapes(f"GAT_layer_{kind}", channels[-1], dim)
        yield from linear_shapes(f"pool_{kind}.proj", dim, 1)
    for branch in "12":
        yield from mixed_shapes(f"HtrgGAT_layer_ST{branch}1", dim, mixed_dim)
        yield from mixed_shapes(f"HtrgGAT_layer_ST{branch}2", mixed_dim, mixed_dim)
        for kind in "ST":
            yield from linear_shapes(f"pool_h{kind}{branch}.proj", mixed_dim, 1)
    yield from linear_shapes("out_layer", 5 * mixed_dim, 2)


def fold(state: Weights, architecture: Architecture) -> dict[str, Tensor]:
    """Turn a published state dict into the weights that `hidden_layer` and `logits` take."""
    return fold_front_end(state) | fold_encoder(state, len(architecture.channels)) | fold_graph(state)


def fold_front_end(state: Weights) -> dict[str, Tensor]:
    """Lay out the band-pass filters for `front_end`, and fold the normalisation that follows them."""
    import torch

    # One product with a frame of 131 samples gives each of 69 bands at three successive samples, ordered so that the nine
    # values whose maximum is wanted are 23 apart. The 70th band is left over by the pooling.
    kept = torch.from_numpy(sinc_filters()[: BINS * POOL]).view(-1, POOL, TAPS)  # (23, 3, 129)
    frames = torch.stack([torch.nn.functional.pad(kept, (delay, POOL - 1 - delay)) for delay in range(POOL)])
    scale, shift = norm_scale_shift(state, "first_bn")
    return {"filters": frames.permute(3, 0, 2, 1).flatten(1).contiguous(), "first.scale": scale, "first.shift": shift}


def fold_encoder(state: Weights, blocks: int, *, name: str = "encoder") -> dict[str, Tensor]:
    """Fold the residual blocks, `encoder.N.0.` becoming `encoder.N.`."""
    folded: dict[str, Tensor] = {}
    for index in range(blocks):
        folded |= _under_name(f"{name}.{index}.", fold_block(under(state, f"{name}.{index}.0.")))
    return folded


def fold_graph(state: Weights) -> dict[str, Tensor]:
    """Fold what `graph_head` and `logits` read."""
    folded: dict[str, Tensor] = {}
    for name in ("GAT_layer_S", "GAT_layer_T", *(f"HtrgGAT_layer_ST{i}{j}" for i in "12" for j in "12")):
        folded |= _under_name(f"{name}.", fold_attention(under(state, f"{name}.")))
    plain = ("pos_S", "master", "pool_", "out_layer.")
    return folded | {name: value for name, value in state.items() if name.startswith(plain)}


def hidden_layer(audio: Tensor, weights: Weights, architecture: Architecture, *, run: Run, whole: bool = False) -> Tensor:
    """Return the last hidden layer, (n, 5 * dims[1]), of (n, samples) audio.

    `run` is given independent stretches of time; `whole` asks for one stretch, which suits a graphics processor.
    """
    x = front_end(audio, weights, run=run, whole=whole)
    x = encode(x, under(weights, "encoder."), len(architecture.channels), run=run, whole=whole)
    return graph_head(x.amax(dim=1), x.amax(dim=2), weights, architecture)


def graph_head(spectrum: Tensor, time: Tensor, weights: Weights, architecture: Architecture) -> Tensor:
    """Read the graphs: (n, bins, dim) spectral and (n, frames, dim) temporal nodes to the last hidden layer."""
    import torch

    spectral_share, temporal_share, _ = architecture.ratios
    spectrum = graph_attention(spectrum + weights["pos_S"], under(weights, "GAT_layer_S."), temperature=GRAPH_TEMPERATURE)
    spectrum = graph_pool(spectrum, under(weights, "pool_S."), ratio=spectral_share)
    time = graph_attention(time, under(weights, "GAT_layer_T."), temperature=GRAPH_TEMPERATURE)
    time = graph_pool(time, under(weights, "pool_T."), ratio=temporal_share)
    branches = [_branch(number, time, spectrum, weights, architecture.ratios[2]) for number in "12"]
    time, spectrum, master = (torch.maximum(*pair) for pair in zip(*branches, strict=True))
    pooled = [time.abs().amax(1), time.mean(1), spectrum.abs().amax(1), spectrum.mean(1), master.squeeze(1)]
    return torch.cat(pooled, dim=1)


def logits(hidden: Tensor, weights: Weights) -> Tensor:
    """Return (n, 2) logits of the last hidden layer: index 0 is spoof, index 1 bona fide."""
    return linear(hidden, weights, "out_layer")


def _branch(number: str, time: Tensor, spectrum: Tensor, weights: Weights, ratio: float) -> tuple[Tensor, Tensor, Tensor]:
    first, second = (under(weights, f"HtrgGAT_layer_ST{number}{step}.") for step in "12")
    master = weights[f"master{number}"].expand(len(time), -1, -1)
    time, spectrum, master = mixed_attention(time, spectrum, master, first, temperature=MIXED_TEMPERATURE)
    time = graph_pool(time, under(weights, f"pool_hT{number}."), ratio=ratio)
    spectrum = graph_pool(spectrum, under(weights, f"pool_hS{number}."), ratio=ratio)
    more = mixed_attention(time, spectrum, master, second, temperature=MIXED_TEMPERATURE)
    return time + more[0], spectrum + more[1], master + more[2]


def front_end(audio: Tensor, weights: Weights, *, run: Run, whole: bool) -> Tensor:
    """Filter, rectify, pool by 3 x 3 and normalise: (n, samples) to a padded map (n, 2 + time + 2, 1 + 23 + 1, 1)."""
    filters = weights["filters"]
    frames = audio.unfold(1, len(filters), POOL)  # (n, time, 131)
    n, count, _ = frames.shape
    answer = padded_map(audio, count, BINS, 1)

    def compute(start: int, stop: int) -> None:
        y = (frames[:, start:stop].reshape(-1, len(filters)) @ filters).abs_()
        y = _halve(y.view(n, stop - start, POOL, POOL * BINS).unbind(2))
        y = _halve(y.view(n, stop - start, POOL, BINS).unbind(2))
        answer[:, EDGE + start : EDGE + stop, 1:-1, 0] = selu(y * weights["first.scale"] + weights["first.shift"])

    run(compute, stretches(count, count if whole else STRETCH_VALUES // filters.shape[1]))
    return answer


def encode(x: Tensor, weights: Weights, blocks: int, *, run: Run, whole: bool) -> Tensor:
    """Apply the residual blocks called `0.`, `1.` ...: a padded map to the magnitudes (n, time, 23, channels) of the last."""
    for index in range(blocks):
        own = under(weights, f"{index}.")
        length = x.shape[1] if whole else STRETCH_VALUES // (POOL * x.shape[2] * len(own["conv1.bias"]))
        x = residual_block(x, own, pool=POOL, stretch=length, run=run)
    return x[:, EDGE:-EDGE, 1:-1].abs()


def _halve(parts: tuple[Tensor, ...]) -> Tensor:
    """Return the elementwise maximum of three tensors."""
    import torch

    first, second, third = parts
    return torch.maximum(torch.maximum(first, second), third)


def _under_name(prefix: str, weights: Weights) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in weights.items()}
