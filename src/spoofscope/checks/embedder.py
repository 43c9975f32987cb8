"""Check that an embedder keeps the contract, on synthetic sound.

Conventions
-----------
Two answers agree where no number differs by more than 1e-4 of the largest of its layer: rounding may differ with the batch, for
sums are parted among cores and recordings padded; what a recording sounds like may not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio
from spoofscope.checks import Finding
from spoofscope.checks._sounds import LENGTHS_S, LONG_S, SEED, SHORT, sound
from spoofscope.embedders import Embedder
from spoofscope.errors import DataError, UserError

TOLERANCE = 1e-4

Vectors = NDArray[np.float32]


def check_embedder(embedder: Embedder) -> list[Finding]:
    """Embed synthetic sound in every way that the loop may, and compare.

    The sound is made from a fixed seed: harmonic tones and noises of several lengths, levels and pitches, fitted to the window
    of the card as the loop fits it.

    Returns
    -------
    list of Finding
        One per clause of the contract. A clause that an embedder cannot be asked (it raised) is a finding that is not ok.
    """
    rate, fit = embedder.card.sample_rate, embedder.card.fit
    rng = np.random.default_rng(SEED)
    batch = [fit(sound(rng, round(seconds * rate), rate)) for seconds in LENGTHS_S]
    kept = [audio.copy() for audio in batch]
    named = _named(embedder)
    if not named.ok:  # without them no answer can be judged
        return [named]
    first, finding = _embedded(embedder, batch)
    findings = [named, finding]
    if first is not None:
        findings += [
            _listens(embedder, first),
            _untouched(kept, batch),
            _again(embedder, "two calls agree", batch, first),
            _again(embedder, "order does not matter", batch[::-1], first[::-1]),
            _one_by_one(embedder, batch, first),
        ]
    short = [fit(sound(rng, samples, rate)) for samples in SHORT]
    findings.append(_finite_alone(embedder, "very short input", short, f"{SHORT[0]} to {SHORT[-1]} samples"))
    long = [fit(np.resize(np.concatenate(kept), round(LONG_S * rate)))]
    findings.append(_finite_alone(embedder, "very long input", long, f"{LONG_S:g} s"))
    silence = [fit(np.zeros(round(LENGTHS_S[0] * rate), dtype=np.float32))]
    findings.append(_finite_alone(embedder, "digital silence", silence, f"{LENGTHS_S[0]:g} s of zeros"))
    return findings


def worst_difference(expected: Vectors, found: Vectors) -> float:
    """Return the largest difference of two (n, layers, dim) answers, as a share of the largest number of its layer."""
    scale = np.abs(expected.astype(np.float64)).max(axis=(0, 2))
    worst = np.abs(expected.astype(np.float64) - found).max(axis=(0, 2))
    return float(np.max(worst / np.where(scale > 0, scale, 1.0)))


def _named(embedder: Embedder) -> Finding:
    name, layers, dim = "layers and dimension", embedder.layers, embedder.dim
    if not isinstance(layers, tuple) or not layers or not all(isinstance(layer, str) for layer in layers):
        return Finding(name, False, f"layers is {layers!r}; it must be a tuple of names, at least one")
    if len(set(layers)) < len(layers):
        twice = next(layer for layer in layers if layers.count(layer) > 1)
        return Finding(name, False, f"the layer '{twice}' is named {layers.count(twice)} times; a name stands for one layer")
    if not isinstance(dim, int) or dim < 1:
        return Finding(name, False, f"dim is {dim!r}; it must be a whole number above 0")
    return Finding(name, True, f"{len(layers)} of {dim} numbers: {', '.join(layers)}")


def _embedded(embedder: Embedder, batch: Sequence[Audio]) -> tuple[Vectors | None, Finding]:
    vectors, problem = _ask(embedder, batch)
    name = "finite float32 vectors, one each"
    if problem:
        return None, Finding(name, False, problem)
    return vectors, Finding(name, True, f"{len(batch)} recordings, {vectors.shape}")


def _ask(embedder: Embedder, batch: Sequence[Audio]) -> tuple[Vectors, str]:
    """Return the vectors of a batch, and what is wrong with them ('' if nothing is)."""
    nothing = np.zeros((0, 1, 1), dtype=np.float32)
    try:
        vectors = embedder.embed(batch)
    except Exception as error:  # a plug-in's edge: anything may come out of it
        expected = isinstance(error, DataError | UserError)
        return nothing, f"raised {error}" if expected else f"raised {type(error).__name__}: {error}"
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32:
        kind = getattr(vectors, "dtype", type(vectors).__name__)
        return nothing, f"answered {kind}; it must be a float32 array"
    wanted = (len(batch), len(embedder.layers), embedder.dim)
    if vectors.shape != wanted:
        return nothing, f"answered shape {vectors.shape} for {len(batch)} recordings; it must be {wanted}: (n, layers, dim)"
    if not np.isfinite(vectors).all():
        return nothing, f"{np.count_nonzero(~np.isfinite(vectors))} of {vectors.size} numbers are NaN or infinite"
    return vectors, ""


def _listens(embedder: Embedder, vectors: Vectors) -> Finding:
    """Every layer must tell the sounds apart: one that does not is not filled in, or is a constant of the model."""
    name = "output depends on the sound"
    spreads = np.ptp(vectors, axis=0).max(axis=1)
    deaf = [layer for layer, spread in zip(embedder.layers, spreads, strict=True) if not spread > 0]
    if deaf:
        return Finding(name, False, f"every sound has the same vector in {len(deaf)} layers (first: {deaf[0]})")
    return Finding(name, True, f"vectors of {len(vectors)} different sounds span at least {spreads.min():.3g} in each layer")


def _untouched(kept: Sequence[Audio], batch: Sequence[Audio]) -> Finding:
    same = all(np.array_equal(before, after) for before, after in zip(kept, batch, strict=True))
    return Finding("input untouched", same, "bit for bit" if same else "the embedder wrote into the audio it was given")


def _again(embedder: Embedder, name: str, batch: Sequence[Audio], expected: Vectors) -> Finding:
    vectors, problem = _ask(embedder, batch)
    return Finding(name, False, problem) if problem else _same(name, expected, vectors)


def _one_by_one(embedder: Embedder, batch: Sequence[Audio], expected: Vectors) -> Finding:
    name = "a batch equals one by one"
    alone = [_ask(embedder, [audio]) for audio in batch]
    problem = next((problem for _, problem in alone if problem), "")
    if problem:
        return Finding(name, False, f"alone: {problem}")
    return _same(name, expected, np.concatenate([vectors for vectors, _ in alone]))


def _same(name: str, expected: Vectors, found: Vectors) -> Finding:
    if np.array_equal(expected, found):
        return Finding(name, True, "bit for bit")
    worst = worst_difference(expected, found)
    told = f"vectors differ by up to {worst:.2g} of the largest number of a layer"
    if worst > TOLERANCE:
        return Finding(name, False, f"{told}, more than the {TOLERANCE:g} of rounding")
    return Finding(name, True, f"{told}: rounding")


def _finite_alone(embedder: Embedder, name: str, batch: Sequence[Audio], what: str) -> Finding:
    for audio in batch:
        _, problem = _ask(embedder, [audio])
        if problem:
            return Finding(name, False, f"{len(audio)} samples: {problem}")
    return Finding(name, True, what)
