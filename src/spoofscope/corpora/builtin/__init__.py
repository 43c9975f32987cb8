"""The built-in corpus: synthetic talkers, resynthesised by sixteen attacks, made on this machine from a seed."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path

import polars as pl

from spoofscope.corpora import Card, Counts, corpus
from spoofscope.corpora.builtin.attacks import EVALUATED, SEEN
from spoofscope.corpora.builtin.build import Settings, build, finished
from spoofscope.corpora.builtin.plan import MAX_SPEECH_S, Size, cache_folder, corpus_key, plan
from spoofscope.errors import UnknownName
from spoofscope.trials import Trials

SIZES = {
    "train": Size(speakers=20, bonafide=200, held_out=60, per_attack=30, attacks=SEEN),
    "dev": Size(speakers=8, bonafide=64, held_out=16, per_attack=8, attacks=SEEN),
    "eval": Size(speakers=14, bonafide=168, held_out=48, per_attack=24, attacks=EVALUATED),
}
"""Protocols, the talkers of each its own."""


def _counts(size: Size) -> Counts:
    return Counts(size.bonafide, size.per_attack * len(size.attacks))


@corpus(
    Card(
        name="builtin",
        title="Built-in corpus",
        licence="Apache-2.0 (made by this package)",
        protocols={protocol: _counts(SIZES[protocol]) for protocol in ("eval", "train", "dev")},
        synthetic=True,
        note=(
            "Its bona fide side is synthetic too: a glottal source, a moving vocal tract, a room and a microphone. "
            "It shows that the machinery works and proves nothing about a detector on people."
        ),
    )
)
class Builtin:
    """The corpus that needs no download; see `docs/builtin-corpus.md`."""

    card: Card

    def trials(self, protocol: str, *, root: Path | None = None, seed: int = 0, workers: int | None = None) -> Trials:
        """Read one list of trials, building the corpus first where it has not been.

        Parameters
        ----------
        protocol : {"train", "dev", "eval"}
            Which list.
        root : Path, optional
            Folder to build in or read from; by default one in the user's cache, named after the version and the seed.
        seed : int
            Another seed gives other talkers, words, rooms and draws of the same kinds.
        workers : int, optional
            Processes to build with; the files do not depend on it.

        Raises
        ------
        UnknownName
            If there is no such protocol.
        CorpusError
            If `root` holds a corpus of another version or seed.
        """
        if protocol not in SIZES:
            near = difflib.get_close_matches(protocol, SIZES, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UnknownName(f"the built-in corpus has no protocol '{protocol}'.{hint} It has {', '.join(SIZES)}.")
        frame, folder = build_builtin(root, sizes=SIZES, seed=seed, workers=workers)
        name = f"{self.card.title}, {protocol}" + (f" (seed {seed})" if seed else "")
        return Trials(frame.filter(pl.col("protocol") == protocol), folder, name)


def build_builtin(
    root: Path | None = None, *, sizes: dict[str, Size], seed: int = 0, workers: int | None = None
) -> tuple[pl.DataFrame, Path]:
    """Return the table and the folder of a corpus of these sizes, building what is missing of it.

    Raises
    ------
    CorpusError
        If `root` holds a corpus of another version, seed or size.
    """
    key = corpus_key(sizes, seed)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    folder = Path(root) if root is not None else cache_folder(digest)
    built = finished(folder, key)
    if built is None:
        settings = Settings(folder=folder, seed=seed, max_speech_s=MAX_SPEECH_S)
        built = build(plan(sizes, seed), settings, workers=workers, title="Building the corpus", key=key)
    return built.frame, folder
