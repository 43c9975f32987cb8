"""The page says what the tables say, and nothing that they do not."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from spoofscope.report import write_report
from tests.report_folder import Plan, make_run_folder

SMALL = Plan(
    detectors=("aasist.la19", "lfcc_gmm.builtin"),
    conditions=("clean", "mp3_64", "mp3_8", "telephony", "window_2"),
    attacks=("A01", "A02", "A03"),
    n_bonafide=60,
    n_per_attack=30,
    n_rare=5,
    speakers=8,
    replicates=20,
    clips=2,
    embedders=("xlsr", "spectral"),
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Page(HTMLParser):
    """What a browser would see: numbers with their source, ids, links, text, and whether the tags balance."""

    numbers: list[tuple[str, str, str]] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    text: str = ""
    _open: list[str] = field(default_factory=list)
    _number: list[str] | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag, attributes):
        pairs = dict(attributes)
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        if "id" in pairs:
            self.ids.append(pairs["id"])
        if tag == "section":
            self.sections.append(pairs["id"])
        self.references += [pairs[name] for name in ("href", "src") if pairs.get(name)]
        if tag == "data":
            self._number = [pairs["data-source"], pairs["value"], ""]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another tag"
        if tag == "data":
            self.numbers.append(tuple(self._number))
            self._number = None

    def handle_data(self, text):
        if self._number is not None:
            self._number[2] += text
        if not self._open or self._open[-1] not in ("script", "style"):
            self.text += text


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page._open == []
    return page


def table_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def change(folder: Path, name: str, row: int, column: str, value: str) -> None:
    rows = table_of(folder, name)
    rows[row][column] = value
    with (folder / "tables" / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = make_run_folder(tmp_path_factory.mktemp("report") / "run", SMALL)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return read_page(folder / "report" / "index.html")


def shown_as(text: str, value: str) -> bool:
    """Whether a printed number is its table cell, rounded in one of the ways that the page rounds."""
    if value == "":
        return text == "–"
    exact = float(value)
    plain = re.sub(r"[\u202f%,+]", "", text).replace("−", "-")
    if plain in ("<0.1", "<0.01", ">-0.1", ">-0.01"):
        return 0 < abs(exact) * 100 < 0.05
    printed = float(plain)
    decimals = len(plain.split("e")[0].partition(".")[2])
    if "e" in plain:
        return printed == pytest.approx(exact, rel=0.01)
    half_step = 0.5 * 10.0**-decimals + 1e-9
    return (
        abs(printed - exact) <= half_step
        or abs(printed - 100 * exact) <= half_step
        or printed == pytest.approx(exact, rel=0.005)
    )


def test_every_number_on_the_page_is_the_number_of_its_table_cell(folder, page):
    tables: dict[str, list[dict[str, str]]] = {}
    assert len(page.numbers) > 300
    for source, value, text in page.numbers:
        name, row, column = re.fullmatch(r"tables/(\w+)\.csv#row=(\d+),column=(\w+)", source).groups()
        cell = tables.setdefault(name, table_of(folder, name))[int(row) - 1][column]
        assert (value == "") == (cell == ""), source
        assert cell == "" or float(value) == float(cell), source
        assert shown_as(text, cell), f"{source}: the page prints {text!r} for {cell}"


def test_the_condition_table_shows_every_row_of_conditions_csv(folder, page):
    sources = {source for source, _, _ in page.numbers}
    for row in range(1, len(table_of(folder, "conditions")) + 1):
        for column in ("eer", "eer_low", "eer_high", "auc", "min_dcf", "act_dcf", "cllr", "min_cllr", "n_bonafide", "n_spoof"):
            assert f"tables/conditions.csv#row={row},column={column}" in sources


def test_the_first_screen_prints_four_headline_numbers_of_each_detector_from_the_tables(folder, page):
    expected: dict[str, list[str]] = {
        "On clean recordings": [],
        "Where it breaks": [],
        "The hardest attack": [],
        "With a frozen threshold": [],
    }
    for detector in SMALL.detectors:
        own = {
            name: [row for row in table_of(folder, name) if row["detector"] == detector]
            for name in ("conditions", "transfer", "breakdown")
        }
        expected["On clean recordings"].append(own["conditions"][0]["eer"])
        expected["Where it breaks"].append(max((row["eer"] for row in own["conditions"][1:]), key=float))
        attacks = [
            row["eer"] for row in own["breakdown"] if (row["condition"], row["columns"]) == ("clean", "attack") and row["eer"]
        ]
        expected["The hardest attack"].append(max(attacks, key=float))
        frozen = [row["false_alarm"] for row in own["transfer"] if row["operating_point"] == "eer"]
        expected["With a frozen threshold"].append(max(frozen, key=float))
    for heading, values in expected.items():
        printed = re.findall(rf"{heading}\s+(\S+)\u202f%", page.text)
        assert printed == [f"{100 * float(value):.1f}" for value in values], heading


def test_rates_in_sentences_have_one_decimal(page):
    rates = [text for _, _, text in page.numbers if text.endswith("%")]
    assert len(rates) > 20
    for text in rates:
        assert re.fullmatch(r"(\d+\.\d|0|<\u202f0\.1)\u202f%", text), text


def test_the_headline_names_the_worst_condition_and_attack_of_the_tables(folder, page):
    for detector in SMALL.detectors:
        rows = [row for row in table_of(folder, "conditions") if row["detector"] == detector and row["condition"] != "clean"]
        worst = max(rows, key=lambda row: float(row["eer"]))
        assert f"{worst['label']} at" in re.sub(r"\s+", " ", page.text)
        attacks = [
            row
            for row in table_of(folder, "breakdown")
            if (row["detector"], row["condition"], row["columns"]) == (detector, "clean", "attack") and row["eer"]
        ]
        hardest = max(attacks, key=lambda row: float(row["eer"]))
        assert re.search(rf"{hardest['group']} is\s+the hardest of 3 attacks", page.text)


def test_a_changed_table_changes_the_page(without_figures, tiny):
    before = write_report(tiny).read_text()
    change(tiny, "conditions", 1, "eer", "0.4321")
    after = write_report(tiny).read_text()
    assert "43.2\u202f%" in after
    assert "43.2\u202f%" not in before


def test_the_same_folder_gives_the_same_bytes(tiny):
    def everything() -> dict[str, bytes]:
        write_report(tiny)
        return {str(file.relative_to(tiny)): file.read_bytes() for file in (tiny / "report").rglob("*") if file.is_file()}

    first = everything()
    shutil.rmtree(tiny / "report")
    assert everything() == first
    assert any(name.endswith(".pdf") for name in first)


def test_writing_the_report_changes_nothing_else_in_the_run_folder(tiny):
    def others() -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in tiny.rglob("*") if file.is_file() and "report" not in file.parts}

    before = others()
    write_report(tiny)
    assert others() == before


def test_the_page_loads_nothing_from_elsewhere(folder, page):
    html = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|@import|<link[^>]+stylesheet|src=\"(?!data:)", html)
    for reference in page.references:
        if reference.startswith("#"):
            assert reference[1:] in page.ids
        elif not reference.startswith("data:"):
            assert (folder / "report" / reference).exists(), reference


def test_no_id_appears_twice_and_the_page_stays_small(folder, page):
    assert len(page.ids) == len(set(page.ids))
    assert (folder / "report" / "index.html").stat().st_size < 5_000_000


def test_every_section_of_the_contents_is_there(page):
    expected = (
        "summary conditions sweeps transfer attacks scores det heard table differences breakdown measured clips failures "
        "embeddings method recipe"
    )
    assert page.sections == expected.split()


def test_every_figure_states_its_message_and_lies_beside_the_page_as_svg_and_pdf(folder):
    html = (folder / "report" / "index.html").read_text(encoding="utf-8")
    names = re.findall(r'<figure id="figure-([^"]+)"', html)
    assert {"conditions", "sweep-mp3", "transfer-aasist.la19", "attacks-aasist.la19", "det-clean", "scores-aasist.la19"} <= set(
        names
    )
    for name in names:
        assert re.search(rf'<figcaption id="caption-{re.escape(name)}">[^<]{{20,}}', html), name
        for ending in ("svg", "pdf"):
            assert (folder / "report" / "figures" / f"{name}.{ending}").stat().st_size > 1000
    assert len(re.findall(r'role="img" aria-label="[^"]{20,}', html)) == len(names)


def test_the_figures_take_their_colours_from_the_page(folder):
    html = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "var(--ink)" in html
    assert not re.search(r'style="[^"]*#(1d1d1f|0072b2|d55e00)', html)
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_a_difference_within_noise_is_marked_and_one_beyond_is_not(without_figures, tiny):
    change(tiny, "conditions", 1, "within_noise", "true")
    text = write_report(tiny).read_text()
    assert "within noise of clean" in text
    assert "No condition is shown to be worse than clean." in text
    change(tiny, "conditions", 1, "within_noise", "false")
    text = write_report(tiny).read_text()
    assert "within noise of clean" not in text
    assert "No condition is shown" not in text


def test_a_detector_whose_interval_holds_one_half_is_said_to_guess(without_figures, tiny):
    assert "cannot be told from guessing" not in write_report(tiny).read_text()
    change(tiny, "conditions", 0, "eer_high", "0.51")
    assert "cannot be told from guessing" in write_report(tiny).read_text()


def test_a_group_below_the_minimum_count_is_never_the_hardest_attack(without_figures, tiny):
    rows = table_of(tiny, "breakdown")
    rare = next(at for at, row in enumerate(rows) if row["group"] == "A02" and row["condition"] == "clean")
    change(tiny, "breakdown", rare, "eer", "0.5")
    text = read_page(write_report(tiny)).text
    assert re.search(r"A01 is\s+the hardest of 2 attacks", text)
    assert "1 of the 2 has fewer than 20 trials" in text


def test_a_synthetic_corpus_is_announced_and_a_real_one_is_not(without_figures, tiny):
    assert "proves nothing about a detector on people" in write_report(tiny).read_text()
    run = json.loads((tiny / "run.json").read_text())
    run["corpus"]["synthetic"] = False
    (tiny / "run.json").write_text(json.dumps(run))
    assert "proves nothing" not in write_report(tiny).read_text()


def test_clips_are_playable_from_inside_the_page(folder, page):
    sounds = [reference for reference in page.references if reference.startswith("data:audio/flac;base64,")]
    pictures = [reference for reference in page.references if reference.startswith("data:image/jpeg;base64,")]
    assert len(sounds) == len(pictures) >= 4
    assert page.tags.count("audio") == len(sounds)


def test_clips_beyond_the_budget_are_linked_instead(without_figures, tiny, monkeypatch):
    monkeypatch.setattr("spoofscope.report.clips.AUDIO_BUDGET_BYTES", 10)
    page = read_page(write_report(tiny))
    sounds = [reference for reference in page.references if reference.endswith(".flac")]
    assert sounds and all((tiny / "report" / sound).is_file() for sound in sounds)
    assert "The sound is in the run folder, not in this page." in page.text


def test_the_recipe_and_the_warnings_are_on_the_page(page):
    assert 'grid = "reference"' in page.text
    assert "2 of 448 trials could not be read" in page.text
    assert "truncated: holds 12000 of 64000 samples" in page.text
