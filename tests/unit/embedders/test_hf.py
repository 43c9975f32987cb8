"""Encoders by name or folder: what is loaded, what is recorded, and what is refused before a random weight is heard."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from spoofscope.cards import identity
from spoofscope.embedders import build_embedder, card_of
from spoofscope.errors import MissingExtra, UserError, WeightsError
from spoofscope.fetch import sha256_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from tests.unit.embedders import tiny  # noqa: E402

NAME = "wav2vec2 large"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(NAME, tmp_path_factory.mktemp("models") / "published", normalise=True)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "own"))


def change(folder: Path, edit) -> None:
    """Edit the tensors of a saved model."""
    state = load_file(folder / "model.safetensors")
    edit(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("name", tiny.MODELS)
def test_every_family_is_loaded_with_its_own_weights(name, tmp_path, monkeypatch):
    monkeypatch.setattr("spoofscope.embedders._encoder.PACKED", ())  # weights that were laid out anew cannot be compared
    built = build_embedder("hf", str(tiny.save(name, tmp_path / "model")), normalise=False)
    expected, found = tiny.build(name), built._model
    expected = expected.encoder if name == "whisper" else expected
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key
    assert built.embed(tiny.noises(5_000)).shape == (1, len(built.layers), 32)


def test_a_detectors_window_repeats_a_short_recording(published):
    built = build_embedder("hf", str(published), window="detector")
    assert round(built.card.window_s * 16_000) == 64_600
    audio = tiny.noises(20_000)[0]
    np.testing.assert_array_equal(built.embed([audio]), built.embed([np.tile(audio, 4)[:64_600]]))


def test_what_decides_the_vectors_is_on_record_and_where_the_folder_lies_is_not(published, folder):
    built = build_embedder("hf", str(published), pool="mean_std", layers=["final"], name="mine", trained_on=("corpus",))
    moved = build_embedder("hf", str(folder), pool="mean_std", layers=["final"], name="mine", trained_on=("corpus",))
    assert identity(built) == identity(moved)
    assert built.card.weights_sha256 == sha256_of(published / "model.safetensors")
    assert built.card.trained_on == ("corpus",) and built.card.weights_url == ""
    assert {key: built.settings[key] for key in ("pool", "normalise", "layers")} == {
        "pool": "mean_std",
        "normalise": True,
        "layers": ["final"],
    }
    configuration = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(configuration | {"layer_norm_eps": 1e-3}))
    changed = build_embedder("hf", str(folder), pool="mean_std", layers=["final"], name="mine", trained_on=("corpus",))
    assert identity(changed) != identity(built)  # the same tensors in a network that differs
    assert build_embedder("hf", str(published)).card.name == "hf.published"


def test_weights_stored_in_full_are_not_halved_though_the_configuration_says_so(published, folder):
    configuration = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(configuration | {"dtype": "float16", "torch_dtype": "float16"}))
    audio = tiny.noises(5_000)
    np.testing.assert_array_equal(
        build_embedder("hf", str(folder)).embed(audio), build_embedder("hf", str(published)).embed(audio)
    )


def test_normalisation_is_that_of_the_processor_unless_said_otherwise(published, folder):
    audio = tiny.noises(9_000)
    theirs, without = build_embedder("hf", str(published)), build_embedder("hf", str(published), normalise=False)
    assert theirs.settings["normalise"] is True and without.settings["normalise"] is False
    assert np.abs(theirs.embed(audio) - without.embed(audio)).max() > 1e-3
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    by_folder = build_embedder("hf", str(folder))
    assert by_folder.settings["normalise"] is False
    np.testing.assert_array_equal(by_folder.embed(audio), without.embed(audio))


@pytest.mark.parametrize(("name", "default"), [("w2v-bert", True), ("whisper", False)])
def test_encoders_of_features_normalise_as_their_extractors_do(name, default, tmp_path):
    assert build_embedder("hf", str(tiny.save(name, tmp_path / "model"))).settings["normalise"] is default


def test_without_a_processor_normalisation_must_be_said(folder):
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"has no readable preprocessor_config\.json.*or say normalise=True or normalise=False"):
        build_embedder("hf", str(folder))
    assert build_embedder("hf", str(folder), normalise=True).settings["normalise"] is True
    with pytest.raises(UserError, match="normalise is 'yes'; it must be True, False, or None"):
        build_embedder("hf", str(folder), normalise="yes")


def test_without_its_processor_whisper_cannot_be_fed(tmp_path):
    folder = tiny.save("whisper", tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"which says how it is fed. Put the file beside its weights\.$"):
        build_embedder("hf", str(folder), normalise=False)


def test_the_rate_is_that_of_the_processor(folder):
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(folder)
    assert build_embedder("hf", str(folder)).card.sample_rate == 8_000


def test_a_head_is_left_out_and_nothing_is_printed(tmp_path, capfd):
    base = tiny.build(NAME)
    with torch.random.fork_rng():
        whole = transformers.Wav2Vec2ForCTC(base.config)
    whole.wav2vec2 = base
    whole.save_pretrained(tmp_path / "ctc")
    capfd.readouterr()
    built = build_embedder("hf", str(tmp_path / "ctc"), normalise=True)
    assert capfd.readouterr() == ("", "")
    plain = build_embedder("hf", str(tiny.save(NAME, tmp_path / "base")), normalise=True)
    np.testing.assert_array_equal(built.embed(tiny.noises(8_000)), plain.embed(tiny.noises(8_000)))


def test_missing_weights_of_the_encoder_are_refused_though_transformers_draws_them_at_random(folder):
    change(folder, lambda state: [state.pop(key) for key in list(state) if "layers.1.attention.k_proj" in key])
    with pytest.raises(WeightsError, match=r"2 weights are missing \(encoder\.layers\.1\.attention\.k_proj\.bias, encoder\."):
        build_embedder("hf", str(folder))
    assert transformers.AutoModel.from_pretrained(folder) is not None  # what the guard is for


def test_a_checkpoint_of_another_model_is_refused(folder):
    change(folder, lambda state: [state.update({f"other.{key}": state.pop(key)}) for key in list(state)])
    with pytest.raises(
        WeightsError,
        match=r"the checkpoint in .*own is not that of the speech encoder in its config\.json: \d+ weights are missing",
    ):
        build_embedder("hf", str(folder))


def test_weights_of_another_shape_are_refused_naming_both(folder):
    key = "encoder.layers.0.feed_forward.output_dense.weight"
    change(folder, lambda state: state.update({key: torch.zeros(3, 4)}))
    with pytest.raises(WeightsError, match=rf"1 have another shape \(first: {key} is \(3, 4\), expected \(32, 48\)\)"):
        build_embedder("hf", str(folder))


def test_the_embedding_that_masks_frames_in_training_may_be_missing(folder, published):
    change(folder, lambda state: state.pop("masked_spec_embed"))
    audio = tiny.noises(5_000)
    np.testing.assert_array_equal(
        build_embedder("hf", str(folder)).embed(audio), build_embedder("hf", str(published)).embed(audio)
    )


def test_weights_of_older_transformers_with_the_old_names_of_weight_norm_are_read(folder, published):
    def rename(state):
        for part, old in (("original0", "weight_g"), ("original1", "weight_v")):
            state[f"encoder.pos_conv_embed.conv.{old}"] = state.pop(
                f"encoder.pos_conv_embed.conv.parametrizations.weight.{part}"
            )

    change(folder, rename)
    audio = tiny.noises(5_000)
    np.testing.assert_array_equal(
        build_embedder("hf", str(folder)).embed(audio), build_embedder("hf", str(published)).embed(audio)
    )


def test_a_pickled_checkpoint_and_one_in_parts_give_the_same_vectors_under_digests_of_their_own(folder, published, tmp_path):
    audio, expected = tiny.noises(5_000), build_embedder("hf", str(published))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    pickled = build_embedder("hf", str(folder))
    parts = tmp_path / "parts"
    tiny.build(NAME).save_pretrained(parts, max_shard_size="50KB")
    shutil.copy(published / "preprocessor_config.json", parts)
    assert len(list(parts.glob("*.safetensors"))) > 2
    parted = build_embedder("hf", str(parts))
    for built in (pickled, parted):
        np.testing.assert_array_equal(built.embed(audio), expected.embed(audio))
    assert len({built.card.weights_sha256 for built in (expected, pickled, parted)}) == 3
    gone = sorted(parts.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(WeightsError, match=rf"1 of \d+ parts of the weights are absent \(first: {gone.name}\)"):
        build_embedder("hf", str(parts))


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not(folder, tmp_path):
    trace = tmp_path / "trace"
    (folder / "model.safetensors").unlink()
    torch.save({"encoder.layer_norm.weight": Payload(trace)}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"asks for posix\.mkdir, which could run anything. Nothing of it was loaded"):
        build_embedder("hf", str(folder))
    assert not trace.exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert trace.exists()  # the payload does work where it is let


def test_code_beside_the_weights_is_not_run(folder, tmp_path):
    trace = tmp_path / "trace"
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(trace)!r})\nfrom transformers import PretrainedConfig as Own\n")
    configuration = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "own.Own", "AutoModel": "own.Own", "AutoFeatureExtractor": "own.Own"}
    (folder / "config.json").write_text(json.dumps(configuration | {"auto_map": own}))
    assert build_embedder("hf", str(folder)).dim == 32  # its family is known, so its own code is not needed
    (folder / "config.json").write_text(json.dumps(configuration | {"auto_map": own, "model_type": "own"}))
    with pytest.raises(
        UserError, match="own is a model of the type 'own', .* It comes with code of its own, which is never run"
    ):
        build_embedder("hf", str(folder))
    assert not trace.exists()


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04" + bytes(50)])
def test_damaged_weights_are_refused(folder, file, content):
    (folder / "model.safetensors").unlink()
    (folder / file).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{file} is not a readable"):
        build_embedder("hf", str(folder))


def test_a_truncated_file_is_refused(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="is not a readable safetensors file"):
        build_embedder("hf", str(folder))


def test_a_folder_without_a_model_is_refused(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"holds no weights: there is none of model\.safetensors, "):
        build_embedder("hf", str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"there is no config\.json in .*empty"):
        build_embedder("hf", str(tmp_path / "empty"))
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json is no configuration of transformers"):
        build_embedder("hf", str(folder))


def test_a_model_of_text_is_refused(tmp_path):
    from transformers import BertConfig

    BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8).save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match="is a model of the type 'bert', which is no speech encoder known here .*wav2vec2.*name it onnx:FILE"
    ):
        build_embedder("hf", str(tmp_path))


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub():
    for name in ("./no/such", "/no/such/folder", "a/b/c"):
        with pytest.raises(
            UserError, match=rf"hf.*: there is no folder {name}\. Give one, or the ORG/NAME of a model on the Hugging Face hub"
        ):
            build_embedder("hf", name)


def test_a_folder_has_no_revision(published):
    with pytest.raises(UserError, match="is a folder, which has no revision 'main'. Leave 'revision' out"):
        build_embedder("hf", str(published), revision="main")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """A hub that holds one model; downloads land in a cache as those of huggingface_hub do."""

    def __init__(self, model: Path, cache: Path) -> None:
        self.model, self.snapshot = model, cache / "snapshots" / COMMIT
        self.asked: list[tuple[str, str, str | None]] = []

    def download(self, repository: str, file: str, *, revision: str | None = None) -> str:
        from huggingface_hub.errors import EntryNotFoundError

        self.asked.append((repository, file, revision))
        if repository != "org/model":
            raise OSError("404: no such repository\nmore")
        if not (self.model / file).is_file():
            raise EntryNotFoundError(file)
        self.snapshot.mkdir(parents=True, exist_ok=True)
        return str(shutil.copy(self.model / file, self.snapshot / file))


@pytest.fixture
def hub(folder, tmp_path, monkeypatch) -> Hub:
    found = Hub(folder, tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", found.download)
    return found


def test_a_model_of_the_hub_is_taken_whole_from_one_commit(hub, published):
    built = build_embedder("hf", "org/model", revision="main")
    assert hub.asked[0] == ("org/model", "config.json", "main")
    assert {revision for _, _, revision in hub.asked[1:]} == {COMMIT}
    assert built.card.name == "hf.model"
    assert built.card.weights_url == f"https://huggingface.co/org/model/resolve/{COMMIT}/model.safetensors"
    assert built.card.weights_sha256 == sha256_of(published / "model.safetensors")
    np.testing.assert_array_equal(
        built.embed(tiny.noises(5_000)), build_embedder("hf", str(published)).embed(tiny.noises(5_000))
    )


def test_pickled_weights_of_the_hub_are_not_fetched_where_there_are_others(hub, folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    build_embedder("hf", "org/model")
    assert "pytorch_model.bin" not in [file for _, file, _ in hub.asked]
    (folder / "model.safetensors").unlink()
    (hub.snapshot / "model.safetensors").unlink()
    assert build_embedder("hf", "org/model").card.weights_url.endswith(f"{COMMIT}/pytorch_model.bin")


def test_parts_of_the_hub_are_all_fetched(hub, folder):
    (folder / "model.safetensors").unlink()
    tiny.build(NAME).save_pretrained(folder, max_shard_size="50KB")
    built = build_embedder("hf", "org/model")
    assert built.card.weights_url.endswith("model.safetensors.index.json")
    assert sum(file.startswith("model-0") for _, file, _ in hub.asked) > 2


def test_what_the_hub_does_not_give_is_said(hub, folder):
    with pytest.raises(
        WeightsError, match=r"org/none: the Hugging Face hub did not give config\.json \(404: no such repository\)"
    ):
        build_embedder("hf", "org/none")
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"org/model: neither the Hugging Face hub nor its cache .* gave config\.json"):
        build_embedder("hf", "org/model")


def test_without_transformers_the_extra_is_named(published, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"hf\.published needs the extra 'ssl': pip install 'spoofscope\[ssl\]'"):
        build_embedder("hf", str(published))


def test_the_model_is_the_first_option():
    with pytest.raises(UserError, match=r"embedder hf needs the option 'model'"):
        build_embedder("hf")
    assert card_of("hf").name == "hf"
