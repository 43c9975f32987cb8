"""How many times faster our AASIST is than the published network run eagerly: `python -m benchmarks.aasist`.

Both sides get the same clips and all cores; their repetitions alternate, so that other work on the machine slows both.
The answer is the ratio of the best times, and how far the two sides' logits are apart.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from spoofscope.detectors import card_of, detectors
from spoofscope.errors import WeightsError
from spoofscope.fetch import weights_path
from tests.oracles.eager_aasist import load_eager


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--weights", type=Path, help="the folder that holds the checkpoint")
    options.add_argument("--detector", default="aasist.la19")
    options.add_argument("--repetitions", type=int, default=5)
    chosen = options.parse_args()

    card = card_of(chosen.detector)
    try:
        path = weights_path(card, weights=chosen.weights / card.weights_file if chosen.weights else None)
    except WeightsError as error:
        print(f"skipped: {error}")
        return
    detector = detectors.get(card.name)(weights=path)
    eager = load_eager(str(path), card.name.partition(".")[0])
    clips = list(np.random.default_rng(0).normal(0, 0.1, (16, 64_600)).astype(np.float32))

    def ours(batch: list[np.ndarray]) -> np.ndarray:
        return detector.score(batch)

    def published(batch: list[np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            return eager(torch.from_numpy(np.stack(batch)))[1][:, 1].numpy()

    print(
        f"{card.name} on {torch.get_num_threads()} cores, PyTorch {torch.__version__}; seconds per clip, best of {chosen.repetitions}"
    )
    print(f"{'batch':>5} {'published':>10} {'ours':>8} {'ratio':>6} {'largest difference of logits':>29}")
    for size in (1, 16):
        batch = clips[:size]
        difference = float(np.abs(ours(batch) - published(batch)).max())
        times = [(timed(published, batch), timed(ours, batch)) for _ in range(chosen.repetitions)]
        slow, fast = (min(side) / size for side in zip(*times, strict=True))
        print(f"{size:5d} {slow:10.3f} {fast:8.3f} {slow / fast:6.2f} {difference:29.1e}", flush=True)
        assert difference < 1e-4


def timed(forward, batch: list[np.ndarray]) -> float:
    start = time.perf_counter()
    forward(batch)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
