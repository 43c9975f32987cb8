"""A run that asked little, found nothing, or was given hostile names still has a page; a broken run folder has an error."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from spoofscope.errors import MissingExtra, RunFolderError
from spoofscope.report import write_report
from tests.report_folder import TINY, Plan, make_run_folder
from tests.unit.report.test_page import change, read_page, table_of

HOSTILE = '<script>alert("x")</script> & $\\frac{1}$ "quoted" ポ'


def report_of(folder: Path, plan: Plan):
    return read_page(write_report(make_run_folder(folder / "run", plan)))


def test_a_run_with_only_clean_recordings_has_a_page(tmp_path):
    page = report_of(tmp_path, replace(TINY, conditions=("clean",)))
    assert "Only clean recordings were scored" in page.text
    assert "No family of conditions in this run has more than one level." in page.text


def test_a_run_without_development_says_that_no_threshold_was_frozen(tmp_path):
    page = report_of(tmp_path, replace(TINY, development=False))
    assert "There is no development protocol in this run" in page.text
    assert "The run holds no clips." in page.text


@pytest.mark.parametrize("name", ["transfer", "heard", "detectors", "measured", "worst"])
def test_a_table_that_answers_a_question_not_asked_may_be_absent(without_figures, tiny, name):
    (tiny / "tables" / f"{name}.csv").unlink()
    read_page(write_report(tiny))


@pytest.mark.parametrize("name", ["conditions", "breakdown", "det", "histograms", "failures"])
def test_a_table_that_the_page_needs_is_an_error_when_absent(tiny, name):
    (tiny / "tables" / f"{name}.csv").unlink()
    with pytest.raises(RunFolderError, match=rf"tables/{name}\.csv is missing\. Run 'spoofscope evaluate RECIPE'"):
        write_report(tiny)


def test_tables_with_a_header_and_no_rows_are_sections_that_say_so(tiny):
    for name in ("transfer", "heard", "detectors", "measured", "worst", "failures", "breakdown", "det", "histograms"):
        file = tiny / "tables" / f"{name}.csv"
        file.write_text(file.read_text().splitlines()[0] + "\n")
    page = read_page(write_report(tiny))
    assert "Every recording was read and scored." in page.text
    assert "The attacks are not named, so none is ranked." in page.text


def test_intervals_that_do_not_exist_are_said_not_to_exist(tmp_path):
    page = report_of(tmp_path, replace(TINY, intervals=False))
    assert "(no interval)" in page.text
    assert "no interval: one speaker" in page.text
    assert "nan" not in re.sub(r"\s+", " ", page.text).split(" ")


def test_figures_that_do_not_exist_are_dashes_with_their_note(tiny):
    for column in ("eer", "eer_low", "eer_high", "auc", "min_dcf", "cllr"):
        for row in range(2):
            change(tiny, "conditions", row, column, "nan")
    change(tiny, "conditions", 0, "note", "no spoof scores")
    page = read_page(write_report(tiny))
    assert "There is no equal error rate: no spoof scores." in page.text
    assert "No condition has an equal error rate." in page.text


def test_one_attack_is_not_ranked_among_others(tmp_path):
    page = report_of(tmp_path, replace(TINY, attacks=("A01",)))
    assert re.search(r"A01 is\s+the only attack\s+on clean recordings", page.text)


def test_hostile_names_are_shown_and_not_obeyed(tmp_path):
    plan = replace(
        TINY,
        detectors=(HOSTILE, "<b>other"),
        attacks=(HOSTILE, "A02"),
        title=HOSTILE,
        labels=(("mp3_8", HOSTILE), ("clean", "$\\frac$ </p>")),
    )
    folder = make_run_folder(tmp_path / "run", plan)
    (folder / "recipe.toml").write_text(f"title = '{HOSTILE}</pre>'")
    run = json.loads((folder / "run.json").read_text())
    run["warnings"] = [HOSTILE]
    run["corpus"]["url"] = "javascript:alert(1)"
    (folder / "run.json").write_text(json.dumps(run))
    page = read_page(write_report(folder))
    assert page.tags.count("script") == 1
    assert "b" not in page.tags
    assert page.text.count(HOSTILE) > 10
    assert not any(reference.startswith("javascript:") for reference in page.references)


def test_two_detectors_whose_names_make_one_file_name_keep_both_figures(tmp_path):
    page = report_of(tmp_path, replace(TINY, detectors=("net a", "net-a")))
    assert {"figure-scores-net-a", "figure-scores-net-a-2"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_a_cell_that_is_not_a_number_is_an_error_with_its_row(tiny):
    change(tiny, "conditions", 1, "eer", "eight")
    with pytest.raises(RunFolderError, match=r"conditions\.csv: row 2: eer is 'eight', which is not a number"):
        write_report(tiny)


def test_a_missing_column_is_an_error_that_names_it(tiny):
    file = tiny / "tables" / "transfer.csv"
    file.write_text(file.read_text().replace("own_threshold", "renamed", 1))
    with pytest.raises(RunFolderError, match=r"transfer\.csv has no column 'own_threshold'"):
        write_report(tiny)


def test_tables_of_another_run_are_refused(tiny):
    change(tiny, "det", 0, "condition", "reverb")
    with pytest.raises(RunFolderError, match=r"det\.csv: row 1: condition 'reverb' is not in run\.json"):
        write_report(tiny)


def test_a_detector_without_a_clean_row_is_refused(tiny):
    change(tiny, "conditions", 0, "condition", "mp3_8")
    with pytest.raises(RunFolderError, match="no row of detector 'aasist.la19' under 'clean'"):
        write_report(tiny)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list"),
        ("{}", "has no key 'title'"),
        ('{"title": 1, "corpus": {}}', "'corpus' has no key 'name'"),
    ],
)
def test_a_broken_description_is_an_error_that_says_what_is_broken(tiny, content, words):
    (tiny / "run.json").write_text(content)
    with pytest.raises(RunFolderError, match=words):
        write_report(tiny)


def test_a_folder_that_does_not_exist_is_an_error_with_the_next_step(tmp_path):
    with pytest.raises(RunFolderError, match="no run folder at .* Run 'spoofscope evaluate RECIPE' first"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("clip", "words"), [("clips/gone.flac", "there is no clip"), ("../../etc/passwd", "outside the run folder")]
)
def test_a_clip_that_is_not_there_or_lies_elsewhere_is_an_error(tiny, clip, words):
    first = next(at for at, row in enumerate(table_of(tiny, "worst")) if row["clip"])
    change(tiny, "worst", first, "clip", clip)
    with pytest.raises(RunFolderError, match=words):
        write_report(tiny)


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_an_absent_extra_answers_with_the_line_that_installs_it(tiny, monkeypatch, library):
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(MissingExtra, match=r"pip install 'spoofscope\[report\]'"):
        write_report(tiny)


def test_a_report_that_cannot_be_written_is_an_error(tiny):
    (tiny / "report").write_text("in the way")
    with pytest.raises(RunFolderError, match="cannot write the report under"):
        write_report(tiny)
