"""ONNX files below the rooms: how they are heard and given constants, and that both rooms refuse the same in the same words."""

import hashlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from spoofscope.detectors import build_detector
from spoofscope.embedders import build_embedder
from spoofscope.errors import MissingExtra, UserError, WeightsError
from spoofscope.networks.onnx import Network, _constant, _locations, _providers, open_session, read_digests
from tests.unit.embedders.onnx_models import write

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def network(path, **options) -> Network:
    return Network(path, verb="score", kept="the scores", **options)


@pytest.mark.parametrize(
    ("shape", "fed", "samples"),
    [
        (("samples",), (-1,), None),
        ((1, "samples"), (1, -1), None),
        (("batch", 12_000), (1, -1), 12_000),
        (("batch", 1, "samples"), (1, 1, -1), None),
        (("batch", "channel", "samples"), (1, 1, -1), None),
        (("batch", "samples", 1), (1, -1, 1), None),
        ((1, 12_000, 1), (1, -1, 1), 12_000),
    ],
)
def test_the_axis_of_the_samples_is_found(tmp_path, shape, fed, samples):
    made = network(write(tmp_path / "model.onnx", shape=shape))
    assert (made.hearing.name, made.hearing.shape, made.hearing.samples) == ("sound", fed, samples)
    assert made.answer(np.zeros(12_000, dtype=np.float32)).shape == (1, 73, 5)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((8, 1), r"\(8, 1\) of model.onnx takes no raw sound"),
        (("batch", 1), "takes no raw sound"),
        ((4, 80, "frames"), "takes no raw sound"),
        ((4, "samples", 1), "takes 4 recordings at once"),
    ],
)
def test_an_input_that_hears_no_single_recording_is_refused(tmp_path, shape, words):
    with pytest.raises(UserError, match=words):
        network(write(tmp_path / "model.onnx", shape=shape))


@pytest.mark.parametrize("build", [build_detector, build_embedder])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.onnx").unlink(), r"no ONNX file at .*model\.onnx"),
        (lambda folder: (folder / "tensors.bin").unlink(), r"keeps tensors in 'tensors\.bin', and there is no such file"),
        (
            lambda folder: move_tensors(folder / "model.onnx", "..\\tensors.bin"),
            r"outside its own folder\. A model may not reach",
        ),
        (
            lambda folder: move_tensors(folder / "model.onnx", "C:\\tensors.bin"),
            r"outside its own folder\. A model may not reach",
        ),
        (lambda folder: cut(folder / "model.onnx"), r"is not an ONNX file, or is cut short \(\d+ bytes are missing\)"),
        (
            lambda folder: (folder / "model.onnx").write_bytes(nested(400)),
            r"is not an ONNX file, or is cut short \(maximum rec",
        ),
    ],
)
def test_both_rooms_refuse_a_file_in_the_same_words(tmp_path, build, damage, words):
    path = write(tmp_path / "model.onnx", external="tensors.bin")
    damage(tmp_path)
    with pytest.raises(WeightsError, match=words):
        build("onnx", file=path)


def move_tensors(path, location):
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def nested(depth: int) -> bytes:
    """Graphs in the attributes of nodes of graphs, written without the package, which refuses so many."""

    def field(number: int, content: bytes) -> bytes:
        size, digits = len(content), bytearray()
        while size > 0x7F:
            digits.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([number << 3 | 2, *digits, size]) + content

    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))
    return field(7, graph)


