"""An ONNX file as a detector: what it hears, which of its numbers is the score, and what is said of a file that cannot be used."""

import hashlib
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from spoofscope.cards import identity
from spoofscope.checks.detector import check_detector
from spoofscope.detectors import build_detector
from spoofscope.errors import AudioError, MissingExtra, PluginError, UserError, WeightsError

RNG = np.random.default_rng(3)
BATCH = [(level * RNG.standard_normal(size)).astype(np.float32) for level, size in ((0.1, 800), (0.3, 1200), (0.2, 800))]


def mean_level(batch) -> list[float]:
    return [float(np.mean(np.abs(audio))) for audio in batch]


def nodes(columns: int, dtype: int = TensorProto.FLOAT):
    """The mean level of (..., samples), times 1, 2, 3 ... in so many columns; in none, (batch,) for 0."""
    made = [
        helper.make_node("Abs", ["x"], ["abs"]),
        helper.make_node("ReduceMean", ["abs"], ["mean"], axes=[-1], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["level"]),
        helper.make_node("Mul", ["level", "gain"], ["y"]),
    ]
    gain = np.arange(1, max(columns, 1) + 1)[: columns or None].astype(helper.tensor_dtype_to_np_dtype(dtype))
    shape = np.array([-1, 1] if columns else [-1])
    return made, [numpy_helper.from_array(gain, "gain"), numpy_helper.from_array(shape, "shape")]


def write(
    path, made, weights, inputs=(("x", TensorProto.FLOAT, ("batch", "samples")),), outputs=(("y", TensorProto.FLOAT, None),)
):
    named = [[helper.make_tensor_value_info(*one) for one in group] for group in (inputs, outputs)]
    graph = helper.make_graph(made, "graph", *named, weights)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString())
    return path


@pytest.fixture
def model(tmp_path):
    def make(shape=("batch", "samples"), columns=1, dtype=TensorProto.FLOAT, file="level.onnx"):
        made, weights = nodes(columns, dtype)
        return write(tmp_path / file, made, weights, [("x", dtype, shape)], [("y", dtype, None)])

    return make


def convolving(path):
    """A model whose sums are long enough for a batch to change their rounding."""
    rng = np.random.default_rng(0)
    shapes = {"kernel": (64, 1, 400), "w1": (64, 256), "w2": (256, 256), "w3": (256, 2)}
    weights = [
        numpy_helper.from_array((rng.standard_normal(s) / s[-1] ** 0.5).astype(np.float32), n) for n, s in shapes.items()
    ]
    weights.append(numpy_helper.from_array(np.array([1]), "one"))
    made = [
        helper.make_node("Unsqueeze", ["x", "one"], ["u"]),
        helper.make_node("Conv", ["u", "kernel"], ["c"], strides=[80], pads=[200, 200]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["t", "w1"], ["m1"]),
        helper.make_node("MatMul", ["m1", "w2"], ["m2"]),
        helper.make_node("Softmax", ["m2"], ["s"], axis=1),
        helper.make_node("Mul", ["s", "m1"], ["a"]),
        helper.make_node("ReduceMean", ["a"], ["p"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["p", "w3"], ["y"]),
    ]
    return write(path, made, weights)


@pytest.mark.parametrize(
    "shape",
    [
        ("samples",),
        ("batch", "samples"),
        (1, "samples"),
        (None, None),
        ("batch", 1, "samples"),
        (1, 1, "samples"),
        ("batch", "channel", "samples"),
    ],
)
@pytest.mark.parametrize("columns", [0, 1])
def test_a_model_hears_whatever_axes_its_input_has(model, shape, columns):
    detector = build_detector("onnx", model(shape, columns))
    scores = detector.score(BATCH)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, mean_level(BATCH), rtol=1e-6)
    assert detector.card.name == "level"
    assert detector.card.window_s is None


@pytest.mark.parametrize(("dtype", "tolerance"), [(TensorProto.FLOAT16, 1e-2), (TensorProto.DOUBLE, 1e-6)])
def test_a_model_of_other_precision_is_given_its_own_type(model, dtype, tolerance):
    scores = build_detector("onnx", file=model(dtype=dtype)).score(BATCH)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, mean_level(BATCH), rtol=tolerance)


def test_a_convolving_model_keeps_the_contract_bit_for_bit(tmp_path):
    detector = build_detector("onnx", file=convolving(tmp_path / "conv.onnx"), bonafide=1, threads=2)
    assert [finding for finding in check_detector(detector) if not finding.ok] == []


