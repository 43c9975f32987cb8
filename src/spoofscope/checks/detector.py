"""Check that a detector keeps the contract, on synthetic sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.checks import Finding
from spoofscope.checks._sounds import LENGTHS_S, LONG_S, SEED, SHORT, sound
from spoofscope.detectors import Detector
from spoofscope.errors import DataError, UserError


def check_detector(detector: Detector) -> list[Finding]:
    """Score synthetic sound in every way that the loop may, and compare.

    The sound is made from a fixed seed: harmonic tones and noises of several lengths, levels and pitches, so a detector that
    listens has something to tell apart.

    Returns
    -------
    list of Finding
        One per clause of the contract. A clause that a detector cannot be asked (it raised) is a finding that is not ok.
    """
    rate = detector.card.sample_rate
    rng = np.random.default_rng(SEED)
    batch = [sound(rng, round(seconds * rate), rate) for seconds in LENGTHS_S]
    kept = [audio.copy() for audio in batch]
    first, finding = _scored(detector, batch)
    findings = [finding]
    if first is not None:
        findings += [
            _listens(first),
            _same(
                "input untouched", np.concatenate(kept), np.concatenate(batch), "the detector wrote into the audio it was given"
            ),
            _again(detector, "two calls agree", batch, first),
            _again(detector, "order does not matter", batch[::-1], first[::-1]),
            _one_by_one(detector, batch, first),
        ]
    short = [sound(rng, samples, rate) for samples in SHORT]
    findings.append(_finite_alone(detector, "very short input", short, f"{SHORT[0]} to {SHORT[-1]} samples"))
    long = [np.resize(np.concatenate(kept), round(LONG_S * rate))]
    findings.append(_finite_alone(detector, "very long input", long, f"{LONG_S:g} s"))
    silence = [np.zeros(round(LENGTHS_S[0] * rate), dtype=np.float32)]
    findings.append(_finite_alone(detector, "digital silence", silence, f"{LENGTHS_S[0]:g} s of zeros"))
    return findings


def _scored(detector: Detector, batch: Sequence[Audio]) -> tuple[NDArray[np.float32] | None, Finding]:
    scores, problem = _ask(detector, batch)
    name = "finite float32 scores, one each"
    return (
        (scores, Finding(name, True, f"{len(batch)} recordings, {len(batch)} scores"))
        if not problem
        else (None, Finding(name, False, problem))
    )


def _ask(detector: Detector, batch: Sequence[Audio]) -> tuple[NDArray[np.float32], str]:
    """Return the scores of a batch, and what is wrong with them ('' if nothing is)."""
    nothing = np.zeros(0, dtype=np.float32)
    try:
        scores = detector.score(batch)
    except Exception as error:  # a plug-in's edge: anything may come out of it
        expected = isinstance(error, DataError | UserError)
        return nothing, f"raised {error}" if expected else f"raised {type(error).__name__}: {error}"
    if not isinstance(scores, np.ndarray) or scores.dtype != np.float32:
        kind = getattr(scores, "dtype", type(scores).__name__)
        return nothing, f"answered {kind}; it must be a float32 array"
    if scores.shape != (len(batch),):
        return nothing, f"answered shape {scores.shape} for {len(batch)} recordings; it must be ({len(batch)},)"
    if not np.isfinite(scores).all():
        return nothing, f"{np.count_nonzero(~np.isfinite(scores))} of {len(batch)} scores are NaN or infinite"
    return scores, ""


def _listens(scores: NDArray[np.float32]) -> Finding:
    spread = float(np.ptp(scores))
    detail = f"scores of {len(scores)} different sounds span {spread:.3g}"
    return Finding("output depends on the sound", spread > 0, detail if spread else "every sound has the same score")


def _again(detector: Detector, name: str, batch: Sequence[Audio], expected: NDArray[np.float32]) -> Finding:
    scores, problem = _ask(detector, batch)
    return Finding(name, False, problem) if problem else _same(name, expected, scores, "")


def _one_by_one(detector: Detector, batch: Sequence[Audio], expected: NDArray[np.float32]) -> Finding:
    name = "a batch equals one by one"
    alone = [_ask(detector, [audio]) for audio in batch]
    problem = next((problem for _, problem in alone if problem), "")
    if problem:
        return Finding(name, False, f"alone: {problem}")
    return _same(name, expected, np.concatenate([scores for scores, _ in alone]), "")


def _same(name: str, expected: NDArray[np.float32], found: NDArray[np.float32], otherwise: str) -> Finding:
    if np.array_equal(expected, found):
        return Finding(name, True, "bit for bit")
    worst = float(np.max(np.abs(expected.astype(np.float64) - found)))
    return Finding(name, False, otherwise or f"scores differ by up to {worst:.3g}")


def _finite_alone(detector: Detector, name: str, batch: Sequence[Audio], what: str) -> Finding:
    for audio in batch:
        _, problem = _ask(detector, [audio])
        if problem:
            return Finding(name, False, f"{len(audio)} samples: {problem}")
    return Finding(name, True, what)
