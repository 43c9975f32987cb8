"""True of every degradation on every sound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofscope.degradations import degradations
from spoofscope.degradations._measure import measure
from spoofscope.degradations.band_mask import BandMask
from spoofscope.degradations.bandpass import Bandpass
from spoofscope.degradations.g711 import G711, decode, encode
from spoofscope.degradations.gain import Gain
from spoofscope.degradations.mp3 import BITRATES_KBPS, Mp3
from spoofscope.degradations.noise import Noise
from spoofscope.degradations.resample import Resample
from spoofscope.degradations.trim_silence import TrimSilence

RATE = 16_000
ANY = st.one_of(
    st.builds(Mp3, bitrate_kbps=st.sampled_from(BITRATES_KBPS), lame_quality=st.sampled_from([3, 7])),
    st.builds(Bandpass, low_hz=st.floats(20, 1000), high_hz=st.floats(1500, 7900), order=st.integers(1, 8)),
    st.builds(BandMask, low_hz=st.one_of(st.just(0.0), st.floats(50, 3000)), high_hz=st.floats(3100, 9000)),
    st.builds(G711, law=st.sampled_from(["mu", "a"])),
    st.builds(
        Noise, kind=st.sampled_from(["white", "pink"]), snr_db=st.floats(-20, 60), over=st.sampled_from(["active", "file"])
    ),
    st.builds(Gain, gain_db=st.floats(-60, 40)),
    st.builds(Resample, sample_rate_hz=st.integers(1000, 15_999)),
    st.builds(TrimSilence, top_db=st.floats(5, 80), side=st.sampled_from(["both", "lead", "trail"])),
)


@st.composite
def sounds(draw, max_samples=6000):
    """Noise of any length and level, with a silent stretch in it; never silent throughout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    audio = rng.standard_normal(draw(st.integers(1, max_samples)), dtype=np.float32) * np.float32(draw(st.floats(1e-3, 0.5)))
    start, stop = sorted((draw(st.integers(0, max_samples)), draw(st.integers(0, max_samples))))
    audio[max(1, start) : stop] = 0
    return audio


@settings(max_examples=150)
@given(ANY, sounds(), st.integers(0, 2**32))
def test_the_contract_holds(degradation, audio, seed):
    kept = audio.copy()
    audio.flags.writeable = False
    heard = degradation(audio, RATE, np.random.default_rng(seed))
    assert heard.dtype == np.float32
    assert heard.ndim == 1
    assert np.isfinite(heard).all()
    assert len(heard) == len(audio) or not degradation.keeps_length
    assert 0 < len(heard) <= len(audio)
    assert np.array_equal(audio, kept)
    assert not np.shares_memory(heard, audio)
    assert np.array_equal(heard, degradation(audio, RATE, np.random.default_rng(seed)))


@given(ANY, sounds(), st.integers(0, 2**32))
def test_every_measure_of_every_result_is_a_number_or_says_that_it_does_not_exist(degradation, audio, seed):
    measured = measure(audio, degradation(audio, RATE, np.random.default_rng(seed)), RATE)
    assert all(isinstance(value, float) for value in measured)
    assert 0 < measured.length_ratio <= 1
    assert 0 <= measured.clipped_fraction <= 1
    assert np.isnan(measured.bandwidth_hz) or 0 <= measured.bandwidth_hz <= RATE / 2
    assert np.isnan(measured.delay_samples) or abs(measured.delay_samples) <= 800


@given(st.sampled_from(["white", "pink"]), st.floats(-20, 60), sounds(), st.integers(0, 2**32))
def test_the_ratio_asked_is_obtained_on_any_sound(kind, snr_db, audio, seed):
    heard = Noise(kind=kind, snr_db=snr_db)(audio, RATE, np.random.default_rng(seed))
    assert measure(audio, heard, RATE).snr_db == pytest.approx(snr_db, abs=0.05)


@given(sounds(), st.floats(-20, 20))
def test_noise_follows_the_level_of_the_recording(audio, gain_db):
    factor = np.float32(10 ** (gain_db / 20))
    heard = Noise()(audio, RATE, np.random.default_rng(0)) * factor
    louder = Noise()(audio * factor, RATE, np.random.default_rng(0))
    assert louder == pytest.approx(heard, rel=1e-3, abs=1e-6 * float(factor))


@given(sounds(), st.floats(0.1, 2))
def test_a_filter_is_linear(audio, factor):
    one = Bandpass()(audio, RATE, np.random.default_rng(0))
    scaled = Bandpass()(audio * np.float32(factor), RATE, np.random.default_rng(0))
    assert scaled == pytest.approx(one * factor, rel=1e-3, abs=1e-6)


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=200), st.sampled_from(["mu", "a"]))
def test_coding_twice_is_coding_once(samples, law):
    once = decode(encode(np.array(samples, dtype=np.int16), law), law)
    assert np.array_equal(decode(encode(once, law), law), once)


@given(sounds(), st.floats(5, 60), st.sampled_from(["both", "lead", "trail"]))
def test_trimming_returns_one_stretch_of_the_recording(audio, top_db, side):
    heard = TrimSilence(top_db=top_db, side=side)(audio, RATE, np.random.default_rng(0))
    starts = range(len(audio) - len(heard) + 1)
    assert any(np.array_equal(audio[at : at + len(heard)], heard) for at in starts)


def test_the_strategy_covers_everything_that_the_room_holds():
    built_in = {name for name, kind in degradations.items() if kind.__module__.startswith("spoofscope.degradations.")}
    assert built_in == {"mp3", "band_mask", "bandpass", "g711", "noise", "gain", "resample", "trim_silence"}
