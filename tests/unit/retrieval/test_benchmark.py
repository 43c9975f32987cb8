"""Measuring an index: recall, its interval, speed, curves and what is refused; and synthetic embeddings to measure it on."""

import tracemalloc

import numpy as np
import pytest

import spoofscope.retrieval.synthetic as synthetic
from spoofscope.errors import DataError, UserError
from spoofscope.retrieval.benchmark import build, frontier, mean_recall, measure, recall, speed_at, sweep, timed
from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.index import Found
from spoofscope.retrieval.lsh import LshIndex
from spoofscope.retrieval.synthetic import synthetic_like, vectors_around

ROWS, QUERIES, K = 400, 30, 5


def answers(similarities, places):
    similarities, places = np.array(similarities, dtype=np.float32), np.array(places)
    count = np.full(len(places), places.shape[1])
    return Found(places, similarities, places, count, count)


@pytest.fixture(scope="module")
def searched():
    """Exact search, LSH of the same rows, queries and the truth."""
    drawn = vectors_around(np.random.default_rng(0).standard_normal((50, 8)), ROWS + QUERIES, np.random.default_rng(1))
    exact, lsh = ExactIndex(metric="cosine"), LshIndex(metric="cosine", n_bits=6, n_tables=3, n_probes=2)
    for index in (exact, lsh):
        index.add(np.arange(ROWS), drawn[:ROWS])
    return exact, lsh, drawn[ROWS:], exact.search(drawn[ROWS:], K)


def test_rows_as_near_as_the_kth_count_whichever_they_are():
    truth = answers([[0.9, 0.8, 0.8]], [[0, 1, 2]])
    assert recall(answers([[0.9, 0.8, 0.8]], [[0, 7, 8]]), truth).tolist() == [1]
    assert recall(answers([[0.9, 0.8, 0.7]], [[0, 7, 8]]), truth) == pytest.approx([2 / 3])


def test_tolerance_decides_how_much_farther_a_row_may_be():
    truth, found = answers([[0.9, 0.8]], [[0, 1]]), answers([[0.9, 0.799]], [[0, 5]])
    assert recall(found, truth).tolist() == [0.5]
    assert recall(found, truth, tolerance=0.002).tolist() == [1]
    assert recall(answers([[0.9, 0.8 - 5e-7]], [[0, 5]]), truth).tolist() == [1]


def test_tolerance_grows_with_long_distances_and_does_not_shrink_with_short_ones():
    far = answers([[-1000.0, -2000.0]], [[0, 1]])
    assert recall(answers([[-1000.0, -2000.001]], [[0, 5]]), far).tolist() == [1]
    assert recall(answers([[-1000.0, -2000.1]], [[0, 5]]), far).tolist() == [0.5]
    near = answers([[0.0, -1e-3]], [[0, 1]])
    assert recall(answers([[0.0, -1e-3 - 5e-7]], [[0, 5]]), near).tolist() == [1]


def test_padding_and_rows_named_twice_do_not_count():
    truth = answers([[0.9, 0.8, 0.7]], [[0, 1, 2]])
    assert recall(answers([[0.9, -np.inf, -np.inf]], [[0, -1, -1]]), truth) == pytest.approx([1 / 3])
    assert recall(answers([[0.9, -np.inf, -np.inf]], [[0, -1, -1]]), truth, tolerance=np.inf) == pytest.approx([1 / 3])
    assert recall(answers([[0.9, 0.9, 0.9]], [[0, 0, 0]]), truth) == pytest.approx([1 / 3])


def test_answers_of_other_queries_or_another_k_are_refused():
    truth = answers([[0.9, 0.8]], [[0, 1]])
    with pytest.raises(UserError, match=r"answers are \(1, 1\) and true ones \(1, 2\)"):
        recall(answers([[0.9]], [[0]]), truth)
    with pytest.raises(DataError, match="padded"):
        recall(truth, answers([[0.9, -np.inf]], [[0, -1]]))


def test_an_interval_is_about_the_mean_and_never_without_width():
    for shares in ([1.0] * 20, [0.0] * 20, [0.5] * 20, [1.0, 0.9, 0.3, 0.7], [0.4]):
        mean, low, high = mean_recall(np.array(shares))
        assert mean == pytest.approx(np.mean(shares))
        assert 0 <= low <= mean <= high <= 1 and high - low > 0.05


