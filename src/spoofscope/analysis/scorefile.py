"""A ready score file held against its trials: no audio, no weights, only what the scores say."""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from spoofscope.errors import ScoresError
from spoofscope.metrics import Estimate
from spoofscope.metrics.breakdown import MIN_COUNT, BreakdownCell, breakdown
from spoofscope.metrics.clusters import Clusters, clusters_of
from spoofscope.metrics.costs import ASVSPOOF5, TDCF_2019, TDCF_2021, AsvScores, DcfCost, min_tdcf
from spoofscope.metrics.intervals import Metric, MetricName, actual_dcf, bootstrap, minimum_dcf
from spoofscope.metrics.rates import FloatArray, auc, eer, eer_challenge, tied_fraction
from spoofscope.scores import read_score_text
from spoofscope.trials import BONAFIDE, SPOOF, Trials

ASV_LABELS = ("target", "nontarget", "spoof")
REVERSED_BELOW = 0.5


@dataclass(frozen=True)
class ScoreFileResult:
    """What a score file says about its detector, as fractions.

    `metrics` holds an estimate per name (`eer`, `auc`, `min_dcf`, `act_dcf`, `cllr`, `min_cllr`), intervals clustered as
    `clusters` says; `eer_iid` is the equal error rate with the interval of single trials. `min_tdcf_2019` and `min_tdcf_2021`
    are `nan` where no ASV scores were given. `act_dcf` and `cllr` take the scores as log-likelihood ratios.
    """

    trials: str
    source: str
    n_bonafide: int
    n_spoof: int
    metrics: dict[str, Estimate]
    eer_iid: Estimate
    eer_challenge: float
    tied_fraction: float
    min_tdcf_2019: float
    min_tdcf_2021: float
    cost: DcfCost
    clusters: str
    attacks: tuple[BreakdownCell, ...]
    warnings: tuple[str, ...]


def match_score_file(path: str | Path, trials: Trials) -> pl.DataFrame:
    """Read a score file and lay its scores beside their trials, in the order of the protocol.

    Parameters
    ----------
    path : str or Path
        The challenge's score text (see `spoofscope.scores.read_score_text`).
    trials : Trials
        The protocol that the file must cover: every trial, and no other.

    Returns
    -------
    polars.DataFrame
        The columns of the trials, and `score` in float64: rounding what the file holds could tie scores.

    Raises
    ------
    ScoresError
        If trials have no score, scores have no trial, or the file's own labels or attacks are not those of the protocol.
    """
    table = read_score_text(path)
    _check_ids(path, table, trials)
    joined = trials.frame.join(table, on="trial_id", how="left", suffix="_file", maintain_order="left")
    if "label_file" in joined.columns:
        _check_agreement(path, joined, trials, "label")
        # what stands for the attack of bona fide trials varies (-, A00, bonafide), so only spoof is compared
        _check_agreement(path, joined.filter(pl.col("label") == SPOOF), trials, "attack")
    return joined.select(*trials.frame.columns, "score")


def evaluate_score_file(
    path: str | Path,
    trials: Trials,
    *,
    rng: np.random.Generator,
    asv: AsvScores | None = None,
    cost: DcfCost = ASVSPOOF5,
    threshold: float | None = None,
    min_count: int = MIN_COUNT,
    replicates: int = 1000,
    level: float = 0.95,
) -> ScoreFileResult:
    """Evaluate a ready score file against its protocol.

    Parameters
    ----------
    path : str or Path
        The score file; higher scores mean more bona fide.
    trials : Trials
        The protocol.
    rng : numpy.random.Generator
        Source of the resamples; the pooled metrics share one set of them.
    asv : AsvScores, optional
        Scores of the challenge's speaker verifier, from `read_asv_scores`: then the minimum t-DCF is computed too.
    cost : DcfCost
        Constants of `min_dcf` and `act_dcf`.
    threshold : float, optional
        A frozen threshold at which each attack's rates are measured.
    min_count, replicates, level
        Of the intervals and the table of attacks.

    Returns
    -------
    ScoreFileResult
        With a warning if the scores look sign-reversed; nothing is flipped.

    Raises
    ------
    ScoresError
        If the file does not fit the protocol.
    NotEnoughTrials
        If the protocol has trials of one class only.
    """
    table = match_score_file(path, trials)
    is_bonafide = trials.is_bonafide
    score = table["score"].to_numpy()
    bonafide, spoof = score[is_bonafide], score[~is_bonafide]
    clusters = _clusters(table)
    columns = {name: table[name].to_list() for name in ("attack", "speaker")}
    attacks = breakdown(
        columns,
        is_bonafide,
        score,
        by="attack",
        rng=rng,
        threshold=threshold,
        min_count=min_count,
        replicates=replicates,
        level=level,
    )
    return ScoreFileResult(
        trials=trials.describe(),
        source=str(path),
        n_bonafide=len(bonafide),
        n_spoof=len(spoof),
        metrics=_pooled(bonafide, spoof, clusters, cost, rng=rng, replicates=replicates, level=level),
        eer_iid=bootstrap("eer", bonafide, spoof, rng=rng, replicates=replicates, level=level),
        eer_challenge=eer_challenge(bonafide, spoof),
        tied_fraction=tied_fraction(bonafide, spoof),
        min_tdcf_2019=np.nan if asv is None else min_tdcf(bonafide, spoof, asv, cost=TDCF_2019),
        min_tdcf_2021=np.nan if asv is None else min_tdcf(bonafide, spoof, asv, cost=TDCF_2021),
        cost=cost,
        clusters=clusters.describe(),
        attacks=tuple(attacks),
        warnings=tuple(filter(None, [polarity_warning(bonafide, spoof, source=str(path))])),
    )


