"""Write the page of a run: tables in, one self-contained HTML file and the figures out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spoofscope import __version__
from spoofscope.errors import MissingExtra, RunFolderError
from spoofscope.report import words
from spoofscope.report.charts import is_reliable
from spoofscope.report.clips import clips_of
from spoofscope.report.figures import draw_figures
from spoofscope.report.findings import HEADLINE_POINT, findings_of
from spoofscope.report.folder import Row, RunFolder, read_run_folder
from spoofscope.report.generalisation import draw_generalisation, generalisation

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = {
    "summary": "Findings",
    "conditions": "Every condition",
    "sweeps": "Sweeps",
    "transfer": "Frozen threshold",
    "attacks": "Attacks",
    "scores": "Scores",
    "det": "DET curves",
    "heard": "Seconds heard",
    "table": "All numbers",
    "differences": "Between detectors",
    "breakdown": "Breakdowns",
    "measured": "What was done",
    "clips": "Worst clips",
    "failures": "Not read",
}
LAST_SECTIONS = {"method": "How computed", "recipe": "Recipe"}
MOST_ROWS = 60
MOST_WARNINGS = 5


def write_report(run_folder: str | Path) -> Path:
    """Write `report/index.html` and `report/figures/` of a run folder; the same folder gives the same bytes.

    Parameters
    ----------
    run_folder : path
        As docs/run-folder.md describes.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    MissingExtra
        If jinja2 or matplotlib is not installed.
    RunFolderError
        If a table or a clip is missing or malformed, or the report cannot be written.
    """
    templates = environment()
    folder = read_run_folder(run_folder)
    page = folder.path / "report" / "index.html"
    try:
        figures = draw_figures(folder, page.parent / "figures") | draw_generalisation(folder, page.parent / "figures")
        html = templates.get_template("page.html").render(_context(folder, figures))
        page.parent.mkdir(parents=True, exist_ok=True)
        beside = page.with_suffix(".part")
        beside.write_text(html.lstrip(), encoding="utf-8")
        beside.replace(page)
    except OSError as error:
        raise RunFolderError(f"cannot write the report under {page.parent} ({error})") from error
    return page


def environment() -> Any:
    """Return what makes pages of templates: their filters, and the words they use."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtra("the report", "report") from error
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        lstrip_blocks=True,
    )
    formats = (
        words.percent,
        words.points,
        words.signed_points,
        words.number,
        words.fixed,
        words.count,
        words.one_in,
        words.short,
        words.signed,
        words.p_value,
    )
    made.filters |= {function.__name__: function for function in formats}
    made.filters |= {"in_words": words.in_words, "quantity_name": words.quantity_name, "drawing": _drawing}
    made.filters |= {"layers_in_words": words.layers_in_words}
    made.globals |= {"plural": words.plural, "is_missing": words.is_missing, "is_reliable": is_reliable}
    return made


def _drawing(svg: str) -> Any:
    """Let an SVG of our own making into the page unescaped; matplotlib has escaped the names in it."""
    from markupsafe import Markup

    return Markup(svg)


def _context(folder: RunFolder, figures: dict[str, Any]) -> dict[str, Any]:
    stored, second = embeddings(folder), generalisation(folder)
    sections = SECTIONS | ({"embeddings": "Embeddings"} if stored else {}) | (second["sections"] if second else {})
    return {
        "sections": sections | LAST_SECTIONS,
        "second": second,
        "run": folder.run,
        "recipe": folder.recipe,
        "labels": folder.labels,
        "version": __version__,
        "level": words.percent(folder.run["level"], 0),
        "findings": [findings_of(folder, detector) for detector in folder.run["detectors"]],
        "figures": figures,
        "conditions": folder.rows("conditions"),
        "transfer": folder.rows("transfer", operating_point=HEADLINE_POINT),
        "other_transfer": [row for row in folder.rows("transfer") if row["operating_point"] != HEADLINE_POINT],
        "breakdowns": breakdowns(folder),
        "differences": folder.rows("detectors"),
        "measured": measured(folder),
        "failures": folder.rows("failures"),
        "clips": clips_of(folder),
        "embeddings": stored,
        "most_rows": MOST_ROWS,
        "most_warnings": MOST_WARNINGS,
        "absent": folder.absent,
    }


def breakdowns(folder: RunFolder) -> dict[str, tuple[Row, ...]]:
    """Return the clean rows of breakdown.csv by what they are broken down by, in the order of the table."""
    rows = folder.rows("breakdown", condition="clean")
    return {
        columns: tuple(row for row in rows if row["columns"] == columns)
        for columns in dict.fromkeys(row["columns"] for row in rows)
    }


def measured(folder: RunFolder) -> tuple[list[tuple[str, str]], list[tuple[str, str, dict[str, Row]]]]:
    """Return the quantities (name, unit) that were measured, and for each detector and condition its row of each.

    A quantity that every detector shares is shown once: the first detector's rows stand where the others repeat them.
    """
    rows = folder.rows("measured")
    quantities = list(dict.fromkeys((row["quantity"], row["unit"]) for row in rows))
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row["detector"], row["condition"]), {})[row["quantity"]] = row
    seen: set[tuple[str, tuple[tuple[str, Any, Any, Any], ...]]] = set()
    answer = []
    for (detector, condition), cells in groups.items():
        figures = (condition, tuple((name, row["median"], row["low"], row["high"]) for name, row in cells.items()))
        if figures not in seen:
            answer.append((detector, condition, cells))
        seen.add(figures)
    return quantities, answer


def embeddings(folder: RunFolder) -> list[tuple[Row, list[str], str]]:
    """Return the rows of embeddings.csv, each with the names of its layers and with its settings in words.

    Raises
    ------
    RunFolderError
        If the settings of a row are no JSON object.
    """
    answer = []
    for row in folder.rows("embeddings"):
        try:
            settings = json.loads(row["settings"])
        except json.JSONDecodeError:
            settings = None
        if not isinstance(settings, dict):
            raise RunFolderError(
                f"{folder.path / 'tables' / 'embeddings.csv'}: row {row.number}: settings is '{row['settings']}', which is not a "
                "JSON object. Run 'spoofscope embed RECIPE' to make it."
            )
        answer.append((row, row["layers"].split(), words.settings_in_words(settings)))
    return answer
