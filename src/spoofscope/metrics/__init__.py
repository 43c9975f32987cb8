"""Metrics: arrays in, numbers out, numpy only.

Every function takes `bonafide` and `spoof`, one-dimensional arrays of finite scores, higher meaning more bona fide. Rates are
`miss` (bona fide rejected: the field's FRR, ISO/IEC 30107-3's BPCER) and `false_alarm` (spoof accepted: FAR, APCER). A
trial is accepted when its score is at or above the threshold.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import NotEnoughTrials, ScoresError


class Estimate(NamedTuple):
    """A figure with its interval and what it rests on; `nan` with a note where the quantity does not exist."""

    value: float
    low: float
    high: float
    level: float
    n_bonafide: int
    n_spoof: int
    n_clusters: int
    note: str = ""


def check_scores(
    bonafide: NDArray[np.floating], spoof: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both classes as float64 arrays that a metric can rely on.

    Raises
    ------
    NotEnoughTrials
        If a class is empty.
    ScoresError
        If an array is not one-dimensional, or holds a score that is not finite.
    """
    checked = []
    for name, scores in (("bona fide", bonafide), ("spoof", spoof)):
        array = np.asarray(scores, dtype=np.float64)
        if array.ndim != 1:
            raise ScoresError(f"{name} scores have shape {array.shape}; a metric takes one dimension")
        if array.size == 0:
            raise NotEnoughTrials(f"no {name} scores: a rate needs at least one trial of each class")
        if not np.isfinite(array).all():
            raise ScoresError(f"{np.count_nonzero(~np.isfinite(array))} of {array.size} {name} scores are not finite")
        checked.append(array)
    return checked[0], checked[1]