def trials_in_file(path: str | Path) -> Trials:
    """Take the trials from a score file that names labels and attacks itself, for want of a protocol.

    Raises
    ------
    ScoresError
        If the file has no labels; then a protocol is needed.
    """
    table = read_score_text(path)
    if "label" not in table.columns:
        raise ScoresError(
            f"{path} holds ids and scores only, so nothing says which trials are bona fide. "
            "Name the corpus and its list: --corpus asvspoof2019_la --protocol eval --root DIR."
        )
    named = table.with_columns(path="trial_id", attack=pl.when(pl.col("label") == SPOOF).then("attack")).drop("score")
    return Trials(named, Path(path).parent, f"{Path(path).name}, by its own labels")


def _pooled(
    bonafide: FloatArray,
    spoof: FloatArray,
    clusters: Clusters,
    cost: DcfCost,
    *,
    rng: np.random.Generator,
    replicates: int,
    level: float,
) -> dict[str, Estimate]:
    """Estimate every pooled metric under the same resamples, so that figures side by side are comparable."""
    chosen: dict[str, MetricName | Metric] = {
        "eer": "eer",
        "auc": "auc",
        "min_dcf": minimum_dcf(cost),
        "act_dcf": actual_dcf(cost),
        "cllr": "cllr",
        "min_cllr": "min_cllr",
    }
    seed = rng.integers(2**63)
    return {
        name: bootstrap(metric, bonafide, spoof, clusters, rng=np.random.default_rng(seed), replicates=replicates, level=level)
        for name, metric in chosen.items()
    }


def polarity_warning(bonafide: FloatArray, spoof: FloatArray, *, source: str) -> str:
    """Say that scores look sign-reversed, and what the equal error rate would be if flipped; empty where they do not."""
    area = auc(bonafide, spoof)
    if area >= REVERSED_BELOW:
        return ""
    return (
        f"{source}: AUC is {area:.3f}, below one half: spoof scores higher than bona fide. Nothing was changed. Usual causes: "
        "polarity (the file gives higher scores to spoof, or the other output was read), padding (zeros where the detector "
        "expects repetition), pre-emphasis (applied in training and not here, or the reverse). "
        f"The EER is {eer(bonafide, spoof):.2%} as the file stands, and would be {eer(-bonafide, -spoof):.2%} if flipped."
    )


def read_asv_scores(path: str | Path) -> AsvScores:
    """Read the speaker verifier's scores of ASVspoof 2019: rows of `attack label score`, such as `A07 spoof -3.1`.

    Returns
    -------
    AsvScores
        Scores of target, nontarget and spoof trials. `.gz` is read as it is.

    Raises
    ------
    ScoresError
        If there is no such file, a row is not of that form, or one of the three kinds is absent.
    """
    file = Path(path)
    if not file.is_file():
        raise ScoresError(f"no file of ASV scores at {path}")
    found: dict[str, list[float]] = {label: [] for label in ASV_LABELS}
    try:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    label, score = _asv_row(line.split(), f"{path}: row {number}")
                    found[label].append(score)
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise ScoresError(f"{path} is not a text of ASV scores ({error})") from error
    absent = [label for label in ASV_LABELS if not found[label]]
    if absent:
        raise ScoresError(f"{path}: no {' or '.join(absent)} trials; the ASV scores need target, nontarget and spoof")
    return AsvScores(*(np.array(found[label]) for label in ASV_LABELS))


def _asv_row(fields: list[str], where: str) -> tuple[str, float]:
    if len(fields) != 3 or fields[1] not in ASV_LABELS:
        raise ScoresError(
            f"{where}: expected 'attack label score' with the label target, nontarget or spoof; found '{' '.join(fields)}'"
        )
    try:
        score = float(fields[2])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise ScoresError(f"{where}: the score '{fields[2]}' is not a finite number")
    return fields[1], score


def _check_ids(path: str | Path, table: pl.DataFrame, trials: Trials) -> None:
    missing = trials.frame.join(table, on="trial_id", how="anti", maintain_order="left")
    extra = table.join(trials.frame, on="trial_id", how="anti", maintain_order="left")
    problems = []
    if missing.height:
        problems.append(f"{missing.height:,} of {len(trials):,} trials have no score (first: {missing['trial_id'][0]})")
    if extra.height:
        problems.append(f"{extra.height:,} of {table.height:,} scores belong to no trial (first: {extra['trial_id'][0]})")
    if problems:
        raise ScoresError(
            f"{path}: {' and '.join(problems)} of {trials.name}. "
            "Check that the file and the protocol are of the same corpus, year and phase (eval, progress, hidden)."
        )


def _check_agreement(path: str | Path, joined: pl.DataFrame, trials: Trials, column: str) -> None:
    wrong = joined.filter(pl.col(column) != pl.col(f"{column}_file"))
    if wrong.height:
        row = wrong.row(0, named=True)
        raise ScoresError(
            f"{path}: {column} differs from {trials.name} in {wrong.height:,} of {joined.height:,} rows (first: trial "
            f"{row['trial_id']} is '{row[f'{column}_file']}' in the file and '{row[column]}' in the protocol)"
        )


def _clusters(table: pl.DataFrame) -> Clusters:
    bonafide, spoof = (table.filter(pl.col("label") == label) for label in (BONAFIDE, SPOOF))
    return clusters_of(
        {"speaker": bonafide["speaker"].to_list()},
        {"speaker": spoof["speaker"].to_list(), "attack": spoof["attack"].to_list()},
    )
