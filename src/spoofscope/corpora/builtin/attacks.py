"""The attacks: ways to make a spoof of an utterance, each with its family and whether the training lists show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spoofscope.audio import Audio
from spoofscope.corpora.builtin import prediction, spectrogram, vocoder, waveform
from spoofscope.corpora.builtin.analysis import Analysis, Signal
from spoofscope.errors import UnknownName

Make = Callable[[Analysis, np.random.Generator], Signal]


@dataclass(frozen=True)
class Attack:
    """One way to make a spoof.

    Parameters
    ----------
    name : str
        `B01`, `B02` ...
    family : str
        What kind of signal model it goes through; attacks of one family leave related traces.
    method : str
        What it does, in a phrase.
    make : callable
        `(analysis, rng) -> (n,)`, as long as the utterance.
    """

    name: str
    family: str
    method: str
    make: Make

    def __call__(self, speech: Analysis, rng: np.random.Generator) -> Audio:
        """Resynthesise `speech` at its own root mean square; (n,) float32."""
        return waveform.matched(self.make(speech, rng), speech.audio).astype(np.float32)


def _copy(speech: Analysis, rng: np.random.Generator) -> Signal:
    return vocoder.synthesise(vocoder.analysed(speech), len(speech), rng)


def _statistical(speech: Analysis, rng: np.random.Generator) -> Signal:
    flat = vocoder.smoothed(vocoder.analysed(speech), frames=6, cepstra=40)
    return vocoder.synthesise(flat, len(speech), rng)


def _converted(speech: Analysis, rng: np.random.Generator) -> Signal:
    up = rng.random() < 0.5
    factor = rng.uniform(1.25, 1.6) if up else rng.uniform(0.62, 0.8)
    warp = rng.uniform(1.06, 1.16) if up else rng.uniform(0.86, 0.94)
    other = vocoder.converted(vocoder.analysed(speech), f0_factor=factor, warp=warp)
    return vocoder.synthesise(other, len(speech), rng)


def _buzzy(speech: Analysis, rng: np.random.Generator) -> Signal:
    return vocoder.synthesise(vocoder.monotone(vocoder.analysed(speech)), len(speech), rng)


def _harmonics(speech: Analysis, rng: np.random.Generator) -> Signal:
    return vocoder.harmonics_and_noise(vocoder.analysed(speech), len(speech), rng)


def _mel(iterations: int) -> Make:
    def make(speech: Analysis, rng: np.random.Generator) -> Signal:
        magnitude = spectrogram.through_mel(spectrogram.magnitudes(speech), bands=80)
        return spectrogram.griffin_lim(magnitude, len(speech), rng, iterations=iterations)

    return make


def _linear(speech: Analysis, rng: np.random.Generator) -> Signal:
    return spectrogram.griffin_lim(spectrogram.magnitudes(speech), len(speech), rng, iterations=6)


def _quantised(speech: Analysis, rng: np.random.Generator) -> Signal:
    magnitude = spectrogram.quantised_mel(spectrogram.magnitudes(speech), rng, bands=64, codes=96)
    return spectrogram.griffin_lim(magnitude, len(speech), rng, iterations=8)


def _random_phase(speech: Analysis, rng: np.random.Generator) -> Signal:
    return spectrogram.random_phase(speech, rng, spread=0.6)


def _phase_vocoder(speech: Analysis, rng: np.random.Generator) -> Signal:
    return spectrogram.shifted(speech, factor=float(rng.choice([0.9, 0.92, 1.1, 1.14])))


def _psola(speech: Analysis, rng: np.random.Generator) -> Signal:
    factor = rng.uniform(1.15, 1.4) if rng.random() < 0.5 else rng.uniform(0.7, 0.87)
    return waveform.psola(speech, factor=factor)


def _partial(speech: Analysis, rng: np.random.Generator) -> Signal:
    return waveform.partly_replaced(speech.audio, _copy(speech, rng), rng)


def _hybrid(speech: Analysis, rng: np.random.Generator) -> Signal:
    return waveform.low_band_replaced(speech.audio, _copy(speech, rng), crossover_hz=rng.uniform(2200, 3500))


def _spliced(speech: Analysis, rng: np.random.Generator) -> Signal:
    return waveform.spliced(speech, rng, pieces=12)


ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("B01", "vocoder", "source-filter vocoder, copy-synthesis", _copy),
        Attack("B02", "vocoder", "source-filter vocoder, over-smoothed as in statistical TTS", _statistical),
        Attack("B03", "spectrogram", "80-band mel, Griffin-Lim with 16 iterations", _mel(16)),
        Attack("B04", "prediction", "linear prediction, pulse excitation", prediction.pulse_excited),
        Attack("B05", "vocoder", "voice conversion by F0 shift and envelope warp", _converted),
        Attack("B06", "spectrogram", "vector-quantised 64-band mel, Griffin-Lim", _quantised),
        Attack("B07", "waveform", "PSOLA pitch shift", _psola),
        Attack("B08", "partial", "35 to 60 % replaced by vocoded speech", _partial),
        Attack("B09", "sinusoidal", "harmonic plus noise model", _harmonics),
        Attack("B10", "spectrogram", "linear spectrogram, Griffin-Lim with 6 iterations", _linear),
        Attack("B11", "spectrogram", "phase randomised", _random_phase),
        Attack("B12", "sinusoidal", "phase-vocoder pitch shift", _phase_vocoder),
        Attack("B13", "partial", "low band vocoded, high band genuine", _hybrid),
        Attack("B14", "vocoder", "source-filter vocoder, flat buzzy source", _buzzy),
        Attack("B15", "waveform", "splicing with hard edges", _spliced),
        Attack("B16", "prediction", "linear prediction, residual of another place", prediction.residual_swapped),
    )
}

SEEN = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08")
"""Attacks of the training and development lists."""

EVALUATED = ("B01", "B03", "B05", "B08", "B09", "B10", "B11", "B12", "B13", "B14", "B15", "B16")
"""Attacks of the evaluation list: four that training shows and eight that it does not."""


def find_attack(name: str) -> Attack:
    """Return the attack of that name.

    Raises
    ------
    UnknownName
        If there is none; the message lists those that there are.
    """
    if name not in ATTACKS:
        raise UnknownName(f"no attack is named '{name}'. Known: {', '.join(ATTACKS)}.")
    return ATTACKS[name]
