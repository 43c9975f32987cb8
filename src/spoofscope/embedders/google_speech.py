"""Google's speech embedding, a small convolutional network trained to tell thousands of keywords apart; it runs on any CPU.

Conventions
-----------
Two ONNX files, as openWakeWord publishes them: a mel spectrogram (512-point frames every 160 samples, 32 bands, in decibels) and
the embedding of 76 of its frames (0.78 s) in 96 numbers. Samples are scaled to those of a 16-bit file, the spectrogram is mapped
by mel / 10 + 2, and windows start every 8 frames (80 ms).

References
----------
J. Lin, K. Kilgour, D. Roblek, M. Sharifi: Training Keyword Spotters with Limited and Synthesized Speech Data. arXiv:2002.01322.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio, fit_length
from spoofscope.cards import WeightsFile
from spoofscope.embedders import Card, embedder
from spoofscope.embedders._pool import checked_pool, moments_of, pooled_dim, vector
from spoofscope.fetch import Source, verify, weights_path
from spoofscope.networks.onnx import open_session, run
from spoofscope.networks.workers import available_threads

RELEASE = "https://github.com/dscripka/openWakeWord/releases/download/v0.5.1"
NAME = "google_speech_embedding"
MELSPECTROGRAM = WeightsFile(
    name=NAME,
    weights_url=f"{RELEASE}/melspectrogram.onnx",
    weights_sha256="ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f",
    weights_file="google_speech_melspectrogram.onnx",
)
SCALE = np.float32(32_767)
FRAME, HOP = 512, 160
WINDOW_FRAMES, STEP_FRAMES, BANDS, DIM = 76, 8, 32, 96
WINDOW = FRAME + (WINDOW_FRAMES - 1) * HOP
# Bounds memory; a window's vector does not depend on how many are computed at once.
MOST_WINDOWS = 64


@embedder(
    Card(
        name=NAME,
        licence="Apache-2.0",
        output="96 numbers for each 0.78 s window, every 80 ms, pooled over the windows",
        trained_on=("youtube_keywords",),
        paper="Lin et al., Training Keyword Spotters with Limited and Synthesized Speech Data, arXiv:2002.01322",
        weights_url=f"{RELEASE}/embedding_model.onnx",
        weights_sha256="70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f",
        weights_file=f"{NAME}.onnx",
        parts=(MELSPECTROGRAM,),
        note="The mel model floors its decibels 80 below the loudest of the recording, so a vector depends a little on all of it.",
    )
)
class GoogleSpeechEmbedding:
    """Google's speech embedding, pooled over the windows of a recording; one shorter than a window is repeated up to it.

    Parameters
    ----------
    pool : {"mean", "mean_std"}
        Mean over the windows, 96 numbers, or mean followed by population standard deviation, 192.
    weights : path, optional
        The embedding model; looked up in `SPOOFSCOPE_WEIGHTS` and the user's cache unless given.
    melspectrogram : path, optional
        The mel model; looked up likewise.

    Raises
    ------
    MissingExtra
        If ONNX Runtime is not installed.
    UserError
        If `pool` is neither word.
    WeightsError
        If a file is absent, or not the published one.
    """

    card: Card
    layers = ("embedding",)

    def __init__(
        self, *, pool: str = "mean", weights: str | Path | None = None, melspectrogram: str | Path | None = None
    ) -> None:
        self._pool = checked_pool(pool)
        self.dim = pooled_dim(DIM, self._pool)
        self.settings: Mapping[str, Any] = {"pool": self._pool}
        self._mel = _open(MELSPECTROGRAM, melspectrogram)
        self._embedding = _open(self.card, weights)
        self._threads = ThreadPoolExecutor(available_threads(), thread_name_prefix="spoofscope-onnx")

    def embed(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Return the vector of each recording, (n, 1, dim) float32, the same to the last bit whatever the batch."""
        vectors = np.empty((len(batch), 1, self.dim), dtype=np.float32)
        for place, found in enumerate(self._threads.map(self._vector, batch)):
            vectors[place, 0] = found
        return vectors

    def windows(self, audio: Audio) -> NDArray[np.float32]:
        """Return the embedding of each window of one recording, (windows, 96): the first is centred 0.39 s into it."""
        heard = fit_length(np.asarray(audio, dtype=np.float32), max(len(audio), WINDOW))
        mel = run(self._mel, "output", {"input": heard[None] * SCALE}).reshape(-1, BANDS) / 10 + 2
        frames = np.lib.stride_tricks.sliding_window_view(mel, WINDOW_FRAMES, axis=0)[::STEP_FRAMES].swapaxes(1, 2)[..., None]
        found = [
            run(self._embedding, "conv2d_19", {"input_1": np.ascontiguousarray(frames[start : start + MOST_WINDOWS])})
            for start in range(0, len(frames), MOST_WINDOWS)
        ]
        return np.concatenate(found).reshape(-1, DIM)

    def _vector(self, audio: Audio) -> NDArray[np.float32]:
        return vector(moments_of(self.windows(audio)), self._pool)


def _open(source: Source, given: str | Path | None) -> Any:
    path = weights_path(source, weights=given)
    verify(path, source)
    return open_session(path, name=source.name)
