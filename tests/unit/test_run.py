"""The loop: what a score file holds, what a failure costs, and what makes a key."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from spoofscope.audio import Audio
from spoofscope.degradations.conditions import CLEAN, Condition, parse_condition
from spoofscope.detectors import Card
from spoofscope.errors import AudioError, PluginError, RunFolderError
from spoofscope.executors import Inline, open_executor
from spoofscope.scores import OK, Scores
from spoofscope.scoring import score_key, score_trials
from spoofscope.storage import write_text
from spoofscope.trials import Trials

CARD = Card(name="mean", licence="Apache-2.0")


class Mean:
    """Mean square; refuses recordings that begin at full scale."""

    card = CARD

    def __init__(self) -> None:
        self.batches: list[int] = []

    def score(self, batch: Sequence[Audio]) -> np.ndarray:
        self.batches.append(len(batch))
        if any(abs(audio[0]) > 0.9 for audio in batch):
            raise AudioError("it begins at full scale")
        return np.array([np.mean(audio.astype(np.float64) ** 2) for audio in batch], dtype=np.float32)


class Looked:
    """Scores that were made elsewhere."""

    card = Card(name="looked", licence="")

    def lookup(self, trial_ids: Sequence[str]) -> np.ndarray:
        return np.arange(len(trial_ids), dtype=np.float32)


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(7):
        audio = 0.1 * rng.standard_normal(8000 + 800 * number)
        soundfile.write(tmp_path / f"{number}.wav", audio, 16_000, subtype="FLOAT")
        label = "bonafide" if number % 2 else "spoof"
        rows.append((f"t{number}", f"{number}.wav", label, "-" if number % 2 else "A1", f"s{number // 2}"))
    frame = pl.DataFrame(rows, schema=["trial_id", "path", "label", "attack", "speaker"], orient="row")
    return Trials(frame, tmp_path, "seven tones, eval")


def score(trials: Trials, tmp_path: Path, condition: Condition = CLEAN, batch_size: int = 3, detector: object = None) -> Scores:
    return score_trials(
        detector or Mean(),  # type: ignore[arg-type]
        trials,
        condition,
        tmp_path / "scores",
        executor=Inline(),
        batch_size=batch_size,
    )


def test_every_trial_has_its_score_in_the_order_of_the_protocol(trials: Trials, tmp_path: Path) -> None:
    scores = score(trials, tmp_path)
    assert scores.frame["trial_id"].to_list() == trials.ids
    audio, _ = soundfile.read(trials.paths[2], dtype="float32")
    assert scores.frame["score"][2] == np.float32(np.mean(audio.astype(np.float64) ** 2))
    assert not list((tmp_path / "scores").glob("**/part-*"))


@pytest.mark.parametrize("text", ["clean", "noise('white', 10)", "mp3(16)", "windows(0.2, 0.1)"])
def test_batch_size_and_workers_change_no_score(trials: Trials, tmp_path: Path, text: str) -> None:
    condition = parse_condition(text)
    first = score(trials, tmp_path / "a", condition, batch_size=1)
    with open_executor("local", workers=2) as executor:
        second = score_trials(Mean(), trials, condition, tmp_path / "b", executor=executor, batch_size=5)  # type: ignore[arg-type]
    assert first.frame.equals(second.frame)


def test_a_trial_that_cannot_be_read_keeps_its_row_with_the_reason(trials: Trials, tmp_path: Path) -> None:
    trials.paths[1].write_bytes(b"")
    trials.paths[4].unlink()
    frame = score(trials, tmp_path).frame
    assert frame.filter(pl.col("status") != OK)["trial_id"].to_list() == ["t1", "t4"]
    assert "empty file" in frame["status"][1] and "no such file" in frame["status"][4]
    assert frame["score"].null_count() == 2


def test_a_recording_that_the_detector_refuses_costs_only_itself(trials: Trials, tmp_path: Path) -> None:
    audio, _ = soundfile.read(trials.paths[3])
    audio[0] = 0.99
    soundfile.write(trials.paths[3], audio, 16_000, subtype="FLOAT")
    frame = score(trials, tmp_path, batch_size=7).frame
    assert frame.filter(pl.col("status") != OK)["trial_id"].to_list() == ["t3"]
    assert frame["status"][3] == "it begins at full scale"


def test_a_mended_file_is_tried_again_and_nothing_else_is(trials: Trials, tmp_path: Path) -> None:
    whole = trials.paths[1].read_bytes()
    trials.paths[1].write_bytes(whole[:100])
    assert score(trials, tmp_path).failures.height == 1
    trials.paths[1].write_bytes(whole)
    again = Mean()
    assert score(trials, tmp_path, detector=again).failures.height == 0
    assert again.batches == [1]


def test_a_detector_that_answers_nan_gets_a_reason_not_a_score(trials: Trials, tmp_path: Path) -> None:
    class Broken(Mean):
        def score(self, batch: Sequence[Audio]) -> np.ndarray:
            return np.full(len(batch), np.nan, dtype=np.float32)

    frame = score(trials, tmp_path, detector=Broken()).frame
    assert frame["status"].unique().to_list() == ["the detector answered nan"]


def test_a_detector_that_answers_in_the_wrong_shape_stops_the_run(trials: Trials, tmp_path: Path) -> None:
    class Wide(Mean):
        def score(self, batch: Sequence[Audio]) -> np.ndarray:
            return np.zeros((len(batch), 2), dtype=np.float32)

    with pytest.raises(PluginError, match=r"mean answered 3 recordings with shape \(3, 2\)"):
        score(trials, tmp_path, detector=Wide())


def test_windows_keep_each_score_and_pool_them(trials: Trials, tmp_path: Path) -> None:
    row = score(trials, tmp_path, parse_condition("windows(0.2)")).frame.row(0, named=True)
    assert row["window_ends_s"] == pytest.approx([0.2, 0.4, 0.5])
    assert row["score"] == pytest.approx(np.mean(row["window_scores"]))


def test_what_was_done_is_measured(trials: Trials, tmp_path: Path) -> None:
    frame = score(trials, tmp_path, parse_condition("noise('white', 10, over='file')")).frame
    assert frame["measured_snr_db"].to_numpy() == pytest.approx(10, abs=1.5)
    assert score(trials, tmp_path).frame["measured_snr_db"].null_count() == len(trials)


def test_ready_scores_are_looked_up_and_only_on_clean(trials: Trials, tmp_path: Path) -> None:
    assert score(trials, tmp_path, detector=Looked(), batch_size=7).frame["score"].to_list() == list(range(7))
    with pytest.raises(PluginError, match="only be evaluated under 'clean'"):
        score(trials, tmp_path, parse_condition("mp3(32)"), detector=Looked())


def test_the_key_changes_with_all_that_decides_a_score(trials: Trials) -> None:
    def key(trials: Trials, text: str = "mp3(32)", seed: int = 0) -> dict[str, object]:
        return score_key(Mean(), trials, parse_condition(text), seed=seed, max_duration_s=600)  # type: ignore[arg-type]

    keys = [
        key(trials),
        key(trials, "mp3(16)"),
        key(trials, seed=1),
        key(trials.where(pl.col("trial_id") != "t0", name="six")),
    ]
    assert len({str(each) for each in keys}) == 4
    assert "libmp3lame" in str(keys[0]) or "PyAV" in str(keys[0])


def test_a_folder_of_another_key_is_refused(trials: Trials, tmp_path: Path) -> None:
    score(trials, tmp_path)
    (key,) = (tmp_path / "scores").glob("*/key.json")
    key.write_text("{}")
    with pytest.raises(RunFolderError, match="was made for another key"):
        score(trials, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(trials: Trials, tmp_path: Path) -> None:
    (tmp_path / "scores").write_text("a file where a folder should be")
    with pytest.raises(RunFolderError, match=r"cannot write .*scores.*choose another --out"):
        score(trials, tmp_path)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text("old", tmp_path / "a.txt")

    def full(self: Path, text: str, encoding: str) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RunFolderError, match="No space left on device"):
        write_text("new", tmp_path / "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_bytes() == b"old"


def test_parts_left_by_a_kill_before_compaction_are_gathered(trials: Trials, tmp_path: Path) -> None:
    whole = score(trials, tmp_path / "a")
    score(trials, tmp_path / "b")
    (done,) = (tmp_path / "b" / "scores").glob("*/scores.parquet")
    done.rename(done.with_name("part-0.parquet"))
    idle = Mean()
    assert score(trials, tmp_path / "b", detector=idle).frame.equals(whole.frame)
    assert idle.batches == [] and not list(done.parent.glob("part-*"))


def test_many_parts_become_few_while_a_run_goes_on(trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score(trials, tmp_path / "a", batch_size=1)
    monkeypatch.setattr("spoofscope.scoring.PARTS_TOGETHER", 3)
    seen = []

    class Watching(Mean):
        def score(self, batch: Sequence[Audio]) -> np.ndarray:
            seen.append(len(list((tmp_path / "b").glob("scores/*/part-*"))))
            return super().score(batch)

    assert score(trials, tmp_path / "b", batch_size=1, detector=Watching()).frame.equals(whole.frame)
    assert seen == [0, 1, 2, 1, 2, 3, 2]
