"""Check that a degradation keeps the contract and does what its settings promise, on synthetic sound."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio
from spoofscope.checks import Finding
from spoofscope.degradations import Degradation, settings_of
from spoofscope.degradations._measure import Measured, measure
from spoofscope.errors import DataError, UserError

SOUND_S = 3.0
LONG_S = 60.0
SHORT = (1, 2, 3, 100)
LEAST_CHANGE_DB = -60.0
ALIKE = 0.9
SNR_TOLERANCE_DB = 0.5
GAIN_TOLERANCE_DB = 0.1
CAUSAL_DELAY_S = 0.002
PASSED_DB = 3.0
STOPPED_DB = 5.0
LEAST_STOPPED_DB = 0.1


def check_degradation(degradation: Degradation, *, sample_rate: int = SAMPLE_RATE, seed: int = 0) -> list[Finding]:
    """Degrade sound that resembles speech, noise and silence, and measure what happened.

    A setting called `snr_db` or `gain_db` is a promise that is measured. So are two optional attributes: `passband_hz`, a
    pair of frequencies between which the sound passes, and `causal`, which allows a filter to delay the sound by 2 ms where
    everything else must not delay it at all.

    Parameters
    ----------
    degradation : Degradation
        With the settings to be checked; the defaults of its class stand for a name alone.
    sample_rate : int
        In hertz.
    seed : int
        Of the synthetic sound and of the degradation's own randomness.

    Returns
    -------
    list of Finding
        One per clause. If the first call fails there is nothing to measure, and its finding stands alone.
    """
    sound = _speech_like(sample_rate, seed)
    kept = sound.copy()
    heard, problem = _degraded(degradation, sound, sample_rate, seed)
    shape = Finding("finite float32, of the promised length", not problem, problem or f"{len(sound)} -> {len(heard)} samples")
    if problem:
        return [shape]
    measured = measure(kept, heard, sample_rate)
    return [
        shape,
        _untouched(sound, kept),
        _settings(degradation),
        _changes_something(kept, heard),
        _repeats(degradation, sound, heard, sample_rate, seed),
        _own_randomness(degradation, sound, heard, sample_rate, seed),
        *_kept_promises(degradation, kept, heard, measured, sample_rate),
        *_passband(degradation, sample_rate, seed),
        *_lengths(degradation, sound, sample_rate, seed),
        _silence(degradation, sample_rate, seed),
    ]


def _speech_like(sample_rate: int, seed: int) -> Audio:
    """Syllables of harmonics and of hiss that fill the whole band, between two near-silent ends."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(SOUND_S * sample_rate)) / sample_rate
    pitch_hz = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 1) * time))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 30))
    hiss = rng.standard_normal(len(time))
    syllable = np.sin(2 * np.pi * rng.uniform(1.5, 3) * time)
    speaks = (time > 0.4) & (time < SOUND_S - 0.4)
    sound = speaks * (0.08 * voice * np.maximum(syllable, 0) + 0.05 * hiss * np.maximum(-syllable, 0))
    return np.asarray(sound + 1e-4 * rng.standard_normal(len(time)), dtype=np.float32)


def _degraded(degradation: Degradation, audio: Audio, sample_rate: int, seed: int) -> tuple[Audio, str]:
    """Return what came out, and what is wrong with it ('' if nothing is)."""
    nothing = np.zeros(0, dtype=np.float32)
    try:
        heard = degradation(audio, sample_rate, np.random.default_rng(seed))
    except Exception as error:  # a plug-in's edge: anything may come out of it
        expected = isinstance(error, DataError | UserError)
        return nothing, f"raised {error}" if expected else f"raised {type(error).__name__}: {error}"
    if not isinstance(heard, np.ndarray) or heard.dtype != np.float32 or heard.ndim != 1:
        kind = f"{heard.dtype} {heard.shape}" if isinstance(heard, np.ndarray) else type(heard).__name__
        return nothing, f"answered {kind}; it must be a float32 array (n,)"
    if len(heard) == 0 or (degradation.keeps_length and len(heard) != len(audio)):
        return nothing, f"answered {len(heard)} samples for {len(audio)}; declare keeps_length=False if that is meant"
    if not np.isfinite(heard).all():
        return nothing, f"{np.count_nonzero(~np.isfinite(heard))} of {len(heard)} samples are NaN or infinite"
    return heard, ""


