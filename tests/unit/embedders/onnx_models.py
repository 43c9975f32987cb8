"""Small ONNX models of sound, made by hand."""

from pathlib import Path

import numpy as np

KERNEL, STRIDE, DIM = 400, 160, 5


def kernels() -> np.ndarray:
    return (np.random.default_rng(5).standard_normal((DIM, 1, KERNEL)) / KERNEL**0.5).astype(np.float32)


def frames(audio: np.ndarray) -> np.ndarray:
    """What the convolution of `write` makes of one recording, (frames, 5), in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(audio.astype(np.float64), KERNEL)[::STRIDE]
    return windows @ kernels()[:, 0].T.astype(np.float64)


def write(
    path: Path,
    *,
    shape=("batch", "samples"),
    answers: str = "frames",
    dtype: str = "FLOAT",
    extra_input: str = "",
    two_outputs: bool = False,
    external: str = "",
) -> Path:
    """Write a model that convolves its input; it answers frames (with or without a batch axis), their mean, or class numbers."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind = getattr(TensorProto, dtype)
    weights = [
        numpy_helper.from_array(kernels(), "kernels"),
        numpy_helper.from_array(np.array([1, 1, -1], dtype=np.int64), "three_axes"),
        numpy_helper.from_array(np.array([0], dtype=np.int64), "first"),
    ]
    nodes = [
        helper.make_node("Cast", ["sound"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["single", "three_axes"], ["raised"]),
        helper.make_node("Conv", ["raised", "kernels"], ["channels"], strides=[STRIDE]),
        helper.make_node("Transpose", ["channels"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["frames"], ["vector"], axes=[1], keepdims=0),
        helper.make_node("Squeeze", ["frames", "first"], ["bare_frames"]),
        helper.make_node("Squeeze", ["vector", "first"], ["bare_vector"]),
        helper.make_node("ArgMax", ["vector"], ["classes"], axis=1),
        helper.make_node("Concat", ["frames", "frames"], ["doubled"], axis=0),
    ]
    inputs = [helper.make_tensor_value_info("sound", kind, list(shape))]
    if extra_input:
        inputs.append(helper.make_tensor_value_info(extra_input, TensorProto.FLOAT, [1]))
        nodes.append(helper.make_node("Mul", ["vector", extra_input], ["scaled"]))
    names = [answers, "frames"] if two_outputs else [answers]
    outputs = [helper.make_empty_tensor_value_info(name) for name in names]
    graph = helper.make_graph(nodes, "sound", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if external:
        onnx.save(model, path, save_as_external_data=True, location=external, size_threshold=1_024)
    else:
        onnx.save(model, path)
    return path
