"""Noise at a stated ratio."""

import numpy as np
import pytest

from spoofscope.degradations._measure import measure
from spoofscope.degradations.noise import Noise
from spoofscope.errors import AudioError, RecipeError

RATE = 16_000


def added(settings, audio, seed=0):
    return settings(audio, RATE, np.random.default_rng(seed)) - audio


@pytest.mark.parametrize("kind", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [-10, 0, 5, 20, 40])
def test_the_ratio_asked_is_obtained_over_the_active_part(speech, kind, snr_db):
    heard = Noise(kind=kind, snr_db=snr_db)(speech, RATE, np.random.default_rng(0))
    assert measure(speech, heard, RATE).snr_db == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize("kind", ["white", "pink"])
def test_over_the_file_the_ratio_is_that_of_the_whole_recording(speech, kind):
    noise = added(Noise(kind=kind, snr_db=10, over="file"), speech)
    assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.01)


def test_silence_around_speech_dilutes_the_ratio_of_the_file_but_not_of_the_active_part(speech):
    padded = np.concatenate([speech, np.zeros(3 * len(speech), dtype=np.float32)])
    active = [np.std(added(Noise(snr_db=10), audio)) for audio in (speech, padded)]
    whole = [np.std(added(Noise(snr_db=10, over="file"), audio)) for audio in (speech, padded)]
    assert active[1] / active[0] == pytest.approx(1, abs=0.02)
    assert whole[1] / whole[0] == pytest.approx(0.5, abs=0.02)


def octave_levels_db(noise):
    power = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    edges = 62.5 * 2.0 ** np.arange(8)
    density = [power[(hertz >= low) & (hertz < 2 * low)].mean() for low in edges[:-1]]
    return 10 * np.log10(density)


def test_white_is_flat_and_pink_falls_by_3_db_per_octave(speech):
    long = np.tile(speech, 8)
    assert np.diff(octave_levels_db(added(Noise(kind="white", snr_db=0), long))) == pytest.approx(0, abs=0.6)
    assert np.diff(octave_levels_db(added(Noise(kind="pink", snr_db=0), long))) == pytest.approx(-3.01, abs=0.6)


def test_pink_noise_does_not_drift_below_20_hz(speech):
    noise = added(Noise(kind="pink", snr_db=0), np.tile(speech, 30))
    power = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    assert power[hertz < 2].mean() < 2 * power[(hertz > 15) & (hertz < 20)].mean()


@pytest.mark.parametrize("kind", ["white", "pink"])
def test_another_stream_is_another_noise_and_the_same_stream_the_same(speech, kind):
    settings = Noise(kind=kind, snr_db=10)
    one, other = added(settings, speech, seed=1), added(settings, speech, seed=2)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    assert np.array_equal(one, added(settings, speech, seed=1))


def test_the_sum_is_not_clipped(speech):
    loud = speech / np.abs(speech).max()
    assert np.abs(Noise(snr_db=-10)(loud, RATE, np.random.default_rng(0))).max() > 1.5


@pytest.mark.parametrize("over", ["active", "file"])
def test_silence_is_refused_in_plain_words(over):
    with pytest.raises(AudioError, match=r"silent \(every sample is 0\), so no signal-to-noise ratio exists"):
        Noise(over=over)(np.zeros(1000, dtype=np.float32), RATE, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["white", "pink"])
@pytest.mark.parametrize("samples", [1, 2, 319, 321])
def test_short_input_works(speech, kind, samples):
    heard = Noise(kind=kind)(speech[9000 : 9000 + samples], RATE, np.random.default_rng(0))
    assert heard.dtype == np.float32
    assert len(heard) == samples
    assert np.isfinite(heard).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "brown"}, "noise: kind is 'brown'; it must be one of white, pink"),
        ({"snr_db": float("inf")}, "snr_db is inf; it must be a number from -40 to 100 dB"),
        ({"snr_db": "10"}, "snr_db is '10'"),
        ({"snr_db": True}, "snr_db is True"),
        ({"over": "speech"}, "over is 'speech'; it must be one of active, file"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        Noise(**settings)


def test_the_label_gives_kind_unit_and_reach():
    assert Noise(snr_db=10, over="file").label == "white noise 10 dB (file)"
    assert Noise(kind="white", snr_db=10).label == "white noise 10 dB"
    assert Noise(kind="pink", snr_db=-2.5).label == "pink noise -2.5 dB"
