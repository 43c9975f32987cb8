"""Indexes that FAISS and usearch search keep the contract of all indexes, beside torch and at the threads that numpy has."""

import json
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from spoofscope.errors import DataError, MissingExtra, RunFolderError, UserError
from spoofscope.retrieval import KINDS, index_class, open_index
from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.libraries import PRESETS, threads

pytest.importorskip("faiss", reason="FAISS is not installed: pip install 'spoofscope[ann]'")
pytest.importorskip("usearch", reason="usearch is not installed: pip install 'spoofscope[ann]'")

SETTINGS = {
    "faiss_flat": {},
    "faiss_ivf": {"n_lists": 12, "n_probes": 6},
    "faiss_hnsw": {"m": 8, "ef_construction": 60, "ef_search": 60},
    "faiss_pq": {"m": 4, "n_bits": 4, "shortlist": 60},
    "faiss_lsh": {"n_bits": 64, "shortlist": 60},
    "usearch": {"m": 8, "ef_construction": 60, "ef_search": 60},
}
HELD = ("faiss_ivf", "faiss_hnsw", "usearch")
"""Kinds whose vectors the library has."""
TUNING = {
    "faiss_ivf": ("n_probes", 1, 12),
    "faiss_hnsw": ("ef_search", 1, 200),
    "faiss_pq": ("shortlist", 1, 200),
    "faiss_lsh": ("shortlist", 1, 200),
    "usearch": ("ef_search", 1, 200),
}
every_kind = pytest.mark.parametrize("kind", SETTINGS)
kept_kinds = pytest.mark.parametrize("kind", [kind for kind in SETTINGS if kind != "faiss_flat"])


def rows_of(n, d=8, seed=0, groups=20):
    """Draw clusters about fixed centres, so that queries of another seed lie among the rows."""
    centres = np.random.default_rng(99).standard_normal((groups, d)) * 2 + 1
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, groups, n)] + rng.standard_normal((n, d))).astype(np.float32)


def made(kind, metric="cosine", **settings):
    return index_class(kind)(metric=metric, **SETTINGS[kind] | settings)


def filled(kind, n=80, **settings):
    index = made(kind, **settings)
    index.add([f"clip{at:03}" for at in range(n)], rows_of(n))
    return index


def recall(found, wanted):
    return np.mean([len(np.intersect1d(*pair)) / len(pair[1]) for pair in zip(found.places, wanted.places, strict=True)])


def test_every_kind_of_a_library_is_tested_here():
    assert set(SETTINGS) == {kind for kind, where in KINDS.items() if where.startswith("libraries")}


@every_kind
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("space", [{}, {"center": True}, {"whiten": True, "components": 4}])
def test_similarities_and_ids_are_those_of_exact_search(kind, metric, space):
    index = filled(kind, 300, metric=metric, **space)
    exact = ExactIndex(metric=metric, **space)
    exact.add(index.ids, rows_of(300))
    queries = rows_of(40, seed=1)
    found, all_of_them = index.search(queries, 5), exact.search(queries, 300)
    assert (found.places >= 0).all() and (found.ids == index.ids[found.places]).all()
    similarity = np.full((40, 300), np.nan, dtype=np.float32)
    np.put_along_axis(similarity, all_of_them.places, all_of_them.similarities, axis=1)
    assert found.similarities.dtype == np.float32
    assert found.similarities == pytest.approx(np.take_along_axis(similarity, found.places, axis=1), abs=2e-6, rel=2e-5)
    assert (np.diff(found.similarities) <= 0).all()
    assert index.vectors == pytest.approx(exact.vectors, abs=1e-6)
    assert (found.reranked >= 5).all() and (found.reranked <= found.candidates).all() and (found.candidates <= 300).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_flat_search_answers_as_exact_search_does(metric):
    flat, exact = made("faiss_flat", metric), ExactIndex(metric=metric)
    rows = np.concatenate((rows_of(500), rows_of(20)))  # 20 rows stand twice
    for index in (flat, exact):
        index.add(np.arange(520), rows)
    queries = np.concatenate((rows_of(90, seed=1), rows[:10]))
    for found, wanted in zip(flat.search(queries, 12), exact.search(queries, 12), strict=True):
        assert found.tobytes() == wanted.tobytes()


