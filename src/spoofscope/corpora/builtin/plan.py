"""Who speaks what in the built-in corpus, and which attacks are made of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from spoofscope.audio import Audio
from spoofscope.corpora.builtin.build import Task
from spoofscope.corpora.builtin.streams import stream
from spoofscope.corpora.builtin.talkers import draw_talker, speak
from spoofscope.trials import NO_ATTACK

RAW_S = 3.9
"""Length that talkers speak before trimming, in seconds."""

MAX_SPEECH_S = 3.3

SOUND = (
    *("analysis", "attacks", "equalise", "plan", "prediction"),
    *("spectrogram", "streams", "talkers", "vocoder", "waveform"),
)
"""Modules that decide how recordings sound."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much a protocol holds.

    Parameters
    ----------
    speakers : int
        Talkers, none of whom speaks in another protocol.
    bonafide : int
        Utterances that stay as they are.
    held_out : int
        Other utterances of the same talkers, which the attacks are made of.
    per_attack : int
        Spoofs of each attack, at most `held_out`.
    attacks : tuple of str
        Names of the attacks.
    """

    speakers: int
    bonafide: int
    held_out: int
    per_attack: int
    attacks: tuple[str, ...]


class SyntheticUtterance(NamedTuple):
    """One utterance of one synthetic talker."""

    seed: int
    speaker: str
    source: str

    def sound(self) -> Audio:
        """Make it; the same words always give the same sound."""
        talker = draw_talker(stream(self.seed, "talker", self.speaker))
        return speak(talker, RAW_S, stream(self.seed, "utterance", self.source))


def plan(sizes: dict[str, Size], seed: int) -> list[Task]:
    """Spread utterances over talkers and attacks over held-out utterances, each as evenly as can be."""
    tasks = []
    for protocol, size in sizes.items():
        attacks: list[list[str]] = [[] for _ in range(size.held_out)]
        for attack in size.attacks:
            for place in stream(seed, "held out", protocol, attack).permutation(size.held_out)[: size.per_attack]:
                attacks[place].append(attack)
        wanted = [(NO_ATTACK,)] * size.bonafide + [tuple(names) for names in attacks]
        for index, names in enumerate(wanted):
            speaker = f"{protocol}-t{index % size.speakers:02d}"
            source = f"{speaker}-u{index // size.speakers:02d}"
            if names:
                tasks.append(Task(source, speaker, protocol, SyntheticUtterance(seed, speaker, source), names))
    return tasks


def code_digest() -> str:
    """SHA-256 of the modules that decide how recordings sound."""
    code = hashlib.sha256()
    for module in SOUND:
        code.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return code.hexdigest()


def corpus_key(sizes: dict[str, Size], seed: int) -> dict[str, object]:
    """What makes a built-in corpus the same corpus: its seed, its sizes, and the code that makes its sound."""
    lists = {protocol: {**asdict(size), "attacks": list(size.attacks)} for protocol, size in sizes.items()}
    return {"corpus": "builtin", "seed": seed, "sizes": lists, "code": code_digest()}


def cache_folder(digest: str) -> Path:
    """Folder of a corpus in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "spoofscope" / f"builtin-{digest}"
