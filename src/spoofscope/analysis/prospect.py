"""Whether the gap of a generator can be told before anyone has trained on it, or from a handful of its clips.

Every prediction is of a generator that took no part in making it. Models are lines on one predictor, and three that look at no sample:

`median`
    The median gap of the other generators: what to beat.
`family`
    The mean gap of the others of its family; their median where there is none. All that is known before samples exist.
`difficulty`
    A line on the error where the generator was trained on, which nobody knows beforehand: the ceiling of what difficulty can tell.

A line on a predictor needs clips of the generator, but no label and no training on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from spoofscope.analysis.holdout import GroupScores
from spoofscope.metrics.correlations import FEWEST, draw_attacks, spearman, standardise
from spoofscope.metrics.rates import Floats

Row = dict[str, Any]
Model = Callable[[Floats], Floats]
"""(p, n) outcomes to (p, n) predictions, each attack's from the others."""

MEDIAN, FAMILY, DIFFICULTY = "median", "family", "difficulty"
SAMPLES = (0, 1, 5, 20)
DRAWS = 200
FEWEST_LEFT = 5
CONCENTRATIONS = (0.5, 500.0)


def prospect_rows(
    gaps: pl.DataFrame,
    predictors: pl.DataFrame,
    *,
    families: Mapping[str, str] | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    permutations: int = 10_000,
    seed: int = 0,
) -> tuple[list[Row], list[Row]]:
    """Predict each gap from the others by every model.

    Parameters
    ----------
    gaps : polars.DataFrame
        `held`, `gap`, `eer_with`; a row per attack.
    predictors : polars.DataFrame
        `held, predictor, value, circular`; circular ones, and those that lack an attack, are left out.
    families : mapping of str to str, optional
        What each attack is made of.

    Returns
    -------
    (rows of prospect.csv, rows of prospect_attacks.csv)
        Less what names the space. `mae` is the mean absolute error, its interval over attacks; `difference` is from the median's, paired.
        `rank_rho` is Spearman's between predicted and true gaps; its `rank_p` repeats the whole prediction under random orders of the gaps,
        because predictions that each leave one out go against the truth where nothing is known. Empty below five attacks.
    """
    known = gaps.filter(pl.col("gap").is_finite() & pl.col("eer_with").is_finite()).sort("held")
    if known.height < FEWEST:
        return [], []
    names, gap = known["held"].to_list(), known["gap"].to_numpy()
    rng = np.random.default_rng(seed)
    drawn = draw_attacks(known.height, replicates, rng) / known.height
    orders = rng.permuted(np.broadcast_to(gap, (permutations, known.height)), axis=1)
    rows, attacks = [], []
    baseline: Floats = np.zeros(0)
    for name, model in _models(known, predictors, families).items():
        predicted = model(gap[None])[0]
        if not np.isfinite(predicted).all():
            continue
        error = np.abs(predicted - gap)
        baseline = error if name == MEDIAN else baseline
        row: Row = {"model": name, "n_attacks": known.height} | _interval("mae", error, drawn, level)
        row |= {"mae_median": float(baseline.mean())}
        if name != MEDIAN:
            row |= _interval("difference", error - baseline, drawn, level)
        rho, chance = _rank(predicted, gap), _rank(model(orders), orders)
        row |= {"rank_rho": rho, "rank_p": float((1 + np.count_nonzero(chance >= rho - 1e-12)) / (1 + permutations))}
        rows.append(row | {"note": _verdict(row) if name != MEDIAN else ""})
        attacks += [
            {"model": name, "held": held, "predicted": one, "actual": true}
            for held, one, true in zip(names, predicted.tolist(), gap.tolist(), strict=True)
        ]
    return rows, attacks


def _models(known: pl.DataFrame, predictors: pl.DataFrame, families: Mapping[str, str] | None) -> dict[str, Model]:
    held = known["held"].to_list()
    models: dict[str, Model] = {MEDIAN: _median}
    kinds = [(families or {}).get(name) or name for name in held]
    if len(set(kinds)) < len(kinds):
        models[FAMILY] = lambda outcomes: _family(outcomes, kinds)
    models[DIFFICULTY] = _line(known["eer_with"].to_numpy())
    for (name,), own in predictors.filter(~pl.col("circular")).group_by(["predictor"], maintain_order=True):
        values = known.select("held").join(own, on="held", how="left", maintain_order="left")["value"].cast(pl.Float64)
        if values.is_finite().fill_null(False).all():
            models[str(name)] = _line(values.to_numpy())
    return models


def _median(outcomes: Floats) -> Floats:
    n = outcomes.shape[1]
    return np.column_stack([np.median(np.delete(outcomes, at, axis=1), axis=1) for at in range(n)])


def _family(outcomes: Floats, kinds: Sequence[str]) -> Floats:
    same = np.equal.outer(kinds, kinds) & ~np.eye(len(kinds), dtype=bool)
    size = same.sum(axis=1)
    mean = outcomes @ same.T / np.maximum(size, 1)
    return np.where(size > 0, mean, _median(outcomes))


def _line(values: Floats) -> Model:
    """Fit a least-squares line without each attack in turn; nan where the predictor is constant without one."""
    unit = standardise(values[:, None].astype(np.float64))[:, 0]
    free = 1 - 1 / len(unit) - unit**2

    def predict(outcomes: Floats) -> Floats:
        mean = outcomes.mean(axis=1, keepdims=True)
        residual = outcomes - mean - (outcomes @ unit)[:, None] * unit
        left: Floats = outcomes - residual / np.where(free > 1e-9, free, np.nan)
        return left

    return predict


