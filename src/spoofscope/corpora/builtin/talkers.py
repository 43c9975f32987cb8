"""Synthetic talkers: a glottal source, a moving vocal tract, a room and a microphone, all drawn at random.

References
----------
D. H. Klatt, L. C. Klatt, "Analysis, synthesis, and perception of voice quality variations among female and male
talkers", J. Acoust. Soc. Am. 87(2), 1990 (the pulse and the aspiration noise). D. H. Klatt, "Software for a
cascade/parallel formant synthesizer", J. Acoust. Soc. Am. 67(3), 1980 (the resonators). G. E. Peterson, H. L. Barney,
"Control methods used in a study of the vowels", J. Acoust. Soc. Am. 24(2), 1952 (the range of the vowel targets).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spoofscope.audio import SAMPLE_RATE, Audio
from spoofscope.corpora.builtin.analysis import Signal

OVERSAMPLING = 4
STEP = 40
"""Samples (2.5 ms) per value of a track."""

STILL = 4
"""Steps for which the vocal tract stands still."""

VOWELS_HZ = np.array(
    [
        [280, 2250, 2890], [390, 1990, 2550], [530, 1840, 2480], [660, 1720, 2410], [730, 1090, 2440], [570, 840, 2410],
        [440, 1020, 2240], [310, 870, 2250], [640, 1190, 2390], [490, 1350, 1690], [500, 1500, 2500], [300, 1700, 2150],
    ]
)  # fmt: skip
"""First three formants of twelve vowels of an average male tract."""

LOCI_HZ = np.array([[250, 900, 2200], [250, 1750, 2650], [250, 2100, 2400], [300, 1300, 1700], [350, 1150, 2500]])
"""Where formants come from and go to at a consonant: lips, teeth ridge, palate, r-like, l-like."""

FRICATIVES_HZ = np.array([[5800, 2200], [3400, 1600], [6400, 4200], [4600, 5000], [2100, 1800]])
"""Centre and bandwidth of the frication noise: s, sh, f, th, x."""


@dataclass(frozen=True, kw_only=True)
class Talker:
    """What stays the same between the utterances of one talker.

    Parameters
    ----------
    f0_hz, f0_range : float
        Mean fundamental, and the spread of its natural logarithm.
    tract : float
        Formant frequencies relative to an average male tract (above 1: shorter).
    open_quotient, tilt, breathiness : float
        Voice quality: share of a period with open glottis, pole of the spectral tilt (below 0: bright), level of the aspiration noise.
    jitter, shimmer : float
        Relative deviation of period and amplitude from one glottal cycle to the next.
    syllables_per_s : float
        Speaking rate.
    room_s : float
        Reverberation time.
    microphone_db : tuple of float
        Gain of the microphone at 0, 1, 2, 4, 6 and 8 kHz.
    """

    f0_hz: float
    f0_range: float
    tract: float
    open_quotient: float
    tilt: float
    breathiness: float
    jitter: float
    shimmer: float
    syllables_per_s: float
    room_s: float
    microphone_db: tuple[float, ...]


class _Score(NamedTuple):
    """An utterance as tracks with one value per step of `STEP` samples."""

    formants_hz: Signal
    voicing: Signal
    aspiration: Signal
    f0_hz: Signal
    frications: list[tuple[int, int, int, float]]


def draw_talker(rng: np.random.Generator) -> Talker:
    """Draw a talker."""
    high = rng.random() < 0.5
    return Talker(
        f0_hz=rng.uniform(165, 235) if high else rng.uniform(88, 145),
        f0_range=rng.uniform(0.07, 0.17),
        tract=rng.uniform(1.08, 1.22) if high else rng.uniform(0.92, 1.06),
        open_quotient=rng.uniform(0.45, 0.75),
        tilt=rng.uniform(-0.6, 0.1),
        breathiness=float(np.exp(rng.uniform(np.log(0.01), np.log(0.08)))),
        jitter=rng.uniform(0.003, 0.012),
        shimmer=rng.uniform(0.02, 0.07),
        syllables_per_s=rng.uniform(3.6, 5.4),
        room_s=rng.uniform(0.08, 0.35),
        microphone_db=tuple(rng.normal(0, 2.5, size=6)),
    )


def speak(talker: Talker, duration_s: float, rng: np.random.Generator) -> Audio:
    """Make one utterance.

    Parameters
    ----------
    talker : Talker
        Who speaks.
    duration_s : float
        Length of the recording in seconds; speech fills it but for pauses and a short silence at both ends.
    rng : numpy.random.Generator
        What is said, with which melody, where in the room, before which background.

    Returns
    -------
    (n,) float32 array
        16 kHz, root mean square near 0.05.
    """
    steps = int(duration_s * SAMPLE_RATE) // STEP
    score = _compose(talker, steps, rng)
    voiced, opening = _voice(talker, score, rng)
    excitation = voiced + rng.standard_normal(len(voiced)) * _stretch(score.aspiration, len(voiced)) * (0.3 + opening)
    speech = _tract(talker, score.formants_hz, excitation, rng)
    speech = _evened(speech)
    recorded = _record(talker, speech + _frication(score, len(speech), rng), rng)
    level: Audio = (0.05 * recorded / np.sqrt(np.mean(recorded**2))).astype(np.float32)
    return level


def _compose(talker: Talker, steps: int, rng: np.random.Generator) -> _Score:
    """Draw syllables, pauses and melody until the time is filled."""
    neutral = np.array([500.0, 1500.0, 2500.0])
    formants = np.tile(neutral, (steps, 1))
    voicing, aspiration, accents = np.zeros(steps), np.zeros(steps), np.zeros(steps)
    frications: list[tuple[int, int, int, float]] = []
    at, phrase, phrase_starts = int(rng.uniform(8, 30)), int(rng.integers(5, 10)), []
    rate = 400 / (talker.syllables_per_s * rng.uniform(0.9, 1.1))
    phrase_starts.append(at)
    while at < steps - 30:
        consonant = int(rng.integers(0, 4))
        length = max(14, int(rng.normal(0.28, 0.06) * rate))
        onset = min(at + length, steps)
        locus = LOCI_HZ[rng.integers(len(LOCI_HZ))]
        formants[at:onset] = locus
        if consonant == 0:
            frications.append((at, onset, int(rng.integers(len(FRICATIVES_HZ))), rng.uniform(0.15, 0.7)))
        elif consonant == 1:
            burst = max(at, onset - int(rng.integers(6, 22)))
            frications.append((burst, min(burst + 5, steps), int(rng.integers(len(FRICATIVES_HZ))), rng.uniform(0.4, 1.2)))
            aspiration[burst:onset] = rng.uniform(0.02, 0.12)
        else:
            voicing[at:onset] = rng.uniform(0.25, 0.6)
            if consonant == 3:
                frications.append((at, onset, int(rng.integers(len(FRICATIVES_HZ))), rng.uniform(0.05, 0.2)))
        end = min(onset + max(20, int(rng.normal(0.75, 0.2) * rate)), steps - 10)
        stress = rng.uniform(0.5, 1.0)
        first, second = VOWELS_HZ[rng.integers(len(VOWELS_HZ), size=2)]
        glide = np.linspace(0, 1 if rng.random() < 0.3 else 0.15, max(end - onset, 1))[:, None]
        formants[onset:end] = (first + glide * (second - first))[: max(end - onset, 0)]
        voicing[onset:end] = stress
        accents[onset:end] = (stress - 0.7) * rng.uniform(0.2, 1.2)
        at, phrase = end, phrase - 1
        if phrase == 0:
            at, phrase = at + int(rng.uniform(30, 110)), int(rng.integers(4, 10))
            phrase_starts.append(at)
    smooth = _smoothed(formants, 9) * talker.tract
    return _Score(
        smooth * np.exp(_wander(rng, steps, 60, 0.02))[:, None],
        _smoothed(voicing[:, None], 6)[:, 0],
        _smoothed(aspiration[:, None], 3)[:, 0],
        _melody(talker, accents, phrase_starts, rng),
        frications,
    )


def _melody(talker: Talker, accents: Signal, phrase_starts: list[int], rng: np.random.Generator) -> Signal:
    """Declination within each phrase, accents, slow wander and a tremor of some hertz."""
    steps = len(accents)
    bounds = [*(start for start in phrase_starts if start < steps), steps]
    decline = np.zeros(steps)
    for start, end in itertools.pairwise(bounds):
        decline[start:end] = np.linspace(rng.uniform(0.6, 1.4), rng.uniform(-1.4, -0.4), end - start)
    time_s = np.arange(steps) * STEP / SAMPLE_RATE
    tremor = 0.006 * np.sin(2 * np.pi * rng.uniform(3.5, 6.5) * time_s + rng.uniform(0, 2 * np.pi))
    shape = _smoothed((decline + 2.0 * accents)[:, None], 18)[:, 0]
    f0_hz: Signal = talker.f0_hz * np.exp(talker.f0_range * shape + _wander(rng, steps, 40, 0.02) + tremor)
    return f0_hz


def _voice(talker: Talker, score: _Score, rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Klatt's glottal pulse with jitter, shimmer and tilt, and how far the glottis is open at each sample."""
    from scipy.signal import lfilter, resample_poly

    n = len(score.voicing) * STEP
    f0 = _stretch(score.f0_hz, n * OVERSAMPLING) / (SAMPLE_RATE * OVERSAMPLING)
    cycles = np.floor(np.cumsum(f0)).astype(np.int64)
    count = int(cycles[-1]) + 2
    phase = np.cumsum(f0 * (1 + talker.jitter * rng.standard_normal(count))[cycles])
    cycle = np.minimum(np.floor(phase).astype(np.int64), count - 1)
    phase -= np.floor(phase)
    quotient = np.clip(talker.open_quotient * (1 + 0.05 * rng.standard_normal(count)), 0.3, 0.9)[cycle]
    gain = (1 + talker.shimmer * rng.standard_normal(count))[cycle]
    position = phase / quotient
    is_open = position < 1
    flow = np.where(is_open, 2 * position - 3 * position**2, 0.0) * gain
    pulses = resample_poly(flow, 1, OVERSAMPLING)
    opening = np.where(is_open, 6.75 * position**2 * (1 - position), 0.0)[::OVERSAMPLING]
    loudness = _stretch(score.voicing, n)
    breath = talker.breathiness * opening * rng.standard_normal(n)
    voiced: Signal = lfilter([1 - talker.tilt], [1, -talker.tilt], (pulses + breath) * loudness)
    return voiced, opening * np.minimum(loudness * 3, 1)


