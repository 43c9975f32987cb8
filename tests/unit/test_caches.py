"""Importing published caches: what is kept, what must fit together, and that no pickle is executed."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spoofscope.caches import import_cache, read_ids
from spoofscope.errors import DataError, RunFolderError, TrialsError
from spoofscope.trials import Trials

ROWS = 9


def object_array_file(ids: list, path: Path, protocol: int = 4) -> None:
    """Write ids as `numpy.save` writes an array of objects, with a pickle of the given protocol."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (len(ids),)})
        pickle.dump(np.array(ids, dtype=object), file, protocol=protocol)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "embeddings"
    folder.mkdir()
    rng = np.random.default_rng(0)
    ids = [f"LA_E_{number}" for number in range(ROWS)]
    np.save(folder / "utt_ids.npy", np.array(ids, dtype=object), allow_pickle=True)
    labels = ["bonafide" if number % 3 == 0 else "spoof" for number in range(ROWS)]
    attacks = ["-" if label == "bonafide" else f"A0{7 + number % 2}" for number, label in enumerate(labels)]
    pl.DataFrame({"utt_id": ids, "label": labels, "attack_id": attacks}).write_csv(folder / "meta.csv")
    for layer in (0, 9, 24):
        np.save(folder / f"layer_{layer}.npy", rng.normal(size=(ROWS, 5)).astype(np.float32))
    return folder


def rewritten(cache: Path, **columns: object) -> None:
    pl.read_csv(cache / "meta.csv").with_columns(**columns).write_csv(cache / "meta.csv")


def test_an_import_keeps_ids_labels_and_every_layer(cache: Path, tmp_path: Path) -> None:
    stored = import_cache(cache, tmp_path / "out", dtype="float32")
    assert stored.frame["trial_id"].to_list() == [f"LA_E_{number}" for number in range(ROWS)]
    assert list(stored.layers) == ["0", "9", "24"]
    assert stored.is_ok.all()
    for layer in ("0", "9", "24"):
        np.testing.assert_array_equal(stored.vectors(layer), np.load(cache / f"layer_{layer}.npy"))
    assert stored.frame.filter(pl.col("label") == "bonafide")["attack"].unique().to_list() == ["-"]
    assert set(stored.key["imported"]["files"]) == {path.name for path in cache.iterdir()}


def test_half_precision_is_the_default_and_says_when_it_is_not_enough(cache: Path, tmp_path: Path) -> None:
    assert import_cache(cache, tmp_path / "out").layers["9"].dtype == np.float16
    layer = np.load(cache / "layer_9.npy")
    layer[4, 2] = 1e6
    np.save(cache / "layer_9.npy", layer)
    with pytest.raises(
        DataError, match=r"rows 1 to 9: a number of its vectors is 1e\+06, too large for float16.*--vectors float32"
    ):
        import_cache(cache, tmp_path / "other")
    assert import_cache(cache, tmp_path / "third", dtype="float32").vectors("9")[4, 2] == 1e6


def test_a_row_that_is_not_finite_is_marked_and_the_rest_stand(cache: Path, tmp_path: Path) -> None:
    layer = np.load(cache / "layer_0.npy")
    layer[3] = np.nan
    np.save(cache / "layer_0.npy", layer)
    stored = import_cache(cache, tmp_path / "out")
    assert np.flatnonzero(~stored.is_ok).tolist() == [3]
    assert np.isnan(stored.vectors("9")[3]).all() and np.isfinite(stored.vectors("9")[4]).all()


def test_trials_bring_their_columns_and_must_agree(cache: Path, tmp_path: Path) -> None:
    meta = pl.read_csv(cache / "meta.csv").rename({"utt_id": "trial_id", "attack_id": "attack"})
    frame = meta.with_columns(path=pl.col("trial_id"), codec=pl.lit("gsm"))
    stored = import_cache(cache, tmp_path / "out", trials=Trials(frame.reverse(), tmp_path, "the corpus, eval"))
    assert stored.name == "the corpus, eval"
    assert stored.frame["codec"].unique().to_list() == ["gsm"]
    assert stored.frame["trial_id"].to_list() == meta["trial_id"].to_list()
    with pytest.raises(TrialsError, match=r"1 of 9 ids are not in half, eval .first: 'LA_E_0'"):
        import_cache(cache, tmp_path / "b", trials=Trials(frame[1:], tmp_path, "half, eval"))
    swapped = frame.with_columns(attack=pl.col("attack").replace("A07", "A17"))
    with pytest.raises(
        TrialsError, match=r"'LA_E_\d' is spoof A07 in meta.csv but spoof A17 in the corpus, eval \(\d such rows\)"
    ):
        import_cache(cache, tmp_path / "c", trials=Trials(swapped, tmp_path, "the corpus, eval"))


