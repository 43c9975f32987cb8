"""The stored embeddings of a run into the tables of the report's second part: why it does not generalise.

Every question that a recipe asks is a method that leaves rows in `tables`. One layer is in memory at a time. Findings are about the stated
layer of each embedder, heard clean, under the first head; every other layer, head and condition is there to hold them against.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from spoofscope.analysis.association.associate import associate, association_table
from spoofscope.analysis.association.layer_sweep import sweep_layers
from spoofscope.analysis.cells import Resampling, blank, cluster_rows, pair_of, with_interval
from spoofscope.analysis.conclusions import exposure_warnings, gap_findings
from spoofscope.analysis.geometry import cross_fitted_geometry, reference_geometry
from spoofscope.analysis.heads import Head, open_head
from spoofscope.analysis.holdout import (
    CROSS_FITTED,
    GroupScores,
    Plan,
    cross_fitted_scores,
    gap_row,
    hold_out,
    plan_jobs,
    score_across,
)
from spoofscope.analysis.regimes import compare_gaps, contrast_row
from spoofscope.analysis.spaces import Space, Spaces
from spoofscope.analysis.study import REFERENCE, reference_hold_out
from spoofscope.audit import Audit
from spoofscope.degradations.conditions import CLEAN
from spoofscope.errors import DataError
from spoofscope.metrics.correlations import FEWEST
from spoofscope.metrics.intervals import bootstrap
from spoofscope.storage import write_table, write_text

ALL, NOT_EXPOSED = "all", "not exposed"
TABLES = ("holdout", "geometry", "association", "layers", "regimes", "regime_tests", "cross_corpus")
NO_ASSOCIATIONS = pl.DataFrame(schema={"embedder": pl.String, "layer": pl.String, "primary": pl.Boolean, "attacks": pl.String})
OnLayer = Callable[[str, int, int], None]


class Generalisation:
    """Every table of the second part, from the stored embeddings of one run."""

    def __init__(self, audit: Audit) -> None:
        self.audit, self.recipe = audit, audit.recipe
        self.spaces = Spaces(audit)
        self.heads = [open_head(expression) for expression in self.recipe.heads]
        self.resampling = Resampling(replicates=self.recipe.replicates, level=self.recipe.level)
        self.plans: dict[str, Plan] = {
            column: plan_jobs(design, min_count=self.recipe.min_count, seed=self.recipe.seed)
            for column, design in self.spaces.designs.items()
        }
        self.exposure = {
            name: {column: self.spaces.exposed(name, column) for column in self.recipe.hold_out} for name in audit.embedders
        }
        self.tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.scores: dict[tuple[str, str], list[GroupScores]] = {}

    def look(self, on_layer: OnLayer = lambda task, total, done: None) -> None:
        """Go through every layer once, asking all that needs its vectors."""
        for embedder in self.audit.embedders:
            for condition in self.audit.conditions:
                total = len(self.spaces.layers(embedder, condition))
                for space in self.spaces.each(embedder, condition):
                    self._hold_out(space)
                    if space.is_clean:
                        self._geometry(space)
                    on_layer(f"{embedder}, {condition.label}", total, 1)

    def _hold_out(self, space: Space) -> None:
        heads = self.heads if space.is_stated and space.is_clean else self.heads[:1]
        for column, design in self.spaces.designs.items():
            for head in heads:
                scores = hold_out(space.vectors, design, head, self.plans[column])
                if space.is_stated and space.is_clean and head is self.heads[0]:
                    self.scores[space.embedder, column] = scores
                rows = (gap_row(one, self.recipe.clusters, seed=self.recipe.seed, resampling=self.resampling) for one in scores)
                self._add_gaps(space, head, column, rows)
            if self.recipe.reference and space.is_clean:
                self._add_gaps(space, self.heads[0], column, reference_hold_out(space.vectors, design.is_bonafide, design.held))

    def _add_gaps(self, space: Space, head: Head, column: str, rows: Iterable[dict[str, Any]]) -> None:
        met = self.exposure[space.embedder][column]
        self.tables["holdout"] += [
            space.names | {"head": head.name, "held_by": column, "exposed": row["held"] in met} | row for row in rows
        ]

    def _geometry(self, space: Space) -> None:
        for column, design in self.spaces.designs.items():
            margins = None
            if space.is_stated:
                margins = {one.group: float(one.pairs[1].spoof.mean()) for one in self.scores[space.embedder, column]}
            found = [(CROSS_FITTED, cross_fitted_geometry(space.vectors, design, margins=margins))]
            if self.recipe.reference:
                found.append((REFERENCE, reference_geometry(space.vectors, design.is_bonafide, design.held)))
            for method, frame in found:
                names = space.names | {"method": method, "held_by": column}
                self.tables["geometry"] += [names | row for row in frame.iter_rows(named=True)]

    def associate(self) -> None:
        """Hold every predictor against the gap of its own layer: all groups, and those that the embedder has not met."""
        gaps, geometry = self._frame("holdout"), self._frame("geometry")
        clean = gaps.filter(pl.col("condition") == CLEAN.name)
        keys = ("embedder", "condition", "layer", "head", "method", "held_by")
        for names, own in clean.group_by(keys, maintain_order=True):
            row = dict(zip(keys, names, strict=True))
            near = geometry.filter(pl.col(key) == row[key] for key in ("embedder", "condition", "layer", "method", "held_by"))
            for attacks, kept in ((ALL, own), (NOT_EXPOSED, own.filter(~pl.col("exposed")))):
                if kept.height < FEWEST or (attacks != ALL and kept.height == own.height):
                    continue
                table = self._associated(kept, near.filter(pl.col("held").is_in(kept["held"].implode())), str(row["method"]))
                self.tables["association"] += [row | {"attacks": attacks} | one for one in table.iter_rows(named=True)]

    def _associated(self, gaps: pl.DataFrame, predictors: pl.DataFrame, method: str) -> pl.DataFrame:
        recipe = self.recipe
        known = set(predictors["predictor"])
        return association_table(
            associate(
                gaps,
                predictors,
                primary=recipe.predictor if recipe.predictor in known else None,
                permutations=recipe.permutations,
                level=recipe.level,
                seed=recipe.seed,
            )
        )

    def sweep(self) -> None:
        """Follow rho over the layers, against each layer's own gap and against the stated layer's."""
        geometry, column = self._frame("geometry"), self.recipe.hold_out[0]
        for embedder, stated in self.spaces.stated.items():
            if len(self.spaces.layers(embedder, CLEAN)) < 2:
                continue
            gaps = self._clean_gaps(embedder, column)
            near = geometry.filter(
                pl.col("embedder") == embedder,
                pl.col("held_by") == column,
                pl.col("method") == CROSS_FITTED,
                pl.col("predictor") != "boundary_margin",
                pl.col("held").is_in(gaps["held"].implode()),
            )
            if gaps["held"].n_unique() < FEWEST:
                continue
            for against in (gaps, gaps.filter(pl.col("layer") == stated)):
                swept = sweep_layers(
                    against.select("layer", "held", "gap", "eer_with"),
                    near.select("layer", "held", "predictor", "value", "circular", "expected_sign"),
                    permutations=self.recipe.permutations,
                    level=self.recipe.level,
                    seed=self.recipe.seed,
                )
                names = {"embedder": embedder, "condition": CLEAN.name, "head": self.heads[0].name}
                self.tables["layers"] += [names | row for row in swept.iter_rows(named=True)]

    def compare(self) -> None:
        """Compare embedders group by group, on the same trials and folds; groups that either has met are set apart."""
        column = self.recipe.hold_out[0]
        for first, second in combinations(self.audit.embedders, 2):
            gaps = [
                {row["held"]: row["gap"] for row in self._stated_gaps(name, column).iter_rows(named=True)}
                for name in (first, second)
            ]
            met = self.exposure[first][column].keys() | self.exposure[second][column].keys()
            names = {"first": first, "second": second, "condition": CLEAN.name, "head": self.heads[0].name}
            names |= {"first_layer": self.spaces.stated[first], "second_layer": self.spaces.stated[second]}
            pairs = list(zip(self.scores[first, column], self.scores[second, column], strict=True))
            for one, other in pairs:
                row = contrast_row(one, other, self.recipe.clusters, seed=self.recipe.seed, resampling=self.resampling)
                held = {"held_by": column, "held": one.group, "exposed": one.group in met}
                held |= {"gap_first": gaps[0][one.group], "gap_second": gaps[1][one.group]}
                self.tables["regimes"].append(names | held | row)
            for attacks in (ALL, NOT_EXPOSED):
                kept = [group for group in gaps[0] if attacks == ALL or group not in met]
                if len(kept) >= FEWEST and (attacks == ALL or len(kept) < len(gaps[0])):
                    first_gaps, second_gaps = (np.array([side[group] for group in kept]) for side in gaps)
                    row = compare_gaps(
                        first_gaps, second_gaps, permutations=self.recipe.permutations, seed=self.recipe.seed, **self.resampling
                    )
                    self.tables["regime_tests"].append(names | {"attacks": attacks} | row)

    def cross(self) -> list[str]:
        """Train on the other corpus and test on this one, and on its attacks one by one; return what contaminates that."""
        if self.audit.other is None:
            return []
        found = []
        tested = f"{self.audit.data.card.name}/{self.audit.data.protocol}"
        trained = f"{self.audit.other.card.name}/{self.audit.other.protocol}"
        for embedder, built in self.audit.embedders.items():
            met = {tested, self.audit.data.trials.name} & {trained, *built.card.trained_on}
            if met:
                found.append(
                    f"{embedder}, trained on {trained}, has met the very trials that it is tested on ({', '.join(sorted(met))})."
                )
            space = self.spaces.space(embedder, CLEAN)
            vectors, is_bonafide, name = self.spaces.other(embedder)
            for head in self.heads:
                across = score_across(vectors, is_bonafide, space.vectors, head)
                names = space.names | {"head": head.name, "train": name, "test": self.spaces.name, "contaminated": bool(met)}
                self.tables["cross_corpus"] += [names | row for row in self._across_rows(space, head, across)]
        return found

    def _across_rows(self, space: Space, head: Head, across: Any) -> Iterable[dict[str, Any]]:
        design = self.spaces.designs[self.recipe.hold_out[0]]
        within = cross_fitted_scores(space.vectors, design, head)
        for group in (ALL, *dict.fromkeys(job.group for job in self.plans[design.held_by].jobs)):
            rows = design.is_bonafide | (design.held != "" if group == ALL else design.held == group)
            frame = design.frame.filter(rows)
            clusters = cluster_rows(frame, self.recipe.clusters)
            row: dict[str, Any] = {"held": group}
            for name, scores in (("eer", across), ("eer_within", within)):
                pair = pair_of(frame.with_columns(score=scores[rows]))
                estimate = bootstrap("eer", *pair, clusters, rng=np.random.default_rng(self.recipe.seed), **self.resampling)
                row |= with_interval(name, estimate) | {"n_bonafide": estimate.n_bonafide, "n_spoof": estimate.n_spoof}
            yield row | {"note": estimate.note}

    def findings(self) -> list[str]:
        """Say what was found about the stated layers."""
        column, head = self.recipe.hold_out[0], self.heads[0].name
        clean = (
            pl.col("condition") == CLEAN.name,
            pl.col("head") == head,
            pl.col("held_by") == column,
            pl.col("method") == CROSS_FITTED,
        )
        associations = self._frame("association").filter(*clean) if self.tables["association"] else NO_ASSOCIATIONS
        return list(gap_findings(self._frame("holdout").filter(*clean), associations, self.spaces.stated))

    def write(self, contamination: list[str]) -> None:
        """Write every table that has rows, remove those of an earlier analysis, and describe the whole in `analysis.json`."""
        for name in TABLES:
            file = self.audit.folder / "tables" / f"{name}.csv"
            if self.tables[name]:
                write_table(self._frame(name), file)
            else:
                file.unlink(missing_ok=True)
        recipe = self.recipe
        column = recipe.hold_out[0]
        design = self.spaces.designs[column]
        facts = {
            "trials": self.spaces.name,
            "held_by": column,
            "also_held_by": list(recipe.hold_out[1:]),
            "disjoint": list(design.known),
            "folds": recipe.folds,
            "heads": [head.name for head in self.heads],
            "layers": self.spaces.stated,
            "primary": recipe.predictor,
            "method": CROSS_FITTED,
            "permutations": recipe.permutations,
            "level": recipe.level,
            "seed": recipe.seed,
            "exposure": {name: met[column] for name, met in self.exposure.items()},
            "contamination": contamination,
            "groups": {group: design.counts(group) for group in design.groups},
            "left_out": self.plans[column].left_out,
            "plan": None,
            "findings": self.findings(),
            "warnings": list(exposure_warnings(self.exposure)),
        }
        write_text(json.dumps(facts, indent=1, ensure_ascii=False), self.audit.folder / "analysis.json")

    def _clean_gaps(self, embedder: str, column: str) -> pl.DataFrame:
        return self._frame("holdout").filter(
            pl.col("embedder") == embedder,
            pl.col("condition") == CLEAN.name,
            pl.col("held_by") == column,
            pl.col("method") == CROSS_FITTED,
            pl.col("head") == self.heads[0].name,
        )

    def _stated_gaps(self, embedder: str, column: str) -> pl.DataFrame:
        return self._clean_gaps(embedder, column).filter(pl.col("layer") == self.spaces.stated[embedder])

    def _frame(self, table: str) -> pl.DataFrame:
        if not self.tables[table]:
            raise DataError(f"no {table} rows: no group of {', '.join(self.recipe.hold_out)} could be held out")
        rows = [{name: blank(value) for name, value in row.items()} for row in self.tables[table]]
        return pl.DataFrame(rows, infer_schema_length=None)


def analyse(audit: Audit, on_layer: OnLayer = lambda task, total, done: None) -> tuple[list[str], list[str]]:
    """Ask every question of a recipe, and write the tables and `analysis.json`.

    Returns
    -------
    (findings, warnings)
        Sentences; a warning is what a reader must see before any figure.
    """
    with audit.timed("analyse"):
        work = Generalisation(audit)
        work.look(on_layer)
        work.associate()
        work.sweep()
        work.compare()
        contamination = work.cross()
        work.write(contamination)
    return work.findings(), [*contamination, *exposure_warnings(work.exposure)]
