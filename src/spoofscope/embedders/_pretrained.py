"""Load a speech encoder of transformers from a folder or the Hugging Face hub, all of its weights or not at all.

Nothing of what is loaded is executed: code beside the weights is never trusted, and a pickled checkpoint may hold tensors only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from spoofscope.cards import Card
from spoofscope.embedders._encoder import EncoderEmbedder, family_of, window_s
from spoofscope.errors import MissingExtra, UserError, WeightsError
from spoofscope.fetch import sha256_of
from spoofscope.networks.checkpoint import read_state

# In the order in which transformers looks for them.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
HEARING = ("preprocessor_config.json", "processor_config.json")
# What the layers are computed from; adapters, heads and the embedding that masks frames in training are not.
ENCODER_PARTS = ("feature_extractor.", "feature_projection.", "encoder.")


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


def pretrained_embedder(
    card: Card,
    *,
    model: str | Path,
    pool: str,
    window: str,
    normalise: bool | None,
    layers: str | Sequence[str] | None,
    revision: str | None,
    device: str,
    precision: str,
    architecture: Mapping[str, Any] | None = None,
) -> EncoderEmbedder:
    """Build the embedder of a published encoder; the other options are those of `hf`.

    Parameters
    ----------
    card : Card
        What is known without loading; window, rate, and address and digest of the weights are filled in.
    architecture : mapping, optional
        What its configuration must say.

    Raises
    ------
    MissingExtra
        If PyTorch or transformers is not installed.
    UserError
        If an option makes no sense, or the model is no speech encoder known here.
    WeightsError
        If the model cannot be had, is damaged, or lacks weights of its encoder.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtra(card.name, "ssl") from error
    heard_s = window_s(window)
    source = find(model, revision=revision, name=card.name)
    encoder, feature_extractor = load(source, name=card.name, architecture=architecture or {})
    return EncoderEmbedder(
        encoder,
        card=replace(
            card,
            window_s=heard_s,
            sample_rate=getattr(feature_extractor, "sampling_rate", card.sample_rate),
            weights_url=source.address,
            weights_sha256=digest(weights_files(source.folder)),
        ),
        normalise=resolved_normalise(normalise, feature_extractor, encoder, source),
        pool=pool,
        layers=layers,
        device=device,
        precision=precision,
        feature_extractor=feature_extractor,
        settings={"configuration_sha256": digest(_present(source.folder, ("config.json", *HEARING)))},
    )


def find(model: str | Path, *, revision: str | None, name: str) -> Source:
    """Return the folder of a model: the user's own, or that of the hub's cache, filled from the hub where need be.

    Raises
    ------
    UserError
        If `model` is neither a folder nor the name of a model on the hub, or a folder is given a revision.
    WeightsError
        If the hub has no such model, or does not answer and the cache does not hold it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UserError(f"{name}: model is the folder {folder}, which has no revision. Leave 'revision' out.")
        return Source(folder.resolve(), folder.resolve().name, "")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(model)):
        raise UserError(f"{name}: there is no folder {model}, and a model of the Hugging Face hub is named ORG/NAME.")
    return _download(str(model), revision)


def _download(model: str, revision: str | None) -> Source:
    """Fetch configuration and weights; whatever the branch does meanwhile, all files are of one commit."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    def fetch(file: str, commit: str | None) -> Path | None:
        try:
            return Path(hf_hub_download(model, file, revision=commit))
        except EntryNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{model}: the Hugging Face hub did not give {file} ({_first_line(error)}). Check the name and the revision; "
                "without network, download the model elsewhere and give its folder."
            ) from error

    configuration = fetch("config.json", revision)
    if configuration is None:
        raise WeightsError(
            f"{model}: no config.json on the Hugging Face hub or in its cache. Check the name, or connect this machine once."
        )
    folder, commit = configuration.parent, configuration.parent.name
    for file in HEARING:
        fetch(file, commit)
    for file in WEIGHTS:
        if fetch(file, commit) is not None:
            for shard in _shards(folder / file):
                fetch(shard, commit)
            break
    return Source(folder, model, commit)