def test_no_score_depends_on_the_number_of_threads(tmp_path):
    path = convolving(tmp_path / "conv.onnx")
    rng = np.random.default_rng(1)
    batch = [rng.standard_normal(size).astype(np.float32) for size in (16_000, 16_000, 4_000, 9_999, 16_000)]
    scores = [build_detector("onnx", file=path, bonafide=1, threads=threads).score(batch) for threads in (1, 2, 3)]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_a_batch_at_once_would_change_the_last_digits_which_is_why_there_is_none(tmp_path):
    detector = build_detector("onnx", file=convolving(tmp_path / "conv.onnx"), bonafide=1)
    batch = np.random.default_rng(1).standard_normal((8, 64_600)).astype(np.float32)
    together = detector._network.session.run(["y"], {"x": batch})[0][:, 1]
    np.testing.assert_allclose(detector.score(list(batch)), together, rtol=1e-3)
    assert not np.array_equal(detector.score(list(batch)), together)


def test_an_empty_batch_has_no_scores(model):
    detector = build_detector("onnx", file=model(columns=2), bonafide=0)
    assert detector.score([]).shape == (0,)
    assert detector.logits([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({"bonafide": 0}, 1),
        ({"bonafide": 1}, 2),
        ({"bonafide": 0, "score": "difference"}, -1),
        ({"bonafide": 1, "score": "difference"}, 1),
    ],
)
def test_the_column_of_bona_fide_or_its_lead_is_the_score(model, options, factor):
    detector = build_detector("onnx", file=model(columns=2), **options)
    np.testing.assert_allclose(detector.score(BATCH), factor * np.array(mean_level(BATCH)), rtol=1e-5)


@pytest.mark.parametrize("bonafide", [0, 1])
def test_logits_give_spoof_first_and_bona_fide_second(model, bonafide):
    detector = build_detector("onnx", file=model(columns=2), bonafide=bonafide)
    pair = detector.logits(BATCH)
    assert pair.dtype == np.float32
    np.testing.assert_array_equal(pair[:, 1], detector.score(BATCH))
    np.testing.assert_allclose(pair[:, 0], (2 - bonafide) * np.array(mean_level(BATCH)), rtol=1e-6)


def test_one_of_many_classes_may_be_bona_fide(model):
    detector = build_detector("onnx", file=model(columns=5), bonafide=4)
    np.testing.assert_allclose(detector.score(BATCH), 5 * np.array(mean_level(BATCH)), rtol=1e-6)
    assert detector.card.output == "column 4 of the 5 that level.onnx answers"
    with pytest.raises(UserError, match="answers 5 numbers .* a pair of logits is there only where it answers 2"):
        detector.logits(BATCH)


