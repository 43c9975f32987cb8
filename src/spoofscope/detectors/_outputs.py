"""From what a model answers to scores: which of its tensors, and which column of that, stands for bona fide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import Audio, tone
from spoofscope.cards import Card, Polarity
from spoofscope.errors import AudioError, PluginError, UserError

Score: TypeAlias = Literal["logit", "difference"]

TONE_S = 4.0


def check_choice(*, bonafide: int | None, score: Score) -> None:
    """Raise unless the two options make sense by themselves, before there is an answer to hold them against.

    Raises
    ------
    UserError
        If `score` is none of its words, or `bonafide` is not the number of a column.
    """
    if score not in get_args(Score):
        raise UserError(f"score is '{score}'; it must be {' or '.join(get_args(Score))}")
    if bonafide is not None and (isinstance(bonafide, bool) or not isinstance(bonafide, int) or bonafide < 0):
        raise UserError(f"bonafide is {bonafide!r}; it is the number of the column that stands for bona fide, from 0")


def check_columns(columns: int, *, bonafide: int | None, score: Score, name: str, polarity: Polarity = "bonafide") -> None:
    """Raise unless the options fit a model that answers so many numbers for each recording.

    Parameters
    ----------
    columns : int
        Numbers that it answers for each recording.
    bonafide : int or None
        The column that stands for bona fide.
    score : {"logit", "difference"}
        Whether that column is the score, or that column minus the other.
    name : str
        What to call the model in an error.
    polarity : {"bonafide", "spoof"}
        The class that the one number of a model stands for; where there are columns, `bonafide` says it all.

    Raises
    ------
    UserError
        If a needed option is missing, one has no meaning for this model, or a column does not exist.
    """
    if columns == 1:
        if bonafide is not None or score != "logit":
            option = f"bonafide={bonafide}" if bonafide is not None else f"score='{score}'"
            raise UserError(
                f"{name} answers one number for each recording, so {option} has no meaning. Leave it out; "
                "if the number rises with spoof, say polarity='spoof'."
            )
        return
    if bonafide is None:
        raise UserError(
            f"{name} answers {columns} numbers for each recording; say which column stands for bona fide, counting from 0, as in "
            "bonafide=1. (In AASIST and the ASVspoof baselines it is 1.)"
        )
    if bonafide >= columns:
        raise UserError(f"bonafide is {bonafide}, but {name} answers {columns} numbers for each recording: 0 to {columns - 1}")
    if polarity == "spoof":
        raise UserError(
            f"{name}: bonafide={bonafide} already says which column stands for bona fide, and polarity='spoof' would turn it "
            "around. Leave polarity out."
        )
    if score == "difference" and columns != 2:
        raise UserError(f"score='difference' is that of two columns, but {name} answers {columns}. Say score='logit'.")


def rows(answer: Any, n: int, *, name: str) -> NDArray[np.float32]:
    """Return an answer as one row for each recording, (n, columns) float32.

    Parameters
    ----------
    answer : (n,), (n, columns), or for one recording () or (columns,) float array
        What the model answered.
    n : int
        Recordings that it was given.
    name : str
        What to call the model in an error.

    Raises
    ------
    PluginError
        If the answer has another shape, or holds classes or texts instead of floating-point numbers.
    """
    values = np.asarray(answer)
    if values.dtype.kind != "f":
        raise PluginError(
            f"{name} answered {values.dtype}; scores are floating-point numbers. Choose the output that holds logits or "
            "probabilities, not decisions."
        )
    table = values.reshape(1, -1) if n == 1 and values.ndim < 2 else values[:, None] if values.ndim == 1 else values
    if table.ndim != 2 or len(table) != n or table.shape[1] == 0:
        raise PluginError(
            f"{name} answered {_recordings(n)} with shape {values.shape}; it must be ({n},) or ({n}, columns): one number, or one "
            "for each class, for every recording"
        )
    with np.errstate(over="ignore"):
        return table.astype(np.float32)


def column(answer: Any, n: int, *, bonafide: int | None, score: Score = "logit", name: str) -> NDArray[np.float32]:
    """Return the scores in an answer, (n,) float32: its one column, that of bona fide, or bona fide minus the other.

    Raises
    ------
    PluginError
        If the answer is not one row of floating-point numbers for each recording; see `rows`.
    UserError
        If the options do not fit its columns; see `check_columns`.
    """
    values = rows(answer, n, name=name)
    check_columns(values.shape[1], bonafide=bonafide, score=score, name=name)
    chosen = bonafide or 0
    if score == "logit":
        return np.ascontiguousarray(values[:, chosen])
    with np.errstate(invalid="ignore"):
        return values[:, chosen] - values[:, 1 - chosen]


def spoof_and_bonafide(answer: Any, n: int, *, bonafide: int | None, name: str) -> NDArray[np.float32]:
    """Return both columns of an answer, (n, 2) float32: index 0 is spoof, index 1 bona fide, whatever the model's own order.

    Raises
    ------
    PluginError
        If the answer is not one row of floating-point numbers for each recording; see `rows`.
    UserError
        If it has not two columns, or `bonafide` does not name one of them.
    """
    values = rows(answer, n, name=name)
    if values.shape[1] != 2:
        raise UserError(
            f"{name} answers {values.shape[1]} numbers for each recording; a pair of logits is there only where it answers 2"
        )
    check_columns(2, bonafide=bonafide, score="logit", name=name)
    return values if bonafide == 1 else np.ascontiguousarray(values[:, ::-1])


def last_tensor(answer: Any, n: int, *, name: str) -> Any:
    """Return the tensor of an answer that holds the scores: the answer itself, or the last of several that has n rows.

    That is the logits of a model that answers `(hidden, logits)`, as AASIST does.

    Parameters
    ----------
    answer : array, or tuple, list or mapping of arrays
        Arrays of any library: only their `shape` is looked at.
    n : int
        Recordings that the model was given.
    name : str
        What to call the model in an error.

    Raises
    ------
    PluginError
        If there is no such tensor.
    """
    if hasattr(answer, "shape"):
        return answer
    parts = list(answer.values()) if isinstance(answer, Mapping) else list(answer) if isinstance(answer, tuple | list) else []
    shapes = [tuple(part.shape) if hasattr(part, "shape") else None for part in parts]
    fitting = [part for part, shape in zip(parts, shapes, strict=True) if shape and len(shape) <= 2 and shape[0] == n]
    if not fitting:
        found = ", ".join(str(shape or type(part).__name__) for part, shape in zip(parts, shapes, strict=True))
        raise PluginError(
            f"{name} answered {_recordings(n)} with {type(answer).__name__} ({found}); it must be a tensor of {n} rows, or a "
            "tuple whose last such tensor holds the scores"
        )
    return fitting[-1]


def tried(card: Card, ask: Callable[[Audio], Any], *, bonafide: int | None, score: Score, name: str, hint: str = "") -> Card:
    """Try a model on a tone before a run rests on it, and return its card with what its score is.

    Parameters
    ----------
    card : Card
        The card of the model, as its user describes it.
    ask : callable
        Answers one recording, or raises `AudioError`.
    bonafide, score, name
        As for `check_columns`.
    hint : str
        What to do about a model that fails, as a sentence.

    Raises
    ------
    PluginError
        If the model fails on the tone, or answers with anything but one row of floating-point numbers.
    UserError
        If the options do not fit its columns.
    """
    heard = tone(card.window_s or TONE_S, card.sample_rate)
    try:
        answer = ask(heard)
    except AudioError as error:
        raise PluginError(
            f"{name} fails on a tone of {len(heard)} samples, as it would on every recording: {error}. "
            f"If it hears one length only, give that as window_s.{hint and ' '}{hint}"
        ) from error
    columns = rows(answer, 1, name=name).shape[1]
    check_columns(columns, bonafide=bonafide, score=score, name=name, polarity=card.polarity)
    return replace(card, output=_describe(columns, bonafide=bonafide, score=score, name=name))


def _describe(columns: int, *, bonafide: int | None, score: Score, name: str) -> str:
    if columns == 1:
        return f"the number that {name} answers"
    if score == "difference":
        return f"column {bonafide} minus the other of what {name} answers"
    return f"column {bonafide} of the {columns} that {name} answers"


def _recordings(n: int) -> str:
    return "one recording" if n == 1 else f"{n} recordings"
