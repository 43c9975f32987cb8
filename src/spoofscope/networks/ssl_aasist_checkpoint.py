"""Checkpoints of SSL_Anti-spoofing: the published form, and the one that `spoofscope convert` writes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spoofscope.errors import WeightsError
from spoofscope.fetch import Source, sha256_of
from spoofscope.networks.aasist_blocks import Tensor
from spoofscope.networks.checkpoint import check_state, read_metadata, read_state
from spoofscope.networks.ssl_aasist import back_end_shapes
from spoofscope.networks.xlsr import Sizes, encoder_shapes, fairseq_shapes, is_pretraining, remap, sizes_of

FORMAT = 1
KIND = "ssl_aasist"
PAPER = (
    "Tak et al., Automatic speaker verification spoofing and deepfake detection using wav2vec 2.0 and data augmentation, "
    "arXiv:2202.12233"
)
_PUBLISHED = "ssl_model.model."
_CONVERTED = "xlsr."
_METADATA = "spoofscope"

# The two published checkpoints. Five public repositories that fetched the first give its digest, one gives that of the second.
LA21: dict[str, Any] = {
    "weights_url": "https://huggingface.co/SpeechAntiSpoofingBenchmarks/W2V2-AASIST/resolve/"
    "196128e5a5101d5cb6ac7701597891bc7de7e7b5/LA_model.pth",
    "weights_sha256": "bd6f36097259fe54e7004eb983651e5304d807be81156dbd04faccb70d91e10c",
    "weights_file": "LA_model.pth",
}
DF21: dict[str, Any] = {
    "weights_url": "https://drive.usercontent.google.com/download?id=1JHBClArVdM-Cr1b8In1iakTV_TvC3HvG&export=download&confirm=t",
    "weights_sha256": "1cf904f1d84c867c278cd42161df5367939d61cc28bfefd239bc995af59c2804",
    "weights_file": "Best_LA_model_for_DF.pth",
}


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint, by the parts that compute with them.

    Parameters
    ----------
    encoder : mapping of str to tensor
        As `transformers` names them.
    back_end : mapping of str to tensor
        As the published code names them.
    sizes : Sizes
        Of the encoder.
    sha256 : str
        Of the published file, also where the tensors come from a converted one.
    """

    encoder: Mapping[str, Tensor]
    back_end: Mapping[str, Tensor]
    sizes: Sizes
    sha256: str


def open_checkpoint(path: Path, name: str, *, sizes: Sizes | None = None, heads: int | None = None) -> Checkpoint:
    """Read a published checkpoint, with or without the `module.` that parallel training leaves, or one that `convert` wrote.

    Parameters
    ----------
    name : str
        The detector that it is for, for messages.
    sizes : Sizes, optional
        What the encoder must be; read off the tensors unless given.
    heads : int, optional
        Attention heads, where the sizes are read off the tensors, which do not tell.

    Raises
    ------
    WeightsError
        If the file is damaged, or a tensor is missing, unexpected, or of another shape; the message names them.
    """
    story = read_metadata(path).get(_METADATA) if path.suffix == ".safetensors" else None
    if story is not None:
        return _open_converted(path, name, json.loads(story), sizes)
    state = read_state(path)
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    encoder = {key.removeprefix(_PUBLISHED): value for key, value in state.items() if key.startswith(_PUBLISHED)}
    sizes = sizes or sizes_of(encoder, heads=heads)
    pretraining = {key: tuple(value.shape) for key, value in encoder.items() if is_pretraining(key)}
    expected = {_PUBLISHED + key: shape for key, shape in fairseq_shapes(sizes, pretraining=pretraining)}
    check_state(state, expected | dict(back_end_shapes(sizes.dim)), path=path, name=name)
    _check_heads(sizes, path)
    back_end = {key: value for key, value in state.items() if not key.startswith(_PUBLISHED)}
    return Checkpoint(remap(encoder), back_end, sizes, sha256_of(path))


def _open_converted(path: Path, name: str, story: Mapping[str, Any], sizes: Sizes | None) -> Checkpoint:
    if story.get("kind") != KIND or story.get("format") != FORMAT:
        raise WeightsError(
            f"{path} holds weights of {story.get('kind')} (format {story.get('format')}), not of {KIND} (format {FORMAT})."
        )
    state = read_state(path)
    sizes = sizes or _sizes(story["sizes"])
    expected = {_CONVERTED + key: shape for key, shape in encoder_shapes(sizes).items()} | dict(back_end_shapes(sizes.dim))
    check_state(state, expected, path=path, name=name)
    if _digest(state) != story["tensors_sha256"]:
        raise WeightsError(f"{path} is damaged or was changed: its tensors are not those that were converted. Convert again.")
    encoder = {key.removeprefix(_CONVERTED): value for key, value in state.items() if key.startswith(_CONVERTED)}
    back_end = {key: value for key, value in state.items() if not key.startswith(_CONVERTED)}
    return Checkpoint(encoder, back_end, sizes, story["source_sha256"])


def _sizes(story: Mapping[str, Any]) -> Sizes:
    return Sizes(**{key: tuple(value) if isinstance(value, list) else value for key, value in story.items()})  # type: ignore[arg-type]


def _check_heads(sizes: Sizes, path: Path) -> None:
    if sizes.heads < 1 or sizes.dim % sizes.heads:
        raise WeightsError(f"{path}: an encoder of width {sizes.dim} cannot have {sizes.heads} attention heads; give 'heads'.")


def require_published(checkpoint: Checkpoint, card: Source, path: Path, *, own: str) -> None:
    """Raise unless the tensors are those of the file that a card names; `own` is what a training of one's own is named by.

    Raises
    ------
    WeightsError
        Giving both digests.
    """
    if checkpoint.sha256 != card.weights_sha256:
        raise WeightsError(
            f"{path} has the tensors of {card.name}, but is not the file that was published: its SHA-256 is {checkpoint.sha256}, "
            f"expected {card.weights_sha256}. If it is a training of your own, name it: {own}(weights='{path}', trained_on=[...])."
        )


def convert(source: Path, target: Path, *, heads: int | None = None) -> Checkpoint:
    """Write the remapped tensors as safetensors, which load at once and can hold nothing but tensors.

    Raises
    ------
    WeightsError
        If the source is no checkpoint of this architecture, or the target cannot be written.
    """
    from safetensors.torch import save_file

    checkpoint = open_checkpoint(source, KIND, heads=heads)
    tensors = {_CONVERTED + key: value for key, value in checkpoint.encoder.items()} | dict(checkpoint.back_end)
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    story = {
        "format": FORMAT,
        "kind": KIND,
        "sizes": asdict(checkpoint.sizes),
        "source": source.name,
        "source_sha256": checkpoint.sha256,
        "tensors_sha256": _digest(tensors),
    }
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, beside, metadata={_METADATA: json.dumps(story, sort_keys=True)})
        beside.replace(target)
    except OSError as error:
        raise WeightsError(f"cannot write {target}: {error.strerror or error}. Make room, or choose another place.") from error
    finally:
        if beside.exists():
            beside.unlink()
    return checkpoint


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().numpy().view(np.uint8).data)
    return digest.hexdigest()
