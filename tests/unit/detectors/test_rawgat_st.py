"""The RawGAT-ST detector with random weights: contract, invariances, options and refusals; no download needed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spoofscope.audio import Audio
from spoofscope.detectors import card_of
from spoofscope.detectors.rawgat_st import RawgatStMulLa19
from spoofscope.errors import RecipeError, WeightsError
from spoofscope.fetch import sha256_of
from spoofscope.networks.rawgat_st import expected_shapes

torch = pytest.importorskip("torch")

LEARNED = ("weight", "bias", "att_weight")


def random_state(seed: int = 0) -> dict[str, "torch.Tensor"]:
    """Return tensors of the right names and shapes, scaled so that no layer dies or explodes and no gate shuts."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in expected_shapes().items():
        fan_in = max(1, int(np.prod(shape[1:])))
        value = torch.randn(shape, generator=generator) / fan_in**0.5
        if name.startswith(("GAT_layer1", "GAT_layer2")) and "proj" in name:
            value *= 0.1
        is_scale = ("bn" in name and name.endswith(".weight")) or name.endswith("running_var")
        state[name] = value.abs() * 0.5 + 0.5 if is_scale else value
    return state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(random_state(), path)
    return path


def build(checkpoint: Path, **options: object) -> RawgatStMulLa19:
    """Build the detector from a checkpoint of ours, trusting its digest."""
    card = replace(RawgatStMulLa19.card, weights_sha256=sha256_of(checkpoint))
    trusting = type("Trusting", (RawgatStMulLa19,), {"card": card})
    return trusting(weights=checkpoint, **options)


@pytest.fixture(scope="module")
def batch() -> list[Audio]:
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.1, n).astype(np.float32) for n in (64_600, 9_000, 70_000, 1)]


def test_scores_are_the_same_to_the_last_bit_whatever_the_batch_its_order_and_the_threads(
    checkpoint: Path, batch: list[Audio]
) -> None:
    scores = build(checkpoint, threads=2).score(batch)
    assert scores.dtype == np.float32 and scores.shape == (4,) and np.isfinite(scores).all()
    assert len(set(scores.tolist())) == 4
    for threads in (1, 3):
        other = build(checkpoint, threads=threads)
        np.testing.assert_array_equal(other.score(batch[::-1])[::-1], scores)
        np.testing.assert_array_equal(other.score(batch[1:2]), scores[1:2])


def test_the_score_is_the_second_logit_and_a_linear_function_of_the_embedding(checkpoint: Path, batch: list[Audio]) -> None:
    detector, state = build(checkpoint), random_state()
    logits, embedding = detector.logits(batch), detector.embed(batch)
    assert logits.shape == (4, 2) and embedding.shape == (4, 1, detector.dim) and embedding.dtype == np.float32
    np.testing.assert_array_equal(detector.score(batch), logits[:, 1])
    readout = torch.einsum("cn,d->cnd", state["proj_node.weight"], state["proj.weight"][0]).flatten(1)
    shift = state["proj_node.bias"] + state["proj_node.weight"].sum(dim=1) * state["proj.bias"]
    np.testing.assert_allclose(logits, embedding[:, 0] @ readout.T.numpy() + shift.numpy(), atol=1e-5)


def test_only_the_first_window_is_heard_and_a_short_recording_is_repeated(checkpoint: Path, batch: list[Audio]) -> None:
    detector = build(checkpoint)
    whole, short, long, _ = batch
    changed = np.concatenate([long[:64_600], -long[64_600:]])
    assert detector.score([changed])[0] == detector.score([long])[0]
    assert detector.score([np.tile(short, 8)[:64_600]])[0] == detector.score([short])[0]
    assert detector.score([np.roll(whole, 5)])[0] != detector.score([whole])[0]


def test_scoring_leaves_its_input_and_the_callers_threads_alone(checkpoint: Path, batch: list[Audio]) -> None:
    copies, before = [audio.copy() for audio in batch], torch.get_num_threads()
    build(checkpoint, threads=3).score(batch)
    assert torch.get_num_threads() == before
    for audio, copy in zip(batch, copies, strict=True):
        np.testing.assert_array_equal(audio, copy)


