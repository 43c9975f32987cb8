"""Walk a speech encoder of transformers over recordings of any length, and pool its residual stream layer by layer.

Layers
------
The stream is read where it enters and leaves the transformer layers themselves, never from `hidden_states`, whose last entry
is before the final layer norm in some versions of transformers and after it in others. The names mean the same in all:

`"0"`
    What enters the first transformer layer: the projected features with the positional embedding added. Encoders that
    normalise after each sub-layer (wav2vec 2.0 base, HuBERT base, WavLM base, data2vec) apply `encoder.layer_norm` before
    their first layer, so there `"0"` is after that norm. In w2v-BERT, whose positions enter within the layers, it is the
    projected features.
`"i"`, 1 to the number of layers
    What leaves transformer layer `i - 1`, **before** any final layer norm.
`"final"`
    What leaves the final layer norm, which is `last_hidden_state`. It exists where there is such a norm: in encoders that
    normalise before each sub-layer (`do_stable_layer_norm`: XLS-R, wav2vec 2.0 large LV-60, HuBERT large, WavLM large), in the
    conformer of wav2vec 2.0, and in Whisper. In the others the last `"i"` is `last_hidden_state`.

A published table that numbers XLS-R's hidden states 0 to 24 by the tuple of transformers 4 means `"0"` to `"23"` by its first
24 entries and `"final"` by its last: that "24" is after the final norm. `"24"` here is before it.
An adapter behind the encoder (`add_adapter`) is not part of the stream.

Padding
-------
Recordings of similar length share a padded batch only where the network leaves padding out exactly: the convolutions normalise
each frame by itself (`feat_extract_norm="layer"`) and the positional convolution sees zeros behind the sound. Elsewhere (group
norm over time; data2vec's stack of positional convolutions; HuBERT's positional batch norm; the conformer's unmasked
convolutions) only recordings of equal length do. Real frames alone are pooled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import BASELINE_WINDOW_S, Audio
from spoofscope.cards import Card
from spoofscope.embedders._hearing import Filterbank, Hearing, Piece, Samples, WhisperSpectrogram
from spoofscope.embedders._pool import Moments, checked_pool, merged, pooled_dim, vector
from spoofscope.errors import UserError
from spoofscope.networks.convolution import channels_innermost
from spoofscope.networks.devices import checked_device
from spoofscope.networks.linear import pack

Tensor: TypeAlias = Any

# Of a padded row, at most this share is padding: beyond it a forward pass of its own is cheaper.
MOST_PADDING = 0.2
# Families whose code calls its linear layers and does not reach for their weights.
PACKED = ("wav2vec2", "hubert")


class Family(NamedTuple):
    """How the encoders of one `model_type` are fed, whether a final norm follows their layers, and whether they mask exactly."""

    hears: Literal["samples", "filterbank", "whisper"]
    has_final_norm: Callable[[Any], bool]
    masks_exactly: Callable[[Any], bool]


def _always(config: Any) -> bool:
    return True


def _never(config: Any) -> bool:
    return False


def _is_pre_norm(config: Any) -> bool:
    return bool(config.do_stable_layer_norm)


def _normalises_frames(config: Any) -> bool:
    return config.feat_extract_norm == "layer" and not getattr(config, "conv_pos_batch_norm", False)


FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(
        ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"), Family("samples", _is_pre_norm, _normalises_frames)
    ),
    "data2vec-audio": Family("samples", _never, _never),
    "wav2vec2-conformer": Family("samples", _always, _never),
    "wav2vec2-bert": Family("filterbank", _never, _always),
    "whisper": Family("whisper", _always, _never),
}


class EncoderEmbedder:
    """A speech encoder of transformers as an embedder; see this module for what the layers are.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A base model, or the encoder of Whisper, with its weights. It is moved to `device` in float32 and put into evaluation
        mode.
    card : Card
        Of these weights. Its `window_s` and `padding` decide what is heard.
    normalise : bool
        Whether a recording is given zero mean and unit variance first (w2v-BERT: each mel band).
    pool : {"mean", "mean_std"}
        Mean over time, or mean followed by population standard deviation.
    layers : str or sequence of str, optional
        The layers kept, in this order; all unless given. No layer above the highest of them is computed.
    device : str
        `"cpu"`, `"cuda"`, or one card such as `"cuda:1"`.
    precision : {"float32", "bfloat16"}
        Of the matrix products; bfloat16 on CUDA only. Pooling is in float64, the answer in float32.
    feature_extractor : transformers feature extractor, optional
        Needed by w2v-BERT and Whisper.
    settings : mapping, optional
        Further facts that decide the vectors, for `settings`.

    Raises
    ------
    UserError
        If an option is none of those allowed, or the encoder is of no family known here.
    """

    def __init__(
        self,
        model: Any,
        *,
        card: Card,
        normalise: bool,
        pool: str = "mean",
        layers: str | Sequence[str] | None = None,
        device: str = "cpu",
        precision: str = "float32",
        feature_extractor: Any = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        import torch

        self.card = card
        self._pool = checked_pool(pool)
        self._device = checked_device(device)
        self.precision = _checked_precision(precision, self._device)
        family = family_of(model.config)
        whole = model.encoder if family.hears == "whisper" and hasattr(model, "encoder") else model
        whole = whole.to(device=self._device, dtype=torch.float32).eval()
        with torch.inference_mode():
            laid_out = self._device == "cpu" and model.config.model_type in PACKED
            self._model = pack(channels_innermost(whole)) if laid_out else whole
        self._masks_exactly = family.masks_exactly(model.config)
        self._hearing = _hearing(family, self._model, feature_extractor, normalise)
        self._points = _points(self._model, family)
        self.layers = chosen_layers(layers, tuple(self._points), card.name)
        self.dim = pooled_dim(model.config.hidden_size, self._pool)
        self.settings: Mapping[str, Any] = {
            "pool": self._pool,
            "normalise": normalise,
            "layers": list(self.layers),
            **(settings or {}),
        }

    def embed(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the pooled layers of each recording: (n, layers, dim) float32."""
        owners: list[int] = []
        pieces: list[Piece] = []
        for owner, audio in enumerate(batch):
            made = self._hearing.pieces(self.card.fit(audio))
            owners += [owner] * len(made)
            pieces += made
        parts: list[list[list[Moments]]] = [[] for _ in batch]
        lengths = [len(piece.values) for piece in pieces]
        for bucket in buckets(lengths, pads=self._masks_exactly, most_steps=self._hearing.most_steps):
            for index, layers in zip(bucket, self._walk([pieces[index] for index in bucket]), strict=True):
                parts[owners[index]].append(layers)
        vectors = np.empty((len(batch), len(self.layers), self.dim), dtype=np.float32)
        for owner, place in np.ndindex(*vectors.shape[:2]):
            vectors[owner, place] = vector(merged([layers[place] for layers in parts[owner]]), self._pool)
        return vectors

    def _walk(self, pieces: Sequence[Piece]) -> list[list[Moments]]:
        """Run the encoder once over some pieces; return the moments of each, in the order of `layers`."""
        import torch

        found: dict[str, Tensor] = {}
        highest = max(self.layers, key=list(self._points).index)

        def receive(name: str, stream: Tensor) -> None:
            if name in self.layers:
                found[name] = torch.stack([_moments(row[: piece.frames]) for row, piece in zip(stream, pieces, strict=True)])
            if name == highest:
                raise _Enough

        with torch.inference_mode(), self._arithmetic(), listening(self._points, receive), suppress(_Enough):
            self._model(**self._arguments(pieces))
        moments = [found[name].cpu().numpy() for name in self.layers]
        return [[Moments(piece.frames, *layer[row]) for layer in moments] for row, piece in enumerate(pieces)]

    def _arguments(self, pieces: Sequence[Piece]) -> dict[str, Tensor]:
        import torch

        longest = max(len(piece.values) for piece in pieces)
        values = np.zeros((len(pieces), longest, *pieces[0].values.shape[1:]), dtype=np.float32)
        mask = np.zeros((len(pieces), longest), dtype=np.int64)
        for row, piece in enumerate(pieces):
            values[row, : len(piece.values)] = piece.values
            mask[row, : len(piece.values)] = 1
        fed = torch.from_numpy(values).to(self._device)
        arguments = {self._hearing.input_name: fed.transpose(1, 2) if self._hearing.channels_first else fed}
        if not mask.all():
            arguments["attention_mask"] = torch.from_numpy(mask).to(self._device)
        return arguments

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """Compute as the options say, and let float32 be float32 on CUDA, where cuDNN rounds convolutions to TF32."""
        import torch

        with ExitStack() as contexts:
            contexts.enter_context(warnings.catch_warnings())
            # WavLM hands PyTorch a mask of booleans beside a bias of floats, which it takes and complains of.
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
            if self._device != "cpu":
                contexts.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
                contexts.enter_context(torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.precision == "bfloat16"))
            yield


