"""The stages of a run, each from a recipe: one verb for each, and two that take them in order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spoofscope.errors import UserError
from spoofscope.recipe import Recipe, read_recipe, recipe_from, write_recipe
from spoofscope.terminal import print_table, progress, status

if TYPE_CHECKING:
    from spoofscope.audit import Audit

DEMO: dict[str, Any] = {
    "title": "spoofscope demo",
    "corpus": "builtin",
    "protocol": "eval",
    "development": "dev",
    "detectors": ["lfcc_cnn.builtin"],
    "grid": "quick",
    "breakdown": ["attack", "family"],
    "embedders": ["lfcc_cnn.builtin", "spectral"],
    "hold_out": ["attack", "family"],
    "train_corpus": "builtin",
    "train_protocol": "train",
    "out": "runs/demo",
}


def _recipe(options: argparse.Namespace, base: dict[str, Any] | None = None) -> Recipe:
    names = {field.name for field in fields(Recipe)}
    flags = {name: value for name, value in vars(options).items() if name in names}
    file = getattr(options, "recipe", None)
    if file is not None:
        return read_recipe(file, flags)
    if not flags and base is None:
        raise UserError("name a recipe, or give its keys as flags ('spoofscope run --help'); 'spoofscope demo' needs neither")
    return recipe_from({**(base or {}), **flags}, where="command line")


def _stages(options: argparse.Namespace, stages: Sequence[str], recipe: Recipe | None = None) -> int:
    recipe = recipe or _recipe(options)
    if options.print_recipe:
        print(write_recipe(recipe), end="")
        return 0
    from spoofscope.analysis.evaluate import evaluate
    from spoofscope.audit import Audit

    audit = Audit(recipe)
    if "score" in stages:
        with progress() as on_progress:
            audit.score(on_progress)
    if "embed" in stages:
        with progress() as on_progress:
            audit.embed(on_progress)
        _print_embeddings(audit.folder)
    if "evaluate" in stages:
        with status("computing metrics and intervals"):
            warnings = evaluate(audit)
        _say([], warnings)
        _print_summary(audit)
    if "analyse" in stages:
        from spoofscope.analysis.generalise import analyse

        with progress() as on_progress:
            _say(*analyse(audit, on_progress))
    if "retrieve" in stages:
        from spoofscope.retrieval.neighbours import retrieve

        with progress() as on_progress:
            _say(*retrieve(audit, on_progress))
    if "report" in stages:
        _write_report(audit.folder)
    return 0


def _say(findings: Sequence[str], warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for finding in findings:
        print(finding)


def demo(options: argparse.Namespace) -> int:
    """Run the whole audit on the built-in corpus."""
    return _everything(options, _recipe(options, DEMO))


def run(options: argparse.Namespace) -> int:
    """Run every stage that the recipe asks for."""
    return _everything(options, _recipe(options))


def _everything(options: argparse.Namespace, recipe: Recipe) -> int:
    wanted = {
        "score": recipe.detectors,
        "embed": recipe.embedders,
        "evaluate": recipe.detectors,
        "analyse": recipe.embedders and recipe.hold_out,
        "retrieve": recipe.embedders and recipe.hold_out and recipe.indexes,
        "report": recipe.detectors,
    }
    return _stages(options, [stage for stage, is_asked in wanted.items() if is_asked], recipe)


def embed(options: argparse.Namespace) -> int:
    """Embed every trial."""
    recipe = _recipe(options)
    if not (options.print_recipe or recipe.embedders):
        raise UserError("embedders is empty; name at least one ('spoofscope list embedders')")
    return _stages(options, ("embed",), recipe)


def score(options: argparse.Namespace) -> int:
    """Score every trial."""
    return _stages(options, ("score",))


def evaluate(options: argparse.Namespace) -> int:
    """Turn scores into tables."""
    return _stages(options, ("evaluate",))


def analyse(options: argparse.Namespace) -> int:
    """Analyse stored embeddings, or two ready tables."""
    if not (options.gaps or options.geometry):
        return _stages(options, ("analyse",))
    if not (options.gaps and options.geometry):
        raise UserError("--gaps and --geometry are two tables of one experiment; give both")
    from spoofscope.analysis.association.associate import HEADER, association_rows, association_table
    from spoofscope.analysis.association.published import analyse_tables
    from spoofscope.storage import write_table

    given = {name: getattr(options, name) for name in ("permutations", "replicates", "level", "seed") if hasattr(options, name)}
    with status("permuting"):
        found, sentences = analyse_tables(options.gaps, options.geometry, primary=getattr(options, "predictor", None), **given)
    print_table(f"{options.geometry} against {options.gaps}", HEADER, association_rows(found))
    for sentence in sentences:
        print(sentence)
    if hasattr(options, "out"):
        write_table(association_table(found), Path(options.out) / "tables" / "association.csv")
    return 0


def retrieve(options: argparse.Namespace) -> int:
    """Ask the neighbours of every trial."""
    return _stages(options, ("retrieve",))


def report(options: argparse.Namespace) -> int:
    """Write the page of an evaluated run."""
    from spoofscope.audit import require_run

    folder = Path(read_recipe(options.target).out if options.target.endswith(".toml") else options.target)
    require_run(folder)
    _write_report(folder)
    return 0


def _write_report(folder: Path) -> None:
    from spoofscope.report import write_report

    with status("writing the report"):
        page = write_report(folder)
    print(f"report: {page}")


def _print_summary(audit: Audit) -> None:
    import polars as pl

    from spoofscope import inventory

    table = pl.read_csv(audit.folder / "tables" / "conditions.csv")
    columns = ("detector", "condition", "trials", "EER %", "interval", "difference from clean")
    print_table(audit.data.trials.describe(), columns, inventory.condition_rows(table))


def _print_embeddings(folder: Path) -> None:
    import polars as pl

    from spoofscope import inventory

    columns = ("embedder", "condition", "trials", "failed", "layers", "dim", "heard", "folder")
    print_table("embeddings", columns, inventory.embedding_rows(pl.read_csv(folder / "tables" / "embeddings.csv")))
