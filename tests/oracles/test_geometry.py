"""Slow, obvious second implementations of the geometry: row by row, with scikit-learn and scipy."""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy.linalg import sqrtm
from sklearn.covariance import LedoitWolf
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from spoofscope.analysis.design import Design, design_of
from spoofscope.analysis.distances import (
    bures_squared,
    ledoit_wolf,
    log_distances,
    mahalanobis,
    shrunk_axes,
    spread_like,
    two_nearest,
)
from spoofscope.analysis.geometry import cross_fitted_geometry, reference_geometry

K = 5
GROUPS = ("far", "near", "odd", "small")


def corpus(d=7, seed=0, folds=5):
    """A corpus with speakers that matter, a group of few rows, and one that a single speaker made."""
    rng = np.random.default_rng(seed)
    speaker = rng.integers(0, 20, 220)
    attack = rng.choice(["", "near", "far", "odd"], 220, p=[0.4, 0.2, 0.2, 0.2]).astype(object)
    attack[:6] = "small"
    speaker[(attack == "odd")] = 3
    shift = {"": 0, "near": 0.4, "far": 2.0, "odd": 1.0, "small": -1.0}
    vectors = rng.normal(size=(220, d)) * np.linspace(1, 5, d) + rng.normal(size=(20, d))[speaker] + 3
    vectors += np.array([shift[name] for name in attack])[:, None] * np.linspace(1, -0.5, d)
    frame = pl.DataFrame(
        {
            "trial_id": [f"t{at}" for at in range(220)],
            "label": np.where(attack == "", "bonafide", "spoof"),
            "attack": [name or None for name in attack],
            "speaker": [f"s{at}" for at in speaker],
            "source": [f"odd{at // 2}" if name == "odd" else f"u{at}" for at, name in enumerate(attack)],
        }
    )
    return vectors.astype(np.float32), design_of(frame, "attack", "simulated", folds=folds)


def values_of(table):
    return {(row["held"], row["predictor"]): row["value"] for row in table.iter_rows(named=True)}


def test_the_reference_study_is_reproduced_with_scikit_learn():
    vectors, design = corpus()
    ours = values_of(reference_geometry(vectors, design.is_bonafide, design.held))
    rows = StandardScaler().fit_transform(vectors.astype(np.float64))
    bonafide, held = design.is_bonafide, design.held
    c_b = rows[bonafide].mean(axis=0)
    for name in GROUPS:
        c_f = rows[held == name].mean(axis=0)
        others = [np.linalg.norm(c_f - rows[held == other].mean(axis=0)) for other in GROUPS if other != name]
        s = rows[~bonafide & (held != name)].mean(axis=0)
        classifier = KNeighborsClassifier(15).fit(rows[held != name], bonafide[held != name])
        expected = {
            "d_bona": np.linalg.norm(c_f - c_b),
            "cos_bona": 1 - c_f @ c_b / np.linalg.norm(c_f) / np.linalg.norm(c_b),
            "d_near_spoof": min(others),
            "d_mean_spoof": np.mean(others),
            "rel": np.linalg.norm(c_f - c_b) / min(others),
            "bona_axis_proj": (c_f - s) @ (c_b - s) / np.linalg.norm(c_b - s),
            "knn_bona_frac": classifier.predict(rows[held == name]).mean(),
        }
        assert {key: ours[name, key] for key in expected} == pytest.approx(expected, rel=1e-9)