@kept_kinds
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_recall_rises_with_the_effort_and_a_tuned_index_leaves_the_first_as_it_was(kind, metric):
    name, low, high = TUNING[kind]
    index = made(kind, metric, center=True, **{name: low})
    exact = ExactIndex(metric=metric, center=True)
    for each in (index, exact):
        each.add(np.arange(2000), rows_of(2000))
    queries = rows_of(100, seed=1)
    before, wanted = index.search(queries, 10), exact.search(queries, 10)
    wide = index.tuned(**{name: high})
    assert wide.settings == {**index.settings, name: high} and index.settings[name] == low
    thorough = wide.search(queries, 10)
    assert recall(before, wanted) + 0.02 < recall(thorough, wanted) >= 0.95
    assert thorough.reranked.mean() > before.reranked.mean()
    after = index.search(queries, 10)
    assert all(found.tobytes() == earlier.tobytes() for found, earlier in zip(after, before, strict=True))


@kept_kinds
def test_what_is_added_to_a_tuned_index_or_to_its_first_stays_there(kind):
    name, _, high = TUNING[kind]
    index = filled(kind)
    wide = index.tuned(**{name: high})
    wide.add(["new"], rows_of(1, seed=7))
    index.remove(["clip003", "clip004"])
    assert (len(index), len(wide), len(index.vectors), len(wide.vectors)) == (78, 81, 78, 81)
    assert wide.search(rows_of(1, seed=7), 1).ids.tolist() == [["new"]]
    assert wide.search(rows_of(80)[3:4], 1).ids.tolist() == [["clip003"]]
    assert "new" not in index.search(rows_of(1, seed=7), 20).ids


@every_kind
def test_the_same_rows_and_seed_give_the_same_answers(kind):
    first, second = filled(kind, 300), filled(kind, 300)
    for found, wanted in zip(first.search(rows_of(30, seed=1), 7), second.search(rows_of(30, seed=1), 7), strict=True):
        assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("kind", ["faiss_ivf", "faiss_hnsw", "faiss_pq", "faiss_lsh"])
def test_another_seed_trains_another_index(kind):
    name, low, _ = TUNING[kind]
    answers = [filled(kind, 400, seed=seed, **{name: low}).search(rows_of(200, seed=1), 10) for seed in (0, 1)]
    assert any(found.tobytes() != other.tobytes() for found, other in zip(*answers, strict=True))


@every_kind
def test_rows_added_later_and_rows_left_after_removal_are_found(kind):
    index = filled(kind)
    index.add(["late"], rows_of(1, seed=5))
    assert index.search(rows_of(1, seed=5), 1).ids.tolist() == [["late"]]
    index.remove(["clip000", "clip079"])
    assert len(index) == 79 and index.vectors.shape == (79, 8)
    found = index.search(rows_of(80), 1)
    assert found.ids[1:79, 0].tolist() == [f"clip{at:03}" for at in range(1, 79)]
    assert found.places[1:79, 0].tolist() == list(range(78))
    assert not {"clip000", "clip079"} & set(index.search(rows_of(80), 20).ids.ravel().tolist())
    index.remove(index.ids)
    with pytest.raises(UserError, match="k = 1 neighbours were asked of an index of 0 rows"):
        index.search(rows_of(1), 1)
    index.add(["again"], rows_of(1))
    assert index.search(rows_of(1), 1).ids.tolist() == [["again"]]


@every_kind
@pytest.mark.parametrize("copies", [1, 40])
def test_one_row_and_many_equal_rows_can_be_searched(kind, copies):
    index = made(kind, **{"faiss_ivf": {"n_lists": None}, "faiss_pq": {"n_bits": 3}}.get(kind, {}))
    if kind == "faiss_pq" and copies == 1:
        with pytest.raises(UserError, match=r"codes of n_bits=3 need 8 rows in the first add; found 1\. Add more"):
            index.add([0], rows_of(1))
        assert len(index) == 0 and index.dim == 0
        return
    index.add(np.arange(copies), np.repeat(rows_of(1), copies, axis=0))
    found = index.search(np.repeat(rows_of(1), 2, axis=0), copies)
    for places, similarities in zip(found.places, found.similarities, strict=True):
        some = places[places >= 0].tolist()
        assert similarities[places >= 0] == pytest.approx(1)
        # Of more equal rows than it has links, FAISS' graph does not reach all.
        assert len(set(some)) == len(some) and (len(some) == copies or (kind == "faiss_hnsw" and len(some) >= 8))
    single = index.search(rows_of(1), 1)
    assert single.places.shape == (1, 1) and single.similarities == pytest.approx(1)


@every_kind
def test_no_query_has_no_answer(kind):
    found = filled(kind).search(np.empty((0, 8)), 3)
    assert found.places.shape == (0, 3) and found.candidates.shape == (0,)


