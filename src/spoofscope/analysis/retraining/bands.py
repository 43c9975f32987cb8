"""Where in the spectrum training attacks differ from bona fide speech, and the bands that a mask takes out for it.

Conventions
-----------
The profile of a recording is its mean log spectrum over 60 linear filters, as the LFCC-CNN hears it (units of 30 dB, nothing lower
than 60 dB below the loudest), less its median over the filters: neither the level nor a change elsewhere in the spectrum moves
a filter. Only the trials that are given are looked at; who holds a family out leaves it out here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.retraining.plan import Band, Plan
from spoofscope.audio import SAMPLE_RATE, Audio
from spoofscope.errors import RecipeError
from spoofscope.metrics.rates import auc
from spoofscope.networks.lfcc import N_BANDS, floored, log_filterbank

STEP_HZ = 50.0
TOPS_HZ = np.linspace(0.0, SAMPLE_RATE / 2, N_BANDS + 2)[1:-1]
"""The frequency at which each filter of a profile is open, in hertz."""


class Bands(NamedTuple):
    """The bands of one held-out group: what each arm masks."""

    target: Band
    control: Band


def profile(audio: Audio) -> NDArray[np.float64]:
    """Mean log spectrum of a recording at 16 kHz: (60,)."""
    mean = floored(log_filterbank(audio)).mean(axis=0, dtype=np.float64)
    return np.asarray(mean - np.median(mean))


def contrast(
    profiles: NDArray[np.float64], is_bonafide: NDArray[np.bool_], attacks: NDArray[np.object_]
) -> NDArray[np.float64]:
    """How far each filter alone tells bona fide from spoof, every attack counting the same.

    Parameters
    ----------
    profiles : (n, 60) float array
        From `profile`.
    is_bonafide : (n,) bool array
    attacks : (n,) array of str
        The attack of each spoof; those of bona fide trials are not looked at.

    Returns
    -------
    (60,) float array
        `mean over attacks of |2 AUC - 1|`: 0 for a filter that tells nothing, 1 for one that parts every attack from bona fide.

    Raises
    ------
    NotEnoughTrials
        If a class is empty.
    """
    bonafide = profiles[is_bonafide]
    by_attack = [profiles[~is_bonafide & (attacks == attack)] for attack in sorted(set(attacks[~is_bonafide]))]
    areas = [[auc(*sides) for sides in zip(bonafide.T, spoof.T, strict=True)] for spoof in by_attack or [profiles[:0]]]
    return np.asarray(np.abs(2 * np.array(areas) - 1).mean(axis=0))


def locate(plan: Plan, contrasts: NDArray[np.float64]) -> Bands:
    """Place the bands of a plan: the target where the mean contrast is highest, the control where it is lowest apart from it.

    Bands start every 50 Hz from the lower end of the plan's range; of equals, the lowest is taken.

    Raises
    ------
    RecipeError
        If no control fits beside the target.
    """
    starts = np.arange(plan.range_hz.low_hz, plan.range_hz.high_hz - plan.width + 1e-6, STEP_HZ).tolist()
    candidates = [Band(low_hz, low_hz + plan.width) for low_hz in starts]
    contrast_of = {band: mean_contrast(band, contrasts) for band in candidates}
    target = plan.target if isinstance(plan.target, Band) else max(candidates, key=contrast_of.__getitem__)
    controls = [plan.control] if isinstance(plan.control, Band) else sorted(candidates, key=contrast_of.__getitem__)
    for control in controls:
        if not control.overlaps(target):
            return Bands(target, control)
    raise RecipeError(
        f"no control of {plan.width:g} Hz fits beside the target, {target.low_hz:g} to {target.high_hz:g} Hz. "
        "Narrow the bands, widen range_hz, or fix the bands in the plan."
    )


def mean_contrast(band: Band, contrasts: NDArray[np.float64]) -> float:
    """Mean contrast of the filters that are open inside a band; `nan` if it is too narrow to hold one."""
    inside = contrasts[slice(*np.searchsorted(TOPS_HZ, band).tolist())]
    return float(inside.mean()) if len(inside) else np.nan
