"""Corpora: one file per family. A corpus knows how to read its own lists and what they must add up to.

The contract has no base class. Decorate a class with::

    def trials(self, protocol: str, *, root: Path | None = None, **options) -> Trials

`root` is the folder that the corpus was unpacked into. A corpus reads lists only; audio is read by the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from spoofscope.errors import CorpusError
from spoofscope.registry import Registry, origin_of
from spoofscope.trials import Trials

Factory = TypeVar("Factory", bound=type)


class Counts(NamedTuple):
    """Trials of each class that a protocol is published with."""

    bonafide: int
    spoof: int

    def __str__(self) -> str:
        return f"{self.bonafide + self.spoof:,} ({self.bonafide:,} bona fide + {self.spoof:,} spoof)"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What must be known of a corpus before a figure on it means anything.

    Parameters
    ----------
    name, title : str
        The name it is looked up by, and the one that people know.
    url, licence, citation : str
        Where it comes from, and on what terms.
    protocols : mapping of str to Counts or None
        The lists that it has, with their published counts where there are any; the first is the default.
    synthetic : bool
        Whether its bona fide side is synthetic too; then every page that shows it says so.
    note : str
        What a user must be told beside every result.
    """

    name: str
    title: str
    url: str = ""
    licence: str = ""
    citation: str = ""
    protocols: Mapping[str, Counts | None] = field(default_factory=dict)
    synthetic: bool = False
    note: str = ""


class Corpus(Protocol):
    """How to read a corpus; see the docstring of this module."""

    card: Card

    def trials(self, protocol: str, *, root: Path | None = None, **options: Any) -> Trials:
        """Read one list of trials."""
        ...


corpora: Registry[Callable[[], Corpus]] = Registry("corpus", "spoofscope.corpora")


def corpus(card: Card) -> Callable[[Factory], Factory]:
    """Register a class as the corpus that `card` describes."""

    def register(factory: Factory) -> Factory:
        factory.card = card  # type: ignore[attr-defined]
        corpora.add(card.name, factory, origin=origin_of(factory))
        return factory

    return register


def check_counts(card: Card, protocol: str, trials: Trials) -> None:
    """Raise `CorpusError`, showing expected against found, unless the trials add up to the card."""
    expected = card.protocols.get(protocol)
    found = Counts(*trials.counts)
    if expected is not None and found != expected:
        raise CorpusError(
            f"{card.title}, {protocol}: expected {expected} trials, found {found}. "
            "The list is incomplete, of another year, or of another phase."
        )
