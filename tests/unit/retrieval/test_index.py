"""The contract of an index, kept by every kind: adding, searching, removing, saving, and what is refused in which words."""

import json
import tracemalloc

import numpy as np
import pytest

from spoofscope.errors import DataError, RunFolderError, UserError
from spoofscope.retrieval import KINDS, index_class, open_index
from spoofscope.retrieval.exact import ExactIndex
from spoofscope.retrieval.lsh import PRESETS, LshIndex
from spoofscope.retrieval.sketch import SketchIndex

SETTINGS = {
    "exact": {},
    "lsh": {"n_bits": 4, "n_tables": 3, "n_probes": 5, "shortlist": 20},
    "sketch": {"n_bits": 128, "shortlist": 20},
}
every_kind = pytest.mark.parametrize("kind", SETTINGS)


def rows_of(n, d=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32) + 1


def made(kind, metric="cosine", **settings):
    return index_class(kind)(metric=metric, **SETTINGS[kind], **settings)


def filled(kind, n=80, **settings):
    index = made(kind, **settings)
    index.add([f"clip{at:03}" for at in range(n)], rows_of(n))
    return index


def test_every_kind_is_tested_here():
    assert set(SETTINGS) == {kind for kind, place in KINDS.items() if not place.startswith("libraries")}


@every_kind
def test_a_row_is_its_own_nearest_neighbour(kind):
    index = filled(kind)
    found = index.search(rows_of(80), 1)
    assert found.ids[:, 0].tolist() == [f"clip{at:03}" for at in range(80)]
    assert found.similarities[:, 0] == pytest.approx(1)
    assert found.places[:, 0].tolist() == list(range(80))
    assert index.dim == 6 and len(index) == 80 and index.ids[3] == "clip003"


@every_kind
def test_similarity_is_the_cosine_or_the_negative_distance(kind):
    rows, query = np.eye(3, dtype=np.float32) * [[2], [1], [3]], np.array([[4.0, 0, 0]])
    for metric, nearest in (("cosine", 1.0), ("euclidean", -2.0)):
        index = made(kind, metric)
        index.add([10, 11, 12], rows)
        found = index.search(query, 1)
        assert found.ids.tolist() == [[10]] and found.similarities.tolist() == [[nearest]]


def test_answers_are_padded_where_too_few_rows_are_found():
    for ids, nothing in ((["a", "b"], ""), ([5, 6], -1)):
        index = LshIndex(metric="cosine", n_bits=8, n_tables=1, radius=0)
        index.add(ids, np.array([[1.0, 0.0], [-1.0, 0.0]]))
        found = index.search(np.array([[1.0, 0.001], [1.0, 0.0]]), 2)
        assert found.ids[:, 0].tolist() == [ids[0]] * 2 and found.ids[:, 1].tolist() == [nothing] * 2
        assert found.similarities[:, 1].tolist() == [-np.inf] * 2 and found.places[:, 1].tolist() == [-1, -1]
        assert found.candidates.tolist() == found.reranked.tolist() == [1, 1]


@every_kind
@pytest.mark.parametrize("space", [{}, {"center": True}, {"whiten": True, "components": 4}])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_loaded_index_answers_byte_for_byte(kind, space, metric, tmp_path):
    index = filled(kind, metric=metric, **space)
    index.save(tmp_path / "index")
    loaded = open_index(tmp_path / "index")
    assert type(loaded) is type(index) and loaded.settings == index.settings and loaded.dim == 6
    assert not list((tmp_path / "index").glob(".*"))
    assert loaded.nbytes == index.nbytes
    queries = rows_of(11, seed=1)
    for found, wanted in zip(loaded.search(queries, 8), index.search(queries, 8), strict=True):
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
    queries = rows_of(5, seed=1)
    assert (again.search(queries, 8).ids == index.search(queries, 8).ids).all()


@every_kind
def test_vectors_are_mapped_and_not_read(kind, tmp_path):
    filled(kind).save(tmp_path)
    vectors = open_index(tmp_path).vectors
    assert isinstance(vectors.base, np.memmap) and not vectors.flags.writeable


def test_all_rows_can_go_and_others_come():
    index = filled("lsh")
    index.remove(index.ids)
    assert len(index) == 0
    with pytest.raises(UserError, match="k = 1 neighbours were asked of an index of 0 rows"):
        index.search(rows_of(1), 1)
    index.add(["new"], rows_of(1))
    assert index.search(rows_of(1), 1).ids.tolist() == [["new"]]


