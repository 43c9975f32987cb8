"""An index that answers for one recording: saved by a run over all of its trials, with what its own trials say of each answer.

Thresholds and the shares beside an answer are of the run's trials, each asked of the other folds. The saved index holds all of them, so a new recording finds
neighbours that are nearer by a trifle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl

from spoofscope.analysis.design import codes_of
from spoofscope.analysis.generalise.spaces import Space
from spoofscope.audio import read_audio
from spoofscope.audit import open_embedder
from spoofscope.cards import identity
from spoofscope.embedders import Embedder
from spoofscope.embeddings import Vectors, narrowed
from spoofscope.errors import DataError, RecipeError, RunFolderError
from spoofscope.metrics.rates import eer, eer_threshold
from spoofscope.registry import load_plugin
from spoofscope.retrieval.heads.detection import METHODS, density, vote_weights
from spoofscope.retrieval.heads.known import Known, Sides, search_without
from spoofscope.retrieval.heads.novelty import novelty_of
from spoofscope.retrieval.neighbours.notebook import Notebook
from spoofscope.storage import slug, write_table, write_text

FORMAT = 1
INDEXES = "indexes"
MOST_NAMED = 5
QUANTILES = np.linspace(0, 1, 201)
_KEYS = {"embedder", "identity", "layer", "plugins", "root", "trials", "held_by", "neighbours", "novelty_neighbour", "coverage"}
_KEYS |= {
    "max_duration_s",
    "vectors",
    "threshold",
    "eer",
    "novelty_threshold",
    "score_bonafide",
    "score_spoof",
    "novelty_known",
}


class Neighbour(NamedTuple):
    """One trial that is near: its columns, and how near (cosine, or negative distance)."""

    row: Mapping[str, Any]
    similarity: float


@dataclass(frozen=True)
class Answer:
    """What neighbours say of one recording.

    Parameters
    ----------
    file : Path
    seconds : float
        Its length.
    nearest : list of Neighbour
        The k nearest of both classes.
    n_bonafide : int
        How many of them are bona fide.
    score, threshold : float
        The density score, and where both errors of the run's trials are equal; at or above it is bona fide.
    eer : float
        That error.
    bonafide_below, spoof_below : float
        Shares of the run's bona fide and spoof trials that score lower.
    novelty, novelty_threshold, known_nearer : float
        Distance to the nearest of all, what `coverage` of the run's trials do not exceed, and the share of them that are nearer than this.
    generators : list of (str, float)
        Shares of the votes of the k nearest spoof trials, the largest first.
    """

    file: Path
    seconds: float
    nearest: list[Neighbour]
    n_bonafide: int
    score: float
    threshold: float
    eer: float
    bonafide_below: float
    spoof_below: float
    novelty: float
    novelty_threshold: float
    known_nearer: float
    generators: list[tuple[str, float]]

    @property
    def is_bonafide(self) -> bool:
        """Whether the score is at or above the threshold."""
        return self.score >= self.threshold

    @property
    def is_novel(self) -> bool:
        """Whether it is farther from everything than the frozen threshold."""
        return self.novelty > self.novelty_threshold

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What is said, each with what it is about."""
        side = "bona fide" if self.is_bonafide else "spoof"
        seen = f"{100 * self.bonafide_below:.0f} % of the run's bona fide trials score lower, and {100 * self.spoof_below:.0f} % of its spoof"
        named = ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.generators[:MOST_NAMED])
        novel = "unlike anything known" if self.is_novel else "like what is known"
        return [
            (
                "detection",
                f"{side}: score {self.score:+.3f}, threshold {self.threshold:+.3f} (EER {100 * self.eer:.1f} %); {seen}",
            ),
            ("votes", f"{self.n_bonafide} of the {len(self.nearest)} nearest are bona fide"),
            (
                "novelty",
                f"{novel}: distance {self.novelty:.3f}, threshold {self.novelty_threshold:.3f}; "
                f"{100 * self.known_nearer:.0f} % of the run's trials lie nearer to the rest",
            ),
            ("if spoof, made by", named + ("; being novel, it may be by none of them" if self.is_novel else "")),
        ]


