"""How far every stage is from the original code, worst absolute difference: `python -m benchmarks.parity`.

Two tables: the small SSL_Anti-spoofing model (random weights in the published form) and AASIST with its published weights. They need the
reference outputs and weights in ../shared, and say so where those are absent.
"""

import json
from typing import Any

import numpy as np

from spoofscope.networks import linear
from spoofscope.networks.aasist import AASIST, AASIST_L
from spoofscope.networks.checkpoint import read_state
from spoofscope.networks.convolution import channels_innermost
from spoofscope.networks.ssl_aasist_checkpoint import open_checkpoint
from tests.parity import aasist_reference, aasist_stages, ssl_aasist_reference, ssl_aasist_stages
from tests.shared import SHARED


def as_used(model: Any) -> Any:
    return linear.pack(channels_innermost(model))


def ssl_aasist() -> None:
    folder = SHARED / "golden/ssl_aasist_tiny"
    with np.load(folder / "inputs.npz") as inputs, np.load(folder / "outputs.npz") as outputs:
        clips = np.stack([inputs[name] for name in outputs["clips"]])
        reference = ssl_aasist_reference(dict(outputs))
    checkpoint = open_checkpoint(folder / "tiny_LA_model.pth", "ssl_aasist", heads=4)
    plain = ssl_aasist_stages(checkpoint, clips)
    packed = ssl_aasist_stages(checkpoint, clips, prepare=as_used, attention="sdpa")
    single = [ssl_aasist_stages(checkpoint, clip[None], prepare=as_used, attention="sdpa") for clip in clips]
    alone = {name: np.concatenate([stages[name] for stages in single]) for name in packed}
    print(f"small SSL_Anti-spoofing model, {len(clips)} clips; largest difference from the original code, float32")
    print(f"{'stage':18s} {'largest value':>13} {'eager, batch 5':>15} {'as used, batch 5':>17} {'as used, batch 1':>17}")
    for name, (values, kept) in reference.items():
        apart = [float(np.abs(kept(stages[name]) - values).max()) for stages in (plain, packed, alone)]
        print(f"{name:18s} {np.abs(values).max():13.2f} {apart[0]:15.1e} {apart[1]:17.1e} {apart[2]:17.1e}")


def aasist() -> None:
    meta = json.loads((SHARED / "golden/aasist_real/meta.json").read_text())
    with np.load(SHARED / "golden/aasist_real/inputs.npz") as inputs:
        clips = dict(inputs)
    for name, architecture in (("AASIST", AASIST), ("AASIST-L", AASIST_L)):
        with np.load(SHARED / f"golden/aasist_real/{name}.npz") as outputs:
            reference, named = aasist_reference(outputs), [str(clip) for clip in outputs["clips"]]
        gaps = np.array([meta[name]["min_topk_gap_per_clip"][clip] for clip in named])
        stages = aasist_stages(
            read_state(SHARED / f"weights/{name}.pth"), architecture, np.stack([clips[clip] for clip in named])
        )
        tied = ", ".join(clip for clip, gap in zip(named, gaps, strict=True) if gap <= 1e-5) or "none"
        print(f"\n{name}, published weights, {len(named)} clips (order of nodes decided by less than 1e-5 in: {tied})")
        print(f"{'stage':18s} {'largest value':>13} {'largest difference':>19} {'without those clips':>20}")
        for stage, values in reference.items():
            apart = np.abs(stages[stage] - values).reshape(len(values), -1).max(axis=1)
            print(f"{stage:18s} {np.abs(values).max():13.2f} {apart.max():19.1e} {apart[gaps > 1e-5].max():20.1e}")


if __name__ == "__main__":
    if SHARED.is_dir():
        ssl_aasist()
        aasist()
    else:
        print("skipped: no reference outputs in ../shared")
