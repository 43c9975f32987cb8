"""Probes against scikit-learn and against slow, obvious second implementations."""

import itertools

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spoofscope.analysis.probing.codelength import STRENGTHS, _blocks, online_code
from spoofscope.analysis.probing.decoding import LINEAR, Probe, Resampled, balanced_accuracy, out_of_fold, part_of
from spoofscope.analysis.probing.selectivity import _selectivity_once, cross_validated, stratified_folds

K = 4


@pytest.fixture(scope="module")
def case():
    """Four classes of unlike sizes in unlike columns, folds, and types."""
    rng = np.random.default_rng(0)
    codes = rng.choice(K, size=240, p=[0.4, 0.3, 0.2, 0.1])
    vectors = rng.normal(size=(240, 12)) * rng.uniform(0.1, 20, 12) + 3
    vectors[:, :K] += 1.5 * np.eye(K)[codes] * vectors[:, :K].std(axis=0)
    return vectors, codes, rng.integers(5, size=240), rng.integers(25, size=240)


def fitted(vectors, own, c=1.0):
    """One class against the rest, both sides weighing the same, in columns standardised under these weights."""
    weight = np.where(own, 0.5 / own.mean(), 0.5 / (1 - own.mean()))
    scaler = StandardScaler().fit(vectors, sample_weight=weight)
    head = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(scaler.transform(vectors), own, sample_weight=weight)
    return lambda asked: head.decision_function(scaler.transform(asked))


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
def test_decisions_are_those_of_scikit_learn_one_class_and_fold_after_another(case, c):
    vectors, codes, fold, _ = case
    decision = out_of_fold(vectors, codes, fold, K, Probe("linear", c=c))[:, 0]
    for tested in range(5):
        rows = fold == tested
        for code in range(K):
            expected = fitted(vectors[~rows], codes[~rows] == code, c)(vectors[rows])
            np.testing.assert_allclose(decision[rows, code], expected, atol=2e-3 * max(c, 1))


def test_components_are_those_of_scikit_learn(case):
    vectors, codes, fold, _ = case
    decision = out_of_fold(vectors, codes, fold, K, Probe("few", components=5))[:, 0]
    for tested in range(5):
        rows = fold == tested
        project = make_pipeline(StandardScaler(), PCA(5)).fit(vectors[~rows])
        for code in range(K):
            expected = fitted(project.transform(vectors[~rows]), codes[~rows] == code)(project.transform(vectors[rows]))
            np.testing.assert_allclose(decision[rows, code], expected, atol=1e-3)


def test_tasks_with_labels_of_their_own_for_each_fold_are_fitted_one_by_one(case):
    vectors, codes, fold, _ = case
    rng = np.random.default_rng(1)
    labels = np.stack([np.column_stack([rng.permutation(codes) for _ in range(5)]) for _ in range(2)], axis=1)
    together = out_of_fold(vectors, labels, fold, K, LINEAR)
    for task in range(2):
        for tested in range(5):
            alone = out_of_fold(vectors, labels[:, task, tested], fold, K, LINEAR)[:, 0]
            np.testing.assert_allclose(together[fold == tested, task], alone[fold == tested], atol=1e-3)


def test_balanced_accuracy_is_scikit_learn_s(case):
    vectors, codes, fold, types = case
    decision = out_of_fold(vectors, codes, fold, K)[:, 0]
    found = balanced_accuracy([part_of(decision, codes, types)], np.ones((1, 25)))
    assert found[0] == pytest.approx(balanced_accuracy_score(codes, decision.argmax(axis=1)))


def test_a_resample_is_the_accuracy_of_the_repeated_rows_and_parts_are_averaged_by_weight(case):
    _, codes, _, types = case
    rng = np.random.default_rng(2)
    decision = rng.normal(size=(240, K)) + np.eye(K)[codes]
    halves = [np.arange(240) < 100, np.arange(240) >= 100]
    parts = [part_of(decision[half], codes[half], types[half], weight) for half, weight in zip(halves, (2.0, 1.0), strict=True)]
    resampled = Resampled("speaker", types, {"replicates": 20, "level": 0.9}, 0)
    expected = []
    for drawn in resampled.drawn:
        accuracies = []
        for half in halves:
            rows = np.repeat(np.flatnonzero(half), drawn[types[half]].astype(int))
            hits = [(decision[rows].argmax(axis=1) == codes[rows])[codes[rows] == code] for code in set(codes[rows].tolist())]
            accuracies.append(np.mean([hit.mean() for hit in hits]))
        expected.append(np.average(accuracies, weights=(2, 1)))
    np.testing.assert_allclose(balanced_accuracy(parts, resampled.drawn), expected)
    row = resampled.accuracy("accuracy", parts)
    assert [row["accuracy_low"], row["accuracy_high"]] == pytest.approx(np.quantile(expected, [0.05, 0.95]))


def test_the_code_is_the_sum_of_what_each_row_costs(case):
    vectors, codes, _, types = case
    order, ends = _blocks(codes, types, np.random.default_rng(3))
    totals = []
    for c in STRENGTHS:
        bits = ends[0] * np.log2(K)
        for start, stop in itertools.pairwise(ends):
            known, coded = order[:start], order[start:stop]
            log_odds = np.column_stack([fitted(vectors[known], codes[known] == code, c)(vectors[coded]) for code in range(K)])
            chance = 1 / (1 + np.exp(-log_odds))
            chance /= chance.sum(axis=1, keepdims=True)
            bits -= sum(np.log2(chance[at, codes[row]]) for at, row in enumerate(coded))
        totals.append(bits)
    found = online_code(vectors, codes, types, K, rng=np.random.default_rng(3))
    assert found.bits == pytest.approx(min(totals) + np.log2(len(STRENGTHS)), rel=1e-3)
    assert found.uniform == 240 * 2


def test_the_reference_study_s_selectivity_is_scikit_learn_s_on_the_same_rows_and_folds(case):
    vectors, codes, _, _ = case
    rows = np.concatenate((np.flatnonzero(codes == 1)[:50], np.flatnonzero(codes != 1)[:50]))
    vectors, own = vectors[rows], np.arange(100) < 50
    rng = np.random.default_rng(4)
    fold, permuted = stratified_folds(own, 3, rng), rng.permutation(own)
    other_fold = stratified_folds(permuted, 3, rng)
    scores = []
    for labels, folds in ((own, fold), (permuted, other_fold)):
        predicted = np.empty(100, dtype=bool)
        for tested in range(3):
            train = folds != tested
            model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000)).fit(vectors[train], labels[train])
            predicted[~train] = model.predict(vectors[~train])
        scores.append(balanced_accuracy_score(labels, predicted))

    assert _selectivity_once(vectors, own, np.random.default_rng(4)) == pytest.approx(scores[0] - scores[1], abs=1e-9)


def test_cross_validated_predicts_as_scikit_learn_does(case):
    vectors, codes, _, _ = case
    labels = np.column_stack([codes == code for code in range(K)])
    folds = np.column_stack([stratified_folds(label, 5, np.random.default_rng(at)) for at, label in enumerate(labels.T)])
    found = cross_validated(vectors, labels, folds)
    for at in range(K):
        for tested in range(5):
            train = folds[:, at] != tested
            model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-8)).fit(vectors[train], labels[train, at])
            assert (model.predict(vectors[~train]) == found[~train, at]).mean() > 0.99