def test_a_model_without_a_batch_axis_may_answer_two_numbers(model):
    assert build_detector("onnx", file=model(("samples",), columns=2), bonafide=1).logits(BATCH).shape == (3, 2)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (2, {}, "answers 2 numbers for each recording; say which column stands for bona fide"),
        (2, {"bonafide": 2}, "bonafide is 2, but level.onnx answers 2 numbers for each recording: 0 to 1"),
        (2, {"bonafide": -1}, "bonafide is -1; it is the number of the column"),
        (2, {"bonafide": True}, "bonafide is True; it is the number of the column"),
        (2, {"bonafide": 1, "polarity": "spoof"}, "polarity='spoof' would turn it around"),
        (2, {"bonafide": 1, "score": "softmax"}, "score is 'softmax'; it must be logit or difference"),
        (3, {"bonafide": 1, "score": "difference"}, "that of two columns, but level.onnx answers 3"),
        (1, {"bonafide": 0}, "one number for each recording, so bonafide=0 has no meaning"),
        (1, {"score": "difference"}, "so score='difference' has no meaning.*say polarity='spoof'"),
        (1, {"polarity": "fake"}, "polarity is 'fake'; say which class"),
        (1, {"threads": 0}, "threads is 0; it must be at least 1"),
        (1, {"sample_rate": 0}, "sample_rate is 0; it is a number of hertz"),
        (1, {"window_s": 0}, "window_s is 0; a window lasts longer than 0 s"),
        (1, {"device": "tpu"}, "device is 'tpu'; it must be cpu, cuda, or cuda and a number"),
        (1, {"device": "cuda"}, "this ONNX Runtime offers .*CPUExecutionProvider only. Install onnxruntime-gpu"),
        (1, {"input": "y"}, r"has the inputs 'x' tensor\(float\) \(batch, samples\)\. Name the one that hears"),
        (1, {"output": "z"}, r"has the outputs 'y' tensor\(float\) .*none is called 'z'"),
        (1, {"constants": {"rate": 1}}, "constants must give each but 'x' a value; 'rate' is none of these"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused_when_built(model, columns, options, message):
    with pytest.raises(UserError, match=message):
        build_detector("onnx", file=model(columns=columns), **options)


def test_spoof_polarity_turns_the_one_number_of_a_model_around(model):
    detector = build_detector("onnx", file=model(), polarity="spoof", name="theirs", trained_on=["a/train"])
    assert detector.flipped is True
    np.testing.assert_allclose(detector.score(BATCH), -np.array(mean_level(BATCH)), rtol=1e-6)
    assert (detector.card.name, detector.card.trained_on) == ("theirs", ("a/train",))
    assert detector.card.output == "the number that level.onnx answers"


def test_a_fixed_length_is_the_window_and_a_shorter_recording_fills_it(model):
    detector = build_detector("onnx", file=model((1, 64_600)))
    assert detector.card.window_s == 4.0375
    np.testing.assert_allclose(detector.score(BATCH)[0], np.mean(np.abs(np.resize(BATCH[0], 64_600))), rtol=1e-5)
    silent = build_detector("onnx", file=model((1, 1600)), padding="zero", window_s=0.1)
    np.testing.assert_allclose(silent.score(BATCH)[0], mean_level(BATCH)[0] / 2, rtol=1e-5)


def test_a_window_is_cut_where_the_model_hears_any_length(model):
    detector = build_detector("onnx", file=model(), window_s=0.1, sample_rate=4000)
    np.testing.assert_allclose(detector.score(BATCH), mean_level([audio[:400] for audio in BATCH]), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 64_600), {"window_s": 4}, "window_s is 4, 64000 samples at 16000 Hz, but level.onnx hears exactly 64600"),
        ((1, 64_600), {"padding": "none"}, "padding is 'none', but level.onnx hears exactly 64600 samples"),
        ((8, "samples"), {}, r"\(8, samples\) of level.onnx takes 8 recordings at once\. Export it for one"),
        (("batch", 80, "frames"), {}, r"\(batch, 80, frames\) of level.onnx takes no raw sound"),
        (("batch", "frames", 80), {}, r"\(batch, frames, 80\) of level.onnx takes no raw sound"),
        (("batch", "frames", 400), {}, "takes no raw sound"),
        (("batch", 80), {}, "takes no raw sound"),
        (("a", "b", "c", "d"), {}, "takes no raw sound"),
        (None, {}, "takes no raw sound"),
    ],
)
def test_a_model_that_hears_something_else_is_refused_when_built(model, shape, options, message):
    with pytest.raises(UserError, match=message):
        build_detector("onnx", file=model(shape), **options)


def test_a_model_that_fails_on_a_tone_is_refused_when_built(tmp_path):
    made = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    path = write(tmp_path / "strict.onnx", made, [numpy_helper.from_array(np.array([1, 64_600]), "shape")])
    with pytest.raises(PluginError, match=r"strict\.onnx fails on a tone of 64000 samples.*Reshape.*give that as window_s"):
        build_detector("onnx", file=path)


