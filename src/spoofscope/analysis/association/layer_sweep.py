"""The same question at every layer: rho by layer, a band that holds for all layers, and p over all predictors and layers.

Layers are near-copies of each other and their correlations are not so many confirmations: the same resamples and orders of attacks go to all of
them at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from spoofscope.analysis.association.associate import PERMUTATIONS, REPLICATES
from spoofscope.analysis.association.attack_table import AttackTable, align
from spoofscope.errors import DataError
from spoofscope.metrics.correlations import bootstrap_spearman
from spoofscope.metrics.permutation import layer_band, permutation_test

OWN = "own"
FIXED = "fixed"
SCHEMA = {
    **dict.fromkeys(("predictor", "layer", "gap_of"), pl.String),
    "n_attacks": pl.Int64,
    **dict.fromkeys(("rho", "rho_low", "rho_high", "band_low", "band_high", "p", "p_max_t"), pl.Float64),
}


def sweep_layers(
    gaps: pl.DataFrame,
    predictors: pl.DataFrame,
    *,
    permutations: int = PERMUTATIONS,
    replicates: int = REPLICATES,
    level: float = 0.95,
    seed: int = 0,
) -> pl.DataFrame:
    """Correlate every predictor with the gap at every layer, as one family.

    Parameters
    ----------
    gaps : polars.DataFrame
        As for `associate`. With a column `layer` each layer has its own gap; with one layer, or no such column, that gap is held against all.
    predictors : polars.DataFrame
        As for `associate`, with a column `layer`.
    permutations, replicates, level, seed
        As for `associate`.

    Returns
    -------
    polars.DataFrame
        `predictor, layer, gap_of, n_attacks, rho, rho_low, rho_high, band_low, band_high, p, p_max_t`: the interval is of each layer alone, the
        band of all layers of a predictor, and p_max_t over all predictors and layers. `gap_of` is `own`, the name of the one layer whose gap it
        is, or `fixed`. Null where a predictor is missing for an attack or the same for all.

    Raises
    ------
    DataError
        If the tables do not fit each other, or layers differ in their attacks or predictors.
    """
    layers, tables, gap_of = _tables(gaps, predictors)
    names = tables[0].names
    gap = np.column_stack([table.gap for table in tables])
    values = np.stack([table.usable_values[:, [table.names.index(name) for name in names]] for table in tables], axis=-1)
    shuffling, resampling, banding = np.random.default_rng(seed).spawn(3)
    test = permutation_test(values, gap, rng=shuffling, permutations=permutations)
    flat = values.reshape(len(values), -1)
    interval = bootstrap_spearman(flat, np.tile(gap, (1, len(names))), rng=resampling, replicates=replicates, level=level)
    bands = [layer_band(values[:, at], gap, rng=banding, replicates=replicates, level=level) for at in range(len(names))]
    columns = {
        "predictor": np.repeat(names, len(layers)),
        "layer": np.tile(layers, len(names)),
        "gap_of": [gap_of] * flat.shape[1],
        "n_attacks": [len(values)] * flat.shape[1],
        "rho": np.concatenate([band.rho for band in bands]),
        "rho_low": interval.low,
        "rho_high": interval.high,
        "band_low": np.concatenate([band.low for band in bands]),
        "band_high": np.concatenate([band.high for band in bands]),
        "p": test.p.ravel(),
        "p_max_t": test.p_max_t.ravel(),
    }
    return pl.DataFrame(columns, schema=SCHEMA).with_columns(pl.selectors.float().fill_nan(None))


def _tables(gaps: pl.DataFrame, predictors: pl.DataFrame) -> tuple[list[str], list[AttackTable], str]:
    """Align each layer; all must have the same attacks and predictors."""
    if "layer" not in predictors.columns:
        raise DataError(
            f"a sweep over layers needs a column 'layer'; the table of predictors has {', '.join(predictors.columns)}"
        )
    predictors = predictors.with_columns(pl.col("layer").cast(pl.String))
    layers = predictors["layer"].unique(maintain_order=True).to_list()
    gap_of, known = FIXED, [FIXED]
    if "layer" in gaps.columns:
        gaps = gaps.with_columns(pl.col("layer").cast(pl.String))
        known = gaps["layer"].unique(maintain_order=True).to_list()
        gap_of = OWN if set(layers) <= set(known) else str(known[0])
        if gap_of != OWN and len(known) > 1:
            raise DataError(
                f"no gap for the layers {_missing(layers, known)}: give each layer its own, or the gap of one layer"
            )
    tables = []
    for layer in layers:
        own = gaps.filter(pl.col("layer") == layer) if gap_of == OWN else gaps
        tables.append(align(own, predictors.filter(pl.col("layer") == layer)))
        if tables[-1].attacks != tables[0].attacks or set(tables[-1].names) != set(tables[0].names):
            raise DataError(f"layer {layer} has other attacks or predictors than layer {layers[0]}")
    return layers, tables, gap_of


def _missing(layers: Iterable[str], known: Iterable[str]) -> str:
    return ", ".join(sorted(set(layers) - set(known)))
