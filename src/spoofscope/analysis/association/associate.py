"""Does a predictor go with the gap? One row for each predictor, with all that could take the answer back.

Conventions
-----------
Attacks are the sample: a rank correlation over them, with intervals that resample whole attacks. `p`, `p_max_t`, `p_holm` and `p_bh` are of
permutation tests; the p of what stands beside them (`p_t`, `tau_p`, `pearson_p`, `partial_p`, `difficulty_p`, `p_without`) are of the usual
approximations. The family is every predictor that is tested in one call, circular ones included: leaving those out afterwards would be a choice
made on the results.

One table of gaps and predictors is one space (an embedder's layer under one condition); `layer_sweep` asks the question of many layers.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.association.attack_table import AttackTable, align
from spoofscope.analysis.association.verdicts import p_text, rho_text, verdict_of
from spoofscope.errors import UnknownName
from spoofscope.metrics.correlations import (
    bootstrap_spearman,
    correlation_p,
    critical_rho,
    kendall,
    leave_one_out_error,
    partial_spearman,
    pearson,
    spearman,
    spearman_power,
    spearman_without,
)
from spoofscope.metrics.permutation import benjamini_hochberg, holm, permutation_test

Floats = NDArray[np.float64]
PERMUTATIONS = 100_000
REPLICATES = 10_000
MEDIUM = 0.5
"""The true rho for which the power of the number of attacks is told."""
HEADER = (
    "predictor",
    "rho",
    "interval",
    "p (t)",
    "p (permuted)",
    "Holm",
    "max-T",
    "given difficulty",
    "carried by",
    "without it",
)
_TYPES: dict[str, pl.DataType] = {"str": pl.String(), "int": pl.Int64(), "float": pl.Float64(), "bool": pl.Boolean()}
_UNTABLED = {"power_medium", "level", "note"}


@dataclass(frozen=True)
class Association:
    """One predictor against the gap.

    Parameters
    ----------
    predictor : str
    n_attacks : int
    rho, rho_low, rho_high, bca_low, bca_high : float
        Spearman's rho; its percentile and BCa bootstrap intervals over attacks.
    p_t, p : float
        p of the t approximation, and of the permutation test.
    p_max_t, p_holm, p_bh : float
        p within the family: single-step max-T, Holm, Benjamini-Hochberg.
    tau, tau_p, pearson, pearson_p : float
        Kendall's tau-b and Pearson's correlation.
    partial_rho, partial_p : float
        Given the seen difficulty: the EER of a head that was trained on the attack.
    difficulty_rho, difficulty_p : float
        Spearman's rho of the predictor with the seen difficulty.
    jackknife_low, jackknife_high : float
        Least and largest rho without one attack.
    carried_by : str
        The attack whose removal moves rho most towards 0; of several, that of the largest gap.
    rho_without, p_without : float
        Without that attack; p of the t approximation.
    power, power_medium : float
        How often so many attacks show a true rho as large as the one seen, and of 0.5, at a p of 1 − level.
    critical_rho : float
        The |rho| that such a p asks for.
    mae, mae_median : float
        Mean absolute error of the gap of an attack predicted from the others: by a line on the predictor, and by their median.
    circular, primary : bool
        Whether it is a form of the gap itself; whether it was named before the data were seen.
    expected_sign : str
        `+`, `-` or empty.
    level : float
    note : str
        Why there is no correlation.
    """

    predictor: str
    n_attacks: int
    rho: float
    rho_low: float
    rho_high: float
    bca_low: float
    bca_high: float
    p_t: float
    p: float
    p_max_t: float
    p_holm: float
    p_bh: float
    tau: float
    tau_p: float
    pearson: float
    pearson_p: float
    partial_rho: float
    partial_p: float
    difficulty_rho: float
    difficulty_p: float
    jackknife_low: float
    jackknife_high: float
    carried_by: str
    rho_without: float
    p_without: float
    power: float
    critical_rho: float
    mae: float
    mae_median: float
    circular: bool
    primary: bool
    expected_sign: str
    power_medium: float
    level: float
    note: str

    @property
    def verdict(self) -> str:
        """What the figures say, in a sentence."""
        return verdict_of(self)


def associate(
    gaps: pl.DataFrame,
    predictors: pl.DataFrame,
    *,
    primary: str | None = None,
    permutations: int = PERMUTATIONS,
    replicates: int = REPLICATES,
    level: float = 0.95,
    seed: int = 0,
) -> list[Association]:
    """Ask of each predictor whether it goes with the gap.

    Parameters
    ----------
    gaps : polars.DataFrame
        A row for each attack: `held`, `gap`, and `eer_with` where the difficulty of the attack when trained on is known.
    predictors : polars.DataFrame
        Wide (`held` and a column each) or long (`held, predictor, value`); see `attack_table`.
    primary : str, optional
        The predictor that was named before the data were seen, and so is judged by its own p.
    permutations, replicates : int
        Random orders of the attacks (all of them, of up to eight attacks), and resamples of them.
    level : float
        Of the intervals; p is judged at 1 − level.
    seed : int

    Returns
    -------
    list of Association
        In the order of the table. A predictor that is missing for an attack, or the same for all, has `nan` and a note, and is outside the
        family.

    Raises
    ------
    DataError
        If the tables do not fit each other; see `align`.
    UnknownName
        If there is no predictor `primary`.
    """
    table = align(gaps, predictors)
    if primary is not None and primary not in table.names:
        near = difflib.get_close_matches(primary, table.names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UnknownName(f"no predictor '{primary}' to be the primary one.{hint} The table has {', '.join(table.names)}.")
    notes, values = table.notes, table.usable_values
    shuffling, resampling, simulating = np.random.default_rng(seed).spawn(3)
    numbers = _correlations(table, values)
    numbers |= _family(table, values, permutations, shuffling)
    interval = bootstrap_spearman(values, table.gap, rng=resampling, replicates=replicates, level=level)
    numbers |= {"rho_low": interval.low, "rho_high": interval.high, "bca_low": interval.bca_low, "bca_high": interval.bca_high}
    influence, carriers = _influence(table, values, numbers["rho"])
    powers = spearman_power(np.append(np.abs(numbers["rho"]), MEDIUM), len(table.attacks), rng=simulating, level=level)
    numbers |= influence | {"power": powers[:-1]}
    errors = leave_one_out_error(values, table.gap)
    return [
        Association(
            predictor=known.name,
            n_attacks=len(table.attacks),
            carried_by=carriers[at],
            critical_rho=critical_rho(len(table.attacks), level),
            mae=float(errors.line[at]),
            mae_median=errors.median,
            circular=known.circular,
            primary=known.name == primary,
            expected_sign=known.expected_sign,
            power_medium=float(powers[-1]),
            level=level,
            note=notes[at],
            **{name: float(figures[at]) for name, figures in numbers.items()},
        )
        for at, known in enumerate(table.predictors)
    ]


def _correlations(table: AttackTable, values: Floats) -> dict[str, Floats]:
    """Correlate each predictor with the gap in every way, and with the difficulty."""
    from scipy.stats import kendalltau

    n, unknown = len(table.attacks), np.full(values.shape[1], np.nan)
    rho, straight = spearman(values, table.gap), pearson(values, table.gap)
    partial, hard = unknown, unknown
    if table.difficulty is not None:
        partial, hard = partial_spearman(values, table.gap, table.difficulty), spearman(values, table.difficulty)
    return {
        "rho": rho,
        "p_t": correlation_p(rho, n),
        "tau": kendall(values, table.gap),
        "tau_p": np.array([kendalltau(column, table.gap).pvalue for column in values.T]),
        "pearson": straight,
        "pearson_p": correlation_p(straight, n),
        "partial_rho": partial,
        "partial_p": correlation_p(partial, n - 1),
        "difficulty_rho": hard,
        "difficulty_p": correlation_p(hard, n),
    }


def _family(table: AttackTable, values: Floats, permutations: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Test every predictor alone, and those that are tested as one family."""
    found = {name: np.full(values.shape[1], np.nan) for name in ("p", "p_max_t", "p_holm", "p_bh")}
    tested = np.array([known.tested for known in table.predictors])
    for group in (tested, ~tested):
        if group.any():
            test = permutation_test(values[:, group], table.gap, rng=rng, permutations=permutations)
            found["p"][group] = test.p
            if group is tested:
                found["p_max_t"][group] = test.p_max_t
    family = tested & ~np.isnan(found["p"])
    found["p_holm"][family], found["p_bh"][family] = holm(found["p"][family]), benjamini_hochberg(found["p"][family])
    return found


