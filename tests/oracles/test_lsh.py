"""Hyperplane hashing against its theory, and against slow obvious second implementations."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

import spoofscope.retrieval.lsh as lsh
import spoofscope.retrieval.sketch as sketch
from spoofscope.retrieval.codes import bits_of, hyperplanes, packed_codes, perturbations
from spoofscope.retrieval.lsh import PRESETS, LshIndex
from spoofscope.retrieval.sketch import SketchIndex


def at_angle(theta, dim):
    """Two vectors at an angle of theta."""
    pair = np.zeros((2, dim), dtype=np.float32)
    pair[:, 0], pair[1, 1] = [1, np.cos(theta)], np.sin(theta)
    return pair


def unit_rows(rng, n, d):
    rows = rng.standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("theta", [0.1, 0.5, np.pi / 2, 2.5])
@pytest.mark.parametrize("n_bits", [1, 4, 12])
def test_codes_collide_as_often_as_theory_says(theta, n_bits):
    n_tables = 6_000
    first, second = packed_codes(at_angle(theta, 8), hyperplanes(8, n_bits * n_tables, seed=1))
    alike = sum(bits_of(first[None], t * n_bits, n_bits) == bits_of(second[None], t * n_bits, n_bits) for t in range(n_tables))
    assert binomtest(int(alike[0]), n_tables, (1 - theta / np.pi) ** n_bits).pvalue > 1e-4


def test_packed_codes_hold_the_signs():
    rng = np.random.default_rng(0)
    rows, planes = rng.standard_normal((9, 5)).astype(np.float32), hyperplanes(5, 150, seed=0)
    codes = packed_codes(rows, planes)
    assert codes.shape == (9, 3)
    for row, bit in itertools.product(range(9), range(150)):
        assert bool(int(codes[row, bit // 64]) >> (bit % 64) & 1) == bool(rows[row] @ planes[:, bit] > 0)
    for start, n_bits in ((0, 7), (60, 9), (63, 1), (100, 24), (126, 20)):
        slow = [sum(int(r @ planes[:, start + i] > 0) << i for i in range(n_bits)) for r in rows]
        assert bits_of(codes, start, n_bits).tolist() == slow


@pytest.mark.parametrize("n_probes", [1, 2, 7, 40, 200, 256])
def test_directed_probes_are_the_cheapest_of_all_sets_of_bits(n_probes):
    n_bits, n_tables = 8, 3
    rng = np.random.default_rng(n_probes)
    index = LshIndex(metric="cosine", n_bits=n_bits, n_tables=n_tables, n_probes=n_probes)
    index.add([f"r{at}" for at in range(10)], unit_rows(rng, 10, 6))
    queries = unit_rows(rng, 25, 6)
    margins = (queries.astype(np.float64) @ hyperplanes(6, n_bits * n_tables, seed=0)).reshape(25, n_tables, n_bits)
    found = index.flips(queries)
    for query, table in itertools.product(range(25), range(n_tables)):
        costs = [sum(m**2 for i, m in enumerate(margins[query, table]) if flip >> i & 1) for flip in range(2**n_bits)]
        assert len(set(found[query, table].tolist())) == n_probes
        assert sorted(costs[flip] for flip in found[query, table]) == pytest.approx(sorted(costs)[:n_probes], rel=1e-4)


@pytest.mark.parametrize(("n_bits", "count"), [(5, 9), (9, 30), (12, 100)])
def test_no_set_of_bits_is_left_out_that_could_be_among_the_cheapest(n_bits, count):
    kept = {tuple(row) for row in perturbations(n_bits, count).astype(int).tolist()}
    rng = np.random.default_rng(0)
    every = np.array(list(itertools.product((0, 1), repeat=n_bits)))
    for spread in (0.1, 1, 5):
        costs = every @ np.sort(rng.gamma(1 / spread, size=n_bits))
        assert {tuple(row) for row in every[np.argsort(costs, kind="stable")[:count]].tolist()} <= kept


def slow_candidates(index, query, radius):
    """Rows that share a code with the query in a table, up to `radius` bits: one by one."""
    n_bits, n_tables = index.settings["n_bits"], index.settings["n_tables"]
    planes = hyperplanes(index.vectors.shape[1], n_bits * n_tables, index.settings["seed"])
    sides, own = index.vectors @ planes > 0, query @ planes > 0
    return {
        row
        for row in range(len(index))
        for table in range(n_tables)
        if np.sum(sides[row, table * n_bits : (table + 1) * n_bits] != own[table * n_bits : (table + 1) * n_bits]) <= radius
    }


@pytest.mark.parametrize(("preset", "radius"), [("study_16x8", 1), ("study_18x10", 2), ("study_20x12", 2)])
def test_the_hamming_ball_finds_what_a_loop_over_rows_finds(preset, radius):
    rng = np.random.default_rng(2)
    index = LshIndex(metric="cosine", **PRESETS[preset])
    rows = unit_rows(rng, 3, 16)[rng.integers(0, 3, 300)] + 0.15 * rng.standard_normal((300, 16))
    index.add(np.arange(200), rows[:200])
    index.add(np.arange(300, 400), rows[200:])
    queries = unit_rows(rng, 20, 16)
    queries[:15] = rows[:15] + 0.1 * rng.standard_normal((15, 16))
    found = index.search(queries, 10)
    assert found.candidates.max() > 10
    for at, query in enumerate(queries / np.linalg.norm(queries, axis=1, keepdims=True)):
        slow = slow_candidates(index, query, radius)
        assert found.candidates[at] == found.reranked[at] == len(slow)
        best = sorted(slow, key=lambda row: -float(index.vectors[row] @ query))[:10]
        assert found.places[at].tolist() == best + [-1] * (10 - len(best))


def test_a_shortlist_is_the_candidates_of_least_hamming_distance_by_the_first_word_and_then_by_all(monkeypatch):
    monkeypatch.setattr(lsh, "FIRST", 3)
    rng = np.random.default_rng(4)
    index = LshIndex(metric="cosine", n_bits=8, n_tables=16, radius=1, shortlist=7)
    index.add(np.arange(500), unit_rows(rng, 500, 10))
    queries = unit_rows(rng, 12, 10)
    planes = hyperplanes(10, 128, seed=0)
    apart = ((queries @ planes > 0)[:, None] != (index.vectors @ planes > 0)[None]).cumsum(axis=2)
    found = index.search(queries, 7)
    for at, query in enumerate(queries):
        slow = slow_candidates(index, query, 1)
        assert found.candidates[at] == len(slow) > 21
        first = sorted(slow, key=lambda row: (apart[at, row, 63], row))[:21]
        assert set(found.places[at]) == set(sorted(first, key=lambda row: (apart[at, row, 127], row))[:7])


@pytest.mark.parametrize("scan_bits", [64, 192])
@pytest.mark.parametrize("first", [1, 4])
def test_a_sketch_re_ranks_the_rows_of_least_hamming_distance(scan_bits, first, monkeypatch):
    monkeypatch.setattr(sketch, "FIRST", first)
    rng = np.random.default_rng(3)
    index = SketchIndex(metric="cosine", n_bits=192, scan_bits=scan_bits, shortlist=12)
    index.add(np.arange(900), unit_rows(rng, 900, 10))
    queries = unit_rows(rng, 30, 10)
    planes = hyperplanes(10, 192, seed=0)
    apart = ((queries @ planes > 0)[:, None] != (index.vectors @ planes > 0)[None]).cumsum(axis=2)
    found = index.search(queries, 12)
    for at in range(len(queries)):
        scanned = np.argsort(apart[at, :, scan_bits - 1], kind="stable")[: first * 12]
        slow = sorted(scanned.tolist(), key=lambda row: (apart[at, row, -1], row))[:12]
        assert sorted(found.places[at].tolist()) == sorted(slow)
