"""Geometry: where a held-out generator sits against bona fide speech.

`reference_geometry` gives the seven predictors of the reference study as it defines them, from all rows at once. `cross_fitted_geometry` asks the
same, and more, so that the answer is about generators and not about the rows:

* Whatever rows are compared with (scale, centroids, covariance, neighbours) is made of rows of other folds of the design, which share no speaker
  and no source with them. A group that one speaker or source holds together stays in its fold for this, whole.
* Each dimension is measured in standard deviations of bona fide speech, and centres count classes or generators once each, so that no value
  depends on how many spoof rows there are.
* A centroid of few rows lies far from everything by chance, so distances of centroids would mostly rank groups by their sizes. Squared distances are
  therefore products of displacements that were measured in two different folds, in which chance cancels on average (Walther et al.,
  "Reliability of dissimilarity measures for multi-voxel pattern analysis", NeuroImage 137, 2016). A group in fewer than three folds
  has only the noise of its rows taken off, and its `note` says so. A distance within its noise can come out below 0.
* What many dimensions and few bona fide rows do to any stranger is taken out by dividing by what held-out bona fide rows get.

Values are averages over the folds (or pairs of folds), weighted by tested rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.design import Codes, Design, Mask
from spoofscope.analysis.distances import (
    CROSSING,
    Cloud,
    Floats,
    Rows,
    Totals,
    averaged,
    blocks,
    bures_squared,
    cloud_of,
    log_distances,
    mean_likeness,
    placed,
    rooted,
    scale_of,
    spread_like,
    squared_distances,
    standing,
    totals_of,
    two_nearest,
)
from spoofscope.errors import NotEnoughTrials, ScoresError

REFERENCE_NEIGHBOURS = 15

SCHEMA: dict[str, pl.DataType] = {
    "held": pl.String(),
    "predictor": pl.String(),
    "value": pl.Float64(),
    "circular": pl.Boolean(),
    "expected_sign": pl.String(),
    "note": pl.String(),
}
"""The columns of a table of predictors: a row per group and predictor."""


class Predictor(NamedTuple):
    """One number per group that may go with its gap.

    `expected_sign` is that of its association with the gap ("" where none was expected); `circular` says that the value is itself the mean score or
    decision of a detector trained without the group, so that its association with the gap explains nothing; `reference`, that it
    is the reference study's; `needs`, what it takes to exist.
    """

    name: str
    meaning: str
    expected_sign: Literal["+", "-", ""]
    circular: bool = False
    reference: bool = False
    needs: str = "another generator"


_TWO = "two rows of the group, and bona fide rows in folds other than theirs"
_OTHER = "another generator with two rows in other folds"
_NEAR = "k different bona fide rows in other folds"
_FOLDS = "bona fide rows in three folds, and two rows of the group"

PREDICTORS: dict[str, Predictor] = {
    predictor.name: predictor
    for predictor in (
        Predictor("d_bona", "distance of its centroid from the bona fide one", "-", reference=True),
        Predictor("cos_bona", "cosine distance of the two centroids about the mean of all rows", "-", reference=True),
        Predictor("d_near_spoof", "distance of its centroid from the nearest other generator's", "+", reference=True),
        Predictor("d_mean_spoof", "mean distance of its centroid from the other generators'", "", reference=True),
        Predictor("rel", "d_bona / d_near_spoof", "-", reference=True),
        Predictor("bona_axis_proj", "its centroid along the axis from other spoof to bona fide", "+", True, True),
        Predictor("knn_bona_frac", "share of its rows that 15 neighbours call bona fide", "+", True, True, "15 other rows"),
        Predictor(
            "cf_d_bona", "distance of its mean from bona fide speech's, in bona fide standard deviations", "-", needs=_TWO
        ),
        Predictor(
            "cf_cos_bona",
            "cosine distance of the two means about the midpoint of the classes",
            "-",
            needs="another generator, and a mean off the midpoint beyond its noise",
        ),
        Predictor("cf_d_near_spoof", "distance of its mean from the nearest other generator's", "+", needs=_OTHER),
        Predictor(
            "cf_rel", "cf_d_bona - cf_d_near_spoof: nearer to bona fide speech (below 0) or to a generator", "-", needs=_OTHER
        ),
        Predictor("cf_axis_proj", "its mean between the other generators' (0) and bona fide speech's (1)", "+", True),
        Predictor("mahalanobis_bona", "Mahalanobis distance from bona fide speech, 1 as for its own rows", "-", needs=_NEAR),
        Predictor("knn_dist_bona", "distance to the k nearest bona fide rows, 1 as for its own rows", "-", needs=_NEAR),
        Predictor("local_density", "how much sparser it lies than its bona fide neighbours, 1 as they do", "-", needs=_FOLDS),
        Predictor("frechet_bona", "Fréchet distance of two Gaussians in bona fide speech's main axes", "-", needs=_TWO),
        Predictor("mmd_bona", "squared maximum mean discrepancy from bona fide speech, Gaussian kernel", "-", needs=_FOLDS),
        Predictor("intrinsic_dim", "intrinsic dimension of its rows; grows with their number", "", needs="three distinct rows"),
        Predictor(
            "intrinsic_dim_ratio", "that over as many bona fide rows'", "+", needs="three distinct rows, and as many bona fide"
        ),
        Predictor(
            "boundary_margin", "mean log-odds of its rows for a head trained without it", "+", True, needs="a head's margin"
        ),
    )
}
"""Every predictor by name, in the order of the tables."""

PRIMARY = "cf_d_bona"
"""The predictor that a claim rests on unless a plan names another.

