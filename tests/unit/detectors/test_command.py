"""A command as a detector: what it hears, what it must write, and what is said when it does not."""

import sys
import time

import numpy as np
import pytest

from spoofscope.cards import identity
from spoofscope.detectors import build_detector
from spoofscope.errors import PluginError, UserError

PYTHON = sys.executable


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    return [(level * rng.standard_normal(800)).astype(np.float32) for level in (0.1, 0.3, 0.2)]


def mean_level(batch) -> list[float]:
    return [float(np.float32(np.mean(np.abs(audio)))) for audio in batch]


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
