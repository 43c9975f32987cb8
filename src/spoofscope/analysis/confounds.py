"""Do the findings survive codec, speaker and source: what else is decodable, and what is left when it is held constant or matched.

Rows are those of confounds.csv, less what names the space. Beside a `value` and its `baseline` stands their `difference` with its own interval,
over the same trials, wherever both are estimates: whether a confound explains a finding is read there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.cells import Resampling, cluster_rows, with_interval
from spoofscope.analysis.design import DISJOINT, Design, Mask, codes_of, design_of, known_columns, require_columns
from spoofscope.analysis.heads import Head
from spoofscope.analysis.heads.logistic import Vectors
from spoofscope.analysis.holdout import cross_fitted_scores
from spoofscope.analysis.probing.decoding import FOLDS, Codes, Part, Resampled, out_of_fold, part_of, task_of, types_of
from spoofscope.errors import NotEnoughTrials, TrialsError
from spoofscope.metrics.clusters import Clusters
from spoofscope.metrics.correlations import FEWEST, draw_attacks, spearman, weighted_spearman
from spoofscope.metrics.intervals import ScorePair, bootstrap, bootstrap_difference
from spoofscope.trials import BONAFIDE

Row = dict[str, Any]
RANDOM_SETS = 3


class Matched(NamedTuple):
    """Bona fide rows weighed to the mix of a group.

    Parameters
    ----------
    weights : (n,) float array
        Weights of all rows, summing to 1; 0 for rows that are not bona fide.
    kept : (n,) bool array
        Rows of the group whose cell holds bona fide speech.
    effective_n : float
        As many equally weighted rows would be as certain: 1 / sum of squared weights.
    note : str
        How much of the group is left out.
    """

    weights: NDArray[np.float64]
    kept: Mask
    effective_n: float
    note: str


def decodability_rows(
    vectors: Vectors,
    frame: pl.DataFrame,
    columns: Sequence[str],
    *,
    resampling: Resampling,
    folds: int = FOLDS,
    min_count: int = 10,
    seed: int = 0,
) -> list[Row]:
    """Measure how well each column is decoded from bona fide rows alone and from spoof alone, so that the class does not carry it.

    `value` is the balanced accuracy of a linear probe (`decoding`), `held` the class that it was measured on.

    Parameters
    ----------
    vectors : (n, d) float array
        One layer, its rows those of `frame`.
    columns : sequence of str
        Codec, transmission, language, speaker ...
    """
    rows = []
    for column in columns:
        for label in ("bonafide", "spoof"):
            row: Row = {"question": "decodable", "target": column, "held": label, "baseline_kind": "chance"}
            try:
                settings = {"folds": folds, "min_count": min_count, "seed": seed}
                task = task_of(frame, column, rows=(frame["label"] == label).to_numpy(), **settings)  # type: ignore[arg-type]
            except NotEnoughTrials as error:
                rows.append(row | {"value": np.nan, "note": str(error)})
                continue
            unit, types = types_of(frame, [task])
            resampled = Resampled(unit, types, resampling, seed)
            decision = out_of_fold(vectors[task.rows], task.codes, task.fold, len(task.classes))[:, 0]
            row |= resampled.accuracy("value", [part_of(decision, task.codes, types[task.rows])])
            row |= {"baseline": 1 / len(task.classes), "n": len(task.rows), "n_classes": len(task.classes)}
            rows.append(row | {"note": "; ".join(filter(None, (task.note, resampled.caveat)))})
    return rows


def identity_rows(
    vectors: Vectors,
    frame: pl.DataFrame,
    held_by: str,
    column: str,
    *,
    resampling: Resampling,
    folds: int = FOLDS,
    min_count: int = 10,
    seed: int = 0,
) -> list[Row]:
    """Measure how well each group is told from other spoof inside each value of a column, where the column cannot help.

    `value` is the balanced accuracy of the group against the rest, `baseline` the same inside sets of the same sizes that are drawn at
    random, in which the column can help: both probes learn from as many rows. A first row, `held` empty, is the mean over groups.

    Parameters
    ----------
    vectors : (n, d) float array
        One layer, its rows those of `frame`.
    held_by, column : str
        The column of the groups, and the one that is held constant.
    """
    require_columns(frame, ("label", held_by, column), "the probed trials")
    spoof = frame.select((pl.col("label") != BONAFIDE) & pl.col(column).is_not_null()).to_series()
    seen, trials = vectors[spoof.to_numpy()], frame.filter(spoof)
    units = known_columns(trials, [name for name in DISJOINT if name not in (held_by, column)])
    unit, types = (units[0], codes_of(trials[units[0]])) if units else ("trial", np.arange(trials.height))
    resampled = Resampled(unit, types, resampling, seed)
    settings = {"within": column, "folds": folds, "min_count": min_count, "seed": seed}
    inside = _identity_parts(seen, trials, held_by, types, settings)
    outside: dict[str, list[Part]] = defaultdict(list)
    for draw in range(RANDOM_SETS):
        shuffled = trials.with_columns(trials[column].gather(np.random.default_rng((seed, draw)).permutation(trials.height)))
        for group, parts in _identity_parts(seen, shuffled, held_by, types, settings).items():
            outside[group] += parts
    groups = trials[held_by].cast(pl.String).drop_nulls().unique().sort().to_list()
    both = [group for group in groups if inside[group] and outside[group]]
    all_inside, all_outside = ([part for group in both for part in _evened(side[group])] for side in (inside, outside))
    rows = [
        _identity_row(column, "", all_inside, all_outside, resampled),
        *(_identity_row(column, group, inside[group], outside[group], resampled) for group in groups),
    ]
    missing = f"no value of {column} holds {min_count} trials of it and of another group that folds can part"
    return [row | {"note": resampled.caveat if np.isfinite(row["value"]) else missing} for row in rows]


def _identity_parts(
    vectors: Vectors, frame: pl.DataFrame, held_by: str, types: Codes, settings: Mapping[str, Any]
) -> dict[str, list[Part]]:
    """Tell each group from the rest inside every value of the column that is held constant; a part per group and value."""
    parts: dict[str, list[Part]] = defaultdict(list)
    values = frame[settings["within"]]
    for value in values.unique().sort():
        try:
            task = task_of(frame, held_by, rows=(values == value).to_numpy(), **settings)
        except NotEnoughTrials:
            continue
        decision = out_of_fold(vectors[task.rows], task.codes, task.fold, len(task.classes))[:, 0]
        for at, group in enumerate(task.classes):
            own = (task.codes == at).astype(np.intp)
            two = np.column_stack((-decision[:, at], decision[:, at]))
            parts[group].append(part_of(two, own, types[task.rows], float(own.sum())))
    return parts


def _evened(parts: list[Part]) -> list[Part]:
    """Scale the weights of a group's parts to a sum of 1."""
    whole = sum(part.weight for part in parts)
    return [part._replace(weight=part.weight / whole) for part in parts]


