"""Build an embedder of a published speech encoder of transformers, from a folder or the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from spoofscope.cards import Card
from spoofscope.embedders._encoder import FAMILIES, EncoderEmbedder, window_s
from spoofscope.errors import UserError, WeightsError
from spoofscope.networks.hub import (
    HEARING,
    Kind,
    Source,
    digest,
    find,
    load,
    need_transformers,
    read_configuration,
    read_feature_extractor,
)
from spoofscope.networks.hub import untrained as new

# What the layers are computed from; adapters, heads and the embedding that masks frames in training are not.
ENCODER_PARTS = ("feature_extractor.", "feature_projection.", "encoder.")
ENCODER = Kind(
    noun="speech encoder",
    types=tuple(FAMILIES),
    otherwise="Export another one to ONNX and name it onnx:FILE.",
    auto="AutoModel",
    needs=lambda weight: weight.startswith(ENCODER_PARTS),
    exact=False,
)


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
    untrained: bool,
    architecture: Mapping[str, Any] | None = None,
) -> EncoderEmbedder:
    """Build the embedder of a published encoder; the other options are those of `hf`.

    Parameters
    ----------
    card : Card
        What is known without loading; window, rate, and address and digest of the weights are filled in.
    untrained : bool
        Whether weights are drawn anew instead of read; the name then ends in `.untrained`.
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
    need_transformers(card.name)
    heard_s = window_s(window)
    source = find(model, revision=revision, name=card.name)
    configuration, feature_extractor = read_configuration(source, ENCODER), None
    _refuse_another(configuration, architecture or {}, name=card.name, source=source)
    with suppress(UserError):
        feature_extractor = read_feature_extractor(source)
    normalised = _normalises(normalise, feature_extractor, configuration, source)
    if untrained:
        encoder = new(configuration, ENCODER)
        card = replace(card, name=f"{card.name}.untrained", trained_on=())
    else:
        encoder, files = load(source, configuration, ENCODER)
        card = replace(card, weights_url=source.address, weights_sha256=digest(files))
    return EncoderEmbedder(
        encoder,
        card=replace(
            card,
            window_s=heard_s,
            sample_rate=getattr(feature_extractor, "sampling_rate", card.sample_rate),
        ),
        normalise=normalised,
        pool=pool,
        layers=layers,
        device=device,
        precision=precision,
        feature_extractor=feature_extractor,
        settings={"configuration_sha256": source.configuration_sha256} | ({"untrained": True} if untrained else {}),
    )


def _refuse_another(configuration: Any, architecture: Mapping[str, Any], *, name: str, source: Source) -> None:
    for key, expected in architecture.items():
        if (found := getattr(configuration, key, None)) != expected:
            raise WeightsError(
                f"{source.folder} is not {name}: its {key} is {found}, expected {expected}. "
                f"Name another encoder as hf:{source.name}."
            )


def _normalises(normalise: bool | None, feature_extractor: Any, configuration: Any, source: Source) -> bool:
    """Return whether recordings are normalised: as asked, or else as the model's own feature extractor does."""
    if normalise not in (None, True, False):
        raise UserError(
            f"normalise is {normalise!r}; it must be True, False, or None for what the encoder's own processor says"
        )
    if feature_extractor is None and (normalise is None or not hasattr(configuration, "conv_kernel")):
        raise UserError(
            f"{source.name} has no readable {HEARING[0]}, which says how it is fed. Put the file beside its weights"
            + (", or say normalise=True or normalise=False." if hasattr(configuration, "conv_kernel") else ".")
        )
    if normalise is not None:
        return normalise
    # w2v-BERT's normalises its mel bands whenever it is called; Whisper's normalises samples only where it is told.
    default = type(feature_extractor).__name__ == "SeamlessM4TFeatureExtractor"
    return bool(getattr(feature_extractor, "do_normalize", default))