def test_an_empty_batch_has_no_scores(checkpoint: Path) -> None:
    detector = build(checkpoint, threads=1)
    assert detector.score([]).shape == (0,)
    assert detector.embed([]).shape == (0, 1, detector.dim)


def test_the_expected_checkpoint_has_the_published_size() -> None:
    shapes = expected_shapes()
    learned = {name: int(np.prod(shape)) for name, shape in shapes.items() if name.split(".")[-1] in LEARNED}
    unused = sum(size for name, size in learned.items() if ".conv_1." in name and ".0.0." not in name)
    assert len(shapes) == 237
    assert sum(learned.values()) == 440_810
    assert sum(learned.values()) - unused == 436_778


def saved(state: Mapping[str, object], folder: Path) -> Path:
    torch.save(dict(state), folder / "other.pth")
    return folder / "other.pth"


def test_a_checkpoint_of_another_model_is_refused_naming_what_differs(tmp_path: Path) -> None:
    misshapen = random_state() | {"proj1.weight": torch.zeros(12, 15)}
    with pytest.raises(
        WeightsError,
        match=r"not a checkpoint of rawgat_st_mul\.la19: 1 have another shape \(first: proj1\.weight is \(12, 15\), expected \(12, 14\)",
    ):
        build(saved(misshapen, tmp_path))
    with pytest.raises(
        WeightsError, match=r"237 of 237 tensors are missing \(first: first_bn\.weight\); 1 are unexpected \(first: lstm\)"
    ):
        build(saved({"lstm": torch.zeros(3)}, tmp_path))


@pytest.mark.parametrize("name", ["encoder1.3.0.bn1.weight", "encoder2.4.0.conv_1.bias"])
def test_even_a_tensor_that_changes_no_score_must_be_there(tmp_path: Path, name: str) -> None:
    state = random_state()
    del state[name]
    with pytest.raises(WeightsError, match=f"1 of 237 tensors are missing .first: {name}"):
        build(saved(state, tmp_path))


def test_the_convolution_that_only_first_blocks_use_changes_no_score_elsewhere(
    checkpoint: Path, batch: list[Audio], tmp_path: Path
) -> None:
    used, unused = "encoder1.0.0.conv_1.weight", "encoder1.1.0.conv_1.weight"
    expected = build(checkpoint).score(batch[:1])
    for name, same in ((unused, True), (used, False)):
        state = random_state()
        state[name] = state[name] * 2
        assert (build(saved(state, tmp_path)).score(batch[:1]) == expected).item() is same


def test_a_retrained_checkpoint_is_refused_by_its_digest(checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match=r"its SHA-256 is [0-9a-f]{64}, expected 8a91ce82"):
        RawgatStMulLa19(weights=checkpoint)


def test_options_that_make_no_sense_are_refused(checkpoint: Path) -> None:
    with pytest.raises(RecipeError, match=r"rawgat_st_mul\.la19: threads is 0; it must be at least 1"):
        build(checkpoint, threads=0)
    with pytest.raises(RecipeError, match="device is 'gpu'; it must be cpu, cuda"):
        build(checkpoint, device="gpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics processor")
def test_a_graphics_processor_scores_as_the_cpu_does(checkpoint: Path, batch: list[Audio]) -> None:
    np.testing.assert_allclose(build(checkpoint, device="cuda").score(batch), build(checkpoint).score(batch), atol=1e-3)


def test_the_card_is_complete() -> None:
    card = card_of("rawgat_st_mul.la19")
    assert card.sample_rate == 16_000 and round(card.window_s * card.sample_rate) == 64_600 and card.padding == "repeat"
    assert card.licence == "MIT" and card.polarity == "bonafide" and card.trained_on and card.published and card.paper
    assert card.weights_url.startswith("https://raw.githubusercontent.com/") and len(card.weights_sha256) == 64
