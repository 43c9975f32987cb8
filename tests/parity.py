"""What our networks compute at every stage, in the layout and under the names of the reference outputs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from spoofscope.networks import aasist, ssl_aasist, xlsr
from spoofscope.networks.aasist import logits
from spoofscope.networks.ssl_aasist_checkpoint import Checkpoint
from spoofscope.networks.workers import in_turn

Stages = dict[str, np.ndarray]


def ssl_aasist_stages(
    checkpoint: Checkpoint, clips: np.ndarray, *, prepare: Callable[[Any], Any] = lambda model: model, **options: Any
) -> Stages:
    """Run the whole network on (n, samples) clips and return each stage; `prepare` may change the encoder first."""
    model = prepare(xlsr.build_encoder(checkpoint.encoder, checkpoint.sizes, **options))
    weights = ssl_aasist.fold(checkpoint.back_end)
    found: Stages = {}
    with torch.inference_mode(), watched(model, found), recorded(ssl_aasist, "residual_block", "linear") as back_end:
        frames = model(torch.from_numpy(clips)).last_hidden_state
        x = ssl_aasist.first_map(frames, weights)
        padded = ssl_aasist.encode(x, weights)
        spectrum, time = ssl_aasist.pool_axes(padded, weights)
        found |= graph_stages(spectrum, time, weights, ssl_aasist.ARCHITECTURE)
    edge = ssl_aasist.EDGE
    found["frontend"] = frames.numpy()
    found["LL"], _, found["attention_w"] = (answer.numpy() for _, answer in back_end["linear"])
    found["attention_w"] = found["attention_w"].transpose(0, 3, 2, 1)
    found["encoder_in"] = x.numpy().transpose(0, 2, 1)[:, None]
    for index, (_, answer) in enumerate(back_end["residual_block"]):
        found[f"encoder{index}"] = answer[:, edge:-edge, 1:-1].numpy().transpose(0, 3, 2, 1)
    return found


def aasist_stages(state: Mapping[str, torch.Tensor], architecture: Any, clips: np.ndarray) -> Stages:
    """Run AASIST on (n, samples) clips, one at a time, and return each stage of its graphs."""
    weights = aasist.fold(state, architecture)
    with torch.inference_mode():
        each = [
            _graph(lambda clip=clip: aasist.hidden_layer(clip, weights, architecture, run=in_turn), weights)
            for clip in torch.from_numpy(clips).split(1)
        ]
    return {name: np.concatenate([stages[name] for stages in each]) for name in each[0]}


def graph_stages(spectrum: torch.Tensor, time: torch.Tensor, weights: Mapping[str, torch.Tensor], architecture: Any) -> Stages:
    """Run the graphs and return each of their stages."""
    return _graph(lambda: aasist.graph_head(spectrum, time, weights, architecture), weights)


def _graph(run: Callable[[], torch.Tensor], weights: Mapping[str, torch.Tensor]) -> Stages:
    found: Stages = {}
    with recorded(aasist, "graph_attention", "graph_pool", "mixed_attention") as calls:
        hidden = run()
    for kind, (arguments, answer) in zip("ST", calls["graph_attention"], strict=True):
        found[f"e_{kind}"], found[f"GAT_{kind}"] = arguments[0].numpy(), answer.numpy()
    pools = ("pool_S", "pool_T", "pool_hT1", "pool_hS1", "pool_hT2", "pool_hS2")
    found |= {name: answer.numpy() for name, (_, answer) in zip(pools, calls["graph_pool"], strict=True)}
    for name, (_, answers) in zip(("ST11", "ST12", "ST21", "ST22"), calls["mixed_attention"], strict=True):
        found |= {f"{name}_{part}": answer.numpy() for part, answer in zip(("T", "S", "master"), answers, strict=True)}
    return found | {"last_hidden": hidden.numpy(), "logits": logits(hidden, weights).numpy()}


@contextmanager
def watched(model: Any, found: Stages) -> Iterator[None]:
    """Keep the answers of the encoder's modules."""

    def keep(name: str, of: Callable[[Any, Any], Any] = lambda given, answer: answer) -> Callable[..., None]:
        def hook(module: Any, given: Any, answer: Any) -> None:
            value = of(given, answer)
            found[name] = (value[0] if isinstance(value, tuple) else value).numpy()

        return hook

    projection, encoder = model.feature_projection, model.encoder
    handles = [
        convolution.register_forward_hook(keep(f"conv{index}"))
        for index, convolution in enumerate(model.feature_extractor.conv_layers)
    ]
    handles += [
        projection.layer_norm.register_forward_hook(keep("layer_norm")),
        projection.projection.register_forward_hook(keep("post_extract_proj")),
        encoder.pos_conv_embed.register_forward_hook(keep("pos_conv")),
        encoder.layers[0].register_forward_hook(keep("hidden_0", lambda given, answer: given[0])),
    ]
    for index, layer in enumerate(encoder.layers):
        handles.append(layer.register_forward_hook(keep(f"hidden_{index + 1}")))
        handles.append(layer.attention.register_forward_hook(keep(f"attn{index}")))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recorded(module: Any, *names: str) -> Iterator[dict[str, list[tuple[Any, Any]]]]:
    """Keep (arguments, answer) of each call of some functions of a module."""
    calls: dict[str, list[tuple[Any, Any]]] = {name: [] for name in names}
    before = {name: getattr(module, name) for name in names}

    def recording(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            answer = before[name](*arguments, **options)
            calls[name].append((arguments, answer))
            return answer

        return call

    for name in names:
        setattr(module, name, recording(name))
    try:
        yield calls
    finally:
        for name in names:
            setattr(module, name, before[name])


def ssl_aasist_reference(outputs: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]:
    """Name each stage of the reference, with its values and how to cut ours to what was kept of it."""

    def first(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda ours: ours[: len(values)]

    reference: dict[str, tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]] = {}
    for name in outputs:
        values = outputs[name]
        if name.startswith("fe_conv"):
            reference[name[3:8]] = values, lambda ours: np.concatenate([ours[:1, :, :64], ours[:1, :, -8:]], axis=2)
        elif name.startswith("fe_"):
            reference[name[3:]] = values, first(values)
        elif name.startswith("enc_"):
            reference[name[4:]] = values, first(values)
        elif name.startswith("hidden_"):
            reference[name[:8]] = values, first(values)
        elif name.endswith("_output"):
            reference[name[:5]] = values, first(values)
        elif name.endswith("_clip0_every8ch"):
            reference[name[3:-15]] = values, lambda ours: ours[0, ::8]
        elif name in ("be_GAT_layer_S", "be_GAT_layer_T"):
            reference[f"GAT_{name[-1]}"] = values, first(values)
        elif name.startswith("be_") and name != "be_maxpool":
            reference[name[3:]] = values, first(values)
        elif name in ("frontend", "last_hidden", "logits"):
            reference[name] = values, first(values)
    return reference


def aasist_reference(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name each stage of the graphs of the reference of AASIST, whose pools of the mixed layers were not kept."""
    skipped = ("clips", "logits_f64", "last_hidden_f64", "band_pass", "mel_edges_hz", "conv_time_first32_last8")
    return {name: outputs[name] for name in outputs if name not in skipped and "clip0" not in name}
