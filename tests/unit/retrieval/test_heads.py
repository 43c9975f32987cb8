"""Detection, attribution and novelty by neighbours, beside slow and obvious second implementations."""

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from spoofscope.analysis.design import Design, codes_of, design_of
from spoofscope.errors import NotEnoughTrials, RecipeError
from spoofscope.metrics.rates import auc, eer
from spoofscope.retrieval.heads import attribution, study
from spoofscope.retrieval.heads.detection import METHODS, density, one_class, vote, weighted
from spoofscope.retrieval.heads.known import Known, cross_fitted_sides, search_without
from spoofscope.retrieval.heads.novelty import FPR95, HeldOut, novelty_of, novelty_row, refusal_rows
from spoofscope.retrieval.settings import PRESETS, read_setting

EXACT = read_setting("exact(metric='cosine', whiten=True)")
PLAIN = read_setting("exact(metric='euclidean')")
RESAMPLING = {"replicates": 50, "level": 0.95}
ATTACKS = ("A", "B", "C", "D")


def trials(n: int = 240, seed: int = 0) -> tuple[pl.DataFrame, NDArray[np.float32]]:
    """Bona fide about the origin, each attack about a corner of its own; speakers and sources in blocks."""
    rng = np.random.default_rng(seed)
    label = np.where(np.arange(n) % 2 == 0, "bonafide", "spoof")
    attack = np.where(label == "bonafide", "-", np.array(ATTACKS)[(np.arange(n) // 2) % len(ATTACKS)])
    speaker = [f"s{at // 12}" for at in range(n)]
    centres = {name: 4 * row for name, row in zip(("-", *ATTACKS), np.eye(6)[:5], strict=True)}
    vectors = np.array([centres[name] for name in attack]) + rng.normal(scale=0.6, size=(n, 6))
    frame = pl.DataFrame({"trial_id": [f"t{at}" for at in range(n)], "label": label, "attack": attack, "speaker": speaker})
    return frame.with_columns(source=pl.col("speaker")), vectors.astype(np.float32)


@pytest.fixture(scope="module")
def planted() -> tuple[Design, NDArray[np.float32]]:
    frame, vectors = trials()
    return design_of(frame, "attack", "planted", folds=4), vectors


def test_neighbours_are_those_of_other_folds_alone(planted: tuple[Design, NDArray[np.float32]]) -> None:
    design, vectors = planted
    sides = cross_fitted_sides(vectors, design, [PLAIN], 5)[0]
    for query in range(0, len(design), 17):
        away = design.fold != design.fold[query]
        distances = np.linalg.norm(vectors - vectors[query], axis=1)
        for near, side in ((sides.bonafide, design.is_bonafide), (sides.spoof, ~design.is_bonafide)):
            allowed = np.flatnonzero(away & side)
            expected = allowed[np.argsort(distances[allowed], kind="stable")[:5]]
            assert near.rows[query].tolist() == expected.tolist()
            np.testing.assert_allclose(-near.similarities[query], distances[expected], rtol=1e-4)


def test_every_score_is_what_its_sentence_says(planted: tuple[Design, NDArray[np.float32]]) -> None:
    design, vectors = planted
    k = 7
    sides = cross_fitted_sides(vectors, design, [PLAIN], k)[0]
    for query in range(0, len(design), 23):
        away = np.flatnonzero(design.fold != design.fold[query])
        distances = np.linalg.norm(vectors[away] - vectors[query], axis=1)
        is_bonafide = design.is_bonafide[away]
        order = np.argsort(distances, kind="stable")[:k]
        signs = np.where(is_bonafide[order], 1, -1)
        kernel = np.exp(-0.5 * (distances[order] / distances[order][-1]) ** 2)
        far = [np.sort(distances[side])[k - 1] for side in (~is_bonafide, is_bonafide)]
        assert density(sides)[query] == pytest.approx(np.log(far[0] / far[1]), rel=1e-4)
        assert vote(sides)[query] == pytest.approx(signs.mean())
        assert weighted(sides)[query] == pytest.approx((signs * kernel).sum() / kernel.sum(), rel=1e-4)
        assert one_class(sides)[query] == pytest.approx(-far[1], rel=1e-4)


def test_planted_classes_are_told_apart_by_every_method(planted: tuple[Design, NDArray[np.float32]]) -> None:
    design, vectors = planted
    sides = cross_fitted_sides(vectors, design, [EXACT], 10)[0]
    for name, method in METHODS.items():
        scores = method(sides)
        assert eer(scores[design.is_bonafide], scores[~design.is_bonafide]) < 0.05, name


def test_what_shares_a_speaker_is_no_neighbour_where_that_is_asked(planted: tuple[Design, NDArray[np.float32]]) -> None:
    design, vectors = planted
    known = Known.of(vectors, design.is_bonafide, np.full(len(design), True), PLAIN)
    own, speaker = np.arange(len(design)), codes_of(design.frame["speaker"])
    alone = search_without(known, vectors, 6, [(own, own)])
    apart = search_without(known, vectors, 6, [(own, own), (speaker, speaker)])
    for sides in (alone, apart):
        for near in (sides.bonafide, sides.spoof):
            assert (near.rows != own[:, None]).all()
    assert (speaker[apart.bonafide.rows] != speaker[:, None]).all()
    assert (speaker[alone.bonafide.rows] == speaker[:, None]).any()
    for query in range(0, len(design), 31):
        allowed = np.flatnonzero(design.is_bonafide & (speaker != speaker[query]))
        distances = np.linalg.norm(vectors[allowed] - vectors[query], axis=1)
        assert set(apart.bonafide.rows[query]) == set(allowed[np.argsort(distances, kind="stable")[:6]])


def test_a_side_with_no_other_speaker_is_missing_and_as_far_as_can_be() -> None:
    frame, vectors = trials(48)
    is_bonafide = (frame["label"] == "bonafide").to_numpy()
    known = Known.of(vectors, is_bonafide, np.full(48, True), EXACT)
    same = np.zeros(48, dtype=np.intp)
    with pytest.raises(Exception, match="not one neighbour"):
        search_without(known, vectors, 3, [(same, same)])
    some = np.where(np.arange(48) < 44, 0, 1)
    sides = search_without(known, vectors[:1], 3, [(some[:1], some)])
    assert sides.n_missing == 2
    assert (sides.bonafide.similarities[0][sides.bonafide.rows[0] < 0] == -1).all()


def test_more_neighbours_than_a_class_has_is_said(planted: tuple[Design, NDArray[np.float32]]) -> None:
    design, vectors = planted
    with pytest.raises(NotEnoughTrials, match="Lower neighbours"):
        cross_fitted_sides(vectors, design, [PLAIN], 100)


def test_a_group_that_is_left_out_is_no_neighbour_of_anything(planted: tuple[Design, NDArray[np.float32]]) -> None:
    design, vectors = planted
    sides = cross_fitted_sides(vectors, design, [PLAIN], 5, without="B")[0]
    assert not np.isin(sides.spoof.rows, np.flatnonzero(design.held == "B")).any()
    assert np.isin(cross_fitted_sides(vectors, design, [PLAIN], 5)[0].spoof.rows, np.flatnonzero(design.held == "B")).any()


def test_a_far_group_is_novel_and_a_copy_of_bona_fide_is_not() -> None:
    frame, vectors = trials()
    hidden = (frame["attack"] == "D").to_numpy()
    rng = np.random.default_rng(1)
    vectors[hidden] = vectors[(frame["label"] == "bonafide").to_numpy()][: hidden.sum()] + rng.normal(
        scale=0.05, size=(hidden.sum(), 6)
    )
    design = design_of(frame, "attack", "planted", folds=4)
    rows = {}
    for group in ATTACKS:
        sides = cross_fitted_sides(vectors, design, [PLAIN], 5, without=group)[0]
        held = HeldOut.of(design, group, sides, 1)
        rows[group] = novelty_row(held, ("speaker",), share=0.95, seed=0, resampling=RESAMPLING)
    assert rows["A"]["auc_bonafide"] > 0.95 and rows["A"]["fpr95_bonafide"] < 0.1 and rows["A"]["evading"] < 0.2
    assert rows["D"]["auc_bonafide"] < 0.7 and rows["D"]["evading"] > 0.7
    assert rows["D"]["auc_bonafide_low"] <= rows["D"]["auc_bonafide"] <= rows["D"]["auc_bonafide_high"]


def test_novelty_figures_are_those_of_their_definitions(planted: tuple[Design, NDArray[np.float32]]) -> None:
    design, vectors = planted
    sides = cross_fitted_sides(vectors, design, [PLAIN], 5, without="C")[0]
    held = HeldOut.of(design, "C", sides, 2)
    row = novelty_row(held, ("speaker",), share=0.9, seed=0, resampling=RESAMPLING)
    novelty = novelty_of(sides, 2)
    own, usual = novelty[held.is_own], novelty[held.is_known]
    assert row["auc_known"] == pytest.approx(np.mean(own[:, None] > usual) + np.mean(own[:, None] == usual) / 2)
    threshold = np.sort(own)[::-1][int(np.ceil(0.95 * len(own))) - 1]
    assert row["fpr95_known"] == pytest.approx(np.mean(usual >= threshold))
    evading = 0
    for fold in np.unique(design.fold):
        settled = np.sort(novelty[(held.is_known | design.is_bonafide) & (design.fold != fold)])
        evading += (novelty[held.is_own & (design.fold == fold)] <= settled[int(np.ceil(0.9 * (len(settled) + 1))) - 1]).sum()
    assert row["evading"] == pytest.approx(evading / len(own))


def test_fpr95_of_separated_and_of_equal_scores() -> None:
    from spoofscope.metrics.rates import tally

    assert FPR95.value(tally(np.full(10, 1.0), np.full(10, 0.0))) == 0
    assert FPR95.value(tally(np.full(10, 1.0), np.full(10, 1.0))) == 1


def test_refusing_nobody_answers_everybody_and_refusing_the_novel_lets_less_through(
    planted: tuple[Design, NDArray[np.float32]],
) -> None:
    design, vectors = planted
    held = [
        HeldOut.of(design, group, cross_fitted_sides(vectors, design, [PLAIN], 5, without=group)[0], 1) for group in ATTACKS
    ]
    rows = refusal_rows(held, resampling=RESAMPLING, seed=0)
    assert rows[0]["kept"] == 1 and rows[0]["answered_novel"] == 1 and rows[0]["answered_bonafide"] == 1
    answered = [row["answered_bonafide"] for row in rows]
    assert answered == sorted(answered, reverse=True)
    assert rows[3]["answered_novel"] < 0.3 and rows[3]["passed_of_all"] <= rows[0]["passed_of_all"]


def test_generators_are_named_and_the_unsure_left_unanswered(planted: tuple[Design, NDArray[np.float32]]) -> None:
    design, vectors = planted
    rules = dict(attribution.tasks_of(design.frame, "attack", folds=4, min_count=4, seed=0))
    task = rules[("speaker", "source")]
    assert task.classes == ATTACKS
    votes, nearest = attribution.by_vote(vectors, task, PLAIN, 10)
    probe = attribution.by_probe(vectors, task)
    judged = attribution.Judged(design.frame, task, resampling=RESAMPLING, seed=0)
    for answers in (votes, nearest, probe):
        row = judged.summary(answers, judged.figures(probe))
        assert row["top1"] > 0.95 and row["top1"] <= row["top3"]
        assert row["top1"] == pytest.approx(np.mean(answers.said == task.codes))
        np.testing.assert_allclose(answers.shares.sum(axis=1), 1)
    assert sum(row["n"] for row in judged.confusion(votes)) == len(task.rows)
    answered = [row["answered"] for row in judged.abstention(votes)]
    assert answered == sorted(answered, reverse=True) and answered[0] == 1


def test_macro_f1_and_balanced_recall_are_scikit_learns(planted: tuple[Design, NDArray[np.float32]]) -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score

    design, vectors = planted
    noisy = vectors + np.random.default_rng(3).normal(scale=3, size=vectors.shape).astype(np.float32)
    _, task = next(attribution.tasks_of(design.frame, "attack", folds=4, min_count=4, seed=0))
    votes, _ = attribution.by_vote(noisy, task, EXACT, 10)
    row = attribution.Judged(design.frame, task, resampling=RESAMPLING, seed=0).summary(votes)
    assert 0.3 < row["top1"] < 0.95
    assert row["macro_f1"] == pytest.approx(f1_score(task.codes, votes.said, average="macro"))
    assert row["balanced"] == pytest.approx(balanced_accuracy_score(task.codes, votes.said))


def test_the_reference_study_is_repeated_as_described(planted: tuple[Design, NDArray[np.float32]]) -> None:
    from spoofscope.analysis.study import reference_test_rows

    design, vectors = planted
    arguments = vectors + np.float32(1), design.is_bonafide, design.held
    row = study.reference_detection(*arguments)
    test = reference_test_rows(design.is_bonafide, design.held, 0)
    unit = arguments[0] / np.linalg.norm(arguments[0], axis=1, keepdims=True)
    cosine = unit[test] @ unit[~test].T
    best = np.argsort(-cosine, axis=1, kind="stable")[:, :20]
    weight = np.maximum(np.take_along_axis(cosine, best, axis=1), 0)
    sign = np.where(design.is_bonafide[~test][best], 1, -1)
    scores = (weight * sign).sum(axis=1) / weight.sum(axis=1)
    bonafide = design.is_bonafide[test]
    assert row["eer"] == pytest.approx(eer(scores[bonafide], scores[~bonafide]), abs=1e-6)
    novel = {row["held"]: row for row in study.reference_novelty(*arguments)}
    own, others = design.held == "A", ~design.is_bonafide & test & (design.held != "A")
    nearest = [1 - (unit[rows] @ unit[~test & ~own].T).max(axis=1) for rows in (own, others)]
    assert novel["A"]["auc_known"] == pytest.approx(auc(-nearest[1], -nearest[0]), abs=1e-3)
    assert study.reference_attribution(*arguments)["top1"] > 0.9


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("exact", "say which similarity is meant"),
        ("exact(metric='manhattan')", "found 'manhattan'"),
        ("nearest(metric='cosine')", "no index 'nearest'"),
        ("exact(metric='cosine', k=3)", "has no setting 'k'"),
        ("lsh(metric='cosine')", "missing"),
        ("lsh(metric='cosine', n_bits=99, n_tables=1, radius=1)", "a table has 1 to"),
        ("exact(metric='cosine', components=4)", "whitened axes"),
    ],
)
def test_an_index_that_cannot_be_built_is_refused_by_name(expression: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        read_setting(expression)


def test_presets_are_kinds_with_options() -> None:
    setting = read_setting("study_16x8(metric='cosine')")
    assert (setting.kind, setting.options["n_bits"], setting.options["radius"]) == ("lsh", 16, 1)
    assert {"study_16x8", "study_18x10", "study_20x12", "study_flat", "study_ivf_4", "study_ivf_16"} == set(PRESETS)
