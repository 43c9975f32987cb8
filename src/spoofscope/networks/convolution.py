"""The convolutions of a speech encoder for inference on a CPU, channels innermost.

`transformers` keeps time innermost, so each of seven layer norms over the channels turns tens of megabytes around and back. Here sound stays
(time, channels) in memory from the first convolution to the last; shapes stay as they were, so nothing around it changes.
"""

from __future__ import annotations

from typing import Any

from spoofscope.networks.aasist_blocks import Tensor


def channels_innermost(model: Any) -> Any:
    """Replace the convolutions of a `Wav2Vec2Model` whose convolutions are layer-normed; the same sums, rounded alike."""
    layers = model.feature_extractor.conv_layers
    if all(hasattr(layer, "layer_norm") and not hasattr(layer.layer_norm, "num_groups") for layer in layers):
        kind = _convolution()
        for index, layer in enumerate(layers):
            layers[index] = kind(layer)
    return model


def _convolution() -> Any:
    import torch

    class Convolution(torch.nn.Module):  # type: ignore[misc]
        """One convolution, its layer norm and its activation: (n, channels, time) to (n, channels, time)."""

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.layer_norm, self.activation = layer.layer_norm, layer.activation
            self.stride = layer.conv.stride[0]
            weight = layer.conv.weight.detach()[:, :, None]
            self.single = weight.shape[1] == 1
            self.weight = weight.flatten(1) if self.single else weight.contiguous(memory_format=torch.channels_last)
            self.bias = None if layer.conv.bias is None else layer.conv.bias.detach()

        def forward(self, x: Tensor) -> Tensor:
            if self.single:  # one channel: the frames themselves, times the kernels
                frames = x[:, 0].unfold(1, self.weight.shape[1], self.stride)
                x = torch.nn.functional.linear(frames, self.weight, self.bias)
            else:
                x = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
                x = torch.conv2d(x, self.weight, self.bias, stride=(1, self.stride)).squeeze(2).transpose(1, 2)
            return self.activation(self.layer_norm(x)).transpose(1, 2)

    return Convolution