def test_a_recording_that_the_model_fails_on_costs_only_itself(tmp_path):
    made = [
        helper.make_node("Unsqueeze", ["x", "one"], ["u"]),
        helper.make_node("Conv", ["u", "kernel"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=[2], keepdims=0),
    ]
    weights = [
        numpy_helper.from_array(np.array([1]), "one"),
        numpy_helper.from_array(np.ones((1, 1, 1000), np.float32), "kernel"),
    ]
    detector = build_detector("onnx", file=write(tmp_path / "long.onnx", made, weights))
    assert detector.score(BATCH[1:2]).shape == (1,)
    with pytest.raises(AudioError, match=r"long\.onnx cannot score a recording of 800 samples \(.*Conv"):
        detector.score(BATCH[:1])


def test_a_score_for_each_frame_is_no_score(tmp_path):
    made = [helper.make_node("Unsqueeze", ["x", "one"], ["y"])]
    path = write(tmp_path / "frames.onnx", made, [numpy_helper.from_array(np.array([2]), "one")])
    with pytest.raises(PluginError, match=r"answered one recording with shape \(1, 64000, 1\); it must be \(1,\) or"):
        build_detector("onnx", file=path)


RATE = ("rate", TensorProto.INT64, ())
TWO = (("x", TensorProto.FLOAT, ("batch", "samples")), RATE)


def with_rate(path):
    made, weights = nodes(1)
    made[-1].output[0] = "loud"
    made += [helper.make_node("Cast", ["rate"], ["r"], to=TensorProto.FLOAT), helper.make_node("Div", ["loud", "r"], ["y"])]
    return write(path, made, weights, TWO)


def test_the_other_inputs_of_a_model_are_given_their_constants(tmp_path):
    path = with_rate(tmp_path / "rate.onnx")
    for options in ({}, {"input": "x"}):
        detector = build_detector("onnx", file=path, constants={"rate": 100}, **options)
        np.testing.assert_allclose(detector.score(BATCH), np.array(mean_level(BATCH)) / 100, rtol=1e-6)
    assert identity(detector)["settings"]["constants"] == {"rate": 100}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            r"inputs 'x' tensor\(float\) \(batch, samples\), 'rate' tensor\(int64\) \(\)\. Name the one that hears, as in input='x'",
        ),
        ({"input": "x"}, "constants must give each but 'x' a value; 'rate' has none"),
        ({"input": "rate", "constants": {"x": 0}}, "'rate' .* takes no sound"),
        ({"constants": {"rate": "high"}}, "'high' is no value for the input 'rate'"),
        ({"constants": {"rate": [1, 2]}}, r"\[1, 2\] is no value for the input 'rate'"),
    ],
)
def test_a_model_with_several_inputs_must_be_told_what_they_are(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        build_detector("onnx", file=with_rate(tmp_path / "rate.onnx"), **options)


def several_outputs(path, *types):
    made, weights = nodes(2)
    made += [
        helper.make_node("ArgMax", ["y"], ["class"], axis=1, keepdims=0),
        helper.make_node("ReduceMax", ["y"], ["best"], axes=[1], keepdims=0),
    ]
    return write(path, made, weights, outputs=[(name, kind, None) for name, kind in types])


FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def test_the_only_output_of_floating_point_numbers_is_found(tmp_path):
    path = several_outputs(tmp_path / "m.onnx", ("class", INT), ("y", FLOAT))
    assert build_detector("onnx", file=path, bonafide=0).score(BATCH).shape == (3,)


def test_one_of_several_outputs_is_chosen_by_name(tmp_path):
    path = several_outputs(tmp_path / "m.onnx", ("y", FLOAT), ("best", FLOAT))
    with pytest.raises(UserError, match=r"outputs 'y' .*'best' .*Name the one that holds the scores, as in output='best'"):
        build_detector("onnx", file=path, bonafide=0)
    detector = build_detector("onnx", file=path, output="best")
    np.testing.assert_allclose(detector.score(BATCH), 2 * np.array(mean_level(BATCH)), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"output": "class"}])
def test_decisions_are_no_scores(tmp_path, options):
    path = several_outputs(tmp_path / "m.onnx", ("class", INT))
    with pytest.raises(UserError, match=r"'class' tensor\(int64\) .*none that was asked for is a tensor of floating-point"):
        build_detector("onnx", file=path, **options)


def test_a_list_of_mappings_is_refused_with_what_to_export_instead(tmp_path):
    made, weights = nodes(2)
    made.append(helper.make_node("ZipMap", ["y"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]))
    of = helper.make_sequence_type_proto(helper.make_map_type_proto(INT, helper.make_tensor_type_proto(FLOAT, [])))
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, ("batch", "samples"))],
        [helper.make_value_info("maps", of)],
        weights,
    )
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    path = tmp_path / "forest.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())
    for options in ({}, {"output": "maps"}):
        with pytest.raises(UserError, match=r"a list of mappings \(ZipMap\), not as a tensor.*'zipmap': False"):
            build_detector("onnx", file=path, **options)


def test_the_file_is_part_of_the_key_and_of_the_card(model):
    path = model()
    one = build_detector("onnx", file=path)
    assert one.card.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert identity(build_detector("onnx", file=path)) == identity(one)
    other = build_detector("onnx", file=model(columns=0))
    assert identity(other)["weights_sha256"] != identity(one)["weights_sha256"]


def test_the_chosen_column_is_part_of_the_key(model):
    path = model(columns=2)
    keys = [
        identity(build_detector("onnx", file=path, **options))["settings"]
        for options in ({"bonafide": 0}, {"bonafide": 1}, {"bonafide": 1, "score": "difference"})
    ]
    assert len({str(key) for key in keys}) == 3


