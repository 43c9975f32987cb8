"""MP3 in process against the ffmpeg program, on real speech where it is at hand."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from spoofscope.degradations.mp3 import Mp3
from tests.shared import SHARED

RATE = 16_000

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program to compare with")


def speech():
    """Two seconds of LibriSpeech, or of gated harmonics where the shared audio is absent."""
    found = sorted((SHARED / "audio" / "librispeech").rglob("*.flac"))
    if found:
        return soundfile.read(found[0], dtype="float32")[0][: 2 * RATE]
    time = np.arange(2 * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * time + k * k) / k for k in range(1, 40))
    return (0.1 * voice * (np.sin(2 * np.pi * 2 * time) > 0)).astype(np.float32)


def two_processes(audio, folder, options):
    """WAV to MP3 to WAV, as the program does it; its own header tells it what delay to remove."""
    soundfile.write(folder / "in.wav", audio, RATE, subtype="FLOAT")
    quiet = ["ffmpeg", "-y", "-loglevel", "error", "-i"]
    subprocess.run([*quiet, folder / "in.wav", *options, folder / "coded.mp3"], check=True)
    subprocess.run([*quiet, folder / "coded.mp3", "-c:a", "pcm_f32le", folder / "out.wav"], check=True)
    decoded, rate = soundfile.read(folder / "out.wav", dtype="float32")
    assert rate == RATE
    return decoded


@needs_ffmpeg
@pytest.mark.parametrize("bitrate_kbps", [8, 16, 32, 64, 128])
@pytest.mark.parametrize(("lame_quality", "options"), [(3, []), (7, ["-compression_level", "7"])])
def test_the_round_trip_is_that_of_the_ffmpeg_program(tmp_path, bitrate_kbps, lame_quality, options):
    audio = speech()
    expected = two_processes(audio, tmp_path, ["-b:a", f"{bitrate_kbps}k", *options])
    heard = Mp3(bitrate_kbps=bitrate_kbps, lame_quality=lame_quality)(audio, RATE, np.random.default_rng(0))
    assert len(expected) == len(heard)
    assert np.linalg.norm(heard - expected) <= 1e-3 * np.linalg.norm(expected)
