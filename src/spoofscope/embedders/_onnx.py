"""Run an ONNX file on one thread for each recording, and know it by all that it is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from spoofscope.errors import MissingExtra, WeightsError
from spoofscope.fetch import sha256_of

Session: TypeAlias = Any

# How the ONNX format writes the name of a file that a tensor is kept in: the key "location" (field 1) and its value (field 2).
_LOCATION = re.compile(rb"\n\x08location\x12([\x01-\x7f])")


def open_session(path: Path, *, name: str) -> Session:
    """Load an ONNX file; every operation runs on one thread, so that sums are rounded alike on every machine.

    Raises
    ------
    MissingExtra
        If ONNX Runtime is not installed.
    WeightsError
        If the file is no ONNX model, or one that ONNX Runtime cannot run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(name, "onnx") from error
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.use_deterministic_compute = True
    settings.log_severity_level = 4  # what goes wrong is raised
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise WeightsError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {path} ({first_line(error)}). Export or fetch it again."
        ) from error


def data_files(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that an ONNX model keeps tensors in, by its name beside the model.

    Raises
    ------
    WeightsError
        If one lies outside the model's folder, where no model may reach.
    """
    content = path.read_bytes()
    places = (found.end() for found in _LOCATION.finditer(content))
    names = sorted({content[place : place + content[place - 1]].decode("utf-8", "replace") for place in places})
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise WeightsError(f"{path} keeps tensors in '{name}', outside its own folder. Export it with its data beside it.")
    return {name: sha256_of(path.parent / name) for name in names if (path.parent / name).is_file()}


def run(session: Session, output: str, fed: Mapping[str, Any]) -> Any:
    """Return one output of a model.

    Raises
    ------
    RuntimeError
        If the model fails on what it is fed; the message is ONNX Runtime's, in one line.
    """
    try:
        return session.run([output], dict(fed))[0]
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise RuntimeError(first_line(error)) from error


def listed(nodes: Sequence[Any]) -> str:
    """Name inputs or outputs with their shapes and types, for an error."""
    return ", ".join(f"'{node.name}' {node.shape} {node.type}" for node in nodes)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its kind if it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
