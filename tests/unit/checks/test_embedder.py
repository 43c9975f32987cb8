"""The check of an embedder: each clause of the contract catches the embedder that breaks it, and only that clause."""

import numpy as np
import pytest

from spoofscope.checks.embedder import check_embedder, worst_difference
from spoofscope.embedders import Card
from spoofscope.errors import AudioError


class Good:
    card = Card(name="good", licence="MIT")
    layers = ("level", "peak")
    dim = 2

    def embed(self, batch):
        numbers = [[[np.abs(audio).mean(), 1], [np.abs(audio).max(), len(audio)]] for audio in batch]
        return np.array(numbers, dtype=np.float32)


class Rounding(Good):
    """Differs with the batch, but no more than sums in another order do."""

    def embed(self, batch):
        return super().embed(batch) * np.float32(1 + 1e-6 * len(batch))


class NamesTwice(Good):
    layers = ("level", "level")


class NoLayers(Good):
    layers = ()

    def embed(self, batch):
        return np.zeros((len(batch), 0, 2), dtype=np.float32)


class Numbered(Good):
    layers = (0, 1)


class NoDimension(Good):
    dim = "2"


class DeafLayer(Good):
    def embed(self, batch):
        vectors = super().embed(batch)
        vectors[:, 1] = 3
        return vectors


class Doubles(Good):
    def embed(self, batch):
        return super().embed(batch).astype(np.float64)


class PlainList(Good):
    def embed(self, batch):
        return super().embed(batch).tolist()


class OneLayerShort(Good):
    def embed(self, batch):
        return super().embed(batch)[:, :1]


class NotFinite(Good):
    def embed(self, batch):
        vectors = super().embed(batch)
        vectors[0, 0] = np.nan
        return vectors


class Restless(Good):
    def __init__(self):
        self.calls = 0

    def embed(self, batch):
        self.calls += 1
        return super().embed(batch) + np.float32(self.calls)


class Positional(Good):
    def embed(self, batch):
        return super().embed(batch) + np.arange(len(batch), dtype=np.float32)[:, None, None]


class Padded(Good):
    """Hears every recording of a batch at the length of the longest."""

    def embed(self, batch):
        longest = max(map(len, batch))
        return super().embed([np.pad(audio, (0, longest - len(audio))) for audio in batch])


class Careless(Good):
    def embed(self, batch):
        for audio in batch:
            audio -= audio.mean()
        return super().embed(batch)


class NeedsMore(Good):
    def embed(self, batch):
        if min(map(len, batch)) < 50:
            raise AudioError("too short for one frame")
        return super().embed(batch)


class Impatient(Good):
    def embed(self, batch):
        if max(map(len, batch)) > 500_000:
            raise MemoryError
        return super().embed(batch)


class Normalising(Good):
    def embed(self, batch):
        with np.errstate(invalid="ignore"):
            return super().embed([audio / np.abs(audio).max() for audio in batch])


def failing(embedder) -> dict[str, str]:
    return {finding.name: finding.detail for finding in check_embedder(embedder) if not finding.ok}


def test_a_good_embedder_passes_every_clause():
    findings = check_embedder(Good())
    assert failing(Good()) == {}
    assert [finding.name for finding in findings] == [
        "layers and dimension",
        "finite float32 vectors, one each",
        "output depends on the sound",
        "input untouched",
        "two calls agree",
        "order does not matter",
        "a batch equals one by one",
        "very short input",
        "very long input",
        "digital silence",
    ]
    assert findings[0].detail == "2 of 2 numbers: level, peak"


def test_rounding_is_reported_and_forgiven():
    details = {finding.name: finding.detail for finding in check_embedder(Rounding()) if finding.ok}
    told = details["a batch equals one by one"]
    assert told.startswith("vectors differ by up to ") and told.endswith("e-06 of the largest number of a layer: rounding")
    assert details["two calls agree"] == "bit for bit"
    assert len(details) == 10


@pytest.mark.parametrize(
    ("broken", "name", "detail"),
    [
        (NamesTwice, "layers and dimension", "the layer 'level' is named 2 times; a name stands for one layer"),
        (Numbered, "layers and dimension", "layers is (0, 1); it must be a tuple of names, at least one"),
        (DeafLayer, "output depends on the sound", "every sound has the same vector in 1 layers (first: peak)"),
        (Careless, "input untouched", "the embedder wrote into the audio it was given"),
        (Padded, "a batch equals one by one", "vectors differ by up to"),
        (NeedsMore, "very short input", "1 samples: raised too short for one frame"),
        (Impatient, "very long input", "960000 samples: raised MemoryError"),
        (Normalising, "digital silence", "32000 samples: 2 of 4 numbers are NaN or infinite"),
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
        (OneLayerShort, "answered shape (5, 1, 2) for 5 recordings; it must be (5, 2, 2): (n, layers, dim)"),
        (NotFinite, "2 of 20 numbers are NaN or infinite"),
    ],
)
def test_an_answer_of_another_kind_is_described(broken, detail):
    assert failing(broken())["finite float32 vectors, one each"] == detail


def test_attributes_of_another_kind_are_described_and_nothing_else_is_asked():
    assert len(check_embedder(NoLayers())) == 1
    assert "layers is ()" in failing(NoLayers())["layers and dimension"]
    assert failing(NoDimension())["layers and dimension"] == "dim is '2'; it must be a whole number above 0"


def test_state_and_position_are_noticed():
    assert "more than the 0.0001 of rounding" in failing(Restless())["two calls agree"]
    assert set(failing(Positional())) == {"order does not matter", "a batch equals one by one"}


def test_a_difference_is_measured_against_its_own_layer():
    expected = np.array([[[1000.0, 0.0], [0.001, 0.0]]], dtype=np.float32)
    found = expected + np.array([[[0.0, 0.0], [0.0, 0.0001]]], dtype=np.float32)
    assert worst_difference(expected, found) == pytest.approx(0.1, rel=1e-3)
    assert worst_difference(np.zeros((1, 1, 2), dtype=np.float32), np.ones((1, 1, 2), dtype=np.float32)) == 1


def test_the_sound_is_at_the_rate_and_in_the_window_of_the_card():
    heard = []

    class Slow(Good):
        card = Card(name="slow", licence="MIT", sample_rate=8000, window_s=4.0)

        def embed(self, batch):
            heard.extend(len(audio) for audio in batch)
            return super().embed(batch)

    check_embedder(Slow())
    assert set(heard) == {32_000}
