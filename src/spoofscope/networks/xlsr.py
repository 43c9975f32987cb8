"""XLS-R, the wav2vec 2.0 encoder, from the tensors of a fairseq checkpoint: names, shapes, and the same sums.

Conventions
-----------
The encoder is `transformers`' `Wav2Vec2Model`, built from a configuration written here: nothing is looked up on a hub. fairseq and
`transformers` name the same tensors differently; `remap` turns one into the other and drops what only pre-training needs. XLS-R is the
"stable layer norm" form of wav2vec 2.0 (norms before attention and feed-forward, biases and layer norms in the convolutions): the other
form takes the same tensors without complaint and computes something else, so the form is fixed here and not read from a checkpoint.

References
----------
Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations", arXiv:2006.11477.
Babu et al., "XLS-R: Self-supervised Cross-lingual Speech Representation Learning at Scale", arXiv:2111.09296.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spoofscope.networks.aasist_blocks import Tensor
from spoofscope.networks.checkpoint import Shape, linear_shapes

STRIDES = (5, 2, 2, 2, 2, 2, 2)
POSITION_TAPS = 128
POSITION_GROUPS = 16
RECEPTIVE_FIELD = 400  # samples of one frame


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes in which encoders of this form differ.

    Parameters
    ----------
    layers, dim, inner, heads : int
        Transformer layers, their width, the width of their feed-forward parts, and attention heads.
    channels, kernels : tuple of int
        Of the seven convolutions.
    """

    layers: int
    dim: int
    inner: int
    heads: int
    channels: tuple[int, ...] = (512,) * 7
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)


XLSR_300M = Sizes(layers=24, dim=1024, inner=4096, heads=16)

# Tensors that only pre-training needs, by the name of what they are.
PRETRAINING = {
    "quantizer": "the product quantiser of the contrastive targets",
    "project_q": "the projection of the quantised targets",
    "final_proj": "the projection that is compared with the targets",
}

_RULES = [
    (r"mask_emb", "masked_spec_embed"),
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.(weight|bias)", r"feature_extractor.conv_layers.\1.conv.\2"),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.1\.(weight|bias)", r"feature_extractor.conv_layers.\1.layer_norm.\2"),
    (r"layer_norm\.(weight|bias)", r"feature_projection.layer_norm.\1"),
    (r"post_extract_proj\.(weight|bias)", r"feature_projection.projection.\1"),
    (r"encoder\.pos_conv\.0\.bias", "encoder.pos_conv_embed.conv.bias"),
    (r"encoder\.pos_conv\.0\.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"encoder\.pos_conv\.0\.weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"encoder\.layers\.(\d+)\.self_attn\.([qkv]|out)_proj\.(weight|bias)", r"encoder.layers.\1.attention.\2_proj.\3"),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.(weight|bias)", r"encoder.layers.\1.layer_norm.\2"),
    (r"encoder\.layers\.(\d+)\.fc1\.(weight|bias)", r"encoder.layers.\1.feed_forward.intermediate_dense.\2"),
    (r"encoder\.layers\.(\d+)\.fc2\.(weight|bias)", r"encoder.layers.\1.feed_forward.output_dense.\2"),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.(weight|bias)", r"encoder.layers.\1.final_layer_norm.\2"),
    (r"encoder\.layer_norm\.(weight|bias)", r"encoder.layer_norm.\1"),
]


