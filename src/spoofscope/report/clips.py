"""The clips that fail worst: chosen from worst.csv, set into the page with their spectrogram."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, read_audio
from spoofscope.errors import AudioError, RunFolderError
from spoofscope.report.folder import NEXT_STEP, Row, RunFolder

CLIPS_PER_DETECTOR = 6
CLIPS_PER_PAGE = 18
AUDIO_BUDGET_BYTES = 2_400_000
WINDOW, HOP = 512, 128
RANGE_DB = 70.0
PICTURE_PX = (480, 150)


@dataclass(frozen=True)
class Clip:
    """One recording as the detector heard it.

    Parameters
    ----------
    row : Row
        Of worst.csv.
    seconds : float
        Its length.
    audio : str
        A data URI; or a path relative to the page where the page would become too large.
    picture : str
        A data URI of its spectrogram.
    is_inside : bool
        Whether the sound travels inside the page.
    """

    row: Row
    seconds: float
    audio: str
    picture: str
    is_inside: bool


def clips_of(folder: RunFolder) -> dict[str, list[Clip]]:
    """Return the clips to show of each detector: the worst of every condition first, no trial twice.

    Raises
    ------
    RunFolderError
        If worst.csv names a clip that is not in the run folder or cannot be read.
    """
    each = max(2, min(CLIPS_PER_DETECTOR, CLIPS_PER_PAGE // len(folder.detectors)))
    budget = AUDIO_BUDGET_BYTES
    answer: dict[str, list[Clip]] = {}
    for detector in folder.detectors:
        for row in choose(folder.rows("worst", detector=detector), each):
            file = _file_of(folder, row)
            size = file.stat().st_size
            answer.setdefault(detector, []).append(_clip(row, file, is_inside=size <= budget))
            budget -= size if size <= budget else 0
    return answer


def choose(rows: Sequence[Row], many: int) -> list[Row]:
    """Return up to `many` rows with a clip, by rank and then in the order of the table, each trial once."""
    chosen: dict[str, Row] = {}
    for row in sorted((row for row in rows if row["clip"]), key=lambda row: row["rank"]):
        chosen.setdefault(row["trial_id"], row)
    return list(chosen.values())[:many]


def _file_of(folder: RunFolder, row: Row) -> Path:
    file: Path = (folder.path / row["clip"]).resolve()
    where = f"{folder.path / 'tables' / 'worst.csv'}: row {row.number}"
    if not file.is_relative_to(folder.path.resolve()):
        raise RunFolderError(f"{where}: the clip '{row['clip']}' lies outside the run folder")
    if not file.is_file():
        raise RunFolderError(f"{where}: there is no clip {file}. {NEXT_STEP}")
    return file


def _clip(row: Row, file: Path, *, is_inside: bool) -> Clip:
    try:
        audio = read_audio(file)
    except AudioError as error:
        raise RunFolderError(f"the clip of row {row.number} of worst.csv cannot be read: {error}") from error
    sound = data_uri("audio/flac", file.read_bytes()) if is_inside else f"../{row['clip']}"
    return Clip(row, len(audio) / SAMPLE_RATE, sound, picture_of(audio), is_inside)


def sound_of(audio: Audio) -> str:
    """Return a recording at 16 kHz as a FLAC file that a page can carry: a data URI."""
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, audio, SAMPLE_RATE, format="FLAC")
    return data_uri("audio/flac", stream.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def spectrogram_db(audio: Audio) -> NDArray[np.float64]:
    """Return (frequencies, frames) levels in dB below the loudest, high frequencies first, cut off at `RANGE_DB`."""
    padded = np.pad(audio, (0, max(0, WINDOW - len(audio))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    level = 10 * np.log10(power + 1e-12)
    return np.asarray(np.clip(level - level.max(), -RANGE_DB, 0).T[::-1])


def picture_of(audio: Audio) -> str:
    """Return the spectrogram of a recording as a picture that a page can carry: a data URI."""
    import matplotlib
    from PIL import Image

    shades = matplotlib.colormaps["magma"](spectrogram_db(audio) / RANGE_DB + 1.0, bytes=True)[..., :3]
    image = Image.fromarray(np.ascontiguousarray(shades)).resize(PICTURE_PX, Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=72)
    return data_uri("image/jpeg", stream.getvalue())
