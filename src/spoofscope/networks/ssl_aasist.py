"""SSL_Anti-spoofing's back end, which reads the frames of an XLS-R encoder.

The back end is AASIST's from the residual blocks on, with these differences: it hears 128 learnt features of each frame instead of 70
fixed bands; nothing is pooled between the blocks; a normalisation and a SELU follow them; the nodes of a graph are attention-weighted sums
over the other axis, where AASIST takes the largest magnitude; and every pool keeps half of its nodes.

References
----------
Tak et al., "Automatic speaker verification spoofing and deepfake detection using wav2vec 2.0 and data augmentation", Odyssey 2022,
https://arxiv.org/abs/2202.12233, and the published code at https://github.com/TakHemlata/SSL_Anti-spoofing.
"""

from __future__ import annotations

from collections.abc import Iterator

from spoofscope.networks.aasist import Architecture, fold_encoder, fold_graph, graph_head, graph_shapes
from spoofscope.networks.aasist_blocks import (
    EDGE,
    Tensor,
    Weights,
    linear,
    norm_scale_shift,
    padded_map,
    residual_block,
    selu,
    under,
)
from spoofscope.networks.checkpoint import Shape, block_shapes, linear_shapes, norm_shapes
from spoofscope.networks.workers import in_turn

FEATURES = 128
POOL = 3  # frames, and features, whose maximum becomes one
NODES = FEATURES // POOL
ARCHITECTURE = Architecture(channels=(32, 32, 64, 64, 64, 64), dims=(64, 32), ratios=(0.5, 0.5, 0.5))
ATTENTION = 128  # channels of the attention that weighs the axes
LEAST_SAMPLES = 1_040  # three frames, of which one pooled frame is made


def back_end_shapes(dim: int) -> Iterator[tuple[str, Shape]]:
    """Name the tensors of the back end behind an encoder of width `dim`, with their shapes."""
    channels = ARCHITECTURE.channels
    yield "pos_S", (1, NODES, channels[-1])
    yield from linear_shapes("LL", dim, FEATURES)
    yield from norm_shapes("first_bn", 1)
    yield from norm_shapes("first_bn1", channels[-1])
    for index, (inputs, outputs) in enumerate(zip((1, *channels[:-1]), channels, strict=True)):
        yield from block_shapes(f"encoder.{index}.0", inputs, outputs, first=index == 0)
    for index, (inputs, outputs) in ((0, (channels[-1], ATTENTION)), (3, (ATTENTION, channels[-1]))):
        yield f"attention.{index}.weight", (outputs, inputs, 1, 1)
        yield f"attention.{index}.bias", (outputs,)
    yield from norm_shapes("attention.2", ATTENTION)
    yield from graph_shapes(ARCHITECTURE)


def fold(state: Weights) -> dict[str, Tensor]:
    """Turn the back end of a checkpoint into the weights that `hidden_layer` takes."""
    state = {name: value.clone() for name, value in state.items()}  # out of a mapped file, where tensors begin anywhere
    scale, shift = norm_scale_shift(state, "first_bn")
    after_scale, after_shift = norm_scale_shift(state, "first_bn1")
    norm_scale, norm_shift = norm_scale_shift(state, "attention.2")
    second = state["attention.3.weight"][:, :, 0, 0]
    folded = {
        "first.scale": scale,
        "first.shift": shift,
        "after.scale": after_scale,
        "after.shift": after_shift,
        "attention1.weight": state["attention.0.weight"][:, :, 0, 0],
        "attention1.bias": state["attention.0.bias"],
        "attention2.weight": second * norm_scale,
        "attention2.bias": state["attention.3.bias"] + second @ norm_shift,
        "LL.weight": state["LL.weight"],
        "LL.bias": state["LL.bias"],
    }
    return folded | fold_encoder(state, len(ARCHITECTURE.channels)) | fold_graph(state)


def hidden_layer(frames: Tensor, weights: Weights) -> Tensor:
    """Return the last hidden layer, (n, 160), of the encoder's frames, (n, frames, dim)."""
    x = encode(first_map(frames, weights), weights)
    spectrum, time = pool_axes(x, weights)
    return graph_head(spectrum, time, weights, ARCHITECTURE)


def first_map(frames: Tensor, weights: Weights) -> Tensor:
    """Project each frame to 128 features, keep the largest of each 3 x 3, and normalise: (n, frames // 3, 42)."""
    x = linear(frames, weights, "LL")
    x = x[:, : x.shape[1] // POOL * POOL, : NODES * POOL].unflatten(2, (NODES, POOL)).unflatten(1, (-1, POOL))
    return selu(x.amax(dim=(2, 4)) * weights["first.scale"] + weights["first.shift"])


def encode(x: Tensor, weights: Weights) -> Tensor:
    """Apply the six residual blocks: (n, time, 42) to a padded map, (n, 2 + time + 2, 1 + 42 + 1, 64)."""
    _, time, nodes = x.shape
    padded = padded_map(x, time, nodes, 1)
    padded[:, EDGE:-EDGE, 1:-1, 0] = x
    for index in range(len(ARCHITECTURE.channels)):
        padded = residual_block(padded, under(weights, f"encoder.{index}."), pool=1, stretch=time, run=in_turn)
    return padded


def pool_axes(padded: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """Weigh each axis by attention over the other: (n, 42, 64) spectral nodes without positions, (n, time, 64) temporal ones."""
    x = selu(padded[:, EDGE:-EDGE, 1:-1] * weights["after.scale"] + weights["after.shift"])
    attention = linear(selu(linear(x, weights, "attention1")), weights, "attention2")
    return (x * attention.softmax(dim=1)).sum(dim=1), (x * attention.softmax(dim=2)).sum(dim=2)
