"""A ready score file as a detector: no audio, no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.cards import Polarity, adapter_card
from spoofscope.detectors import Card, detector
from spoofscope.errors import ScoresError, UserError
from spoofscope.fetch import sha256_of
from spoofscope.scores import read_score_text


@detector(Card(name="scores", licence="", output="as given in a score file"))
class ReadyScores:
    """Scores that were made elsewhere; there is no audio, so it can be evaluated on clean only.

    Parameters
    ----------
    path : path
        A score text: `id score`, `id attack label score`, or ASVspoof 5's `filename cm-score`; plain or `.gz`.
    polarity : {"bonafide", "spoof"}
        The class that a higher score stands for.
    name : str
        What the detector is called in tables; the name of the file unless given.
    trained_on : sequence of str
        Corpora that it was trained on.
    """

    def __init__(
        self, *, path: str | Path, polarity: Polarity = "bonafide", name: str = "", trained_on: Sequence[str] = ()
    ) -> None:
        table = read_score_text(path)
        self._path = path
        self._scores: dict[str, float] = dict(zip(table["trial_id"], table["score"], strict=True))
        self.settings: Mapping[str, Any] = {"scores_sha256": sha256_of(Path(path))}
        self.card = adapter_card(
            name or Path(path).name.removesuffix(".gz").removesuffix(".txt"),
            polarity=polarity,
            output=f"as given in {Path(path).name}",
            trained_on=trained_on,
        )

    def lookup(self, trial_ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the score of each trial.

        Raises
        ------
        ScoresError
            If the file has none for some of them; the message names the first, and shows what an id of the file looks like.
        """
        missing = [trial_id for trial_id in trial_ids if trial_id not in self._scores]
        if missing:
            raise ScoresError(
                f"{self._path} has no score for {len(missing)} of {len(trial_ids)} trials (first: {', '.join(missing[:3])}); "
                f"it has {len(self._scores):,} scores, the first of '{next(iter(self._scores))}'. Is it of this protocol?"
            )
        return np.array([self._scores[trial_id] for trial_id in trial_ids], dtype=np.float32)

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Raise `UserError`: a score file cannot hear."""
        raise UserError(f"{self.card.name} is a score file: it cannot score audio, only trials that it has scores for")
