"""The table of scores and the challenge's score text: nothing is dropped, nothing unclear gets in."""

import gzip

import numpy as np
import polars as pl
import pytest

from spoofscope.errors import ScoresError
from spoofscope.scores import Scores, read_score_text


def make(*rows) -> Scores:
    return Scores(pl.DataFrame(rows, schema=["trial_id", "score", "status", "label"], orient="row"), "Test, eval")


GOOD = (("a", 1.5, "ok", "bonafide"), ("b", -2.0, "ok", "spoof"), ("c", None, "no such file", "spoof"))


def test_scores_are_float32_and_split_by_class():
    scores = make(*GOOD)
    assert scores.bonafide.dtype == np.float32
    assert scores.bonafide.tolist() == [1.5]
    assert scores.spoof.tolist() == [-2.0]
    assert scores.failures["trial_id"].to_list() == ["c"]


def test_failures_stop_an_evaluation_unless_they_are_allowed():
    with pytest.raises(
        ScoresError, match=r"Test, eval: 1 of 3 trials have no score \(first: c: no such file\).*--allow-missing"
    ):
        make(*GOOD).scored()
    assert make(*GOOD).scored(allow_missing=True).frame["trial_id"].to_list() == ["a", "b"]
    assert len(make(*GOOD[:2]).scored()) == 2


def test_a_table_where_every_trial_failed_is_still_a_table():
    scores = make(("a", None, "no such file", "spoof"), ("b", None, "no such file", "bonafide"))
    assert scores.failures.height == 2
    assert len(scores.spoof) == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("d", float("nan"), "ok", "spoof"), "trial 'd' has status 'ok' and score nan"),
        (("d", float("inf"), "ok", "spoof"), "trial 'd' has status 'ok' and score inf"),
        (("d", 1e39, "ok", "spoof"), "trial 'd' has status 'ok' and score inf"),
        (("d", None, "ok", "spoof"), "trial 'd' has status 'ok' and score None"),
        (("d", 0.0, "too long", "spoof"), r"trial 'd' has status 'too long' and score 0\.0"),
        (("d", 0.0, None, "spoof"), r"trial 'd' has status 'None' and score 0\.0"),
        (("d", None, None, "spoof"), "trial 'd' has status 'None' and score None"),
        (("d", 0.0, "ok", "fake"), "trial 'd' has the label 'fake'"),
        (("d", 0.0, "ok", None), "trial 'd' has the label 'None'"),
        (("a", 0.0, "ok", "spoof"), r"trial 'a' appears more than once \(2 such rows\)"),
    ],
)
def test_a_row_that_could_vanish_or_mislead_is_refused(row, message):
    with pytest.raises(ScoresError, match=f"Test, eval: {message}"):
        make(*GOOD, row)


def test_a_missing_column_and_scores_that_are_text_are_refused():
    with pytest.raises(ScoresError, match="has no column 'status'"):
        Scores(pl.DataFrame({"trial_id": ["a"], "score": [1.0]}), "Test, eval")
    with pytest.raises(ScoresError, match="the column 'score' holds String; it must hold numbers"):
        Scores(pl.DataFrame({"trial_id": ["a"], "score": ["1"], "status": ["ok"], "label": ["spoof"]}), "Test, eval")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a 1.5\nb -2e1\n", ["trial_id", "score"]),
        ("a - bonafide 1.5\n\nb A07 spoof -20\n", ["trial_id", "attack", "label", "score"]),
        ("filename\tcm-score\na\t1.5\nb\t-20\n", ["trial_id", "score"]),
        ("a   1.5  \r\nb\t-20.0\r\n", ["trial_id", "score"]),
        ("\ufeffa 1.5\nb -20\n", ["trial_id", "score"]),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_every_form_of_the_challenges_text_is_read(tmp_path, text, columns, compressed):
    file = tmp_path / ("s.txt.gz" if compressed else "s.txt")
    file.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    table = read_score_text(file)
    assert table.columns == columns
    assert table["trial_id"].to_list() == ["a", "b"]
    assert table["score"].to_list() == [1.5, -20.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no scores"),
        ("filename cm-score\n", "holds no scores"),
        ("a 1\nb\n", "row 2 has 1 fields where the first has 2"),
        ("a b c\n", "row 1 has 3 fields; a score file has 2"),
        ("a 1\n\nb nan\n", r"row 3: the score 'nan' is not a finite number \(1 such rows\)"),
        ("a 1\nb inf\n", "row 2: the score 'inf'"),
        ("a 1\nb 1,5\n", "row 2: the score '1,5'"),
        ("a 1\na 2\n", r"trial 'a' appears more than once \(2 such rows\)"),
    ],
)
def test_a_bad_line_of_scores_is_named(tmp_path, text, message):
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(ScoresError, match=rf"s\.txt.*{message}"):
        read_score_text(tmp_path / "s.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.txt", b"\xff\xfe\x00"),
        ("s.txt.gz", b"a 1\n"),
        ("s.txt.gz", gzip.compress(b"abc 1\n" * 999, mtime=0)[:-12]),
        ("s.txt.gz", gzip.compress(np.random.default_rng(0).bytes(999), mtime=0)[:40] + bytes(80)),
    ],
)
def test_a_file_that_is_no_text_is_an_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ScoresError, match="is not a text of scores"):
        read_score_text(tmp_path / name)


def test_a_missing_score_file_is_an_error(tmp_path):
    with pytest.raises(ScoresError, match=r"no score file at .*none\.txt"):
        read_score_text(tmp_path / "none.txt")
