"""The representations that a run has stored, one layer in memory at a time, over trials that all of them hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.analysis.design import Design, design_of
from spoofscope.analysis.taxonomy import BY_CORPUS, Taxonomy, read_taxonomy
from spoofscope.audit import Audit
from spoofscope.degradations.conditions import CLEAN, Condition
from spoofscope.embeddings import Embeddings
from spoofscope.errors import RecipeError, RunFolderError

UNTRAINED = "untrained"


@dataclass(frozen=True, eq=False)
class Space:
    """One layer of one embedder under one condition: (n, d) vectors over the rows of `Spaces.frame`."""

    embedder: str
    condition: Condition
    layer: str
    vectors: NDArray[np.float32]
    is_stated: bool

    @property
    def names(self) -> dict[str, str]:
        """Begin the row of a table."""
        return {"embedder": self.embedder, "condition": self.condition.name, "layer": self.layer}

    @property
    def is_clean(self) -> bool:
        """Whether nothing was done to the audio."""
        return self.condition == CLEAN


class Spaces:
    """The stored embeddings of a run, and the design that all of them share.

    Raises
    ------
    RecipeError
        If the recipe names no column to hold out by, no embedder, or a layer that an embedder lacks.
    RunFolderError
        If embeddings are not there, or trials have no vectors and `allow_missing` was not given.
    """

    def __init__(self, audit: Audit) -> None:
        self.audit, self.recipe = audit, audit.recipe
        if not self.recipe.hold_out:
            raise RecipeError("hold_out is empty; name the columns whose values are held out, such as hold_out = ['attack']")
        if not self.recipe.embedders:
            raise RecipeError("embedders is empty; name at least one ('spoofscope list embedders')")
        self.stored = {
            (name, condition.name): audit.embeddings(name, condition)
            for name in audit.embedders
            for condition in audit.conditions
        }
        self._require_layer()
        self.stated = {name: self._stated(name) for name in audit.embedders}
        self.rows = self._common_rows()

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """What is known of the attacks."""
        return read_taxonomy(self.recipe.taxonomy or BY_CORPUS.get(self.audit.data.card.name, ""))

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The trials that every space holds, with what the taxonomy adds."""
        first = next(iter(self.stored.values())).frame
        return self.taxonomy.annotate(first[self.rows].select(pl.exclude("^measured_.*$", "status")))

    @cached_property
    def name(self) -> str:
        """Which trials these are."""
        every = self.audit.data.trials
        return (
            every.name if len(self.rows) == len(every) else f"{every.name}, {len(self.rows)} of {len(every)} that have vectors"
        )

    @cached_property
    def designs(self) -> dict[str, Design]:
        """A design for each column that is held out by."""
        recipe = self.recipe
        return {
            column: design_of(self.frame, column, self.name, folds=recipe.folds, seed=recipe.seed) for column in recipe.hold_out
        }

    def layers(self, embedder: str, condition: Condition) -> list[str]:
        """Return the layers that are analysed: all of them on clean, elsewhere the stated one."""
        if condition != CLEAN:
            return [self.stated[embedder]]
        known = list(self._of(embedder, CLEAN).layers)
        return [layer for layer in known if not self.recipe.layers or layer in self.recipe.layers]

    def each(self, embedder: str, condition: Condition) -> Iterator[Space]:
        """Yield the layers of one embedder under one condition, each read when it is reached."""
        for layer in self.layers(embedder, condition):
            yield self.space(embedder, condition, layer)

    def space(self, embedder: str, condition: Condition, layer: str = "") -> Space:
        """Read one layer; the stated one unless named."""
        layer = layer or self.stated[embedder]
        vectors = self._of(embedder, condition).vectors(layer, self.rows)
        return Space(embedder, condition, layer, vectors, layer == self.stated[embedder])

    def other(self, embedder: str) -> tuple[NDArray[np.float32], NDArray[np.bool_], str]:
        """Read the stated layer of the other corpus: vectors, which rows are bona fide, and which trials these are."""
        stored = self.audit.other_embeddings(embedder)
        self._refuse_missing(embedder, stored)
        rows = np.flatnonzero(stored.is_ok)
        bonafide = (stored.frame["label"] == "bonafide").to_numpy()[rows]
        return stored.vectors(self.stated[embedder], rows), bonafide, stored.name

    def untrained(self, space: Space) -> NDArray[np.float32] | None:
        """Read the same layer of the same architecture before any training, where the recipe names it as an embedder too.

        `NAME.untrained` stands beside `NAME`, and `aasist.untrained` beside each `aasist.` checkpoint.
        """
        own = space.embedder
        for name in (f"{own}.{UNTRAINED}", f"{own.split('.')[0]}.{UNTRAINED}"):
            if name != own and name in self.stated and space.layer in self._of(name, space.condition).layers:
                return self.space(name, space.condition, space.layer).vectors
        return None

    def exposed(self, embedder: str, held_by: str) -> dict[str, str]:
        """Return the groups that an embedder has met in its training, each with the reason."""
        return self.taxonomy.exposed(self.frame, held_by, self.audit.embedders[embedder].card.trained_on)

    def _of(self, embedder: str, condition: Condition) -> Embeddings:
        return self.stored[embedder, condition.name]

    def _require_layer(self) -> None:
        known = {name: self._of(name, CLEAN).layers for name in self.audit.embedders}
        if self.recipe.layer and not any(self.recipe.layer in layers for layers in known.values()):
            listed = "; ".join(f"{name} has {', '.join(layers)}" for name, layers in known.items())
            raise RecipeError(f"no embedder has the layer '{self.recipe.layer}': {listed}")

    def _stated(self, embedder: str) -> str:
        known = list(self._of(embedder, CLEAN).layers)
        wanted = [layer for layer in (self.recipe.layer, *self.recipe.layers) if layer]
        analysed = [layer for layer in known if not self.recipe.layers or layer in self.recipe.layers]
        if not analysed:
            raise RecipeError(f"{embedder} has none of the layers {', '.join(wanted)}; it has {', '.join(known)}")
        return self.recipe.layer if self.recipe.layer in analysed else analysed[len(analysed) // 2]

    def _common_rows(self) -> NDArray[np.intp]:
        is_ok = np.ones(len(self.audit.data.trials), dtype=bool)
        for (embedder, _), stored in self.stored.items():
            self._refuse_missing(embedder, stored)
            is_ok &= stored.is_ok
        return np.flatnonzero(is_ok)

    def _refuse_missing(self, embedder: str, stored: Embeddings) -> None:
        if stored.failures.height and not self.recipe.allow_missing:
            row: dict[str, Any] = stored.failures.row(0, named=True)
            raise RunFolderError(
                f"{stored.failures.height} of {len(stored)} trials of {stored.name} have no vectors of {embedder} "
                f"(first: {row['trial_id']}: {row['status']}). Mend them and embed again, or allow it with --allow-missing."
            )
