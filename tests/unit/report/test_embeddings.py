"""The section on embeddings: there where the run stored vectors, and a copy of their table in words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from spoofscope.errors import RunFolderError
from spoofscope.report import write_report
from tests.report_folder import TINY, make_run_folder
from tests.unit.report.test_odd_runs import HOSTILE
from tests.unit.report.test_page import Page, change, read_page, table_of

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run_folder(tmp_path / "run", replace(TINY, embedders=("xlsr", "onnx.model")))


def page_of(run: Path) -> Page:
    return read_page(write_report(run))


def section_of(run: Path) -> str:
    """The text of the section, words of different cells apart."""
    page = write_report(run).read_text(encoding="utf-8")
    section = page[page.index('<section id="embeddings"') :].partition("</section>")[0]
    return " ".join(unescape(re.sub("<[^>]+>", " ", section)).split())


def test_a_run_with_embeddings_has_the_section_and_its_entry_in_the_contents(run):
    page = page_of(run)
    assert page.sections[page.sections.index("failures") + 1 :] == ["embeddings", "method", "recipe"]
    assert "#embeddings" in page.references
    assert "../tables/embeddings.csv" in page.references


def test_a_run_without_embeddings_has_neither(tiny):
    page = page_of(tiny)
    assert "embeddings" not in page.sections
    assert "#embeddings" not in page.references
    assert "open_embeddings" not in page.text


def test_a_table_with_a_header_and_no_rows_makes_no_section(run):
    file = run / "tables" / "embeddings.csv"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    assert "embeddings" not in page_of(run).sections


def test_every_number_of_the_table_is_on_the_page(run):
    shown = {source: (value, text) for source, value, text in page_of(run).numbers if "embeddings.csv" in source}
    rows = table_of(run, "embeddings")
    assert len(rows) == 4 and {row["n_failed"] for row in rows} == {"0", "2"}
    assert shown == {
        f"tables/embeddings.csv#row={at},column={column}": (row[column], f"{int(row[column]):,}")
        for at, row in enumerate(rows, 1)
        for column in ("trials", "n_failed", "dim")
    }


def test_every_row_says_what_was_stored_where(run):
    section = section_of(run)
    for row in table_of(run, "embeddings"):
        assert f"{row['embedder']} first 4.0375 s; mean and standard deviation over time; not normalised;" in section
        assert f"{row['label']} {row['folder']}" in section
    assert section.count("26 0 to final 2,048 float16") == 4


def test_an_embedder_without_settings_says_what_it_heard_and_no_more(run):
    change(run, "embeddings", 0, "settings", "{}")
    assert "xlsr first 4.0375 s clean" in section_of(run)


def test_a_changed_table_changes_the_section(run):
    change(run, "embeddings", 0, "layers", "embedding")
    change(run, "embeddings", 0, "dim", "96")
    change(run, "embeddings", 0, "dtype", "float32")
    assert "1 embedding 96 float32" in section_of(run)


def test_hostile_cells_are_shown_and_not_obeyed(run):
    for column in ("embedder", "label", "dtype", "heard", "folder"):
        change(run, "embeddings", 0, column, HOSTILE)
    change(run, "embeddings", 0, "layers", "<b>x</b> </section>")
    change(run, "embeddings", 0, "settings", json.dumps({HOSTILE: HOSTILE, "pool": "<i>mean</i>"}))
    page = page_of(run)
    assert page.tags.count("script") == 1
    assert not {"b", "i"} & set(page.tags)
    assert page.text.count(HOSTILE) == 7
    assert "<b>x</b> and </section>" in page.text


def test_vectors_under_a_condition_that_was_not_evaluated_are_listed_all_the_same(run):
    change(run, "embeddings", 1, "condition", "reverb")
    change(run, "embeddings", 1, "label", "a large hall")
    assert "a large hall embeddings/" in section_of(run)


@pytest.mark.parametrize("settings", ["", "{", "[]", "mean"])
def test_settings_that_are_no_object_are_an_error_with_their_row(run, settings):
    change(run, "embeddings", 2, "settings", settings)
    with pytest.raises(RunFolderError, match=r"embeddings\.csv: row 3: settings is '.*', which is not a JSON object\. Run"):
        write_report(run)


def test_a_count_that_is_not_a_number_is_an_error_with_its_row(run):
    change(run, "embeddings", 1, "dim", "many")
    with pytest.raises(RunFolderError, match=r"embeddings\.csv: row 2: dim is 'many', which is not a number"):
        write_report(run)
