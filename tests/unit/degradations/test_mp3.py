"""MP3 in process."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from spoofscope.degradations import settings_of
from spoofscope.degradations._measure import measure
from spoofscope.degradations.mp3 import BITRATES_KBPS, Mp3, _encode
from spoofscope.errors import RecipeError

RATE = 16_000
MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@pytest.mark.parametrize("bitrate_kbps", BITRATES_KBPS)
def test_every_frame_is_mpeg_2_layer_3_at_16_khz_and_the_bitrate_asked(speech, bitrate_kbps):
    stream = b"".join(bytes(packet) for packet in _encode(speech, RATE, bitrate_kbps, 7))
    at = 0
    while at < len(stream):
        sync, detail = stream[at : at + 2], stream[at + 2]
        assert sync == b"\xff\xf3"  # MPEG-2, layer III, no checksum
        assert MPEG2_KBPS[detail >> 4] == bitrate_kbps
        assert detail >> 2 & 3 == 2  # 16 kHz
        at += 72 * bitrate_kbps * 1000 // RATE + (detail >> 1 & 1)
    assert at == len(stream)


@pytest.mark.parametrize("bitrate_kbps", BITRATES_KBPS)
def test_length_is_kept_and_the_codecs_delay_is_removed(speech, rng, bitrate_kbps):
    measured = measure(speech, Mp3(bitrate_kbps=bitrate_kbps)(speech, RATE, rng), RATE)
    assert measured.delay_samples == 0
    assert measured.length_ratio == 1


def test_fewer_bits_leave_a_worse_and_narrower_sound(speech, rng):
    results = [measure(speech, Mp3(bitrate_kbps=rate)(speech, RATE, rng), RATE) for rate in (8, 16, 32, 64)]
    assert [r.snr_db for r in results] == sorted(r.snr_db for r in results)
    assert [r.bandwidth_hz for r in results] == sorted(r.bandwidth_hz for r in results)
    assert results[0].snr_db < 15 < results[-1].snr_db
    assert results[0].bandwidth_hz < 4_000 < 5_500 < results[-1].bandwidth_hz


def test_eight_kbps_stays_at_16_khz_rather_than_at_half_speed(rng):
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(Mp3(bitrate_kbps=8)(tone, RATE, rng)))
    assert np.argmax(spectrum) == 440


@pytest.mark.parametrize("samples", [1, 2, 100, 575, 576, 577, 1105, 1152])
def test_short_input_keeps_its_length(speech, rng, samples):
    assert len(Mp3()(speech[8000 : 8000 + samples], RATE, rng)) == samples


def test_threads_and_order_do_not_change_a_sample(speech):
    jobs = [(rate, speech[start : start + 9000]) for rate in (8, 32, 128) for start in (0, 6000, 12000)]

    def degrade(job):
        return Mp3(bitrate_kbps=job[0])(job[1], RATE, np.random.default_rng(0))

    alone = [degrade(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(degrade, jobs[::-1]))[::-1]
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_samples_above_full_scale_are_not_clipped(speech, rng):
    loud = speech / np.abs(speech).max() * np.float32(1.6)
    assert np.abs(Mp3(bitrate_kbps=128)(loud, RATE, rng)).max() > 1.4


def test_the_key_names_the_encoder_and_its_versions():
    library = settings_of(Mp3())["library"]
    assert re.fullmatch(r"libmp3lame 3\.\d+", library["encoder"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", library["libavcodec"])
    assert set(library) == {"pyav", "libavcodec", "encoder"}


def test_the_label_gives_the_unit_and_an_effort_that_is_not_the_default():
    assert Mp3(bitrate_kbps=32).label == "MP3 32 kb/s"
    assert Mp3(bitrate_kbps=32, lame_quality=3).label == "MP3 32 kb/s, q3"


@pytest.mark.parametrize("bitrate_kbps", [0, 7, 20, 129, 160, 320, -8, True, "32", None, float("nan")])
def test_a_bitrate_that_mpeg_2_does_not_have_is_refused(bitrate_kbps):
    with pytest.raises(RecipeError, match=r"mp3: bitrate_kbps is .*; it must be one of 8, 16, 24"):
        Mp3(bitrate_kbps=bitrate_kbps)


@pytest.mark.parametrize("lame_quality", [-1, 10, 2.5, True])
def test_an_effort_that_lame_does_not_know_is_refused(lame_quality):
    with pytest.raises(RecipeError, match=r"lame_quality is .*; it must be a whole number from 0 to 9$"):
        Mp3(lame_quality=lame_quality)


def test_a_sample_rate_of_another_mpeg_version_is_refused(speech, rng):
    with pytest.raises(RecipeError, match="the sound is at 44100 Hz"):
        Mp3()(speech, 44_100, rng)
