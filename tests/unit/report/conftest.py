"""What the tests of the page share."""

import shutil
from pathlib import Path

import pytest

from tests.report_folder import TINY, make_run_folder


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the drawing, which takes most of the time, where a test is about words and numbers."""

    def draw_nothing(run: object, folder: Path) -> dict[str, list[object]]:
        return {kind: [] for kind in ("overview", "sweeps", "transfer", "attacks", "det", "histograms", "heard")}

    monkeypatch.setattr("spoofscope.report.page.draw_figures", draw_nothing)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the small run folder once."""
    return make_run_folder(tmp_path_factory.mktemp("template") / "run", TINY)


@pytest.fixture
def tiny(template: Path, tmp_path: Path) -> Path:
    """Return a small run folder of the test's own."""
    return Path(shutil.copytree(template, tmp_path / "run"))
