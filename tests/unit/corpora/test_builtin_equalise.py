"""Equalisation of the two classes, and the classifier that would find what it left."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from scipy.signal import butter, sosfilt

from spoofscope.corpora.builtin.equalise import HIGH_CUT_HZ, LEVEL_DB, equalise, trim_silence
from spoofscope.corpora.builtin.shortcut import FEATURES, shortcut_features, shortcut_scores
from spoofscope.corpora.builtin.streams import stream
from spoofscope.metrics.rates import eer
from spoofscope.trials import Trials

LEAKS = {
    "level": lambda audio: 0.3 * audio,
    "crest": lambda audio: audio * np.where(np.arange(len(audio)) % 1500 < 2, 3.5, 1),
    "duration": lambda audio: audio[: len(audio) * 2 // 3],
    "leading silence": lambda audio: np.concatenate([np.zeros(6_000), audio]),
    "trailing silence": lambda audio: np.concatenate([audio, np.zeros(6_000)]),
    "DC": lambda audio: audio + 0.02,
    "background": lambda audio: audio + 0.0005 * stream("floor").standard_normal(len(audio)),
    "bandwidth": lambda audio: sosfilt(butter(8, 7_400, fs=16_000, output="sos"), audio),
}


def babble(rng: np.random.Generator) -> np.ndarray:
    """Noise in syllables: cheap, with the envelope of speech."""
    bursts = np.repeat(rng.uniform(0.2, 1.0, size=14) * (rng.random(14) > 0.2), 2_400)
    bursts[:2_400] = bursts[-2_400:] = 0.7
    envelope = np.convolve(bursts, np.hanning(800) / 400, mode="same")
    return 0.05 * envelope * rng.standard_normal(len(envelope)) + 0.00005 * rng.standard_normal(len(envelope))


def write_trials(folder: Path, leak, *, equalised: bool) -> tuple[Trials, Trials]:
    folder.mkdir(exist_ok=True)
    lists = []
    for protocol in ("train", "eval"):
        rows = []
        for index in range(48):
            trial_id, is_spoof = f"{protocol}{index}", index % 2 == 1
            audio = babble(stream(trial_id))
            audio = leak(audio) if is_spoof else audio
            if equalised:
                audio = equalise(audio, stream("equalise", trial_id), max_speech_s=1.2)
            soundfile.write(folder / f"{trial_id}.wav", audio, 16_000, subtype="FLOAT")
            rows.append((trial_id, f"{trial_id}.wav", "spoof" if is_spoof else "bonafide"))
        lists.append(Trials(pl.DataFrame(rows, schema=["trial_id", "path", "label"], orient="row"), folder, protocol))
    return lists[0], lists[1]


def error_rates(train: Trials, test: Trials) -> dict[str, float]:
    found = shortcut_scores(train, test)
    return {name: eer(scores[found.is_bonafide], scores[~found.is_bonafide]) for name, scores in found.scores.items()}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_leak_is_found_by_its_own_feature_and_gone_after_equalising(feature, tmp_path):
    leaking = error_rates(*write_trials(tmp_path / "raw", LEAKS[feature], equalised=False))
    assert leaking[feature] < 0.1
    assert leaking["all"] < 0.2
    mended = error_rates(*write_trials(tmp_path / "mended", LEAKS[feature], equalised=True))
    assert mended[feature] > 0.3
    assert mended["all"] > 0.3


def test_without_a_leak_the_shortcuts_tell_nothing(tmp_path):
    rates = error_rates(*write_trials(tmp_path / "none", lambda audio: audio, equalised=False))
    assert min(rates.values()) > 0.3


def test_shortcut_features_measure_what_they_are_called(tmp_path):
    tone = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
    audio = np.concatenate([np.zeros(1_600), tone, np.zeros(3_200)]) + 0.01
    soundfile.write(tmp_path / "a.wav", audio, 16_000, subtype="FLOAT")
    trials = Trials(pl.DataFrame({"trial_id": ["a"], "path": ["a.wav"], "label": ["bonafide"]}), tmp_path, "one")
    found = dict(zip(FEATURES, shortcut_features(trials)[0], strict=True))
    rms = np.sqrt(np.mean(audio**2))
    assert found["level"] == pytest.approx(20 * np.log10(rms), abs=0.01)
    assert found["duration"] == pytest.approx(1.3)
    assert found["leading silence"] * 0.01 == pytest.approx(0.1, abs=0.02) or found["leading silence"] == 0
    assert found["DC"] == pytest.approx(20 * np.log10(0.01 / rms), abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_an_equalised_recording_has_the_shared_level_band_and_no_dc(seed):
    audio = equalise(babble(stream(seed)) * 7 + 0.3, stream("draw", seed), max_speech_s=1.5)
    assert audio.dtype == np.float32
    assert LEVEL_DB[0] - 0.1 < 10 * np.log10(np.mean(audio.astype(float) ** 2)) < LEVEL_DB[1] + 0.1
    assert abs(audio.mean()) < 1e-4
    assert np.abs(audio).max() < 1
    spectrum = np.abs(np.fft.rfft(audio)) ** 2
    above = np.fft.rfftfreq(len(audio), 1 / 16_000) > HIGH_CUT_HZ + 400
    assert spectrum[above].mean() < 1e-3 * spectrum.mean()


def test_an_equalised_recording_survives_sixteen_bits():
    audio = equalise(babble(stream(1)), stream(2), max_speech_s=1.5)
    assert np.array_equal(np.round(audio * 32768), audio * 32768)


def test_equalising_depends_on_the_stream_and_leaves_its_input_alone():
    audio = babble(stream(1))
    before = audio.copy()
    first, again, other = (equalise(audio, stream(word), max_speech_s=1.5) for word in ("a", "a", "b"))
    assert np.array_equal(first, again)
    assert len(first) != len(other)
    assert np.array_equal(audio, before)


def test_equalising_begins_and_ends_without_a_click():
    audio = equalise(babble(stream(3)), stream(4), max_speech_s=1.5)
    rms = np.sqrt(np.mean(audio**2))
    assert np.abs(audio[:400]).max() < 0.2 * rms
    assert np.abs(audio[-400:]).max() < 0.2 * rms


def test_trimming_cuts_both_ends_and_nothing_between():
    speech = babble(stream(5))
    padded = np.concatenate([np.zeros(3_200), speech, np.zeros(4_800)])
    assert len(trim_silence(padded)) == pytest.approx(len(trim_silence(speech)), abs=320)
    assert np.array_equal(trim_silence(np.zeros(1_000)), np.zeros(1_000))
