"""Linear prediction: keep the all-pole filter and give it another excitation.

References
----------
J. Makhoul, "Linear prediction: a tutorial review", Proc. IEEE 63(4), 1975.
T. E. Tremain, "The government standard linear predictive coding algorithm: LPC-10", Speech Technology 1(2), 1982.
"""

from __future__ import annotations

import numpy as np

from spoofscope.audio import SAMPLE_RATE
from spoofscope.corpora.builtin.analysis import HOP, Analysis, Signal, lpc

ORDER = 18
SIZE = 480
STEP = 2 * HOP


def pulse_excited(speech: Analysis, rng: np.random.Generator) -> Signal:
    """Excite the filter by one pulse per period where voiced and by noise elsewhere, as LPC-10 does."""
    polynomials, gains = lpc(speech.audio, order=ORDER, size=SIZE, hop=STEP)
    n = len(speech)
    f0 = speech.f0_hz[np.minimum(np.arange(n) // HOP, len(speech.f0_hz) - 1)]
    excitation = np.where(f0 > 0, 0.0, rng.standard_normal(n))
    turns = np.cumsum(f0 / SAMPLE_RATE)
    marks = np.flatnonzero(np.diff(np.floor(turns)) > 0) + 1
    excitation[marks] = np.sqrt(SAMPLE_RATE / np.maximum(f0[marks], 50.0))
    return _all_pole(excitation * _held(gains, n), polynomials)


def residual_swapped(speech: Analysis, rng: np.random.Generator) -> Signal:
    """Excite the filter by the utterance's own residual, taken from another place of the same kind.

    Blocks of 60 ms change places within the voiced and within the unvoiced part; each keeps the loudness of the
    place that it comes to.
    """
    polynomials, gains = lpc(speech.audio, order=ORDER, size=SIZE, hop=STEP)
    n = len(speech)
    block = 12 * HOP
    count = n // block
    residual = _inverse(speech.audio, polynomials) / _held(gains, n)
    voiced = (speech.f0_hz > 0)[np.minimum(np.arange(count) * 12 + 6, len(speech.f0_hz) - 1)]
    order = np.arange(count)
    for kind in (voiced, ~voiced):
        order[kind] = rng.permutation(order[kind])
    swapped = residual.copy()
    swapped[: count * block] = residual[: count * block].reshape(count, block)[order].reshape(-1)
    return _all_pole(swapped * _held(gains, n), polynomials)


def _held(values: Signal, n: int) -> Signal:
    return np.interp(np.arange(n) / STEP, np.arange(len(values)), values)


def _inverse(audio: Signal, polynomials: Signal) -> Signal:
    from scipy.signal import lfilter

    out = np.empty(len(audio))
    padded = np.pad(audio.astype(np.float64), (ORDER, 0))
    for start in range(0, len(audio), STEP):
        piece = padded[start : start + ORDER + STEP]
        out[start : start + STEP] = lfilter(polynomials[start // STEP], [1.0], piece)[ORDER:]
    return out


def _all_pole(excitation: Signal, polynomials: Signal) -> Signal:
    from scipy.signal import lfilter, lfiltic

    out = np.zeros(len(excitation) + ORDER)
    for start in range(0, len(excitation), STEP):
        polynomial = polynomials[start // STEP]
        past = out[start : start + ORDER][::-1]
        piece, _ = lfilter([1.0], polynomial, excitation[start : start + STEP], zi=lfiltic([1.0], polynomial, past))
        out[ORDER + start : ORDER + start + len(piece)] = piece
    return out[ORDER:]
