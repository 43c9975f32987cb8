"""Python code as a detector: what it is asked, what it must answer, and what is said when it does not."""

import sys

import numpy as np
import pytest

from spoofscope.cards import identity
from spoofscope.detectors import build_detector
from spoofscope.errors import PluginError, UserError


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    return [(level * rng.standard_normal(800)).astype(np.float32) for level in (0.1, 0.3, 0.2)]


def mean_level(batch) -> list[float]:
    return [float(np.float32(np.mean(np.abs(audio)))) for audio in batch]


@pytest.fixture
def functions(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n"
        "heard = []\n"
        "def batch(recordings, sample_rate):\n"
        "    heard.append((len(recordings), sample_rate))\n"
        "    return np.array([np.mean(np.abs(one)) for one in recordings])\n"
        "def one(recording, sample_rate):\n"
        "    return np.mean(np.abs(recording))\n"
        "def two_columns(recordings, sample_rate):\n"
        "    return np.zeros((len(recordings), 2))\n"
        "def broken(recordings, sample_rate):\n"
        "    raise KeyError('weights')\n"
        "class Model:\n"
        "    def __call__(self, recordings, sample_rate):\n"
        "        return [1.0] * len(recordings)\n"
        "model = Model()\n"
        "number = 3\n"
    )
    return file


def test_a_function_of_a_file_scores_the_whole_batch_at_its_rate(functions, batch):
    detector = build_detector("python", target=f"{functions}:batch", sample_rate=8000, window_s=2.5, padding="zero")
    scores = detector.score(batch)
    assert scores.dtype == np.float32
    assert scores.tolist() == mean_level(batch)
    assert sys.modules[detector._function.__module__].heard == [(3, 8000)]
    assert (detector.card.sample_rate, detector.card.window_s, detector.card.padding) == (8000, 2.5, "zero")
    assert detector.card.name == "mine.batch"


def test_a_function_of_one_recording_is_called_for_each(functions, batch):
    detector = build_detector("python", target=f"{functions}:one", takes="recording")
    assert detector.score(batch).tolist() == mean_level(batch)


def test_a_function_is_found_in_an_importable_module(batch):
    detector = build_detector("python", target="tests.unit.detectors.test_python:level_of", takes="recording")
    assert detector.score(batch).tolist() == mean_level(batch)


def level_of(recording, sample_rate):
    return np.mean(np.abs(recording))


def test_an_instance_that_can_be_called_will_do(functions, batch):
    assert build_detector("python", target=f"{functions}:model").score(batch).tolist() == [1, 1, 1]


def test_spoof_polarity_negates_what_the_function_returns(functions, batch):
    detector = build_detector("python", target=f"{functions}:batch", polarity="spoof")
    assert detector.flipped is True
    assert detector.score(batch).tolist() == [-level for level in mean_level(batch)]


def test_a_changed_source_is_another_detector_to_the_key(functions):
    one = identity(build_detector("python", target=f"{functions}:batch"))
    assert one == identity(build_detector("python", target=f"{functions}:batch"))
    functions.write_text(functions.read_text() + "# changed\n")
    assert identity(build_detector("python", target=f"{functions}:batch"))["settings"] != one["settings"]


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("mine", UserError, "write module:function or file.py:function"),
        ("none.py:f", UserError, r"no such file: .*none\.py"),
        ("a_package_that_is_not_there:f", PluginError, "cannot import .*ModuleNotFoundError"),
        ("{file}:absent", PluginError, "'absent' in .* is absent"),
        ("{file}:number", PluginError, "'number' in .* is not callable"),
    ],
)
def test_a_target_that_is_not_there_is_refused_when_built(functions, target, error, message):
    with pytest.raises(error, match=message):
        build_detector("python", target=target.format(file=functions))


def test_an_answer_of_another_shape_and_an_exception_are_explained(functions, batch):
    with pytest.raises(PluginError, match=r"two_columns answered 3 recordings with shape \(3, 2\); it must be \(3,\)"):
        build_detector("python", target=f"{functions}:two_columns").score(batch)
    with pytest.raises(PluginError, match="broken failed: KeyError: 'weights'"):
        build_detector("python", target=f"{functions}:broken").score(batch)