def _identity_row(column: str, group: str, inside: list[Part], outside: list[Part], resampled: Resampled) -> Row:
    row: Row = {"question": "identity within", "target": column, "held": group, "value": np.nan}
    row |= {"baseline_kind": "sets of the same sizes drawn at random"}
    if not (inside and outside):
        return row
    row |= resampled.accuracy("value", inside) | {"baseline": resampled.value(outside)}
    n = int(sum(part.asked[:, 1].sum() for part in inside))
    return row | resampled.accuracy("difference", inside, outside) | {"n": n, "n_classes": 2}


def matched_weights(frame: pl.DataFrame, held: Mask, bonafide: Mask, columns: Sequence[str]) -> Matched:
    """Weigh bona fide rows so that they have the group's mix of the given columns.

    Each bona fide row of a cell (a combination of values; one that is not known counts as a value) weighs the group's share of the cell
    over the number of bona fide rows in it. Rows of the group in cells without bona fide speech have no counterpart and are left out.

    Parameters
    ----------
    frame : polars.DataFrame
        All trials.
    held, bonafide : (n,) bool array
        Rows of the group, and bona fide rows.
    columns : sequence of str
        What is matched, such as codec and transmission.

    Raises
    ------
    NotEnoughTrials
        If no cell of the group holds bona fide speech.
    """
    require_columns(frame, columns, "the matched trials")
    words = frame.select(pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in columns], separator="\x1f"))
    cell = np.unique(words.to_series().to_numpy().astype(str), return_inverse=True)[1]
    wanted, there = (np.bincount(cell[rows], minlength=cell.max() + 1).astype(np.float64) for rows in (held, bonafide))
    kept = held & (there[cell] > 0)
    if not kept.any():
        raise NotEnoughTrials(f"no bona fide trial has the {' and '.join(columns)} of any of the group's {held.sum()} trials")
    wanted[there == 0] = 0
    weights = np.where(bonafide, wanted[cell] / wanted.sum() / np.maximum(there[cell], 1), 0.0)
    out = int(held.sum() - kept.sum())
    note = f"{out} of its {held.sum()} trials have no bona fide counterpart in {' and '.join(columns)} and are left out"
    return Matched(weights, kept, float(1 / (weights**2).sum()), note if out else "")