def _tract(talker: Talker, formants_hz: Signal, excitation: Signal, rng: np.random.Generator) -> Signal:
    """Cascade of resonators whose frequencies move every `STILL` steps, state carried over."""
    from scipy.signal import sosfilt

    formants_hz = formants_hz[::STILL]
    steps, still = len(formants_hz), STEP * STILL
    upper = np.array([3500.0, 4500.0, 5600.0, 6700.0]) * talker.tract * rng.uniform(0.98, 1.02, size=4)
    upper = upper[upper < 7500]
    centres = np.hstack([formants_hz, np.tile(upper, (steps, 1))])
    widths = 45 + 0.045 * centres + 12 * rng.random(centres.shape[1])
    radius = np.exp(-np.pi * widths / SAMPLE_RATE)
    sections = np.zeros((steps, centres.shape[1], 6))
    sections[..., 3] = 1
    sections[..., 4] = -2 * radius * np.cos(2 * np.pi * np.minimum(centres, 7700) / SAMPLE_RATE)
    sections[..., 5] = radius**2
    sections[..., 0] = sections[..., 3:].sum(axis=-1)
    state = np.zeros((centres.shape[1], 2))
    out = np.empty_like(excitation)
    for step in range(steps):
        block = slice(step * still, (step + 1) * still)
        if step:
            state = _carried(state, sections[step - 1], sections[step])
        out[block], state = sosfilt(sections[step], excitation[block], zi=state)
    return out


