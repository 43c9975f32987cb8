"""Hold a generator out: what a head loses on it by never having heard it.

For each group (an attack, a family ...) two heads are trained, one with the group and one without, on equally many rows; both are
tested on the group and on bona fide speech that share no speaker and no source utterance with training, fold by fold, so that every trial is
tested once. `gap = EER_without - EER_with` says how *different* the group is; `EER_with` how *hard* it is even when it is known. The two are reported
apart (Mueller et al., "Harder or different? Understanding generalization of audio deepfake detection", Interspeech 2024).

Scores of all folds are pooled: they are log-likelihood ratios, each head's training prior taken out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.cells import Resampling, with_interval
from spoofscope.analysis.design import Design, Mask, Split, known_columns
from spoofscope.analysis.heads import Head
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics import Estimate
from spoofscope.metrics.clusters import Clusters, clusters_of
from spoofscope.metrics.costs import cllr
from spoofscope.metrics.intervals import Metric, MetricName, ScorePair, bootstrap, bootstrap_contrast, false_alarm_at
from spoofscope.metrics.rates import auc, eer_threshold
from spoofscope.trials import BONAFIDE

CROSS_FITTED = "cross-fitted"
MOST_WEIGHTS = 40_000_000


class Job(NamedTuple):
    """One fold of one group: what is tested, and what the two heads are trained on."""

    group: str
    split: Split
    without: Mask
    with_group: Mask


class Plan(NamedTuple):
    """Every job, and why a group is left out."""

    jobs: list[Job]
    left_out: dict[str, str]


@dataclass(frozen=True, eq=False)
class GroupScores:
    """The trials that one group is tested on, as both heads score them.

    Parameters
    ----------
    group : str
        What was held out.
    frame : polars.DataFrame
        The tested trials, bona fide and of the group.
    without, with_group : (n,) float array
        Log-likelihood ratios, higher meaning more bona fide.
    known_without, known_with : ScorePair
        The same heads on the known trials of the tested folds: what a threshold may be frozen on.
    n_train : int
        Rows that each head was trained on, averaged over the folds.
    disjoint : tuple of str
        The columns of which the group shares no value with training.
    unheard : (n,) float array
        What heads without the group say of every trial of the design, each in its fold; nan for trials that no fold of the group tests.
    """

    group: str
    frame: pl.DataFrame
    without: NDArray[np.float64]
    with_group: NDArray[np.float64]
    known_without: ScorePair
    known_with: ScorePair
    n_train: int
    disjoint: tuple[str, ...]
    unheard: NDArray[np.float64]

    @property
    def pairs(self) -> tuple[ScorePair, ScorePair]:
        """Scores of both classes with the group known, and without."""
        bonafide = (self.frame["label"] == BONAFIDE).to_numpy()
        first, second = (ScorePair(scores[bonafide], scores[~bonafide]) for scores in (self.with_group, self.without))
        return first, second

    @property
    def frozen(self) -> tuple[ScorePair, ScorePair]:
        """The same with each head's threshold, frozen at the EER of its known trials, moved to 0."""
        moves = (eer_threshold(*known) for known in (self.known_with, self.known_without))
        first, second = (
            ScorePair(pair.bonafide - move, pair.spoof - move) for pair, move in zip(self.pairs, moves, strict=True)
        )
        return first, second

    def clusters(self, columns: Sequence[str]) -> Clusters | None:
        """What an interval resamples whole; see `group_clusters`."""
        bonafide = (self.frame["label"] == BONAFIDE).to_numpy()
        return group_clusters(self.frame.filter(bonafide), self.frame.filter(~bonafide), columns, self.disjoint)


def group_clusters(others: pl.DataFrame, own: pl.DataFrame, columns: Sequence[str], disjoint: Sequence[str]) -> Clusters | None:
    """Cluster the trials of a group and those that it is told from by `columns`, less the attack; None where neither carries one.

    A group of one voice is resampled by what else its folds keep apart, the source utterance, or else trial by trial.
    """
    both = [column for column in known_columns(others, columns) if column != "attack"]
    if not both:
        return None
    varied = [column for column in known_columns(own, columns) if own[column].n_unique() > 1]
    if not set(varied) - {"attack"}:
        varied += [column for column in known_columns(own, disjoint) if own[column].n_unique() > 1] or ["trial_id"]
    return clusters_of(
        {column: others[column].to_list() for column in both}, {column: own[column].to_list() for column in varied}
    )


def plan_jobs(design: Design, *, min_count: int, seed: int) -> Plan:
    """Lay out every fold of every group that has at least `min_count` trials and can be parted."""
    jobs: list[Job] = []
    left_out: dict[str, str] = {}
    for at, group in enumerate(design.groups):
        if design.counts(group) < min_count:
            left_out[group] = f"{design.counts(group)} trials, fewer than min_count {min_count}"
            continue
        rng = np.random.default_rng((seed, at))
        try:
            own = [Job(group, split, *design.matched(split, rng)) for split in design.splits(group)]
        except NotEnoughTrials as error:
            left_out[group] = str(error)
            continue
        learnable = all((job.without & ~design.is_bonafide).any() and job.split.own_train.any() for job in own)
        if own and learnable:
            jobs += own
        else:
            left_out[group] = "no fold leaves other spoof, or trials of its own, to train on"
    return Plan(jobs, left_out)


