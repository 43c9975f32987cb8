"""A labelled spoof corpus made from real speech, and what the built-in one gives away by accident."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spoofscope.audio import read_audio
from spoofscope.corpora.builtin.own import BuiltCorpus, build_corpus
from spoofscope.corpora.table import Table
from spoofscope.errors import CorpusError, UserError
from tests.shared import SHARED, needs_shared

ATTACKS = ("B01", "B07", "B11")
SPEAKERS = ("1688", "367", "2414", "3005")
needs_speech = pytest.mark.skipif(
    not (SHARED / "audio/librispeech").is_dir(), reason="needs ../shared/audio/librispeech (recordings of people)"
)
pytestmark = [needs_shared, needs_speech]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for speaker in SPEAKERS:
        files = sorted((SHARED / "audio/librispeech").glob(f"{speaker}-*.flac"))[:3]
        (folder / speaker).mkdir()
        for file in files:
            shutil.copy(file, folder / speaker)
    return folder


@pytest.fixture(scope="module")
def built(recordings, tmp_path_factory) -> BuiltCorpus:
    (recordings / "367" / "broken.wav").write_bytes(b"RIFF and nothing else")
    (recordings / "367" / "notes.txt").write_text("not a recording")
    return build_corpus(recordings, tmp_path_factory.mktemp("own"), attacks=ATTACKS, max_speech_s=3.0, workers=1)


def test_half_of_the_recordings_stay_and_the_others_meet_every_attack(built):
    bonafide = built.frame.filter(pl.col("label") == "bonafide")
    spoof = built.frame.filter(pl.col("label") == "spoof")
    assert abs(bonafide.height - spoof["source"].n_unique()) <= 1
    assert (
        spoof.group_by("source").agg(pl.col("attack").sort())["attack"].to_list()
        == [list(ATTACKS)] * spoof["source"].n_unique()
    )
    assert not set(bonafide["source"]) & set(spoof["source"])


def test_speakers_come_from_the_folders_and_none_is_in_two_protocols(built):
    assert set(built.frame["speaker"]) == set(SPEAKERS)
    per_speaker = built.frame.group_by("speaker").agg(pl.col("protocol").n_unique())
    assert per_speaker["protocol"].to_list() == [1] * len(SPEAKERS)
    assert set(built.frame["protocol"]) == {"train", "dev", "eval"}


def test_an_unreadable_recording_is_listed_with_the_reason_even_when_asked_again(built, recordings):
    again = build_corpus(recordings, built.table.parent, attacks=ATTACKS, max_speech_s=3.0, workers=1)
    for refused in (built.refused, again.refused):
        assert [entry.source.startswith("367-broken-") for entry in refused] == [True]
        assert "not a readable sound file" in refused[0].reason


@pytest.mark.parametrize("name", ["trials.parquet", "trials.csv"])
@pytest.mark.parametrize("protocol", ["train", "dev", "eval"])
def test_the_table_corpus_reads_what_was_built(built, name, protocol):
    trials = Table().trials(protocol, path=built.table.with_name(name))
    assert len(trials) == (built.frame["protocol"] == protocol).sum()
    assert all(path.is_file() for path in trials.paths)


def test_real_speech_and_its_spoofs_share_level_and_have_no_dc(built):
    for path in built.frame["path"]:
        audio = read_audio(built.table.parent / path).astype(float)
        assert -29.1 < 10 * np.log10(np.mean(audio**2)) < -20.9
        assert abs(audio.mean()) < 1e-4
        assert len(audio) < 3.7 * 16_000


def test_building_goes_on_where_it_stopped_and_refuses_other_recordings(built, recordings, tmp_path):
    target = tmp_path / "copy"
    shutil.copytree(built.table.parent, target)
    (target / "manifest.json").unlink()
    lost = target / built.frame["path"][0]
    content = lost.read_bytes()
    kept = target / built.frame["path"][1]
    before = kept.stat().st_mtime_ns
    lost.unlink()
    build_corpus(recordings, target, attacks=ATTACKS, max_speech_s=3.0, workers=1)
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(CorpusError, match="built with other settings"):
        build_corpus(recordings, target, attacks=ATTACKS[:1], max_speech_s=3.0, workers=1)


def test_a_limit_lets_speakers_take_turns(recordings, tmp_path):
    built = build_corpus(recordings, tmp_path / "few", attacks=("B15",), limit=4, max_speech_s=1.0, workers=1)
    assert built.frame["source"].n_unique() + len(built.refused) == 4
    assert built.frame["speaker"].n_unique() + len(built.refused) == 4


def test_speakers_can_be_named_by_the_file_name(tmp_path):
    built = build_corpus(
        SHARED / "audio/librispeech",
        tmp_path / "flat",
        attacks=("B15",),
        limit=4,
        max_speech_s=1.0,
        workers=1,
        speaker_pattern=r"(\d+)-",
    )
    assert all(source.startswith(f"{speaker}-") for source, speaker in built.frame.select("source", "speaker").rows())


def test_mistakes_are_answered_in_words(recordings, tmp_path):
    with pytest.raises(UserError, match="lies inside"):
        build_corpus(recordings, recordings / "out")
    with pytest.raises(CorpusError, match="no such folder"):
        build_corpus(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(CorpusError, match="holds 0 recordings"):
        (tmp_path / "empty").mkdir()
        build_corpus(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UserError, match="has no group"):
        build_corpus(recordings, tmp_path / "out", speaker_pattern=r"\d+")
    with pytest.raises(UserError, match="no attack is named 'B77'"):
        build_corpus(recordings, tmp_path / "out", attacks=("B77",))


def test_a_folder_in_which_nothing_can_be_read_is_an_error_with_the_first_reason(tmp_path):
    (tmp_path / "bad").mkdir()
    for name in ("a.wav", "b.wav"):
        (tmp_path / "bad" / name).write_bytes(b"RIFF")
    with pytest.raises(CorpusError, match=r"none of 2 recordings could be used \(first: .*not a readable sound file"):
        build_corpus(tmp_path / "bad", tmp_path / "out", workers=1)
