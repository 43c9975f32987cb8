"""Statements that hold for all predictors and gaps, ties included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spoofscope.metrics.correlations import (
    correlation_p,
    kendall,
    partial_spearman,
    pearson,
    ranks,
    spearman,
    spearman_without,
    weighted_spearman,
)
from spoofscope.metrics.permutation import benjamini_hochberg, holm, permutation_test

# whole numbers: exactly representable, and dense enough that ties are the rule
WHOLE = st.integers(-6, 6).map(float)
PAIRS = st.integers(4, 12).flatmap(lambda n: st.tuples(arrays(float, n, elements=WHOLE), arrays(float, n, elements=WHOLE)))
TRIPLES = st.integers(4, 12).flatmap(lambda n: arrays(float, (3, n), elements=WHOLE))
P = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(np.array)
ORDER_ONLY = [spearman, kendall]


def cubed(values):
    """An increasing map that is exact on whole numbers."""
    return values**3 + values


@pytest.mark.parametrize("measure", ORDER_ONLY)
@given(pair=PAIRS)
def test_a_rank_correlation_is_unchanged_by_increasing_maps(measure, pair):
    x, y = pair
    assert measure(cubed(x), 5 * y + 1) == pytest.approx(measure(x, y), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("measure", [*ORDER_ONLY, pearson])
@given(pair=PAIRS)
def test_turning_one_side_round_turns_the_sign(measure, pair):
    x, y = pair
    assert measure(-x, y) == pytest.approx(-measure(x, y), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("measure", [*ORDER_ONLY, pearson])
@given(pair=PAIRS, seed=st.integers(0, 2**32 - 1))
def test_no_correlation_depends_on_the_order_of_the_attacks_or_of_the_sides(measure, pair, seed):
    x, y = pair
    order = np.random.default_rng(seed).permutation(len(x))
    assert measure(y[order], x[order]) == pytest.approx(measure(x, y), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("measure", [*ORDER_ONLY, pearson])
@given(pair=PAIRS)
def test_a_correlation_lies_between_minus_one_and_one_or_does_not_exist(measure, pair):
    value = measure(*pair)
    assert np.isnan(value) == any(np.ptp(side) == 0 for side in pair)
    assert np.isnan(value) or -1 <= value <= 1


@given(pair=PAIRS)
def test_ranks_keep_the_order_and_add_up(pair):
    values = pair[0]
    found, n = ranks(values), len(values)
    assert found.sum() == n * (n + 1) / 2
    assert np.array_equal(np.sign(found[:, None] - found), np.sign(values[:, None] - values))


@given(triple=TRIPLES)
def test_a_partial_correlation_lies_between_minus_one_and_one(triple):
    value = partial_spearman(*triple)
    assert np.isnan(value) or -1 <= value <= 1


@given(triple=TRIPLES, seed=st.integers(0, 2**32 - 1))
def test_a_covariate_that_says_nothing_changes_nothing(triple, seed):
    x, y, _ = triple
    assert partial_spearman(x, y, np.ones(len(x))) == pytest.approx(spearman(x, y), abs=1e-9, nan_ok=True)


@given(pair=PAIRS)
def test_equal_weights_are_no_weights(pair):
    x, y = pair
    for weight in (1, 3):
        found = weighted_spearman(x[:, None], y, np.full((1, len(x)), weight))[0, 0]
        assert found == pytest.approx(spearman(x, y), abs=1e-12, nan_ok=True)


@given(pair=PAIRS)
def test_rho_without_an_attack_exists_unless_a_side_is_constant_without_it(pair):
    x, y = pair
    found = spearman_without(x[:, None], y)[:, 0]
    for at, value in enumerate(found):
        assert np.isnan(value) == (np.ptp(np.delete(x, at)) == 0 or np.ptp(np.delete(y, at)) == 0)


@given(rho=st.floats(-1, 1), n=st.integers(4, 60))
def test_p_falls_as_rho_grows_and_has_no_sign(rho, n):
    p = correlation_p(rho, n)
    assert 0 <= p <= 1
    assert p == correlation_p(-rho, n)
    assert correlation_p(rho / 2, n) >= p


@given(pair=PAIRS, seed=st.integers(0, 1000))
def test_a_permutation_p_is_unchanged_by_increasing_maps(pair, seed):
    x, y = pair
    one, other = (
        permutation_test(a, b, rng=np.random.default_rng(seed), permutations=99) for a, b in ((x, y), (cubed(x), 2 * y))
    )
    assert one.p == pytest.approx(other.p, nan_ok=True)


@given(pair=PAIRS, others=st.integers(1, 4), seed=st.integers(0, 1000))
def test_a_family_never_makes_p_smaller(pair, others, seed):
    x, y = pair
    columns = np.column_stack((x, np.random.default_rng(seed).integers(0, 5, (len(x), others))))
    found = permutation_test(columns, y, rng=np.random.default_rng(seed), permutations=99)
    alone = permutation_test(x, y, rng=np.random.default_rng(seed), permutations=99)
    assert found.p[0] == pytest.approx(alone.p, nan_ok=True)
    known = ~np.isnan(found.p)
    assert (found.p_max_t[known] >= found.p[known]).all()
    assert ((found.p[known] > 0) & (found.p_max_t[known] <= 1)).all()


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@given(p=P)
def test_an_adjusted_p_is_never_smaller_and_keeps_the_order(adjust, p):
    adjusted = adjust(p)
    assert (adjusted >= p * (1 - 1e-12)).all() and (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


@given(p=P)
def test_the_rate_of_false_discoveries_asks_less_than_any_false_one(p):
    assert (benjamini_hochberg(p) <= holm(p) + 1e-12).all()
