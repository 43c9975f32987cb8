"""G.711, and the telephone line that it makes behind a band-pass."""

import numpy as np
import pytest

from spoofscope.degradations import settings_of
from spoofscope.degradations._measure import measure
from spoofscope.degradations.bandpass import Bandpass
from spoofscope.degradations.g711 import G711, decode, encode
from spoofscope.degradations.resample import Resample
from spoofscope.errors import RecipeError

RATE = 16_000
EVERY = np.arange(-32_768, 32_768).astype(np.int16)


@pytest.mark.parametrize("law", ["mu", "a"])
def test_every_code_stands_for_itself(law):
    codes = np.arange(256, dtype=np.uint8)
    again = encode(decode(codes, law), law)
    different = codes[again != codes]
    assert list(different) == ([0x7F] if law == "mu" else [])  # mu-law has a negative zero


@pytest.mark.parametrize("law", ["mu", "a"])
def test_the_code_is_odd_and_increasing(law):
    heard = decode(encode(EVERY, law), law).astype(int)
    assert (np.diff(heard) >= 0).all()
    assert np.array_equal(heard[EVERY > 0], -heard[(EVERY < 0) & (EVERY > -32_768)][::-1])


def test_digital_silence_stays_silent_in_mu_law_and_hums_at_the_least_step_in_a_law():
    zero = np.zeros(1, dtype=np.int16)
    assert decode(encode(zero, "mu"), "mu") == 0
    assert decode(encode(zero, "a"), "a") == 8


@pytest.mark.parametrize("law", ["mu", "a"])
def test_speech_keeps_its_length_and_time_and_loses_the_upper_band(speech, rng, law):
    measured = measure(speech, G711(law=law)(speech, RATE, rng), RATE)
    assert measured.length_ratio == 1
    assert measured.delay_samples == 0
    assert measured.bandwidth_hz < 4_000
    assert measured.gain_db == pytest.approx(0, abs=1)


@pytest.mark.parametrize("law", ["mu", "a"])
def test_quantisation_noise_lies_about_38_db_below_a_loud_line(speech, rng, law):
    line_only = Resample(sample_rate_hz=8_000)(speech, RATE, rng)
    coded = G711(law=law)(speech, RATE, rng)
    assert 33 < measure(line_only, coded, RATE).snr_db < 43


def test_the_laws_differ(speech, rng):
    assert not np.array_equal(G711(law="mu")(speech, RATE, rng), G711(law="a")(speech, RATE, rng))


@pytest.mark.parametrize("samples", [1, 2, 3, 101])
def test_short_and_odd_lengths_are_kept(speech, rng, samples):
    assert len(G711()(speech[9000 : 9000 + samples], RATE, rng)) == samples


def test_samples_above_full_scale_are_clipped_as_the_line_does(rng):
    loud = np.full(RATE, 1.7, dtype=np.float32)
    assert G711()(loud, RATE, rng)[RATE // 2] == pytest.approx(32_124 / 32_768, abs=1e-3)


def test_telephony_carries_300_to_3400_hz(rng):
    noise = 0.1 * np.random.default_rng(1).standard_normal(4 * RATE, dtype=np.float32)
    heard = G711()(Bandpass(low_hz=300, high_hz=3400, order=6)(noise, RATE, rng), RATE, rng)
    power = np.abs(np.fft.rfft(heard)) ** 2 / np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)

    def level_db(low_hz, high_hz):
        return 10 * np.log10(np.median(power[(hertz > low_hz) & (hertz < high_hz)]))

    assert level_db(500, 3000) == pytest.approx(0, abs=0.5)
    assert level_db(20, 150) < -25
    assert level_db(4200, 7900) < -45


def test_the_key_names_the_resampler():
    assert settings_of(G711())["library"]["soxr"]


@pytest.mark.parametrize("law", ["u", "A", "", None, True])
def test_an_unknown_law_is_refused(law):
    with pytest.raises(RecipeError, match=r"g711: law is .*; it must be one of mu, a"):
        G711(law=law)


def test_the_label_names_the_law():
    assert [G711(law=law).label for law in ("mu", "a")] == ["G.711 mu-law", "G.711 A-law"]
