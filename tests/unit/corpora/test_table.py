"""A user's own table as a corpus: names mapped, text kept as text, and every error with its row."""

from pathlib import Path

import polars as pl
import pytest

from spoofscope.corpora.table import Table
from spoofscope.errors import TrialsError, UnknownName, UserError

HEADER = "trial_id,path,label,attack,speaker,duration_s,vocoder\n"
ROWS = "007,a.wav,bonafide,,007,1.5,\n008,sub/b.wav,spoof,A1,1e3,2,x\n"


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "calls.csv"
    file.write_text(HEADER + ROWS)
    return file


def test_a_csv_with_our_columns_reads_as_it_is(table):
    trials = Table().trials(path=table)
    assert trials.name == "calls, all"
    assert trials.ids == ["007", "008"]
    assert trials.frame["speaker"].to_list() == ["007", "1e3"]
    assert trials.frame["attack"].to_list() == ["-", "A1"]
    assert trials.frame["duration_s"].to_list() == [1.5, 2.0]
    assert trials.frame["vocoder"].to_list() == [None, "x"]
    assert trials.paths[1] == table.parent / "sub/b.wav"


def test_parquet_and_tsv_answer_the_same_as_csv(table):
    expected = Table().trials(path=table)
    frame = pl.read_csv(table, schema_overrides={"trial_id": pl.String, "speaker": pl.String})
    frame.write_parquet(table.with_suffix(".parquet"))
    frame.write_csv(table.with_suffix(".tsv"), separator="\t")
    for suffix in (".parquet", ".tsv"):
        assert Table().trials(path=table.with_suffix(suffix)).frame.equals(expected.frame)


def test_paths_are_relative_to_the_root_where_one_is_given(table, tmp_path):
    assert Table().trials(path=table, root=tmp_path / "audio").paths[0] == tmp_path / "audio" / "a.wav"


def test_a_table_without_ids_uses_its_paths(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("file,class\na.wav,real\nb.wav,fake\n")
    trials = Table().trials(path=file, columns={"file": "path", "class": "label"}, labels={"real": "bonafide", "fake": "spoof"})
    assert trials.ids == ["a.wav", "b.wav"]
    assert trials.counts == (1, 1)
    assert trials.frame["attack"].to_list() == ["-", "unknown"]


def test_values_of_the_protocol_column_are_the_protocols(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("path,label,protocol\na,bonafide,dev\nb,spoof,dev\nc,spoof,eval\n")
    trials = Table().trials("dev", path=file)
    assert trials.ids == ["a", "b"]
    assert trials.name == "t, dev"
    with pytest.raises(UnknownName, match=r"no protocol 'evl'. Did you mean 'eval'\? .* holds dev, eval"):
        Table().trials("evl", path=file)
    with pytest.raises(UnknownName, match="no protocol 'all'"):
        Table().trials(path=file)


def test_a_protocol_cannot_be_asked_of_a_table_without_that_column(table):
    with pytest.raises(UnknownName, match="has no column 'protocol', so its only protocol is 'all', not 'eval'"):
        Table().trials("eval", path=table)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,a,bonafide\n2,b,fake\n", r"label is not bonafide or spoof in 1 of 2 rows \(first: row 2, trial '2', label 'fake'"),
        ("1,a,bonafide\n1,b,spoof\n", r"trial_id appears more than once in 2 of 2 rows \(first: row 1, trial '1'"),
        ("1,a,bonafide\n2,,spoof\n", r"path is empty in 1 of 2 rows \(first: row 2, trial '2'"),
        ("1,a,bonafide\n2,b,\n", r"label is not .* row 2"),
        ("", "the table has no rows"),
    ],
)
def test_a_bad_row_is_named_with_its_file(tmp_path, rows, message):
    file = tmp_path / "t.csv"
    file.write_text("trial_id,path,label\n" + rows)
    with pytest.raises(TrialsError, match=f"t.csv: {message}"):
        Table().trials(path=file)


def test_row_numbers_are_those_of_the_file_whatever_the_protocol(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("path,label,protocol\na,spoof,dev\nb,spoof,dev\nc,huh,eval\n")
    with pytest.raises(TrialsError, match="row 3, trial 'c', label 'huh'"):
        Table().trials("eval", path=file)


def test_a_duration_that_is_no_number_is_not_swallowed(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("path,label,duration_s\na,spoof,1.0\nb,bonafide,long\n")
    with pytest.raises(
        TrialsError,
        match=r"duration_s is not a number of seconds above 0 in 1 of 2 rows \(first: row 2, trial 'b', duration_s 'long'",
    ):
        Table().trials(path=file)


def test_a_missing_column_says_what_the_table_has(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("file,label\na,spoof\n")
    with pytest.raises(TrialsError, match=r"no column 'trial_id'|no column 'path'"):
        Table().trials(path=file)


def test_a_mapped_column_that_is_absent_gets_the_nearest(table):
    with pytest.raises(UserError, match=r"no column 'vocodr'. Did you mean 'vocoder'\? It has trial_id"):
        Table().trials(path=table, columns={"vocodr": "source"})


def test_two_columns_cannot_become_one(table):
    with pytest.raises(UserError, match="would have two columns 'attack'"):
        Table().trials(path=table, columns={"vocoder": "attack"})


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_file_that_is_no_table_is_an_error_that_names_it(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(b"\x00\x01\xff\xfe" * 9 + b'\n"unclosed,1,2\n')
    with pytest.raises(TrialsError, match=name):
        Table().trials(path=file)
    with pytest.raises(TrialsError, match="no such table"):
        Table().trials(path=tmp_path / "none.csv")
    file.write_bytes(b"")
    with pytest.raises(TrialsError, match=f"{name} cannot be read as a table"):
        Table().trials(path=file)


def test_a_row_with_too_many_fields_is_an_error(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("path,label\na,spoof\nb,bonafide,3,4\n")
    with pytest.raises(TrialsError, match=r"t.csv cannot be read as a table"):
        Table().trials(path=file)


def test_a_title_is_what_the_trials_are_called(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\na.wav,bonafide\nb.wav,spoof\n")
    assert Table().trials(path=tmp_path / "list.csv", title="My calls").name == "My calls, all"
    assert Table().trials(path=tmp_path / "list.csv").name == "list, all"