It was fixed before any association with a gap had been looked at: it is the cross-fitted form of the reference study's headline, so that a result for or
against it speaks to that finding; it is not circular; and its square is right on average whatever the size of a group.
"""

Values = dict[str, Floats]


def reference_geometry(vectors: Rows, is_bonafide: Mask, held: NDArray[np.object_]) -> pl.DataFrame:
    """Evaluate the reference study's predictors: all rows standardised together, centroids of all rows.

    Parameters
    ----------
    vectors : (n, d) float array
        One layer.
    is_bonafide : (n,) bool array
        True for bona fide rows.
    held : (n,) array
        The group of each spoof row; '' for bona fide rows and where it is not known.

    Returns
    -------
    polars.DataFrame
        `held, predictor, value, circular, expected_sign, note`, groups and predictors in order.

    Raises
    ------
    ScoresError
        If the arrays are of different trials, or a number is not finite.
    NotEnoughTrials
        If there are no bona fide rows.
    """
    _require_rows(vectors, len(is_bonafide))
    if not is_bonafide.any():
        raise NotEnoughTrials("geometry needs bona fide rows to measure distances from; there are none")
    groups = tuple(sorted({str(name) for name in held[~is_bonafide]} - {""}))
    code = _codes(is_bonafide, held, groups)
    mean = vectors.mean(axis=0, dtype=np.float64)
    scale = scale_of(vectors.var(axis=0, dtype=np.float64), mean)
    centroid = np.array([(vectors[code == at].mean(axis=0, dtype=np.float64) - mean) / scale for at in range(len(groups))])
    centroid = centroid.reshape(len(groups), vectors.shape[1])
    bonafide = (vectors[is_bonafide].mean(axis=0, dtype=np.float64) - mean) / scale
    between = np.array([np.linalg.norm(centroid - own, axis=1) for own in centroid]).reshape(len(groups), len(groups))
    nearest = np.min(np.where(np.eye(len(groups), dtype=bool), np.inf, between), axis=1, initial=np.inf)
    counts = np.array([(code == at).sum() for at in range(len(groups))])
    spoof = (vectors[~is_bonafide].sum(axis=0, dtype=np.float64) - (~is_bonafide).sum() * mean) / scale
    with np.errstate(divide="ignore", invalid="ignore"):
        other = (spoof - counts[:, None] * centroid) / ((~is_bonafide).sum() - counts)[:, None]
        axis = bonafide - other
        values = {
            "d_bona": np.linalg.norm(centroid - bonafide, axis=1),
            "cos_bona": 1 - centroid @ bonafide / (np.linalg.norm(centroid, axis=1) * np.linalg.norm(bonafide)),
            "d_near_spoof": np.where(np.isfinite(nearest), nearest, np.nan),
            "d_mean_spoof": between.sum(axis=1) / (len(groups) - 1),
            "bona_axis_proj": ((centroid - other) * axis).sum(axis=1) / np.linalg.norm(axis, axis=1),
            "knn_bona_frac": _called_bonafide((vectors - mean) / scale, is_bonafide, code, len(groups)),
        }
        values["rel"] = values["d_bona"] / values["d_near_spoof"]
    return _long(groups, values, {}, (name for name, predictor in PREDICTORS.items() if predictor.reference))


def cross_fitted_geometry(
    vectors: Rows, design: Design, *, k: int = 15, components: int = 64, margins: Mapping[str, float] | None = None
) -> pl.DataFrame:
    """Evaluate every predictor of our own for every group, each row against other folds alone.

    Parameters
    ----------
    vectors : (n, d) float32 array
        One layer, its rows those of the design.
    design : Design
        Who may be compared with whom.
    k : int
        Neighbours of the nearest-neighbour predictors.
    components : int
        Main axes of bona fide speech that the Fréchet distance is taken in; d or the number of bona fide rows if that is less.
    margins : mapping of group to float, optional
        Mean out-of-fold log-odds of each group's rows for a head trained without it, for `boundary_margin`; without it that predictor is absent.

    Returns
    -------
    polars.DataFrame
        `held, predictor, value, circular, expected_sign, note`, groups and predictors in order. A group that the design cannot hold
        out, and a predictor that a group has too few rows for, has nan and a note.

    Raises
    ------
    ScoresError
        If the vectors are of other trials, or a number is not finite.
    """
    _require_rows(vectors, len(design))
    groups = design.groups
    code = _codes(design.is_bonafide, design.held, groups)
    values, alone = _of_means(totals_of(vectors, code, design.fold, len(groups)))
    values |= _of_rows(vectors, design, code, k, components)
    values |= _of_dimension(vectors, code, len(groups))
    names = [name for name, predictor in PREDICTORS.items() if not predictor.reference]
    if margins is None:
        names.remove("boundary_margin")
    else:
        values["boundary_margin"] = np.array([margins.get(group, np.nan) for group in groups])
    notes: dict[tuple[str, str], list[str]] = {}
    for at, group in enumerate(groups):
        reason = _not_held_out(design, group)
        n_folds = len(np.unique(design.fold[code == at]))
        for name in names:
            values[name][at] = np.nan if reason else values[name][at]
            others = f"{alone[at]} of {len(groups) - 1}" if alone[at] else ""
            notes[group, name] = [reason] if reason else _caveats(name, values[name][at], n_folds, others)
    return _long(groups, values, notes, names)


def _caveats(name: str, value: float, n_folds: int, others: str) -> list[str]:
    """Say what stands behind a value that is less than it looks."""
    if not np.isfinite(value):
        return [f"needs {PREDICTORS[name].needs}"]
    notes = []
    if n_folds < CROSSING and not name.startswith(("intrinsic", "boundary")):
        notes.append(f"its rows share {n_folds} of the folds: what their few speakers and sources are like is in the value")
    if others and name in ("cf_d_near_spoof", "cf_rel"):
        notes.append(f"{others} other groups have no two rows that share no speaker or source with it")
    if value < 0 and name in ("cf_d_bona", "cf_d_near_spoof", "frechet_bona"):
        notes.append("below 0: not apart beyond its sampling noise")
    return notes


def _of_means(totals: Totals) -> tuple[Values, Codes]:
    """Evaluate what rests on means; returns with it how many other generators each group could not be compared with.

    The least of many noisy distances is too small by chance, so `cf_d_near_spoof` and `cf_rel` are less exact than `cf_d_bona`.
    """
    at = placed(totals)
    others = np.where(np.eye(len(at.along), dtype=bool), np.nan, at.apart[:, 1:])
    nearest = np.min(np.where(np.isnan(others), np.inf, others), axis=1, initial=np.inf)
    bona, near = rooted(at.apart[:, 0]), rooted(np.where(np.isfinite(nearest), nearest, np.nan))
    cosine = at.onto / np.sqrt(np.where(at.off > 0, at.off, np.nan))
    values = {
        "cf_d_bona": bona,
        "cf_cos_bona": 1 - np.clip(cosine, -1, 1),
        "cf_d_near_spoof": near,
        "cf_rel": bona - near,
        "cf_axis_proj": at.along,
    }
    return values, np.isnan(others).sum(axis=1) - 1


def _of_rows(vectors: Rows, design: Design, code: Codes, k: int, components: int) -> Values:
    """Evaluate what rests on single rows, fold by fold."""
    names = ("mahalanobis_bona", "knn_dist_bona", "local_density", "mmd_bona", "frechet_bona")
    n_groups = len(design.groups)
    parts, weights = [np.full((len(names), n_groups), np.nan)], [np.ones(n_groups)]
    for fold in np.unique(design.fold):
        tested = design.fold == fold
        bonafide = code == -1
        if (bonafide & ~tested).sum() < 2 or not (bonafide & tested).any():
            continue
        parts.append(_in_fold(vectors, design.fold, code, tested, k, components, n_groups))
        weights.append(np.bincount(code[tested & (code >= 0)], minlength=n_groups).astype(np.float64))
    values = dict(zip(names, averaged([part.T for part in parts], weights).T, strict=True))
    values["frechet_bona"] = rooted(values["frechet_bona"])
    return values


def _in_fold(vectors: Rows, fold: Codes, code: Codes, tested: Mask, k: int, components: int, n_groups: int) -> Floats:
    """Compare the rows of one fold with bona fide speech of all others: (5, groups) values.

    For the Fréchet distance and the mean discrepancy a group's rows of other folds stand in the same space. Their speakers may have had a part in its
    centre and scale, each by one share in all the speakers, but in no pair of rows.
    """
    from_others = (code == -1) & ~tested
    centre = vectors[from_others].mean(axis=0, dtype=np.float64)
    scale = scale_of(vectors[from_others].var(axis=0, dtype=np.float64), centre)
    rows = (vectors - centre.astype(np.float32)) / scale.astype(np.float32)
    cloud = cloud_of(rows[from_others], fold[from_others], k)
    at = np.flatnonzero(tested & (code >= -1))
    seen = standing(rows[at], cloud, k)
    main = rows @ cloud.axes.directions[:components].T.astype(np.float32)
    values = np.full((5, n_groups), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.array([part / part[code[at] == -1].mean() for part in seen[:3]])
    for group in np.unique(code[at[code[at] >= 0]]):
        mine, all_mine = code[at] == group, code == group
        away = all_mine & ~tested if len(np.unique(fold[all_mine])) >= CROSSING else None
        values[:3, group] = relative[:, mine].mean(axis=1)
        own = mean_likeness(rows[at[mine]], None if away is None else rows[away], cloud.bandwidth)
        values[3, group] = own + cloud.likeness - 2 * seen.likeness[mine].mean()
        values[4, group] = _frechet(main[at[mine]], main[all_mine], None if away is None else main[away], cloud)
    return values


def _frechet(tested: Rows, rows: Rows, away: Rows | None, cloud: Cloud) -> float:
    """Squared Fréchet distance in main axes: the means by product of two folds (or less their noise), the spread from all rows of the group."""
    if len(rows) < 2 or not rows.shape[1]:
        return np.nan
    variances = cloud.axes.variances[: rows.shape[1]]
    spread = spread_like(rows.astype(np.float64), variances)
    mean = tested.mean(axis=0, dtype=np.float64)
    means = mean @ mean - np.trace(spread) / len(tested) if away is None else mean @ away.mean(axis=0, dtype=np.float64)
    return float(means) + bures_squared(np.diag(variances), spread)


def _of_dimension(vectors: Rows, code: Codes, n_groups: int) -> Values:
    """Evaluate intrinsic dimensions, in standard deviations of all bona fide rows: nothing is compared, so nothing can leak."""
    bonafide = vectors[code == -1]
    values = np.full((2, n_groups), np.nan)
    if len(bonafide) > 1:
        scale = scale_of(bonafide.var(axis=0, dtype=np.float64), bonafide.mean(axis=0, dtype=np.float64))
        profile = log_distances(bonafide / scale)
        for group in range(n_groups):
            own = vectors[code == group] / scale
            values[0, group] = two_nearest(log_distances(own), len(own))
            values[1, group] = values[0, group] / two_nearest(profile, len(own))
    return {"intrinsic_dim": values[0], "intrinsic_dim_ratio": values[1]}


def _called_bonafide(rows: Rows, is_bonafide: Mask, code: Codes, n_groups: int) -> Floats:
    """Share of each group's rows whose nearest rows outside the group are mostly bona fide."""
    rows = rows.astype(np.float32)
    shares = np.full(n_groups, np.nan)
    for group in range(n_groups):
        own, others = rows[code == group], np.flatnonzero(code != group)
        if len(others) < REFERENCE_NEIGHBOURS:
            continue
        called = 0
        for at in blocks(len(own)):
            squares = squared_distances(own[at], rows[others])
            near = np.argpartition(squares, REFERENCE_NEIGHBOURS - 1, axis=1)[:, :REFERENCE_NEIGHBOURS]
            called += int((is_bonafide[others[near]].mean(axis=1) > 0.5).sum())
        shares[group] = called / len(own)
    return shares


