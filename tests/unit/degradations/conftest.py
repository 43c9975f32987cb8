"""Sound for the tests of degradations."""

import numpy as np
import pytest

from spoofscope.audio import Audio

RATE = 16_000


@pytest.fixture(scope="session")
def speech() -> Audio:
    """Two seconds of gated harmonics with hiss, and 0.4 s of near silence at each end."""
    rng = np.random.default_rng(7)
    time = np.arange(2 * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * time + k * k) / k for k in range(1, 40))
    active = (time > 0.4) & (time < 1.6)
    sound = active * (0.1 * voice + 0.02 * rng.standard_normal(len(time))) + 1e-4 * rng.standard_normal(len(time))
    sound = sound.astype(np.float32)
    sound.flags.writeable = False
    return sound


@pytest.fixture
def rng() -> np.random.Generator:
    """A stream like that of one trial."""
    return np.random.default_rng(3)
