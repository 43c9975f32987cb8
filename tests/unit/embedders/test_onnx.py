"""ONNX files as embedders: shapes of input and answer, pooling, what is recorded, and what is refused."""

import sys

import numpy as np
import pytest

from spoofscope.cards import identity
from spoofscope.checks.embedder import check_embedder
from spoofscope.embedders import build_embedder
from spoofscope.errors import AudioError, MissingExtra, PluginError, UserError, WeightsError
from spoofscope.fetch import sha256_of
from tests.unit.embedders.tiny import noises

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.unit.embedders.onnx_models import DIM, frames, write


@pytest.mark.parametrize(
    ("shape", "answers"),
    [
        (("samples",), "bare_frames"),
        (("batch", "samples"), "frames"),
        ((1, "samples"), "frames"),
        (("batch", 1, "samples"), "frames"),
        (("batch", "samples", 1), "frames"),
    ],
)
def test_frames_are_pooled_whatever_the_axes_of_the_input(tmp_path, shape, answers):
    batch = noises(16_000, 4_321)
    mean = build_embedder("onnx", str(write(tmp_path / "model.onnx", shape=shape, answers=answers)))
    both = build_embedder("onnx", str(tmp_path / "model.onnx"), pool="mean_std")
    assert (mean.dim, both.dim, mean.layers) == (DIM, 2 * DIM, ("embedding",))
    expected = np.stack([np.concatenate([frames(audio).mean(axis=0), frames(audio).std(axis=0)]) for audio in batch])
    np.testing.assert_allclose(mean.embed(batch)[:, 0], expected[:, :DIM], atol=1e-6)
    np.testing.assert_allclose(both.embed(batch)[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize(("shape", "answers"), [(("samples",), "bare_vector"), (("batch", "samples"), "vector")])
def test_a_vector_is_kept_as_it_is_and_has_nothing_to_pool(tmp_path, shape, answers):
    path, audio = write(tmp_path / "model.onnx", shape=shape, answers=answers), noises(9_000)[0]
    built = build_embedder("onnx", str(path))
    np.testing.assert_allclose(built.embed([audio])[0, 0], frames(audio).mean(axis=0), atol=1e-6)
    with pytest.raises(UserError, match=r"pool is 'mean_std', but model\.onnx answers one vector, not frames"):
        build_embedder("onnx", str(path), pool="mean_std")


def test_samples_are_scaled_cut_and_repeated_as_asked(tmp_path):
    built = build_embedder(
        "onnx", str(write(tmp_path / "model.onnx")), scale=32767, window_s=1.0, sample_rate=8_000, padding="repeat"
    )
    short, long = noises(3_000, 20_000)
    for audio, heard in ((short, np.tile(short, 3)[:8_000]), (long, long[:8_000])):
        np.testing.assert_allclose(built.embed([audio])[0, 0], 32767 * frames(heard).mean(axis=0), rtol=1e-4, atol=0.01)
    assert (built.card.sample_rate, built.card.window_s, built.settings["scale"]) == (8_000, 1.0, 32767.0)


def test_an_input_of_one_length_is_the_window(tmp_path):
    path = write(tmp_path / "model.onnx", shape=(1, 12_000))
    built = build_embedder("onnx", str(path))
    assert built.card.window_s == 0.75 and built.embed(noises(100, 50_000)).shape == (2, 1, DIM)
    with pytest.raises(UserError, match="window_s is 2, 32000 samples at 16000 Hz, but model.onnx hears exactly 12000"):
        build_embedder("onnx", str(path), window_s=2.0)
    with pytest.raises(UserError, match="padding is 'none', but model.onnx hears exactly 12000 samples"):
        build_embedder("onnx", str(path), padding="none")


@pytest.mark.parametrize("dtype", ["FLOAT16", "DOUBLE"])
def test_other_precisions_of_the_input_are_heard(tmp_path, dtype):
    audio = noises(8_000)[0]
    built = build_embedder("onnx", str(write(tmp_path / "model.onnx", dtype=dtype)))
    np.testing.assert_allclose(built.embed([audio])[0, 0], frames(audio).mean(axis=0), atol=1e-3)


def test_the_contract_is_kept_to_the_last_bit(tmp_path):
    built = build_embedder("onnx", str(write(tmp_path / "model.onnx")), pool="mean_std", window_s=1.0)
    findings = check_embedder(built)
    assert [finding for finding in findings if not finding.ok] == []
    assert {finding.detail for finding in findings if "agree" in finding.name or "one by one" in finding.name} == {
        "bit for bit"
    }


def test_input_and_output_are_chosen_by_name_and_other_inputs_get_their_constants(tmp_path):
    path = str(write(tmp_path / "model.onnx", answers="scaled", extra_input="gain", two_outputs=True))
    with pytest.raises(
        UserError, match=r"has the inputs 'sound' tensor\(float\) \(batch, samples\), 'gain' tensor\(float\) \(1\)"
    ):
        build_embedder("onnx", path)
    with pytest.raises(
        UserError, match=r"has the outputs 'scaled'.*'frames'.*Name the one that holds the embedding, as in output='frames'"
    ):
        build_embedder("onnx", path, constants={"gain": [2.0]})
    audio = noises(8_000)[0]
    built = build_embedder("onnx", path, constants={"gain": [2.0]}, input="sound", output="scaled")
    np.testing.assert_allclose(built.embed([audio])[0, 0], 2 * frames(audio).mean(axis=0), atol=1e-6)
    assert built.settings["constants"] == {"gain": [2.0]} and built.settings["output"] == "scaled"
    with pytest.raises(UserError, match="constants must give each but 'sound' a value; 'volume' is none of these"):
        build_embedder("onnx", path, constants={"gain": [2.0], "volume": 1}, input="sound", output="scaled")
    with pytest.raises(UserError, match="'gain' has none"):
        build_embedder("onnx", path, input="sound", output="scaled")
    with pytest.raises(UserError, match="has the inputs"):
        build_embedder("onnx", path, input="voice", output="scaled", constants={"gain": [2.0]})


def test_what_the_model_is_made_of_is_on_record(tmp_path):
    path = write(tmp_path / "model.onnx", external="tensors.bin")
    built = build_embedder("onnx", str(path), name="mine", trained_on=("corpus",))
    assert built.card.weights_sha256 == sha256_of(path) and built.card.trained_on == ("corpus",)
    assert built.settings["data_sha256"] == {"tensors.bin": sha256_of(tmp_path / "tensors.bin")}
    before = identity(built)
    content = bytearray((tmp_path / "tensors.bin").read_bytes())
    content[3] ^= 1
    (tmp_path / "tensors.bin").write_bytes(content)
    assert identity(build_embedder("onnx", str(path), name="mine")) != before
    assert build_embedder("onnx", str(path)).card.name == "model"
    (tmp_path / "tensors.bin").unlink()
    with pytest.raises(WeightsError, match=r"keeps tensors in 'tensors\.bin', and there is no such file"):
        build_embedder("onnx", str(path))


def test_a_model_that_reaches_outside_its_folder_is_refused(tmp_path):
    import onnx

    write(tmp_path / "model.onnx", external="tensors.bin")
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../tensors.bin"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"keeps tensors in '\.\./tensors\.bin', outside its own folder"):
        build_embedder("onnx", str(tmp_path / "in" / "model.onnx"))


@pytest.mark.parametrize(
    ("made", "error", "words"),
    [
        ({"shape": ("batch", 80, "frames")}, UserError, "takes no raw sound"),
        ({"shape": (4, "samples")}, UserError, "takes 4 recordings at once"),
        ({"shape": ("b", 1, 1, "samples")}, UserError, "takes no raw sound"),
        (
            {"answers": "classes"},
            UserError,
            r"tensor\(int64\).*none .* is a tensor of floating-point numbers, as the embedding must be",
        ),
        ({"answers": "doubled"}, PluginError, r"answered one recording with shape \(2, 98, 5\); it must be \(1, dim\)"),
        ({"answers": "doubled", "shape": ("samples",)}, PluginError, r"it must be \(dim,\) or \(frames, dim\)"),
    ],
)
def test_a_model_that_is_no_embedder_is_refused(tmp_path, made, error, words):
    with pytest.raises(error, match=words):
        build_embedder("onnx", str(write(tmp_path / "model.onnx", **made)))


def test_a_dimension_that_varies_with_the_recording_is_refused(tmp_path):
    built = build_embedder("onnx", str(write(tmp_path / "model.onnx", answers="channels")))
    assert built.dim == 98
    with pytest.raises(PluginError, match=r"answered 8000 samples with 48 numbers, and its tone with 98. Choose the output"):
        built.embed(noises(16_000, 8_000))


def test_a_recording_that_the_model_cannot_hear_costs_only_itself(tmp_path):
    built = build_embedder("onnx", str(write(tmp_path / "model.onnx")))
    with pytest.raises(AudioError, match=r"model\.onnx cannot embed a recording of 100 samples"):
        built.embed(noises(100))


def test_a_model_that_hears_no_tone_is_refused_before_a_run(tmp_path):
    with pytest.raises(PluginError, match=r"fails on a tone, as it would on every recording: .*give that as window_s"):
        build_embedder("onnx", str(write(tmp_path / "model.onnx")), window_s=0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": "max"}, "pool is 'max'"),
        ({"scale": 0}, "scale is 0; it is a factor on the samples, other than 0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"sample_rate": 0}, "sample_rate is 0; it is a number of hertz"),
        ({"window_s": -1.0}, "window_s is -1.0; a window lasts longer than 0 s"),
        ({"padding": "mirror"}, "padding is 'mirror'; it must be one of repeat, zero, none"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        build_embedder("onnx", str(write(tmp_path / "model.onnx")), **options)


def test_what_is_no_onnx_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no ONNX file at"):
        build_embedder("onnx", str(tmp_path / "none.onnx"))
    for content, words in (("no model", "is not an ONNX file, or is cut short"), ("", r"^ONNX Runtime [\d.]+ cannot load")):
        (tmp_path / "text.onnx").write_text(content)
        with pytest.raises(WeightsError, match=words) as raised:
            build_embedder("onnx", str(tmp_path / "text.onnx"))
        assert "text.onnx" in str(raised.value)


def test_without_onnx_runtime_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"onnx needs the extra 'onnx'"):
        build_embedder("onnx", str(path))


def test_an_empty_batch_has_no_vectors(tmp_path):
    assert build_embedder("onnx", str(write(tmp_path / "model.onnx"))).embed([]).shape == (0, 1, DIM)
