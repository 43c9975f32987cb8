"""The RawGAT-ST network, whose spectral and temporal graphs are multiplied, from a waveform to its last hidden layer.

It is AASIST's predecessor: the same band-pass filters and residual blocks, but an encoder of its own for each of the two graphs, attention
without a temperature, and two projections that bring the kept nodes to one number, so that the graphs can be multiplied node by node.

References
----------
Tak et al., "End-to-End Spectro-Temporal Graph Attention Networks for Speaker Verification Anti-Spoofing and Speech Deepfake Detection",
ASVspoof 2021 workshop, https://arxiv.org/abs/2107.12710, and the published code at https://github.com/eurecom-asp/RawGAT-ST-antispoofing.
"""

from __future__ import annotations

from collections.abc import Iterator

from spoofscope.networks.aasist import encode, fold_encoder, fold_front_end, front_end
from spoofscope.networks.aasist_blocks import Run, Tensor, Weights, fold_attention, graph_attention, graph_pool, linear, under
from spoofscope.networks.checkpoint import Shape, attention_shapes, block_shapes, linear_shapes, norm_shapes

CHANNELS = (32, 32, 64, 64, 64, 64)
SAMPLES = 64_600  # the only length that leaves as many frames as the temporal projection was made for
GRAPH_DIM, MIXED_DIM = 32, 16
GRAPHS = (("1", CHANNELS[-1], GRAPH_DIM), ("2", CHANNELS[-1], GRAPH_DIM), ("3", GRAPH_DIM, MIXED_DIM))
SPECTRAL_SHARE, TEMPORAL_SHARE, MIXED_SHARE = 0.64, 0.81, 0.64
SPECTRAL_NODES, TEMPORAL_NODES, MIXED_NODES = 14, 23, 7  # kept: of 23 bands, of 29 frames, of the 12 that both are projected to
PROJECTED_NODES = 12
HIDDEN_DIM = MIXED_NODES * MIXED_DIM


def expected_shapes() -> dict[str, Shape]:
    """Return the name and shape of every tensor of the published checkpoint."""
    return dict(_shapes())


def _shapes() -> Iterator[tuple[str, Shape]]:
    yield from norm_shapes("first_bn", 1)
    for encoder in ("encoder1", "encoder2"):
        for index, (inputs, outputs) in enumerate(zip((CHANNELS[0], *CHANNELS[:-1]), CHANNELS, strict=True)):
            for name, shape in block_shapes(f"{encoder}.{index}.0", inputs, outputs, first=index == 0):
                if index or ".conv1." not in name:
                    yield name, shape
            yield f"{encoder}.{index}.0.conv_1.weight", (outputs, 1, 2, 3)
            yield f"{encoder}.{index}.0.conv_1.bias", (outputs,)
    for number, inputs, outputs in GRAPHS:
        yield from attention_shapes(f"GAT_layer{number}", inputs, outputs)
        yield from linear_shapes(f"pool{number}.proj", outputs, 1)
    yield from linear_shapes("proj1", SPECTRAL_NODES, PROJECTED_NODES)
    yield from linear_shapes("proj2", TEMPORAL_NODES, PROJECTED_NODES)
    yield from linear_shapes("proj", MIXED_DIM, 1)
    yield from linear_shapes("proj_node", MIXED_NODES, 2)


def fold(state: Weights) -> dict[str, Tensor]:
    """Turn the published state dict into the weights that `hidden_layer` and `logits` take.

    Every published block carries a convolution of one channel, `conv_1`; only the first block of an encoder uses it.
    """
    state = {name.replace(".0.0.conv_1.", ".0.0.conv1."): value for name, value in state.items()}
    folded = fold_front_end(state)
    for encoder in ("encoder1", "encoder2"):
        folded |= fold_encoder(state, len(CHANNELS), name=encoder)
    for number, _, _ in GRAPHS:
        attention = fold_attention(under(state, f"GAT_layer{number}."))
        folded |= {f"GAT_layer{number}.{name}": value for name, value in attention.items()}
    return folded | {name: value for name, value in state.items() if name.startswith(("pool", "proj"))}


def hidden_layer(audio: Tensor, weights: Weights, *, run: Run, whole: bool = False) -> Tensor:
    """Return the last hidden layer, (n, 7 * 16): the nodes that the mixed graph keeps of (n, 64,600) audio.

    What follows is linear. `run` is given independent stretches of time; `whole` asks for one stretch, which suits a graphics processor.
    """
    x = front_end(audio, weights, run=run, whole=whole)
    spectrum, time = (encode(x, under(weights, f"encoder{i}."), len(CHANNELS), run=run, whole=whole) for i in "12")
    spectrum = _graph(spectrum.amax(dim=1), weights, "1", SPECTRAL_SHARE)
    time = _graph(time.amax(dim=2), weights, "2", TEMPORAL_SHARE)
    both = _project(spectrum, weights, "proj1") * _project(time, weights, "proj2")
    return _graph(both, weights, "3", MIXED_SHARE).flatten(1)


def logits(hidden: Tensor, weights: Weights) -> Tensor:
    """Return (n, 2) logits of the last hidden layer: index 0 is spoof, index 1 bona fide."""
    nodes = linear(hidden.unflatten(1, (MIXED_NODES, MIXED_DIM)), weights, "proj").squeeze(-1)
    return linear(nodes, weights, "proj_node")


def _graph(nodes: Tensor, weights: Weights, number: str, share: float) -> Tensor:
    """Let the nodes of one graph attend to each other, and keep a share of them."""
    nodes = graph_attention(nodes, under(weights, f"GAT_layer{number}."), temperature=1.0)
    return graph_pool(nodes, under(weights, f"pool{number}."), ratio=share)


def _project(nodes: Tensor, weights: Weights, name: str) -> Tensor:
    """Mix the nodes of a graph into twelve: (n, nodes, dim) to (n, 12, dim)."""
    return linear(nodes.transpose(1, 2), weights, name).transpose(1, 2)