def _untouched(sound: Audio, kept: Audio) -> Finding:
    same = np.array_equal(sound, kept)
    return Finding("input untouched", same, "bit for bit" if same else "the audio that was given was written into")


def _settings(degradation: Degradation) -> Finding:
    name = "settings are frozen, labelled, and fit for the key"
    try:
        text = json.dumps(settings_of(degradation), sort_keys=True)
        hash(degradation)
    except (TypeError, ValueError) as error:
        return Finding(name, False, f"{error}; use a frozen dataclass of numbers and words")
    return Finding(name, bool(degradation.label), f"{degradation.label}: {text}")


def _changes_something(before: Audio, after: Audio) -> Finding:
    name = "not a no-op"
    if len(before) != len(after):
        return Finding(name, True, f"{len(before)} -> {len(after)} samples")
    difference = after.astype(np.float64) - before
    change = np.dot(difference, difference) / np.dot(before, before)
    change_db = 10 * math.log10(change) if change > 0 else -math.inf
    silent = not np.any(after)
    detail = (
        "nothing but zeros came out" if silent else f"changed at {change_db:.1f} dB; at least {LEAST_CHANGE_DB:g} dB counts"
    )
    return Finding(name, change_db >= LEAST_CHANGE_DB and not silent, detail)


def _repeats(degradation: Degradation, sound: Audio, heard: Audio, sample_rate: int, seed: int) -> Finding:
    _degraded(degradation, sound[::-1].copy(), sample_rate, seed + 1)
    again, problem = _degraded(degradation, sound, sample_rate, seed)
    same = np.array_equal(heard, again)
    return Finding(
        "equal rng state, equal samples", same, problem or ("bit for bit" if same else "another call, another result")
    )


def _own_randomness(degradation: Degradation, sound: Audio, heard: Audio, sample_rate: int, seed: int) -> Finding:
    """All randomness comes from `rng`, so another stream changes the result exactly if something is drawn from it."""
    name = "randomness comes from rng alone"
    stream = np.random.default_rng(seed)
    degradation(sound, sample_rate, stream)
    draws = stream.bit_generator.state != np.random.default_rng(seed).bit_generator.state
    other_stream, _ = _degraded(degradation, sound, sample_rate, seed + 1)
    if draws == np.array_equal(heard, other_stream):
        return Finding(
            name, False, "rng is drawn from and changes nothing" if draws else "rng is not drawn from, yet results vary"
        )
    if not draws and degradation.keeps_length:
        other = _speech_like(sample_rate, seed + 1)
        other_heard, _ = _degraded(degradation, other, sample_rate, seed + 1)
        if len(other_heard) and abs(_correlation(heard - sound, other_heard - other)) > ALIKE:
            return Finding(name, False, "the same noise was added to two recordings; draw it from rng")
    return Finding(name, True, "another stream, another result" if draws else "nothing is drawn")


def _correlation(one: Audio, other: Audio) -> float:
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.dot(one, other)) / scale if scale > 0 else 0.0