def test_an_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [mean_recall(rng.binomial(10, rng.beta(9, 1, 100)) / 10)[1:] for _ in range(2_000)]
    covered = np.mean([low <= 0.9 <= high for low, high in found])
    assert 0.93 < covered < 0.97


def test_recall_of_no_queries_is_refused():
    with pytest.raises(DataError, match="no queries"):
        mean_recall(np.empty(0))


def test_tasks_are_timed_in_turn():
    calls = []
    times = timed([lambda: calls.append("a"), lambda: calls.append("b")], 3)
    assert calls == ["a", "b"] * 3
    assert all(0 <= one.fastest_s <= one.clock_s <= one.slowest_s for one in times)


def test_build_fills_the_index():
    index = ExactIndex(metric="cosine")
    clock, cpu = build(index, ["a", "b"], np.eye(2))
    assert len(index) == 2 and clock > 0 and cpu >= 0


def test_numbers_of_a_measurement_agree(searched):
    exact, lsh, queries, truth = searched
    found = measure(lsh, queries, truth, K, threads=2, reference=exact)
    row = found.row()
    assert all(np.isscalar(value) and np.isfinite(value) for value in row.values())
    assert row["queries_per_s"] == found.queries_per_s == pytest.approx(QUERIES / row["clock_s"])
    assert row["queries_per_s_slowest"] <= row["queries_per_s"] <= row["queries_per_s_fastest"]
    assert row["queries_per_s_threads"] == pytest.approx(QUERIES / row["clock_s_threads"]) and row["threads"] == 2
    assert row["latency_p50_ms"] <= row["latency_p95_ms"] <= row["latency_p99_ms"]
    assert (row["n_queries"], row["n_singles"], row["n_rows"], row["k"]) == (QUERIES, QUERIES, ROWS, K)
    assert row["nbytes"] == lsh.nbytes
    answer = lsh.search(queries, K)
    assert row["recall"] == pytest.approx(recall(answer, truth).mean())
    assert row["candidate_fraction"] == pytest.approx(answer.candidates.mean() / ROWS)
    assert row["compared_fraction"] == pytest.approx(answer.reranked.mean() / ROWS)


def test_without_a_reference_there_is_no_ratio_and_one_thread_is_measured_once(searched):
    exact, _, queries, truth = searched
    found = measure(exact, queries, truth, K, repetitions=1)
    assert np.isnan(found.faster_clock) and np.isnan(found.faster_cpu)
    assert found.batch is found.batch_threads and found.recall == 1


def test_one_thread_is_what_searches_run_with(searched):
    from threadpoolctl import threadpool_info

    exact, _, queries, truth = searched
    seen = []

    class Watched:
        """Notes the pools' threads of each search."""

        nbytes, ids = exact.nbytes, exact.ids

        def __len__(self):
            return len(exact)

        def search(self, vectors, k):
            seen.append({pool["num_threads"] for pool in threadpool_info()})
            return exact.search(vectors, k)

    measure(Watched(), queries, truth, K)
    assert len(seen) == 1 + 3 + 1 + QUERIES and all(threads <= {1} for threads in seen)


def test_single_queries_are_no_more_than_needed(searched, monkeypatch):
    exact, _, queries, truth = searched
    monkeypatch.setattr("spoofscope.retrieval.benchmark.MOST_SINGLES", 7)
    assert measure(exact, queries, truth, K).n_singles == 7


def test_a_sweep_searches_in_each_of_the_ways(searched):
    _, lsh, queries, truth = searched
    found = sweep(lsh, {"few": {"n_probes": 1}, "all": {"n_probes": 64}, "as it is": {}}, queries, truth, K)
    assert list(found) == ["few", "all", "as it is"]
    assert found["few"].recall < found["as it is"].recall < found["all"].recall == 1
    assert lsh.settings["n_probes"] == 2


def test_a_sweep_refuses_queries_that_are_rows(searched):
    _, lsh, queries, truth = searched
    ids = ROWS + np.arange(QUERIES)
    assert sweep(lsh, {"": {}}, queries, truth, K, query_ids=ids)
    ids[4] = 17
    with pytest.raises(DataError, match=r"1 of 30 queries are rows of the index .*first: 17"):
        sweep(lsh, {"": {}}, queries, truth, K, query_ids=ids)
    with pytest.raises(DataError, match="30 queries have 2 ids"):
        sweep(lsh, {"": {}}, queries, truth, K, query_ids=[500, 501])