def load(source: Source, *, name: str, architecture: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the encoder with all its weights in float32, and its feature extractor (None if the folder has none).

    Parameters
    ----------
    name : str
        The embedder that it is for, for messages.
    architecture : mapping
        What its configuration must say.

    Raises
    ------
    UserError
        If the model is no speech encoder known here.
    WeightsError
        If a file is absent, damaged or holds more than tensors, the architecture is another, or weights of the encoder are
        missing or of another shape.
    """
    import torch
    import transformers

    folder = source.folder
    try:
        configuration = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{folder} holds no model that transformers knows ({_first_line(error)}).") from error
    family = family_of(configuration)
    for key, expected in architecture.items():
        if (found := getattr(configuration, key, None)) != expected:
            raise WeightsError(
                f"{folder} is not {name}: its {key} is {found}, expected {expected}. Name another encoder as hf:{source.name}."
            )
    for file in weights_files(folder):
        _refuse_damaged(file)
    # Since transformers 5 the configuration may choose half precision, even where the weights are stored in full.
    in_full = {"dtype": torch.float32} if int(transformers.__version__.split(".")[0]) >= 5 else {}
    try:
        with _quiet():
            model, report = transformers.AutoModel.from_pretrained(
                folder,
                config=configuration,
                trust_remote_code=False,
                weights_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **in_full,
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise WeightsError(f"cannot load the weights in {folder}: {_first_line(error)}") from error
    _refuse_incomplete(report, folder)
    encoder = model.encoder if family.hears == "whisper" else model
    return encoder, _feature_extractor(folder)


def _feature_extractor(folder: Path) -> Any:
    import transformers

    try:
        with _quiet():
            return transformers.AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError):
        return None


def resolved_normalise(normalise: bool | None, feature_extractor: Any, model: Any, source: Source) -> bool:
    """Return whether recordings are normalised: as asked, or else as the model's own feature extractor does.

    Raises
    ------
    UserError
        If it is not asked and the model's folder does not say, or it is no yes or no.
    """
    if normalise not in (None, True, False):
        raise UserError(
            f"normalise is {normalise!r}; it must be True, False, or None for what the encoder's own processor says"
        )
    if feature_extractor is None and (normalise is None or not hasattr(model.config, "conv_kernel")):
        raise UserError(
            f"{source.name} has no readable {HEARING[0]}, which says how it is fed. Put the file beside its weights"
            + (", or say normalise=True or normalise=False." if hasattr(model.config, "conv_kernel") else ".")
        )
    if normalise is not None:
        return normalise
    # w2v-BERT's normalises its mel bands whenever it is called; Whisper's normalises samples only where it is told.
    default = type(feature_extractor).__name__ == "SeamlessM4TFeatureExtractor"
    return bool(getattr(feature_extractor, "do_normalize", default))


def weights_files(folder: Path) -> list[Path]:
    """Return the files that transformers reads weights from.

    Raises
    ------
    WeightsError
        If there is none, or a part of a checkpoint in parts is absent.
    """
    for file in _present(folder, WEIGHTS):
        parts = [folder / shard for shard in _shards(file)] or [file]
        absent = [part.name for part in parts if not part.is_file()]
        if absent:
            raise WeightsError(f"{folder}: {len(absent)} of {len(parts)} parts of the weights are absent (first: {absent[0]})")
        return parts
    raise WeightsError(f"{folder} holds no weights: there is none of {', '.join(WEIGHTS)}")


def digest(files: Sequence[Path]) -> str:
    """Return the SHA-256 of a file; of several, that of their digests in order, a line each."""
    digests = [sha256_of(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _present(folder: Path, names: Sequence[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def _shards(file: Path) -> list[str]:
    """Name the parts that an index lists; none for a file of weights."""
    if file.suffix != ".json":
        return []
    try:
        shards: set[str] = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{file} is not an index of weights ({_first_line(error)}).") from error
    return sorted(shards)


def _refuse_damaged(file: Path) -> None:
    """Read what transformers is going to, so that a damaged or dangerous file is refused in words of our own."""
    if file.suffix != ".safetensors":
        read_state(file)
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np"):
            pass
    except SafetensorError as error:
        raise WeightsError(f"{file} is not a readable safetensors file ({_first_line(error)}). Get it again.") from error


def _refuse_incomplete(report: Any, folder: Path) -> None:
    """Transformers draws what a checkpoint lacks, or holds in another shape, at random, and says so in a log."""
    missing = sorted(key for key in report["missing_keys"] if key.startswith(ENCODER_PARTS))
    misshapen = sorted(entry for entry in report["mismatched_keys"] if entry[0].startswith(ENCODER_PARTS))
    faults = []
    if missing:
        faults.append(f"{len(missing)} of its weights are missing (first: {', '.join(missing[:3])})")
    if misshapen:
        key, found, expected = misshapen[0]
        faults.append(f"{len(misshapen)} have another shape (first: {key} is {tuple(found)}, expected {tuple(expected)})")
    if faults:
        raise WeightsError(f"the checkpoint in {folder} is not that of the encoder in its config.json: {'; '.join(faults)}.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing reports and progress bars that say less than the errors here."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
