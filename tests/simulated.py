"""Embeddings drawn from a known truth: speakers, source utterances, attacks, and an effect where one is wanted."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray


def simulated_embeddings(
    rng: np.random.Generator,
    *,
    attacks: Mapping[str, Sequence[float]],
    speakers: int = 20,
    per_speaker: int = 6,
    per_attack: int = 2,
    dim: int = 8,
    speaker_spread: float = 0.5,
) -> tuple[NDArray[np.float32], pl.DataFrame]:
    """Draw (n, dim) vectors and their trials: every speaker says `per_speaker` bona fide utterances and `per_attack` of each attack.

    `attacks` gives the first coordinates of each attack's centre; bona fide is at 0, noise has deviation 1.
    """
    vectors, rows = [], []
    for speaker in range(speakers):
        voice = speaker_spread * rng.standard_normal(dim)
        for label, attack, count, centre in [
            ("bonafide", "-", per_speaker, ()),
            *(("spoof", name, per_attack, shift) for name, shift in attacks.items()),
        ]:
            for take in range(count):
                vector = voice + rng.standard_normal(dim)
                vector[: len(centre)] += centre
                vectors.append(vector)
                name = f"s{speaker}-{attack}-{take}"
                rows.append({"trial_id": name, "label": label, "attack": attack, "speaker": f"s{speaker}", "source": name})
    return np.array(vectors, dtype=np.float32), pl.DataFrame(rows)
