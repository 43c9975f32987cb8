"""The check of a corpus: every planted fault is found, a sound corpus passes, and confounds are measured."""

import shutil

import numpy as np
import polars as pl
import pytest
import soundfile

from spoofscope.checks.corpus import check_corpus
from spoofscope.corpora import Card, Counts
from spoofscope.corpora.folder import Folder

RATE = 16_000
CARD = Card(name="toy", title="Toy", protocols={"all": Counts(12, 12)})


def noise(rng, *, seconds: float = 0.5, level: float = 0.1) -> np.ndarray:
    return level * np.clip(rng.standard_normal(round(seconds * RATE)), -3, 3)


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(5)
    for label in ("bonafide/p1", "spoof/vits"):
        (tmp_path / label).mkdir(parents=True)
        for at in range(12):
            audio = noise(rng, seconds=rng.uniform(0.4, 0.8), level=rng.uniform(0.05, 0.1))
            soundfile.write(tmp_path / label / f"{at:02}.wav", audio, RATE)
    return tmp_path


def check(root, card: Card = CARD, **options):
    return check_corpus(Folder().trials(root=root), card, "all", **options)


def failing(result) -> dict[str, str]:
    return {finding.name: finding.detail for finding in result.findings if not finding.ok}


def test_a_sound_corpus_passes_and_every_file_is_measured(root):
    result = check(root)
    assert failing(result) == {}
    assert result.is_clean
    assert result.files.height == 24
    assert result.files["status"].unique().to_list() == ["ok"]
    row = result.files.row(0, named=True)
    audio, _ = soundfile.read(root / row["path"])
    assert row["duration_s"] == len(audio) / RATE
    assert row["level_dbfs"] == pytest.approx(20 * np.log10(np.sqrt(np.mean(audio**2))), abs=1e-3)
    assert row["peak"] == pytest.approx(np.max(np.abs(audio)), abs=1e-6)
    assert row["silent_share"] == row["leading_silence_s"] == row["clipped_share"] == 0
    assert row["bandwidth_hz"] == pytest.approx(7920, rel=0.01)


def test_the_answer_does_not_depend_on_the_number_of_threads(root):
    one, four = check(root, workers=1), check(root, workers=4)
    assert one.files.equals(four.files)
    assert one.findings == four.findings


def test_counts_that_differ_from_the_card_are_shown(root):
    (root / "spoof/vits/03.wav").unlink()
    detail = failing(check(root))["counts"]
    assert detail == "expected 24 (12 bona fide + 12 spoof), found 23 (12 bona fide + 11 spoof)"


def test_a_card_without_counts_only_asks_for_both_classes(root):
    assert failing(check(root, Card(name="toy", title="Toy"))) == {}


def test_missing_and_unreadable_files_are_counted_apart(root):
    trials = Folder().trials(root=root)
    (root / "bonafide/p1/00.wav").unlink()
    (root / "bonafide/p1/01.wav").write_text("no sound")
    (root / "spoof/vits/02.wav").write_bytes(b"")
    result = check_corpus(trials, CARD, "all")
    found = failing(result)
    assert found["files"] == "1 of 24 missing (first: bonafide/p1/00.wav)"
    assert found["reading"].startswith("2 of 24 unreadable (first: not a readable sound file: ")
    assert result.files.filter(pl.col("status") != "ok").height == 3


def test_a_recording_longer_than_allowed_is_unreadable(root):
    assert "over the limit of 0.7 s" in failing(check(root, max_duration_s=0.7))["reading"]


def test_equal_bytes_are_found_and_a_recording_with_two_labels_is_worse(root):
    shutil.copy(root / "bonafide/p1/00.wav", root / "bonafide/p1/01.wav")
    found = failing(check(root))
    assert found == {
        "duplicates": "1 of 24 groups of trials hold the same bytes (first: bonafide/p1/00.wav = bonafide/p1/01.wav)"
    }
    shutil.copy(root / "bonafide/p1/02.wav", root / "spoof/vits/02.wav")
    found = failing(check(root))
    assert found["labels"].endswith("bona fide and spoof (first: bonafide/p1/02.wav = spoof/vits/02.wav)")


