"""A recipe into a run folder, stage by stage: score, embed, evaluate. Every stage resumes; the page is made from the folder."""

from __future__ import annotations

import functools
import inspect
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from spoofscope.cards import identity
from spoofscope.corpora import Card as CorpusCard
from spoofscope.corpora import Corpus, corpora
from spoofscope.degradations.conditions import CLEAN, Condition, parse_conditions
from spoofscope.detectors import Detector, build_detector, detectors
from spoofscope.embedders import Embedder, build_embedder, embedders
from spoofscope.embedding import embed_trials, embedding_key
from spoofscope.embeddings import Embeddings, open_embeddings
from spoofscope.errors import RecipeError, RunFolderError, UnknownName
from spoofscope.executors import open_executor
from spoofscope.recipe import Recipe, parse_call, write_recipe
from spoofscope.registry import load_plugin
from spoofscope.scores import Scores
from spoofscope.scoring import read_scores, score_key, score_trials
from spoofscope.storage import keyed_folder, slug, write_table, write_text
from spoofscope.trials import Trials

OnProgress = Callable[[str, int, int], None]

EMBEDDINGS, OTHER = "embeddings", "other_embeddings"


class Corpora(NamedTuple):
    """The trials of a run: those evaluated, and those that thresholds are frozen on (None for a split of the former)."""

    card: CorpusCard
    protocol: str
    trials: Trials
    development: Trials | None