class Literal:
    """The cross-fitted predictors as their definitions say, one row or one pair of folds at a time."""

    def __init__(self, vectors, design):
        self.x, self.fold = vectors.astype(np.float64), design.fold
        self.held, self.bonafide = design.held, design.is_bonafide
        self.folds = np.unique(design.fold)

    def measure(self, without):
        """Centre and scale by bona fide rows that are in none of these folds."""
        rows = self.x[self.bonafide & ~np.isin(self.fold, without)]
        return (self.x - rows.mean(axis=0)) / rows.std(axis=0)

    def squared_error(self, z, rows):
        """Of the mean of some rows: by folds if there are several, otherwise by rows."""
        folds = np.unique(self.fold[rows])
        parts = [rows[self.fold[rows] == at] for at in folds] if len(folds) > 1 else [[row] for row in rows]
        sizes = np.array([len(part) for part in parts])
        off = [((z[part].mean(axis=0) - z[rows].mean(axis=0)) ** 2).sum() for part in parts]
        return (sizes**2 @ off) / (sizes.sum() ** 2 - (sizes**2).sum())

    def squared(self, name, other):
        """Squared distance of a group's mean from another group's, or bona fide speech's ('')."""
        own = np.flatnonzero(self.held == name)
        theirs = np.flatnonzero(self.bonafide if other == "" else self.held == other)
        in_folds = np.unique(self.fold[own])
        products, weights = [], []
        for folds in itertools.combinations(in_folds, 2) if len(in_folds) > 2 else [tuple(in_folds)]:
            z = self.measure(folds)
            there = theirs[~np.isin(self.fold[theirs], folds)]
            if len(there) < 2:
                continue
            target = z[there].mean(axis=0)
            if len(in_folds) > 2:
                first, second = (own[self.fold[own] == at] for at in folds)
                product = (z[first].mean(axis=0) - target) @ (z[second].mean(axis=0) - target)
                weights.append(len(first) * len(second))
            else:
                noise = np.trace(np.cov(z[own].T)) / len(own)
                product = ((z[own].mean(axis=0) - target) ** 2).sum() - noise
                weights.append(1)
            products.append(product - self.squared_error(z, there))
        return np.average(products, weights=weights) if products else np.nan

    def on_axis(self, name):
        """Place between the mean of the other groups' means (0) and bona fide speech (1), and the cosine about the middle."""
        own = np.flatnonzero(self.held == name)
        in_folds = np.unique(self.fold[own])
        places, ontos, offs, weights = [], [], [], []
        for folds in itertools.combinations(in_folds, 2) if len(in_folds) > 2 else [tuple(in_folds)]:
            z = self.measure(folds)
            away = ~np.isin(self.fold, folds)
            bona = z[self.bonafide & away].mean(axis=0)
            rest = [other for other in GROUPS if other != name and (away & (self.held == other)).any()]
            spoof = np.mean([z[away & (self.held == other)].mean(axis=0) for other in rest], axis=0)
            axis, middle = bona - spoof, (bona + spoof) / 2
            if len(in_folds) > 2:
                first, second = (z[own[self.fold[own] == at]].mean(axis=0) for at in folds)
                noise = 0
                weights.append((self.fold[own] == folds[0]).sum() * (self.fold[own] == folds[1]).sum())
            else:
                first = second = z[own].mean(axis=0)
                noise = np.trace(np.cov(z[own].T)) / len(own)
                weights.append(1)
            places.append(((first + second) / 2 - spoof) @ axis / (axis @ axis))
            ontos.append(((first + second) / 2 - middle) @ axis / np.linalg.norm(axis))
            offs.append((first - middle) @ (second - middle) - noise)
        place, onto, off = (np.average(part, weights=weights) for part in (places, ontos, offs))
        return place, 1 - np.clip(onto / np.sqrt(off), -1, 1) if off > 0 else np.nan

    def by_fold(self, name, value):
        """Average of `value(z, fold, own rows)` over the folds, weighted by rows."""
        own = np.flatnonzero(self.held == name)
        folds = np.unique(self.fold[own])
        parts = [(value(self.measure([at]), at, own[self.fold[own] == at]), (self.fold[own] == at).sum()) for at in folds]
        return np.average([part[0] for part in parts], weights=[part[1] for part in parts])

    def cloud(self, z, fold):
        return np.flatnonzero(self.bonafide & (self.fold != fold))

    def heldout(self, fold):
        return np.flatnonzero(self.bonafide & (self.fold == fold))

    def mahalanobis(self, z, fold, own):
        inverse = np.linalg.inv(LedoitWolf(assume_centered=True).fit(z[self.cloud(z, fold)]).covariance_)
        own, bona = ([np.sqrt(z[row] @ inverse @ z[row]) for row in rows] for rows in (own, self.heldout(fold)))
        return np.mean(own) / np.mean(bona)

    def nearest(self, z, fold, rows):
        return NearestNeighbors(n_neighbors=K).fit(z[self.cloud(z, fold)]).kneighbors(z[rows])

    def neighbours(self, z, fold, own):
        own, bona = (self.nearest(z, fold, rows)[0].mean(axis=1) for rows in (own, self.heldout(fold)))
        return own.mean() / bona.mean()

    def density(self, z, fold, own):
        cloud = self.cloud(z, fold)
        reach = []
        for row in cloud:
            others = cloud[self.fold[cloud] != self.fold[row]]
            reach.append(np.sort(np.linalg.norm(z[others] - z[row], axis=1))[:K].mean())
        sparsity = []
        for rows in (own, self.heldout(fold)):
            distances, at = self.nearest(z, fold, rows)
            sparsity.append(np.mean(distances.mean(axis=1) / np.array(reach)[at].mean(axis=1)))
        return sparsity[0] / sparsity[1]

    def mmd(self, z, fold, own):
        cloud = self.cloud(z, fold)
        apart = [(a, b) for a in cloud for b in cloud if self.fold[a] != self.fold[b]]
        bandwidth = np.median([np.linalg.norm(z[a] - z[b]) for a, b in apart])

        def mean_kernel(pairs):
            return np.mean([np.exp(-((z[a] - z[b]) ** 2).sum() / (2 * bandwidth**2)) for a, b in pairs])

        same = np.flatnonzero(self.held == self.held[own[0]])
        crossing = len(np.unique(self.fold[same])) > 2
        partners = same[self.fold[same] != fold] if crossing else own
        within = mean_kernel([(a, b) for a in own for b in partners if a != b])
        return within + mean_kernel(apart) - 2 * mean_kernel(itertools.product(own, cloud))

    def frechet(self, z, fold, own, components=4):
        cloud = z[self.cloud(z, fold)]
        axes = np.linalg.eigh(cloud.T @ cloud)[1][:, ::-1][:, :components]
        variances = np.diag(axes.T @ LedoitWolf(assume_centered=True).fit(cloud).covariance_ @ axes)
        same = np.flatnonzero(self.held == self.held[own[0]])
        white = z[same] @ axes / np.sqrt(variances)
        spread = LedoitWolf().fit(white).covariance_ * len(same) / (len(same) - 1)
        spread = np.diag(np.sqrt(variances)) @ spread @ np.diag(np.sqrt(variances))
        mean = (z[own] @ axes).mean(axis=0)
        if len(np.unique(self.fold[same])) > 2:
            means = mean @ (z[same[self.fold[same] != fold]] @ axes).mean(axis=0)
        else:
            means = mean @ mean - np.trace(spread) / len(own)
        root = sqrtm(np.diag(variances) @ spread).real
        return means + variances.sum() + np.trace(spread) - 2 * np.trace(root)


