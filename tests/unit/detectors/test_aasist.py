"""The AASIST detectors with random weights: contract, invariances, options and refusals; no download needed."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spoofscope.audio import Audio
from spoofscope.detectors import card_of
from spoofscope.detectors.aasist import AasistLLa19
from spoofscope.errors import RecipeError, WeightsError
from spoofscope.fetch import sha256_of
from spoofscope.networks.aasist import AASIST, AASIST_L, Architecture, expected_shapes

torch = pytest.importorskip("torch")

NAMES = ("aasist.la19", "aasist_l.la19", "aasist.asvspoof5")
LEARNED = ("weight", "bias", "att_weight", "att_weight11", "att_weight12", "att_weight22", "att_weightM")


def random_state(architecture: Architecture, seed: int = 0) -> dict[str, "torch.Tensor"]:
    """Return tensors of the right names and shapes, scaled so that no layer dies or explodes."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in expected_shapes(architecture).items():
        fan_in = max(1, int(np.prod(shape[1:])))
        value = torch.randn(shape, generator=generator) / fan_in**0.5
        is_scale = ("bn" in name and name.endswith(".weight")) or name.endswith("running_var")
        state[name] = value.abs() * 0.5 + 0.5 if is_scale else value
    return state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(random_state(AASIST_L), path)
    return path


def build(checkpoint: Path, **options: object) -> AasistLLa19:
    """Build AASIST-L from a checkpoint of ours, trusting its digest."""
    card = replace(AasistLLa19.card, weights_sha256=sha256_of(checkpoint))
    trusting = type("Trusting", (AasistLLa19,), {"card": card})
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


def test_the_score_is_a_linear_function_of_the_embedding(checkpoint: Path, batch: list[Audio]) -> None:
    detector = build(checkpoint)
    hidden, state = detector.embed(batch)[:, 0], random_state(AASIST_L)
    assert hidden.shape == (4, 160) and hidden.dtype == np.float32
    bonafide = hidden @ state["out_layer.weight"][1].numpy() + state["out_layer.bias"][1].numpy()
    np.testing.assert_allclose(detector.score(batch), bonafide, atol=1e-5)


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
    assert detector.embed([]).shape == (0, 1, 160)


@pytest.mark.parametrize(("architecture", "parameters"), [(AASIST, 297_866), (AASIST_L, 85_306)])
def test_the_expected_checkpoint_has_the_published_size(architecture: Architecture, parameters: int) -> None:
    shapes = expected_shapes(architecture)
    learned = [shape for name, shape in shapes.items() if name.split(".")[-1] in (*LEARNED, "pos_S", "master1", "master2")]
    assert len(shapes) == 229
    assert sum(int(np.prod(shape)) for shape in learned) == parameters


def saved(state: Mapping[str, object], folder: Path) -> Path:
    torch.save(dict(state), folder / "other.pth")
    return folder / "other.pth"


def test_a_checkpoint_of_another_model_is_refused_naming_what_differs(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError,
        match=r"not a checkpoint of aasist_l\.la19: \d+ have another shape \(first: pos_S is \(1, 23, 64\), expected \(1, 23, 24\)",
    ):
        build(saved(random_state(AASIST), tmp_path))
    with pytest.raises(
        WeightsError, match=r"229 of 229 tensors are missing \(first: pos_S\); 1 are unexpected \(first: lstm\)"
    ):
        build(saved({"lstm": torch.zeros(3)}, tmp_path))


@pytest.mark.parametrize("name", ["encoder.3.0.bn1.weight", "GAT_layer_S.bn.num_batches_tracked"])
def test_even_a_tensor_that_changes_no_score_must_be_there(tmp_path: Path, name: str) -> None:
    state = random_state(AASIST_L)
    del state[name]
    with pytest.raises(WeightsError, match=f"1 of 229 tensors are missing .first: {name}"):
        build(saved(state, tmp_path))


def test_a_retrained_checkpoint_is_refused_by_its_digest(checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match=r"its SHA-256 is [0-9a-f]{64}, expected 814331d0"):
        AasistLLa19(weights=checkpoint)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(50)])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="not a readable PyTorch checkpoint"):
        build(tmp_path / "x.pth")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"pos_S": Payload(trace)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"asks for posix\.mkdir, which could run anything. Nothing of it was loaded"):
        build(tmp_path / "x.pth")
    assert not trace.exists()
    torch.load(tmp_path / "x.pth", weights_only=False)
    assert trace.exists()  # the payload does work where it is let


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_whole_training_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"bare state dict.*Save model\.state_dict"):
        build(saved({"model": random_state(AASIST_L), "epoch": 3}, tmp_path))


def test_options_that_make_no_sense_are_refused(checkpoint: Path) -> None:
    with pytest.raises(RecipeError, match="threads is 0; it must be at least 1"):
        build(checkpoint, threads=0)
    with pytest.raises(RecipeError, match="device is 'gpu'; it must be cpu, cuda"):
        build(checkpoint, device="gpu")
    with pytest.raises(TypeError, match="thread"):
        build(checkpoint, thread=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics processor here")
def test_a_graphics_processor_that_is_not_there_is_said_to_be_missing(checkpoint: Path) -> None:
    with pytest.raises(RecipeError, match="PyTorch finds no graphics processor"):
        build(checkpoint, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics processor")
def test_a_graphics_processor_scores_as_the_cpu_does(checkpoint: Path, batch: list[Audio]) -> None:
    np.testing.assert_allclose(build(checkpoint, device="cuda").score(batch), build(checkpoint).score(batch), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_every_card_is_complete(name: str) -> None:
    card = card_of(name)
    assert card.sample_rate == 16_000 and round(card.window_s * card.sample_rate) == 64_600 and card.padding == "repeat"
    assert card.licence == "MIT" and card.polarity == "bonafide" and card.trained_on and card.published and card.paper
    assert card.weights_url.startswith("https://raw.githubusercontent.com/") and len(card.weights_sha256) == 64
