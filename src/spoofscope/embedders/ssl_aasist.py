"""The encoder inside a checkpoint of SSL_Anti-spoofing: XLS-R as fine-tuning on spoofing left it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spoofscope.embedders import Card, embedder
from spoofscope.embedders._encoder import EncoderEmbedder, window_s
from spoofscope.errors import WeightsError
from spoofscope.fetch import weights_path
from spoofscope.networks.hub import need_transformers
from spoofscope.networks.ssl_aasist_checkpoint import DF21, LA21, PAPER, Checkpoint, open_checkpoint, require_published
from spoofscope.networks.xlsr import XLSR_300M, build_encoder

OUTPUT = "pooled layers of the encoder: 0 to 24 before the final layer norm, and final after it, which the detector reads"


def _card(name: str, published: dict[str, Any]) -> Card:
    return Card(name=name, licence="MIT", output=OUTPUT, trained_on=("asvspoof2019_la/train",), paper=PAPER, **published)


@embedder(_card("xlsr.la21", LA21))
def xlsr_la21(
    *,
    weights: str | Path | None = None,
    pool: str = "mean",
    window: str = "whole",
    normalise: bool = False,
    layers: str | Sequence[str] | None = None,
    device: str = "cpu",
    precision: str = "float32",
) -> EncoderEmbedder:
    """The encoder of `ssl_aasist.la21`: XLS-R 300M fine-tuned on ASVspoof 2019 LA.

    Layers are those of `xlsr`; the detector itself reads `final` of the window `detector`, not normalised.

    Parameters
    ----------
    weights : path, optional
        The detector's checkpoint, as published or converted; looked up as the detector's own unless given.
    pool, window, layers, device, precision
        As for `xlsr`.
    normalise : bool
        Give each recording zero mean and unit variance first. Its fine-tuning did not.
    """
    return _published(_card("xlsr.la21", LA21), weights, pool, window, normalise, layers, device, precision)


@embedder(_card("xlsr.df21", DF21))
def xlsr_df21(
    *,
    weights: str | Path | None = None,
    pool: str = "mean",
    window: str = "whole",
    normalise: bool = False,
    layers: str | Sequence[str] | None = None,
    device: str = "cpu",
    precision: str = "float32",
) -> EncoderEmbedder:
    """The encoder of `ssl_aasist.df21`: another fine-tuning of XLS-R 300M on ASVspoof 2019 LA.

    Parameters
    ----------
    weights, pool, window, normalise, layers, device, precision
        As for `xlsr.la21`.
    """
    return _published(_card("xlsr.df21", DF21), weights, pool, window, normalise, layers, device, precision)


@embedder(Card(name="ssl_aasist.encoder", licence="", output=OUTPUT, paper=PAPER))
def encoder(
    *,
    weights: str | Path,
    name: str = "",
    trained_on: Sequence[str] = (),
    heads: int | None = None,
    pool: str = "mean",
    window: str = "whole",
    normalise: bool = False,
    layers: str | Sequence[str] | None = None,
    device: str = "cpu",
    precision: str = "float32",
) -> EncoderEmbedder:
    """The encoder inside a checkpoint of this architecture that was trained elsewhere.

    Parameters
    ----------
    weights : path
        As for the detector `ssl_aasist`.
    name : str
        What the embedder is called in tables; `ssl_aasist.encoder.` and the file's name unless given.
    trained_on : sequence of str
        Corpora that it was trained on.
    heads : int, optional
        Attention heads, which the tensors do not tell; 16 unless given.
    pool, window, normalise, layers, device, precision
        As for `xlsr.la21`.
    """
    need_transformers("ssl_aasist.encoder")
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(f"ssl_aasist.encoder: no weights at {path}. Give the path of a checkpoint.")
    checkpoint = open_checkpoint(path, "ssl_aasist.encoder", heads=heads)
    card = Card(
        name=name or f"ssl_aasist.encoder.{path.stem}",
        licence="",
        output=OUTPUT,
        trained_on=tuple(trained_on),
        paper=PAPER,
        weights_file=path.name,
    )
    return _embedder(card, checkpoint, pool, window, normalise, layers, device, precision)


def _published(card: Card, weights: str | Path | None, *options: Any) -> EncoderEmbedder:
    need_transformers(card.name)
    path = weights_path(card, weights=weights)
    checkpoint = open_checkpoint(path, card.name, sizes=XLSR_300M)
    require_published(checkpoint, card, path, own="ssl_aasist.encoder")
    return _embedder(card, checkpoint, *options)


def _embedder(
    card: Card,
    checkpoint: Checkpoint,
    pool: str,
    window: str,
    normalise: bool,
    layers: str | Sequence[str] | None,
    device: str,
    precision: str,
) -> EncoderEmbedder:
    return EncoderEmbedder(
        build_encoder(checkpoint.encoder, checkpoint.sizes, attention="sdpa"),
        card=replace(card, window_s=window_s(window), weights_sha256=checkpoint.sha256),
        normalise=normalise,
        pool=pool,
        layers=layers,
        device=device,
        precision=precision,
        settings={"heads": checkpoint.sizes.heads},
    )
