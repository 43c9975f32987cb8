"""Loudness as a detector, in a package of its own."""

import numpy as np

from spoofscope.detectors import Card, detector


@detector(Card(name="loudness.plugin", licence="MIT", polarity="spoof", output="mean absolute sample"))
class Loudness:
    """The mean level: higher for the class that is louder, here taken to be spoof."""

    def score(self, batch):
        """Return the mean absolute sample of each recording."""
        return np.array([np.mean(np.abs(audio)) for audio in batch], dtype=np.float32)
