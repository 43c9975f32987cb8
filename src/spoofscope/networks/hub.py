"""Find a published model of transformers, in a folder or on the Hugging Face hub, and look at its files before they are loaded.

Nothing of what is found is executed: a pickled checkpoint may hold tensors only, and code beside the weights is never fetched.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from spoofscope.errors import UserError, WeightsError
from spoofscope.fetch import sha256_of
from spoofscope.networks.checkpoint import read_state

CONFIGURATION = "config.json"
HEARING = ("preprocessor_config.json", "processor_config.json")
# In the order in which transformers looks for them.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
LOCALLY = (
    "Where there is no network, download it elsewhere ('hf download ORG/NAME --local-dir FOLDER') and give the folder in place of the "
    "name."
)


class Source(NamedTuple):
    """A folder that holds a model, what to call it, and the commit of the hub that it is ('' for a folder of the user's)."""

    folder: Path
    name: str
    commit: str


def find(model: str | Path, *, revision: str | None, name: str) -> Source:
    """Return the folder of a model: the user's own, or that of the hub's cache, filled from the hub where need be.

    Parameters
    ----------
    model : str or path
        A folder, or `ORG/NAME` on the hub; a folder of that name comes first.
    revision : str, optional
        Branch, tag or commit of the hub; its main branch unless given. All files are of the one commit that it stands for.
    name : str
        What to call the thing that asks, in an error.

    Raises
    ------
    UserError
        If `model` is neither a folder nor a name, or a folder is given a revision.
    WeightsError
        If the hub has no such model, or does not answer and its cache does not hold the model.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UserError(f"{name}: {folder} is a folder, which has no revision '{revision}'. Leave 'revision' out.")
        return Source(folder, folder.resolve().name, "")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(model)):
        raise UserError(f"{name}: there is no folder {model}. Give one, or the ORG/NAME of a model on the Hugging Face hub.")
    return _download(str(model), revision)


def _download(model: str, revision: str | None) -> Source:
    configuration = _fetch(model, CONFIGURATION, revision)
    if configuration is None:
        raise WeightsError(
            f"{model}: neither the Hugging Face hub nor its cache on this machine gave {CONFIGURATION}, and there is no folder of that "
            f"name. Check the name, the network, and HF_HUB_OFFLINE. {LOCALLY}"
        )
    folder, commit = configuration.parent, configuration.parent.name
    for file in HEARING:
        _fetch(model, file, commit)
    for file in WEIGHTS:
        if _fetch(model, file, commit) is not None:
            for part in _parts(folder / file):
                _fetch(model, part, commit)
            break
    return Source(folder, model, commit)


def _fetch(model: str, file: str, revision: str | None) -> Path | None:
    """Return where a file of the hub lies in its cache; None if there is none to be had."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(model, file, revision=revision))
    except EntryNotFoundError:  # also where neither the network nor the cache gives it
        return None
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{model}: the Hugging Face hub did not give {file} ({first_line(error)}). Check the name, the revision, and that you may "
            f"see the model. {LOCALLY}"
        ) from error


def weights_files(folder: Path) -> list[Path]:
    """Return the files that transformers reads weights from: safetensors, or else a pickle; each has been looked at.

    Raises
    ------
    WeightsError
        If there is none, a part is absent, or a file is damaged or holds more than tensors.
    """
    for file in present(folder, WEIGHTS):
        parts = [folder / part for part in _parts(file)] or [file]
        absent = [part.name for part in parts if not part.is_file()]
        if absent:
            raise WeightsError(f"{folder}: {len(absent)} of {len(parts)} parts of the weights are absent (first: {absent[0]})")
        for part in parts:
            _refuse_damaged(part)
        return parts
    raise WeightsError(f"{folder} holds no weights: there is none of {', '.join(WEIGHTS)}. {LOCALLY}")


def _parts(file: Path) -> list[str]:
    """Name the parts that an index lists; none for a file of weights."""
    if file.suffix != ".json":
        return []
    try:
        parts: set[str] = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{file} is not an index of weights ({first_line(error)}). Get it again.") from error
    return sorted(parts)


def _refuse_damaged(file: Path) -> None:
    """Read what transformers is going to, so that a damaged or dangerous file is refused in words of our own."""
    if file.suffix != ".safetensors":
        read_state(file)
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is not a readable safetensors file ({first_line(error)}). Get it again.") from error


def present(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return those of the files that are there."""
    return [folder / name for name in names if (folder / name).is_file()]


def digest(files: Sequence[Path]) -> str:
    """Return the SHA-256 of a file; of several, that of their digests in order, a line each."""
    digests = [sha256_of(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing reports and progress bars, which say less than errors of our own."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # AST was published with more mel bands than its transform can fill.
            warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its name where it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
