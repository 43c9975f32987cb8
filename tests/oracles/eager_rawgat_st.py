"""The published RawGAT-ST-mul network op for op, eager and unfolded: the slow second implementation.

References
----------
Tak et al., "End-to-End Spectro-Temporal Graph Attention Networks for Speaker Verification Anti-Spoofing and Speech Deepfake Detection",
ASVspoof 2021 workshop.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.oracles.eager_aasist import Attention, sinc_filters

CHANNELS = ((32, 32), (32, 32), (32, 64), (64, 64), (64, 64), (64, 64))


class Block(nn.Module):
    """Two convolutions and a shortcut; `conv_1`, for a single channel, is in every block and used in the first alone."""

    def __init__(self, channels_in: int, channels_out: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        if not first:
            self.bn1 = nn.BatchNorm2d(channels_in)
            self.conv1 = nn.Conv2d(channels_in, channels_out, (2, 3), padding=(1, 1))
        self.conv_1 = nn.Conv2d(1, channels_out, (2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, (2, 3), padding=(0, 1))
        if channels_in != channels_out:
            self.conv_downsample = nn.Conv2d(channels_in, channels_out, (1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            y = self.conv_1(x)
        else:
            F.selu(self.bn1(x))  # computed and thrown away, as published
            y = self.conv1(x)
        y = self.conv2(F.selu(self.bn2(y)))
        y = y + (self.conv_downsample(x) if hasattr(self, "conv_downsample") else x)
        return F.max_pool2d(y, (1, 3))


class Pool(nn.Module):
    """At least two nodes, one recording after another."""

    def __init__(self, share: float, dim: int) -> None:
        super().__init__()
        self.share = share
        self.proj = nn.Linear(dim, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        scores = torch.sigmoid(self.proj(nodes))
        _, order = torch.topk(scores, max(2, int(self.share * nodes.shape[1])), dim=1)
        return torch.stack([gated[kept[:, 0]] for gated, kept in zip(nodes * scores, order, strict=True)])


class EagerRawgatSt(nn.Module):
    """(n, 64,600) audio to the nodes kept by the mixed graph (n, 7, 16) and two logits (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = sinc_filters()
        self.first_bn = nn.BatchNorm2d(1)
        for encoder in ("encoder1", "encoder2"):
            blocks = [nn.Sequential(Block(a, b, first=i == 0)) for i, (a, b) in enumerate(CHANNELS)]
            setattr(self, encoder, nn.Sequential(*blocks))
        self.GAT_layer1, self.pool1 = Attention(64, 32, 1.0), Pool(0.64, 32)
        self.GAT_layer2, self.pool2 = Attention(64, 32, 1.0), Pool(0.81, 32)
        self.GAT_layer3, self.pool3 = Attention(32, 16, 1.0), Pool(0.64, 16)
        self.proj1, self.proj2 = nn.Linear(14, 12), nn.Linear(23, 12)
        self.proj, self.proj_node = nn.Linear(16, 1), nn.Linear(7, 2)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        x = F.conv1d(audio.unsqueeze(1), self.filters).unsqueeze(1)
        x = F.selu(self.first_bn(F.max_pool2d(torch.abs(x), (3, 3))))
        spectrum = self.encoder1(x).abs().amax(dim=3).transpose(1, 2)  # (n, 23, 64)
        time = self.encoder2(x).abs().amax(dim=2).transpose(1, 2)  # (n, 29, 64)
        spectrum = self.proj1(self.pool1(self.GAT_layer1(spectrum)).transpose(1, 2))  # (n, 32, 12)
        time = self.proj2(self.pool2(self.GAT_layer2(time)).transpose(1, 2))
        nodes = self.pool3(self.GAT_layer3((spectrum * time).transpose(1, 2)))
        return nodes, self.proj_node(self.proj(nodes).flatten(1))


def load_eager(path: str) -> EagerRawgatSt:
    network = EagerRawgatSt()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    return network.eval()
