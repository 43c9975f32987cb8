"""A classifier on what must not tell the classes apart: level, peaks, duration, silence, DC, background, bandwidth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, read_audio
from spoofscope.trials import Trials

FEATURES = ("level", "crest", "duration", "leading silence", "trailing silence", "DC", "background", "bandwidth")
FRAME = 160


class ShortcutScores(NamedTuple):
    """What the shortcuts give away about the test list.

    Fields
    ------
    scores : dict of str to (n,) float array
        Higher meaning more bona fide; one entry per feature alone, and `all` for all of them together.
    is_bonafide : (n,) bool array
        The truth.
    """

    scores: dict[str, NDArray[np.float64]]
    is_bonafide: NDArray[np.bool_]


def shortcut_scores(train: Trials, test: Trials) -> ShortcutScores:
    """Train logistic regressions on the shortcuts of `train` and apply them to `test`.

    The equal error rate of each should stay near one half; where it does not, a detector may have learnt the
    recording instead of the speech.

    Raises
    ------
    AudioError
        If a recording cannot be read.
    """
    known, asked = shortcut_features(train), shortcut_features(test)
    centre, spread = known.mean(axis=0), known.std(axis=0) + 1e-9
    known, asked = (known - centre) / spread, (asked - centre) / spread
    columns = {name: [index] for index, name in enumerate(FEATURES)} | {"all": list(range(len(FEATURES)))}
    scores = {
        name: _expanded(asked[:, chosen]) @ _logistic(_expanded(known[:, chosen]), train.is_bonafide)
        for name, chosen in columns.items()
    }
    return ShortcutScores(scores, test.is_bonafide)


def shortcut_features(trials: Trials) -> NDArray[np.float64]:
    """Features of every recording, in the order of `FEATURES`; (n, 8)."""
    return np.array([_features(read_audio(path)) for path in trials.paths])


def _features(audio: Audio) -> tuple[float, ...]:
    from scipy.signal import welch

    x = audio.astype(np.float64)
    rms = float(np.sqrt(np.mean(x**2))) + 1e-9
    count = max(1, len(x) // FRAME)
    frames = np.resize(x, count * FRAME).reshape(count, FRAME)
    level_db = 20 * np.log10(np.sqrt(np.mean(frames**2, axis=1)) / rms + 1e-7)
    loud = np.flatnonzero(level_db > -25)
    hertz, power = welch(x, SAMPLE_RATE, nperseg=min(512, len(x)))
    power_db = 10 * np.log10(power / power.max() + 1e-12)
    return (
        20 * np.log10(rms),
        20 * np.log10(np.abs(x).max() / rms + 1e-9),
        len(x) / SAMPLE_RATE,
        float(loud[0]) if len(loud) else float(count),
        float(count - loud[-1]) if len(loud) else float(count),
        20 * np.log10(abs(x.mean()) / rms + 1e-7),
        float(np.percentile(level_db, 5)),
        float(hertz[power_db > -50].max()),
    )


def _expanded(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features, their squares, and one: a middle value may be telling too."""
    clipped = np.clip(features, -4, 4)
    return np.hstack([clipped, clipped**2, np.ones((len(clipped), 1))])


def _logistic(features: NDArray[np.float64], is_bonafide: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights of a ridge-penalised logistic regression by Newton's method, both classes counting the same."""
    share = is_bonafide.mean()
    balance = np.where(is_bonafide, 0.5 / share, 0.5 / (1 - share))
    weights = np.zeros(features.shape[1])
    penalty = np.full(features.shape[1], 1e-2 * len(features))
    penalty[-1] = 1e-6
    for _ in range(25):
        chance = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        slope = features.T @ (balance * (chance - is_bonafide)) + penalty * weights
        bend = (features * (balance * chance * (1 - chance))[:, None]).T @ features + np.diag(penalty)
        weights -= np.linalg.solve(bend, slope)
    return weights
