"""Any speech encoder of transformers as an embedder: wav2vec 2.0, HuBERT, WavLM, UniSpeech, data2vec, w2v-BERT, Whisper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spoofscope.embedders import Card, embedder
from spoofscope.embedders._encoder import EncoderEmbedder
from spoofscope.embedders._pretrained import pretrained_embedder

CARD = Card(name="hf", licence="", output="pooled layers of a speech encoder of transformers")


@embedder(CARD)
def hf(
    *,
    model: str | Path,
    pool: str = "mean",
    window: str = "whole",
    normalise: bool | None = None,
    layers: str | Sequence[str] | None = None,
    revision: str | None = None,
    device: str = "cpu",
    precision: str = "float32",
    untrained: bool = False,
    trained_on: Sequence[str] = (),
    name: str = "",
) -> EncoderEmbedder:
    """Pooled layers of a speech encoder of transformers; a head that its checkpoint holds is left out.

    The layers are called `"0"` (what enters the first transformer layer), `"1"` to the last (what leaves each, before any
    final layer norm) and, in encoders that have that norm, `"final"` (after it, which is `last_hidden_state`). The "24" of a
    study that numbers XLS-R's hidden states from 0 to 24 is `"final"`.

    Sound shorter than the encoder can hear (400 samples; 560 for w2v-BERT) is repeated up to it. Whisper hears 30 s at a time:
    a longer recording is cut into stretches of 30 s, and the frames of all are pooled; frames of padding never are.

    Parameters
    ----------
    model : str
        `ORG/NAME` of the Hugging Face hub, or a folder with `config.json` and weights.
    pool : {"mean", "mean_std"}
        Mean over time, or mean followed by population standard deviation, which doubles the dimension.
    window : {"whole", "detector"}
        The whole recording, or the first 4.04 s (64,600 samples) that the challenge's detectors hear, a shorter one repeated.
    normalise : bool, optional
        Give each recording zero mean and unit variance first (w2v-BERT: each mel band of it). As the encoder's own
        `preprocessor_config.json` says unless given; the answer is in `settings`.
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
    trained_on : sequence of str
        Corpora that it was trained on.
    name : str
        What the embedder is called in tables; `hf.` and the last part of `model` unless given.

    Raises
    ------
    MissingExtra
        If PyTorch or transformers is not installed.
    UserError
        If an option makes no sense, or the model is no speech encoder known here.
    WeightsError
        If the model cannot be had, is damaged, or lacks weights of its encoder.
    """
    card = replace(CARD, name=name or f"hf.{Path(model).absolute().name}", trained_on=tuple(trained_on))
    return pretrained_embedder(
        card,
        model=model,
        pool=pool,
        window=window,
        normalise=normalise,
        layers=layers,
        revision=revision,
        device=device,
        precision=precision,
        untrained=untrained,
    )