def _carried(state: Signal, before: Signal, after: Signal) -> Signal:
    """State of `after` that remembers the same last two samples of each resonator as `state` did: no click."""
    last = -state[:, 1] / before[:, 5]
    last_but_one = -(state[:, 0] + before[:, 4] * last) / before[:, 5]
    return np.stack([-after[:, 4] * last - after[:, 5] * last_but_one, -after[:, 5] * last], axis=1)


def _evened(speech: Signal) -> Signal:
    """Halve the differences in level between syllables, as talkers do, and set the root mean square to one."""
    loudness = np.sqrt(_smoothed(speech.reshape(-1, STEP) ** 2, 30).mean(axis=1))
    evened: Signal = speech / np.sqrt(_stretch(loudness, len(speech)) + 0.1 * loudness.max())
    evened /= np.sqrt(np.mean(evened**2)) + 1e-12
    return evened


def _frication(score: _Score, n: int, rng: np.random.Generator) -> Signal:
    """Band-shaped noise for the fricatives and the bursts of plosives."""
    from scipy.signal import lfilter

    out = np.zeros(n)
    for start, end, kind, level in score.frications:
        length = (end - start) * STEP
        if length < 3 * STEP:
            continue
        centre, width = FRICATIVES_HZ[kind] * rng.uniform(0.93, 1.07, size=2)
        radius = np.exp(-np.pi * width / SAMPLE_RATE)
        noise = lfilter(
            [1, -0.7],
            [1, -2 * radius * np.cos(2 * np.pi * min(centre, 7600) / SAMPLE_RATE), radius**2],
            rng.standard_normal(length),
        )
        edge = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / min(240, length // 2))
        out[start * STEP : start * STEP + length] += level * noise / noise.std() * edge
    return out


def _record(talker: Talker, speech: Signal, rng: np.random.Generator) -> Signal:
    """Room, microphone and a quiet background."""
    from scipy.signal import fftconvolve, firwin2

    length = int(talker.room_s * SAMPLE_RATE)
    decay = np.exp(-6.9 * np.arange(length) / length)
    response = rng.standard_normal(length) * decay * rng.uniform(0.01, 0.04)
    response[0] = 1.0
    for _ in range(4):
        response[rng.integers(16, min(640, length))] += rng.uniform(-0.3, 0.3)
    gains = 10 ** (np.array(talker.microphone_db) / 20)
    microphone = firwin2(129, [0, 1000, 2000, 4000, 6000, 8000], gains, fs=SAMPLE_RATE)
    heard = fftconvolve(speech, np.convolve(response, microphone))[64 : 64 + len(speech)]
    background = np.cumsum(rng.standard_normal(len(heard)) * 0.05) % 1.0 - 0.5 + rng.standard_normal(len(heard))
    snr_db = rng.uniform(38, 55)
    background *= np.sqrt(np.mean(heard**2) / np.mean(background**2)) * 10 ** (-snr_db / 20)
    mixed: Signal = heard + background
    return mixed


def _smoothed(tracks: Signal, width: float) -> Signal:
    from scipy.ndimage import gaussian_filter1d

    smooth: Signal = gaussian_filter1d(tracks, width / 2, axis=0, mode="nearest")
    return smooth


def _wander(rng: np.random.Generator, steps: int, width: float, deviation: float) -> Signal:
    """Slow random walk around zero with the given standard deviation."""
    track = _smoothed(rng.standard_normal((steps, 1)), width)[:, 0]
    wander: Signal = deviation * track / (track.std() + 1e-12)
    return wander


def _stretch(track: Signal, n: int) -> Signal:
    """Interpolate one value per step to `n` samples."""
    stretched: Signal = np.interp(np.arange(n) * (len(track) / n), np.arange(len(track)), track)
    return stretched
