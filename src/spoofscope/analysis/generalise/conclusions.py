"""What the tables of the second part say, in sentences made by rules from the tables alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from spoofscope.analysis.coverage import ALL, CONTROL
from spoofscope.analysis.design import DISJOINT
from spoofscope.analysis.generalise.notebook import Notebook
from spoofscope.analysis.holdout import CROSS_FITTED
from spoofscope.analysis.tables import Row
from spoofscope.degradations.conditions import CLEAN

NO_ASSOCIATIONS = pl.DataFrame(schema={"embedder": pl.String, "layer": pl.String, "primary": pl.Boolean, "attacks": pl.String})


def conclude(book: Notebook) -> list[str]:
    """Say what was found about the stated layers."""
    in_front = (
        pl.col("condition") == CLEAN.name,
        pl.col("head") == book.heads[0].name,
        pl.col("held_by") == book.column,
        pl.col("method") == CROSS_FITTED,
    )
    associations = book.frame("association").filter(*in_front) if book.tables["association"] else NO_ASSOCIATIONS
    return [
        *gap_findings(book.frame("holdout").filter(*in_front), associations, book.spaces.stated),
        *control_findings(book.tables["confounds"]),
        *coverage_findings(book.tables["coverage"]),
        *foresight_findings(book.tables["prospect"]),
    ]


def gap_findings(gaps: pl.DataFrame, associations: pl.DataFrame, stated: Mapping[str, str]) -> Iterator[str]:
    """Say for each embedder what holding out costs, and whether the stated predictor goes with it.

    Parameters
    ----------
    gaps, associations : polars.DataFrame
        Rows of holdout.csv and association.csv under the clean condition, one head, one `held_by`, cross-fitted.
    stated : mapping of str to str
        The layer of each embedder that findings are about.
    """
    for embedder, layer in stated.items():
        own = gaps.filter(pl.col("embedder") == embedder, pl.col("layer") == layer).sort("gap", descending=True)
        if own.is_empty():
            continue
        held_by = own["held_by"][0]
        known = own.filter(pl.col("within_noise").is_not_null())
        beyond = known.filter(~pl.col("within_noise") & (pl.col("gap") > 0)).height
        largest = own.row(0, named=True)
        yield (
            f"{embedder} (layer {layer}): {beyond} of {known.height} held-out values of {held_by} lose more than noise. "
            f"Median gap {_points(own['gap'].median())}, largest {_points(largest['gap'])} for {largest['held']} "
            f"({_points(largest['gap_low'])} to {_points(largest['gap_high'])}); "
            f"median EER where it was trained on {_percent(own['eer_with'].median())}, held out {_percent(own['eer_without'].median())}."
        )
        for row in associations.filter(
            pl.col("embedder") == embedder, pl.col("layer") == layer, pl.col("primary"), pl.col("attacks") == "all"
        ).iter_rows(named=True):
            yield f"{embedder} (layer {layer}): {row['predictor']}, the predictor stated beforehand: {row['verdict']}."


def control_findings(confounds: Iterable[Row]) -> Iterator[str]:
    """Say what a leak would have hidden, and how far what no model hears goes alone."""
    alone = []
    for row in confounds:
        if row["question"] == "source-disjoint" and row["target"] == " and ".join(DISJOINT) and row["value"] == row["value"]:
            yield (
                f"{row['embedder']} (layer {row['layer']}): with speakers and sentences on both sides the EER would have been "
                f"{_percent(row['baseline'])}; with neither it is {_percent(row['value'])} ({_points(row['difference'])}, "
                f"{_points(row['difference_low'])} to {_points(row['difference_high'])})."
            )
        if row["question"] == "shortcut" and not row["held"] and row["value"] == row["value"]:
            alone.append(row)
    for row in sorted(alone, key=lambda row: float(row["value"]))[:1]:
        yield (
            f"Without hearing any speech, {row['target']} told the classes apart at an EER of {_percent(row['value'])} "
            f"({_percent(row['value_low'])} to {_percent(row['value_high'])})."
        )


def coverage_findings(coverage: Iterable[Row]) -> Iterator[str]:
    """Say what a promise was worth on new groups, beside the control."""
    whole = {
        (row["scores_of"], row["variant"]): row for row in coverage if row["held"] == ALL and row["condition"] == CLEAN.name
    }
    for (scores_of, variant), row in whole.items():
        control = whole.get((scores_of, CONTROL))
        if variant == "held out" and control is not None:
            yield (
                f"{scores_of}: a threshold that promises to let {_percent(row['target'])} of fakes through lets {_percent(row['rate'])} of new "
                f"ones through ({_percent(row['rate_low'])} to {_percent(row['rate_high'])}), and {_percent(control['rate'])} with them in the "
                f"calibration: being new costs {_points(row['difference'])} ({_points(row['difference_low'])} to {_points(row['difference_high'])})."
            )


def foresight_findings(prospect: Iterable[Row]) -> Iterator[str]:
    """Say which models foretell a gap better than the median of the others does."""
    by_space: dict[str, list[Row]] = {}
    for row in prospect:
        by_space.setdefault(f"{row['embedder']} (layer {row['layer']})", []).append(row)
    for space, rows in by_space.items():
        better = [row["model"] for row in rows if row.get("difference_high", 0.0) < 0]
        said = (
            f"{', '.join(better)} foretold a group's gap better than"
            if better
            else "nothing foretold a group's gap better than"
        )
        yield f"{space}: {said} the median of the others (mean error {_points(rows[0]['mae_median']).lstrip('+')}), beyond noise."


def exposure_warnings(exposure: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Iterator[str]:
    """Say which held-out groups an embedder has met in its training."""
    for embedder, columns in exposure.items():
        for column, met in columns.items():
            if met:
                reasons = "; ".join(sorted(set(met.values())))
                yield f"{embedder} has met {len(met)} held-out values of {column} in its training: {', '.join(sorted(met))} ({reasons})."


def _points(value: object) -> str:
    return "–" if not isinstance(value, float) else f"{100 * value:+.1f} points".replace("-", "−")


def _percent(value: object) -> str:
    return "–" if not isinstance(value, float) else f"{100 * value:.1f} %"