def test_answers_are_padded_where_the_lists_hold_too_few_rows():
    index = filled("faiss_ivf", n_probes=1)
    found = index.search(rows_of(80), 40)
    short = found.places == -1
    assert short.any() and not short[:, 0].any()
    assert (found.ids[short] == "").all() and (found.similarities[short] == -np.inf).all()
    assert ((~short).sum(axis=1) == np.minimum(found.candidates, 40)).all()


def test_candidates_are_the_rows_of_the_lists_probed():
    import faiss

    index = filled("faiss_ivf", 300)
    faiss.cvar.indexIVF_stats.reset()
    found = index.search(rows_of(30, seed=1), 3)
    assert found.candidates.sum() == faiss.cvar.indexIVF_stats.ndis
    assert (index.tuned(n_probes=12).search(rows_of(3), 3).candidates == 300).all()


def test_lists_are_four_times_the_root_of_the_rows_where_none_are_asked_for():
    for n, wanted in ((1, 1), (7, 7), (16, 16), (17, 16), (400, 80)):
        index = made("faiss_ivf", n_lists=None)
        index.add(np.arange(n), rows_of(n))
        assert len(index._lengths) == wanted and index._lengths.sum() == n


def test_few_rows_per_cluster_are_not_complained_of(capfd):
    for kind in ("faiss_ivf", "faiss_pq"):
        filled(kind, 20)
    assert capfd.readouterr() == ("", "")


def test_the_studys_presets_are_built_with_their_own_settings():
    for kind, options in PRESETS.values():
        index = index_class(kind)(metric="cosine", **options)
        index.add(np.arange(400), rows_of(400))
        assert recall(index.search(rows_of(50, seed=1), 10), index.search(rows_of(50, seed=1), 10)) == 1
    assert [dict(options) for _, options in PRESETS.values()] == [{}, {"n_probes": 4}, {"n_probes": 16}]


@every_kind
@pytest.mark.parametrize("space", [{}, {"center": True}, {"whiten": True, "components": 4}])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_loaded_index_answers_byte_for_byte(kind, space, metric, tmp_path):
    index = filled(kind, metric=metric, **space)
    index.save(tmp_path)
    loaded = open_index(tmp_path)
    assert type(loaded) is type(index) and loaded.settings == index.settings and loaded.dim == 8
    assert loaded.nbytes == index.nbytes and loaded.vectors.tobytes() == index.vectors.tobytes()
    for found, wanted in zip(loaded.search(rows_of(11, seed=1), 8), index.search(rows_of(11, seed=1), 8), strict=True):
        assert found.dtype == wanted.dtype and found.tobytes() == wanted.tobytes()


@every_kind
def test_a_loaded_index_grows_shrinks_and_is_saved_over_itself(kind, tmp_path):
    index = filled(kind, whiten=True)
    index.save(tmp_path)
    loaded = type(index).load(tmp_path)
    for each in (index, loaded):
        each.add(["one more"], rows_of(1, seed=5))
        each.remove(["clip000", "clip079"])
    loaded.save(tmp_path)
    again = open_index(tmp_path)
    assert len(again) == 79
    assert (again.search(rows_of(5, seed=1), 8).ids == index.search(rows_of(5, seed=1), 8).ids).all()


@every_kind
def test_the_vectors_are_in_memory_once(kind, tmp_path):
    n, dim = 1000, 32
    index = made(kind, metric="euclidean")
    index.add(np.arange(n), rows_of(n, dim))
    assert index.nbytes < 1.95 * n * dim * 4 + 8 * n
    assert len(index._vectors) == (0 if kind in HELD else n)
    index.save(tmp_path)
    assert index.nbytes == sum(np.load(file).nbytes for file in tmp_path.glob("*.npy"))
    assert (tmp_path / "vectors.npy").exists() == (kind not in HELD)


