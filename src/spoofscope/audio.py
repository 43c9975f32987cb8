"""Read recordings as 16 kHz mono float32, and fit them to the window that a detector hears.

Conventions
-----------
Audio is a one-dimensional float32 array, nominally in [-1, 1]; its sample rate always travels beside it.
Channels are averaged. A recording at another rate is resampled with soxr at its "HQ" setting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spoofscope.errors import AudioError, RecipeError

Audio: TypeAlias = NDArray[np.float32]
Padding: TypeAlias = Literal["repeat", "zero", "none"]

SAMPLE_RATE = 16_000
BASELINE_WINDOW_S = 64_600 / SAMPLE_RATE  # what the baselines of the ASVspoof challenges hear of a recording

# libsndfile's length of a stream whose encoder wrote into a pipe and so never knew it.
UNKNOWN_FRAMES = 2**62
# An MP3's length is an estimate from its bit rate unless its encoder wrote a table; it is right within a few frames.
ESTIMATE_TOLERANCE = 0.05


class AudioInfo(NamedTuple):
    """What a file's header says; nothing is decoded. A stream of unknown length has -1 frames and lasts `nan` seconds."""

    sample_rate: int
    channels: int
    frames: int
    duration_s: float
    encoding: str


def probe_audio(path: str | Path) -> AudioInfo:
    """Read a file's header.

    Raises
    ------
    AudioError
        If there is no such file, or its header is not that of a sound file.
    """
    import soundfile

    file = Path(path)
    if not file.is_file():
        raise AudioError(f"no such file: {path}")
    if file.stat().st_size == 0:
        raise AudioError(f"empty file (0 bytes): {path}")
    try:
        info = soundfile.info(str(file))
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise AudioError(f"not a readable sound file: {path} ({_first_line(error)})") from error
    encoding = f"{info.format}/{info.subtype}"
    if info.frames >= UNKNOWN_FRAMES:
        return AudioInfo(info.samplerate, info.channels, -1, float("nan"), encoding)
    return AudioInfo(info.samplerate, info.channels, info.frames, info.duration, encoding)


def read_audio(path: str | Path, *, sample_rate: int = SAMPLE_RATE, max_duration_s: float | None = None) -> Audio:
    """Decode a whole recording to mono float32 at `sample_rate`.

    Parameters
    ----------
    path : path
        Any format that libsndfile reads: FLAC, WAV, OGG, MP3, AIFF ...
    sample_rate : int
        Rate of the answer, in hertz.
    max_duration_s : float, optional
        Refuse a longer recording before decoding it, so that memory stays bounded.

    Returns
    -------
    (n,) float32 array
        n > 0, every sample finite.

    Raises
    ------
    AudioError
        If the file is missing, empty, truncated, longer than allowed, or holds samples that are not finite.
    """
    import soundfile

    info = probe_audio(path)
    if max_duration_s is not None and info.duration_s > max_duration_s:
        raise _too_long(path, f"{info.duration_s:.0f} s", max_duration_s)
    try:
        if info.frames < 0:
            frames = _read_stream(path, max_duration_s)
        else:
            frames, _ = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"cannot decode {path} ({_first_line(error)}); the file is damaged or truncated") from error
    if len(frames) == 0:
        raise AudioError(f"no samples in {path}")
    promised = info.frames * (1 - ESTIMATE_TOLERANCE) if info.encoding.startswith("MP3") else info.frames
    if len(frames) < promised:
        raise AudioError(f"truncated: {path} holds {len(frames)} of the {info.frames} samples that its header promises")
    _refuse_cut_riff(Path(path))
    mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1)
    if not np.isfinite(mono).all():
        bad = int(np.count_nonzero(~np.isfinite(mono)))
        raise AudioError(f"{bad} of {len(mono)} samples are NaN or infinite in {path}")
    resampled = resample(np.ascontiguousarray(mono), info.sample_rate, sample_rate)
    if len(resampled) == 0:
        raise AudioError(f"{len(mono)} samples at {info.sample_rate} Hz are less than one at {sample_rate} Hz: {path}")
    return resampled