class _Enough(Exception):
    """Raised out of a forward pass by which everything asked for has been seen."""


class Point(NamedTuple):
    """A place of the residual stream: what enters or leaves a module."""

    module: Any
    side: Literal["input", "output"]


def _points(encoder: Any, family: Family) -> dict[str, Point]:
    """Name the places of the residual stream, in the order in which they are passed."""
    stack = encoder if family.hears == "whisper" else encoder.encoder
    points = {"0": Point(stack.layers[0], "input")}
    points |= {str(number): Point(layer, "output") for number, layer in enumerate(stack.layers, start=1)}
    if family.has_final_norm(encoder.config):
        points["final"] = Point(stack.layer_norm, "output")
    return points


@contextmanager
def listening(points: Mapping[str, Point], receive: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Within this block, call `receive(name, stream)` for each point that is passed, with (batch, frames, dim) tensors."""

    def on_input(name: str) -> Callable[..., None]:
        return lambda module, arguments, named: receive(name, arguments[0] if arguments else named["hidden_states"])

    def on_output(name: str) -> Callable[..., None]:
        return lambda module, arguments, answer: receive(name, answer[0] if isinstance(answer, tuple) else answer)

    with ExitStack() as handles:
        for name, (module, side) in points.items():
            if side == "input":
                handle = module.register_forward_pre_hook(on_input(name), with_kwargs=True)
            else:
                handle = module.register_forward_hook(on_output(name))
            handles.callback(handle.remove)
        yield


def _moments(frames: Tensor) -> Tensor:
    """Return mean and population variance of (frames, dim) numbers: (2, dim) in float64."""
    import torch

    variance, mean = torch.var_mean(frames.double(), dim=0, correction=0)
    return torch.stack([mean, variance])


def buckets(lengths: Sequence[int], *, pads: bool, most_steps: int) -> Iterator[list[int]]:
    """Part recordings into batches of similar length.

    Parameters
    ----------
    lengths : sequence of int
        Steps of each.
    pads : bool
        Whether a batch may hold different lengths; no row of it is then more than a fifth padding.
    most_steps : int
        Bound on the rows of a batch times the longest of them; a longer recording is alone.

    Yields
    ------
    list of int
        Places in `lengths`; each comes once.
    """
    bucket: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        similar = lengths[index] >= (longest * (1 - MOST_PADDING) if pads else longest)
        if bucket and not (similar and (len(bucket) + 1) * longest <= most_steps):
            yield bucket
            bucket = []
        if not bucket:
            longest = lengths[index]
        bucket.append(index)
    if bucket:
        yield bucket


def _hearing(family: Family, model: Any, feature_extractor: Any, normalise: bool) -> Hearing:
    if family.hears == "samples":
        return Samples(model, normalise=normalise)
    if feature_extractor is None:
        raise UserError(f"an encoder of the family {model.config.model_type} needs its feature extractor")
    if family.hears == "filterbank":
        return Filterbank(feature_extractor, normalise=normalise)
    return WhisperSpectrogram(model, feature_extractor, normalise=normalise)


def family_of(config: Any) -> Family:
    """Return the family of an encoder by the `model_type` of its configuration.

    Raises
    ------
    UserError
        If it is none known here.
    """
    if config.model_type not in FAMILIES:
        raise UserError(
            f"the model is of type '{config.model_type}'; the speech encoders known here are {', '.join(FAMILIES)}. "
            "Export another one to ONNX and name it onnx:FILE."
        )
    return FAMILIES[config.model_type]


def chosen_layers(layers: str | int | Sequence[str | int] | None, known: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return the names of the layers to keep, in the order asked.

    Raises
    ------
    UserError
        If there is none, one is unknown, or one is named twice.
    """
    if layers is None:
        return known
    chosen = tuple(str(layer) for layer in ([layers] if isinstance(layers, str | int) else layers))
    unknown = [layer for layer in chosen if layer not in known]
    if unknown:
        raise UserError(f"{name} has no layer '{unknown[0]}'; its layers are {', '.join(known)}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise UserError(f"layers is {list(chosen)}; name at least one layer of {name}, each once")
    return chosen


def window_s(window: str) -> float | None:
    """Return the seconds that a window heard lasts: None for `"whole"`, 4.0375 for `"detector"`.

    Raises
    ------
    UserError
        If it is neither word.
    """
    if window not in ("whole", "detector"):
        raise UserError(f"window is '{window}'; it must be whole, or detector for the first 64,600 samples")
    return None if window == "whole" else BASELINE_WINDOW_S


def _checked_precision(precision: str, device: str) -> str:
    if precision not in ("float32", "bfloat16"):
        raise UserError(f"precision is '{precision}'; it must be float32 or bfloat16")
    if precision == "bfloat16" and device == "cpu":
        raise UserError("precision is 'bfloat16', which is for a graphics processor: say device='cuda', or leave it float32")
    return precision
