"""Probes: what is linearly decodable from embeddings, beside what a probe of the same capacity could have memorised.

Conventions
-----------
Classes, folds and probes are those of `decoding`: `accuracy` is balanced, out of fold, and of trials that share no speaker and no source utterance
with training.

Control tasks are tested under another split, by single trials, in which speakers recur:

* `control_accuracy` (Hewitt and Liang): every *type* is given one random label, as many types to each label as can be, and a probe can do better
  than chance only by knowing the type again. A type is a speaker (a source utterance where the folds of `accuracy` keep only these apart): what
  recurs between trials, and what embeddings are known to hold. Labels are drawn anew for each fold. `selectivity` is the accuracy on the target
  under this split, over the same rows, less `control_accuracy`; the sum of the two is what the target gains where speakers recur.
* `shuffled_accuracy` (the reference study's control): labels are permuted over rows. There is nothing to learn, so it is at chance by construction
  whatever a probe could memorise, and `shuffled_selectivity` says no more than an accuracy does.

References
----------
Hewitt and Liang, "Designing and interpreting probes with control tasks", EMNLP 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from spoofscope.analysis.cells import Resampling
from spoofscope.analysis.heads.logistic import Floats, Vectors
from spoofscope.analysis.probing.codelength import few_shot, online_code
from spoofscope.analysis.probing.decoding import (
    FOLDS,
    LINEAR,
    Codes,
    Part,
    Probe,
    Resampled,
    Task,
    out_of_fold,
    part_of,
    tasks_within,
    types_of,
)
from spoofscope.errors import NotEnoughTrials

SHOTS = (1, 5)
DRAWS = 20


class Control(NamedTuple):
    """Trials of types that recur, (r,) places in a task; their folds; and (r, 3, folds) labels: the target's, the types', shuffled ones."""

    places: Codes
    fold: Codes
    codes: Codes


def probe_rows(
    vectors: Vectors,
    frame: pl.DataFrame,
    target: str,
    *,
    resampling: Resampling,
    within: str = "",
    probes: Sequence[Probe] = (LINEAR,),
    random: bool = True,
    untrained: Vectors | None = None,
    folds: int = FOLDS,
    min_count: int = 10,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Probe one layer for one column: rows of probes.csv, less what names the space.

    Parameters
    ----------
    vectors : (n, d) float array
        One vector per row of `frame`, finite.
    frame : polars.DataFrame
        Trials; rows where `target` says nothing (the attack of bona fide speech) are left out.
    target : str
        Column to decode.
    within : str
        A column to hold constant: the same probe inside each of its values, pooled by their numbers of trials.
    probes : sequence of Probe
        Capacities to try on the embedding; baselines are probed by `LINEAR`.
    random : bool
        Whether to probe random vectors of the same shape as well; they are the same for every layer.
    untrained : (n, e) float array, optional
        Vectors of the same trials that no training has shaped.
    folds, min_count, seed
        As in `task_of`.

    Returns
    -------
    list of dict
        A row per features and probe. Where nothing is held constant `LINEAR` also has `codelength`, `compression`, and two rows whose `accuracy` is what it learns from 1
        and from 5 examples per class: a mean over draws, with an interval that resamples the draws as well. One row with a
        note if there is nothing to tell apart.
    """
    try:
        tasks, note = tasks_within(frame, target, within, folds=folds, min_count=min_count, seed=seed)
    except NotEnoughTrials as error:
        return [{"target": target, "within": within, "probe": LINEAR.name, "features": "embedding", "note": str(error)}]
    unit, types = types_of(frame, tasks)
    resampled = Resampled(unit, types, resampling, seed)
    controls = [_control(task, types[task.rows], folds, np.random.default_rng((seed, at))) for at, task in enumerate(tasks)]
    without = f"no control where too few of {unit} recur" if None in controls else ""
    common = {"target": target, "within": within, "n_classes": max(len(task.classes) for task in tasks)}
    common |= {"n_trials": sum(len(task.rows) for task in tasks), "chance": chance_of(tasks)}
    common |= {"note": "; ".join(filter(None, (note, without, resampled.caveat)))}
    noise = np.random.default_rng((seed, 2)).standard_normal(vectors.shape, dtype=np.float32) if random else None
    rows = []
    for features, seen in {"embedding": vectors, "random": noise, "untrained": untrained}.items():
        if seen is None:
            continue
        for probe in probes if features == "embedding" else [LINEAR]:
            row = (
                common
                | {"probe": probe.name, "features": features}
                | _accuracies(seen, tasks, types, controls, probe, resampled)
            )
            rows.append(row)
            if probe == LINEAR and not within:
                taught = {
                    f"{LINEAR.name}, {shots} per class": _taught(seen, tasks, types, shots, resampled, seed) for shots in SHOTS
                }
                row |= _codelength(seen, tasks, types, seed) | {"few_shot_accuracy": list(taught.values())[-1]["accuracy"]}
                rows += [common | {"probe": name, "features": features} | columns for name, columns in taught.items()]
    return rows


