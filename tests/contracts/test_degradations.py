"""Every degradation that the registry knows keeps the contract; and the check sees those that do not."""

from dataclasses import dataclass

import numpy as np
import pytest

from spoofscope.audio import Audio
from spoofscope.checks.degradation import check_degradation
from spoofscope.degradations import degradations
from spoofscope.degradations.bandpass import Bandpass
from spoofscope.degradations.gain import Gain
from spoofscope.degradations.mp3 import Mp3
from spoofscope.degradations.noise import Noise
from spoofscope.errors import AudioError

RATE = 16_000


def wrong(findings):
    return {finding.name: finding.detail for finding in findings if not finding.ok}


@pytest.mark.parametrize("name", degradations.names())
def test_a_degradation_with_its_default_settings_passes(name):
    assert wrong(check_degradation(degradations.get(name)())) == {}


@pytest.mark.parametrize(
    "settings", [Mp3(bitrate_kbps=8), Mp3(bitrate_kbps=128, lame_quality=3), Noise(kind="pink", snr_db=-10)]
)
def test_extreme_settings_pass(settings):
    assert wrong(check_degradation(settings, seed=5)) == {}


def test_another_sample_rate_passes():
    assert wrong(check_degradation(Bandpass(), sample_rate=8_000)) == {}


@pytest.mark.parametrize(
    ("settings", "finding"),
    [(Gain(gain_db=0), "not a no-op"), (Bandpass(low_hz=1, high_hz=7999, order=1), "the band is limited")],
)
def test_settings_that_change_nothing_fail(settings, finding):
    assert list(wrong(check_degradation(settings))) == [finding]


def test_a_setting_that_cannot_work_at_this_rate_fails_with_its_own_words():
    findings = check_degradation(Bandpass(low_hz=300, high_hz=8000))
    assert "sound at 16000 Hz ends at 8000 Hz" in wrong(findings)["finite float32, of the promised length"]


@dataclass(frozen=True)
class Broken:
    """A degradation by default right (half the level), in which one thing is broken at a time."""

    name = "broken"
    version = 1
    swept = ""
    keeps_length = True
    label = "broken"

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        return audio * np.float32(0.5)


class SameNoiseForAll(Broken):
    def __call__(self, audio, sample_rate, rng):
        return audio + np.float32(0.01) * np.random.default_rng(42).standard_normal(len(audio), dtype=np.float32)


class GlobalNoise(Broken):
    generator = np.random.default_rng()

    def __call__(self, audio, sample_rate, rng):
        return audio + np.float32(0.01) * self.generator.standard_normal(len(audio), dtype=np.float32)


class DrawsForNothing(Broken):
    def __call__(self, audio, sample_rate, rng):
        rng.standard_normal(10)
        return audio * np.float32(0.5)


class WrongRatio(Broken):
    snr_db = 10.0

    def __call__(self, audio, sample_rate, rng):
        noise = rng.standard_normal(len(audio), dtype=np.float32)
        return audio + noise * np.float32(np.std(audio) * 10 ** (-(self.snr_db + 3) / 20))


class WrongGain(Broken):
    gain_db = -6.0

    def __call__(self, audio, sample_rate, rng):
        return audio * np.float32(10 ** (self.gain_db / 10))


class LateCodec(Broken):
    def __call__(self, audio, sample_rate, rng):
        late = np.zeros_like(audio)
        late[1:] = 0.5 * audio[:-1]
        return late


class WholeBand(Broken):
    passband_hz = (300.0, 3400.0)


class LongerByOne(Broken):
    def __call__(self, audio, sample_rate, rng):
        return np.append(audio, np.float32(0)) * np.float32(0.5)


class DoublePrecision(Broken):
    def __call__(self, audio, sample_rate, rng):
        return audio.astype(np.float64) * 0.5


class NotANumber(Broken):
    def __call__(self, audio, sample_rate, rng):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(audio)


class NormalisesSilence(Broken):
    def __call__(self, audio, sample_rate, rng):
        with np.errstate(invalid="ignore"):
            return audio / np.abs(audio).max() * np.float32(0.9)


class WritesIntoItsArgument(Broken):
    def __call__(self, audio, sample_rate, rng):
        audio *= np.float32(0.5)
        return audio.copy()


class NothingButZeros(Broken):
    def __call__(self, audio, sample_rate, rng):
        return np.zeros_like(audio)


class CannotBeShort(Broken):
    def __call__(self, audio, sample_rate, rng):
        if len(audio) < 512:
            raise ValueError("frame too long")
        return audio * np.float32(0.5)


class NoLabel(Broken):
    label = ""


class CrashesOnSilence(Broken):
    def __call__(self, audio, sample_rate, rng):
        return audio * np.float32(1 / (2 * float(np.ceil(np.abs(audio).max()))))


@pytest.mark.parametrize(
    ("kind", "finding", "words"),
    [
        (SameNoiseForAll, "randomness comes from rng alone", "same noise was added to two recordings"),
        (GlobalNoise, "equal rng state, equal samples", "another call, another result"),
        (GlobalNoise, "randomness comes from rng alone", "rng is not drawn from, yet results vary"),
        (DrawsForNothing, "randomness comes from rng alone", "drawn from and changes nothing"),
        (WrongRatio, "SNR asked = SNR obtained", "asked 10 dB"),
        (WrongGain, "gain asked = gain obtained", "asked -6 dB, got -12.00 dB"),
        (LateCodec, "delay removed", "peak at lag 1; 0 expected"),
        (WholeBand, "band passed as promised", "between 300 and 3400 Hz"),
        (LongerByOne, "finite float32, of the promised length", "declare keeps_length=False"),
        (DoublePrecision, "finite float32, of the promised length", "answered float64"),
        (NotANumber, "finite float32, of the promised length", "samples are NaN or infinite"),
        (NormalisesSilence, "digital silence", "NaN"),
        (WritesIntoItsArgument, "input untouched", "was written into"),
        (NothingButZeros, "not a no-op", "nothing but zeros"),
        (CannotBeShort, "very short input", "frame too long"),
        (NoLabel, "settings are frozen, labelled, and fit for the key", "broken"),
        (CrashesOnSilence, "digital silence", "ZeroDivisionError"),
    ],
)
def test_what_is_broken_is_found(kind, finding, words):
    assert words in wrong(check_degradation(kind()))[finding]


def test_the_unbroken_one_passes():
    assert wrong(check_degradation(Broken())) == {}


def test_refusing_silence_in_words_is_allowed_and_quoted():
    class Refuses(Broken):
        def __call__(self, audio, sample_rate, rng):
            if not audio.any():
                raise AudioError("nothing to hear")
            return audio * np.float32(0.5)

    findings = {finding.name: finding for finding in check_degradation(Refuses())}
    assert findings["digital silence"].ok
    assert "nothing to hear" in findings["digital silence"].detail