def _read_stream(path: str | Path, max_duration_s: float | None) -> Audio:
    """Decode a stream of unknown length, (n, channels), frame by frame: libsndfile cannot, for it must seek."""
    import av

    blocks: list[Audio] = []
    seconds = 0.0
    try:
        with av.open(str(path)) as container:
            to_float = av.AudioResampler(format="fltp")
            for frame in (out for packed in container.decode(audio=0) for out in to_float.resample(packed)):
                blocks.append(frame.to_ndarray().T)
                seconds += frame.samples / frame.sample_rate
                if max_duration_s is not None and seconds > max_duration_s:
                    raise _too_long(path, f"more than {max_duration_s:g} s", max_duration_s)
    except av.FFmpegError as error:
        raise AudioError(f"cannot decode {path} ({_first_line(error)}); the file is damaged or truncated") from error
    return np.concatenate(blocks) if blocks else np.zeros((0, 1), dtype=np.float32)


def _refuse_cut_riff(path: Path) -> None:
    """Raise `AudioError` for a WAV file shorter than its header says, which libsndfile reads without a word."""
    with path.open("rb") as file:
        head = file.read(8)
    promised = int.from_bytes(head[4:8], "little") + 8
    is_known = head[:4] == b"RIFF" and 8 < promised < 2**31  # a writer into a pipe leaves 0 or a huge number
    if is_known and path.stat().st_size < promised - 1:
        raise AudioError(f"truncated: {path} holds {path.stat().st_size} of the {promised} bytes that its header promises")


def _too_long(path: str | Path, length: str, max_duration_s: float) -> AudioError:
    return AudioError(
        f"{length} long, over the limit of {max_duration_s:g} s: {path}. Cut it, or raise max_duration_s in the recipe."
    )


def resample(audio: Audio, from_rate: int, to_rate: int) -> Audio:
    """Change the sample rate with soxr (HQ); the same rate returns the same array."""
    if from_rate == to_rate:
        return audio
    import soxr

    return np.asarray(soxr.resample(audio, from_rate, to_rate, quality="HQ"), dtype=np.float32)


def fit_length(audio: Audio, length: int, *, padding: Padding = "repeat") -> Audio:
    """Return the first `length` samples, a shorter recording being filled as `padding` says.

    `"repeat"` tiles the recording, as the ASVspoof baselines do; `"zero"` appends silence; `"none"` returns a
    shorter recording as it is. Fitting twice changes nothing.

    Raises
    ------
    AudioError
        If there is nothing to repeat.
    RecipeError
        If `padding` is none of the three.
    """
    if len(audio) >= length:
        return audio[:length]
    if padding == "repeat":
        if len(audio) == 0:
            raise AudioError("an empty recording cannot be repeated to fill a window")
        return np.tile(audio, -(-length // len(audio)))[:length]
    if padding == "zero":
        return np.concatenate([audio, np.zeros(length - len(audio), dtype=audio.dtype)])
    if padding == "none":
        return audio
    raise RecipeError(f"padding is '{padding}'; it must be repeat, zero or none")


def standardised(audio: Audio) -> Audio:
    """Return `(x - mean) / sqrt(variance + 1e-7)`, as the feature extractors of transformers do."""
    heard = np.asarray(audio, dtype=np.float32)
    return np.asarray((heard - heard.mean()) / np.sqrt(heard.var() + np.float32(1e-7)), dtype=np.float32)


def tone(seconds: float, sample_rate: int) -> Audio:
    """Return a quiet tone of 220 Hz, at least one sample long: what a model is tried on before a run rests on it."""
    time_s = np.arange(max(1, round(seconds * sample_rate))) / sample_rate
    return (0.1 * np.sin(2 * np.pi * 220 * time_s)).astype(np.float32)


def same_length(audio: Audio, length: int) -> Audio:
    """Cut or zero-pad to `length`: for filters and codecs that may return a sample more or less."""
    return fit_length(audio, length, padding="zero").astype(np.float32, copy=False)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
