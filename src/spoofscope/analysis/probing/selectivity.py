"""How well each generator can be told from the others: the reference study's selectivity, and measures of it that do not saturate.

Conventions
-----------
One number per group and layer, in the form of a predictor, so that hypothesis H1 (what is encoded as itself generalises badly: the more selective the
encoding, the larger the gap of the *same* layer) is tested as geometry is. Only spoof rows are looked at, so no predictor here is circular.

The reference study's measures are evaluated on random splits of rows and are given as it defines them: `selectivity` is near its ceiling of one half
for most attacks, and `selectivity_raw`, with few positives in many rows, is mostly the noise of its control. Neither has a control that a probe
could do well on (see `probes`). The measures of our own are of trials that share no speaker and no source with training, where the
group has so many; a split that is weaker is named in the note.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.design import Design, Mask, Split, components, spread
from spoofscope.analysis.geometry import SCHEMA
from spoofscope.analysis.heads.logistic import Floats, Vectors, balanced, fit_logistic
from spoofscope.analysis.probing.codelength import online_code
from spoofscope.analysis.probing.decoding import Codes
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics.rates import auc

SEEDS = (0, 1, 2)
SHOTS = 5
DRAWS = 20

EXPECTED: dict[str, Literal["+", "-"]] = {
    "selectivity": "+",
    "selectivity_raw": "+",
    "codelength": "-",
    "few_shot": "+",
    "margin": "+",
}
"""The sign that H1 expects of each predictor's association with the gap."""


def reference_selectivity(
    vectors: Vectors, is_bonafide: Mask, held: NDArray[np.object_], *, seeds: Sequence[int] = SEEDS
) -> pl.DataFrame:
    """Evaluate the reference study's two measures of how well each group is told from other spoof.

    `selectivity`: the group and an equally large random sample of other spoof, three stratified folds of rows, logistic regression on
    standardised vectors (C = 1), balanced accuracy; less the same on permuted labels; the mean over `seeds`.
    `selectivity_raw`: the group against all other spoof, five stratified folds of rows, accuracy; less the same on one permutation.
    Both repeat the study in distribution, not draw by draw.

    Parameters
    ----------
    vectors : (n, d) float array
        One layer.
    is_bonafide : (n,) bool array
        True for bona fide rows.
    held : (n,) array
        The group of each spoof row.

    Returns
    -------
    polars.DataFrame
        `held, predictor, value, circular, expected_sign, note`, groups in order; nan for a group with too few rows.
    """
    spoof = np.flatnonzero(~is_bonafide)
    seen, group_of = vectors[spoof], held[spoof]
    groups = sorted({str(group) for group in group_of} - {""})
    raw = _raw_selectivity(seen, group_of, groups)
    rows = []
    for at, group in enumerate(groups):
        own, others = np.flatnonzero(group_of == group), np.flatnonzero(group_of != group)
        size = min(len(own), len(others))
        values = []
        for seed in seeds if size >= 3 else ():
            rng = np.random.default_rng((seed, at))
            chosen = np.concatenate((rng.permutation(own)[:size], rng.permutation(others)[:size]))
            values.append(_selectivity_once(seen[chosen], np.arange(2 * size) < size, rng))
        rows.append(
            _row(group, "selectivity", float(np.mean(values)) if values else np.nan, f"{size} rows: too few for three folds")
        )
        rows.append(_row(group, "selectivity_raw", raw[at], "too few rows for five folds"))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _selectivity_once(vectors: Vectors, own: Mask, rng: np.random.Generator) -> float:
    fold = stratified_folds(own, 3, rng)
    labels = np.column_stack((own, rng.permutation(own)))
    folds = np.column_stack((fold, stratified_folds(labels[:, 1], 3, rng)))
    right = cross_validated(vectors, labels, folds) == labels
    recalls = [[right[labels[:, at] == side, at].mean() for side in (True, False)] for at in (0, 1)]
    return float(np.mean(recalls[0]) - np.mean(recalls[1]))


def _raw_selectivity(vectors: Vectors, group_of: NDArray[np.object_], groups: Sequence[str]) -> Floats:
    """Return each group's accuracy against all others less that of one permutation of its labels."""
    answer = np.full(len(groups), np.nan)
    large = [at for at, group in enumerate(groups) if 5 <= (group_of == group).sum() <= len(group_of) - 5]
    if not large:
        return answer
    labels, folds = [], []
    for at in large:
        rng = np.random.default_rng((0, at))
        own = group_of == groups[at]
        for label in (own, rng.permutation(own)):
            labels.append(label)
            folds.append(stratified_folds(label, 5, rng))
    told = np.column_stack(labels)
    accuracy = (cross_validated(vectors, told, np.column_stack(folds)) == told).mean(axis=0)
    answer[large] = accuracy[::2] - accuracy[1::2]
    return answer


def stratified_folds(labels: Mask, folds: int, rng: np.random.Generator) -> Codes:
    """Deal shuffled rows of each class in turn: (n,) folds."""
    fold = np.empty(len(labels), dtype=np.intp)
    fold[np.lexsort((rng.permutation(len(labels)), labels))] = np.arange(len(labels)) % folds
    return fold


