"""Files of trained weights: safetensors that say how they came about, and are verified before use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.detectors import Card
from spoofscope.errors import WeightsError

FORMAT = 1
SHIPPED = Path(__file__).parent / "weights"
_METADATA = "spoofscope"


@dataclass(frozen=True)
class Trained:
    """What training leaves behind.

    Parameters
    ----------
    kind : str
        The detector that the weights are for, such as `lfcc_gmm`.
    tensors : mapping of str to array
        The weights, float32.
    history : mapping of str to JSON value
        Where they come from: `trials` (the name of the training trials), `trials_digest`, `audio_sha256`, `settings`,
        `version`.
    """

    kind: str
    tensors: Mapping[str, NDArray[np.float32]]
    history: Mapping[str, Any]

    def save(self, path: str | Path) -> str:
        """Write a safetensors file, whole or not at all, and return its SHA-256."""
        from safetensors.numpy import save

        # One entry: the order of several would change from run to run, and with it the digest of the file.
        story = json.dumps({"format": FORMAT, "kind": self.kind, "history": dict(self.history)}, sort_keys=True)
        # The format knows no strides: an array in another order would be written as it lies in memory.
        content = save({name: np.ascontiguousarray(tensor) for name, tensor in self.tensors.items()}, {_METADATA: story})
        beside = Path(f"{path}.partial")
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)
        return hashlib.sha256(content).hexdigest()


def load_trained(path: str | Path, kind: str, *, sha256: str = "") -> tuple[Trained, str]:
    """Read weights and their SHA-256.

    Raises
    ------
    WeightsError
        If the file is missing, is not safetensors, is for another detector or format, or its digest is not `sha256`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"no weights at {path}. Make them with 'spoofscope train {kind} --out {path}'.")
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256:
        raise WeightsError(f"{path} has the SHA-256 {found[:12]}..., not {sha256[:12]}...: it is damaged or was replaced.")
    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        story = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][_METADATA])
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} does not hold weights written by 'spoofscope train' ({error})") from error
    if story["kind"] != kind or story["format"] != FORMAT:
        raise WeightsError(
            f"{path} holds weights of {story['kind']} (format {story['format']}), not of {kind} (format {FORMAT})."
        )
    return Trained(kind, tensors, story["history"]), found


def open_weights(card: Card, kind: str, weights: str | Path | None) -> tuple[Trained, Card]:
    """Return the shipped weights, verified, or the user's own with a card that names what they were trained on."""
    if weights is None:
        trained, _ = load_trained(SHIPPED / card.weights_file, kind, sha256=card.weights_sha256)
        return trained, card
    trained, digest = load_trained(weights, kind)
    own = replace(card, weights_file=str(weights), weights_sha256=digest, trained_on=(str(trained.history["trials"]),))
    return trained, own


def checked(trained: Trained, shapes: Mapping[str, tuple[int | None, ...]]) -> Mapping[str, NDArray[np.float32]]:
    """Return the tensors if each has its shape (None fits any length) and is finite.

    Raises
    ------
    WeightsError
        Naming the first tensor that is missing, of another shape, or not finite.
    """
    for name, shape in shapes.items():
        tensor = trained.tensors.get(name)
        if tensor is None:
            raise WeightsError(f"weights of {trained.kind} have no '{name}'; they have {', '.join(sorted(trained.tensors))}")
        fits = tensor.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, tensor.shape, strict=True))
        if not fits or not np.isfinite(tensor).all():
            raise WeightsError(f"weights of {trained.kind}: '{name}' is {tensor.shape}, expected {shape} of finite numbers")
    return trained.tensors
