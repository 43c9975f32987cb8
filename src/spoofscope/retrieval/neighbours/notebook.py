"""What the questions about neighbours share, and the rows that answer them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property

import numpy as np
import polars as pl

from spoofscope.analysis.cells import Resampling, cluster_rows, pair_of
from spoofscope.analysis.design import Design
from spoofscope.analysis.generalise.spaces import Spaces
from spoofscope.analysis.heads import open_head
from spoofscope.analysis.tables import Tables
from spoofscope.audit import Audit
from spoofscope.errors import RecipeError, RunFolderError
from spoofscope.metrics.clusters import Clusters
from spoofscope.metrics.intervals import ScorePair
from spoofscope.retrieval.heads.detection import Floats
from spoofscope.retrieval.settings import EXAMPLE, Setting, read_setting
from spoofscope.storage import write_text

OnProgress = Callable[[str, int, int], None]
TABLES = (
    *("knn", "attribution", "attribution_groups", "confusion", "abstention"),
    *("novelty", "refusal", "evasion", "indexes"),
)
"""What a search may write, each to `tables/NAME.csv`."""


class Notebook(Tables):
    """The spaces of one run, the indexes that are asked, and the rows that questions have left."""

    def __init__(self, audit: Audit) -> None:
        super().__init__()
        self.audit, self.recipe = audit, audit.recipe
        if not self.recipe.indexes:
            raise RecipeError(f'indexes is empty; name at least one, such as indexes = ["{EXAMPLE}"]')
        self.settings = [read_setting(expression) for expression in self.recipe.indexes]
        self.spaces = Spaces(audit)
        self.resampling = Resampling(replicates=self.recipe.replicates, level=self.recipe.level)
        self.clusters: Clusters | None = cluster_rows(self.spaces.frame, self.recipe.clusters)
        self.head = open_head(self.recipe.heads[0])
        self.evaluated = self._evaluated()

    @property
    def column(self) -> str:
        """The column whose values are left out, and told apart: the first that is held out by."""
        return self.recipe.hold_out[0]

    @property
    def design(self) -> Design:
        """Folds, and the groups of that column."""
        return self.spaces.designs[self.column]

    @property
    def setting(self) -> Setting:
        """The index that gives the answers."""
        return self.settings[0]

    @cached_property
    def neighbours(self) -> int:
        """How many are asked: what the recipe names, or as many as the smallest class of any fold has without its largest group."""
        design = self.design
        fewest = len(design)
        for fold in np.unique(design.fold):
            away = design.fold != fold
            groups = [int((away & (design.held == group)).sum()) for group in design.groups]
            fewest = min(
                fewest, int((away & design.is_bonafide).sum()), int((away & ~design.is_bonafide).sum()) - max(groups, default=0)
            )
        return max(1, min(self.recipe.neighbours, fewest))

    @property
    def warnings(self) -> list[str]:
        """What a reader must know of the number of neighbours."""
        if self.neighbours == self.recipe.neighbours:
            return []
        return [
            f"{self.neighbours} neighbours were asked instead of {self.recipe.neighbours}: "
            f"a fold of {self.spaces.name} leaves no more trials of a class"
        ]

    def pair(self, scores: Floats) -> ScorePair:
        """Part the scores of all rows by class."""
        return pair_of(self.spaces.frame.with_columns(score=scores))

    def rng(self) -> np.random.Generator:
        """Return the same stream each time, so that every figure weighs the same resamples."""
        return np.random.default_rng(self.recipe.seed)

    def _evaluated(self) -> dict[tuple[str, str], Floats]:
        """Read the scores of the recipe's detectors over the rows of the spaces, by detector and condition; those that are whole."""
        found = {}
        ids = self.spaces.frame.select("trial_id")
        for name in self.recipe.detectors and self.audit.detectors:
            for condition in self.audit.conditions:
                try:
                    scored = self.audit.scores(name, condition).frame.select("trial_id", "score")
                except RunFolderError:
                    continue
                scores = ids.join(scored, on="trial_id", how="left", maintain_order="left")["score"]
                if not scores.null_count():
                    found[name, condition.name] = scores.cast(pl.Float64).to_numpy()
        return found

    def write(self, findings: list[str], warnings: list[str]) -> None:
        """Write every table that has rows, remove those of an earlier search, and describe the whole in `retrieval.json`."""
        recipe = self.recipe
        facts = {
            "trials": self.spaces.name,
            "held_by": self.column,
            "disjoint": list(self.design.known),
            "folds": recipe.folds,
            "indexes": [setting.expression for setting in self.settings],
            "neighbours": self.neighbours,
            "novelty_neighbour": recipe.novelty_neighbour,
            "head": self.head.name,
            "layers": self.spaces.stated,
            "coverage": recipe.coverage,
            "level": recipe.level,
            "findings": findings,
            "warnings": warnings,
        }
        self.write_tables(self.audit.folder, TABLES)
        write_text(json.dumps(facts, indent=1, ensure_ascii=False), self.audit.folder / "retrieval.json")