def cross_validated(vectors: Vectors, labels: NDArray[np.bool_], folds: Codes) -> NDArray[np.bool_]:
    """Predict (n, k) labels of k two-class problems, each by its own folds, with unweighted logistic regressions (C = 1)."""
    kinds = np.unique(folds)
    away = (folds[:, :, None] != kinds).reshape(len(labels), -1)
    decision = fit_logistic(vectors, np.repeat(labels, len(kinds), axis=1), away.astype(np.float64)).decision(vectors)
    at = np.searchsorted(kinds, folds)[:, :, None]
    answer: NDArray[np.bool_] = np.take_along_axis(decision.reshape(*labels.shape, len(kinds)), at, axis=2)[:, :, 0] > 0
    return answer


class _Test(NamedTuple):
    """One fold of one group among spoof rows: (n,) masks of what is learnt and tested, of the group and of other spoof."""

    group: str
    own_train: Mask
    other_train: Mask
    own: Mask
    other: Mask
    disjoint: tuple[str, ...]


def identity_predictors(vectors: Vectors, design: Design, *, seed: int = 0) -> pl.DataFrame:
    """Evaluate how well each group is told from other spoof by measures that do not saturate.

    * `codelength`: bits per label of the online code of the group against as many other spoof rows (1 where nothing is learnt), the mean over
      three orders and samples; shorter is easier. A group of a few dozen rows has a longer one than a large group that is as easy.
    * `few_shot`: area under the curve of a probe taught with five rows of the group and five others, the mean over 20 draws.
    * `margin`: mean log-odds of the right answer over the group's rows and over other spoof, out of fold, the two weighing the same.

    Parameters
    ----------
    vectors : (n, d) float array
        One layer, its rows those of the design.
    design : Design
        What may be learnt for what is tested.

    Returns
    -------
    polars.DataFrame
        `held, predictor, value, circular, expected_sign, note`, groups in order; nan with a note for a group that cannot be learnt and tested.
    """
    tests = {group: list(_tests(design, group)) for group in design.groups}
    margins = _margins(vectors, [test for own in tests.values() for test in own])
    rows = []
    for at, group in enumerate(design.groups):
        own = tests[group]
        rng = np.random.default_rng((seed, at))
        apart = " and ".join(own[0].disjoint) if own else ""
        note = f"folds share no {apart}" if apart and own[0].disjoint != design.known else ""
        nothing = "no fold has rows of the group, and of other spoof, both to learn and to test"
        rows.append(_row(group, "codelength", _codelength(vectors, design, own, rng), "too few speakers or sources", note))
        rows.append(_row(group, "few_shot", _few_shot(vectors, own, rng) if own else np.nan, nothing, note))
        rows.append(_row(group, "margin", margins.get(group, np.nan), nothing, note))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _tests(design: Design, group: str) -> Iterator[_Test]:
    try:
        splits: list[Split] = list(design.splits(group))
    except NotEnoughTrials:
        return
    spoof = ~design.is_bonafide & (design.held != "")
    for split in splits:
        test = _Test(
            group,
            split.own_train,
            split.others & spoof,
            split.own,
            (design.fold == split.fold) & spoof & (design.held != group),
            split.disjoint,
        )
        if all(rows.any() for rows in test[1:5]):
            yield test


def _margins(vectors: Vectors, tests: list[_Test]) -> dict[str, float]:
    if not tests:
        return {}
    targets = np.column_stack([test.own_train for test in tests])
    weights = np.column_stack([test.own_train | test.other_train for test in tests]).astype(np.float64)
    decision = fit_logistic(vectors, targets, balanced(targets, weights)).decision(vectors)
    sides: dict[str, tuple[list[Floats], list[Floats]]] = {}
    for test, column in zip(tests, decision.T, strict=True):
        own, other = sides.setdefault(test.group, ([], []))
        own.append(column[test.own])
        other.append(-column[test.other])
    return {group: float(np.mean([np.concatenate(side).mean() for side in both])) for group, both in sides.items()}


def _few_shot(vectors: Vectors, tests: list[_Test], rng: np.random.Generator) -> float:
    values = []
    for draw in range(DRAWS):
        test = tests[draw % len(tests)]
        own, other = (rng.permutation(np.flatnonzero(rows))[:SHOTS] for rows in (test.own_train, test.other_train))
        taught = np.concatenate((own, other))
        fit = fit_logistic(vectors[taught], np.arange(len(taught)) < len(own), np.ones(len(taught)))
        values.append(auc(fit.decision(vectors[test.own])[:, 0], fit.decision(vectors[test.other])[:, 0]))
    return float(np.mean(values))


def _codelength(vectors: Vectors, design: Design, tests: list[_Test], rng: np.random.Generator) -> float:
    if not tests:
        return np.nan
    own = np.flatnonzero(design.held == tests[0].group)
    others = np.flatnonzero((design.held != tests[0].group) & (design.held != ""))
    size = min(len(own), len(others))
    bits = []
    for _ in SEEDS:
        chosen = np.concatenate((rng.permutation(own)[:size], others[spread(design.held[others].astype(str), size, rng)]))
        whole = components(design.frame[chosen], tests[0].disjoint)
        code = online_code(vectors[chosen], (np.arange(2 * size) < size).astype(np.intp), whole, 2, rng=rng)
        bits.append(code.bits / (2 * size))
    return float(np.mean(bits))


_Row = tuple[str, str, float, bool, str, str]


def _row(group: str, predictor: str, value: float, missing: str, note: str = "") -> _Row:
    known = bool(np.isfinite(value))
    return group, predictor, float(value) if known else np.nan, False, EXPECTED[predictor], note if known else missing