def test_files_of_one_size_with_other_bytes_are_no_duplicates(root):
    audio, _ = soundfile.read(root / "bonafide/p1/00.wav")
    soundfile.write(root / "bonafide/p1/01.wav", -audio, RATE)
    assert "duplicates" not in failing(check(root))


def test_mixed_rates_and_channels_are_listed(root):
    rng = np.random.default_rng(0)
    soundfile.write(root / "spoof/vits/00.wav", noise(rng)[:4000], 8000)
    soundfile.write(root / "spoof/vits/01.wav", np.stack([noise(rng), noise(rng)], axis=1), RATE)
    found = failing(check(root))
    assert found["sample rates"] == "16000 Hz x 23, 8000 Hz x 1"
    assert found["channels"] == "1 channel(s) x 23, 2 channel(s) x 1"


def test_silence_clipping_and_crumbs_are_found(root):
    rng = np.random.default_rng(0)
    soundfile.write(root / "bonafide/p1/00.wav", np.zeros(8000), RATE)
    soundfile.write(root / "bonafide/p1/01.wav", np.clip(noise(rng, level=2), -1, 1), RATE)
    soundfile.write(root / "bonafide/p1/02.wav", noise(rng, seconds=0.1), RATE)
    result = check(root)
    found = failing(result)
    assert found["silence"] == "1 of 24 below -60 dBFS in over 95% of it (first: bonafide/p1/00.wav)"
    assert found["clipping"] == "1 of 24 at full scale in over 0.1% of its samples (first: bonafide/p1/01.wav)"
    assert found["durations"].endswith("; 1 shorter than 0.3 s")
    silent = result.files.row(0, named=True)
    assert silent["level_dbfs"] == -np.inf
    assert silent["leading_silence_s"] == silent["duration_s"] == 0.5


@pytest.mark.parametrize(
    ("quantity", "change"),
    [
        ("level_dbfs", lambda audio: 0.2 * audio),
        ("duration_s", lambda audio: np.tile(audio, 3)),
        ("leading_silence_s", lambda audio: np.concatenate([np.zeros(3200), audio])),
        ("bandwidth_hz", lambda audio: np.convolve(audio, np.ones(8) / 8)),
    ],
)
def test_a_quantity_that_gives_the_classes_away_is_named_first(root, quantity, change):
    for file in (root / "spoof/vits").iterdir():
        audio, _ = soundfile.read(file)
        soundfile.write(file, change(audio), RATE)
    result = check(root)
    alone = dict(result.confounds.select("quantity", "eer_alone").iter_rows())
    assert alone[quantity] < 0.1
    assert f"{quantity} {alone[quantity]:.1%}" in failing(result)["confounds"]
    row = result.confounds.filter(pl.col("quantity") == quantity).row(0, named=True)
    measured = result.files.group_by("label").agg(pl.col(quantity).median())
    assert dict(measured.iter_rows()) == {"bonafide": row["bonafide_median"], "spoof": row["spoof_median"]}


def test_a_limit_draws_files_but_counts_are_of_all_trials(root):
    result = check(root, limit=6)
    assert result.files.height == 6
    assert "counts" not in failing(result)


def test_a_corpus_without_any_audio_says_so(root):
    trials = Folder().trials(root=root)
    shutil.rmtree(root / "bonafide")
    shutil.rmtree(root / "spoof")
    found = failing(check_corpus(trials, CARD, "all"))
    assert found["files"].startswith("24 of 24 missing")
    assert found["formats"] == "no file could be read"
    assert found["confounds"] == "a class has no readable recording to compare"


def test_shortcuts_are_learnt_on_another_list_and_tried_on_this_one(root):
    trials = Folder().trials(root=root)
    half = np.arange(24) % 2 == 0
    train, test = trials.where(half, name="train"), trials.where(~half, name="test")
    assert "shortcuts" not in {finding.name for finding in check_corpus(test, CARD, "all").findings}
    for file in (root / "spoof/vits").iterdir():
        audio, _ = soundfile.read(file)
        soundfile.write(file, 0.2 * audio, RATE)
    detail = failing(check_corpus(test, CARD, "all", train=train))["shortcuts"]
    assert detail.startswith("EER of a classifier trained on train: ")
    assert "level 0.0%" in detail
