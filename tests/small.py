"""A small corpus on disk and a slow, honest detector, for tests that run the whole loop."""

from pathlib import Path

import numpy as np
import soundfile

DETECTOR = '''
"""Spectral flatness as a detector, slowed down on request so that a run can be interrupted."""

import time

import numpy as np

from spoofscope.detectors import Card, detector


@detector(Card(name="flatness", licence="Apache-2.0", window_s=1.0))
class Flatness:
    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s

    def score(self, batch):
        time.sleep(self.delay_s)
        return np.array([self._one(audio) for audio in batch], dtype=np.float32)

    def _one(self, audio):
        power = np.abs(np.fft.rfft(audio)) ** 2 + 1e-9
        return -np.exp(np.log(power).mean()) / power.mean()
'''


def write_corpus(folder: Path, *, speakers: int = 8, seconds: float = 1.3) -> Path:
    """Write `bonafide/<speaker>/*.wav` and `spoof/<attack>/<speaker>/*.wav`: tones in less or more noise."""
    for speaker in range(speakers):
        rng = np.random.default_rng(speaker)
        time_s = np.arange(round(seconds * 16_000)) / 16_000
        for label, noise, count in (("bonafide", 0.05, 4), ("spoof/X1", 0.08, 3), ("spoof/X2", 0.2, 3)):
            for take in range(count):
                tone = sum(np.sin(2 * np.pi * rng.uniform(80, 400) * k * time_s) / k for k in range(1, 6))
                audio = 0.1 * tone + noise * rng.uniform(0.3, 1.5) * rng.standard_normal(len(time_s))
                path = folder / label / f"s{speaker}" / f"{label.replace('/', '-')}-{speaker}-{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.clip(audio, -1, 1).astype(np.float32), 16_000, subtype="PCM_16")
    return folder


def write_plugin(folder: Path) -> Path:
    """Write the detector as a plug-in file."""
    path = folder / "flatness.py"
    path.write_text(DETECTOR, encoding="utf-8")
    return path


def write_small_recipe(folder: Path, *, out: Path, detector: str = "flatness", **keys: object) -> Path:
    """Write a recipe over the small corpus; other keys are given as their TOML text."""
    lines = {
        "corpus": "'folder'",
        "root": f"'{folder / 'corpus'}'",
        "detectors": f"['{detector}']",
        "plugins": "['flatness.py']",
        "conditions": "['noise(\"white\", 10)', 'mp3(16)', 'windows(0.5)', 'trim_silence']",
        "out": f"'{out}'",
        "replicates": "100",
        "min_count": "3",
        "workers": "0",
        "breakdown": "['attack', 'speaker*attack']",
    } | {name: str(text) for name, text in keys.items()}
    path = folder / f"{out.name}.toml"
    path.write_text("\n".join(f"{name} = {text}" for name, text in lines.items()), encoding="utf-8")
    return path
