"""Audio classifiers of transformers as detectors: scores of a direct pass, labels read or asked, and what is refused."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spoofscope.audio import Audio, fit_length
from spoofscope.cards import identity
from spoofscope.checks.detector import check_detector
from spoofscope.detectors import build_detector
from spoofscope.detectors._labels import bonafide_label, is_bonafide
from spoofscope.errors import AudioError, MissingExtra, RecipeError, UserError, WeightsError
from spoofscope.fetch import sha256_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from spoofscope.networks.hub import digest, quiet  # noqa: E402

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SAMPLES = SIZES | {
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 12,
}
WHISPER = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_layers": 1}
WHISPER |= {"decoder_attention_heads": 2, "decoder_ffn_dim": 24, "vocab_size": 50, "classifier_proj_size": 12}
WHISPER |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
FAMILIES: Mapping[str, tuple[str, Mapping[str, Any], str, Mapping[str, Any]]] = {
    "wav2vec2": ("Wav2Vec2ForSequenceClassification", SAMPLES, "Wav2Vec2FeatureExtractor", {"do_normalize": True}),
    "hubert": ("HubertForSequenceClassification", SAMPLES, "Wav2Vec2FeatureExtractor", {"do_normalize": False}),
    "wavlm": ("WavLMForSequenceClassification", SAMPLES, "Wav2Vec2FeatureExtractor", {"return_attention_mask": True}),
    "ast": ("ASTForAudioClassification", SIZES | {"max_length": 64}, "ASTFeatureExtractor", {"max_length": 64}),
    "whisper": ("WhisperForAudioClassification", WHISPER, "WhisperFeatureExtractor", {}),
    "w2v_bert": ("Wav2Vec2BertForSequenceClassification", SIZES, "SeamlessM4TFeatureExtractor", {}),
}
LABELS = ("spoof", "bonafide")
Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def classifier(kind: str, labels: tuple[str, ...] = LABELS, **sizes: object) -> Any:
    """Return a small model of a published architecture, whose random classifier tells sounds apart."""
    architecture, own, _, _ = FAMILIES[kind]
    cls = getattr(transformers, architecture)
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: number for number, label in enumerate(labels)}}
    torch.manual_seed(7)
    model = cls(cls.config_class(**{**own, **sizes}, **names)).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" not in name:
                value.mul_(4)
    return model


def save(folder: Path, model: Any, kind: str = "wav2vec2", **settings: object) -> Path:
    _, _, extractor, own = FAMILIES[kind]
    with quiet():
        model.save_pretrained(folder)
        getattr(transformers, extractor)(**{**own, **settings}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {kind: save(place / kind, classifier(kind), kind) for kind in FAMILIES}


@pytest.fixture
def folder(folders: Mapping[str, Path], tmp_path: Path) -> Path:
    """Return a copy of the wav2vec 2.0 model that a test may spoil."""
    return Path(shutil.copytree(folders["wav2vec2"], tmp_path / "mine"))


@pytest.fixture(scope="module")
def batch() -> list[Audio]:
    rng = np.random.default_rng(1)
    return [rng.normal(0.02, level, n).astype(np.float32) for n, level in ((16_000, 0.1), (9_000, 0.02), (12_345, 0.3))]


def direct(folder: Path, audio: Audio, **options: object) -> np.ndarray:
    """Return the logits that transformers itself gives one recording."""
    with quiet():
        model = transformers.AutoModelForAudioClassification.from_pretrained(folder, dtype=torch.float32).eval()
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    for option in [option for option in options if hasattr(extractor, option)]:
        setattr(extractor, option, options.pop(option))
    with torch.inference_mode():
        return model(**extractor(audio, sampling_rate=16_000, return_tensors="pt", **options)).logits[0].numpy()


# ---- scores ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
def test_scores_are_the_logits_of_a_direct_pass(folders: Mapping[str, Path], batch: list[Audio], kind: str) -> None:
    detector = build_detector("hf", str(folders[kind]))
    expected = np.stack([direct(folders[kind], audio) for audio in batch])
    found = detector.score(batch)
    assert found.dtype == np.float32 and found.shape == (3,)
    np.testing.assert_allclose(detector.logits(batch), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, expected[:, 1], rtol=1e-4, atol=1e-5)
    assert np.ptp(expected[:, 1]) > 1e-3
    assert detector.card.name == kind and detector.card.sample_rate == 16_000
    assert detector.card.output == "logit of 'bonafide' (index 1 of 'spoof', 'bonafide')"


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_keeps_the_contract_on_whole_recordings(folders: Mapping[str, Path], kind: str) -> None:
    detector = build_detector("hf", str(folders[kind]), threads=2)
    assert [finding for finding in check_detector(detector) if not finding.ok] == []


def test_scores_are_the_same_to_the_last_bit_whatever_the_batch_and_the_threads(folder: Path, batch: list[Audio]) -> None:
    scores = build_detector("hf", str(folder), threads=2).score(batch)
    for threads in (1, 3):
        other = build_detector("hf", str(folder), threads=threads)
        np.testing.assert_array_equal(other.score(batch[::-1])[::-1], scores)
        np.testing.assert_array_equal(other.score(batch[1:2]), scores[1:2])
    assert build_detector("hf", str(folder)).score([]).shape == (0,)


def test_a_window_is_cut_and_filled_as_the_card_says(folder: Path, batch: list[Audio]) -> None:
    detector = build_detector("hf", str(folder), window_s=0.75, padding="zero")
    expected = [direct(folder, fit_length(audio, 12_000, padding="zero"))[1] for audio in batch]
    np.testing.assert_allclose(detector.score(batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", ["repeat", "zero"])
def test_a_recording_too_short_for_the_network_is_filled_up_to_what_it_can_hear(
    folder: Path, batch: list[Audio], padding: str
) -> None:
    detector = build_detector("hf", str(folder), padding=padding)
    short = batch[0][:7]
    np.testing.assert_allclose(
        detector.score([short]), direct(folder, fit_length(short, 400, padding=padding))[1:], rtol=1e-4, atol=1e-5
    )
    refusing = build_detector("hf", str(folder), padding="none")
    with pytest.raises(AudioError, match=r"mine cannot hear a recording of 7 samples; it needs 400\. Say padding="):
        refusing.score([*batch, short])


def test_a_model_stored_in_half_precision_is_computed_in_full(tmp_path: Path, batch: list[Audio]) -> None:
    folder = save(tmp_path / "half", classifier("wav2vec2").half())
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    detector = build_detector("hf", str(folder))
    assert detector.score(batch[:1]) == pytest.approx(direct(folder, batch[0])[1:], rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "option", "default"),
    [("wav2vec2", "do_normalize", True), ("whisper", "do_normalize", False), ("w2v_bert", "do_normalize_per_mel_bins", True)],
)
def test_sound_is_normalised_as_the_folder_says_unless_asked(
    folders: Mapping[str, Path], batch: list[Audio], kind: str, option: str, default: bool
) -> None:
    place, audio = folders[kind], batch[1]
    as_it_says = build_detector("hf", str(place))
    assert as_it_says.settings["normalise"] is default
    for normalise in (True, False):
        asked = build_detector("hf", str(place), normalise=normalise)
        assert asked.settings["normalise"] is normalise
        np.testing.assert_allclose(asked.logits([audio])[0], direct(place, audio, **{option: normalise}), rtol=1e-4, atol=1e-5)
        same = asked.score([audio]) == as_it_says.score([audio])
        assert bool(same[0]) is (normalise is default)
        assert (identity(asked) == identity(as_it_says)) is (normalise is default)
    with pytest.raises(UserError, match="normalise is 'yes'; it must be True, False, or None"):
        build_detector("hf", str(place), normalise="yes")


# ---- labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label",
    [
        "bonafide",
        "bona-fide",
        "Bona_Fide",
        "BONA FIDE",
        "bonafide speech",
        "Real",
        "genuine",
        "HumanVoice",
        "human_real",
        "live",
    ],
)
def test_a_label_that_plainly_says_bona_fide_is_seen(label: str) -> None:
    assert is_bonafide(label)


@pytest.mark.parametrize(
    "label",
    [
        "spoof",
        "LABEL_1",
        "fake",
        "AIVoice",
        "not real",
        "non-genuine",
        "unreal",
        "human_clone",
        "realness",
        "AI human",
        "1",
        "",
    ],
)
def test_any_other_label_is_not(label: str) -> None:
    assert not is_bonafide(label)


@pytest.mark.parametrize(
    ("labels", "bonafide", "column"),
    [
        (("fake", "real"), None, 1),
        (("bona-fide", "A01", "A02"), None, 0),
        (("LABEL_0", "LABEL_1"), "LABEL_1", 1),
        (("LABEL_0", "LABEL_1"), "label_0", 0),
        (("LABEL_0", "LABEL_1"), 0, 0),
        (("real", "fake"), "fake", 1),  # what its user says stands
        (("Real", "real"), "real", 1),
    ],
)
def test_the_label_of_bona_fide_is_read_or_as_asked(labels: tuple[str, ...], bonafide: str | int | None, column: int) -> None:
    assert bonafide_label(labels, bonafide, name="m") == column


@pytest.mark.parametrize(
    ("labels", "bonafide", "message"),
    [
        (
            ("LABEL_0", "LABEL_1"),
            None,
            r"no label of m is plainly bona fide: 0 'LABEL_0', 1 'LABEL_1'\. Say .*bonafide='LABEL_1'",
        ),
        (("fake", "other"), None, "no label of m is plainly bona fide: 0 'fake', 1 'other'"),
        (("real", "human", "fake"), None, "2 of the labels of m are plainly bona fide: 0 'real', 1 'human', 2 'fake'"),
        (("fake", "real"), "bonafide", "bonafide is 'bonafide', but the labels of m are 0 'fake', 1 'real'. Give one of them"),
        (("fake", "real"), 2, "bonafide is 2, but the labels of m are"),
        (("fake", "real"), -1, "bonafide is -1, but the labels of m are"),
        (("fake", "real"), True, "bonafide is True, but the labels of m are"),
    ],
)
def test_labels_that_do_not_say_it_are_listed(labels: tuple[str, ...], bonafide: str | int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bonafide_label(labels, bonafide, name="m")


def test_a_model_whose_labels_say_nothing_is_asked_about_and_the_answer_decides(tmp_path: Path, batch: list[Audio]) -> None:
    place = save(tmp_path / "silent", classifier("wav2vec2", ("LABEL_0", "LABEL_1")))
    with pytest.raises(UserError, match=r"no label of silent is plainly bona fide.*bonafide='LABEL_1' or bonafide=1"):
        build_detector("hf", str(place))
    first, second = (build_detector("hf", str(place), bonafide=answer) for answer in (0, "LABEL_1"))
    np.testing.assert_array_equal(first.score(batch), first.logits(batch)[:, 0])
    np.testing.assert_array_equal(second.score(batch), first.logits(batch)[:, 1])
    assert identity(first)["settings"] != identity(second)["settings"]


def test_of_several_labels_the_logit_or_the_difference_from_all_others_is_the_score(tmp_path: Path, batch: list[Audio]) -> None:
    place = save(tmp_path / "several", classifier("wav2vec2", ("A01", "bonafide", "A02")))
    logits = np.stack([direct(place, audio) for audio in batch]).astype(np.float64)
    plain = build_detector("hf", str(place))
    np.testing.assert_allclose(plain.score(batch), logits[:, 1], rtol=1e-4, atol=1e-5)
    difference = build_detector("hf", str(place), score="difference")
    others = np.log(np.exp(logits[:, 0]) + np.exp(logits[:, 2]))
    found = difference.score(batch)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, logits[:, 1] - others, rtol=1e-4, atol=1e-5)
    probability = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose(found, np.log(probability / (1 - probability)), rtol=1e-3, atol=1e-4)
    assert difference.card.output.endswith("(index 1 of 'A01', 'bonafide', 'A02') minus the log-sum-exp of the others")
    assert difference.score([]).shape == (0,)


def test_a_classifier_of_one_label_is_refused(tmp_path: Path) -> None:
    place = save(tmp_path / "one", classifier("wav2vec2", ("real",)))
    with pytest.raises(UserError, match="one has 1 label; a classifier that tells bona fide from spoof has at least two"):
        build_detector("hf", str(place))


# ---- weights -----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_without_its_classifier_is_refused_naming_what_would_be_drawn_at_random(tmp_path: Path) -> None:
    config = classifier("wav2vec2").config
    with quiet():
        transformers.Wav2Vec2ForCTC(config).save_pretrained(tmp_path / "ctc")
        transformers.Wav2Vec2Model(config).save_pretrained(tmp_path / "base")
        transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "ctc")
        transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "base")
    missing = r"4 weights are missing \(classifier\.bias, classifier\.weight, projector\.bias, projector\.weight\)"
    with pytest.raises(
        WeightsError, match=rf"{missing}; 2 are unexpected \(lm_head\.bias, lm_head\.weight\)\. .*drawn at random"
    ):
        build_detector("hf", str(tmp_path / "ctc"))
    with pytest.raises(WeightsError, match=rf"base: the checkpoint .* {missing}\. What is missing"):
        build_detector("hf", str(tmp_path / "base"))


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    state = dict(load_file(folder / "model.safetensors"))
    edit(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_that_are_not_those_of_the_configuration_are_refused(folder: Path) -> None:
    change(folder, lambda state: state.update(extra=torch.zeros(2)))
    with pytest.raises(WeightsError, match=r"1 are unexpected \(extra\)"):
        build_detector("hf", str(folder))
    change(folder, lambda state: (state.pop("extra"), state.update({"classifier.weight": torch.zeros(3, 12)})))
    with pytest.raises(
        WeightsError, match=r"1 have another shape \(first: classifier\.weight is \(3, 12\), expected \(2, 12\)"
    ):
        build_detector("hf", str(folder))


def test_only_what_training_alone_reads_may_be_missing(folder: Path, batch: list[Audio]) -> None:
    expected = build_detector("hf", str(folder)).score(batch)
    change(folder, lambda state: state.pop("wav2vec2.masked_spec_embed"))
    np.testing.assert_array_equal(build_detector("hf", str(folder)).score(batch), expected)
    change(folder, lambda state: state.pop("wav2vec2.encoder.layers.1.final_layer_norm.bias"))
    with pytest.raises(WeightsError, match=r"1 weights are missing \(wav2vec2\.encoder\.layers\.1\.final_layer_norm\.bias\)"):
        build_detector("hf", str(folder))


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_nothing_in_a_pickled_checkpoint_is_executed(folder: Path, tmp_path: Path, batch: list[Audio]) -> None:
    from safetensors.torch import load_file

    expected, state = build_detector("hf", str(folder)).score(batch), load_file(folder / "model.safetensors")
    trace, pickled = tmp_path / "trace", folder / "pytorch_model.bin"
    torch.save(state | {"classifier.bias": Payload(trace)}, pickled)
    np.testing.assert_array_equal(build_detector("hf", str(folder)).score(batch), expected)  # safetensors come first
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin holds more than tensors: it asks for posix\.mkdir"):
        build_detector("hf", str(folder))
    assert not trace.exists()
    torch.load(pickled, weights_only=False)
    assert trace.exists()  # the payload does work where it is let
    torch.save(state, pickled)
    np.testing.assert_array_equal(build_detector("hf", str(folder)).score(batch), expected)


def test_damaged_and_absent_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"model\.safetensors is not a readable safetensors file .*Get it again"):
        build_detector("hf", str(folder))
    weights.unlink()
    with pytest.raises(WeightsError, match=r"mine holds no weights: there is none of model\.safetensors"):
        build_detector("hf", str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin is not a readable PyTorch checkpoint"):
        build_detector("hf", str(folder))


def test_weights_in_parts_are_loaded_and_a_part_that_is_absent_is_named(
    folder: Path, tmp_path: Path, batch: list[Audio]
) -> None:
    whole = build_detector("hf", str(folder))
    parted = tmp_path / "parted"
    with quiet():
        classifier("wav2vec2").save_pretrained(parted, max_shard_size="20KB")
    shutil.copy(folder / "preprocessor_config.json", parted)
    shards = sorted(parted.glob("model-*.safetensors"))
    assert len(shards) > 1
    detector = build_detector("hf", str(parted))
    np.testing.assert_array_equal(detector.score(batch), whole.score(batch))
    assert detector.card.weights_sha256 == digest(shards)
    shards[1].unlink()
    with pytest.raises(WeightsError, match=rf"1 of {len(shards)} parts of the weights are absent \(first: {shards[1].name}\)"):
        build_detector("hf", str(parted))


def test_what_decides_the_scores_is_in_the_key(folder: Path) -> None:
    first = identity(build_detector("hf", str(folder)))
    assert identity(build_detector("hf", str(folder), threads=2)) == first
    assert first["weights_sha256"] == sha256_of(folder / "model.safetensors")
    assert first["settings"] | {"configuration_sha256": ""} == {
        "model": "mine",
        "revision": "",
        "configuration_sha256": "",
        "feature_extractor": "Wav2Vec2FeatureExtractor",
        "normalise": True,
        "labels": ["spoof", "bonafide"],
        "bonafide": "bonafide",
        "score": "logit",
    }
    json.dumps(first)
    file = folder / "preprocessor_config.json"
    file.write_text(file.read_text().replace('"padding_value": 0.0', '"padding_value": 0.5'))
    changed = identity(build_detector("hf", str(folder)))
    assert changed["settings"]["configuration_sha256"] != first["settings"]["configuration_sha256"]
    change(folder, lambda state: state.update({"classifier.bias": torch.ones(2)}))
    assert identity(build_detector("hf", str(folder)))["weights_sha256"] != changed["weights_sha256"]


# ---- what is no such model ---------------------------------------------------------------------------------------------


def test_a_model_of_another_task_is_refused_naming_those_that_are_known(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, vocab_size=9
    )
    with quiet():
        transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "text")
    with pytest.raises(UserError, match="text is a model of the type 'bert', which is no audio classifier.*wav2vec2.*whisper"):
        build_detector("hf", str(tmp_path / "text"))


def test_code_beside_the_weights_is_never_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (folder / "antispoofing.py").write_text(
        f"import pathlib\npathlib.Path({str(trace)!r}).mkdir()\nclass Config: pass\nModel = Config\n"
    )
    file = folder / "config.json"
    own = {"AutoConfig": "antispoofing.Config", "AutoModelForAudioClassification": "antispoofing.Model"}
    known = json.loads(file.read_text()) | {"auto_map": own}
    file.write_text(json.dumps(known | {"model_type": "antispoofing"}))
    with pytest.raises(UserError, match="type 'antispoofing'.* It comes with code of its own, which is never run"):
        build_detector("hf", str(folder))
    file.write_text(json.dumps(known))
    build_detector("hf", str(folder))  # a published architecture, computed by transformers' own code
    assert not trace.exists()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), WeightsError, r"there is no config\.json in .*mine"),
        (lambda folder: (folder / "config.json").write_text("{"), WeightsError, r"config\.json is no configuration of"),
        (lambda folder: (folder / "config.json").write_text("[]"), WeightsError, r"config\.json is no configuration of"),
        (
            lambda folder: (folder / "preprocessor_config.json").unlink(),
            UserError,
            r"mine has no readable preprocessor_config\.json, which says at what rate the model hears",
        ),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text('{"feature_extractor_type": "NoSuchExtractor"}'),
            UserError,
            r"mine has no readable preprocessor_config\.json",
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_explained(
    folder: Path, spoil: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    spoil(folder)
    with pytest.raises(error, match=message):
        build_detector("hf", str(folder))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"score": "ratio"}, UserError, "score is 'ratio'; it must be logit or difference"),
        ({"device": "gpu"}, RecipeError, "device is 'gpu'; it must be cpu, cuda"),
        ({"threads": 0}, RecipeError, "threads is 0; it must be at least 1"),
        ({"revision": "v2"}, UserError, "mine is a folder, which has no revision 'v2'. Leave 'revision' out"),
        ({"padding": "loop"}, UserError, "padding is 'loop'; it must be one of repeat, zero, none"),
        ({"window": 4}, UserError, "detector hf has no option 'window'. Did you mean 'window_s'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    folder: Path, options: Mapping[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_detector("hf", str(folder), **options)


def test_without_transformers_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"hf needs the extra 'ssl': pip install 'spoofscope\[ssl\]'"):
        build_detector("hf", str(folder))


# ---- the hub -----------------------------------------------------------------------------------------------------------


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of the hub, on a machine without network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_model_of_the_hub_is_named_with_the_commit_that_its_branch_stood_for(
    cache: Path, folder: Path, batch: list[Audio]
) -> None:
    place = cache / "models--lab--detector"
    shutil.copytree(folder, place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    (place / "refs" / "v2").write_text(COMMIT)
    detector = build_detector("hf", "lab/detector")
    np.testing.assert_array_equal(detector.score(batch), build_detector("hf", str(folder)).score(batch))
    assert detector.card.name == "detector"
    assert (detector.settings["model"], detector.settings["revision"]) == ("lab/detector", COMMIT)
    for revision in ("v2", COMMIT):
        assert identity(build_detector("hf", "lab/detector", revision=revision)) == identity(detector)
    with pytest.raises(WeightsError, match="lab/detector: neither the Hugging Face hub nor its cache"):
        build_detector("hf", "lab/detector", revision="v3")


def test_a_model_that_cannot_be_had_says_how_to_use_a_folder(cache: Path) -> None:
    with pytest.raises(
        WeightsError,
        match=r"lab/none: neither the Hugging Face hub nor its cache on this machine gave config\.json.*HF_HUB_OFFLINE.*give the folder",
    ):
        build_detector("hf", "lab/none")
    for name in ("./no/such/folder", "/no/such/folder", "a/b/c", "no such name"):
        with pytest.raises(UserError, match="there is no folder .*Give one, or the ORG/NAME of a model"):
            build_detector("hf", name)


def test_what_the_hub_refuses_is_passed_on_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*arguments: object, **options: object) -> str:
        raise OSError("401 Client Error: the model is gated\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(
        WeightsError, match=r"did not give config\.json \(401 Client Error: the model is gated\)\. .*see the model"
    ):
        build_detector("hf", "lab/gated")