def _influence(table: AttackTable, values: Floats, rho: Floats) -> tuple[dict[str, Floats], list[str]]:
    """Leave each attack out; find the one that carries each predictor."""
    n = len(table.attacks)
    without = spearman_without(values, table.gap)
    left = np.nan_to_num((np.sign(rho) * without).round(9))
    by_gap = np.argsort(-table.gap, kind="stable")
    carrier = by_gap[left[by_gap].argmin(axis=0)]
    alone = without[carrier, np.arange(values.shape[1])]
    figures = {
        "jackknife_low": np.fmin.reduce(without, axis=0),
        "jackknife_high": np.fmax.reduce(without, axis=0),
        "rho_without": alone,
        "p_without": correlation_p(alone, n - 1),
    }
    return figures, ["" if np.isnan(value) else table.attacks[at] for value, at in zip(rho, carrier, strict=True)]


def association_table(associations: Sequence[Association]) -> pl.DataFrame:
    """Return a row for each association: its fields as far as `expected_sign`, and `verdict`. What does not exist is null."""
    schema = {field.name: _TYPES[str(field.type)] for field in fields(Association) if field.name not in _UNTABLED}
    schema["verdict"] = pl.String()
    rows = [{column: getattr(one, column) for column in schema} for one in associations]
    return pl.DataFrame(rows, schema=schema).with_columns(pl.selectors.float().fill_nan(None))


def association_rows(associations: Sequence[Association]) -> list[tuple[str, ...]]:
    """Return the rows of a printed table, under `HEADER`; a star marks the primary predictor."""
    return [
        (
            f"{one.predictor} *" if one.primary else one.predictor,
            rho_text(one.rho, 3),
            "–" if math.isnan(one.rho_low) else f"{rho_text(one.rho_low)} to {rho_text(one.rho_high)}",
            *("–" if math.isnan(p) else p_text(p, 4) for p in (one.p_t, one.p, one.p_holm, one.p_max_t)),
            rho_text(one.partial_rho),
            one.carried_by or "–",
            rho_text(one.rho_without),
        )
        for one in associations
    ]