@every_kind
def test_what_is_not_a_vector_for_this_index_is_refused(kind):
    index = filled(kind, center=True)
    bad = rows_of(5)
    bad[3, 2] = np.nan
    for vectors, message in (
        (rows_of(3, 7), "vectors of 7 numbers, in an index of vectors of 6"),
        (bad, r"row 3 \('n3'\) holds NaN or infinity. Leave failed trials out"),
        (np.full((1, 6), 1e39), r"row 0 \('n0'\) holds NaN or infinity"),
    ):
        with pytest.raises(DataError, match=message):
            index.add([f"n{at}" for at in range(len(vectors))], vectors)
    with pytest.raises(DataError, match="query 3 holds NaN or infinity"):
        index.search(bad, 2)
    with pytest.raises(DataError, match="vectors of 7 numbers, in an index of vectors of 6"):
        index.search(rows_of(3, 7), 2)
    with pytest.raises(DataError, match=r"queries must be \(q, 6\); found \(6,\)"):
        index.search(rows_of(1)[0], 2)
    assert len(index) == 80


def test_a_vector_without_direction_is_refused_by_the_cosine_alone():
    zero = np.array([[1.0, 2], [0, 0]])
    with pytest.raises(DataError, match=r"row 1 \('b'\) is zero and has no direction"):
        ExactIndex(metric="cosine").add(["a", "b"], zero)
    ExactIndex(metric="euclidean").add(["a", "b"], zero)
    index = ExactIndex(metric="cosine", center=True)
    index.add(["a", "b"], zero)
    with pytest.raises(DataError, match="query 0 equals the mean of the index"):
        index.search(np.array([[0.5, 1]]), 1)


@every_kind
def test_ids_name_one_row_each(kind):
    index = filled(kind)
    for ids, message in (
        (["clip001", "x", "clip002"], "2 ids are in the index already: clip001, clip002"),
        (["x", "y", "x"], "twice in what was added: x"),
        (["x", "y", ""], "empty or negative"),
        (["x", "y"], r"2 ids need vectors \(2, dim\); found \(3, 6\)"),
        ([1, 2, 3], "all text or all integers"),
        ([1.5, 2, 3], "ids must be a list of text or of integers; found float64"),
    ):
        with pytest.raises(DataError, match=message):
            index.add(ids, rows_of(3))
    with pytest.raises(DataError, match="cannot remove x: not among the 80 ids"):
        index.remove(["clip001", "x"])
    with pytest.raises(DataError, match="cannot remove clip001: .* or named twice"):
        index.remove(["clip001", "clip001"])
    assert len(index) == 80 and (index.search(rows_of(80), 1).places[:, 0] == np.arange(80)).all()


