"""XLS-R 300M, the speech encoder of 128 languages, frozen: the front end of many spoofing detectors before any fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spoofscope.embedders import Card, embedder
from spoofscope.embedders._encoder import EncoderEmbedder
from spoofscope.embedders._pretrained import pretrained_embedder

MODEL = "facebook/wav2vec2-xls-r-300m"
# The same tensors load without `do_stable_layer_norm` too, and give other numbers.
ARCHITECTURE = {"model_type": "wav2vec2", "num_hidden_layers": 24, "hidden_size": 1024, "do_stable_layer_norm": True}
CARD = Card(
    name="xlsr",
    licence="Apache-2.0",
    output="pooled layers of XLS-R 300M: 0 to 24 before the final layer norm, and final after it",
    trained_on=("voxpopuli", "mls", "commonvoice", "voxlingua107", "babel"),
    paper="Babu et al., XLS-R: Self-supervised Cross-lingual Speech Representation Learning at Scale, arXiv:2111.09296",
    note=f"Loaded by transformers from the Hugging Face hub ({MODEL}) or a folder; the digest in a run is that of the file found.",
)


@embedder(CARD)
def xlsr(
    *,
    model: str | Path = MODEL,
    pool: str = "mean",
    window: str = "whole",
    normalise: bool | None = None,
    layers: str | Sequence[str] | None = None,
    revision: str | None = None,
    device: str = "cpu",
    precision: str = "float32",
    untrained: bool = False,
) -> EncoderEmbedder:
    """Pooled layers of XLS-R 300M: 24 transformer layers of 1,024 numbers.

    `"0"` is what enters the first layer, `"1"` to `"24"` what leaves each, before the final layer norm, and `"final"` what
    leaves that norm. A study that numbers hidden states from 0 to 24 means `"final"` by its 24.

    Parameters
    ----------
    model : str
        The published model on the Hugging Face hub, or a folder that holds it.
    pool : {"mean", "mean_std"}
        Mean over time, or mean followed by population standard deviation (2,048 numbers).
    window : {"whole", "detector"}
        The whole recording, or the first 4.04 s (64,600 samples) that the challenge's detectors hear, a shorter one repeated.
    normalise : bool, optional
        Give each recording zero mean and unit variance first. Its processor configuration says yes, the detectors built on
        it do not; that configuration decides unless given.
    layers : sequence of str, optional
        Layers to keep; all unless given. Layers above the highest of them are not computed.
    revision : str, optional
        Branch, tag or commit of the hub; the commit found is in the card's `weights_url`.
    device : str
        `"cpu"`, `"cuda"`, or one card such as `"cuda:1"`.
    precision : {"float32", "bfloat16"}
        Of the matrix products; bfloat16 on CUDA only.
    untrained : bool
        Draw the weights at random (seeded) instead of reading them: the baseline of a probe. The name then ends in `.untrained`.

    Raises
    ------
    MissingExtra
        If PyTorch or transformers is not installed.
    UserError
        If an option makes no sense.
    WeightsError
        If the model cannot be had, is damaged, lacks weights, or is not of XLS-R 300M's architecture.
    """
    return pretrained_embedder(
        CARD,
        model=model,
        pool=pool,
        window=window,
        normalise=normalise,
        layers=layers,
        revision=revision,
        device=device,
        precision=precision,
        untrained=untrained,
        architecture=ARCHITECTURE,
    )
