"""What the figures of an association say, in sentences made by rules from the figures alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spoofscope.analysis.association.associate import Association

NOTHING_LEFT = 0.1
"""A partial |rho| below which nothing is said to be left."""


def verdict_of(found: Association) -> str:
    """Say whether a predictor goes with the gap, and what takes that back.

    One clause each, in this order: whether it is circular; significance (its own p for the primary predictor, Holm's for the others); and for
    what is significant by itself, a sign that was not expected, the attack that carries it, what is left given the seen difficulty, and
    how well it predicts an attack from the others.
    """
    if found.note:
        return f"not tested: {found.note}"
    clauses = ["circular: it is itself a detector that has not met the attack"] if found.circular else []
    clauses.append(_significance(found))
    if found.p < 1 - found.level:
        clauses += _reservations(found)
    return "; ".join(clauses)


def p_text(p: float, decimals: int = 3) -> str:
    """Return a p as people read it, one decimal less where it is large: `0.016`, `0.21`, `< 0.001`."""
    least = 10.0**-decimals
    return f"< {least:g}" if p < least else f"{p:.{decimals - 1 if p >= 0.0995 else decimals}f}"


def rho_text(rho: float, decimals: int = 2) -> str:
    """Return a correlation with its sign; a dash where there is none."""
    return "–" if math.isnan(rho) else f"{rho:+.{decimals}f}"


def _significance(found: Association) -> str:
    alpha, p, corrected = 1 - found.level, p_text(found.p), p_text(found.p_holm)
    if math.isnan(found.p_holm):
        return f"outside the family, as no hypothesis about it was stated (p {p})"
    if found.p >= alpha:
        return f"not significant (p {p}; {found.n_attacks} attacks show a true rho of 0.5 in {100 * found.power_medium:.0f} % of cases)"
    if found.primary:
        return f"significant as the primary test (p {p}), {'' if found.p_holm < alpha else 'not '}after Holm ({corrected})"
    return f"{'' if found.p_holm < alpha else 'not '}significant after Holm ({corrected})"


def _reservations(found: Association) -> Iterator[str]:
    alpha = 1 - found.level
    if found.expected_sign and (found.rho > 0) != (found.expected_sign == "+"):
        yield f"the sign is not the one expected ({found.expected_sign})"
    if math.isnan(found.rho_without):
        yield f"without {found.carried_by} there is nothing to correlate"
    elif found.p_without < alpha:
        yield f"holds without {found.carried_by} (rho {rho_text(found.rho_without)}, p {p_text(found.p_without)})"
    else:
        yield f"dropping {found.carried_by} leaves rho {rho_text(found.rho_without)}, p {p_text(found.p_without)}"
    if not math.isnan(found.partial_rho):
        yield _given_difficulty(found, alpha)
    if not math.isnan(found.mae):
        yield f"predicts an unseen attack to {100 * found.mae:.2f} points on average, where the median of the others does to {100 * found.mae_median:.2f}"


def _given_difficulty(found: Association, alpha: float) -> str:
    left, p = rho_text(found.partial_rho), p_text(found.partial_p)
    if abs(found.partial_rho) < NOTHING_LEFT:
        return f"given the seen difficulty nothing is left ({left})"
    if found.partial_p >= alpha:
        return f"given the seen difficulty {left} is left (p {p})"
    return f"{'holds' if found.partial_rho * found.rho > 0 else 'the sign turns'} given the seen difficulty ({left}, p {p})"
