"""The check of a detector: each clause of the contract catches the detector that breaks it, and only that clause."""

import numpy as np
import pytest

from spoofscope.checks.detector import check_detector
from spoofscope.detectors import Card
from spoofscope.errors import AudioError


def level(audio) -> float:
    return float(np.mean(np.abs(audio)))


class Good:
    card = Card(name="good", licence="MIT")

    def score(self, batch):
        return np.array([level(audio) for audio in batch], dtype=np.float32)


class Constant(Good):
    def score(self, batch):
        return np.zeros(len(batch), dtype=np.float32)


class Doubles(Good):
    def score(self, batch):
        return super().score(batch).astype(np.float64)


class PlainList(Good):
    def score(self, batch):
        return [level(audio) for audio in batch]


class TwoColumns(Good):
    def score(self, batch):
        return np.zeros((len(batch), 2), dtype=np.float32)


class NotFinite(Good):
    def score(self, batch):
        scores = super().score(batch)
        scores[0] = np.nan
        return scores


class Restless(Good):
    def __init__(self):
        self.calls = 0

    def score(self, batch):
        self.calls += 1
        return super().score(batch) + np.float32(self.calls)


class Positional(Good):
    def score(self, batch):
        return super().score(batch) + np.arange(len(batch), dtype=np.float32)


class Contextual(Good):
    def score(self, batch):
        scores = super().score(batch)
        return (scores - np.sort(scores).mean()).astype(np.float32)


class Careless(Good):
    def score(self, batch):
        for audio in batch:
            audio -= audio.mean()
        return super().score(batch)


class NeedsMore(Good):
    def score(self, batch):
        if min(map(len, batch)) < 50:
            raise AudioError("too short for one frame")
        return super().score(batch)


class Impatient(Good):
    def score(self, batch):
        if max(map(len, batch)) > 500_000:
            raise MemoryError
        return super().score(batch)


class Logarithmic(Good):
    def score(self, batch):
        with np.errstate(divide="ignore"):
            return np.log(super().score(batch))


def failing(detector) -> dict[str, str]:
    return {finding.name: finding.detail for finding in check_detector(detector) if not finding.ok}


def test_a_good_detector_passes_every_clause():
    findings = check_detector(Good())
    assert failing(Good()) == {}
    assert [finding.name for finding in findings] == [
        "finite float32 scores, one each",
        "output depends on the sound",
        "input untouched",
        "two calls agree",
        "order does not matter",
        "a batch equals one by one",
        "very short input",
        "very long input",
        "digital silence",
    ]


@pytest.mark.parametrize(
    ("broken", "name", "detail"),
    [
        (Constant, "output depends on the sound", "every sound has the same score"),
        (Careless, "input untouched", "the detector wrote into the audio it was given"),
        (Contextual, "a batch equals one by one", "scores differ by up to"),
        (NeedsMore, "very short input", "1 samples: raised too short for one frame"),
        (Impatient, "very long input", "960000 samples: raised MemoryError"),
        (Logarithmic, "digital silence", "32000 samples: 1 of 1 scores are NaN or infinite"),
    ],
)
def test_a_broken_clause_is_the_only_one_that_fails(broken, name, detail):
    found = failing(broken())
    assert list(found) == [name]
    assert found[name].startswith(detail)


@pytest.mark.parametrize(
    ("broken", "detail"),
    [
        (Doubles, "answered float64; it must be a float32 array"),
        (PlainList, "answered list; it must be a float32 array"),
        (TwoColumns, r"answered shape (5, 2) for 5 recordings; it must be (5,)"),
    ],
)
def test_an_answer_of_another_kind_is_described(broken, detail):
    assert failing(broken())["finite float32 scores, one each"] == detail


def test_scores_that_are_not_finite_are_counted():
    assert failing(NotFinite())["finite float32 scores, one each"] == "1 of 5 scores are NaN or infinite"


def test_state_and_position_are_noticed():
    assert failing(Restless())["two calls agree"] == "scores differ by up to 1"
    assert set(failing(Positional())) == {"order does not matter", "a batch equals one by one"}


def test_the_sound_is_at_the_rate_of_the_card():
    heard = []

    class Slow(Good):
        card = Card(name="slow", licence="MIT", sample_rate=8000)

        def score(self, batch):
            heard.extend(len(audio) for audio in batch)
            return super().score(batch)

    check_detector(Slow())
    assert heard[0] == 16_000
    assert max(heard) == 480_000
    assert min(heard) == 1