def rooted(square):
    return np.sign(square) * np.sqrt(abs(square))


@pytest.mark.parametrize("seed", [0, 1])
def test_distances_of_means_equal_products_over_pairs_of_folds(seed):
    vectors, design = corpus(seed=seed)
    ours, literal = values_of(cross_fitted_geometry(vectors, design, k=K)), Literal(vectors, design)
    for name in GROUPS:
        bona = rooted(literal.squared(name, ""))
        near = rooted(np.nanmin([literal.squared(name, other) for other in GROUPS if other != name]))
        place, cosine = literal.on_axis(name)
        expected = {"cf_d_bona": bona, "cf_d_near_spoof": near, "cf_rel": bona - near}
        expected |= {"cf_axis_proj": place, "cf_cos_bona": cosine}
        assert {key: ours[name, key] for key in expected} == pytest.approx(expected, rel=1e-6, nan_ok=True), name


@pytest.mark.parametrize("d", [4, 7, 120])
def test_what_rests_on_rows_equals_loops_over_rows(d):
    vectors, design = corpus(d=d)
    ours, literal = values_of(cross_fitted_geometry(vectors, design, k=K, components=4)), Literal(vectors, design)
    for name in GROUPS:
        expected = {
            "mahalanobis_bona": literal.by_fold(name, literal.mahalanobis),
            "knn_dist_bona": literal.by_fold(name, literal.neighbours),
            "local_density": literal.by_fold(name, literal.density),
            "frechet_bona": rooted(literal.by_fold(name, literal.frechet)),
        }
        assert {key: ours[name, key] for key in expected} == pytest.approx(expected, rel=2e-4), name


