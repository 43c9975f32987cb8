"""The scores of a run into the tables that its report is made from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from spoofscope.analysis.cells import (
    Cell,
    Frozen,
    Resampling,
    blank,
    cluster_rows,
    names_of,
    pair_of,
    plain,
    with_interval,
    words_of,
)
from spoofscope.analysis.heard import heard_rows
from spoofscope.analysis.transfer import (
    OPERATING_POINTS,
    calibrate,
    split_by_speaker,
    threshold_at,
    transfer,
)
from spoofscope.analysis.worst import worst_rows
from spoofscope.audit import Audit
from spoofscope.degradations.conditions import Condition
from spoofscope.errors import NotEnoughTrials, RecipeError
from spoofscope.metrics import Estimate
from spoofscope.metrics.breakdown import breakdown
from spoofscope.metrics.clusters import Clusters
from spoofscope.metrics.costs import ASVSPOOF5, BONAFIDE_RARE, DcfCost, act_dcf, cllr, min_cllr
from spoofscope.metrics.intervals import Metric, MetricName, ScorePair, bootstrap, bootstrap_difference, minimum_dcf
from spoofscope.metrics.rates import auc, det_points, eer_challenge, rates_at, tied_fraction
from spoofscope.scores import OK
from spoofscope.storage import write_table
from spoofscope.trials import BONAFIDE

COSTS: dict[str, DcfCost] = {"asvspoof5": ASVSPOOF5, "reference": BONAFIDE_RARE}
DET_POINTS = 400
BINS = 48
MEASURED_UNITS = {
    "snr_db": "dB",
    "bandwidth_hz": "Hz",
    "delay_samples": "samples",
    "clipped_fraction": "",
    "gain_db": "dB",
    "length_ratio": "",
}


class Evaluation:
    """All tables of one run, from its score files."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.recipe = audit.recipe
        if self.recipe.cost not in COSTS:
            raise RecipeError(f"cost is '{self.recipe.cost}'; it must be {' or '.join(COSTS)}")
        self.cost = COSTS[self.recipe.cost]
        self.resampling = Resampling(replicates=self.recipe.replicates, level=self.recipe.level)
        self.cells = {
            name: [
                Cell(name, condition, self._scored_or_refused(name, condition), self.recipe.clusters)
                for condition in audit.conditions
            ]
            for name in audit.detectors
        }
        self.frozen = {name: self._freeze(name) for name in audit.detectors}

    def conditions(self) -> Iterator[dict[str, Any]]:
        """Every metric of every detector under every condition."""
        for clean, cell in self._each():
            error = self._estimate("eer", cell)
            iid = self._estimate("eer", cell, iid=True)
            row = names_of(cell) | {key: getattr(cell.condition, key) for key in ("label", "family", "level", "unit")}
            row |= {
                "n_bonafide": error.n_bonafide,
                "n_spoof": error.n_spoof,
                "n_failed": cell.frame.height - cell.scored.height,
            }
            row |= with_interval("eer", error) | {"eer_iid_low": iid.low, "eer_iid_high": iid.high}
            row |= {"eer_challenge": plain(eer_challenge, cell), "tied_fraction": plain(tied_fraction, cell)}
            row |= with_interval("auc", self._estimate("auc", cell))
            row |= with_interval("min_dcf", self._estimate(minimum_dcf(self.cost), cell))
            row |= {
                "act_dcf": plain(lambda bonafide, spoof: act_dcf(bonafide, spoof, cost=self.cost), cell),
                "cllr": plain(cllr, cell),
                "min_cllr": plain(min_cllr, cell),
                "n_clusters": error.n_clusters,
                "clusters": "trials" if cell.clusters is None else cell.clusters.describe(),
            }
            yield row | self._difference(clean, cell) | {"note": error.note}

    def transfers(self) -> Iterator[dict[str, Any]]:
        """Frozen thresholds carried into every condition."""
        for _, cell in self._each():
            frozen = self.frozen[cell.detector]
            rows = cell.scored
            if frozen.held_out is not None:
                rows = rows.filter(pl.col("trial_id").is_in(frozen.held_out.tolist()))
            pair, clusters = pair_of(rows), cluster_rows(rows, self.recipe.clusters)
            try:
                carried = transfer(
                    frozen.thresholds,
                    frozen.calibration,
                    *pair,
                    clusters,
                    cost=self.cost,
                    seed=self.recipe.seed,
                    **self.resampling,
                )
            except NotEnoughTrials as error:
                yield names_of(cell) | {"note": str(error)}
                continue
            for row in carried:
                yield (
                    names_of(cell)
                    | {"operating_point": row.operating_point, "threshold": row.threshold}
                    | {f"development_{name}": rate for name, rate in frozen.rates[row.operating_point]._asdict().items()}
                    | with_interval("miss", row.miss)
                    | with_interval("false_alarm", row.false_alarm)
                    | with_interval("dcf", row.dcf)
                    | {"min_dcf": row.min_dcf, "calibration_loss": row.calibration_loss, "own_threshold": row.own_threshold}
                    | {"shift": row.shift, "n_bonafide": row.dcf.n_bonafide, "n_spoof": row.dcf.n_spoof, "note": row.dcf.note}
                )

    def breakdowns(self) -> Iterator[dict[str, Any]]:
        """The error by group, for every column and crossing that the recipe names."""
        for _, cell in self._each():
            threshold = self.frozen[cell.detector].thresholds["eer"]
            for columns in self.recipe.breakdown:
                names = [name.strip() for name in columns.split("*")]
                absent = [name for name in names if name not in cell.scored.columns]
                if absent or len(names) > 2:
                    raise RecipeError(
                        f"cannot break down by '{columns}': name one column or a crossing of two; the trials have {', '.join(self.audit.data.trials.frame.columns)}"
                    )
                needed = {*names, *(name for name in self.recipe.clusters if name in cell.scored.columns)}
                groups = breakdown(
                    {name: words_of(cell.scored, name) for name in sorted(needed)},
                    (cell.scored["label"] == BONAFIDE).to_numpy(),
                    cell.scored["score"].to_numpy(),
                    by=names[0] if len(names) == 1 else (names[0], names[1]),
                    cluster_by=[name for name in self.recipe.clusters if name in needed],
                    threshold=threshold,
                    min_count=self.recipe.min_count,
                    rng=np.random.default_rng(self.recipe.seed),
                    **self.resampling,
                )
                for group in groups:
                    row = names_of(cell) | {"columns": columns, "group": group.group}
                    row |= {"n_bonafide": group.n_bonafide, "n_spoof": group.n_spoof} | with_interval("eer", group.estimate)
                    rates = {"miss": group.miss.value, "false_alarm": group.false_alarm.value}
                    yield row | rates | {"threshold": threshold, "note": group.note}

    def det(self) -> Iterator[dict[str, Any]]:
        """Points along each DET curve."""
        for _, cell in self._each():
            if min(map(len, cell.pair)):
                curve = det_points(*cell.pair, limit=DET_POINTS)
                for miss, false_alarm in zip(curve.miss.tolist(), curve.false_alarm.tolist(), strict=True):
                    yield names_of(cell) | {"miss": miss, "false_alarm": false_alarm}

    def histograms(self) -> Iterator[dict[str, Any]]:
        """Scores counted in bins that all conditions of a detector share; the outermost bins hold what lies beyond."""
        for cells in self.cells.values():
            pooled = np.concatenate([cell.scored["score"].to_numpy() for cell in cells])
            low, high = np.quantile(pooled, [0.002, 0.998]) if len(pooled) else (0.0, 1.0)
            edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
            for cell in cells:
                for label, scores in zip(("bonafide", "spoof"), cell.pair, strict=True):
                    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
                    for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
                        yield names_of(cell) | {"label": label, "left": left, "right": right, "count": count}

    def heard(self) -> Iterator[dict[str, Any]]:
        """The error after so many seconds, for windowed conditions."""
        for _, cell in self._each():
            if cell.condition.windows is not None:
                threshold = self.frozen[cell.detector].thresholds["eer"]
                for row in heard_rows(
                    cell.scored,
                    cell.condition.windows,
                    cell.clusters,
                    threshold=threshold,
                    seed=self.recipe.seed,
                    **self.resampling,
                ):
                    yield names_of(cell) | row

    def detectors(self) -> Iterator[dict[str, Any]]:
        """Paired differences between detectors on clean."""
        names = list(self.cells)
        for at, name in enumerate(names):
            for other in names[at + 1 :]:
                first, second = self.cells[name][0], self.cells[other][0]
                difference = self._difference(first, second)
                common = first.scored.join(second.scored, on="trial_id", how="semi").height
                yield {"detector": name, "other": other} | difference | {"n": common}

    def measured(self) -> Iterator[dict[str, Any]]:
        """What each condition really did to the sound, over the trials."""
        for _, cell in self._each():
            for name, unit in MEASURED_UNITS.items():
                values = cell.scored[f"measured_{name}"].drop_nulls().drop_nans()
                if len(values):
                    shares = np.quantile(values.to_numpy().astype(np.float64), [0.05, 0.5, 0.95], method="inverted_cdf")
                    low, median, high = (shares.round(3 if unit else 6) + 0.0).tolist()
                    what = {"quantity": name, "unit": unit, "n": len(values)}
                    yield names_of(cell) | what | {"median": median, "low": low, "high": high}

    def failures(self) -> Iterator[dict[str, Any]]:
        """Trials without a score, with the reason."""
        paths = dict(zip(self.audit.data.trials.ids, self.audit.data.trials.frame["path"], strict=True))
        for _, cell in self._each():
            for row in cell.frame.filter(pl.col("status") != OK).iter_rows(named=True):
                yield names_of(cell) | {"trial_id": row["trial_id"], "path": paths[row["trial_id"]], "reason": row["status"]}

    def worst(self) -> Iterator[dict[str, Any]]:
        """Recordings that fail worst at the frozen threshold, on clean and under the worst condition."""
        for name, cells in self.cells.items():
            errors = [plain(lambda bonafide, spoof: -auc(bonafide, spoof), cell) for cell in cells]
            worst = cells[int(np.nanargmax(errors))] if not all(map(math.isnan, errors)) else cells[0]
            chosen = [cells[0]] if worst is cells[0] else [cells[0], worst]
            for cell in chosen:
                threshold = self.frozen[name].thresholds["eer"]
                limit = self.recipe.clips // len(chosen)
                for row in worst_rows(self.audit, name, cell.condition, cell.scored, threshold=threshold, limit=limit):
                    yield names_of(cell) | row

    def warnings(self) -> list[str]:
        """Sentences that a reader must see before any figure."""
        found = []
        for _, cell in self._each():
            where = f"{cell.detector}, {cell.condition.label}"
            if cell.frame.height > cell.scored.height:
                lost = cell.frame.height - cell.scored.height
                found.append(f"{where}: {lost} of {cell.frame.height} trials have no score and are left out.")
            area = plain(auc, cell)
            if area < 0.5 and cell.is_clean:
                found.append(
                    f"{where}: AUC {area:.3f} is below 0.5. The usual causes are reversed polarity, other padding than in training, "
                    "and missing pre-emphasis; nothing has been changed."
                )
            ties = plain(tied_fraction, cell)
            if ties > 0.01:
                found.append(
                    f"{where}: {100 * ties:.1f} % of the trials share a score with the other class, which moves an EER."
                )
            unchanged = int(np.isposinf(cell.scored["measured_snr_db"].drop_nulls().to_numpy()).sum())
            if unchanged:
                found.append(f"{where}: {unchanged} of {cell.scored.height} recordings came through unchanged.")
        evaluated = f"{self.audit.data.card.name}/{self.audit.data.protocol}"
        for name, detector in self.audit.detectors.items():
            if {evaluated, self.audit.data.trials.name} & set(detector.card.trained_on):
                found.append(f"{name} was trained on these very trials ({evaluated}): this is no test of it.")
        return found

    def _each(self) -> Iterator[tuple[Cell, Cell]]:
        for cells in self.cells.values():
            for cell in cells:
                yield cells[0], cell

    def _scored_or_refused(self, name: str, condition: Condition) -> pl.DataFrame:
        scores = self.audit.scores(name, condition)
        scores.scored(allow_missing=self.recipe.allow_missing)
        return scores.frame

    def _freeze(self, name: str) -> Frozen:
        scores = self.audit.development_scores(name)
        if scores is not None:
            rows = scores.scored(allow_missing=self.recipe.allow_missing).frame
            held_out, source = None, f"{scores.name}, heard clean"
        else:
            clean = self.cells[name][0].scored
            mask = split_by_speaker(clean, self.recipe.seed)
            rows, held_out = clean.filter(mask), clean.filter(~mask)["trial_id"].to_numpy()
            source = "half of the speakers of the evaluated trials, heard clean; the figures are of the other half"
        pair = pair_of(rows)
        thresholds = {point: threshold_at(point, *pair, self.cost) for point in OPERATING_POINTS}
        rates = {point: rates_at(*pair, threshold) for point, threshold in thresholds.items()}
        return Frozen(thresholds, rates, calibrate(*pair), held_out, source, len(pair.bonafide), len(pair.spoof))

    def _estimate(self, metric: MetricName | Metric, cell: Cell, *, iid: bool = False) -> Estimate:
        return self._bootstrap(metric, cell.pair, None if iid else cell.clusters)

    def _bootstrap(self, metric: MetricName | Metric, pair: ScorePair, clusters: Clusters | None) -> Estimate:
        try:
            return bootstrap(metric, *pair, clusters, rng=np.random.default_rng(self.recipe.seed), **self.resampling)
        except NotEnoughTrials as error:
            return Estimate(math.nan, math.nan, math.nan, self.recipe.level, len(pair.bonafide), len(pair.spoof), 0, str(error))

    def _difference(self, first: Cell, second: Cell) -> dict[str, Any]:
        empty = {"delta_eer": None, "delta_eer_low": None, "delta_eer_high": None, "within_noise": None}
        common = first.scored.join(second.scored, on="trial_id", how="semi")
        other = second.scored.join(common.select("trial_id"), on="trial_id", how="semi")
        pairs = pair_of(common), pair_of(other)
        if first is second or not min(map(len, pairs[0])):
            return empty
        estimate = bootstrap_difference(
            "eer",
            *pairs,
            cluster_rows(common, self.recipe.clusters),
            rng=np.random.default_rng(self.recipe.seed),
            **self.resampling,
        )
        return with_interval("delta_eer", estimate) | {"within_noise": bool(estimate.low <= 0 <= estimate.high)}


