"""The published AASIST network op for op, eager and unfolded: the slow second implementation, and what speed is measured against.

References
----------
Jung et al., "AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks", ICASSP 2022.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHAPES = {  # channels of the six blocks, dimensions of the two graph stages, pool ratios (spectral, temporal, later)
    "aasist": ((32, 32, 64, 64, 64, 64), (64, 32), (0.5, 0.7, 0.5)),
    "aasist_l": ((32, 32, 24, 24, 24, 24), (24, 32), (0.4, 0.5, 0.7)),
}


def sinc_filters() -> Tensor:
    """Return (70, 1, 129) band-pass filters: differences of two windowed sincs between edges equally spaced in mel."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 71)
    edges = 700 * (10 ** (mels / 2595) - 1)
    taps = np.arange(-64, 65)
    low_pass = [2 * edge / 16000 * np.sinc(2 * edge * taps / 16000) for edge in edges]
    bands = np.stack([high - low for low, high in pairwise(low_pass)])
    return torch.tensor(np.hamming(129) * bands, dtype=torch.float32)[:, None]


class Attention(nn.Module):
    def __init__(self, dim_in: int, dim_out: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.att_weight = nn.Parameter(torch.empty(dim_out, 1))
        self.att_proj, self.proj_with_att, self.proj_without_att = (nn.Linear(dim_in, dim_out) for _ in range(3))
        self.bn = nn.BatchNorm1d(dim_out)

    def forward(self, x: Tensor) -> Tensor:
        pairs = x.unsqueeze(2) * x.unsqueeze(1)
        weights = torch.tanh(self.att_proj(pairs)) @ self.att_weight
        attention = F.softmax(weights / self.temperature, dim=-2).squeeze(-1)
        x = self.proj_with_att(attention @ x) + self.proj_without_att(x)
        return F.selu(self.bn(x.flatten(0, 1)).view_as(x))


class MixedAttention(nn.Module):
    def __init__(self, dim_in: int, dim_out: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        for name in ("11", "22", "12", "M"):
            setattr(self, f"att_weight{name}", nn.Parameter(torch.empty(dim_out, 1)))
        self.proj_type1, self.proj_type2 = nn.Linear(dim_in, dim_in), nn.Linear(dim_in, dim_in)
        for name in ("att_proj", "att_projM", "proj_with_att", "proj_without_att", "proj_with_attM", "proj_without_attM"):
            setattr(self, name, nn.Linear(dim_in, dim_out))
        self.bn = nn.BatchNorm1d(dim_out)

    def forward(self, x1: Tensor, x2: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n1 = x1.shape[1]
        x = torch.cat([self.proj_type1(x1), self.proj_type2(x2)], dim=1)
        pairs = torch.tanh(self.att_proj(x.unsqueeze(2) * x.unsqueeze(1)))
        board = torch.zeros_like(pairs[..., :1])
        board[:, :n1, :n1] = pairs[:, :n1, :n1] @ self.att_weight11
        board[:, n1:, n1:] = pairs[:, n1:, n1:] @ self.att_weight22
        board[:, :n1, n1:] = pairs[:, :n1, n1:] @ self.att_weight12
        board[:, n1:, :n1] = pairs[:, n1:, :n1] @ self.att_weight12
        attention = F.softmax(board / self.temperature, dim=-2).squeeze(-1)
        to_master = torch.tanh(self.att_projM(x * master)) @ self.att_weightM
        to_master = F.softmax(to_master / self.temperature, dim=-2).squeeze(-1).unsqueeze(1)
        master = self.proj_with_attM(to_master @ x) + self.proj_without_attM(master)
        x = self.proj_with_att(attention @ x) + self.proj_without_att(x)
        x = F.selu(self.bn(x.flatten(0, 1)).view_as(x))
        return x[:, :n1], x[:, n1:], master


class Pool(nn.Module):
    def __init__(self, ratio: float, dim: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.proj = nn.Linear(dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.sigmoid(self.proj(x))
        _, order = torch.topk(scores, max(int(x.shape[1] * self.ratio), 1), dim=1)
        return torch.gather(x * scores, 1, order.expand(-1, -1, x.shape[2]))


class Block(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, *, first: bool, pool: int = 3) -> None:
        super().__init__()
        self.pool = pool
        if not first:
            self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, (2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, (2, 3), padding=(0, 1))
        if channels_in != channels_out:
            self.conv_downsample = nn.Conv2d(channels_in, channels_out, (1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "bn1"):
            F.selu(self.bn1(x))  # computed and thrown away, as published
        y = self.conv2(F.selu(self.bn2(self.conv1(x)), inplace=True))
        y += self.conv_downsample(x) if hasattr(self, "conv_downsample") else x
        return F.max_pool2d(y, (1, self.pool))


class Graphs(nn.Module):
    """Spectral and temporal nodes to the last hidden layer (n, 160) and two logits (n, 2)."""

    def __init__(self, nodes: int, channels: int, dims: tuple[int, int], ratios: tuple[float, float, float]) -> None:
        super().__init__()
        dim, dim2 = dims
        self.pos_S = nn.Parameter(torch.empty(1, nodes, channels))
        self.master1, self.master2 = nn.Parameter(torch.empty(1, 1, dim)), nn.Parameter(torch.empty(1, 1, dim))
        self.GAT_layer_S, self.GAT_layer_T = Attention(channels, dim, 2.0), Attention(channels, dim, 2.0)
        self.pool_S, self.pool_T = Pool(ratios[0], dim), Pool(ratios[1], dim)
        for i in "12":
            setattr(self, f"HtrgGAT_layer_ST{i}1", MixedAttention(dim, dim2, 100.0))
            setattr(self, f"HtrgGAT_layer_ST{i}2", MixedAttention(dim2, dim2, 100.0))
            setattr(self, f"pool_hS{i}", Pool(ratios[2], dim2))
            setattr(self, f"pool_hT{i}", Pool(ratios[2], dim2))
        self.out_layer = nn.Linear(5 * dim2, 2)

    def branch(self, i: str, time: Tensor, spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        layer = dict(self.named_children())
        time, spectrum, master = layer[f"HtrgGAT_layer_ST{i}1"](time, spectrum, getattr(self, f"master{i}"))
        time, spectrum = layer[f"pool_hT{i}"](time), layer[f"pool_hS{i}"](spectrum)
        more_time, more_spectrum, more_master = layer[f"HtrgGAT_layer_ST{i}2"](time, spectrum, master)
        return time + more_time, spectrum + more_spectrum, master + more_master

    def read(self, spectrum: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = self.pool_S(self.GAT_layer_S(spectrum + self.pos_S))
        time = self.pool_T(self.GAT_layer_T(time))
        both = zip(self.branch("1", time, spectrum), self.branch("2", time, spectrum), strict=True)
        time, spectrum, master = (torch.max(one, two) for one, two in both)
        hidden = [time.abs().amax(1), time.mean(1), spectrum.abs().amax(1), spectrum.mean(1), master.squeeze(1)]
        last_hidden = torch.cat(hidden, dim=1)
        return last_hidden, self.out_layer(last_hidden)


class EagerAasist(Graphs):
    """(n, samples) audio to the last hidden layer (n, 160) and two logits (n, 2)."""

    def __init__(self, shape: str) -> None:
        channels, dims, ratios = SHAPES[shape]
        super().__init__(23, channels[-1], dims, ratios)
        self.filters = sinc_filters()
        self.first_bn = nn.BatchNorm2d(1)
        pairs = zip((1, *channels[:-1]), channels, strict=True)
        self.encoder = nn.Sequential(*(nn.Sequential(Block(a, b, first=i == 0)) for i, (a, b) in enumerate(pairs)))

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        x = F.conv1d(audio.unsqueeze(1), self.filters).unsqueeze(1)
        x = F.selu(self.first_bn(F.max_pool2d(torch.abs(x), (3, 3))), inplace=True)
        x = self.encoder(x)
        return self.read(x.abs().amax(dim=3).transpose(1, 2), x.abs().amax(dim=2).transpose(1, 2))


def load_eager(path: str, shape: str) -> EagerAasist:
    network = EagerAasist(shape)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    return network.eval()