def test_the_mean_discrepancy_equals_a_double_loop():
    vectors, design = corpus()
    ours, literal = values_of(cross_fitted_geometry(vectors, design, k=K)), Literal(vectors, design)
    for name in GROUPS:
        assert ours[name, "mmd_bona"] == pytest.approx(literal.by_fold(name, literal.mmd), abs=1e-6), name


@pytest.mark.parametrize("shape", [(200, 5), (40, 40), (12, 60), (3, 9)])
def test_shrinkage_equals_scikit_learn(shape):
    rows = np.random.default_rng(0).normal(size=shape) * np.linspace(0.5, 3, shape[1])
    rows -= rows.mean(axis=0)
    covariance, share = sklearn_ledoit_wolf(rows, assume_centered=True)
    assert ledoit_wolf(rows) == pytest.approx(share, rel=1e-12)
    strange = np.random.default_rng(1).normal(size=(7, shape[1]))
    expected = [np.sqrt(row @ np.linalg.inv(covariance) @ row) for row in strange]
    assert mahalanobis(strange, shrunk_axes(rows)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [1, 6, 30])
def test_the_bures_distance_equals_matrix_roots(d):
    rng = np.random.default_rng(d)
    first, second = (part.T @ part for part in rng.normal(size=(2, d + 3, d)))
    expected = np.trace(first + second - 2 * sqrtm(sqrtm(first) @ second @ sqrtm(first)).real)
    assert bures_squared(first, second) == pytest.approx(expected, rel=1e-8)


def test_a_spread_like_a_cloud_is_shrunk_where_the_cloud_is_white():
    rng = np.random.default_rng(0)
    rows, variances = rng.normal(size=(9, 4)) * [1, 2, 3, 4], np.array([1.0, 4.0, 9.0, 16.0])
    white = LedoitWolf().fit(rows / np.sqrt(variances)).covariance_ * 9 / 8
    assert spread_like(rows, variances) == pytest.approx(white * np.sqrt(np.outer(variances, variances)), rel=1e-10)


@pytest.mark.parametrize("n", [3, 4, 6, 9])
def test_intrinsic_dimension_of_fewer_rows_equals_the_mean_over_every_draw(n):
    rows = np.random.default_rng(0).normal(size=(9, 3))
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    logs = []
    for drawn in itertools.combinations(range(9), n):
        ranked = np.sort(distances[np.ix_(drawn, drawn)], axis=1)
        logs.append(np.log(ranked[:, 2] / ranked[:, 1]))
    assert two_nearest(log_distances(rows), n) == pytest.approx(1 / np.mean(logs), rel=1e-10)


def test_intrinsic_dimension_is_compared_at_the_number_of_rows_of_the_group():
    vectors, design = corpus()
    ours = values_of(cross_fitted_geometry(vectors, design, k=K))
    bonafide = vectors[design.is_bonafide] / vectors[design.is_bonafide].std(axis=0)
    for name in GROUPS:
        rows = vectors[design.held == name] / vectors[design.is_bonafide].std(axis=0)
        ranked = np.sort(np.linalg.norm(rows[:, None] - rows, axis=2), axis=1)
        own = 1 / np.log(ranked[:, 2] / ranked[:, 1]).mean()
        assert ours[name, "intrinsic_dim"] == pytest.approx(own, rel=1e-4)
        theirs = two_nearest(log_distances(bonafide), design.counts(name))
        assert ours[name, "intrinsic_dim_ratio"] == pytest.approx(own / theirs, rel=1e-4)


def test_intrinsic_dimension_finds_the_dimension_of_a_plane():
    rng = np.random.default_rng(0)
    plane = rng.uniform(size=(1500, 2)) @ rng.normal(size=(2, 30))
    assert two_nearest(log_distances(plane), 1500) == pytest.approx(2, abs=0.15)


def test_the_literal_corpus_holds_every_kind_of_group():
    _, design = corpus()
    folds = {name: len(np.unique(design.fold[design.held == name])) for name in GROUPS}
    assert isinstance(design, Design) and folds["odd"] == 1 and folds["far"] == 5 and design.counts("small") == 6
