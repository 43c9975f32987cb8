"""SSL_Anti-spoofing's back end op for op, eager and unfolded: the slow second implementation, and what speed is measured against.

References
----------
Tak et al., "Automatic speaker verification spoofing and deepfake detection using wav2vec 2.0 and data augmentation", Odyssey 2022.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.oracles.eager_aasist import Block, Graphs

CHANNELS = (32, 32, 64, 64, 64, 64)


class EagerBackEnd(Graphs):
    """(n, frames, dim) frames of the encoder to the last hidden layer (n, 160) and two logits (n, 2)."""

    def __init__(self, dim: int) -> None:
        super().__init__(42, 64, (64, 32), (0.5, 0.5, 0.5))
        self.LL = nn.Linear(dim, 128)
        self.first_bn, self.first_bn1 = nn.BatchNorm2d(1), nn.BatchNorm2d(64)
        pairs = zip((1, *CHANNELS[:-1]), CHANNELS, strict=True)
        self.encoder = nn.Sequential(*(nn.Sequential(Block(a, b, first=i == 0, pool=1)) for i, (a, b) in enumerate(pairs)))
        self.attention = nn.Sequential(nn.Conv2d(64, 128, 1), nn.SELU(), nn.BatchNorm2d(128), nn.Conv2d(128, 64, 1))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = self.LL(frames).transpose(1, 2).unsqueeze(1)
        x = F.selu(self.first_bn(F.max_pool2d(x, (3, 3))))
        x = F.selu(self.first_bn1(self.encoder(x)))
        weights = self.attention(x)
        spectrum = torch.sum(x * F.softmax(weights, dim=-1), dim=-1).transpose(1, 2)
        time = torch.sum(x * F.softmax(weights, dim=-2), dim=-2).transpose(1, 2)
        return self.read(spectrum, time)