def test_a_store_that_is_there_is_not_written_over(cache: Path, tmp_path: Path) -> None:
    import_cache(cache, tmp_path / "out")
    with pytest.raises(RunFolderError, match="holds a store already"):
        import_cache(cache, tmp_path / "out")


def test_parts_that_do_not_fit_together_are_named(cache: Path, tmp_path: Path) -> None:
    rewritten(cache, utt_id=pl.col("utt_id").reverse())
    with pytest.raises(DataError, match=r"meta.csv: row 2 is of 'LA_E_8' where utt_ids.npy has 'LA_E_0'"):
        import_cache(cache, tmp_path / "out")
    pl.read_csv(cache / "meta.csv")[:4].write_csv(cache / "meta.csv")
    with pytest.raises(DataError, match=r"has 4 rows where utt_ids.npy has 9 ids"):
        import_cache(cache, tmp_path / "out")
    (cache / "meta.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=r"no column 'utt_id'; it needs utt_id, label, attack_id and has a, b"):
        import_cache(cache, tmp_path / "out")
    (cache / "meta.csv").unlink()
    with pytest.raises(DataError, match=r"cannot read .*meta\.csv"):
        import_cache(cache, tmp_path / "out")


def test_a_label_that_is_none_is_refused_with_its_row(cache: Path, tmp_path: Path) -> None:
    rewritten(cache, label=pl.col("label").replace("bonafide", "bona-fide"))
    with pytest.raises(TrialsError, match=r"label is not bonafide or spoof in 3 of 9 rows .first: row 1, trial 'LA_E_0'"):
        import_cache(cache, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((ROWS, 5), np.int64), r"layer_9.npy holds int64 of shape \(9, 5\); it must be \(9, dim\) floating-point"),
        (np.zeros((ROWS - 1, 5), np.float32), r"layer_9.npy holds float32 of shape \(8, 5\)"),
        (np.zeros((ROWS, 4), np.float32), r"the layers differ in length: 0: 5, 9: 4, 24: 5"),
        (np.array([{}], dtype=object), "layer_9.npy cannot be read as an array of numbers"),
    ],
)
def test_a_layer_of_another_kind_is_refused(cache: Path, tmp_path: Path, content: np.ndarray, message: str) -> None:
    np.save(cache / "layer_9.npy", content, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        import_cache(cache, tmp_path / "out")


def test_a_truncated_layer_is_refused(cache: Path, tmp_path: Path) -> None:
    content = (cache / "layer_9.npy").read_bytes()
    (cache / "layer_9.npy").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"layer_9\.npy cannot be read"):
        import_cache(cache, tmp_path / "out")


# ---- ids -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("ids", [["a"], ["a", "b", "a", "ü"], [f"id{number}" for number in range(2_500)], []])
def test_ids_are_read_out_of_a_pickle_of_any_protocol(tmp_path: Path, protocol: int, ids: list[str]) -> None:
    object_array_file(ids, tmp_path / "ids.npy", protocol)
    assert read_ids(tmp_path / "ids.npy") == ids


def test_ids_that_are_the_same_object_twice_are_two_ids(tmp_path: Path) -> None:
    one = "LA_E_1"
    object_array_file([one, one, "x", one], tmp_path / "ids.npy")
    assert read_ids(tmp_path / "ids.npy") == [one, one, "x", one]


def test_ids_of_a_plain_array_of_texts_need_no_pickle(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array(["a", "bb"]))
    assert read_ids(tmp_path / "ids.npy") == ["a", "bb"]


def test_a_payload_among_the_ids_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(trace),)

    object_array_file(["a", Payload()], tmp_path / "ids.npy")
    with pytest.raises(DataError, match="asks for posix mkdir, which could run anything; nothing of it was executed"):
        read_ids(tmp_path / "ids.npy")
    assert not trace.exists()
    with (tmp_path / "ids.npy").open("rb") as file, pytest.raises(Exception):  # noqa: B017
        np.load(io.BytesIO(file.read()), allow_pickle=True)[1].x  # noqa: B018
    assert trace.exists()  # the payload does work where it is let


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2], "promises an array of shape \\(2,\\) but holds 0 texts"),
        (["a", None], "holds 1 texts"),
        (["a", {"b": 1}], "the instruction EMPTY_DICT"),
    ],
)
def test_objects_that_are_no_texts_are_refused(tmp_path: Path, ids: list, message: str) -> None:
    object_array_file(ids, tmp_path / "ids.npy")
    with pytest.raises(DataError, match=message):
        read_ids(tmp_path / "ids.npy")


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x09\x00"])
def test_a_file_that_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ids.npy").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as an array of ids"):
        read_ids(tmp_path / "ids.npy")