def matched_distances(vectors: Vectors, design: Design, columns: Sequence[str]) -> pl.DataFrame:
    """Measure each group's distance from bona fide speech of its own mix of the given columns.

    All rows are standardised together and the distance is Euclidean, between centroids, as the reference study's `d_bona`. Fewer effective
    rows would lie further away by chance alone: the expected square of that, the variance of the mean beyond what it is without matching, is
    taken off.

    Returns
    -------
    polars.DataFrame
        `held, raw, matched, effective_n, note`, groups in order; `matched` is nan where no bona fide row matches.
    """
    z = np.asarray(vectors, dtype=np.float64)
    scale = z.std(axis=0)
    z = (z - z.mean(axis=0)) / np.where(scale > 0, scale, 1)
    bonafide = design.is_bonafide
    n, spread = int(bonafide.sum()), float(z[bonafide].var(axis=0).sum())
    rows = []
    for group in design.groups:
        own = design.held == group
        raw = float(np.linalg.norm(z[own].mean(axis=0) - z[bonafide].mean(axis=0)))
        try:
            match = matched_weights(design.frame, own, bonafide, columns)
        except NotEnoughTrials as error:
            rows.append((group, raw, np.nan, np.nan, str(error)))
            continue
        square = float(((z[match.kept].mean(axis=0) - match.weights @ z) ** 2).sum())
        square -= spread * (1 / match.effective_n - 1 / n)
        square -= float(z[own].var(axis=0).sum()) * (1 / match.kept.sum() - 1 / own.sum())
        rows.append((group, raw, float(np.sqrt(max(square, 0.0))), match.effective_n, match.note))
    numbers = dict.fromkeys(("raw", "matched", "effective_n"), pl.Float64())
    return pl.DataFrame(rows, schema={"held": pl.String()} | numbers | {"note": pl.String()}, orient="row")


