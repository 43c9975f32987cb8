"""Building a detector by name: options checked, polarity flipped at the door, identity for the key."""

import json
import pickle

import numpy as np
import pytest

from spoofscope.cards import identity
from spoofscope.detectors import Card, Flipped, build_detector, detector, detectors
from spoofscope.errors import UnknownName, UserError


class Level:
    def __init__(self, *, gain: float = 1.0, floor: float) -> None:
        self.gain, self.floor = gain, floor
        self.settings = {"gain": gain}

    def score(self, batch):
        return np.array([self.gain * np.mean(np.abs(audio)) - self.floor for audio in batch], dtype=np.float32)


@pytest.fixture
def registered():
    def add(name: str, **about):
        made = type("Level", (Level,), {"__module__": __name__})
        detector(Card(name=name, licence="MIT", **about))(made)
        return made

    yield add
    for name in [name for name in detectors._things if name.startswith("test.")]:
        del detectors._things[name], detectors._origins[name], detectors.cards[name]


AUDIO = [np.full(10, 0.25, np.float32), np.full(10, 0.5, np.float32)]


def test_options_reach_the_constructor(registered):
    registered("test.level")
    assert build_detector("test.level", gain=2, floor=0.5).score(AUDIO).tolist() == [0.0, 0.5]


def test_spoof_polarity_is_negated_and_everything_else_is_the_detectors_own(registered):
    registered("test.level", polarity="spoof")
    built = build_detector("test.level", floor=0)
    assert built.score(AUDIO).tolist() == [-0.25, -0.5]
    assert built.score(AUDIO).dtype == np.float32
    assert built.flipped is True
    assert (built.gain, built.settings) == (1.0, {"gain": 1.0})
    assert built.card.polarity == "spoof"
    assert not hasattr(built, "lookup")


def test_a_flipped_detector_can_be_copied_to_another_process():
    level = Level(floor=0.0)
    level.card = Card(name="x", licence="MIT", polarity="spoof")
    assert pickle.loads(pickle.dumps(Flipped(level))).score(AUDIO).tolist() == [-0.25, -0.5]


def test_an_unknown_option_gets_the_nearest_and_the_list(registered):
    registered("test.level")
    with pytest.raises(UserError, match=r"test\.level has no option 'gian'\. Did you mean 'gain'\? Its options: gain, floor\."):
        build_detector("test.level", gian=2, floor=0)


def test_a_missing_option_is_asked_for(registered):
    registered("test.level")
    with pytest.raises(UserError, match=r"needs the option 'floor': test\.level\(floor=\.\.\.\)"):
        build_detector("test.level")


def test_a_misspelt_detector_is_not_found():
    with pytest.raises(UnknownName, match=r"no detector is named 'scoers'\. Did you mean 'scores'\?"):
        build_detector("scoers")


def test_the_identity_is_json_and_sees_all_that_decides_a_score(registered):
    registered("test.a", weights_sha256="ab", window_s=4.0)
    registered("test.b", weights_sha256="ab", window_s=4.0, padding="zero")
    a, b = (identity(build_detector(name, floor=0)) for name in ("test.a", "test.b"))
    assert json.loads(json.dumps(a)) == a
    assert {key for key in a if a[key] != b[key]} == {"name", "padding"}
    assert a["settings"] == {"gain": 1.0}
    assert a["precision"] == "float32"
