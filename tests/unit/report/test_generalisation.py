"""The second part of the page says what the tables of an analysis say, and is not there without them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from spoofscope.errors import RunFolderError
from spoofscope.report import write_report
from spoofscope.report.chosen import _label
from spoofscope.report.generalisation import KINDS, SECTIONS
from spoofscope.report.schemas import ANALYSIS
from tests.unit.report.test_page import Page, change, read_page, shown_as, table_of

SOURCE = re.compile(r"tables/(\w+)\.csv#row=(\d+),column=(\w+)")


@pytest.fixture(scope="module")
def page(analysed: Path) -> Page:
    return read_page(analysed / "report" / "index.html")


@pytest.fixture
def folder(analysed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to change, whose figures are not drawn."""
    for name in ("draw_figures", "draw_generalisation"):
        kinds = (
            KINDS
            if name == "draw_generalisation"
            else ("overview", "sweeps", "transfer", "attacks", "det", "histograms", "heard")
        )
        monkeypatch.setattr(f"spoofscope.report.page.{name}", lambda run, path, kinds=kinds: {kind: [] for kind in kinds})
    keep = shutil.ignore_patterns("embeddings", "other_embeddings", "scores", "development", "retraining", "report")
    return Path(shutil.copytree(analysed, tmp_path / "run", ignore=keep))


def rewrite(folder: Path, **facts: object) -> None:
    file = folder / "analysis.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def test_every_section_has_its_anchor_and_stands_in_the_contents(page: Page) -> None:
    wanted = set(SECTIONS) - {"layers"}  # two layers are no sweep worth a section of its own
    assert wanted <= set(page.sections)
    assert {f"#{anchor}" for anchor in wanted} <= set(page.references)
    assert len(page.ids) == len(set(page.ids))


def test_every_number_of_the_second_part_is_that_of_its_table_cell(analysed: Path, page: Page) -> None:
    tables: dict[str, list[dict[str, str]]] = {}
    seen = set()
    for source, value, text in page.numbers:
        name, row, column = SOURCE.fullmatch(source).groups()
        if name not in ANALYSIS:
            continue
        cell = tables.setdefault(name, table_of(analysed, name))[int(row) - 1][column]
        assert (value == "") == (cell == ""), source
        assert cell == "" or float(value) == float(cell), source
        assert shown_as(text.replace("<\u202f0.001", "0"), cell), f"{source}: the page prints {text!r} for {cell}"
        seen.add(name)
    assert {"holdout", "association", "regime_tests", "probes", "confounds", "coverage", "cross_corpus"} <= seen


def test_every_kind_of_figure_that_the_tables_allow_is_drawn(analysed: Path, page: Page) -> None:
    drawn = {path.stem for path in (analysed / "report" / "figures").glob("*.svg")}
    for start in ("gaps-", "association-", "predictor-", "regimes-", "probes-", "shortcuts", "coverage-", "foresight-"):
        assert any(name.startswith(start) for name in drawn), start
    for start in ("few-samples-", "masking-", "coverage-map-"):
        assert any(name.startswith(start) for name in drawn), start


def test_every_caption_with_bars_says_what_they_are_intervals_over(analysed: Path) -> None:
    html = (analysed / "report" / "index.html").read_text()
    captions = dict(re.findall(r'<figcaption id="caption-([^"]+)">(.*?)<span', html, re.DOTALL))
    barred = (
        "gaps-",
        "association-",
        "predictor-",
        "regimes-difference-",
        "probes-",
        "shortcuts",
        "coverage-",
        "foresight-",
        "few-",
        "masking-",
    )
    second = {name: said for name, said in captions.items() if name.startswith(barred) and not name.startswith("coverage-map-")}
    assert len(second) >= len(barred)
    assert [
        name for name, said in second.items() if not re.search(r"Clean recordings; ba(rs|nds) are 95\s% intervals o", said)
    ] == []


def test_the_plan_is_printed_with_its_digest_and_hypothesis(analysed: Path, page: Page) -> None:
    plan = json.loads((analysed / "analysis.json").read_text())["plan"]
    assert plan["digest"][:12] in page.text and plan["text"]["hypothesis"].strip() in page.text


