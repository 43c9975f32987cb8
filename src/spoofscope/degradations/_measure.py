"""What a condition really did to a recording, measured from the sound before and after."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spoofscope.audio import Audio
from spoofscope.degradations._activity import active_samples, mean_power

MAX_DELAY_S = 0.050
BANDWIDTH_SHARE = 0.99
BLOCK = 8192


class Measured(NamedTuple):
    """Facts about one trial in one condition; nan where a quantity does not exist.

    Attributes
    ----------
    snr_db : float
        Power before over power of (after - before), over the active part of before. Infinite if nothing changed, nan if
        the length changed. Everything counts as noise: a gain or a delay lowers it too.
    bandwidth_hz : float
        Frequency below which 99 % of the energy after lies, once a first difference has balanced the spectrum of speech
        (+6 dB per octave), so that the edge of a channel shows even in a vowel.
    delay_samples : float
        Lag, within 50 ms, at which the first differences of before and after are most alike (largest absolute
        cross-correlation). Positive if the sound comes late; nan if the length changed.
    clipped_fraction : float
        Share of samples after with an absolute value of at least 1.
    gain_db : float
        Mean power after over mean power before.
    length_ratio : float
        Length after over length before.
    """

    snr_db: float
    bandwidth_hz: float
    delay_samples: float
    clipped_fraction: float
    gain_db: float
    length_ratio: float


def measure(before: Audio, after: Audio, sample_rate: int) -> Measured:
    """Measure what happened between `before`, (n,), and `after`, (m,); both at `sample_rate` hertz, n and m > 0."""
    bandwidth_hz, delay_samples = _bandwidth_and_delay(before, after, sample_rate)
    return Measured(
        snr_db=_snr_db(before, after, sample_rate),
        bandwidth_hz=bandwidth_hz,
        delay_samples=delay_samples if len(before) == len(after) else float("nan"),
        clipped_fraction=float(np.count_nonzero(np.abs(after) >= 1) / len(after)),
        gain_db=_ratio_db(_power(after), _power(before)),
        length_ratio=len(after) / len(before),
    )


def _snr_db(before: Audio, after: Audio, sample_rate: int) -> float:
    mask = active_samples(before, sample_rate)
    if len(before) != len(after) or not mask.any():
        return float("nan")
    error = mean_power(after - before, mask)
    return float("inf") if error == 0 else _ratio_db(mean_power(before, mask), error)


def _bandwidth_and_delay(before: Audio, after: Audio, sample_rate: int) -> tuple[float, float]:
    """Sum spectra over blocks, so that the arrays stay small however long the recording is."""
    from scipy import fft

    reach = round(MAX_DELAY_S * sample_rate)
    size = fft.next_fast_len(BLOCK + 2 * reach, real=True)
    energy = np.zeros(size // 2 + 1)
    cross = np.zeros(size // 2 + 1, dtype=np.complex128)
    for start in range(0, len(after), BLOCK):
        late = fft.rfft(_differences(after, start, start + BLOCK), size)
        early = fft.rfft(_differences(before, start - reach, start + BLOCK + reach), size)
        energy += late.real**2 + late.imag**2
        cross += late * early.conj()
    correlation = np.abs(fft.irfft(cross, size))
    by_lag = np.concatenate([correlation[-2 * reach :], correlation[:1]])
    delay = float(np.argmax(by_lag) - reach) if by_lag.max() > 0 else float("nan")
    share = np.cumsum(energy)
    bandwidth = (
        float(np.searchsorted(share, BANDWIDTH_SHARE * share[-1]) * sample_rate / size) if share[-1] > 0 else float("nan")
    )
    return bandwidth, delay


def _differences(audio: Audio, start: int, stop: int) -> Audio:
    """First differences of samples `start` to `stop`, zeros standing beyond the ends of the recording."""
    held = np.zeros(stop - start + 1, dtype=np.float32)
    first, last = max(start - 1, 0), min(stop, len(audio))
    if first < last:
        held[first - start + 1 : last - start + 1] = audio[first:last]
    return np.diff(held)


def _power(audio: Audio) -> float:
    return float(np.dot(audio, audio)) / len(audio)


def _ratio_db(over: float, under: float) -> float:
    return float(10 * np.log10(over / under)) if over > 0 and under > 0 else float("nan")
