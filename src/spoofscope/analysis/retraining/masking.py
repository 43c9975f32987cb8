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
from typing import Any

import numpy as np
import polars as pl

from spoofscope.analysis.cells import blank
from spoofscope.analysis.retraining.bands import TOPS_HZ, Bands, contrast, locate, profile
from spoofscope.analysis.retraining.paired import Paired, Values, chance, laid_out
from spoofscope.analysis.retraining.parts import Parts
from spoofscope.analysis.retraining.plan import Band, Plan, register
from spoofscope.analysis.retraining.trainings import Group, flat, groups_of, hear, listen, pools_of, require_room
from spoofscope.audio import SAMPLE_RATE, Audio
from spoofscope.degradations.band_mask import BandMask
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics.permutation import holm
from spoofscope.storage import write_table
from spoofscope.training.progress import Progress, silent
from spoofscope.training.recordings import Recording
from spoofscope.training.trainables import Trainable, trainable
from spoofscope.trials import Trials

ARMS = ("unmasked", "target", "control")
ALL = "all"
FIGURES = ("eer", "gap", "difference", "held_difference", "seen_difference")


def run_masking(plan: Plan, train: Trials, test: Trials, folder: str | Path, *, progress: Progress = silent) -> pl.DataFrame:
    """Register a plan, then carry it out.

    Writes into `folder`: `plan.json` first, then `contrasts.csv` (by what bands are located), then `masking/`, the scores of each
    training as it is finished: what was stopped goes on from there, and what was finished is only read.

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
    TrialsError, LeakError, NotEnoughTrials, UserError, AudioError
        If the trials do not allow what is planned, need too much memory, or a recording cannot be read.
    """
    folder = Path(folder)
    groups = groups_of(plan.held, plan.held_by, train, test)
    paired = Paired(test.frame, seeds=len(plan.seeds), replicates=plan.replicates, level=plan.level)
    for group in groups:
        if alone := paired.alone(group.held) or paired.alone(group.seen):
            raise NotEnoughTrials(f"{test.name}: '{group.name}' cannot be judged: {alone}. Hold it out together with others.")
    require_room([trainable(name) for name in plan.detectors], (train, 1), (test, 1))
    register(plan, train, test, folder)
    bands = _located(plan, train, groups, folder / "contrasts.csv", progress)
    parts = Parts(folder / "masking", test, ("detector", "held", "arm"), plan.seeds)
    _train(plan, train, test, groups, bands, parts, progress)
    return _table(plan, paired, groups, bands, parts)


def _located(plan: Plan, train: Trials, groups: Sequence[Group], path: Path, progress: Progress) -> dict[str, Bands]:
    """Place the bands of each group by the training trials that are left; what they are placed by is written down first."""
    if not path.exists():
        profiles = np.array(
            [profile(recording.audio) for recording in listen(train, phase="locating bands", progress=progress)]
        )
        attacks = train.frame["attack"].to_numpy().astype(object)
        tables = []
        for group in groups:
            contrasts = contrast(profiles[group.train], train.is_bonafide[group.train], attacks[group.train])
            tables.append(pl.DataFrame({"held": group.name, "filter_hz": TOPS_HZ, "contrast": contrasts}))
        write_table(pl.concat(tables), path)
    found = pl.read_csv(path)
    return {group.name: locate(plan, found.filter(held=group.name)["contrast"].to_numpy()) for group in groups}


def _train(
    plan: Plan,
    train: Trials,
    test: Trials,
    groups: Sequence[Group],
    bands: Mapping[str, Bands],
    parts: Parts,
    progress: Progress,
) -> None:
    """Do every training that is not done yet, band by band: features of one band at a time are kept."""
    asked = [(group, arm, band) for group in groups for arm, band in zip(ARMS, (None, *bands[group.name]), strict=True)]
    jobs: dict[Band | None, list[tuple[Trainable, Group, str]]] = {}
    for group, arm, band in asked:
        for kind in map(trainable, plan.detectors):
            if not parts.has(kind.name, group.name, arm):
                jobs.setdefault(band, []).append((kind, group, arm))
    left = sum(map(len, jobs.values()))
    for band, own in jobs.items():
        kinds = list({kind.name: kind for kind, _, _ in own}.values())
        tested = band if plan.masked_at == "training and test" else None
        training, testing = (
            hear(listen(trials, phase=f"hearing {trials.name} {_words(mask)}", progress=progress), kinds, _mask(mask))
            for trials, mask in ((train, band), (test, tested))
        )
        for kind, group, arm in own:
            pools = pools_of(training[kind.name], train.is_bonafide, group.train)
            batch = flat(testing[kind.name])
            parts.write(
                (kind.name, group.name, arm), np.array([kind.fit(pools, plan.steps, seed)(batch) for seed in plan.seeds])
            )
            left -= 1
            progress("training behind masks", 1 - left / (len(asked) * len(plan.detectors)))


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


def _table(plan: Plan, paired: Paired, groups: Sequence[Group], bands: Mapping[str, Bands], parts: Parts) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for detector in plan.detectors:
        by_group = [
            {arm: _errors(paired, plan, parts.read(detector, group.name, arm), group) for arm in ARMS} for group in groups
        ]
        for group, errors in zip(groups, by_group, strict=True):
            facts = {"detector": detector, "held": group.name, "n_spoof": int(group.held.sum())}
            edges = dict(zip(ARMS[1:], bands[group.name], strict=True))
            rows += [facts | row for row in _rows(paired, plan, errors, edges)]
        facts = {"detector": detector, "held": ALL, "n_spoof": sum(int(group.held.sum()) for group in groups)}
        pooled = {arm: _mean([errors[arm] for errors in by_group]) for arm in ARMS}
        rows += [facts | row for row in _rows(paired, plan, pooled, {}) if row["seed"] == ALL]
    _judge(plan, [row for row in rows if "p" in row and row["held"] == ALL])
    _judge(plan, [row for row in rows if "p" in row and row["held"] != ALL])
    shared = {"plan": plan.digest[:12], "held_by": plan.held_by, "n_bonafide": int(paired.is_bonafide.sum())}
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
                row |= laid_out(name, paired.interval(values, paired=name != "eer"))
            if arm == "target" and seed == ALL:
                row["p"] = chance(figures["difference"], plan.direction, plan.sides)
                unmasked = paired.interval(paired.over_seeds(errors["unmasked"].gap))
                no_gap = "" if unmasked.low > 0 else "without a mask the gap is within noise"
                row["note"] = "; ".join(filter(None, (no_gap, paired.clusters.caveat())))
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
        if row["supports"] == "true" and plan.direction == "narrows" and row["held_difference_high"] >= 0:
            why = "the gap narrows because attacks that were heard are told less well, not because the others are told better"
            row["note"] = "; ".join(filter(None, (why, row["note"])))


SCHEMA: dict[str, Any] = (
    dict.fromkeys(("plan", "detector", "held_by", "held", "arm", "seed"), pl.String)
    | {"low_hz": pl.Float64, "high_hz": pl.Float64, "n_bonafide": pl.Int64, "n_spoof": pl.Int64}
    | dict.fromkeys([f"eer{end}" for end in ("", "_low", "_high", "_seen")], pl.Float64)
    | dict.fromkeys([f"{name}{end}" for name in FIGURES[1:] for end in ("", "_low", "_high")], pl.Float64)
    | {"p": pl.Float64, "p_holm": pl.Float64, "supports": pl.String, "note": pl.String}
)