def save_answering(book: Notebook, space: Space, sides: Sides) -> Path:
    """Index every trial of a space and write it, with what its cross-fitted neighbours say, to `indexes/EMBEDDER` of the run folder."""
    recipe, design, audit = book.recipe, book.design, book.audit
    folder = audit.folder / INDEXES / slug(space.embedder)
    scores, novelty = density(sides), novelty_of(sides, recipe.novelty_neighbour)
    pair = scores[design.is_bonafide], scores[~design.is_bonafide]
    known = Known.of(space.vectors, design.is_bonafide, np.full(len(design), True), book.setting)
    (folder / "answering.json").unlink(missing_ok=True)
    known.save(folder)
    paths = audit.data.trials.frame.select("trial_id", "path")
    write_table(
        design.frame.drop("path", strict=False).join(paths, on="trial_id", how="left", maintain_order="left"),
        folder / "rows.parquet",
    )
    place = list(audit.embedders).index(space.embedder)
    facts = {
        "format": FORMAT,
        "embedder": recipe.embedders[place],
        "identity": identity(audit.embedders[space.embedder]),
        "layer": space.layer,
        "plugins": [str(Path(plugin).resolve()) for plugin in recipe.plugins],
        "root": str(audit.data.trials.root.resolve()),
        "trials": book.spaces.name,
        "held_by": design.held_by,
        "index": book.setting.expression,
        "neighbours": book.neighbours,
        "novelty_neighbour": recipe.novelty_neighbour,
        "coverage": recipe.coverage,
        "max_duration_s": recipe.max_duration_s,
        "vectors": recipe.vectors,
        "threshold": eer_threshold(*pair),
        "eer": eer(*pair),
        "novelty_threshold": float(np.quantile(novelty, recipe.coverage, method="higher")),
        "score_bonafide": np.quantile(pair[0], QUANTILES).tolist(),
        "score_spoof": np.quantile(pair[1], QUANTILES).tolist(),
        "novelty_known": np.quantile(novelty, QUANTILES).tolist(),
    }
    write_text(json.dumps(facts, indent=1, ensure_ascii=False), folder / "answering.json")
    return folder