@every_kind
def test_what_is_not_a_vector_or_an_id_for_this_index_is_refused(kind):
    index = filled(kind, center=True)
    bad = rows_of(5)
    bad[3, 2] = np.nan
    with pytest.raises(DataError, match=r"row 3 \('n3'\) holds NaN or infinity"):
        index.add([f"n{at}" for at in range(5)], bad)
    with pytest.raises(DataError, match="query 3 holds NaN or infinity"):
        index.search(bad, 2)
    with pytest.raises(DataError, match="vectors of 7 numbers, in an index of vectors of 8"):
        index.search(rows_of(3, 7), 2)
    with pytest.raises(DataError, match="vectors of 7 numbers, in an index of vectors of 8"):
        index.add(["n"], rows_of(1, 7))
    with pytest.raises(DataError, match="2 ids are in the index already"):
        index.add(["clip001", "x", "clip002"], rows_of(3))
    with pytest.raises(DataError, match="cannot remove x: not among the 80 ids"):
        index.remove(["clip001", "x"])
    for k in (0, 81):
        with pytest.raises(UserError, match=f"k = {k} neighbours were asked of an index of 80 rows"):
            index.search(rows_of(1), k)
    assert len(index) == len(index.vectors) == 80
    assert (index.search(rows_of(80), 1).places[:, 0] == np.arange(80)).all()


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("faiss_ivf", {"n_probes": 0}, "n_probes=0: it must be a whole number from 1 upwards"),
        ("faiss_ivf", {"n_lists": 2.5}, "n_lists=2.5: it must be a whole number"),
        ("faiss_ivf", {"n_probes": 13}, "n_probes=13: there are 12 lists"),
        ("faiss_ivf", {"seed": 2**31}, "seed=2147483648: it must be a whole number from 0 to 2,147,483,647"),
        ("faiss_hnsw", {"m": 1}, "m=1: it must be a whole number from 2"),
        ("faiss_hnsw", {"ef_search": 0}, "ef_search=0"),
        ("faiss_pq", {"n_bits": 17}, "n_bits=17: it must be a whole number from 3 to 16"),
        ("faiss_pq", {"m": 0}, "m=0"),
        ("faiss_lsh", {"shortlist": 0}, "shortlist=0"),
        ("faiss_lsh", {"n_bits": 0}, "n_bits=0"),
        ("usearch", {"ef_construction": 0}, "ef_construction=0"),
        ("usearch", {"m": 1}, "m=1"),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings, message):
    with pytest.raises(UserError, match=message):
        made(kind, **settings)


@kept_kinds
def test_a_tuning_out_of_range_is_refused(kind):
    name = TUNING[kind][0]
    with pytest.raises(UserError, match=f"{name}=0: it must be a whole number from 1"):
        filled(kind).tuned(**{name: 0})


@every_kind
def test_the_metric_is_never_silent(kind):
    with pytest.raises(TypeError, match="metric"):
        index_class(kind)(**SETTINGS[kind])


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("faiss_ivf", {}, "12 lists need as many rows in the first add; found 10. Add more, or ask for fewer lists"),
        ("faiss_pq", {}, "codes of n_bits=4 need 16 rows in the first add; found 10. Add more, or ask for fewer bits"),
        ("faiss_pq", {"m": 3, "n_bits": 3}, "m=3 does not divide the 8 numbers of a vector"),
    ],
)
def test_rows_that_cannot_be_begun_with_leave_the_index_as_it_was(kind, settings, message):
    index = made(kind, center=True, **settings)
    with pytest.raises(UserError, match=message):
        index.add(np.arange(10), rows_of(10))
    assert len(index) == index.dim == index.nbytes == 0
    if "m" not in settings:
        index.add(np.arange(20), rows_of(20))
        assert len(index) == 20


def test_an_index_without_rows_is_not_saved():
    for kind in SETTINGS:
        with pytest.raises(UserError, match="nothing to save in nowhere"):
            made(kind).save("nowhere")


def rekeyed(folder, **changes):
    key = json.loads((folder / "key.json").read_text())
    (folder / "key.json").write_text(json.dumps({**key, **changes}))
    return folder


@every_kind
def test_a_broken_folder_is_refused_in_words(kind, tmp_path):
    index = filled(kind, whiten=True)

    def saved(name):
        index.save(tmp_path / name)
        return tmp_path / name

    file = "ids.npy" if kind == "faiss_flat" else "library.npy"
    cut = saved("cut") / file
    cut.write_bytes(cut.read_bytes()[:-9])
    changed = saved("changed") / file
    content = bytearray(changed.read_bytes())
    content[-5] ^= 1
    changed.write_bytes(bytes(content))
    (saved("without") / file).unlink()
    np.save(saved("other") / file, np.arange(5))
    for folder, message in (
        (cut.parent, f"{file} cannot be read"),
        (changed.parent, f"{file} is not what was written with the index. Build the index again"),
        (tmp_path / "without", f"{file} cannot be read"),
        (tmp_path / "other", f"{file} is not what was written with the index"),
        (rekeyed(saved("newer"), format=2), "an index of format 2; this version reads format 1"),
        (rekeyed(saved("settings"), settings={**index.settings, "n_trees": 3}), "is no whole index of kind .*n_trees"),
    ):
        for load in (open_index, type(index).load):
            with pytest.raises(RunFolderError, match=message):
                load(folder)
    with pytest.raises(RunFolderError, match=f"holds an index of kind 'annoy', not '{kind}'"):
        type(index).load(rekeyed(saved("kind"), kind="annoy"))