def _rank(predicted: Floats, truth: Floats) -> Any:
    """Spearman's rho of each pair of rows; 0 where a row is constant."""
    if predicted.ndim == 1:
        return float(np.nan_to_num(spearman(predicted[:, None], truth)[0])) if np.ptp(predicted) > 0 else 0.0
    sides = [ranks - ranks.mean(axis=1, keepdims=True) for ranks in (_ranks(predicted), _ranks(truth))]
    norms = np.sqrt((sides[0] ** 2).sum(axis=1) * (sides[1] ** 2).sum(axis=1))
    return np.divide((sides[0] * sides[1]).sum(axis=1), norms, out=np.zeros(len(norms)), where=norms > 0)


def _ranks(rows: Floats) -> Floats:
    """Rank each row, ties sharing their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(rows, axis=1), dtype=np.float64)


def _interval(name: str, errors: Floats, drawn: Floats, level: float) -> Row:
    low, high = np.quantile(drawn @ errors, [(1 - level) / 2, (1 + level) / 2])
    return {name: float(errors.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}


def _verdict(row: Row) -> str:
    if row["difference_high"] < 0:
        return "better than the median"
    return "worse than the median" if row["difference_low"] > 0 else "no better than the median within noise"


def few_sample_rows(
    scores: Sequence[GroupScores],
    *,
    samples: Sequence[int] = SAMPLES,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> list[Row]:
    """Predict how much of a new generator is accepted from a few of its clips: rows of few_samples.csv, less what names the space.

    The threshold is frozen at the EER of the generators that the head knows. How much of *other* generators was accepted when each was new gives
    a beta distribution (method of moments); k clips turn it into the predicted share of the remaining ones, and a beta-binomial interval. Clips are
    drawn from different source utterances, as far as there are so many. `covered` is the share of draws whose interval holds the true share,
    `mae` the mean distance of the prediction from it.

    Parameters
    ----------
    scores : sequence of GroupScores
        From `hold_out`, of every group.
    samples : sequence of int
        Numbers of clips; 0 is what other generators alone tell.
    draws : int
        How often clips are drawn.
    """
    accepted = {one.group: one.frozen[1].spoof >= 0 for one in scores}
    rows = []
    for at, one in enumerate(scores):
        others = [hits for group, hits in accepted.items() if group != one.group]
        if len(others) < 2:
            continue
        prior = beta_of(np.array([hits.mean() for hits in others]), np.array([len(hits) for hits in others]))
        hits, sources = accepted[one.group], _sources(one)
        for k in samples:
            row: Row = {"held": one.group, "samples": k, "actual": float(hits.mean())}
            if len(hits) - k < FEWEST_LEFT:
                rows.append(row | {"n_draws": 0, "note": f"{len(hits)} clips leave fewer than {FEWEST_LEFT} to be predicted"})
                continue
            rng = np.random.default_rng((seed, at, k))
            seen = np.array([_chosen(sources, k, rng) for _ in range(draws if k else 1)])
            rows.append(row | _predicted(hits, seen, prior, level) | {"n_draws": len(seen), "note": ""})
    return rows


def beta_of(rates: Floats, sizes: Floats) -> tuple[float, float]:
    """Fit a beta distribution to rates by moments, the binomial noise of each taken off: its two parameters."""
    mean = float(np.clip(rates.mean(), 0.01, 0.99))
    noise = float(np.mean(rates * (1 - rates) / np.maximum(sizes - 1, 1)))
    spread = max(float(rates.var(ddof=1)) - noise, 1e-9)
    whole = float(np.clip(mean * (1 - mean) / spread - 1, *CONCENTRATIONS))
    return mean * whole, (1 - mean) * whole


def _sources(scores: GroupScores) -> pl.DataFrame:
    frame = scores.frame.filter(pl.col("label") != "bonafide")
    column = "source" if "source" in frame.columns else "trial_id"
    return frame.select(pl.col(column).fill_null(pl.col("trial_id")).alias("source")).with_row_index("row")


def _chosen(sources: pl.DataFrame, k: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Draw k rows, of as many sources as there are."""
    order = rng.permutation(sources.height)
    names = sources["source"].to_numpy()[order]
    first = np.sort(np.unique(names, return_index=True)[1])
    rest = np.setdiff1d(np.arange(len(order)), first)
    return np.asarray(order[np.concatenate((first, rest))][:k])


def _predicted(hits: np.ndarray[Any, Any], seen: np.ndarray[Any, Any], prior: tuple[float, float], level: float) -> Row:
    from scipy.stats import betabinom

    k = seen.shape[1]
    left, found = len(hits) - k, np.arange(k + 1)
    a, b = prior[0] + found, prior[1] + k - found
    bounds = [betabinom.ppf(tail, left, a, b) / left for tail in ((1 - level) / 2, (1 + level) / 2)]
    known = hits[seen].sum(axis=1).astype(np.intp)
    predicted, low, high = (of_count[known] for of_count in (a / (a + b), *bounds))
    true = (hits.sum() - known) / left
    inside = (low <= true + 1e-12) & (true <= high + 1e-12)
    return {
        "predicted": float(predicted.mean()),
        "predicted_low": float(low.mean()),
        "predicted_high": float(high.mean()),
        "mae": float(np.abs(predicted - true).mean()),
        "covered": float(inside.mean()),
    }
