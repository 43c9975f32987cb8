"""What the questions of an analysis share, and the rows that answer them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import polars as pl

from spoofscope.analysis.cells import Resampling
from spoofscope.analysis.design import Design, require_columns
from spoofscope.analysis.generalise.spaces import Spaces
from spoofscope.analysis.heads import Head, open_head
from spoofscope.analysis.holdout import CROSS_FITTED, GroupScores, Plan, plan_jobs
from spoofscope.analysis.tables import Tables
from spoofscope.audit import Audit
from spoofscope.degradations.conditions import CLEAN
from spoofscope.errors import NotEnoughTrials
from spoofscope.storage import write_text

OnProgress = Callable[[str, int, int], None]

TABLES = (
    *("holdout", "geometry", "association", "layers", "regimes", "regime_tests", "cross_corpus", "probes", "confounds"),
    *("coverage", "prospect", "prospect_attacks", "few_samples", "masking", "augmentation"),
)
"""What an analysis may write, each to `tables/NAME.csv`."""


class Notebook(Tables):
    """The spaces of one run, the heads and folds that every question uses, and the rows that questions have left."""

    def __init__(self, audit: Audit) -> None:
        super().__init__()
        self.audit, self.recipe = audit, audit.recipe
        self.spaces = Spaces(audit)
        self.heads: list[Head] = [open_head(expression) for expression in self.recipe.heads]
        self.resampling = Resampling(replicates=self.recipe.replicates, level=self.recipe.level)
        self.plans: dict[str, Plan] = {
            column: plan_jobs(design, min_count=self.recipe.min_count, seed=self.recipe.seed)
            for column, design in self.spaces.designs.items()
        }
        self._require_groups()
        require_columns(self.spaces.frame, self.recipe.nuisances, self.spaces.name)
        self.exposure = {
            name: {column: self.spaces.exposed(name, column) for column in self.recipe.hold_out} for name in audit.embedders
        }
        self.scores: dict[tuple[str, str], list[GroupScores]] = {}
        """What the first head says in the stated layer of an embedder, of each group of a column."""

    def _require_groups(self) -> None:
        for column, plan in self.plans.items():
            if not plan.jobs:
                reasons = (
                    "; ".join(f"{group}: {reason}" for group, reason in list(plan.left_out.items())[:3]) or "it has no values"
                )
                raise NotEnoughTrials(f"{self.spaces.name}: no value of {column} can be held out ({reasons})")

    @property
    def column(self) -> str:
        """The column whose values are held out first: findings are about it."""
        return self.recipe.hold_out[0]

    @property
    def design(self) -> Design:
        """The design of that column."""
        return self.spaces.designs[self.column]

    def clean_gaps(self, embedder: str, column: str = "") -> pl.DataFrame:
        """Return the rows of holdout.csv of every layer of an embedder: heard clean, the first head, cross-fitted."""
        return self.frame("holdout").filter(
            pl.col("embedder") == embedder,
            pl.col("condition") == CLEAN.name,
            pl.col("held_by") == (column or self.column),
            pl.col("method") == CROSS_FITTED,
            pl.col("head") == self.heads[0].name,
        )

    def stated_gaps(self, embedder: str, column: str = "") -> pl.DataFrame:
        """Return those of the stated layer."""
        return self.clean_gaps(embedder, column).filter(pl.col("layer") == self.spaces.stated[embedder])

    def write(self, **said: Any) -> None:
        """Write every table that has rows, remove those of an earlier analysis, and describe the whole in `analysis.json`."""
        self.write_tables(self.audit.folder, TABLES)
        recipe = self.recipe
        facts = {
            "trials": self.spaces.name,
            "held_by": self.column,
            "also_held_by": list(recipe.hold_out[1:]),
            "disjoint": list(self.design.known),
            "folds": recipe.folds,
            "heads": [head.name for head in self.heads],
            "layers": self.spaces.stated,
            "primary": recipe.predictor,
            "method": CROSS_FITTED,
            "permutations": recipe.permutations,
            "level": recipe.level,
            "coverage": recipe.coverage,
            "seed": recipe.seed,
            "exposure": {name: met[self.column] for name, met in self.exposure.items()},
            "groups": {group: self.design.counts(group) for group in self.design.groups},
            "left_out": self.plans[self.column].left_out,
        }
        write_text(json.dumps(facts | said, indent=1, ensure_ascii=False), self.audit.folder / "analysis.json")
