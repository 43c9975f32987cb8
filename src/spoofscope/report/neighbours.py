"""The page of one recording and its neighbours: to look at and to listen to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoofscope import __version__
from spoofscope.audio import SAMPLE_RATE, read_audio
from spoofscope.errors import AudioError, RunFolderError
from spoofscope.report.clips import AUDIO_BUDGET_BYTES, picture_of, sound_of
from spoofscope.report.page import environment
from spoofscope.retrieval.neighbours.answering import Answer

MOST_CARDS = 12


@dataclass(frozen=True)
class Card:
    """One recording of the page.

    Parameters
    ----------
    title, text, name : str
        What it is, what is known of it, and its id.
    sound, picture : str
        Data URIs; both empty where the recording cannot be read any more, and `text` says so.
    is_bonafide : bool or None
        None for the recording that was asked about.
    """

    title: str
    text: str
    name: str
    sound: str
    picture: str
    is_bonafide: bool | None = None


def write_neighbours(answer: Answer, facts: Mapping[str, Any], file: Path) -> Path:
    """Write the page.

    Parameters
    ----------
    answer : Answer
        What neighbours say.
    facts : mapping
        `Answering.facts`.
    file : Path
        The page, one self-contained HTML file.

    Raises
    ------
    MissingExtra
        If jinja2 or matplotlib is not installed.
    RunFolderError
        If the page cannot be written.
    """
    template = environment().get_template("neighbours.html")
    budget = AUDIO_BUDGET_BYTES
    own, budget = _card("The recording", f"{answer.seconds:.1f} s.", str(answer.file), answer.file, None, budget)
    cards = []
    for near in answer.nearest[:MOST_CARDS]:
        is_bonafide = near.row["label"] == "bonafide"
        voice = near.row.get("speaker")
        made = f"made by {near.row[facts['held_by']]}" if not is_bonafide else "real speech"
        text = f"{made[:1].upper()}{made[1:]}{f', in the voice of {voice}' if voice else ''}; similarity {near.similarity:.3f}."
        title = "Bona fide" if is_bonafide else "Spoof"
        card, budget = _card(title, text, near.row["trial_id"], Path(facts["root"]) / near.row["path"], is_bonafide, budget)
        cards.append(card)
    html = template.render(answer=answer, facts=facts, own=own, cards=cards, version=__version__)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html.lstrip(), encoding="utf-8")
    except OSError as error:
        raise RunFolderError(f"cannot write the page {file} ({error})") from error
    return file


def _card(title: str, text: str, name: str, file: Path, is_bonafide: bool | None, budget: int) -> tuple[Card, int]:
    """Make a card, and say how many bytes of sound the page may still carry."""
    try:
        audio = read_audio(file, sample_rate=SAMPLE_RATE)
    except AudioError as error:
        return Card(title, f"{text} It cannot be played: {error}", name, "", "", is_bonafide), budget
    sound = sound_of(audio)
    if len(sound) > budget:
        return Card(
            title, f"{text} Too long for this page to carry its sound.", name, "", picture_of(audio), is_bonafide
        ), budget
    return Card(title, text, name, sound, picture_of(audio), is_bonafide), budget - len(sound)