def test_every_tensor_of_a_model_is_found_where_the_package_finds_it(tmp_path):
    from onnx import TensorProto, helper, numpy_helper
    from onnx.external_data_helper import _get_all_tensors

    inner, outer, value = (numpy_helper.from_array(np.zeros(1, np.float32), name) for name in ("inner", "outer", "value"))
    for tensor in (inner, outer, value):
        tensor.external_data.add(key="location", value=f"{tensor.name}.bin")
        tensor.data_location = TensorProto.EXTERNAL
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])], [inner])
    made = [
        helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch),
        helper.make_node("Constant", [], ["v"], value=value),
    ]
    content = helper.make_model(helper.make_graph(made, "graph", [], [], [outer])).SerializeToString()
    (tmp_path / "nested.onnx").write_bytes(content)
    found = {
        entry.value
        for tensor in _get_all_tensors(onnx.load(tmp_path / "nested.onnx", load_external_data=False))
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert set(_locations("model", memoryview(content))) == found == {"inner.bin", "outer.bin", "value.bin"}


def test_the_digest_of_every_file_is_known_without_the_runtime(tmp_path, monkeypatch):
    path = write(tmp_path / "model.onnx", external="tensors.bin")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    digest, data = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("model.onnx", "tensors.bin"))
    assert read_digests(path) == (digest, {"tensors.bin": data})
    with pytest.raises(MissingExtra, match="mine needs the extra 'onnx'"):
        open_session(path, name="mine")


@pytest.mark.parametrize(
    ("declared", "value", "shape"),
    [
        ((), 3, ()),
        ((1,), 3, (1,)),
        ((2, "batch", 4), 0, (2, 1, 4)),
        (("n",), [1, 2, 3], (3,)),
        ((2, "batch", None), np.zeros((2, 1, 5)), (2, 1, 5)),
        ((2, "n"), [1, 2, 3], (2, 3)),
    ],
)
def test_a_constant_fills_the_declared_axes_and_sets_the_free_ones(declared, value, shape):
    made = _constant(SimpleNamespace(name="state", type="tensor(float)", shape=declared), value, "model.onnx")
    assert (made.shape, made.dtype) == (shape, np.float32)
    np.testing.assert_array_equal(made, np.broadcast_to(value, shape))


@pytest.mark.parametrize(
    ("kind", "declared", "value"),
    [
        ("tensor(int64)", (), [1, 2]),
        ("tensor(int64)", (2,), [1, 2, 3]),
        ("tensor(int64)", (), "high"),
        ("tensor(int64)", (), 2**70),
        ("tensor(string)", (), "a"),
    ],
)
def test_what_is_no_value_of_an_input_is_refused(kind, declared, value):
    with pytest.raises(UserError, match="is no value for the input 'state'"):
        _constant(SimpleNamespace(name="state", type=kind, shape=declared), value, "model.onnx")


def test_the_window_is_what_the_input_has_room_for_or_else_what_is_asked_for(tmp_path):
    free, fixed = network(write(tmp_path / "free.onnx")), network(write(tmp_path / "fixed.onnx", shape=(1, 12_000)))
    assert (free.window_s(None, 16_000, "repeat"), free.window_s(0.5, 16_000, "none")) == (None, 0.5)
    assert (fixed.window_s(None, 8_000, "zero"), fixed.window_s(0.75, 16_000, "repeat")) == (1.5, 0.75)


def test_every_operation_runs_on_one_thread_so_that_the_machine_cannot_be_seen_in_a_sum(tmp_path):
    settings = network(write(tmp_path / "model.onnx"), threads=2).session.get_session_options()
    assert (settings.intra_op_num_threads, settings.inter_op_num_threads) == (1, 1)


def test_a_graphics_processor_is_asked_for_by_its_number_and_in_full_precision():
    (name, settings), fallback = _providers("cuda:1", ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert (name, settings["device_id"], settings["use_tf32"]) == ("CUDAExecutionProvider", 1, 0)
    assert fallback == "CPUExecutionProvider"


def test_a_graphics_processor_that_does_not_start_is_not_replaced_in_silence(tmp_path, monkeypatch):
    fallen_back = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *arguments, **named: fallen_back)
    with pytest.raises(UserError, match="ONNX Runtime could not start CUDA"):
        build_detector("onnx", file=write(tmp_path / "model.onnx"), device="cuda")
