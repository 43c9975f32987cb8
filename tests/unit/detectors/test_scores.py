"""A score file as a detector: looked up by id, turned, and part of the key."""

import numpy as np
import pytest

from spoofscope.cards import identity
from spoofscope.detectors import build_detector
from spoofscope.errors import ScoresError, UserError


@pytest.fixture
def score_file(tmp_path):
    file = tmp_path / "system.txt"
    file.write_text("LA_E_1 -0.5\nLA_E_2 3.25\nLA_E_3 7\n")
    return file


def test_ready_scores_are_looked_up_by_id_in_the_asked_order(score_file):
    detector = build_detector("scores", path=str(score_file))
    answer = detector.lookup(["LA_E_3", "LA_E_1"])
    assert answer.dtype == np.float32
    assert answer.tolist() == [7.0, -0.5]
    assert detector.card.name == "system"
    with pytest.raises(UserError, match="is a score file: it cannot score audio"):
        detector.score([np.zeros(3, np.float32)])


def test_ready_scores_of_spoof_polarity_are_negated_at_the_door(score_file):
    detector = build_detector("scores", path=score_file, polarity="spoof")
    assert detector.flipped is True
    assert detector.lookup(["LA_E_3", "LA_E_1"]).tolist() == [-7.0, 0.5]
    assert not getattr(build_detector("scores", path=score_file), "flipped", False)


def test_a_missing_score_names_the_trials_and_shows_an_id_of_the_file(score_file):
    detector = build_detector("scores", path=score_file)
    with pytest.raises(
        ScoresError, match=r"no score for 2 of 3 trials \(first: X, Y\); it has 3 scores, the first of 'LA_E_1'"
    ):
        detector.lookup(["LA_E_1", "X", "Y"])


def test_another_score_file_is_another_detector_to_the_key(score_file, tmp_path):
    one = identity(build_detector("scores", path=score_file))
    score_file.write_text("LA_E_1 -0.5\nLA_E_2 3.25\nLA_E_3 8\n")
    assert identity(build_detector("scores", path=score_file)) != one