@dataclass(frozen=True, eq=False)
class Answering:
    """A saved index, and the embedder whose vectors it holds."""

    folder: Path
    facts: Mapping[str, Any]
    rows: pl.DataFrame
    known: Known
    embedder: Embedder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open what `save_answering` has written.

        Raises
        ------
        RunFolderError
            If a part is missing, damaged or of another format, or the embedder is no longer the one that the index was made with.
        """
        folder = Path(folder)
        facts = _read_facts(folder / "answering.json")
        known = Known.load(folder)
        try:
            rows = pl.read_parquet(folder / "rows.parquet")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RunFolderError(
                f"{folder / 'rows.parquet'} cannot be read ({error}). Run 'spoofscope retrieve' again."
            ) from error
        n = len(known.bonafide) + len(known.spoof)
        if rows.height != n or not {"trial_id", "label", "path", facts["held_by"]} <= set(rows.columns):
            raise RunFolderError(
                f"{folder / 'rows.parquet'} is not the table of the {n} trials of the index. Run 'spoofscope retrieve' again."
            )
        for plugin in facts["plugins"]:
            load_plugin(plugin)
        embedder = open_embedder(facts["embedder"])
        if json.loads(json.dumps(identity(embedder))) != facts["identity"]:
            raise RunFolderError(
                f"{facts['embedder']} is not what the index in {folder} was made with: its weights, layers or settings have changed. "
                "Run 'spoofscope embed' and 'spoofscope retrieve' again, or bring the old weights back."
            )
        return cls(folder, facts, rows, known, embedder)

    def embed(self, file: str | Path) -> tuple[Vectors, float]:
        """Embed a recording as the run embedded its trials: a (1, dim) vector, and the seconds that the recording has.

        Raises
        ------
        AudioError
            If it cannot be read.
        DataError
            If the embedder answers numbers that are not finite.
        """
        card = self.embedder.card
        audio = read_audio(file, sample_rate=card.sample_rate, max_duration_s=self.facts["max_duration_s"])
        vectors = np.asarray(self.embedder.embed([card.fit(audio)]))[0]
        stored, reason = narrowed(vectors, self.facts["vectors"])
        if reason:
            raise DataError(f"{file}: {reason}")
        layer = list(self.embedder.layers).index(self.facts["layer"])
        return np.asarray(stored[layer : layer + 1], dtype=np.float32), len(audio) / card.sample_rate

    def answer(self, file: str | Path, *, k: int = 0, leave_out: Mapping[str, str] | None = None) -> Answer:
        """Ask the neighbours of a recording.

        Parameters
        ----------
        k : int
            Neighbours shown and voting; the run's number unless given. Scores and novelty are always by the run's, which thresholds are of.
        leave_out : mapping of column to value
            Trials that are no neighbours, such as those of the recording's own speaker: `{"speaker": "p225"}`.

        Raises
        ------
        RecipeError
            If the trials have no such column, or k is below 1.
        """
        if k < 0:
            raise RecipeError(f"{k} neighbours; there is at least one, and 0 stands for the run's {self.facts['neighbours']}")
        vector, seconds = self.embed(file)
        own = k or int(self.facts["neighbours"])
        judged = self._search(vector, int(self.facts["neighbours"]), leave_out or {})
        shown = judged if own == judged.k else self._search(vector, own, leave_out or {})
        score = float(METHODS["density"](judged)[0])
        novelty = float(novelty_of(judged, int(self.facts["novelty_neighbour"]))[0])
        near, is_bonafide = shown.nearest
        nearest = [
            Neighbour(self.rows.row(int(at), named=True), float(similarity))
            for at, similarity in zip(near.rows[0], near.similarities[0], strict=True)
            if at >= 0
        ]
        return Answer(
            file=Path(file),
            seconds=seconds,
            nearest=nearest,
            n_bonafide=int((is_bonafide[0] & (near.rows[0] >= 0)).sum()),
            score=score,
            threshold=self.facts["threshold"],
            eer=self.facts["eer"],
            bonafide_below=_below(score, self.facts["score_bonafide"]),
            spoof_below=_below(score, self.facts["score_spoof"]),
            novelty=novelty,
            novelty_threshold=self.facts["novelty_threshold"],
            known_nearer=_below(novelty, self.facts["novelty_known"]),
            generators=self._generators(shown),
        )

    def _search(self, vector: Vectors, k: int, leave_out: Mapping[str, str]) -> Sides:
        largest = min(len(self.known.bonafide), len(self.known.spoof))
        if k > largest:
            raise RecipeError(
                f"{k} neighbours of each class were asked for, and the smaller has {largest} trials in {self.folder}"
            )
        if not leave_out:
            return self.known.search(vector, k)
        linked = []
        for column, value in leave_out.items():
            if column not in self.rows.columns:
                raise RecipeError(
                    f"the trials in {self.folder} have no column '{column}'; they have {', '.join(self.rows.columns)}"
                )
            codes = codes_of(pl.concat((self.rows[column].cast(pl.String), pl.Series(column, [value]))))
            linked.append((codes[-1:], codes[:-1]))
        return search_without(self.known, vector, k, linked)

    def _generators(self, sides: Sides) -> list[tuple[str, float]]:
        """Share the votes of the nearest spoof trials among generators."""
        found = sides.spoof.rows[0] >= 0
        weights = np.where(found, vote_weights(sides.spoof.similarities, sides.metric)[0], 0.0)
        weights = weights if weights.sum() > 0 else found.astype(np.float64)
        names = self.rows[self.facts["held_by"]].cast(pl.String).fill_null("").gather(np.maximum(sides.spoof.rows[0], 0))
        shares: dict[str, float] = {}
        for name, weight in zip(names, weights / max(weights.sum(), 1e-12), strict=True):
            shares[name] = shares.get(name, 0.0) + float(weight)
        return sorted(((name, share) for name, share in shares.items() if share > 0), key=lambda item: (-item[1], item[0]))


def _below(value: float, quantiles: Sequence[float]) -> float:
    """Tell which share of trials lies below a value, from the quantiles at `QUANTILES`."""
    return float(np.searchsorted(quantiles, value) / len(quantiles))


def _read_facts(file: Path) -> dict[str, Any]:
    next_step = "Run 'spoofscope retrieve RECIPE', which writes indexes/EMBEDDER in the run folder, and name such a folder."
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"no index that answers for recordings in {file.parent} ({error}). {next_step}") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise RunFolderError(f"{file} is of another version than this, which reads format {FORMAT}. {next_step}")
    if missing := _KEYS - set(facts):
        raise RunFolderError(f"{file} does not say '{min(missing)}'. {next_step}")
    return facts