@kept_kinds
def test_altered_bytes_never_reach_the_parser(kind, tmp_path, monkeypatch):
    index = filled(kind)
    index.save(tmp_path)
    file = tmp_path / "library.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    monkeypatch.setattr(type(index), "_parsed", lambda *_: pytest.fail("the parser was asked"))
    with pytest.raises(RunFolderError, match="is not what was written"):
        open_index(tmp_path)


@kept_kinds
def test_bytes_that_the_library_cannot_read_name_both_versions(kind, tmp_path):
    index = filled(kind)
    library = type(index).module.partition(".")[0]
    index._serialised = lambda: np.frombuffer(b"of another age", dtype=np.uint8)
    index.save(tmp_path)
    assert json.loads((tmp_path / "key.json").read_text())["library"] == f"{library} {sys.modules[library].__version__}"
    rekeyed(tmp_path, library=f"{library} 0.1")
    words = rf"{library} [1-9][\d.]+ cannot read what {library} 0\.1 wrote: .*\. Build it again"
    with pytest.raises(RunFolderError, match=f"(?s)no whole index of kind '{kind}'.*{words}"):
        open_index(tmp_path)


@kept_kinds
def test_a_library_part_of_other_rows_is_refused(kind, tmp_path):
    index = filled(kind)
    wider = made(kind)
    wider.add(np.arange(80), rows_of(80, 16))
    for other in (filled(kind, 70), wider):
        index._serialised = other._serialised
        index.save(tmp_path)
        with pytest.raises(RunFolderError, match="is another index, not of these 80 rows of 8 numbers"):
            open_index(tmp_path)


@every_kind
def test_a_missing_library_is_named_by_its_extra(kind, tmp_path, monkeypatch):
    filled(kind).save(tmp_path)
    library = "usearch" if kind == "usearch" else "faiss"
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    for ask in (lambda: made(kind), lambda: open_index(tmp_path)):
        with pytest.raises(MissingExtra, match=rf"an index of kind '{kind}' needs .*pip install 'spoofscope\[ann\]'"):
            ask()


def test_a_limit_on_threads_holds_for_the_libraries(monkeypatch):
    import faiss

    index, seen, knn = filled("faiss_flat"), [], faiss.knn

    def watched(*arguments):
        seen.append(faiss.omp_get_max_threads())
        return knn(*arguments)

    monkeypatch.setattr(faiss, "knn", watched)
    with threadpool_limits(2):
        before = threads(), faiss.omp_get_max_threads()
        index.search(rows_of(3), 2)
        with threadpool_limits(1):
            index.search(rows_of(3), 2)
        with threadpool_limits(1, user_api="blas"):
            index.search(rows_of(3), 2)
            assert threads() == 1
    assert seen == [min(before), 1, 1]


SEARCH = """
index = index_class("faiss_flat")(metric="cosine")
rows = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
index.add(np.arange(3000), rows)
graph = index_class("faiss_ivf")(metric="cosine", n_probes=50)
graph.add(np.arange(3000), rows)
"""
USE_TORCH = "import torch; square = torch.ones(300, 300); assert float((square @ square)[0, 0]) == 300"
USE_FAISS = "assert (index.search(rows[:200], 3).places[:, 0] == graph.search(rows[:200], 3).places[:, 0]).all()"
START = "import numpy as np; from spoofscope.retrieval import index_class"


@pytest.mark.parametrize(
    "order", [[USE_TORCH, SEARCH, USE_FAISS, USE_TORCH, USE_FAISS], [SEARCH, USE_FAISS, USE_TORCH, USE_FAISS, USE_TORCH]]
)
def test_faiss_and_torch_live_in_one_process(order, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("KMP_DUPLICATE_LIB_OK", raising=False)
    code = "\n".join([START, *order, "print('done')"])
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "done\n", "")


def test_the_libraries_are_imported_when_an_index_is_made_and_not_before():
    code = (
        "import sys; import spoofscope.retrieval.libraries_faiss, spoofscope.retrieval.libraries_usearch; "
        "print({'faiss', 'usearch'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == "set()\n"