@every_kind
@pytest.mark.parametrize("k", [0, 81])
def test_more_neighbours_than_rows_are_refused(kind, k):
    with pytest.raises(UserError, match=f"k = {k} neighbours were asked of an index of 80 rows"):
        filled(kind).search(rows_of(1), k)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExactIndex(metric="dot"), "no metric 'dot'; there are cosine, euclidean"),
        (lambda: ExactIndex(metric="cosine", components=3), "with whiten=True"),
        (lambda: LshIndex(metric="cosine", n_bits=25, n_tables=2, radius=1), "1 to 24"),
        (lambda: LshIndex(metric="cosine", n_bits=8, n_tables=2), "exactly one of them; found None and None"),
        (lambda: LshIndex(metric="cosine", n_bits=8, n_tables=2, radius=9), "can be flipped in 0 to 8"),
        (lambda: LshIndex(metric="cosine", n_bits=8, n_tables=2, n_probes=257), "256 buckets"),
        (lambda: LshIndex(metric="cosine", n_bits=8, n_tables=2, radius=1, shortlist=0), "at least one candidate"),
        (lambda: SketchIndex(metric="cosine", n_bits=100, shortlist=5), "multiples of 64"),
        (lambda: SketchIndex(metric="cosine", n_bits=128, scan_bits=192, shortlist=5), "second no more than the first"),
        (lambda: SketchIndex(metric="cosine", n_bits=128, shortlist=0), "at least one row"),
        (lambda: ExactIndex(metric="cosine").save("nowhere"), "nothing to save in nowhere"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_the_metric_is_never_silent():
    for kind, settings in SETTINGS.items():
        with pytest.raises(TypeError, match="metric"):
            index_class(kind)(**settings)


@every_kind
def test_a_broken_folder_is_refused_in_words(kind, tmp_path):
    index = filled(kind, whiten=True)

    def saved(name):
        index.save(tmp_path / name)
        return tmp_path / name

    def rekeyed(name, **changes):
        folder = saved(name)
        key = json.loads((folder / "key.json").read_text())
        (folder / "key.json").write_text(json.dumps({**key, **changes}))
        return folder

    cut = saved("cut") / "vectors.npy"
    cut.write_bytes(cut.read_bytes()[:-9])
    changed = saved("changed") / ("ids.npy" if kind == "exact" else "codes.npy")
    content = bytearray(changed.read_bytes())
    content[-5] ^= 1
    changed.write_bytes(bytes(content))
    garbled = saved("garbled") / "mean.npy"
    garbled.write_bytes(b"not an array")
    (saved("without") / "ids.npy").unlink()
    np.save(saved("other") / "vectors.npy", rows_of(5))
    (tmp_path / "empty").mkdir()
    (saved("unkeyed") / "key.json").write_text("{")
    (saved("foreign") / "key.json").write_text('{"layers": []}')
    settings = {**index.settings, "n_trees": 3}
    for folder, message in (
        (cut.parent, r"vectors.npy cannot be read \(.*\). Build the index again"),
        (changed.parent, "is not what was written with the index. Build the index again"),
        (garbled.parent, "mean.npy cannot be read"),
        (tmp_path / "without", "ids.npy cannot be read"),
        (tmp_path / "other", "vectors.npy is not what was written with the index"),
        (tmp_path / "empty", "no index in .*empty"),
        (tmp_path / "nowhere", "no index in .*nowhere"),
        (tmp_path / "unkeyed", "no index in .*unkeyed"),
        (tmp_path / "foreign", "is not the key of an index"),
        (rekeyed("newer", format=2), "an index of format 2; this version reads format 1"),
        (rekeyed("settings", settings=settings), "is no whole index of kind .*n_trees"),
    ):
        for load in (open_index, type(index).load):
            with pytest.raises(RunFolderError, match=message):
                load(folder)
    with pytest.raises(RunFolderError, match="of kind 'ivf'; known are exact, lsh, sketch"):
        open_index(rekeyed("kind", kind="ivf"))
    with pytest.raises(RunFolderError, match=f"holds an index of kind 'ivf', not '{kind}'"):
        type(index).load(tmp_path / "kind")


def test_a_save_that_fails_leaves_no_index(tmp_path, monkeypatch):
    index = filled("exact")
    index.save(tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunFolderError, match="cannot write .*No space left"):
        index.save(tmp_path)
    with pytest.raises(RunFolderError, match="no index in"):
        open_index(tmp_path)


def test_exact_search_never_holds_all_similarities():
    index = ExactIndex(metric="euclidean")
    index.add(np.arange(100_000), rows_of(100_000, 4))
    queries = rows_of(600, 4, seed=1)
    tracemalloc.start()
    index.search(queries, 150)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24e6  # all similarities would take 240e6, all pairs that beat the first block's best 26e6


def test_rows_nearer_together_than_a_product_can_tell_are_told_apart():
    rng = np.random.default_rng(0)
    rows = np.concatenate((np.full((10, 4), 300) + np.linspace(0, 2e-2, 10)[:, None], -300 + rng.standard_normal((90, 4))))
    index = ExactIndex(metric="euclidean")
    order = rng.permutation(100)
    index.add(order, rows[order])
    assert index.search(rows[:1], 5).ids.tolist() == [[0, 1, 2, 3, 4]]


def test_raw_vectors_in_a_cone_fall_into_few_buckets_until_they_are_centred():
    rows = rows_of(3000, 32) + 9
    fractions = {}
    for name, space in (("raw", {}), ("centred", {"center": True}), ("whitened", {"whiten": True})):
        index = LshIndex(metric="cosine", **PRESETS["study_16x8"], **space)
        index.add(np.arange(2900), rows[:2900])
        fractions[name] = index.search(rows[2900:], 10).candidates.mean() / 2900
    assert fractions["raw"] > 0.7
    assert fractions["centred"] < 0.02 and fractions["whitened"] < 0.02


def test_a_tuned_index_leaves_the_first_as_it_was():
    index = filled("lsh")
    before = index.search(rows_of(3), 5)
    wide = index.tuned(radius=4)
    assert wide.settings["n_probes"] is None and wide.settings["shortlist"] is None
    assert (wide.search(rows_of(3), 5).reranked == 80).all()
    assert (index.search(rows_of(3), 5).reranked == before.reranked).all()
    sketch = filled("sketch")
    assert (sketch.tuned(shortlist=30).search(rows_of(3), 5).reranked == 30).all()
    assert (sketch.search(rows_of(3), 5).reranked == 20).all()
