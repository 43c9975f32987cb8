"""Shortcuts: how far duration, level and silence alone, or a recording's bandwidth, tell spoof from bona fide speech.

Conventions
-----------
Features are of the recording as it is, at 16 kHz; no model hears it. A classifier is a logistic regression on one feature or several and their
squares (a middle value may be telling too), both classes weighing the same, and is tested on speakers and sources that it has not
learnt from. Whatever it achieves is a ceiling for what a detector could owe to the shortcut, every group being known to it.

References
----------
Mueller et al., "Speech is Silver, Silence is Golden: What do ASVspoof-trained Models Really Learn?", ASVspoof workshop 2021.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.cells import Resampling, cluster_rows, with_interval
from spoofscope.analysis.confounds import Row, compared
from spoofscope.analysis.design import Design, Mask, design_of
from spoofscope.analysis.heads.logistic import balanced, fit_logistic
from spoofscope.audio import SAMPLE_RATE, Audio, read_audio
from spoofscope.degradations._activity import active_samples, mean_power
from spoofscope.degradations.trim_silence import TrimSilence
from spoofscope.errors import AudioError
from spoofscope.executors import Executor, Inline
from spoofscope.metrics.intervals import ScorePair, bootstrap
from spoofscope.scores import OK
from spoofscope.trials import Trials

Floats = NDArray[np.float64]
WINDOW = 512
BANDWIDTH_RANGE_DB = 50.0
CLIPPED = 4.0


class Features(NamedTuple):
    """What a recording gives away without being listened to.

    Parameters
    ----------
    duration_s : float
        Length.
    active_db : float
        Level of its active part, in dB of full scale.
    rms_db : float
        Level of the whole.
    crest_db : float
        Peak over the level of the whole.
    leading_s, trailing_s : float
        What `trim_silence` would cut from each end.
    silence_ratio : float
        Share of samples outside active frames.
    bandwidth_hz : float
        Highest frequency whose power is at most 50 dB below that of the strongest.
    """

    duration_s: float
    active_db: float
    rms_db: float
    crest_db: float
    leading_s: float
    trailing_s: float
    silence_ratio: float
    bandwidth_hz: float


SHORTCUTS: dict[str, tuple[str, ...]] = {
    "duration": ("duration_s",),
    "level": ("active_db",),
    "level of the whole": ("rms_db",),
    "crest": ("crest_db",),
    "leading silence": ("leading_s",),
    "trailing silence": ("trailing_s",),
    "share of silence": ("silence_ratio",),
    "bandwidth": ("bandwidth_hz",),
    "silence": ("leading_s", "trailing_s", "silence_ratio"),
    "all": Features._fields,
}
"""Which features each classifier sees."""


def features_of(audio: Audio, sample_rate: int = SAMPLE_RATE) -> Features:
    """Measure one recording; silence has levels of -180 dB and a bandwidth of 0."""
    from scipy.signal import welch

    rng = np.random.default_rng(0)  # trimming draws nothing
    leading, trailing = (
        (len(audio) - len(TrimSilence(side=side)(audio, sample_rate, rng))) / sample_rate for side in ("lead", "trail")
    )
    samples = audio.astype(np.float64)
    active = active_samples(audio, sample_rate)
    rms, peak = _decibel(float(np.mean(samples**2))), _decibel(float(np.max(samples**2)))
    hertz, power = welch(samples, sample_rate, nperseg=min(WINDOW, len(samples)))
    heard = (power > 0) & (power >= power.max() * 10 ** (-BANDWIDTH_RANGE_DB / 10))
    return Features(
        len(audio) / sample_rate,
        _decibel(mean_power(audio, active) if active.any() else 0.0),
        rms,
        peak - rms,
        leading,
        trailing,
        float(1 - active.mean()),
        float(hertz[heard].max(initial=0.0)),
    )


def _decibel(power: float) -> float:
    return float(10 * np.log10(power + 1e-18))


def measure_recordings(trials: Trials, executor: Executor | None = None) -> pl.DataFrame:
    """Measure every recording, one in memory at a time.

    Returns
    -------
    polars.DataFrame
        `trial_id, status` and the fields of `Features`; a recording that cannot be read has nulls and says why in `status`.
    """
    rows: Iterable[tuple[str, tuple[float | None, ...]]] = (executor or Inline()).imap(_measured, trials.paths)
    schema = {"trial_id": pl.String(), "status": pl.String()} | dict.fromkeys(Features._fields, pl.Float64())
    listed = [(name, status, *values) for name, (status, values) in zip(trials.ids, rows, strict=True)]
    return pl.DataFrame(listed, schema=schema, orient="row")


def _measured(path: Path) -> tuple[str, tuple[float | None, ...]]:
    try:
        return OK, features_of(read_audio(path))
    except AudioError as error:
        return str(error), (None,) * len(Features._fields)


def shortcut_scores(features: Floats, design: Design) -> Floats:
    """Score every trial by a classifier on features alone that was trained on the other folds.

    Parameters
    ----------
    features : (n, f) float array
        One row per trial of the design.

    Returns
    -------
    (n,) float array
        Log-odds of bona fide, the classes weighing the same.
    """
    scores = np.empty(len(design))
    for fold in np.unique(design.fold):
        tested = design.fold == fold
        spread = features[~tested].std(axis=0)
        z = (features - features[~tested].mean(axis=0)) / np.where(spread > 0, spread, 1)
        z = np.clip(z, -CLIPPED, CLIPPED)
        seen = np.column_stack((z, z**2))
        weights = balanced(design.is_bonafide, (~tested).astype(np.float64)[:, None])
        scores[tested] = fit_logistic(seen, design.is_bonafide, weights).decision(seen[tested])[:, 0]
    return scores


def shortcut_rows(
    measured: pl.DataFrame,
    frame: pl.DataFrame,
    held_by: str,
    *,
    clusters: Sequence[str],
    resampling: Resampling,
    folds: int = 5,
    min_count: int = 10,
    seed: int = 0,
) -> list[Row]:
    """Evaluate every classifier of `SHORTCUTS`: rows of confounds.csv, less what names the space.

    `value` is the equal error rate over all trials (`held` empty), and of each group of spoof against all bona fide speech; `baseline` is guessing.

    Parameters
    ----------
    measured : polars.DataFrame
        From `measure_recordings`, or any table with `trial_id`, `status` and the fields of `Features`.
    frame : polars.DataFrame
        Trials with `trial_id`, `label`, the column of groups, and what is known of speaker and source.
    clusters : sequence of str
        Columns whose values intervals resample whole.
    """
    known = frame.select(pl.exclude(*Features._fields, "status")).join(
        measured, on="trial_id", how="inner", maintain_order="left"
    )
    known = known.filter(pl.col("status") == OK)
    lost = frame.height - known.height
    design = design_of(known, held_by, "recordings", folds=folds, seed=seed)
    rows = []
    for target, columns in SHORTCUTS.items():
        scores = shortcut_scores(known.select(columns).to_numpy(), design)
        for held, chosen in _sets(design, min_count):
            shared = cluster_rows(known.filter(chosen), clusters)
            error = bootstrap("eer", *_pair(scores, design, chosen), shared, rng=np.random.default_rng(seed), **resampling)
            row: Row = {"question": "shortcut", "target": target, "held": held} | with_interval("value", error)
            row |= {"baseline": 0.5, "baseline_kind": "guessing", "n": error.n_bonafide + error.n_spoof, "n_classes": 2}
            rows.append(
                row | {"note": "; ".join(filter(None, (error.note, f"{lost} recordings not measured" if lost else "")))}
            )
    return rows


def _sets(design: Design, min_count: int) -> Iterator[tuple[str, Mask]]:
    """Yield all trials (""), then each group that has enough with all bona fide speech."""
    yield "", np.ones(len(design), dtype=bool)
    for group in design.groups:
        if design.counts(group) >= min_count:
            yield group, design.is_bonafide | (design.held == group)


def _pair(scores: Floats, design: Design, chosen: Mask) -> ScorePair:
    return ScorePair(scores[chosen & design.is_bonafide], scores[chosen & ~design.is_bonafide])


def trimmed_rows(
    untrimmed: Floats,
    trimmed: Floats,
    design: Design,
    *,
    clusters: Sequence[str],
    resampling: Resampling,
    min_count: int = 10,
    seed: int = 0,
    target: str = "silence",
) -> list[Row]:
    """Compare the equal error rate of a detector or head on recordings whose silence was cut off with that on the recordings as they are.

    `value` is with, `baseline` without trimming, over all trials (`held` empty) and for each group; `difference` is paired.

    Parameters
    ----------
    untrimmed, trimmed : (n,) float array
        Scores of the trials of the design, higher meaning more bona fide: of a detector under both conditions, or cross-fitted over the same
        folds (`cross_fitted_scores`) from the embeddings of both.
    target : str
        What was trimmed.
    """
    rows = []
    for held, chosen in _sets(design, min_count):
        first, second = (_pair(scores, design, chosen) for scores in (untrimmed, trimmed))
        row: Row = {"question": "trimmed", "target": target, "held": held, "baseline_kind": "untrimmed"}
        rows.append(row | compared(first, second, cluster_rows(design.frame.filter(chosen), clusters), resampling, seed))
    return rows