def test_contamination_is_in_red_and_first(analysed: Path) -> None:
    html = (analysed / "report" / "index.html").read_text()
    said = json.loads((analysed / "analysis.json").read_text())["contamination"]
    assert f'<li class="red">{said[0]}' in html
    assert html.count('<tr class="red">') == len(
        [row for row in table_of(analysed, "cross_corpus") if row["contaminated"] == "true"]
    )


def test_nothing_of_it_is_on_the_page_of_a_run_that_held_nothing_out(folder: Path) -> None:
    (folder / "analysis.json").unlink()
    before = write_report(folder).read_text()
    assert 'id="generalisation"' in before  # ready tables speak for themselves
    for name in (
        "holdout",
        "geometry",
        "association",
        "layers",
        "probes",
        "regimes",
        "regime_tests",
        "confounds",
        "cross_corpus",
    ):
        (folder / "tables" / f"{name}.csv").unlink()
    for name in ("coverage", "prospect", "prospect_attacks", "few_samples", "masking"):
        (folder / "tables" / f"{name}.csv").unlink()
    page = read_page(write_report(folder))
    assert not set(SECTIONS) & set(page.sections) and "generalise" not in page.text


def test_a_changed_gap_changes_the_first_screen(folder: Path) -> None:
    rows = table_of(folder, "holdout")
    stated = [
        at
        for at, row in enumerate(rows)
        if (row["embedder"], row["layer"], row["condition"], row["held_by"], row["method"])
        == ("spectral", "log_mel", "clean", "attack", "cross-fitted")
    ]
    change(folder, "holdout", stated[0], "gap", "0.987")
    assert "+98.7" in read_page(write_report(folder)).text


def test_a_missing_column_names_the_file_and_what_to_run(folder: Path) -> None:
    file = folder / "tables" / "holdout.csv"
    file.write_text(file.read_text().replace("eer_without,", "eer_unheard,", 1))
    with pytest.raises(RunFolderError, match=r"holdout\.csv has no column 'eer_without'.*spoofscope analyse"):
        write_report(folder)


def test_an_analysis_that_is_no_analysis_is_refused(folder: Path) -> None:
    (folder / "analysis.json").write_text("[]")
    with pytest.raises(RunFolderError, match=r"analysis\.json holds a list"):
        write_report(folder)
    (folder / "analysis.json").write_text("{}")
    with pytest.raises(RunFolderError, match="has no key 'held_by'"):
        write_report(folder)


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"layers": ["5"]}, r"'layers' is a list where a dict is expected.*spoofscope analyse"),
        ({"contamination": "met"}, r"'contamination' is a str where a list is expected"),
        ({"plan": {"digest": "ab"}}, r"'plan' has no key 'text'.*spoofscope analyse"),
        ({"plan": {"digest": "ab", "text": {}}}, r"'plan.text' has no key 'hypothesis'"),
    ],
)
def test_an_analysis_with_facts_of_another_kind_is_refused(folder: Path, facts: dict[str, object], match: str) -> None:
    rewrite(folder, **facts)
    with pytest.raises(RunFolderError, match=match):
        write_report(folder)


def test_what_was_left_out_and_what_was_met_is_said(folder: Path) -> None:
    rewrite(folder, left_out={"X9": "3 trials, fewer than min_count 4"}, exposure={"spectral": {"A1": "A1 is in x/train"}})
    text = read_page(write_report(folder)).text
    assert "X9: 3 trials, fewer than min_count 4" in text
    assert re.search(r"spectral was trained on the algorithm of A1", text)


def test_names_of_generators_are_text_and_never_markup(folder: Path) -> None:
    for name in ("holdout", "association"):
        file = folder / "tables" / f"{name}.csv"
        file.write_text(file.read_text().replace("C1", "<script>alert(1)</script>"))
    assert "<script>alert" not in write_report(folder).read_text()


def test_a_condition_that_was_not_evaluated_is_called_as_people_call_it() -> None:
    assert [_label(name) for name in ("clean", "noise('white', 20)", "mp3(8)", "of_a_plugin(3)")] == [
        *("clean", "white noise 20 dB", "MP3 8 kb/s", "of_a_plugin(3)")
    ]