def external(path, location, *, in_node=False):
    """A model whose gain lies in another file: an initializer, or the value of a Constant."""
    made, weights = nodes(1)
    gain = weights[0]
    gain.ClearField("raw_data")
    gain.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        gain.external_data.add(key=key, value=value)
    if in_node:
        made.insert(0, helper.make_node("Constant", [], ["gain"], value=gain))
        weights = weights[1:]
    return write(path, made, weights)


def test_tensors_in_further_files_are_read_and_part_of_the_key(tmp_path):
    path = external(tmp_path / "big.onnx", "big.bin")
    (tmp_path / "big.bin").write_bytes(np.float32(3).tobytes())
    one = build_detector("onnx", file=path)
    np.testing.assert_allclose(one.score(BATCH), 3 * np.array(mean_level(BATCH)), rtol=1e-6)
    (tmp_path / "big.bin").write_bytes(np.float32(4).tobytes())
    other = build_detector("onnx", file=path)
    assert one.card.weights_sha256 == other.card.weights_sha256
    assert identity(one) != identity(other)
    assert list(identity(one)["settings"]["data_sha256"]) == ["big.bin"]


@pytest.mark.parametrize("in_node", [False, True])
@pytest.mark.parametrize(
    "location", ["../secret.bin", "deep/../../secret.bin", "/etc/hostname", "..\\secret.bin", "C:\\secret.bin"]
)
def test_a_model_may_not_reach_out_of_its_folder(tmp_path, location, in_node):
    (tmp_path / "secret.bin").write_bytes(np.float32(3).tobytes())
    (tmp_path / "models").mkdir()
    path = external(tmp_path / "models" / "sly.onnx", location, in_node=in_node)
    with pytest.raises(WeightsError, match=r"sly\.onnx keeps tensors in '.*', outside its own folder\. A model may not reach"):
        build_detector("onnx", file=path)


def test_a_model_may_not_reach_out_of_its_folder_by_a_link(tmp_path):
    (tmp_path / "secret.bin").write_bytes(np.float32(3).tobytes())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link.bin").symlink_to("../secret.bin")
    with pytest.raises(WeightsError, match=r"cannot load .*sly\.onnx \(.*escapes"):
        build_detector("onnx", file=external(tmp_path / "models" / "sly.onnx", "link.bin"))


def test_tensors_whose_file_is_missing_are_asked_for(tmp_path):
    with pytest.raises(WeightsError, match=r"keeps tensors in 'big\.bin', and there is no such file\. Put it into"):
        build_detector("onnx", file=external(tmp_path / "big.onnx", "big.bin"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-30], r"m\.onnx is not an ONNX file, or is cut short \(\d+ bytes are missing\)"),
        (lambda content: b"<!DOCTYPE html><html>sign in</html>", "is not an ONNX file, or is cut short"),
        (
            lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
            "is not an ONNX file, or is cut short",
        ),
        (lambda content: b"", r"cannot load .*m\.onnx \(No graph was found"),
        (lambda content: bytes(100), r"cannot load .*m\.onnx \("),
    ],
)
def test_a_damaged_file_is_named(model, tmp_path, damage, message):
    path = tmp_path / "m.onnx"
    path.write_bytes(damage(model().read_bytes()))
    with pytest.raises(WeightsError, match=message):
        build_detector("onnx", file=path)


def test_no_length_of_a_file_is_taken_for_the_whole(model, tmp_path):
    content = model().read_bytes()
    path = tmp_path / "m.onnx"
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(WeightsError, match=r"m\.onnx"):
            build_detector("onnx", file=path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no ONNX file at .*none\.onnx"):
        build_detector("onnx", file=tmp_path / "none.onnx")


def test_an_operator_that_the_runtime_does_not_know_is_named(tmp_path):
    made = [helper.make_node("Listen", ["x"], ["y"], domain="mine")]
    graph = helper.make_graph(
        made, "g", [helper.make_tensor_value_info("x", FLOAT, ("n", "t"))], [helper.make_tensor_value_info("y", FLOAT, None)]
    )
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("mine", 1)]
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())
    with pytest.raises(WeightsError, match=r"ONNX Runtime [\d.]+ cannot load .*m\.onnx \(.*mine:Listen"):
        build_detector("onnx", file=path)


def test_a_missing_package_is_named_with_its_extra(model, monkeypatch):
    path = model()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"onnx needs the extra 'onnx': pip install 'spoofscope\[onnx\]'"):
        build_detector("onnx", file=path)