def chance_of(tasks: Sequence[Task]) -> float:
    """Return the balanced accuracy of guessing, tasks weighing by their trials."""
    return float(np.average([1 / len(task.classes) for task in tasks], weights=[len(task.rows) for task in tasks]))


def _accuracies(
    vectors: Vectors, tasks: list[Task], types: Codes, controls: list[Control | None], probe: Probe, resampled: Resampled
) -> dict[str, Any]:
    disjoint: list[Part] = []
    controlled: list[list[Part]] = [[], [], []]
    margins = []
    for task, control in zip(tasks, controls, strict=True):
        seen, kinds, weight = vectors[task.rows], types[task.rows], float(len(task.rows))
        decision = out_of_fold(seen, task.codes, task.fold, len(task.classes), probe)[:, 0]
        disjoint.append(part_of(decision, task.codes, kinds, weight))
        margins.append(margin_of(decision, task.codes))
        if control is None:
            continue
        answers = out_of_fold(seen[control.places], control.codes, control.fold, len(task.classes), probe)
        for at, parts in enumerate(controlled):
            told = control.codes[np.arange(len(control.fold)), at, control.fold]
            parts.append(part_of(answers[:, at], told, kinds[control.places], weight))
    row = resampled.accuracy("accuracy", disjoint) | {
        "margin": float(np.average(margins, weights=[part.weight for part in disjoint]))
    }
    if not controlled[0]:
        return row
    recurring, control_task, shuffled = controlled
    row |= {"control_accuracy": resampled.value(control_task)} | resampled.accuracy("selectivity", recurring, control_task)
    return row | {
        "shuffled_accuracy": resampled.value(shuffled),
        "shuffled_selectivity": resampled.value(recurring) - resampled.value(shuffled),
    }


def margin_of(decision: Floats, codes: Codes) -> float:
    """Return by how much the log-odds of the true class exceed the best other, averaged within classes and then over them."""
    rows = np.arange(len(codes))
    others = decision.copy()
    others[rows, codes] = -np.inf
    margin = decision[rows, codes] - others.max(axis=1)
    return float(np.mean(np.bincount(codes, margin) / np.bincount(codes)))


def _control(task: Task, types: Codes, folds: int, rng: np.random.Generator) -> Control | None:
    """Split the trials of recurring types one by one and label the types at random; None where they are too few."""
    places = np.flatnonzero(np.bincount(types)[types] > 1)
    kinds, kind = np.unique(types[places], return_inverse=True)
    codes, classes = task.codes[places], len(task.classes)
    if len(kinds) < classes or len(places) < folds:
        return None
    fold = np.empty(len(places), dtype=np.intp)
    fold[np.lexsort((rng.permutation(len(places)), codes, kind))] = np.arange(len(places)) % folds
    if min(len(np.unique(fold[codes == code])) for code in range(classes)) < 2:
        return None
    by_fold = np.argsort(fold, kind="stable")
    labels = np.empty((len(places), 3, folds), dtype=np.intp)
    for at in range(folds):
        labels[:, 0, at] = codes
        labels[:, 1, at] = (rng.permutation(len(kinds)) % classes)[kind]
        labels[by_fold, 2, at] = codes[
            np.lexsort((rng.permutation(len(places)), fold))
        ]  # within folds: each class stays in two
    return Control(places, fold, labels)


def _codelength(vectors: Vectors, tasks: list[Task], types: Codes, seed: int) -> dict[str, float]:
    """Bits per label and how many times shorter than the uniform code that is, over the tasks that have a code."""
    codes = [
        online_code(
            vectors[task.rows], task.codes, types[task.rows], len(task.classes), rng=np.random.default_rng((seed, 3, at))
        )
        for at, task in enumerate(tasks)
    ]
    bits, uniform, n = np.array([code for code in codes if np.isfinite(code.bits)]).reshape(-1, 3).sum(axis=0)
    return {"codelength": float(bits / n), "compression": float(uniform / bits)} if n else {}


def _taught(vectors: Vectors, tasks: list[Task], types: Codes, shots: int, resampled: Resampled, seed: int) -> dict[str, Any]:
    parts = []
    for at, task in enumerate(tasks):
        rng = np.random.default_rng((seed, 4, shots, at))
        seen = vectors[task.rows]
        for draw in few_shot(seen, task.codes, task.fold, len(task.classes), shots=shots, draws=DRAWS, rng=rng):
            parts.append(part_of(draw.decision, task.codes[draw.rows], types[task.rows[draw.rows]], len(task.rows) / DRAWS))
    return resampled.accuracy("accuracy", parts, redraw=True)
