"""What the tests of the page share."""

from pathlib import Path

import pytest


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the drawing, which takes most of the time, where a test is about words and numbers."""

    def draw_nothing(run: object, folder: Path) -> dict[str, list[object]]:
        return {kind: [] for kind in ("overview", "sweeps", "transfer", "attacks", "det", "histograms", "heard")}

    monkeypatch.setattr("spoofscope.report.page.draw_figures", draw_nothing)
