"""One command from recordings to a page, opened in a real browser where there is one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.small import write_corpus, write_plugin, write_small_recipe

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
PROBE = ("--allow-file-access-from-files", "--virtual-time-budget=4000", "--dump-dom")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_corpus(folder / "corpus", speakers=5, seconds=0.8)
    write_plugin(folder)
    recipe = write_small_recipe(folder, out=folder / "out", clips="2", embedders="['spectral']")
    done = subprocess.run(
        [sys.executable, "-m", "spoofscope.cli", "run", str(recipe)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"report: {folder / 'out' / 'report' / 'index.html'}" in done.stdout
    return folder / "out"


def test_the_page_stands_alone(out: Path) -> None:
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    fetched = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#|figures/|\.\./)([^"']+)""", page)
    assert [address for address in fetched if not address.startswith("https://")] == []
    assert "<script src" not in page and "@import" not in page and "url(http" not in page


def test_every_number_of_the_condition_table_is_that_of_the_table(out: Path) -> None:
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    table = pl.read_csv(out / "tables" / "conditions.csv", infer_schema_length=None)
    shown = re.findall(r'<data value="([^"]*)" data-source="tables/conditions.csv#row=(\d+),column=(\w+)"', page)
    assert {(int(row), column) for _, row, column in shown} >= {(row, "eer") for row in range(1, table.height + 1)}
    for value, row, column in shown:
        held = table[column][int(row) - 1]
        assert (value == "") if held is None else float(value) == pytest.approx(float(held), rel=1e-9)


def test_every_row_of_embeddings_is_on_the_page_and_its_folder_is_there(out: Path) -> None:
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    table = pl.read_csv(out / "tables" / "embeddings.csv")
    assert table.height == pl.read_csv(out / "tables" / "conditions.csv").height
    for place in table["folder"]:
        assert place in page
        assert {file.name for file in (out / place).iterdir()} >= {
            "key.json",
            "ids.parquet",
            "layer_lfcc.npy",
            "layer_log_mel.npy",
        }


def test_every_figure_is_there_to_be_printed(out: Path) -> None:
    figures = sorted((out / "report" / "figures").iterdir())
    assert {path.suffix for path in figures} == {".svg", ".pdf"}
    assert len([path for path in figures if path.suffix == ".svg"]) == len(figures) / 2 >= 6


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_needs_no_sideways_scrolling_and_raises_no_error(out: Path, tmp_path: Path, width: int) -> None:
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    probe = (
        "<script>window.onerror=(m)=>{document.documentElement.dataset.error=m};"
        "window.onload=()=>{const d=document.getElementById('f').contentDocument.documentElement;"
        "document.documentElement.dataset.width=d.scrollWidth;"
        "document.documentElement.dataset.images=[...d.querySelectorAll('img')].filter(i=>!i.naturalWidth).length}</script>"
    )
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "frame.html").write_text(
        f"<html>{probe}<iframe id=f src=page.html style='width:{width}px;height:900px;border:0'></iframe></html>"
    )
    done = subprocess.run(
        [str(CHROMIUM), *QUIET, *PROBE, f"--user-data-dir={tmp_path / 'profile'}", f"file://{tmp_path / 'frame.html'}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = dict(re.findall(r'data-(width|images|error)="([^"]*)"', done.stdout))
    assert "error" not in found
    assert int(found["width"]) <= width
    assert int(found["images"]) == 0
