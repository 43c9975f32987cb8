"""The band-mask test: whether a detector fails on generators that it never heard because it leans on one band of the spectrum.

For each held-out group a detector is trained without it three times over: on sound as it is, without the target band, and without a
control band that is as wide. The gap of a training is its error on the held-out group less its error on the attacks that it heard,
both against the same bona fide trials of speakers that it never heard. The result of the test is the difference of differences

    difference = gap under the target mask - gap under the control mask

Taking sound away always takes information away; the control takes as much of the spectrum away where training had least to find.

Conventions
-----------
Both training and test pass the mask unless the plan says `masked_at = "training"`: a detector of log-energies that was trained
without a band meets, in a test that has it, sound unlike all it heard, and its errors would measure that. The primary test of each
detector is the row `held = "all"`, the mean over the held-out groups; its p-values are adjusted (Holm) for the number of detectors.
The rows of single groups are secondary and adjusted among themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from spoofscope.analysis.cells import blank
from spoofscope.analysis.retraining.bands import TOPS_HZ, Bands, contrast, filters_in, locate, profile
from spoofscope.analysis.retraining.paired import Paired, Values, chance, holm, laid_out
from spoofscope.analysis.retraining.plan import Band, Plan, register
from spoofscope.analysis.retraining.trainings import Group, Heard, flat, groups_of, hear, pools_of, scores_table
from spoofscope.audio import SAMPLE_RATE, Audio, read_audio
from spoofscope.degradations.band_mask import BandMask
from spoofscope.storage import write_table
from spoofscope.training.progress import Progress, silent
from spoofscope.training.recordings import Recording
from spoofscope.training.trainables import trainable
from spoofscope.trials import Trials

ARMS = ("unmasked", "target", "control")
ALL = "all"
FIGURES = ("eer", "gap", "difference", "held_difference", "seen_difference")
Scores: TypeAlias = dict[tuple[str, ...], Values]
"""(detector, held, arm) to (seeds, n) scores of the test trials."""


def run_masking(plan: Plan, train: Trials, test: Trials, folder: str | Path, *, progress: Progress = silent) -> pl.DataFrame:
    """Register a plan, then carry it out.

    Writes into `folder`: `plan.json` before anything is trained, then `masking.csv` (the table that is returned),
    `masking_bands.csv` (the contrast that bands were located by) and `masking_scores.parquet`.

    Parameters
    ----------
    plan : Plan
        From `read_plan`.
    train, test : Trials
        Both with the column `plan.held_by`; no speaker or source is in both.
    folder : path
        The run folder; it may be new.
    progress : callable, optional
        Called with a phrase and the share of it that is done.

    Returns
    -------
    polars.DataFrame
        One row per detector, held-out group, arm and seed, and rows over all seeds (`seed = "all"`) and groups (`held = "all"`).
        `eer` is of the held-out group, `eer_seen` of the attacks heard; `gap`, `difference` (from the control arm) and its parts
        `held_difference` and `seen_difference` are in the plan's measure. Intervals are paired and resample speakers, and seeds where
        `seed` is `all`. `supports` is `true` if `p_holm <= 1 - level` in the direction of the hypothesis, `false` if the interval lies on
        the other side of 0, else `within noise`.

    Raises
    ------
    RunFolderError
        If the folder registers another plan or other trials.
    TrialsError, LeakError, NotEnoughTrials, AudioError
        If the trials do not allow what is planned, or a recording cannot be read.
    """
    folder = Path(folder)
    groups = groups_of(plan.held, plan.held_by, train, test)
    register(plan, train, test, folder)
    located = _located(plan, train, groups, progress)
    bands = {name: found for name, (found, _) in located.items()}
    scores = _scores(plan, train, test, groups, bands, progress)
    table = _table(plan, test, groups, bands, scores)
    write_table(_bands_table(located), folder / "masking_bands.csv")
    write_table(scores_table(test, scores, ("detector", "held", "arm"), plan.seeds), folder / "masking_scores.parquet")
    write_table(table, folder / "masking.csv")
    return table


def _located(plan: Plan, train: Trials, groups: Sequence[Group], progress: Progress) -> dict[str, tuple[Bands, Values]]:
    """Place the bands of each group by the training trials that are left."""
    profiles = np.empty((len(train), len(TOPS_HZ)))
    for number, path in enumerate(train.paths):
        profiles[number] = profile(read_audio(path))
        progress("locating bands", (number + 1) / len(train))
    attacks = train.frame["attack"].to_numpy().astype(object)
    located = {}
    for group in groups:
        contrasts = contrast(profiles[group.train], train.is_bonafide[group.train], attacks[group.train])
        located[group.name] = locate(plan, contrasts), contrasts
    return located


def _scores(
    plan: Plan, train: Trials, test: Trials, groups: Sequence[Group], bands: Mapping[str, Bands], progress: Progress
) -> Scores:
    """Train and score every combination, band by band: each is heard once, and its features are kept no longer than needed."""
    kinds = [trainable(name) for name in plan.detectors]
    jobs: dict[Band | None, list[tuple[Group, str]]] = {}
    for group in groups:
        for arm, band in zip(ARMS, (None, *bands[group.name]), strict=True):
            jobs.setdefault(band, []).append((group, arm))
    scores: Scores = {}
    testing: Heard = {}
    for band, asked in jobs.items():
        training = hear(train, kinds, _mask(band), phase=f"hearing training {_words(band)}", progress=progress)
        if band is None or plan.masked_at == "training and test":
            testing = hear(test, kinds, _mask(band), phase=f"hearing test {_words(band)}", progress=progress)
        for group, arm in asked:
            for kind in kinds:
                pools = pools_of(training[kind.name], train.is_bonafide, group.train)
                batch = flat(testing[kind.name])
                scores[kind.name, group.name, arm] = np.array([kind.fit(pools, plan.steps, seed)(batch) for seed in plan.seeds])
                progress("training", len(scores) / (len(groups) * len(ARMS) * len(kinds)))
    return scores


def _mask(band: Band | None) -> Callable[[Recording], Iterable[Audio]]:
    if band is None:
        return lambda recording: [recording.audio]
    mask, nothing_drawn = BandMask(**band._asdict()), np.random.default_rng(0)
    return lambda recording: [mask(recording.audio, SAMPLE_RATE, nothing_drawn)]


def _words(band: Band | None) -> str:
    return "as it is" if band is None else f"without {band.low_hz:g}-{band.high_hz:g} Hz"


@dataclass(frozen=True)
class _Errors:
    """The errors of one detector in one arm, by training and resample: on the held-out group, and on what was heard."""

    eer: Values
    eer_seen: Values
    held: Values
    seen: Values

    @property
    def gap(self) -> Values:
        return self.held - self.seen

    def of(self, seed: int) -> _Errors:
        """Keep one training."""
        return _Errors(*(getattr(self, part.name)[seed : seed + 1] for part in fields(self)))


def _table(plan: Plan, test: Trials, groups: Sequence[Group], bands: Mapping[str, Bands], scores: Scores) -> pl.DataFrame:
    paired = Paired(test.frame, seeds=len(plan.seeds), replicates=plan.replicates, level=plan.level)
    rows: list[dict[str, Any]] = []
    for detector in plan.detectors:
        by_group = [{arm: _errors(paired, plan, scores[detector, group.name, arm], group) for arm in ARMS} for group in groups]
        for group, errors in zip(groups, by_group, strict=True):
            facts = {"detector": detector, "held": group.name, "n_spoof": int(group.held.sum())}
            edges = dict(zip(ARMS[1:], bands[group.name], strict=True))
            rows += [facts | row for row in _rows(paired, plan, errors, edges)]
        facts = {"detector": detector, "held": ALL, "n_spoof": sum(int(group.held.sum()) for group in groups)}
        pooled = {arm: _mean([errors[arm] for errors in by_group]) for arm in ARMS}
        rows += [facts | row for row in _rows(paired, plan, pooled, {}) if row["seed"] == ALL]
    _judge(plan, [row for row in rows if "p" in row and row["held"] == ALL])
    _judge(plan, [row for row in rows if "p" in row and row["held"] != ALL])
    shared = {"plan": plan.digest[:12], "held_by": plan.held_by, "n_bonafide": test.counts[0]}
    return pl.DataFrame([{name: blank(value) for name, value in (shared | row).items()} for row in rows], schema=SCHEMA)


def _errors(paired: Paired, plan: Plan, scores: Values, group: Group) -> _Errors:
    eer, eer_seen = (paired.errors("eer", scores, rows) for rows in (group.held, group.seen))
    if plan.measure == "eer":
        return _Errors(eer, eer_seen, eer, eer_seen)
    return _Errors(eer, eer_seen, *(paired.errors(plan.measure, scores, rows) for rows in (group.held, group.seen)))


def _mean(errors: Sequence[_Errors]) -> _Errors:
    return _Errors(*(np.mean([getattr(one, part.name) for one in errors], axis=0) for part in fields(_Errors)))


def _rows(paired: Paired, plan: Plan, errors: Mapping[str, _Errors], bands: Mapping[str, Band]) -> Iterator[dict[str, Any]]:
    """Give the rows of one detector and held-out group: every arm at every seed, and over all of them."""
    for arm in ARMS:
        for at, seed in enumerate((*plan.seeds, ALL)):
            figures = _figures(paired, errors, arm, None if seed == ALL else at)
            row: dict[str, Any] = {"arm": arm, "seed": str(seed), "eer_seen": float(figures.pop("eer_seen")[0])}
            row |= bands[arm]._asdict() if arm in bands else {}
            for name, values in figures.items():
                row |= laid_out(name, paired.interval(values))
            if arm == "target" and seed == ALL:
                row["p"] = chance(figures["difference"], plan.direction, plan.sides)
                unmasked = paired.interval(paired.over_seeds(errors["unmasked"].gap))
                flat = "" if unmasked.low > 0 else "without a mask the gap is within noise"
                row["note"] = "; ".join(filter(None, (flat, paired.clusters.caveat())))
            yield row


def _figures(paired: Paired, errors: Mapping[str, _Errors], arm: str, seed: int | None) -> dict[str, Values]:
    """What is said of one arm, as (1 + replicates,) values: of one training, or of the mean over all."""

    def pool(values: Values) -> Values:
        return paired.over_seeds(values) if seed is None else values[seed]

    one, control = errors[arm], errors["control"]
    figures = {"eer_seen": pool(one.eer_seen), "eer": pool(one.eer), "gap": pool(one.gap)}
    if arm != "control":
        figures |= {
            "difference": pool(one.gap - control.gap),
            "held_difference": pool(one.held - control.held),
            "seen_difference": pool(one.seen - control.seen),
        }
    return figures


def _judge(plan: Plan, tests: Sequence[dict[str, Any]]) -> None:
    """Adjust the p-values of a family of tests and say of each whether it supports the hypothesis."""
    sign = -1 if plan.direction == "narrows" else 1
    adjusted = holm(np.array([row["p"] for row in tests]))
    for row, p_holm in zip(tests, adjusted.tolist(), strict=True):
        beyond = row["difference_low"] if plan.direction == "narrows" else -row["difference_high"]
        row["p_holm"], row["supports"] = p_holm, "within noise"
        if p_holm <= 1 - plan.level and sign * row["difference"] > 0:
            row["supports"] = "true"
        elif beyond > 0:
            row["supports"] = "false"
        if row["supports"] == "true" and plan.direction == "narrows" and not row["held_difference_high"] < 0:
            why = "the gap narrows because attacks that were heard are told less well, not because the others are told better"
            row["note"] = "; ".join(filter(None, (why, row["note"])))


def _bands_table(located: Mapping[str, tuple[Bands, Values]]) -> pl.DataFrame:
    """Say what bands were located by: the contrast of every filter, for every held-out group."""
    rows = []
    for held, (bands, contrasts) in located.items():
        arms = np.full(len(TOPS_HZ), "", dtype=object)
        for arm, band in bands._asdict().items():
            arms[filters_in(band)] = arm
        rows += [
            {"held": held, "filter_hz": hertz, "contrast": value, "arm": arm}
            for hertz, value, arm in zip(TOPS_HZ.tolist(), contrasts.tolist(), arms, strict=True)
        ]
    return pl.DataFrame(rows)


SCHEMA: dict[str, Any] = (
    dict.fromkeys(("plan", "detector", "held_by", "held", "arm", "seed"), pl.String)
    | {"low_hz": pl.Float64, "high_hz": pl.Float64, "n_bonafide": pl.Int64, "n_spoof": pl.Int64}
    | dict.fromkeys([f"eer{end}" for end in ("", "_low", "_high", "_seen")], pl.Float64)
    | dict.fromkeys([f"{name}{end}" for name in FIGURES[1:] for end in ("", "_low", "_high")], pl.Float64)
    | {"p": pl.Float64, "p_holm": pl.Float64, "supports": pl.String, "note": pl.String}
)
