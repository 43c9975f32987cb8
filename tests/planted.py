"""A small corpus of coloured noise in which attacks are given away by bands that the test chooses."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from spoofscope.trials import Trials

Cues = Mapping[str, Mapping[tuple[float, float], float]]
"""For each attack, which bands are louder than in bona fide speech, in decibels."""

RATE = 16_000


def coloured(rng: np.random.Generator, seconds: float, gains_db: Mapping[tuple[float, float], float]) -> np.ndarray:
    """Noise that falls by 3 dB per octave, with some bands raised; its level is drawn."""
    size = round(seconds * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    decibels = -10 * np.log10(np.maximum(hertz, 50.0)) + rng.uniform(-3, 3)
    for (low_hz, high_hz), gain_db in gains_db.items():
        decibels[(hertz >= low_hz) & (hertz < high_hz)] += gain_db + rng.normal(0, 0.5)
    sound = np.fft.irfft(spectrum * 10 ** (decibels / 20), size)
    return (0.1 * sound / np.abs(sound).max()).astype(np.float32)


def planted_trials(
    root: Path, name: str, cues: Cues, *, speakers: int = 5, bonafide: int = 4, each: int = 2, seconds: float = 0.5
) -> Trials:
    """Write a list of trials; the family of attack `A1` is `A`."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for speaker in range(speakers):
        takes = [("-", {})] * bonafide + [(attack, gains) for attack, gains in cues.items() for _ in range(each)]
        for number, (attack, gains_db) in enumerate(takes):
            trial_id = f"{name}-{speaker}-{number}"
            rng = np.random.default_rng([speaker, number, *name.encode()])
            soundfile.write(root / f"{trial_id}.wav", coloured(rng, seconds, gains_db), RATE, subtype="FLOAT")
            label = "bonafide" if attack == "-" else "spoof"
            rows.append((trial_id, f"{trial_id}.wav", label, attack, f"{name}-s{speaker}", attack[0]))
    columns = ["trial_id", "path", "label", "attack", "speaker", "family"]
    return Trials(pl.DataFrame(rows, schema=columns, orient="row"), root, f"planted, {name}")