def hold_out(vectors: NDArray[np.float32], design: Design, head: Head, plan: Plan) -> list[GroupScores]:
    """Score every group by heads that know it and heads that do not.

    Parameters
    ----------
    vectors : (n, d) float array
        One layer, its rows those of the design.
    """
    answer = []
    groups = list(dict.fromkeys(job.group for job in plan.jobs))
    most = max(1, MOST_WEIGHTS // (2 * len(design) * max(design.n_folds, 1)))
    for start in range(0, len(groups), most):
        jobs = [job for job in plan.jobs if job.group in groups[start : start + most]]
        masks = np.column_stack([mask for job in jobs for mask in (job.without, job.with_group)])
        scores = head.fit_score(vectors, design.is_bonafide, masks.astype(np.float64))
        for group in groups[start : start + most]:
            places = [at for at, job in enumerate(jobs) if job.group == group]
            answer.append(_gathered(design, [jobs[at] for at in places], [scores[:, 2 * at : 2 * at + 2] for at in places]))
    return answer


def _gathered(design: Design, jobs: list[Job], scores: list[NDArray[np.float64]]) -> GroupScores:
    rows = [np.flatnonzero(job.split.bonafide | job.split.own) for job in jobs]
    known = [np.flatnonzero((design.fold == job.split.fold) & ~(design.held == job.group)) for job in jobs]
    spoken = np.concatenate([design.is_bonafide[at] for at in known])
    tested = np.concatenate([columns[at] for columns, at in zip(scores, rows, strict=True)])
    settled = np.concatenate([columns[at] for columns, at in zip(scores, known, strict=True)])
    pairs = [ScorePair(column[spoken], column[~spoken]) for column in settled.T]
    unheard = np.full(len(design), np.nan)
    for at, answers in ((known, settled), (rows, tested)):
        unheard[np.concatenate(at)] = answers[:, 0]
    return GroupScores(
        jobs[0].group,
        design.frame[np.concatenate(rows)],
        tested[:, 0],
        tested[:, 1],
        pairs[0],
        pairs[1],
        round(float(np.mean([job.without.sum() for job in jobs]))),
        jobs[0].split.disjoint,
        unheard,
    )


def gap_row(scores: GroupScores, clusters: Sequence[str], *, seed: int, resampling: Resampling) -> dict[str, Any]:
    """Return the row of holdout.csv for one group, less what names the space and the head."""
    groups = scores.clusters(clusters)

    def estimate(metric: MetricName | Metric, pairs: Iterable[ScorePair]) -> Estimate:
        listed = list(pairs)
        rng = np.random.default_rng(seed)
        if len(listed) == 1:
            return bootstrap(metric, *listed[0], groups, rng=rng, **resampling)
        return bootstrap_contrast(metric, listed, (-1, 1), groups, rng=rng, **resampling)

    known, unknown = scores.pairs
    gap = estimate("eer", scores.pairs)
    accepted = [float((pair.spoof >= 0).mean()) for pair in scores.frozen]
    row: dict[str, Any] = {
        "method": CROSS_FITTED,
        "held": scores.group,
        "n_bonafide": gap.n_bonafide,
        "n_spoof": gap.n_spoof,
        "n_train": scores.n_train,
    }
    row |= with_interval("eer_with", estimate("eer", [known])) | with_interval("eer_without", estimate("eer", [unknown]))
    row |= with_interval("gap", gap) | {"within_noise": within_noise(gap)}
    row |= {"auc_with": auc(*known), "auc_without": auc(*unknown), "cllr_with": cllr(*known), "cllr_without": cllr(*unknown)}
    row |= {"false_alarm_with": accepted[0], "false_alarm_without": accepted[1]}
    row |= with_interval("false_alarm_gap", estimate(false_alarm_at(0.0), scores.frozen))
    return row | {"gap_std": None, "disjoint": " and ".join(scores.disjoint), "note": gap.note}


def within_noise(estimate: Estimate) -> bool | None:
    """Tell whether an interval of a difference holds 0; None where there is no interval."""
    return None if np.isnan(estimate.low) else bool(estimate.low <= 0 <= estimate.high)


def score_across(
    train: NDArray[np.float32],
    train_is_bonafide: Mask,
    test: NDArray[np.float32],
    head: Head,
) -> NDArray[np.float64]:
    """Train a head on every row of one corpus and score every row of another: (n_test,) log-likelihood ratios."""
    vectors = np.concatenate((train, test))
    is_bonafide = np.concatenate((train_is_bonafide, np.zeros(len(test), dtype=bool)))
    weights = np.concatenate((np.ones(len(train)), np.zeros(len(test))))[:, None]
    return head.fit_score(vectors, is_bonafide, weights)[len(train) :, 0]


def cross_fitted_scores(vectors: NDArray[np.float32], design: Design, head: Head) -> NDArray[np.float64]:
    """Score every trial by a head trained on the other folds, every group known: (n,) log-likelihood ratios."""
    folds = np.unique(design.fold)
    scores = head.fit_score(vectors, design.is_bonafide, (design.fold[:, None] != folds).astype(np.float64))
    answer: NDArray[np.float64] = scores[np.arange(len(design)), np.searchsorted(folds, design.fold)]
    return answer
