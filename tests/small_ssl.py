"""A small SSL_Anti-spoofing checkpoint with random weights, in the published form."""

from typing import Any

import torch

from spoofscope.networks.ssl_aasist import back_end_shapes
from spoofscope.networks.xlsr import Sizes, fairseq_shapes

SIZES = Sizes(layers=2, dim=32, inner=64, heads=2, channels=(16,) * 7)
PRETRAINING = {
    "quantizer.vars": (1, 8, 4),
    "quantizer.weight_proj.weight": (8, 16),
    "quantizer.weight_proj.bias": (8,),
    "project_q.weight": (4, 4),
    "project_q.bias": (4,),
    "final_proj.weight": (4, 32),
    "final_proj.bias": (4,),
}


def published_state(*, seed: int = 0, prefix: str = "") -> dict[str, Any]:
    """Return a state dict as the original code saves it, `prefix` before every name."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {f"ssl_model.model.{name}": shape for name, shape in fairseq_shapes(SIZES, pretraining=PRETRAINING)}
    state = {}
    for name, shape in (shapes | dict(back_end_shapes(SIZES.dim))).items():
        if name.endswith("num_batches_tracked"):
            state[prefix + name] = torch.tensor(3)
        elif name.endswith("running_var"):
            state[prefix + name] = torch.rand(shape, generator=generator) + 0.5
        else:
            state[prefix + name] = torch.randn(shape, generator=generator) * 0.2 + (name.endswith("norm.weight"))
    return state
