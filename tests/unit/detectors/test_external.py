"""Detectors that live elsewhere: what they are asked, what they must answer, and what is said when they do not."""

import sys
import time

import numpy as np
import pytest

from spoofscope.detectors import build_detector, identity
from spoofscope.errors import PluginError, ScoresError, UserError

PYTHON = sys.executable


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    return [(level * rng.standard_normal(800)).astype(np.float32) for level in (0.1, 0.3, 0.2)]


def mean_level(batch) -> list[float]:
    return [float(np.float32(np.mean(np.abs(audio)))) for audio in batch]


# A score file


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


# A Python callable


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
    detector = build_detector("callable", target=f"{functions}:batch", sample_rate=8000, window_s=2.5, padding="zero")
    scores = detector.score(batch)
    assert scores.dtype == np.float32
    assert scores.tolist() == mean_level(batch)
    assert sys.modules[detector._function.__module__].heard == [(3, 8000)]
    assert (detector.card.sample_rate, detector.card.window_s, detector.card.padding) == (8000, 2.5, "zero")
    assert detector.card.name == "mine.batch"


def test_a_function_of_one_recording_is_called_for_each(functions, batch):
    detector = build_detector("callable", target=f"{functions}:one", takes="recording")
    assert detector.score(batch).tolist() == mean_level(batch)


def test_a_function_is_found_in_an_importable_module(batch):
    detector = build_detector("callable", target="tests.unit.detectors.test_external:level_of", takes="recording")
    assert detector.score(batch).tolist() == mean_level(batch)


def level_of(recording, sample_rate):
    return np.mean(np.abs(recording))


def test_an_instance_that_can_be_called_will_do(functions, batch):
    assert build_detector("callable", target=f"{functions}:model").score(batch).tolist() == [1, 1, 1]


def test_spoof_polarity_negates_what_the_function_returns(functions, batch):
    detector = build_detector("callable", target=f"{functions}:batch", polarity="spoof")
    assert detector.flipped is True
    assert detector.score(batch).tolist() == [-level for level in mean_level(batch)]


def test_a_changed_source_is_another_detector_to_the_key(functions):
    one = identity(build_detector("callable", target=f"{functions}:batch"))
    assert one == identity(build_detector("callable", target=f"{functions}:batch"))
    functions.write_text(functions.read_text() + "# changed\n")
    assert identity(build_detector("callable", target=f"{functions}:batch"))["settings"] != one["settings"]


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
        build_detector("callable", target=target.format(file=functions))


def test_an_answer_of_another_shape_and_an_exception_are_explained(functions, batch):
    with pytest.raises(PluginError, match=r"two_columns answered 3 recordings with shape \(3, 2\); it must be \(3,\)"):
        build_detector("callable", target=f"{functions}:two_columns").score(batch)
    with pytest.raises(PluginError, match="broken failed: KeyError: 'weights'"):
        build_detector("callable", target=f"{functions}:broken").score(batch)


# A command

LISTEN = """
import numpy as np, soundfile
def score(path, at):
    audio, rate = soundfile.read(path, dtype="float32")
    assert rate == 16000
    return repr(float(np.mean(np.abs(audio))))
"""
COUNT = """
def score(path, at):
    return at
"""
SCORER = """
import os, sys
{score}
lines = [f"{path} {score(path, at)}" for at, path in enumerate(open(sys.argv[1]).read().split())]
{change}
text = "\\n".join(lines)
open(sys.argv[2], "w").write(text) if len(sys.argv) > 2 else print(text)
"""


@pytest.fixture
def scorer(tmp_path):
    def write(change: str = "", *, score: str = COUNT) -> str:
        file = tmp_path / "score it.py"
        file.write_text(SCORER.replace("{score}", score).replace("{change}", change))
        return f"{PYTHON} '{file}'"

    return write


def test_a_command_hears_the_files_bit_for_bit(scorer, batch):
    scores = build_detector("command", run=f"{scorer(score=LISTEN)} {{list}} {{scores}}").score(batch)
    assert scores.dtype == np.float32
    assert scores.tolist() == mean_level(batch)


@pytest.mark.parametrize(
    "change",
    [
        "",
        "lines = lines[::-1]",
        "lines = [os.path.basename(line) for line in lines]",
        "lines = [os.path.basename(line).replace('.wav', '') for line in lines]",
        "lines = [line.replace(' ', ',') for line in lines]",
    ],
)
def test_a_command_may_write_its_lines_in_any_order_by_path_name_or_id(scorer, batch, change):
    assert build_detector("command", run=f"{scorer(change)} {{list}}").score(batch).tolist() == [0, 1, 2]


