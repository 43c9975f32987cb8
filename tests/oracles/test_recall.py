"""Recall and the front of unbeaten settings against slow obvious second implementations, and what must hold of them whatever the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofscope.retrieval.benchmark import frontier, recall, speed_at
from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.index import Found
from spoofscope.retrieval.lsh import LshIndex

METRICS = ("cosine", "euclidean")


def similarity(metric, row, query):
    if metric == "euclidean":
        return -np.linalg.norm(row - query)
    return row @ query / np.linalg.norm(row) / np.linalg.norm(query)


def slow_recall(metric, rows, query, places, k, tolerance=1e-6):
    """Sets of rows, by distances in double precision."""
    near = {place: similarity(metric, row, query) for place, row in enumerate(rows.astype(np.float64))}
    kth = sorted(near.values(), reverse=True)[k - 1]
    as_near = {place for place, value in near.items() if value >= kth - tolerance * max(1, abs(kth))}
    return len(as_near & set(places.tolist())) / k


def case(metric, seed, n=120, q=20, k=6, **settings):
    """Rows with doubles, queries, exact search, LSH that misses some and pads some."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, (n, 4)).astype(np.float32) + np.float32(0.25)
    rows[n // 2 : n // 2 + 10] = rows[:10]
    queries = rng.standard_normal((q, 4)).astype(np.float32)
    exact = ExactIndex(metric=metric)
    lsh = LshIndex(metric=metric, n_bits=4, n_tables=1, n_probes=1, seed=seed)
    for index in (exact, lsh):
        index.add(np.arange(n), rows)
    return rows, queries, exact.search(queries, k), lsh.search(queries, k)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(8))
def test_recall_is_that_of_sets_of_rows_by_distance(metric, seed):
    rows, queries, truth, found = case(metric, seed)
    slow = [slow_recall(metric, rows, query, places, 6) for query, places in zip(queries, found.places, strict=True)]
    assert recall(found, truth) == pytest.approx(slow)
    assert 0 < np.mean(slow) < 1


@pytest.mark.parametrize("metric", METRICS)
def test_some_of_the_answers_above_are_padded(metric):
    assert sum((case(metric, seed)[3].places < 0).any() for seed in range(8)) > 1


@pytest.mark.parametrize("metric", METRICS)
def test_ties_at_the_kth_place_differ_from_recall_by_names(metric):
    """So that the tests above can tell one from the other."""
    by_distance, by_name = 0.0, 0.0
    for seed in range(8):
        _, _, truth, found = case(metric, seed)
        by_distance += recall(found, truth).sum()
        by_name += sum(len(set(a) & set(b)) / 6 for a, b in zip(found.places.tolist(), truth.places.tolist(), strict=True))
    assert by_distance > by_name


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), metric=st.sampled_from(METRICS))
def test_recall_of_exact_search_is_one_and_none_is_out_of_range(seed, metric):
    _, _, truth, found = case(metric, seed)
    assert (recall(truth, truth) == 1).all()
    shares = recall(found, truth)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (recall(found, truth, tolerance=0.1) >= shares).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_recall_goes_with_the_queries_and_not_with_the_order_of_an_answer(seed):
    _, _, truth, found = case("cosine", seed)
    rng = np.random.default_rng(seed)
    queries, columns = rng.permutation(20), rng.permutation(6)
    moved, true = (Found._make(each[queries] for each in answer) for answer in (found, truth))
    assert (recall(moved, true) == recall(found, truth)[queries]).all()
    mixed = found._replace(places=found.places[:, columns], similarities=found.similarities[:, columns])
    assert (recall(mixed, truth) == recall(found, truth)).all()


points = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=12)


@given(points)
def test_the_front_is_what_no_other_point_beats(chosen):
    beats = [[(b[0] >= a[0] and b[1] > a[1]) or (b[0] > a[0] and b[1] >= a[1]) for b in chosen] for a in chosen]
    found = frontier([a for a, _ in chosen], [b for _, b in chosen])
    assert found.tolist() == [not any(row) for row in beats]


@given(points.filter(bool), st.floats(0, 6))
def test_speed_at_a_recall_lies_between_its_neighbours_on_the_front(chosen, wanted):
    recalls, speeds = np.array(chosen, dtype=float).T
    found, kept = speed_at(wanted, recalls, speeds), frontier(recalls, speeds)
    below, above = kept & (recalls <= wanted), kept & (recalls >= wanted)
    if below.any() and above.any():
        assert speeds[above].max() * (1 - 1e-9) <= found <= speeds[below].min() * (1 + 1e-9)
    else:
        assert np.isnan(found)
