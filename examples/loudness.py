"""Loudness as a detector: the negated mean level. Nothing to download; a floor to compare with."""

import numpy as np

from spoofscope.detectors import Card, detector


@detector(Card(name="loudness", sample_rate=16_000, window_s=None, trained_on=(), licence="MIT"))
class Loudness:
    def score(self, batch):
        return np.array([-np.mean(np.abs(audio)) for audio in batch], dtype=np.float32)
