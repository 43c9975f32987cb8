"""Statements about searching that hold for all vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spoofscope.retrieval.exact as exact
import spoofscope.retrieval.lsh as lsh
import spoofscope.retrieval.sketch as sketch
from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.lsh import LshIndex
from spoofscope.retrieval.selection import concatenated
from spoofscope.retrieval.sketch import SketchIndex

METRICS = st.sampled_from(["cosine", "euclidean"])
SEEDS = st.integers(0, 2**32 - 1)
SPACES = st.sampled_from([{}, {"center": True}, {"whiten": True}, {"whiten": True, "components": 3}])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Few queries and rows at once, so that small data crosses the seams of large data."""
    for module in (exact, sketch):
        monkeypatch.setattr(module, "QUERIES_AT_ONCE", 4)
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 32)
    monkeypatch.setattr(sketch, "WAITING", 50)
    monkeypatch.setattr(lsh, "PROBES_AT_ONCE", 300)
    monkeypatch.setattr(lsh, "CANDIDATES_AT_ONCE", 100)


def brute_force(vectors, queries, k, metric):
    """Compare all with all in float64 and sort: places and similarities."""
    vectors, queries = vectors.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        vectors, queries = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, queries))
        similarity = queries @ vectors.T
    else:
        similarity = -np.linalg.norm(queries[:, None] - vectors[None], axis=2)
    places = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return places, np.take_along_axis(similarity, places, axis=1)


def clouds(rng, n, d, offset=0.0):
    centres = rng.standard_normal((5, d)) * 2 + offset
    return (centres[rng.integers(0, 5, n)] + rng.standard_normal((n, d))).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, metric=METRICS, n=st.integers(1, 200), q=st.integers(1, 11), k=st.integers(1, 40))
def test_exact_search_is_brute_force(seed, metric, n, q, k):
    rng = np.random.default_rng(seed)
    vectors, queries, k = clouds(rng, n, 6, 10), clouds(rng, q, 6, 10), min(n, k)
    index = ExactIndex(metric=metric)
    index.add([f"r{at}" for at in range(n)], vectors)
    found = index.search(queries, k)
    places, similarities = brute_force(vectors, queries, k, metric)
    assert found.similarities == pytest.approx(similarities, abs=2e-6 * (1 if metric == "cosine" else 10))
    apart = np.abs(np.diff(brute_force(vectors, queries, n, metric)[1], axis=1)).min(axis=1, initial=1) > 1e-5
    assert (found.places[apart] == places[apart]).all()
    assert (found.ids == np.array([f"r{at}" for at in range(n)])[found.places]).all()
    assert (found.candidates == n).all()


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, metric=METRICS, n=st.integers(1, 300), k=st.integers(1, 60), different=st.integers(1, 6))
def test_equal_rows_stand_in_the_order_of_places(seed, metric, n, k, different):
    rng = np.random.default_rng(seed)
    vectors = clouds(rng, different, 3)[rng.integers(0, different, n)]
    index = ExactIndex(metric=metric)
    index.add(np.arange(n), vectors)
    found = index.search(vectors[:5], min(n, k))
    for ids, similarities in zip(found.ids, found.similarities, strict=True):
        assert ids.tolist() == [row for _, row in sorted(zip(-similarities, ids.tolist(), strict=True))]
        last = np.flatnonzero((vectors == vectors[ids[-1]]).all(axis=1))
        assert ids[similarities == similarities[-1]].tolist() == last[: (similarities == similarities[-1]).sum()].tolist()


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, offset=st.sampled_from([0, 100, 3000]))
def test_distances_are_right_far_from_the_origin(seed, offset):
    rng = np.random.default_rng(seed)
    vectors, queries = clouds(rng, 200, 6, offset), clouds(rng, 8, 6, offset)
    index = ExactIndex(metric="euclidean")
    index.add(np.arange(200), vectors)
    similarities = brute_force(vectors, queries, 3, "euclidean")[1]
    assert index.search(queries, 3).similarities == pytest.approx(similarities, abs=1e-7 * max(offset, 20))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, metric=METRICS, space=SPACES, kind=st.sampled_from(["ball", "directed", "sketch"]))
def test_an_index_that_looks_everywhere_is_exact(seed, metric, space, kind):
    rng = np.random.default_rng(seed)
    rows, queries = clouds(rng, 120, 5, 3), clouds(rng, 9, 5, 3)
    made = {
        "ball": lambda: LshIndex(metric=metric, n_bits=6, n_tables=2, radius=6, **space),
        "directed": lambda: LshIndex(metric=metric, n_bits=6, n_tables=2, n_probes=64, **space),
        "sketch": lambda: SketchIndex(metric=metric, n_bits=128, shortlist=120, **space),
    }[kind]()
    plain = ExactIndex(metric=metric, **space)
    for index in (made, plain):
        index.add(np.arange(100), rows[:100])
        index.add(np.arange(100, 120), rows[100:])
        index.remove([5, 17])
    found, wanted = made.search(queries, 7), plain.search(queries, 7)
    assert (found.ids == wanted.ids).all()
    assert (found.similarities == wanted.similarities).all()
    assert (found.candidates == 118).all()


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, directed=st.booleans(), shortlist=st.sampled_from([None, 15]))
def test_more_probes_find_no_less(seed, directed, shortlist):
    rng = np.random.default_rng(seed)
    index = LshIndex(metric="cosine", n_bits=8, n_tables=2, radius=0, shortlist=shortlist)
    index.add(np.arange(300), clouds(rng, 300, 8))
    queries = clouds(rng, 10, 8)
    best, looked_at = -np.inf, 0
    for more in (1, 3, 10, 50, 256) if directed else (0, 1, 2, 8):
        tuned = index.tuned(**{"n_probes" if directed else "radius": more}, shortlist=shortlist)
        found = tuned.search(queries, 5)
        assert (found.candidates >= looked_at).all()
        looked_at = found.candidates
        if shortlist is None:
            assert (found.similarities >= best).all()
            best = found.similarities
    assert (looked_at == 300).all()


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(["exact", "lsh", "sketch"]))
def test_an_index_after_removal_is_the_index_of_what_is_left(seed, kind):
    rng = np.random.default_rng(seed)
    rows, queries = clouds(rng, 150, 6), clouds(rng, 6, 6)
    first, second = (
        {
            "exact": lambda: ExactIndex(metric="cosine"),
            "lsh": lambda: LshIndex(metric="cosine", n_bits=5, n_tables=3, n_probes=4, shortlist=20),
            "sketch": lambda: SketchIndex(metric="cosine", n_bits=128, shortlist=20),
        }[kind]()
        for _ in range(2)
    )
    gone = rng.choice(150, 60, replace=False)
    stay = np.setdiff1d(np.arange(150), gone)
    first.add(np.arange(150), rows)
    first.remove(gone)
    second.add(stay, rows[stay])
    for found, wanted in zip(first.search(queries, 9), second.search(queries, 9), strict=True):
        assert (found == wanted).all()


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 9)), max_size=20))
def test_ranges_are_concatenated(ranges):
    starts, lengths = (np.array([pair[at] for pair in ranges], dtype=np.int64) for at in (0, 1))
    assert concatenated(starts, lengths).tolist() == [n for start, length in ranges for n in range(start, start + length)]
