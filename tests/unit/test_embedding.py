"""The loop with vectors: what a store holds, what a failure costs, and what makes a key."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from spoofscope.audio import Audio
from spoofscope.audit import Audit, open_embedder
from spoofscope.cards import Card
from spoofscope.degradations.conditions import CLEAN, Condition, parse_condition
from spoofscope.embedding import embed_trials
from spoofscope.embeddings import Embeddings, layer_file, open_embeddings, write_embeddings
from spoofscope.errors import AudioError, PluginError, RecipeError, RunFolderError, UnknownName
from spoofscope.executors import Inline, open_executor
from spoofscope.recipe import recipe_from
from spoofscope.scores import OK
from spoofscope.trials import Trials


class Moments:
    """Three numbers of a recording, in two layers; refuses recordings that begin at full scale."""

    card = Card(name="moments", licence="")
    layers = ("plain", "square")
    dim = 3

    def __init__(self) -> None:
        self.heard = 0

    def embed(self, batch: Sequence[Audio]) -> np.ndarray:
        if any(abs(audio[0]) > 0.9 for audio in batch):
            raise AudioError("it begins at full scale")
        self.heard += len(batch)
        plain = np.array([(audio.mean(), np.abs(audio).mean(), len(audio) / 16_000) for audio in batch])
        return np.stack([plain, plain**2], axis=1).astype(np.float32)


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(7):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(8000 + 800 * number), 16_000, subtype="FLOAT")
        label = "bonafide" if number % 2 else "spoof"
        rows.append((f"t{number}", f"{number}.wav", label, "-" if number % 2 else "A1", f"s{number // 2}"))
    frame = pl.DataFrame(rows, schema=["trial_id", "path", "label", "attack", "speaker"], orient="row")
    return Trials(frame, tmp_path, "seven noises, eval")


def embed(
    trials: Trials,
    folder: Path,
    condition: Condition = CLEAN,
    *,
    batch_size: int = 3,
    embedder: object = None,
    **options: object,
) -> Embeddings:
    return embed_trials(
        embedder or Moments(),  # type: ignore[arg-type]
        trials,
        condition,
        folder / "embeddings",
        executor=Inline(),
        batch_size=batch_size,
        **options,  # type: ignore[arg-type]
    )


def expected(trials: Trials) -> np.ndarray:
    return Moments().embed([soundfile.read(path, dtype="float32")[0] for path in trials.paths])


def same(one: Embeddings, other: Embeddings) -> bool:
    layers = all(np.array_equal(one.layers[name], other.layers[name], equal_nan=True) for name in one.layers)
    return layers and one.frame.equals(other.frame)


def test_every_trial_has_its_vectors_in_the_order_of_the_protocol(trials: Trials, tmp_path: Path) -> None:
    stored = embed(trials, tmp_path, dtype="float32")
    assert stored.frame["trial_id"].to_list() == trials.ids
    assert stored.frame["speaker"].to_list() == trials.frame["speaker"].to_list()
    for at, layer in enumerate(Moments.layers):
        np.testing.assert_array_equal(stored.vectors(layer), expected(trials)[:, at])
    assert not list((tmp_path / "embeddings").glob("*/part-*"))
    assert stored.dim == 3 and len(stored) == 7


def test_vectors_are_stored_as_half_precision_and_used_as_single(trials: Trials, tmp_path: Path) -> None:
    stored = embed(trials, tmp_path)
    assert stored.layers["plain"].dtype == np.float16
    assert stored.vectors("plain").dtype == np.float32
    np.testing.assert_allclose(stored.vectors("plain", np.array([4, 1])), expected(trials)[[4, 1], 0], rtol=1e-3)


@pytest.mark.parametrize("text", ["clean", "noise('white', 10)", "mp3(16)", "windows(0.2, 0.1)"])
def test_batch_size_and_workers_change_no_vector(trials: Trials, tmp_path: Path, text: str) -> None:
    condition = parse_condition(text)
    one = embed(trials, tmp_path / "1", condition, batch_size=1)
    assert same(one, embed(trials, tmp_path / "2", condition, batch_size=5))
    with open_executor("local", workers=2) as executor:
        parallel = embed_trials(Moments(), trials, condition, tmp_path / "3", executor=executor, batch_size=2)
    assert same(one, parallel)


@pytest.mark.parametrize("pool", ["mean", "min", "max", "last"])
def test_a_windowed_condition_pools_the_vectors_of_the_windows(trials: Trials, tmp_path: Path, pool: str) -> None:
    condition = parse_condition(f"windows(0.2, pool='{pool}')")
    stored = embed(trials, tmp_path, condition, dtype="float32")
    audio = soundfile.read(trials.paths[0], dtype="float32")[0]
    windows = Moments().embed([audio[at : at + 3200] for at in range(0, len(audio), 3200)])
    slow = windows[-1] if pool == "last" else getattr(windows, pool)(axis=0)
    np.testing.assert_allclose(np.stack([stored.vectors(layer)[0] for layer in Moments.layers]), slow, rtol=1e-6)


def test_a_condition_measures_what_it_did_beside_the_vectors(trials: Trials, tmp_path: Path) -> None:
    stored = embed(trials, tmp_path, parse_condition("noise('white', 10)"))
    np.testing.assert_allclose(stored.frame["measured_snr_db"], 10, atol=0.5)


def test_a_trial_that_fails_carries_its_reason_and_costs_only_itself(trials: Trials, tmp_path: Path) -> None:
    loud = soundfile.read(trials.paths[2], dtype="float32")[0]
    loud[0] = 1
    soundfile.write(trials.paths[2], loud, 16_000, subtype="FLOAT")
    trials.paths[5].write_bytes(b"")
    stored = embed(trials, tmp_path)
    reasons = dict(stored.failures.select("trial_id", "status").iter_rows())
    assert reasons["t2"] == "it begins at full scale" and "empty file" in reasons["t5"]
    assert np.isnan(stored.vectors("plain")[[2, 5]]).all() and np.isfinite(stored.vectors("plain")[stored.is_ok]).all()


def test_a_trial_that_failed_is_tried_again_and_the_rest_is_kept(trials: Trials, tmp_path: Path) -> None:
    content = trials.paths[5].read_bytes()
    trials.paths[5].write_bytes(b"")
    before = embed(trials, tmp_path)
    kept = {layer: np.array(before.layers[layer][:5]) for layer in before.layers}
    trials.paths[5].write_bytes(content)
    again = Moments()
    after = embed(trials, tmp_path, embedder=again)
    assert again.heard == 1 and after.is_ok.all()
    for layer, values in kept.items():
        np.testing.assert_array_equal(after.layers[layer][:5], values)
    np.testing.assert_allclose(after.vectors("plain"), expected(trials)[:, 0], rtol=1e-3)


def test_an_interrupted_run_continues_and_ends_the_same(trials: Trials, tmp_path: Path) -> None:
    class Stops(Moments):
        def embed(self, batch: Sequence[Audio]) -> np.ndarray:
            if self.heard >= 4:
                raise KeyboardInterrupt
            return super().embed(batch)

    whole = embed(trials, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        embed(trials, tmp_path / "b", embedder=Stops(), batch_size=2)
    with pytest.raises(RunFolderError, match="no finished embeddings"):
        open_embeddings(next((tmp_path / "b" / "embeddings").iterdir()))
    rest = Moments()
    assert same(whole, embed(trials, tmp_path / "b", embedder=rest))
    assert rest.heard == 3


def test_a_run_stopped_while_its_layers_were_moved_in_continues(trials: Trials, tmp_path: Path, monkeypatch) -> None:
    whole = embed(trials, tmp_path / "a")

    def full(*arguments: object) -> None:
        raise RunFolderError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("spoofscope.embeddings.write_table", full)
        with pytest.raises(RunFolderError, match="no space"):
            embed(trials, tmp_path / "b")
    idle = Moments()
    assert same(whole, embed(trials, tmp_path / "b", embedder=idle))
    assert idle.heard == 0


def test_a_number_too_large_for_half_precision_is_a_reason_and_fits_in_single(trials: Trials, tmp_path: Path) -> None:
    class Large(Moments):
        card = Card(name="large", licence="")

        def embed(self, batch: Sequence[Audio]) -> np.ndarray:
            return super().embed(batch) * np.float32(1e5) * np.array([len(audio) > 12_000 for audio in batch])[:, None, None]

    stored = embed(trials, tmp_path, embedder=Large())
    assert stored.failures.height == 1
    assert "too large for float16: set vectors = 'float32'" in stored.failures["status"][0]
    assert embed(trials, tmp_path, embedder=Large(), dtype="float32").is_ok.all()


def test_vectors_of_another_shape_stop_the_run_and_nan_costs_a_trial(trials: Trials, tmp_path: Path) -> None:
    class Flat(Moments):
        def embed(self, batch: Sequence[Audio]) -> np.ndarray:
            return super().embed(batch)[:, 0]

    class Undefined(Moments):
        card = Card(name="undefined", licence="")

        def embed(self, batch: Sequence[Audio]) -> np.ndarray:
            vectors = super().embed(batch)
            vectors[[len(audio) == 8000 for audio in batch], 0, 1] = np.nan
            return vectors

    with pytest.raises(PluginError, match=r"shape \(3, 3\); it must be \(3, 2, 3\): recordings, layers, dim"):
        embed(trials, tmp_path, embedder=Flat())
    assert embed(trials, tmp_path, embedder=Undefined()).failures["status"].to_list() == [
        "the embedder answered 1 numbers that are NaN or infinite"
    ]


def test_pooling_layers_and_precision_are_part_of_the_key(trials: Trials, tmp_path: Path) -> None:
    class Other(Moments):
        def __init__(self) -> None:
            super().__init__()
            self.settings = {"pool": "mean_std"}

    for embedder, dtype in ((Moments(), "float16"), (Moments(), "float32"), (Other(), "float16")):
        embed(trials, tmp_path, embedder=embedder, dtype=dtype)
    assert len(list((tmp_path / "embeddings").iterdir())) == 3


def test_opening_a_large_layer_copies_nothing(tmp_path: Path) -> None:
    rows, dim = 150_000, 1_024
    frame = pl.select(trial_id=pl.format("t{}", pl.int_range(rows)), status=pl.lit(OK), label=pl.lit("spoof"))
    (tmp_path / "key.json").write_text('{"layers": ["9"]}')
    frame.write_parquet(tmp_path / "ids.parquet")
    np.lib.format.open_memmap(layer_file(tmp_path, "9"), mode="w+", dtype=np.float16, shape=(rows, dim)).flush()
    stored = open_embeddings(tmp_path)
    assert isinstance(stored.layers["9"], np.memmap) and not stored.layers["9"].flags.writeable
    assert stored.vectors("9", slice(-2, None)).shape == (2, dim)


def test_a_store_whose_parts_do_not_fit_together_is_refused(trials: Trials, tmp_path: Path) -> None:
    stored = embed(trials, tmp_path)
    (folder,) = (tmp_path / "embeddings").iterdir()
    np.save(layer_file(folder, "plain"), np.zeros((3, 3), np.float16))
    with pytest.raises(RunFolderError, match=r"layer_plain.npy holds \(3, 3\), not one vector for each of 7 trials"):
        open_embeddings(folder)
    layer_file(folder, "plain").write_bytes(b"\x93NUMPY")
    with pytest.raises(RunFolderError, match=r"layer_plain.npy cannot be read"):
        open_embeddings(folder)
    with pytest.raises(RunFolderError, match=r"no layer 'deep'; there are plain, square"):
        stored.vectors("deep")


def test_writing_keeps_rows_that_no_block_names(tmp_path: Path) -> None:
    frame = pl.DataFrame({"trial_id": list("abcde"), "status": [OK] * 5})
    first = [(np.array([0, 1, 4]), np.arange(6.0).reshape(3, 1, 2))]
    write_embeddings(tmp_path, frame, ["x"], 2, "float32", first)
    second = [(np.array([2]), np.full((1, 1, 2), 9.0))]
    write_embeddings(tmp_path, frame, ["x"], 2, "float32", second)
    layer = np.load(layer_file(tmp_path, "x"))
    np.testing.assert_array_equal(layer, [[0, 1], [2, 3], [9, 9], [np.nan, np.nan], [4, 5]])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.parquet", "layer_x.npy"]


def test_a_detector_with_an_embedding_is_an_embedder_and_another_is_not() -> None:
    with pytest.raises(UnknownName, match=r"the detector lfcc_gmm\.builtin has no embedding"):
        open_embedder("lfcc_gmm.builtin")
    with pytest.raises(UnknownName, match="no embedder is named 'nothing'"):
        open_embedder("nothing")


def test_two_settings_of_one_embedder_stand_side_by_side_and_the_same_one_twice_is_refused() -> None:
    recipe = recipe_from({"embedders": ["spectral", "spectral(features='lfcc')"], "detectors": []}, where="test")
    built = Audit(recipe).embedders
    assert list(built) == ["spectral", "spectral(features='lfcc')"]
    assert [embedder.layers for embedder in built.values()] == [("lfcc", "log_mel"), ("lfcc",)]
    twice = Audit(recipe_from({"embedders": ["spectral", *["spectral(features='lfcc')"] * 2], "detectors": []}, where="test"))
    with pytest.raises(RecipeError, match=r"spectral\(features='lfcc'\) is listed twice"):
        _ = twice.embedders
