"""What the tables of the second part say, in sentences made by rules from the tables alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from spoofscope.analysis.generalise.notebook import Notebook
from spoofscope.analysis.holdout import CROSS_FITTED
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
    return list(gap_findings(book.frame("holdout").filter(*in_front), associations, book.spaces.stated))


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
