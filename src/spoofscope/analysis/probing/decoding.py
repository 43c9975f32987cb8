"""What a probe is asked, and how well it answers: classes, folds, decisions and balanced accuracy.

Conventions
-----------
The target is a column; rows where it says nothing are left out. A probe is one logistic regression per class against the rest, both sides weighing
the same, and decides for the class of the highest log-odds. Accuracy is balanced: the mean of the classes' recalls, so that its chance is
1 / classes. No speaker and no source utterance stands in training and in test, less whatever column is the target itself; where that rule would
leave fewer than two classes, the folds are kept apart by one of the columns alone. A class that cannot stand on both sides is left out. `Task.note`
says all of this.

Intervals resample whole speakers (source utterances where only these are kept apart) under the probes as they were trained. What other training
speakers would have changed is not in them, so with few speakers they are somewhat too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.cells import Resampling
from spoofscope.analysis.design import DISJOINT, codes_of, components, deal, known_columns, require_columns
from spoofscope.analysis.heads.logistic import Floats, Logistic, Vectors, balanced, fit_logistic
from spoofscope.analysis.probing.network import network_decision
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics.clusters import Clusters, Factor, draw_weights
from spoofscope.trials import NO_ATTACK

Codes = NDArray[np.intp]

FOLDS = 5
MOST_CLASSES = 25
TOLERANCE = 3e-5  # of the gradient: decides no answer that a probe is sure of, and saves weak penalties most of their steps


class Probe(NamedTuple):
    """How much a probe can learn.

    `c` is the inverse strength of the penalty; `components` how many principal components it sees (0: all columns); `hidden` how many hidden
    units a network that answers instead has, which needs `components`.
    """

    name: str
    c: float = 1.0
    components: int = 0
    hidden: int = 0


LINEAR = Probe("linear")
PROBES = (
    LINEAR,
    Probe("linear, C=0.01", c=0.01),
    Probe("linear, C=100", c=100.0),
    Probe("linear, 8 components", components=8),
    Probe("linear, 32 components", components=32),
    Probe("mlp, 32 components", components=32, hidden=16),
)
"""The usual one, weaker and stronger penalties, few components, and on as many a network with one hidden layer."""


class Task(NamedTuple):
    """What a probe is asked over some rows of a table.

    Parameters
    ----------
    rows : (m,) int array
        Rows of the table.
    codes, fold : (m,) int array
        Class, from 0, and fold of each of these rows; every class stands in two folds at least.
    classes : tuple of str
        Names of the classes.
    disjoint : tuple of str
        Columns of which no two folds share a value.
    note : str
        The same in words, and which classes are left out.
    """

    rows: Codes
    codes: Codes
    fold: Codes
    classes: tuple[str, ...]
    disjoint: tuple[str, ...]
    note: str


class Part(NamedTuple):
    """Right answers and all answers, (types, classes), of a set of trials; `types` are the numbers of its types."""

    types: Codes
    right: Floats
    asked: Floats
    weight: float


def task_of(
    frame: pl.DataFrame,
    target: str,
    *,
    rows: NDArray[np.bool_] | None = None,
    within: str = "",
    folds: int = FOLDS,
    min_count: int = 10,
    seed: int = 0,
) -> Task:
    """Choose the classes of a column that can stand on both sides of a split, and deal their rows into folds.

    Parameters
    ----------
    frame : polars.DataFrame
        One row per trial, with `target` and what is known of speaker and source.
    target : str
        Column to decode; rows where it is null, empty or `-` are left out.
    rows : (n,) bool array, optional
        Rows to use.
    within : str
        A column that is held constant, which the folds cannot keep apart.
    min_count : int
        Trials that a class needs.

    Raises
    ------
    NotEnoughTrials
        If fewer than two classes remain.
    """
    require_columns(frame, (target,), "the probed trials")
    words = frame[target].cast(pl.String).fill_null("").to_numpy().astype(object)
    says = (words != "") & (words != NO_ATTACK)
    used = np.flatnonzero(says if rows is None else says & rows)
    columns = known_columns(frame, [column for column in DISJOINT if column not in (target, within)])
    rules = [columns, *((column,) for column in columns)] if len(columns) > 1 else [columns]
    for rule in rules:
        task = _dealt(frame, words, used, rule, folds, min_count, seed)
        if len(task.classes) > 1:
            return task
    raise NotEnoughTrials(f"{target}: fewer than two classes to tell apart among {len(used)} trials ({task.note})")


def _dealt(
    frame: pl.DataFrame, words: NDArray[np.object_], used: Codes, rule: tuple[str, ...], folds: int, min_count: int, seed: int
) -> Task:
    names, counts = np.unique(words[used].astype(str), return_counts=True)
    order = np.lexsort((names, -counts))
    large = order[counts[order] >= min_count]
    kept = np.sort(names[large[:MOST_CLASSES]])
    most = len(kept)
    apart = "folds share no " + " and no ".join(rule) if rule else "no speaker or source is known: trials are dealt singly"
    while True:
        rows = used[np.isin(words[used].astype(str), kept)]
        codes = np.searchsorted(kept, words[rows].astype(str))
        if not len(kept):
            break
        component = components(frame[rows], rule)
        fold = deal(component, codes[:, None], min(folds, int(component.max()) + 1), seed=seed)
        sides = np.array([len(np.unique(fold[codes == code])) for code in range(len(kept))])
        if sides.min() > 1:
            break
        kept = kept[sides > 1]
    reasons = {
        f"with fewer than {min_count} trials": len(names) - len(large),
        f"rarer than the {MOST_CLASSES} most frequent": len(large) - most,
        "that no such folds part": most - len(kept),
    }
    out = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    note = apart + (f"; of {len(names)} classes left out: {out}" if out else "")
    return Task(rows, codes, fold if len(kept) else codes, tuple(kept.tolist()), rule, note)


def tasks_within(frame: pl.DataFrame, target: str, within: str, **settings: Any) -> tuple[list[Task], str]:
    """Make a task inside each value of a column, or one over all rows if `within` is empty; and say what was left out.

    Settings are those of `task_of`.
    """
    if not within:
        task = task_of(frame, target, **settings)
        return [task], task.note
    require_columns(frame, (within,), "the probed trials")
    values = frame[within].cast(pl.String)
    tasks, kinds = [], values.drop_nulls().unique().sort()
    for value in kinds:
        try:
            tasks.append(task_of(frame, target, rows=(values == value).fill_null(False).to_numpy(), within=within, **settings))
        except NotEnoughTrials:
            continue
    if not tasks:
        raise NotEnoughTrials(f"{target}: no value of {within} holds two classes that can be told apart")
    out = len(kinds) - len(tasks)
    rules = " or ".join(sorted({task.note.partition(";")[0] for task in tasks}))
    return tasks, rules + (f"; {out} of {len(kinds)} values of {within} hold too few trials" if out else "")


def types_of(frame: pl.DataFrame, tasks: Sequence[Task]) -> tuple[str, Codes]:
    """Name and number, over the rows of all tasks, what is resampled whole: the first column that their folds keep apart, or single trials.

    Returns
    -------
    str
        The column, or `trial`.
    (n,) int array
        Numbers from 0; -1 for rows of the table that no task has.
    """
    rows = np.unique(np.concatenate([task.rows for task in tasks]))
    unit = tasks[0].disjoint[0] if tasks[0].disjoint else "trial"
    types = np.full(frame.height, -1, dtype=np.intp)
    types[rows] = codes_of(frame[rows][unit]) if tasks[0].disjoint else np.arange(len(rows))
    return unit, types


def one_vs_rest(
    vectors: Vectors, codes: Codes, weights: NDArray[np.floating], n_classes: int, *, c: float | Floats = 1.0
) -> Logistic:
    """Fit every class against the rest, for p training sets at once.

    Parameters
    ----------
    vectors : (n, d) float array
    codes : (n,) or (n, p) int array
        Class of each row, from 0; may differ between training sets.
    weights : (n, p) float array
        Row weights of each training set; 0 leaves a row out.
    n_classes : int
        Number of classes, k.
    c : float or (p,) float array
        Inverse strength of the penalty.

    Returns
    -------
    Logistic
        Of p * k problems, those of the first training set first.

    Raises
    ------
    NotEnoughTrials
        If a class is missing from a training set.
    """
    n, p = weights.shape
    codes = np.broadcast_to(codes.reshape(n, -1), (n, p))
    targets = (codes[:, :, None] == np.arange(n_classes)).reshape(n, -1)
    strengths = np.repeat(np.broadcast_to(np.asarray(c, dtype=np.float64), p), n_classes)
    return fit_logistic(
        vectors, targets, balanced(targets, np.repeat(weights, n_classes, axis=1)), c=strengths, tolerance=TOLERANCE
    )


def out_of_fold(vectors: Vectors, codes: Codes, fold: Codes, n_classes: int, probe: Probe = LINEAR) -> Floats:
    """Decide on every row by probes that were trained on the other folds.

    Parameters
    ----------
    vectors : (m, d) float array
    codes : (m, tasks, folds) int array
        Class of each row in each task, as told to the probe that is tested on each fold; or (m,), one task.
    fold : (m,) int array
        Fold of each row.

    Returns
    -------
    (m, tasks, n_classes) float array
        Log-odds of each class against the rest.
    """
    folds, place = np.unique(fold, return_inverse=True)
    if codes.ndim == 1:
        codes = np.broadcast_to(codes[:, None, None], (len(codes), 1, len(folds)))
    m, tasks, _ = codes.shape
    away = (fold[:, None] != folds).astype(np.float64)
    if not probe.components:
        fit = one_vs_rest(vectors, codes.reshape(m, -1), np.tile(away, tasks), n_classes, c=probe.c)
        decision = fit.decision(vectors).reshape(m, tasks, len(folds), n_classes)
        return decision[np.arange(m), :, place]
    answer = np.empty((m, tasks, n_classes))
    for at in range(len(folds)):
        seen, own = _principal(vectors, away[:, at] > 0, probe.components), place == at
        if probe.hidden:
            for task in range(tasks):
                answer[own, task] = network_decision(seen, codes[:, task, at], place != at, n_classes, probe.hidden)[own]
            continue
        fit = one_vs_rest(seen, codes[:, :, at], np.repeat(away[:, at : at + 1], tasks, axis=1), n_classes, c=probe.c)
        answer[own] = fit.decision(seen[own]).reshape(-1, tasks, n_classes)
    return answer


def _principal(vectors: Vectors, train: NDArray[np.bool_], size: int) -> Floats:
    """Project on the first principal components of the standardised training rows."""
    from scipy.linalg import eigh

    scale = vectors[train].std(axis=0)
    z = (vectors - vectors[train].mean(axis=0)) / np.where(scale > 0, scale, 1)
    d = z.shape[1]
    directions = eigh(z[train].T @ z[train], subset_by_index=[max(d - size, 0), d - 1])[1]
    projected: Floats = z @ directions
    return projected


def part_of(decision: Floats, codes: Codes, types: Codes, weight: float = 1.0) -> Part:
    """Count right answers, the class of the highest log-odds being the answer, by type and class."""
    kinds, place = np.unique(types, return_inverse=True)
    shape = len(kinds), decision.shape[1]
    cell = place * shape[1] + codes
    right = decision.argmax(axis=1) == codes
    correct, asked = (
        np.bincount(at, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64) for at in (cell[right], cell)
    )
    return Part(kinds, correct, asked, weight)


def balanced_accuracy(parts: Sequence[Part], drawn: Floats, shares: Floats | None = None) -> Floats:
    """Average the recalls of the classes in each part, and the parts by weight, under weights of the types.

    Parameters
    ----------
    parts : sequence of Part
    drawn : (replicates, types) float array
        Weight of each type.
    shares : (replicates, parts) float array, optional
        Further weights of the parts.

    Returns
    -------
    (replicates,) float array
        nan where nothing has weight; a class that has none is left out of the mean.
    """
    means, weights = np.zeros((2, len(drawn), len(parts)))
    for at, part in enumerate(parts):
        weight = drawn[:, part.types]
        asked = weight @ part.asked
        recalls = np.divide(weight @ part.right, asked, out=np.zeros_like(asked), where=asked > 0)
        present = (asked > 0).sum(axis=1)
        means[:, at] = recalls.sum(axis=1) / np.maximum(present, 1)
        weights[:, at] = part.weight * (present > 0)
    weights = weights if shares is None else weights * shares
    total = weights.sum(axis=1)
    answer: Floats = np.divide((means * weights).sum(axis=1), total, out=np.full(len(drawn), np.nan), where=total > 0)
    return answer


class Resampled:
    """One set of resampled types, shared by every accuracy over the same table, so that differences are paired."""

    def __init__(self, unit: str, types: Codes, resampling: Resampling, seed: int) -> None:
        size = int(types.max()) + 1
        types = types[types >= 0]
        clusters = Clusters((Factor(unit, size, np.zeros(0, np.intp), types),), 0, len(types))
        self.caveat = clusters.caveat()
        self.level = resampling["level"]
        self.rng = np.random.default_rng((seed, 1))
        self.drawn = draw_weights(clusters, resampling["replicates"], self.rng)[0]

    def value(self, parts: Sequence[Part]) -> float:
        """Return an accuracy alone."""
        return float(balanced_accuracy(parts, np.ones((1, self.drawn.shape[1])))[0])

    def accuracy(self, name: str, parts: Sequence[Part], less: Sequence[Part] = (), *, redraw: bool = False) -> dict[str, Any]:
        """Lay out an accuracy, or what it exceeds another by, with its interval; `redraw` resamples the parts as well."""
        shares = None
        if redraw:
            shares = self.rng.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), len(self.drawn)).astype(np.float64)
        value = self.value(parts) - (self.value(less) if less else 0.0)
        samples = balanced_accuracy(parts, self.drawn, shares)
        if less:
            samples = samples - balanced_accuracy(less, self.drawn)
        known = samples[~np.isnan(samples)]
        low = high = np.nan
        if len(known) and known.min() < known.max():
            low, high = np.quantile(known, [(1 - self.level) / 2, (1 + self.level) / 2])
        return {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}