def _kept_promises(
    degradation: Degradation, before: Audio, after: Audio, measured: Measured, sample_rate: int
) -> Iterator[Finding]:
    snr_db, gain_db = (getattr(degradation, name, None) for name in ("snr_db", "gain_db"))
    if snr_db is not None and len(before) == len(after):
        whole_db = 10 * math.log10(np.dot(before, before) / max(float(np.dot(after - before, after - before)), 1e-30))
        error_db = min(abs(measured.snr_db - snr_db), abs(whole_db - snr_db))
        detail = f"asked {snr_db:g} dB; got {measured.snr_db:.2f} dB over the active part, {whole_db:.2f} dB over all"
        yield Finding("SNR asked = SNR obtained", error_db <= SNR_TOLERANCE_DB, detail)
    if gain_db is not None:
        detail = f"asked {gain_db:g} dB, got {measured.gain_db:.2f} dB"
        yield Finding("gain asked = gain obtained", abs(measured.gain_db - gain_db) <= GAIN_TOLERANCE_DB, detail)
    if degradation.keeps_length:
        most = round(CAUSAL_DELAY_S * sample_rate) if getattr(degradation, "causal", False) else 0
        detail = f"correlation peak at lag {measured.delay_samples:g}; {f'0 to {most} for a causal filter' if most else '0'} expected"
        yield Finding("delay removed", 0 <= measured.delay_samples <= most, detail)


def _passband(degradation: Degradation, sample_rate: int, seed: int) -> Iterator[Finding]:
    """White noise passes between the promised frequencies, not an octave outside them, and some of it is stopped."""
    promised = getattr(degradation, "passband_hz", None)
    if promised is None or not degradation.keeps_length:
        return
    low_hz, high_hz = promised
    noise = 0.1 * np.random.default_rng(seed).standard_normal(round(SOUND_S * sample_rate), dtype=np.float32)
    heard, problem = _degraded(degradation, noise, sample_rate, seed)
    if problem:
        yield Finding("band passed as promised", False, problem)
        return
    power = [np.abs(np.fft.rfft(audio.astype(np.float64))) ** 2 for audio in (noise, heard)]
    hertz = np.fft.rfftfreq(len(noise), 1 / sample_rate)
    top_hz = sample_rate / 2
    below, above = (hertz > 0) & (hertz < low_hz / 2), hertz > min(2 * high_hz, (high_hz + top_hz) / 2)
    inside = (hertz > 1.25 * low_hz) & (hertz < high_hz / 1.25)
    low, within, high, in_all = (
        _loss_db(power[0][band], power[1][band]) for band in (below, inside, above, np.ones(len(hertz), dtype=bool))
    )
    detail = f"lost {within:.1f} dB between {low_hz:g} and {high_hz:g} Hz, {low:.1f} dB below, {high:.1f} dB above"
    yield Finding("band passed as promised", min(low, high) >= STOPPED_DB and abs(within) <= PASSED_DB, detail)
    yield Finding("the band is limited", in_all >= LEAST_STOPPED_DB, f"white noise lost {in_all:.2f} dB in all")


def _loss_db(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Infinite for a band that is empty, or that nothing came through."""
    passed = float(after.sum())
    return 10 * math.log10(float(before.sum()) / passed) if passed > 0 else math.inf


def _lengths(degradation: Degradation, sound: Audio, sample_rate: int, seed: int) -> Iterator[Finding]:
    middle = len(sound) // 2
    problems = (f"{n}: {_degraded(degradation, sound[middle : middle + n], sample_rate, seed)[1]}" for n in SHORT)
    short = [problem for problem in problems if not problem.endswith(": ")]
    yield Finding("very short input", not short, "; ".join(short) or f"{SHORT[0]} to {SHORT[-1]} samples")
    long = np.resize(sound, round(LONG_S * sample_rate))
    _, problem = _degraded(degradation, long, sample_rate, seed)
    yield Finding("long input", not problem, problem or f"{LONG_S:g} s")


def _silence(degradation: Degradation, sample_rate: int, seed: int) -> Finding:
    """Digital silence is degraded, or refused in words; it is never turned into NaN."""
    name = "digital silence"
    silence = np.zeros(sample_rate, dtype=np.float32)
    try:
        degradation(silence, sample_rate, np.random.default_rng(seed))
    except (DataError, UserError) as error:
        return Finding(name, True, f"refused: {error}")
    except Exception as error:  # a plug-in's edge: anything may come out of it
        return Finding(name, False, f"raised {type(error).__name__}: {error}; raise AudioError instead")
    _, problem = _degraded(degradation, silence, sample_rate, seed)
    return Finding(name, not problem, problem or "degraded")
