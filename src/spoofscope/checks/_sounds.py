"""The synthetic sounds that detectors and embedders are checked on."""

from __future__ import annotations

import numpy as np

from spoofscope.audio import Audio

LENGTHS_S = (2.0, 3.1, 4.0375, 4.7, 1.3)
SHORT = (1, 2, 3, 5, 10, 100)
LONG_S = 60.0
SEED = 20_190_915


def sound(rng: np.random.Generator, samples: int, sample_rate: int) -> Audio:
    """A tone of ten harmonics with a slow envelope, over noise; pitch, tilt and level drawn."""
    time = np.arange(samples) / sample_rate
    pitch_hz, tilt = rng.uniform(80, 300), rng.uniform(0.5, 2)
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * time + rng.uniform(0, 6)) / k**tilt for k in range(1, 11))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(2, 5) * time)
    heard = rng.uniform(0.02, 0.1) * tone * envelope + rng.uniform(0.001, 0.02) * rng.standard_normal(samples)
    return np.asarray(heard, dtype=np.float32)
