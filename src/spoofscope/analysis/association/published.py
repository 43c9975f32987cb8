"""Ready tables of gaps and geometry, as the reference study wrote them or as a run folder holds them: read, checked and analysed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spoofscope.analysis.association.associate import PERMUTATIONS, REPLICATES, Association, associate
from spoofscope.analysis.association.attack_table import AttackTable, align, read_attack_table
from spoofscope.analysis.association.verdicts import p_text, rho_text
from spoofscope.errors import DataError
from spoofscope.metrics.correlations import correlation_p, spearman


class TableAnalysis(NamedTuple):
    """The associations of two ready tables, and what they say."""

    associations: list[Association]
    sentences: list[str]


def analyse_tables(
    gaps_csv: str | Path,
    geometry_csv: str | Path,
    *,
    primary: str | None = None,
    permutations: int = PERMUTATIONS,
    replicates: int = REPLICATES,
    level: float = 0.95,
    seed: int = 0,
) -> TableAnalysis:
    """Ask of each predictor in a table whether it goes with the gaps in another.

    Parameters
    ----------
    gaps_csv : path
        CSV with a row for each attack: `held` (or `family`), `gap` (or `gap_pct`), perhaps `eer_with` (or `eer_seen_pct`).
    geometry_csv : path
        CSV of predictors, wide or long; see `attack_table`.
    primary, permutations, replicates, level, seed
        As for `associate`.

    Returns
    -------
    TableAnalysis
        The sentences begin with the attacks and end with one for each predictor.

    Raises
    ------
    DataError
        If a file cannot be read, the tables do not fit each other, a predictor is missing for an attack or the same for all, or all gaps
        are equal.
    UnknownName
        If there is no predictor `primary`.
    """
    gaps, geometry = read_attack_table(gaps_csv), read_attack_table(geometry_csv)
    table = align(gaps, geometry)
    for known, note in zip(table.predictors, table.notes, strict=True):
        if note:
            raise DataError(f"{known.name} of {geometry_csv} cannot be correlated with the gaps of {gaps_csv}: {note}")
    found = associate(gaps, geometry, primary=primary, permutations=permutations, replicates=replicates, level=level, seed=seed)
    return TableAnalysis(found, [*_overview(table, found[0]), *(_sentence(one) for one in found)])


def _overview(table: AttackTable, found: Association) -> list[str]:
    n, gap = len(table.attacks), table.gap
    mean, median = 100 * float(gap.mean()), 100 * float(np.median(gap))
    largest = int(gap.argmax())
    share = f"; {table.attacks[largest]} alone is {100 * gap[largest] / gap.sum():.0f} % of their sum" if gap.sum() > 0 else ""
    sentences = [f"{n} attacks with gaps of {mean:.2f} points on average and {median:.2f} in the median{share}."]
    if table.difficulty is not None:
        rho = float(spearman(gap, table.difficulty))
        if not math.isnan(rho):
            p = p_text(float(correlation_p(rho, n)))
            sentences.append(f"The gap goes with how hard an attack is when trained on by rho {rho_text(rho)} (p {p}).")
    alpha, power = f"{1 - found.level:g}", 100 * found.power_medium
    sentences.append(
        f"With {n} attacks a p of {alpha} needs a |rho| of {found.critical_rho:.2f}; a true rho of 0.5 shows in {power:.0f} % of cases."
    )
    return sentences


def _sentence(one: Association) -> str:
    interval = "no interval" if math.isnan(one.rho_low) else f"{rho_text(one.rho_low)} to {rho_text(one.rho_high)}"
    return f"{one.predictor}: rho {rho_text(one.rho)} ({interval}), {one.verdict}."
