"""SSL_Anti-spoofing against the original code: every stage of a small model, the full-size key list, and each known mistake planted."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spoofscope.detectors import build_detector
from spoofscope.embedders import build_embedder
from tests.shared import SHARED, needs_shared

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from spoofscope.networks import aasist, aasist_blocks, linear, ssl_aasist, xlsr  # noqa: E402
from spoofscope.networks.aasist import logits  # noqa: E402
from spoofscope.networks.checkpoint import read_state  # noqa: E402
from spoofscope.networks.convolution import channels_innermost  # noqa: E402
from spoofscope.networks.ssl_aasist_checkpoint import Checkpoint, convert, open_checkpoint  # noqa: E402
from tests.parity import ssl_aasist_reference, ssl_aasist_stages  # noqa: E402

pytestmark = needs_shared

TINY = SHARED / "golden/ssl_aasist_tiny"
HEADS = 4
TOLERANCE = 1e-4
FRONT_END = 3e-5
FRONT_STAGES = ("conv", "layer_norm", "post_extract_proj", "pos_conv", "hidden_", "attn", "frontend")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return open_checkpoint(TINY / "tiny_LA_model.pth", "ssl_aasist", heads=HEADS)


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    with np.load(TINY / "inputs.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def outputs() -> dict[str, np.ndarray]:
    with np.load(TINY / "outputs.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def clips(inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([inputs[name] for name in outputs["clips"]])


def as_used(model: Any) -> Any:
    """Lay an encoder out as the detector does on a CPU."""
    return linear.pack(channels_innermost(model))


def network(checkpoint: Checkpoint, audio: np.ndarray, prepare: Callable[[Any], Any] = as_used) -> np.ndarray:
    """Return the logits of (n, samples) audio of any length."""
    model = prepare(xlsr.build_encoder(checkpoint.encoder, checkpoint.sizes))
    weights = ssl_aasist.fold(checkpoint.back_end)
    with torch.inference_mode():
        frames = model(torch.from_numpy(audio)).last_hidden_state
        return logits(ssl_aasist.hidden_layer(frames, weights), weights).numpy()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("prepare", [lambda model: model, as_used], ids=["plain", "as used"])
@pytest.mark.parametrize("batch", [1, 5])
def test_every_stage_is_that_of_the_original_code(checkpoint, clips, outputs, attention, prepare, batch) -> None:
    parts = [
        ssl_aasist_stages(checkpoint, clips[at : at + batch], prepare=prepare, attention=attention) for at in range(0, 5, batch)
    ]
    ours = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    reference = ssl_aasist_reference(outputs)
    assert set(ours) == set(reference)
    assert len(reference) == 51
    for name, (values, kept) in reference.items():
        tolerance = FRONT_END if name.startswith(FRONT_STAGES) else TOLERANCE
        np.testing.assert_allclose(kept(ours[name]), values, rtol=0, atol=tolerance, err_msg=name)


def test_the_answers_stand_as_near_to_those_of_double_precision(checkpoint, clips, outputs) -> None:
    np.testing.assert_allclose(network(checkpoint, clips), outputs["logits_f64"], rtol=0, atol=TOLERANCE)


def test_other_lengths_than_the_window_are_those_of_the_original_code(checkpoint, inputs, outputs) -> None:
    long, short = inputs["other_len_80000"][None], inputs["short_raw"][None]
    np.testing.assert_allclose(network(checkpoint, long), outputs["other_len_80000_logits"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(network(checkpoint, short), outputs["short_raw_unpadded_logits"], rtol=0, atol=TOLERANCE)
    least = np.resize(inputs["noise"], (1, ssl_aasist.LEAST_SAMPLES))
    assert np.isfinite(network(checkpoint, least)).all()


def test_the_detector_scores_the_bona_fide_logit_of_the_repeated_clip(inputs, outputs) -> None:
    batch = [inputs[name] for name in outputs["clips"]]
    detector = build_detector("ssl_aasist", str(TINY / "tiny_LA_model.pth"), heads=HEADS)
    np.testing.assert_allclose(detector.score(batch), outputs["score_bonafide_logit"], rtol=0, atol=TOLERANCE)
    assert detector.score([inputs["short_raw"]]) == detector.score([inputs["short_padded"]])
    assert detector.score([inputs["other_len_80000"]]) == detector.score([inputs["other_len_80000"][:64_600]])
    difference = build_detector("ssl_aasist", str(TINY / "tiny_LA_model.pth"), heads=HEADS, score="difference")
    expected = outputs["logits"][:, 1] - outputs["logits"][:, 0]
    np.testing.assert_allclose(difference.score(batch), expected, rtol=0, atol=2 * TOLERANCE)
    assert "minus" in difference.card.output and "minus" not in detector.card.output


# ---- each known mistake, planted ----------------------------------------------------------------------------------------


def plain_block(x: Any, weights: dict[str, Any], *, mistaken: bool) -> Any:
    """The residual block op for op, on (n, channels, nodes, time); `mistaken` feeds the first norm's answer on."""
    from torch.nn import functional as F

    def norm(values: Any, name: str) -> Any:
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        return F.batch_norm(values, mean, variance, weights[f"{name}.weight"], weights[f"{name}.bias"])

    heard = F.selu(norm(x, "bn1")) if mistaken and "bn1.weight" in weights else x
    y = F.conv2d(heard, weights["conv1.weight"], weights["conv1.bias"], padding=(1, 1))
    y = F.conv2d(F.selu(norm(y, "bn2")), weights["conv2.weight"], weights["conv2.bias"], padding=(0, 1))
    if "conv_downsample.weight" in weights:
        x = F.conv2d(x, weights["conv_downsample.weight"], weights["conv_downsample.bias"], padding=(0, 1))
    return y + x