@dataclass(frozen=True)
class Audit:
    """One recipe at work in its run folder."""

    recipe: Recipe

    def __post_init__(self) -> None:
        for plugin in self.recipe.plugins:
            load_plugin(plugin)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.recipe.out)

    @cached_property
    def data(self) -> Corpora:
        """The trials that the recipe names, read once."""
        recipe = self.recipe
        corpus, options = open_corpus(recipe.corpus)
        protocol = recipe.protocol or default_protocol(corpus.card)
        root = Path(recipe.root) if recipe.root else None
        trials = corpus.trials(protocol, root=root, **options)
        if recipe.subset:
            trials = trials.subset(recipe.subset, by=recipe.subset_by, seed=recipe.seed)
        development = None if recipe.development == "split" else corpus.trials(recipe.development, root=root, **options)
        return Corpora(corpus.card, protocol, trials, development)

    @cached_property
    def other(self) -> Corpora | None:
        """The other corpus, whose embeddings train heads that are tested on this one; None where the recipe names none."""
        recipe = self.recipe
        if not recipe.train_corpus:
            return None
        corpus, options = open_corpus(recipe.train_corpus)
        protocol = recipe.train_protocol or default_protocol(corpus.card)
        root = Path(recipe.train_root) if recipe.train_root else None
        return Corpora(corpus.card, protocol, corpus.trials(protocol, root=root, **options), None)

    @cached_property
    def conditions(self) -> list[Condition]:
        """The conditions that the recipe names; clean first."""
        return parse_conditions(self.recipe.grid, self.recipe.conditions)

    @cached_property
    def detectors(self) -> dict[str, Detector]:
        """The detectors that the recipe names, built, by the folder name of each."""
        built: dict[str, Detector] = {}
        for text in self.recipe.detectors:
            detector = open_detector(text)
            name = detector.card.name
            if name in built:
                raise RecipeError(f"two detectors of this recipe are called '{name}'; give one of them another name")
            built[name] = detector
        return built

    @cached_property
    def embedders(self) -> dict[str, Embedder]:
        """The embedders that the recipe names, built; one that is also a detector is built once.

        Each has the name of its card; a second one of that name, with other settings, is called what the recipe calls it.
        """
        built: dict[str, Embedder] = {}
        for text in self.recipe.embedders:
            if text in self.recipe.detectors:
                embedder = checked_embedder(list(self.detectors.values())[self.recipe.detectors.index(text)])
            else:
                embedder = open_embedder(text)
            name = embedder.card.name if embedder.card.name not in built else text
            if name in built:
                raise RecipeError(f"the embedder {text} is listed twice; list it once")
            built[name] = embedder
        return built

    def score(self, on_progress: OnProgress = lambda task, total, done: None) -> None:
        """Score every detector under every condition, and on the development trials, continuing what is there."""
        self._write_recipe()
        with (
            self.timed("score"),
            open_executor(self.recipe.executor, workers=self.recipe.workers, plugins=self.recipe.plugins) as executor,
        ):
            for name, detector, trials, condition, parent in self._tasks():
                task = f"{name}, {condition.label}" + (", development" if trials is self.data.development else "")
                score_trials(
                    detector,
                    trials,
                    condition,
                    parent,
                    executor=executor,
                    seed=self.recipe.seed,
                    batch_size=self.recipe.batch_size,
                    max_duration_s=self.recipe.max_duration_s,
                    on_progress=functools.partial(on_progress, task, len(trials)),
                )

    def embed(self, on_progress: OnProgress = lambda task, total, done: None) -> None:
        """Embed every trial with every embedder under every condition, continuing what is there, and list what there is."""
        self._write_recipe()
        rows = []
        with (
            self.timed("embed"),
            open_executor(self.recipe.executor, workers=self.recipe.workers, plugins=self.recipe.plugins) as executor,
        ):
            for name, embedder, trials, condition, kind in self._embedding_tasks():
                stored = embed_trials(
                    embedder,
                    trials,
                    condition,
                    self._parent(kind, name),
                    executor=executor,
                    seed=self.recipe.seed,
                    batch_size=self.recipe.batch_size,
                    max_duration_s=self.recipe.max_duration_s,
                    dtype=self.recipe.vectors,
                    on_progress=functools.partial(on_progress, f"{name}, {condition.label}", len(trials)),
                )
                if kind == EMBEDDINGS:
                    rows.append(self._embeddings_row(name, condition, stored))
        write_table(pl.DataFrame(rows), self.folder / "tables" / "embeddings.csv")

    def embeddings(self, embedder: str, condition: Condition) -> Embeddings:
        """Open the finished embeddings of one embedder under one condition; nothing is read until it is used."""
        return open_embeddings(self._embeddings_folder(embedder, condition), self.data.trials.name)

    def other_embeddings(self, embedder: str) -> Embeddings:
        """Open the finished embeddings of the other corpus, heard clean.

        Raises
        ------
        RecipeError
            If the recipe names no other corpus.
        """
        if self.other is None:
            raise RecipeError("train_corpus is empty; name the corpus that heads are to be trained on")
        return open_embeddings(self._embeddings_folder(embedder, CLEAN, self.other.trials, OTHER), self.other.trials.name)

    def _embeddings_folder(
        self, embedder: str, condition: Condition, trials: Trials | None = None, kind: str = EMBEDDINGS
    ) -> Path:
        recipe = self.recipe
        key = embedding_key(
            self.embedders[embedder],
            trials or self.data.trials,
            condition,
            seed=recipe.seed,
            max_duration_s=recipe.max_duration_s,
            dtype=recipe.vectors,
        )
        return keyed_folder(self._parent(kind, embedder), condition.name, key)

    def _embedding_tasks(self) -> Iterator[tuple[str, Embedder, Trials, Condition, str]]:
        for name, embedder in self.embedders.items():
            for condition in self.conditions:
                yield name, embedder, self.data.trials, condition, EMBEDDINGS
            if self.other is not None:
                yield name, embedder, self.other.trials, CLEAN, OTHER

    def _embeddings_row(self, name: str, condition: Condition, stored: Embeddings) -> dict[str, Any]:
        settings = identity(self.embedders[name])
        window_s = settings["window_s"]
        return {
            "embedder": name,
            "condition": condition.name,
            "label": condition.label,
            "trials": len(stored),
            "n_failed": stored.failures.height,
            "layers": " ".join(stored.layers),
            "dim": stored.dim,
            "dtype": stored.key["dtype"],
            "heard": "whole recording" if window_s is None else f"first {window_s:g} s",
            "settings": json.dumps(settings["settings"], ensure_ascii=False),
            "folder": str(self._embeddings_folder(name, condition).relative_to(self.folder)),
        }

    def _write_recipe(self) -> None:
        write_text(write_recipe(self.recipe), self.folder / "recipe.toml")
        write_table(self.data.trials.frame, self.folder / "trials.parquet")

    def scores(self, detector: str, condition: Condition) -> Scores:
        """Read the finished scores of one detector under one condition."""
        return self._read(self.detectors[detector], self.data.trials, condition, self._parent("scores", detector))

    def development_scores(self, detector: str) -> Scores | None:
        """Read the finished scores of the development trials on clean, or None where a split stands for them."""
        if self.data.development is None:
            return None
        return self._read(self.detectors[detector], self.data.development, CLEAN, self._parent("development", detector))

    def write_run(self, warnings: list[str], development: dict[str, Any], cost: dict[str, Any]) -> None:
        """Write `run.json`: what was evaluated, by what, on what."""
        recipe, card, trials = self.recipe, self.data.card, self.data.trials
        n_bonafide, n_spoof = trials.counts
        run = {
            "title": recipe.title or f"{' and '.join(self.detectors)} on {trials.name}",
            "corpus": {key: getattr(card, key) for key in ("name", "title", "licence", "url", "citation", "synthetic", "note")},
            "trials": {
                "describe": trials.describe(),
                "n": len(trials),
                "n_bonafide": n_bonafide,
                "n_spoof": n_spoof,
                "n_speakers": trials.frame["speaker"].drop_nulls().n_unique(),
                "n_attacks": trials.frame.filter(trials.frame["label"] == "spoof")["attack"].n_unique(),
                "digest": trials.digest(),
            },
            "development": development,
            "detectors": [_describe(detector) for detector in self.detectors.values()],
            "conditions": [
                {key: getattr(condition, key) for key in ("name", "label", "family", "level", "unit")}
                | {"settings": condition.settings()}
                for condition in self.conditions
            ],
            "cost": cost,
            "level": recipe.level,
            "replicates": recipe.replicates,
            "clusters": " and ".join(recipe.clusters),
            "seed": recipe.seed,
            "min_count": recipe.min_count,
            "versions": _versions(),
            "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "seconds": self._seconds(),
            "warnings": warnings,
        }
        write_text(json.dumps(run, indent=1, ensure_ascii=False), self.folder / "run.json")

    def _tasks(self) -> Iterator[tuple[str, Detector, Trials, Condition, Path]]:
        for name, detector in self.detectors.items():
            if self.data.development is not None:
                yield name, detector, self.data.development, CLEAN, self._parent("development", name)
            for condition in self.conditions:
                yield name, detector, self.data.trials, condition, self._parent("scores", name)

    def _parent(self, kind: str, detector: str) -> Path:
        return self.folder / kind / slug(detector)

    def _read(self, detector: Detector, trials: Trials, condition: Condition, parent: Path) -> Scores:
        key = score_key(detector, trials, condition, seed=self.recipe.seed, max_duration_s=self.recipe.max_duration_s)
        return read_scores(keyed_folder(parent, condition.name, key), trials.name)

    def _seconds(self) -> dict[str, float]:
        try:
            return dict(json.loads((self.folder / "seconds.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall time of a stage to what is known of it."""
        start = time.monotonic()
        yield
        seconds = self._seconds()
        seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - start, 1)
        write_text(json.dumps(seconds), self.folder / "seconds.json")


def open_corpus(expression: str) -> tuple[Corpus, dict[str, Any]]:
    """Return the corpus that an expression names, with the settings to read it with.

    Raises
    ------
    RecipeError
        If a setting is none of the corpus's own.
    """
    call = parse_call(expression, "corpus", "table(path='calls.csv')")
    corpus = corpora.get(call.name)()
    known = [name for name in inspect.signature(corpus.trials).parameters if name not in ("protocol", "root")]
    options = {**dict(zip(known[:1], call.positional, strict=False)), **call.options}
    for name in options:
        if name not in known:
            raise RecipeError(f"'{expression}': {call.name} has no setting '{name}'; it has {', '.join(known) or 'none'}")
    return corpus, options


def open_detector(expression: str) -> Detector:
    """Build the detector that an expression names, with its settings.

    Raises
    ------
    RecipeError
        If the expression is not one detector with settings by name.
    """
    call = parse_call(expression, "detector", "aasist.la19(threads=4)")
    return build_detector(call.name, *call.positional, **call.options)


def open_embedder(expression: str) -> Embedder:
    """Build the embedder that an expression names, with its settings; a detector that has an embedding will do.

    Raises
    ------
    RecipeError
        If the expression is not one embedder with settings by name.
    UnknownName
        If neither an embedder nor a detector has that name, or the detector has no embedding.
    """
    call = parse_call(expression, "embedder", "xlsr(pool='mean_std')")
    if call.name in embedders.names() or call.name not in detectors.names():
        return build_embedder(call.name, *call.positional, **call.options)
    return checked_embedder(build_detector(call.name, *call.positional, **call.options))


def checked_embedder(detector: Any) -> Embedder:
    """Return a detector as an embedder.

    Raises
    ------
    UnknownName
        If it has no embedding.
    """
    if not all(hasattr(detector, name) for name in ("embed", "layers", "dim")):
        known = ", ".join(embedders.names())
        raise UnknownName(f"the detector {detector.card.name} has no embedding. Embedders: {known}; and detectors with one.")
    embedder: Embedder = detector
    return embedder


def default_protocol(card: CorpusCard) -> str:
    """Return the list that is evaluated unless another is asked for."""
    return "eval" if "eval" in card.protocols else next(iter(card.protocols), "all")


def _describe(detector: Detector) -> dict[str, Any]:
    card = asdict(detector.card)
    keys = ("name", "paper", "licence", "output", "trained_on", "weights_sha256", "published", "note")
    return {key: card[key] for key in keys} | {
        "flipped": bool(getattr(detector, "flipped", False)),
        "parameters": getattr(detector, "parameters", None),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("spoofscope", "numpy", "scipy", "polars", "av", "soundfile", "soxr", "torch", "transformers", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def require_run(folder: Path) -> None:
    """Raise `RunFolderError` unless `folder` holds an evaluated run."""
    if not (folder / "run.json").is_file():
        raise RunFolderError(
            f"{folder} holds no evaluated run. Run 'spoofscope run RECIPE' or 'spoofscope evaluate RECIPE' first."
        )
