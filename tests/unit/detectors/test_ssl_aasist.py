"""SSL_Anti-spoofing as a detector: its options, and what it refuses to load."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import save_file  # noqa: E402

from spoofscope.cards import identity  # noqa: E402
from spoofscope.checks.detector import check_detector  # noqa: E402
from spoofscope.detectors import build_detector, card_of  # noqa: E402
from spoofscope.detectors.ssl_aasist import SslAasistLa21  # noqa: E402
from spoofscope.errors import RecipeError, WeightsError  # noqa: E402
from spoofscope.networks import linear  # noqa: E402
from spoofscope.networks.ssl_aasist_checkpoint import convert  # noqa: E402
from tests.small_ssl import SIZES, published_state  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(published_state(), path)
    return path


@pytest.fixture(scope="module")
def batch() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.1, samples).astype(np.float32) for samples in (64_600, 30_000, 80_000)]


def build(path: Path, **options: object) -> object:
    return build_detector("ssl_aasist", str(path), heads=SIZES.heads, **options)


def saved(state: dict, folder: Path, name: str = "x.pth") -> Path:
    torch.save(state, folder / name)
    return folder / name


def test_it_keeps_the_contract(checkpoint: Path) -> None:
    assert [finding for finding in check_detector(build(checkpoint)) if not finding.ok] == []


def test_score_logits_and_hidden_layer_belong_together(checkpoint: Path, batch) -> None:
    detector = build(checkpoint)
    both, hidden, state = detector.logits(batch), detector.embed(batch), published_state()
    assert hidden.shape == (3, len(detector.layers), detector.dim)
    expected = hidden[:, 0] @ state["out_layer.weight"].numpy().T + state["out_layer.bias"].numpy()
    np.testing.assert_allclose(both, expected, atol=1e-4)
    np.testing.assert_array_equal(detector.score(batch), both[:, 1])
    np.testing.assert_array_equal(build(checkpoint, score="difference").score(batch), both[:, 1] - both[:, 0])
    assert detector.score([]).shape == (0,) and detector.embed([]).shape == (0, 1, 160)


def test_the_number_of_threads_changes_the_last_digits_at_most(checkpoint: Path, batch) -> None:
    detector, before, answers = build(checkpoint), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            answers.append(detector.score(batch))
    finally:
        torch.set_num_threads(before)
    assert np.ptp(answers, axis=0).max() < 1e-4


def test_a_checkpoint_of_parallel_training_and_one_in_safetensors_are_the_same_detector(checkpoint, batch, tmp_path) -> None:
    expected = build(checkpoint).score(batch).tolist()
    assert build(saved(published_state(prefix="module."), tmp_path)).score(batch).tolist() == expected
    save_file(published_state(), tmp_path / "x.safetensors")
    assert build(tmp_path / "x.safetensors").score(batch).tolist() == expected


def test_pretraining_tensors_may_be_absent_since_nothing_uses_them(checkpoint, batch, tmp_path) -> None:
    state = {name: value for name, value in published_state().items() if "quantizer" not in name and name != "_proj.bias"}
    assert build(saved(state, tmp_path)).score(batch).tolist() == build(checkpoint).score(batch).tolist()


@pytest.mark.parametrize(
    "name", ["LL.bias", "encoder.3.0.bn1.weight", "ssl_model.model.mask_emb", "ssl_model.model.encoder.layers.1.fc2.weight"]
)
def test_a_tensor_that_is_missing_is_named_though_it_may_change_no_score(tmp_path: Path, name: str) -> None:
    state = published_state()
    del state[name]
    with pytest.raises(WeightsError, match=rf"1 of \d+ tensors are missing .first: {name}"):
        build(saved(state, tmp_path))


def test_a_tensor_that_is_unexpected_or_of_another_shape_is_named(tmp_path: Path) -> None:
    state = published_state() | {"extra.weight": torch.zeros(3), "pos_S": torch.zeros(1, 23, 64)}
    with pytest.raises(
        WeightsError, match=r"1 are unexpected .first: extra.weight.; 1 have another shape .first: pos_S is \(1, 23, 64\)"
    ):
        build(saved(state, tmp_path))


def test_sizes_that_are_not_those_of_the_published_model_are_refused_by_its_name(checkpoint: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"mine\.pth is not a checkpoint of ssl_aasist\.la21: \d+ of \d+ tensors are missing"
    ):
        SslAasistLa21(weights=checkpoint)


def test_a_training_of_ones_own_is_refused_under_a_published_name_and_told_which_to_use(checkpoint, monkeypatch) -> None:
    monkeypatch.setattr("spoofscope.detectors.ssl_aasist.XLSR_300M", SIZES)
    with pytest.raises(WeightsError, match=r"its SHA-256 is [0-9a-f]{64}, expected bd6f36.*ssl_aasist\(weights='.*mine\.pth'"):
        SslAasistLa21(weights=checkpoint)


def test_a_payload_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(trace),)

    torch.save(published_state() | {"LL.bias": Payload()}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"asks for posix\.mkdir, which could run anything"):
        build(tmp_path / "x.pth")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize("kept", [0, 100, 0.5])
def test_a_truncated_file_is_refused(checkpoint: Path, tmp_path: Path, name: str, kept: float) -> None:
    if name.endswith("pth"):
        content = checkpoint.read_bytes()
    else:
        save_file(published_state(), tmp_path / "whole.safetensors")
        content = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / name).write_bytes(content[: int(kept if kept != 0.5 else len(content) / 2)])
    with pytest.raises(WeightsError, match="not a readable"):
        build(tmp_path / name)


def test_heads_that_do_not_divide_the_width_are_refused(checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match="width 32 cannot have 5 attention heads"):
        build_detector("ssl_aasist", str(checkpoint), heads=5)


def test_heads_are_part_of_the_key_since_no_tensor_tells_them(checkpoint: Path) -> None:
    assert identity(build(checkpoint)) != identity(build_detector("ssl_aasist", str(checkpoint), heads=4))


# ---- conversion --------------------------------------------------------------------------------------------------------


def test_conversion_keeps_bits_sizes_and_the_digest_of_its_source(checkpoint: Path, batch, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "c.safetensors", heads=SIZES.heads)
    converted = build_detector("ssl_aasist", str(tmp_path / "c.safetensors"), name=build(checkpoint).card.name)
    assert converted.score(batch).tolist() == build(checkpoint).score(batch).tolist()
    assert identity(converted) == identity(build(checkpoint))
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_converted_file_that_was_changed_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    convert(checkpoint, file, heads=SIZES.heads)
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or was changed: its tensors are not those that were converted"):
        build(file)


def test_a_converted_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    story = json.dumps({"kind": "lfcc_gmm", "format": 1})
    save_file({"a": torch.zeros(1)}, tmp_path / "c.safetensors", metadata={"spoofscope": story})
    with pytest.raises(WeightsError, match=r"holds weights of lfcc_gmm \(format 1\), not of ssl_aasist"):
        build(tmp_path / "c.safetensors")


def test_a_place_that_cannot_be_written_is_named(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"cannot write .*file/c\.safetensors"):
        convert(checkpoint, tmp_path / "file" / "c.safetensors", heads=SIZES.heads)


# ---- precision ---------------------------------------------------------------------------------------------------------


def test_options_that_make_no_sense_are_refused(checkpoint: Path) -> None:
    for options, message in (
        ({"score": "probability"}, "score is 'probability'; it must be logit or difference"),
        ({"precision": "half"}, "precision is 'half'; it must be one of auto, float32, bfloat16, int8"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"compile": True}, "compile is for cuda"),
    ):
        with pytest.raises(RecipeError, match=message):
            build(checkpoint, **options)


@pytest.mark.skipif(not linear.can_quantise(), reason="needs a processor with VNNI")
def test_eight_bits_change_the_scores_a_little_and_the_key(checkpoint: Path, batch) -> None:
    plain, rounded = build(checkpoint), build(checkpoint, precision="int8")
    assert rounded.precision == "int8" and identity(rounded) != identity(plain)
    both = plain.logits(batch), rounded.logits(batch)
    assert 0 < np.abs(both[0] - both[1]).max() < np.ptp(both[0])


def test_int8_is_refused_where_it_would_be_slower(checkpoint: Path, monkeypatch) -> None:
    monkeypatch.setattr(linear, "can_quantise", lambda: False)
    with pytest.raises(RecipeError, match=r"no fast eight-bit products \(VNNI\)"):
        build(checkpoint, precision="int8")


def test_bfloat16_stays_in_float32_where_the_processor_has_none(checkpoint: Path, batch, monkeypatch) -> None:
    expected = build(checkpoint).score(batch).tolist()
    monkeypatch.setattr(linear, "has_bfloat16", lambda: False)
    with pytest.warns(UserWarning, match="no bfloat16 instructions; staying in float32"):
        detector = build(checkpoint, precision="bfloat16")
    assert detector.precision == "float32"
    assert detector.score(batch).tolist() == expected


@pytest.mark.skipif(not linear.has_bfloat16(), reason="needs a processor with bfloat16 instructions")
def test_bfloat16_is_another_precision_with_a_float32_head(checkpoint: Path, batch) -> None:
    detector = build(checkpoint, precision="bfloat16")
    assert detector.precision == "bfloat16"
    assert detector.score(batch).dtype == np.float32
    assert np.abs(detector.score(batch) - build(checkpoint).score(batch)).max() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_bfloat16_and_float32_lie_near_the_cpu(checkpoint: Path, batch) -> None:
    expected = build(checkpoint).score(batch)
    np.testing.assert_allclose(build(checkpoint, device="cuda", precision="float32").score(batch), expected, atol=5e-3)
    assert build(checkpoint, device="cuda").precision == "bfloat16"
    assert np.isfinite(build(checkpoint, device="cuda").score(batch)).all()


def test_the_cards_say_what_is_scored_and_what_it_was_trained_on() -> None:
    for name in ("ssl_aasist.la21", "ssl_aasist.df21"):
        card = card_of(name)
        assert card.trained_on == ("asvspoof2019_la/train",)
        assert card.output.startswith("logit of the class bona fide")
        assert len(card.weights_sha256) == 64