def with_plain_blocks(patch: pytest.MonkeyPatch, checkpoint: Checkpoint, *, mistaken: bool) -> None:
    def encode(x: Any, weights: Any) -> Any:
        y = x.transpose(1, 2)[:, None]
        for index in range(6):
            y = plain_block(y, aasist_blocks.under(checkpoint.back_end, f"encoder.{index}.0."), mistaken=mistaken)
        y = y.permute(0, 3, 2, 1)
        padded = ssl_aasist.padded_map(y, y.shape[1], y.shape[2], y.shape[3])
        padded[:, 2:-2, 1:-1] = y
        return padded

    patch.setattr(ssl_aasist, "encode", encode)


def small_epsilon(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-12
    return model


def tanh_gelu(where: Callable[[Any], list[Any]]) -> Callable[[Any], Any]:
    def change(model: Any) -> Any:
        for owner, name in where(model):
            setattr(owner, name, torch.nn.GELU(approximate="tanh"))
        return model

    return change


def feed_forwards(model: Any) -> list[Any]:
    return [(layer.feed_forward, "intermediate_act_fn") for layer in model.encoder.layers]


def every_gelu(model: Any) -> list[Any]:
    convolutions = [(layer, "activation") for layer in model.feature_extractor.conv_layers]
    return [*feed_forwards(model), *convolutions, (model.encoder.pos_conv_embed, "activation")]


def first_frame_dropped(model: Any) -> Any:
    model.encoder.pos_conv_embed.padding.register_forward_hook(lambda module, given, answer: given[0][:, :, 1:])
    return model


def no_final_norm(model: Any) -> Any:
    model.encoder.layer_norm = torch.nn.Identity()
    return model


def norms_after(model: Any) -> Any:
    from transformers import Wav2Vec2Model

    config = type(model.config)(**(model.config.to_dict() | {"do_stable_layer_norm": False}))
    other = Wav2Vec2Model(config)
    torch.nn.utils.parametrize.remove_parametrizations(other.encoder.pos_conv_embed.conv, "weight")
    other.load_state_dict(model.state_dict(), strict=True)  # without any complaint
    return other.eval()


ENCODER_MISTAKES = {
    "layer norm epsilon 1e-12": small_epsilon,
    "tanh GELU in the feed-forward parts": tanh_gelu(feed_forwards),
    "tanh GELU everywhere": tanh_gelu(every_gelu),
    "the first frame of the positions dropped": first_frame_dropped,
    "no final norm": no_final_norm,
    "norms after the layers": norms_after,
}


@pytest.mark.parametrize("mistake", ENCODER_MISTAKES)
def test_a_mistake_in_the_encoder_is_caught(checkpoint, clips, outputs, mistake) -> None:
    wrong = network(checkpoint, clips, ENCODER_MISTAKES[mistake])
    assert np.abs(wrong - outputs["logits"]).max() > 3 * TOLERANCE


def top_k_in_node_order(patch: pytest.MonkeyPatch) -> None:
    topk = torch.Tensor.topk

    def sorted_topk(scores: Any, count: int, dim: int) -> Any:
        return type("Found", (), {"indices": topk(scores, count, dim=dim).indices.sort(dim=dim).values})

    patch.setattr(torch.Tensor, "topk", sorted_topk)


def separate_attention_weights(patch: pytest.MonkeyPatch) -> None:
    mixed = aasist_blocks.mixed_attention

    def changed(time: Any, spectrum: Any, master: Any, weights: Any, **options: Any) -> Any:
        return mixed(time, spectrum, master, {**weights, "att_weight12": weights["att_weight22"]}, **options)

    patch.setattr(aasist, "mixed_attention", changed)


def architecture(**changes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(
        ssl_aasist, "ARCHITECTURE", aasist.Architecture(**vars(ssl_aasist.ARCHITECTURE) | changes)
    )


BACK_END_MISTAKES = {
    "nodes kept in their own order": top_k_in_node_order,
    "own attention weights in each direction": separate_attention_weights,
    "temperature 1 between the kinds of nodes": lambda patch: patch.setattr(aasist, "MIXED_TEMPERATURE", 1.0),
    "temperature 100 within a kind": lambda patch: patch.setattr(aasist, "GRAPH_TEMPERATURE", 100.0),
    "AASIST's share of temporal nodes": architecture(ratios=(0.5, 0.7, 0.5)),
    "another share in the mixed pools": architecture(ratios=(0.5, 0.5, 0.4)),
    "ELU for SELU": lambda patch: (
        patch.setattr(ssl_aasist, "selu", torch.nn.functional.elu),
        patch.setattr(aasist_blocks, "selu", torch.nn.functional.elu),
    ),
}


@pytest.mark.parametrize("mistake", BACK_END_MISTAKES)
def test_a_mistake_in_the_back_end_is_caught(checkpoint, clips, outputs, mistake, monkeypatch) -> None:
    BACK_END_MISTAKES[mistake](monkeypatch)
    assert np.abs(network(checkpoint, clips) - outputs["logits"]).max() > 3 * TOLERANCE


def test_a_first_norm_that_takes_effect_is_caught(checkpoint, clips, outputs, monkeypatch) -> None:
    with_plain_blocks(monkeypatch, checkpoint, mistaken=False)
    np.testing.assert_allclose(network(checkpoint, clips), outputs["logits"], rtol=0, atol=TOLERANCE)
    with_plain_blocks(monkeypatch, checkpoint, mistaken=True)
    assert np.abs(network(checkpoint, clips) - outputs["logits"]).max() > 1


@pytest.mark.parametrize("change", [lambda x: (x - x.mean()) / x.std(), lambda x: x * 32_768], ids=["normalised", "int16"])
def test_another_level_of_the_waveform_is_caught(checkpoint, clips, outputs, change) -> None:
    wrong = network(checkpoint, np.stack([change(clip) for clip in clips]).astype(np.float32))
    assert np.abs(wrong - outputs["logits"]).max() > 1


# ---- the tensors -------------------------------------------------------------------------------------------------------


def test_every_tensor_arrives_under_its_new_name_whatever_the_logits_say(checkpoint) -> None:
    state = read_state(TINY / "tiny_LA_model.safetensors")
    prefix = "ssl_model.model."
    encoder = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    dropped = [name for name in encoder if xlsr.is_pretraining(name)]
    assert len(dropped) == 7
    assert len(checkpoint.encoder) + len(checkpoint.back_end) == len(state) - len(dropped)
    for name, value in xlsr.remap(encoder).items():
        assert torch.equal(checkpoint.encoder[name], value), name
    for name, value in checkpoint.back_end.items():
        assert torch.equal(state[name], value), name


FULL_SIZE = """
import json, resource, sys
from pathlib import Path
import numpy as np, torch
from spoofscope.networks import xlsr
from spoofscope.detectors.ssl_aasist import SslAasist
from spoofscope.networks.ssl_aasist_checkpoint import convert, open_checkpoint

keys, folder = json.load(open(sys.argv[1]))["keys"], Path(sys.argv[2])
torch.manual_seed(0)
state = {}
for entry in keys:
    shape, name = entry["shape"], entry["key"]
    if entry["dtype"] == "int64":
        state[name] = torch.tensor(7)
    else:
        state[name] = torch.randn(shape) * 0.02 + (1.0 if name.endswith(("running_var", "norm.weight", "weight_g")) else 0.0)
parameters = [value.numel() for name, value in state.items() if "running_" not in name and value.is_floating_point()]
assert len(state) == 674 and sum(parameters) == 317_837_834
torch.save(state, folder / "LA_model.pth")
del state
checkpoint = open_checkpoint(folder / "LA_model.pth", "ssl_aasist.la21", sizes=xlsr.XLSR_300M)
assert xlsr.sizes_of({}) == checkpoint.sizes
model = xlsr.build_encoder(checkpoint.encoder, checkpoint.sizes)  # strict: nothing missing, nothing unexpected
del model, checkpoint
convert(folder / "LA_model.pth", folder / "converted.safetensors")
audio = np.random.default_rng(0).normal(0, 0.1, 64_600).astype(np.float32)
scores = [SslAasist(weights=folder / name).score([audio])[0].item() for name in ("LA_model.pth", "converted.safetensors")]
assert scores[0] == scores[1] and np.isfinite(scores[0])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_the_full_size_checkpoint_loads_without_a_missing_or_unexpected_key_in_six_gibibytes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_SIZE, str(SHARED / "golden/LA_model_keys.json"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 6


def test_the_key_list_of_the_published_checkpoint_is_ours_in_names_and_shapes() -> None:
    keys = {
        entry["key"]: tuple(entry["shape"]) for entry in json.loads((SHARED / "golden/LA_model_keys.json").read_text())["keys"]
    }
    prefix = "ssl_model.model."
    pretraining = {
        name.removeprefix(prefix): shape
        for name, shape in keys.items()
        if name.startswith(prefix) and xlsr.is_pretraining(name.removeprefix(prefix))
    }
    assert len(pretraining) == 7
    ours = {prefix + name: shape for name, shape in xlsr.fairseq_shapes(xlsr.XLSR_300M, pretraining=pretraining)}
    assert ours | dict(ssl_aasist.back_end_shapes(1024)) == keys


def test_converted_weights_give_the_same_bits(tmp_path: Path, inputs) -> None:
    convert(TINY / "tiny_LA_model.pth", tmp_path / "tiny.safetensors", heads=HEADS)
    published = build_detector("ssl_aasist", str(TINY / "tiny_LA_model.pth"), heads=HEADS)
    converted = build_detector("ssl_aasist", str(tmp_path / "tiny.safetensors"))
    assert converted.score([inputs["noise"]]) == published.score([inputs["noise"]])
    assert converted.card.weights_sha256 == published.card.weights_sha256


def test_pooled_layers_are_the_means_of_the_original_codes_hidden_states(clips, outputs) -> None:
    embedder = build_embedder("ssl_aasist.encoder", str(TINY / "tiny_LA_model.pth"), heads=HEADS, window="detector")
    vectors = embedder.embed(list(clips))
    assert embedder.layers == ("0", "1", "2", "3", "final")
    for name in outputs:
        if name.startswith("hidden_"):
            at = embedder.layers.index(name[7])
            np.testing.assert_allclose(vectors[:2, at], outputs[name].mean(axis=1), rtol=0, atol=FRONT_END)
    np.testing.assert_allclose(vectors[:, 4], outputs["frontend"].mean(axis=1), rtol=0, atol=FRONT_END)