TABLES = (
    "conditions",
    "transfers",
    "breakdowns",
    "det",
    "histograms",
    "heard",
    "detectors",
    "measured",
    "failures",
    "worst",
)
_FILES = {"transfers": "transfer", "breakdowns": "breakdown"}
_COLUMNS = {
    "heard": ("detector", "condition", "seconds", "eer", "eer_low", "eer_high", "miss", "false_alarm", "n_listening"),
    "breakdowns": ("detector", "condition", "columns", "group", "n_bonafide", "n_spoof", "eer", "eer_low", "eer_high", "miss", "false_alarm", "threshold", "note"),
    "detectors": ("detector", "other", "delta_eer", "delta_eer_low", "delta_eer_high", "within_noise", "n"),
    "measured": ("detector", "condition", "quantity", "unit", "n", "median", "low", "high"),
    "failures": ("detector", "condition", "trial_id", "path", "reason"),
    "worst": ("detector", "condition", "rank", "trial_id", "label", "attack", "speaker", "score", "threshold", "margin", "clip"),
}  # fmt: skip


def evaluate(audit: Audit) -> list[str]:
    """Compute every table of a run from its finished scores, and describe the run in `run.json`.

    Returns
    -------
    list of str
        Sentences that a reader must see before any figure: reversed polarity, ties, missing scores, training overlap.

    Raises
    ------
    ScoresError
        If trials have no score and the recipe does not allow that.
    RunFolderError
        If a score file is missing or the folder cannot be written.
    """
    with audit.timed("evaluate"):
        evaluation = Evaluation(audit)
        for name in TABLES:
            rows = [{key: blank(value) for key, value in row.items()} for row in getattr(evaluation, name)()]
            table = (
                pl.DataFrame(rows, infer_schema_length=None)
                if rows
                else pl.DataFrame(schema=dict.fromkeys(_COLUMNS[name], pl.String))
            )
            write_table(table, audit.folder / "tables" / f"{_FILES.get(name, name)}.csv")
    frozen = next(iter(evaluation.frozen.values()))
    warnings = evaluation.warnings()
    audit.write_run(
        warnings,
        {"source": frozen.source, "n_bonafide": frozen.n_bonafide, "n_spoof": frozen.n_spoof},
        {key: getattr(evaluation.cost, key) for key in ("name", "p_spoof", "c_miss", "c_fa")},
    )
    return warnings
