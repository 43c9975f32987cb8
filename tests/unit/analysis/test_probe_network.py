"""The probe that is more than linear."""

import numpy as np
from scipy.optimize import check_grad

from spoofscope.analysis.probing.decoding import LINEAR, Probe, out_of_fold
from spoofscope.analysis.probing.network import loss, network_decision

RNG = np.random.default_rng(3)
CODES = np.arange(240) % 4 // 2
CORNERS = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]])[np.arange(240) % 4]
CROSSED = np.column_stack((3 * CORNERS, RNG.standard_normal((240, 4)))) + 0.3 * RNG.standard_normal((240, 6))


def test_the_gradient_is_that_of_the_loss() -> None:
    targets = np.eye(3)[RNG.integers(3, size=20)] * RNG.uniform(size=(20, 1))
    settings = RNG.standard_normal((20, 5)), targets, 4
    weights = RNG.standard_normal(5 * 4 + 5 * 3)
    assert check_grad(lambda w: loss(w, *settings)[0], lambda w: loss(w, *settings)[1], weights) < 1e-5


def test_classes_that_cross_are_told_apart_by_hidden_units_and_not_by_a_line() -> None:
    fold = np.arange(240) // 4 % 5
    linear, network = (
        (out_of_fold(CROSSED, CODES, fold, 2, probe)[:, 0].argmax(axis=1) == CODES).mean()
        for probe in (LINEAR, Probe("mlp", components=6, hidden=16))
    )
    assert linear < 0.65 and network > 0.95


def test_a_class_of_few_rows_weighs_as_much_as_the_others() -> None:
    vectors = RNG.standard_normal((220, 2)) + np.where(np.arange(220) < 200, 0, 1.5)[:, None]
    codes = (np.arange(220) >= 200).astype(np.intp)
    decision = network_decision(vectors, codes, np.ones(220, dtype=bool), 2, 8)
    assert (decision.argmax(axis=1)[codes == 1] == 1).mean() > 0.7