def matched_rows(
    distances: pl.DataFrame, gaps: Mapping[str, float], columns: Sequence[str], *, resampling: Resampling, seed: int = 0
) -> list[Row]:
    """Compare how distance goes with the gap (Spearman's rho) once bona fide speech is matched, and before.

    The first row, `held` empty, is that comparison over the groups that have both; intervals resample groups. The others give each group's two
    distances.

    Parameters
    ----------
    distances : polars.DataFrame
        From `matched_distances`.
    gaps : mapping of group to float
        Gaps of the same layer, nan where there is none.
    """
    what = {"question": "matched bona fide", "target": " x ".join(columns)}
    known = distances.filter(
        pl.col("matched").is_finite(), pl.col("held").is_in([g for g, gap in gaps.items() if np.isfinite(gap)])
    )
    row = what | {"held": "", "value": np.nan, "baseline_kind": "unmatched", "n": known.height}
    if known.height < FEWEST:
        row |= {"note": f"{known.height} groups have a gap and matching bona fide speech; a correlation needs {FEWEST}"}
    else:
        both, gap = known.select("raw", "matched").to_numpy(), np.array([gaps[group] for group in known["held"]])
        raw, matched = spearman(both, gap)
        drawn = draw_attacks(known.height, resampling["replicates"], np.random.default_rng(seed))
        samples = weighted_spearman(both, gap, drawn)
        sides = {"value": samples[:, 1], "difference": samples[:, 1] - samples[:, 0]}
        row |= {"value": float(matched), "baseline": float(raw), "difference": float(matched - raw)}
        for name, sample in sides.items():
            tail = (1 - resampling["level"]) / 2
            bounds = np.nanquantile(sample, [tail, 1 - tail]) if np.isfinite(sample).any() else (np.nan, np.nan)
            row |= {f"{name}_low": float(bounds[0]), f"{name}_high": float(bounds[1])}
        row |= {
            "note": f"{distances.height - known.height} of {distances.height} groups left out"
            if known.height < distances.height
            else ""
        }
    own = [
        what
        | {"held": at["held"], "value": at["matched"], "baseline": at["raw"], "baseline_kind": "distance, unmatched"}
        | {"n": int(at["effective_n"]) if np.isfinite(at["effective_n"]) else 0, "note": at["note"]}
        for at in distances.iter_rows(named=True)
    ]
    return [row, *own]


def leak_rows(
    vectors: NDArray[np.float32],
    frame: pl.DataFrame,
    held_by: str,
    head: Head,
    *,
    clusters: Sequence[str],
    resampling: Resampling,
    folds: int = FOLDS,
    seed: int = 0,
) -> list[Row]:
    """Measure how much lower the error is where speakers and sources stand in training and in test.

    `value` is the equal error rate under folds that share no source, then no speaker and no source; `baseline` that under folds of single rows.

    Parameters
    ----------
    vectors : (n, d) float array
        One layer, its rows those of `frame`.
    head : Head
        Trained on the other folds, every group known.
    clusters : sequence of str
        Columns whose values intervals resample whole.
    """
    strata = frame.select(pl.concat_str("label", pl.col(held_by).cast(pl.String).fill_null(""), separator="\x1f")).to_series()
    fold = np.empty(frame.height, dtype=np.intp)
    shuffled = np.random.default_rng(seed).permutation(frame.height)
    fold[np.lexsort((shuffled, codes_of(strata)))] = np.arange(frame.height) % folds
    known = known_columns(frame, DISJOINT)
    resampled = cluster_rows(frame, clusters)

    def pair(design: Design) -> ScorePair:
        scores = cross_fitted_scores(vectors, design, head)
        return ScorePair(scores[design.is_bonafide], scores[~design.is_bonafide])

    single = pair(Design(frame, held_by, fold, "single trials", ()))
    rows = []
    for columns in [columns for columns in (("source",), DISJOINT) if set(columns) <= set(known)]:
        row: Row = {
            "question": "source-disjoint",
            "target": " and ".join(columns),
            "held": "",
            "baseline_kind": "folds of single trials",
        }
        try:
            apart = pair(design_of(frame, held_by, "trials", folds=folds, disjoint=columns, seed=seed))
        except (TrialsError, NotEnoughTrials) as error:
            rows.append(row | {"value": np.nan, "note": str(error)})
            continue
        rows.append(row | compared(single, apart, resampled, resampling, seed))
    return rows


def compared(first: ScorePair, second: ScorePair, clusters: Clusters | None, resampling: Resampling, seed: int) -> Row:
    """Lay out the equal error rate of `second` as value, that of `first` as baseline, and their paired difference."""
    after, before = (
        bootstrap("eer", *pair, clusters, rng=np.random.default_rng(seed), **resampling) for pair in (second, first)
    )
    difference = bootstrap_difference("eer", first, second, clusters, rng=np.random.default_rng(seed), **resampling)
    row = with_interval("value", after) | {"baseline": before.value} | with_interval("difference", difference)
    return row | {"n": after.n_bonafide + after.n_spoof, "n_classes": 2, "note": after.note}
