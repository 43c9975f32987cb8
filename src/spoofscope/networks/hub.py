"""Find a published model of transformers, in a folder or on the Hugging Face hub, and load all of its weights or none.

Nothing of what is found is executed: a pickled checkpoint may hold tensors only, and code beside the weights is never fetched.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from spoofscope.errors import MissingExtra, UserError, WeightsError
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
SHOWN = 4


class Source(NamedTuple):
    """A folder that holds a model, what to call it, and the commit of the hub that it is ('' for a folder of the user's)."""

    folder: Path
    name: str
    commit: str

    @property
    def address(self) -> str:
        """Where on the hub the weights are, in this very version."""
        if not self.commit:
            return ""
        return f"https://huggingface.co/{self.name}/resolve/{self.commit}/{_present(self.folder, WEIGHTS)[0].name}"

    @property
    def configuration_sha256(self) -> str:
        """Digest of the files that say what the network is and how it is fed."""
        return digest(_present(self.folder, (CONFIGURATION, *HEARING)))


class Kind(NamedTuple):
    """What a model must be to be of use.

    Parameters
    ----------
    noun : str
        What to call it, in an error.
    types : sequence of str
        The `model_type` that its configuration may state.
    otherwise : str
        The next step with a model of another type.
    auto : str
        The class of transformers that loads it.
    needs : callable
        Whether what it computes depends on the weight of a name.
    exact : bool
        Whether its checkpoint may hold nothing else, rather than a head that is left out.
    """

    noun: str
    types: Sequence[str]
    otherwise: str
    auto: str
    needs: Callable[[str], bool]
    exact: bool


def need_transformers(name: str) -> None:
    """Raise `MissingExtra`, in the name of what asks, unless PyTorch and transformers are installed."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtra(name, "ssl") from error


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


def read_configuration(source: Source, kind: Kind) -> Any:
    """Return the configuration of a model.

    Raises
    ------
    UserError
        If the model is of a type that is of no use.
    WeightsError
        If there is no configuration, or transformers cannot read it.
    """
    import transformers

    path = source.folder / CONFIGURATION
    if not path.is_file():
        raise WeightsError(f"there is no {CONFIGURATION} in {source.folder}. Give the folder that save_pretrained wrote.")
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        if stated["model_type"] in kind.types:
            with quiet():
                return transformers.AutoConfig.from_pretrained(source.folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise WeightsError(f"{path} is no configuration of transformers ({reason}).") from error
    own = " It comes with code of its own, which is never run." if "auto_map" in stated else ""
    raise UserError(
        f"{source.name} is a model of the type '{stated['model_type']}', which is no {kind.noun} known here (transformers "
        f"{transformers.__version__}): those are {', '.join(kind.types)}.{own} {kind.otherwise}"
    )


def read_feature_extractor(source: Source) -> Any:
    """Return what feeds a model.

    Raises
    ------
    UserError
        If there is none, transformers cannot read it, or it is not for sound.
    """
    import transformers

    try:
        with quiet():
            extractor = transformers.AutoFeatureExtractor.from_pretrained(
                source.folder, trust_remote_code=False, local_files_only=True
            )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UserError(
            f"{source.name} has no readable {HEARING[0]}, which says at what rate the model hears and whether sound is normalised "
            f"({first_line(error)}). Put the one of the model that it was trained from into its folder."
        ) from error
    if not isinstance(getattr(extractor, "sampling_rate", None), int):
        raise UserError(f"{source.name}: its {HEARING[0]} is that of {type(extractor).__name__}, which feeds no sound.")
    return extractor


def load(source: Source, configuration: Any, kind: Kind) -> tuple[Any, list[Path]]:
    """Return the network, with its weights in float32 and in evaluation mode, and the files that they were read from.

    Raises
    ------
    WeightsError
        If a file is absent, damaged or holds more than tensors, or the checkpoint is not that of the configuration.
    """
    import torch
    import transformers

    files = _weights_files(source.folder)
    # Since transformers 5 the configuration may choose half precision, even where the weights are stored in full.
    in_full = {"dtype": torch.float32} if int(transformers.__version__.split(".")[0]) >= 5 else {}
    try:
        with quiet():
            model, report = getattr(transformers, kind.auto).from_pretrained(
                source.folder,
                config=configuration,
                trust_remote_code=False,
                local_files_only=True,
                use_safetensors=files[0].suffix == ".safetensors",
                weights_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **in_full,
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise WeightsError(f"{source.name}: cannot load the weights in {source.folder} ({first_line(error)}).") from error
    _refuse_incomplete(report, source, kind)
    return model.float().eval(), files


def untrained(configuration: Any, kind: Kind, *, seed: int = 0) -> Any:
    """Return the network of a configuration with the weights that its training would start from, in evaluation mode."""
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        return getattr(transformers, kind.auto).from_config(configuration, trust_remote_code=False).float().eval()


def _refuse_incomplete(report: Mapping[str, Any], source: Source, kind: Kind) -> None:
    """Transformers draws what a checkpoint lacks, or holds in another shape, at random, and says so in a log."""
    missing = sorted(filter(kind.needs, report["missing_keys"]))
    misshapen = sorted(entry for entry in report["mismatched_keys"] if kind.exact or kind.needs(entry[0]))
    unexpected = sorted(filter(kind.needs, report["unexpected_keys"])) if kind.exact else []
    faults = []
    if missing:
        faults.append(f"{len(missing)} weights are missing ({_some(missing)})")
    if misshapen:
        key, found, expected = misshapen[0]
        faults.append(f"{len(misshapen)} have another shape (first: {key} is {tuple(found)}, expected {tuple(expected)})")
    if unexpected:
        faults.append(f"{len(unexpected)} are unexpected ({_some(unexpected)})")
    if faults:
        raise WeightsError(
            f"{source.name}: the checkpoint in {source.folder} is not that of the {kind.noun} in its {CONFIGURATION}: "
            f"{'; '.join(faults)}. What is missing would be drawn at random. Give a model that was trained as one."
        )


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")


def _weights_files(folder: Path) -> list[Path]:
    """Return the files that transformers reads weights from: safetensors, or else a pickle; each has been looked at."""
    for file in _present(folder, WEIGHTS):
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


def _present(folder: Path, names: Sequence[str]) -> list[Path]:
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