def test_what_does_not_fit_together_is_refused(searched):
    exact, _, queries, truth = searched
    with pytest.raises(UserError, match="k = 4 were given"):
        measure(exact, queries, truth, 4)
    with pytest.raises(UserError, match="'exact' is searched in one way only"):
        sweep(exact, {"": {"n_probes": 3}}, queries, truth, K)
    with pytest.raises(UserError, match="repetitions=0"):
        measure(exact, queries, truth, K, repetitions=0)


def test_speed_at_a_recall_is_read_between_the_unbeaten_points():
    recalls, speeds = [0.9, 0.5, 0.7, 0.6], [100.0, 10_000.0, 1_000.0, 20.0]
    assert speed_at(0.7, recalls, speeds) == pytest.approx(1_000)
    assert speed_at(0.8, recalls, speeds) == pytest.approx(np.sqrt(1_000 * 100))
    assert speed_at(0.6, recalls, speeds) == pytest.approx(np.sqrt(10_000 * 1_000))


def test_speed_beyond_a_curve_is_unknown():
    assert np.isnan(speed_at(0.95, [0.5, 0.9], [10, 1])) and np.isnan(speed_at(0.4, [0.5, 0.9], [10, 1]))
    assert np.isnan(speed_at(0.5, [], []))


def test_equal_points_stand_together_on_the_front():
    assert frontier([0.5, 0.5, 0.5], [3, 3, 2]).tolist() == [True, True, False]
    assert frontier([], []).tolist() == []


def test_synthetic_vectors_have_the_measured_mean_and_covariance(monkeypatch):
    monkeypatch.setattr(synthetic, "ROWS_AT_ONCE", 1000)
    rng = np.random.default_rng(0)
    real = (rng.exponential(size=(3_500, 5)) @ rng.standard_normal((5, 5)) + [0, 10, -5, 1, 3]).astype(np.float16)
    drawn = synthetic_like(real, 100_500, rng)
    real = real.astype(np.float64)
    covariance = np.cov(real.T)
    size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert drawn.dtype == np.float32 and drawn.shape == (100_500, 5)
    assert np.abs(drawn.mean(axis=0) - real.mean(axis=0)).max() < 0.02 * np.sqrt(np.diag(covariance).max())
    assert (np.abs(np.cov(drawn.T) - covariance) / size).max() < 0.02


def test_synthetic_vectors_keep_to_the_directions_that_vary():
    real = np.random.default_rng(0).standard_normal((50, 1)) * [1.0, 2.0, 0.0]
    drawn = synthetic_like(real, 300, np.random.default_rng(1))
    assert np.linalg.matrix_rank(drawn - drawn.mean(axis=0), tol=1e-3) == 1


def test_blocks_do_not_change_what_is_drawn(monkeypatch):
    real = np.random.default_rng(0).standard_normal((40, 6))
    whole = [draw(real, 900, np.random.default_rng(2)) for draw in (synthetic_like, vectors_around)]
    monkeypatch.setattr(synthetic, "ROWS_AT_ONCE", 8)
    for draw, expected in zip((synthetic_like, vectors_around), whole, strict=True):
        assert draw(real, 900, np.random.default_rng(2)) == pytest.approx(expected, abs=1e-5)


def test_vectors_around_a_centre_have_its_neighbours_covariance():
    rng = np.random.default_rng(0)
    centres = (rng.standard_normal((33, 4)) + 3).astype(np.float32)
    drawn = vectors_around(centres, 33 * 20_000, rng)
    order = np.random.default_rng(0)
    order.standard_normal((33, 4))
    places = np.array_split(order.permutation(33 * 20_000), 33)
    displacements = np.delete(centres, 5, axis=0) - centres[5]
    own = drawn[places[5]]
    assert own.mean(axis=0) == pytest.approx(centres[5], abs=0.05)
    assert np.cov(own.T) == pytest.approx(displacements.T @ displacements / 32, abs=0.1)


def test_drawing_needs_rows_to_draw_from():
    with pytest.raises(DataError, match="at least 2 rows; found 1"):
        synthetic_like(np.ones((1, 3)), 5, np.random.default_rng(0))
    with pytest.raises(DataError, match="at least 2 are needed, found 1"):
        vectors_around(np.ones((1, 3)), 5, np.random.default_rng(0))


def test_drawing_holds_little_beyond_what_is_drawn():
    real, rng = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32), np.random.default_rng(1)
    for draw in (synthetic_like, vectors_around):
        tracemalloc.start()
        drawn = draw(real, 300_000, rng)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < drawn.nbytes + 12e6
