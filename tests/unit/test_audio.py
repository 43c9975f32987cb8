"""Reading recordings: what is read is whole and finite, and what cannot be read says why."""

import struct
import wave

import numpy as np
import pytest
import soundfile

from spoofscope.audio import fit_length, probe_audio, read_audio, resample, same_length
from spoofscope.errors import AudioError, RecipeError

RATE = 16_000


@pytest.fixture
def noise():
    return (0.1 * np.random.default_rng(1).standard_normal(RATE)).astype(np.float32)


def test_a_float_wav_comes_back_bit_for_bit(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, RATE, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav")
    assert audio.dtype == np.float32
    assert audio.shape == (RATE,)
    assert np.array_equal(audio, noise)


def test_the_header_is_read_without_decoding(tmp_path, noise):
    soundfile.write(tmp_path / "a.flac", noise[:8000], 8000)
    assert probe_audio(tmp_path / "a.flac") == (8000, 1, 8000, 1.0, "FLAC/PCM_16")


def test_channels_are_averaged_and_the_rate_converted(tmp_path):
    time = np.arange(44_100) / 44_100
    left, right = np.sin(2 * np.pi * 440 * time), 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 44_100, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav")
    assert audio.shape == (RATE,)
    expected = 0.75 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert np.max(np.abs(audio[500:-500] - expected[500:-500])) < 1e-3


def test_an_8_bit_wav_is_centred_on_zero(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 1, RATE, 0, "NONE", ""))
        file.writeframes(bytes([128, 0, 255, 64]))
    assert read_audio(tmp_path / "a.wav").tolist() == [0.0, -1.0, 127 / 128, -0.5]


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_flac_is_an_error(tmp_path, noise, kept):
    soundfile.write(tmp_path / "a.flac", noise, RATE)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioError, match=r"cut\.flac.*(damaged or truncated|header promises)"):
        read_audio(tmp_path / "cut.flac")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_wav_is_an_error(tmp_path, noise, kept):
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioError, match=r"truncated: .*cut\.wav holds \d+ of the 32044 bytes"):
        read_audio(tmp_path / "cut.wav")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_written_into_a_pipe_is_not_called_truncated(tmp_path, noise, size):
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav")) == RATE


def _without_length(content: bytes) -> bytes:
    """The same FLAC file with the total number of samples 'unknown' (36 bits of STREAMINFO, from byte 21)."""
    changed = bytearray(content)
    changed[21] &= 0xF0
    changed[22:26] = bytes(4)
    return bytes(changed)


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path, noise):
    long = np.tile(noise, 130)
    soundfile.write(tmp_path / "a.flac", long, RATE)
    (tmp_path / "pipe.flac").write_bytes(_without_length((tmp_path / "a.flac").read_bytes()))
    info = probe_audio(tmp_path / "pipe.flac")
    assert info.frames == -1
    assert np.isnan(info.duration_s)
    assert np.array_equal(read_audio(tmp_path / "pipe.flac"), read_audio(tmp_path / "a.flac"))
    with pytest.raises(AudioError, match="over the limit of 90 s"):
        read_audio(tmp_path / "pipe.flac", max_duration_s=90)


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "a.flac").touch()
    with pytest.raises(AudioError, match=r"empty file \(0 bytes\): .*a\.flac"):
        read_audio(tmp_path / "a.flac")


def test_a_wav_of_no_samples_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), RATE)
    with pytest.raises(AudioError, match=r"no samples in .*a\.wav"):
        read_audio(tmp_path / "a.wav")


def test_too_few_samples_for_the_asked_rate_is_an_error_not_an_empty_answer(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1, np.float32), 44_100)
    with pytest.raises(AudioError, match="1 samples at 44100 Hz are less than one at 16000 Hz"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_an_error(tmp_path, noise, bad):
    noise[[3, 77]] = bad
    soundfile.write(tmp_path / "a.wav", noise, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"2 of 16000 samples are NaN or infinite in .*a\.wav"):
        read_audio(tmp_path / "a.wav")


def test_a_two_hour_recording_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 1, 1000, 0, "NONE", ""))
        file.writeframes(bytes(7_200_000))
    monkeypatch.setattr(soundfile, "read", None)
    with pytest.raises(AudioError, match=r"7200 s long, over the limit of 600 s: .*a\.wav.*raise max_duration_s"):
        read_audio(tmp_path / "a.wav", max_duration_s=600)


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(AudioError, match=r"no such file: .*none\.wav"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="no such file"):
        read_audio(tmp_path)


@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.mp3", "a.ogg", "a.raw"])
def test_a_text_file_with_a_sound_files_name_is_an_error(tmp_path, name):
    (tmp_path / name).write_text("this is a text, not a sound\n" * 50)
    with pytest.raises(AudioError, match=f"{name}"):
        read_audio(tmp_path / name)


def test_an_mp3_without_a_table_of_its_length_is_read(tmp_path, noise):
    import av

    with av.open(str(tmp_path / "a.mp3"), "w", format="mp3", options={"write_xing": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono")
        stream.bit_rate = 32_000
        frame = av.AudioFrame.from_ndarray((np.tile(noise, 5)[None] * 32_767).astype(np.int16), format="s16p", layout="mono")
        frame.rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    assert abs(len(read_audio(tmp_path / "a.mp3")) - 5 * RATE) < 0.03 * 5 * RATE


def test_resampling_keeps_a_tone_and_the_same_rate_keeps_the_array(noise):
    assert resample(noise, RATE, RATE) is noise
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000).astype(np.float32)
    up = resample(tone, 8000, RATE)
    assert up.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(up * np.hanning(len(up))))
    assert np.argmax(spectrum) == round(1000 / RATE * len(up))


def test_a_longer_recording_is_cut_and_a_shorter_one_repeated():
    audio = np.arange(1, 4, dtype=np.float32)
    assert fit_length(audio, 2).tolist() == [1, 2]
    assert fit_length(audio, 3) is audio or fit_length(audio, 3).tolist() == [1, 2, 3]
    assert fit_length(audio, 8).tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    assert fit_length(audio, 5, padding="zero").tolist() == [1, 2, 3, 0, 0]
    assert fit_length(audio, 5, padding="none").tolist() == [1, 2, 3]
    assert same_length(audio, 4).tolist() == [1, 2, 3, 0]


def test_the_challenges_window_is_filled_by_repetition_as_its_baselines_do():
    audio = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    baseline = np.tile(audio, (1, int(64_600 / len(audio)) + 1))[:, :64_600][0]
    assert np.array_equal(fit_length(audio, 64_600), baseline)


def test_nothing_cannot_be_repeated():
    with pytest.raises(AudioError, match="empty recording"):
        fit_length(np.zeros(0, np.float32), 10)
    with pytest.raises(RecipeError, match="padding is 'mirror'; it must be repeat, zero or none"):
        fit_length(np.zeros(1, np.float32), 10, padding="mirror")