def fairseq_shapes(sizes: Sizes, *, pretraining: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    """Name the tensors of a fairseq checkpoint, with their shapes; those of pre-training are passed in, since nothing uses them."""
    yield "mask_emb", (sizes.dim,)
    inputs = 1
    for index, (channels, kernel) in enumerate(zip(sizes.channels, sizes.kernels, strict=True)):
        name = f"feature_extractor.conv_layers.{index}"
        yield f"{name}.0.weight", (channels, inputs, kernel)
        yield f"{name}.0.bias", (channels,)
        yield from _pair(f"{name}.2.1", channels)
        inputs = channels
    yield from linear_shapes("post_extract_proj", inputs, sizes.dim)
    yield from pretraining.items()
    yield "encoder.pos_conv.0.bias", (sizes.dim,)
    yield "encoder.pos_conv.0.weight_g", (1, 1, POSITION_TAPS)
    yield "encoder.pos_conv.0.weight_v", (sizes.dim, sizes.dim // POSITION_GROUPS, POSITION_TAPS)
    for index in range(sizes.layers):
        name = f"encoder.layers.{index}"
        for part in "kvq":
            yield from linear_shapes(f"{name}.self_attn.{part}_proj", sizes.dim, sizes.dim)
        yield from linear_shapes(f"{name}.self_attn.out_proj", sizes.dim, sizes.dim)
        yield from _pair(f"{name}.self_attn_layer_norm", sizes.dim)
        yield from linear_shapes(f"{name}.fc1", sizes.dim, sizes.inner)
        yield from linear_shapes(f"{name}.fc2", sizes.inner, sizes.dim)
        yield from _pair(f"{name}.final_layer_norm", sizes.dim)
    yield from _pair("encoder.layer_norm", sizes.dim)
    yield from _pair("layer_norm", inputs)


def _pair(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    yield from ((f"{name}.{part}", (channels,)) for part in ("weight", "bias"))


def is_pretraining(name: str) -> bool:
    """Say whether a fairseq tensor is one of those that only pre-training needs; see `PRETRAINING`."""
    return name.partition(".")[0] in PRETRAINING


def remap(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of a fairseq encoder the names of `Wav2Vec2Model`, dropping those of pre-training.

    Raises
    ------
    KeyError
        If no rule fits a name; callers compare with `fairseq_shapes` first.
    """
    return {_renamed(name): value for name, value in state.items() if not is_pretraining(name)}


def _renamed(name: str) -> str:
    for pattern, replacement in _RULES:
        if found := re.fullmatch(pattern, name):
            return found.expand(replacement)
    raise KeyError(name)


def sizes_of(state: Mapping[str, Tensor], *, heads: int | None = None) -> Sizes:
    """Read the sizes of a fairseq encoder off its tensors.

    `heads` is not written in them: unless given it is 16, which the published XLS-R models of 0.3 to 2 billion parameters have.
    Whatever cannot be read is taken as in XLS-R 300M, so that a comparison of shapes then says what is missing.
    """

    def shape(name: str, otherwise: Shape) -> Shape:
        return tuple(state[name].shape) if name in state else otherwise

    layers = {found[1] for name in state if (found := re.match(r"encoder\.layers\.(\d+)\.", name))}
    kernels = [
        shape(f"feature_extractor.conv_layers.{index}.0.weight", (channels, 0, kernel))
        for index, (channels, kernel) in enumerate(zip(XLSR_300M.channels, XLSR_300M.kernels, strict=True))
    ]
    return Sizes(
        layers=len(layers) or XLSR_300M.layers,
        dim=shape("post_extract_proj.weight", (XLSR_300M.dim,))[0],
        inner=shape("encoder.layers.0.fc1.weight", (XLSR_300M.inner,))[0],
        heads=XLSR_300M.heads if heads is None else heads,
        channels=tuple(kernel[0] for kernel in kernels),
        kernels=tuple(kernel[-1] for kernel in kernels),
    )


def encoder_shapes(sizes: Sizes) -> dict[str, Shape]:
    """Return the name and shape of every tensor of a remapped encoder."""
    named = ((name, shape) for name, shape in fairseq_shapes(sizes, pretraining={}))
    return {_renamed(name): shape for name, shape in named}


def build_encoder(state: Mapping[str, Tensor], sizes: Sizes, *, attention: str = "eager") -> Any:
    """Return a `Wav2Vec2Model` for inference that holds these tensors; the large ones are not copied.

    Parameters
    ----------
    state : mapping of str to tensor
        As `remap` returns it.
    attention : {"eager", "sdpa"}
        How attention is computed: product by product, or by `scaled_dot_product_attention`.
    """
    import torch
    from torch.nn.utils.parametrize import remove_parametrizations
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=sizes.dim,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        do_stable_layer_norm=True,
        feat_extract_norm="layer",
        feat_extract_activation="gelu",
        conv_dim=sizes.channels,
        conv_kernel=sizes.kernels,
        conv_stride=STRIDES,
        conv_bias=True,
        num_conv_pos_embeddings=POSITION_TAPS,
        num_conv_pos_embedding_groups=POSITION_GROUPS,
        attn_implementation=attention,
    )
    with torch.device("meta"):
        model = Wav2Vec2Model(config)
    # A tensor in a mapped file begins anywhere, and where it begins can change how a sum is rounded: the small ones, which are
    # used as they lie, are copied to where PyTorch would put them.
    placed = {name: value if _is_product(name) else value.clone() for name, value in state.items()}
    model.load_state_dict(placed, strict=True, assign=True)
    # The norm of the positional kernel is the same for every input: computed once.
    remove_parametrizations(model.encoder.pos_conv_embed.conv, "weight")
    return model.eval().requires_grad_(False)


def _is_product(name: str) -> bool:
    return name.startswith("encoder.layers.") and name.endswith(("_proj.weight", "_dense.weight"))