def _codes(is_bonafide: Mask, held: NDArray[np.object_], groups: tuple[str, ...]) -> Codes:
    """Number the group of each row; -1 for bona fide, -2 where the group is not known."""
    number = {group: at for at, group in enumerate(groups)}
    return np.where(is_bonafide, -1, np.array([number.get(str(name), -2) for name in held], dtype=np.intp))


def _not_held_out(design: Design, group: str) -> str:
    """Say why the design cannot test a group, so that it has no gap either; '' if it can."""
    try:
        return "" if next(design.splits(group), None) else "no fold has bona fide trials to test it against"
    except NotEnoughTrials as error:
        return str(error)


def _require_rows(vectors: Rows, n: int) -> None:
    if vectors.ndim != 2 or len(vectors) != n:
        raise ScoresError(f"geometry needs one vector for each of {n} trials; found an array of shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        bad = int((~np.isfinite(vectors).all(axis=1)).sum())
        raise ScoresError(f"{bad} of {n} vectors hold numbers that are not finite: leave out the trials whose status is not ok")


def _long(
    groups: tuple[str, ...], values: Values, notes: Mapping[tuple[str, str], list[str]], names: Iterable[str]
) -> pl.DataFrame:
    """Lay values out as one row per group and predictor; one that does not exist says what it would need."""
    chosen = [PREDICTORS[name] for name in names]
    rows = []
    for at, group in enumerate(groups):
        for predictor in chosen:
            value = float(values[predictor.name][at])
            value = value if np.isfinite(value) else np.nan
            note = "; ".join(notes.get((group, predictor.name), _caveats(predictor.name, value, CROSSING, "")))
            rows.append((group, predictor.name, value, predictor.circular, predictor.expected_sign, note))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