def test_spoof_polarity_negates_what_the_command_writes(scorer, batch):
    detector = build_detector("command", run=f"{scorer()} {{list}}", polarity="spoof", name="theirs")
    assert detector.score(batch).tolist() == [0, -1, -2]
    assert detector.card.name == "theirs"


def test_a_recording_that_the_command_cannot_score_is_nan_and_the_rest_stand(scorer, batch):
    change = "lines[1] = lines[1].split()[0] + ' nan'"
    scores = build_detector("command", run=f"{scorer(change)} {{list}}").score(batch)
    assert np.isnan(scores).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("lines.pop()", r"wrote no score for 1 of 3 files \(first: 000002\.wav\)"),
        ("lines.append('other.wav 1')", "wrote the line 'other.wav 1'; each must be a file of the list and its score"),
        ("lines.append('done')", "wrote the line 'done'"),
        ("lines.append(lines[0])", r"wrote two scores for 000000\.wav"),
        ("lines[0] = lines[0].split()[0] + ' high'", r"wrote 'high' as the score of 000000\.wav; it must be a number"),
        ("sys.exit('no weights at /models')", r"ended with exit code 1\. It said:\n  no weights at /models"),
        ("sys.exit(3)", r"exit code 3\. It said nothing on stderr\."),
    ],
)
def test_a_command_that_does_not_keep_its_word_is_quoted(scorer, batch, change, message):
    detector = build_detector("command", run=f"{scorer(change)} {{list}}")
    with pytest.raises(PluginError, match=message):
        detector.score(batch)


def test_only_the_last_lines_of_a_long_complaint_are_shown(scorer, batch):
    change = "print('\\n'.join(f'line {n}.' for n in range(100)), file=sys.stderr); sys.exit(2)"
    with pytest.raises(PluginError, match=r"said:\n  line 92\.\n(.*\n)*  line 99\.$") as caught:
        build_detector("command", run=f"{scorer(change)} {{list}}").score(batch)
    assert "line 91." not in str(caught.value)


def test_scores_that_were_promised_in_a_file_must_be_in_it(batch):
    detector = build_detector("command", run=f"{PYTHON} -c pass {{list}} {{scores}}")
    with pytest.raises(PluginError, match=r"ended without writing \{scores\}"):
        detector.score(batch)


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path, batch):
    mark, file = tmp_path / "survived", tmp_path / "slow.sh"
    file.write_text(f"(sleep 2; touch '{mark}') &\necho loading >&2\nsleep 60\n")
    start = time.monotonic()
    with pytest.raises(PluginError, match=r"took over 0\.5 s for one batch; raise timeout_s .*\n  loading"):
        build_detector("command", run=f"sh {file} {{list}}", timeout_s=0.5).score(batch)
    assert time.monotonic() - start < 20
    time.sleep(2)
    assert not mark.exists()


def test_no_shell_reads_the_command(tmp_path, batch):
    mark = tmp_path / "mark"
    with pytest.raises(PluginError):
        build_detector("command", run=f"{PYTHON} -c pass {{list}} ; touch {mark}").score(batch)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": "python score.py"}, r"has no \{list\}"),
        ({"run": "python 'score.py {list}"}, "cannot split the command"),
        ({"run": "score {list}", "timeout_s": 0}, "timeout_s is 0; it must be above 0"),
        ({"run": "score {list}", "polarity": "fake"}, "polarity is 'fake'; say which class"),
    ],
)
def test_a_command_that_cannot_work_is_refused_when_built(options, message):
    with pytest.raises(UserError, match=message):
        build_detector("command", **options)


def test_a_program_that_is_not_installed_is_named(batch):
    with pytest.raises(PluginError, match="cannot start 'no-such-program': No such file"):
        build_detector("command", run="no-such-program {list}").score(batch)


def test_the_command_line_and_its_script_are_part_of_the_key(scorer, tmp_path):
    line = f"{scorer()} {{list}}"
    one = identity(build_detector("command", run=line))["settings"]
    assert one["run"] == line
    scorer("# changed")
    assert identity(build_detector("command", run=line))["settings"] != one
