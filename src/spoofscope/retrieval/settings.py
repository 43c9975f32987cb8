"""Which index to build, as a recipe writes it: `exact(metric='cosine', whiten=True)`, or a preset by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spoofscope.errors import MissingExtra, RecipeError, UserError
from spoofscope.recipe import parse_call
from spoofscope.retrieval import KINDS, index_class
from spoofscope.retrieval.index import METRICS, Index, Metric, Vectors
from spoofscope.retrieval.libraries import PRESETS as LIBRARY_PRESETS
from spoofscope.retrieval.lsh import PRESETS as LSH_PRESETS
from spoofscope.retrieval.space import Space, fit_space

EXAMPLE = "exact(metric='cosine', whiten=True)"
PRESETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{name: ("lsh", options) for name, options in LSH_PRESETS.items()},
    **LIBRARY_PRESETS,
}
"""The reference study's indexes: a kind and its options; without a number of lists, IVF has 4 sqrt(rows)."""


@dataclass(frozen=True)
class Setting:
    """An index that can be built over any rows.

    Parameters
    ----------
    expression : str
        As it was written.
    kind : str
        A key of `KINDS`.
    metric : {"cosine", "euclidean"}
    center, whiten : bool
    components : int or None
        The space that rows are compared in; see `fit_space`.
    options : mapping
        Keywords of the kind's own.
    """

    expression: str
    kind: str
    metric: Metric
    center: bool
    whiten: bool
    components: int | None
    options: Mapping[str, Any]

    def build(self) -> Index:
        """Return an empty index, which fits its own space on the first rows added."""
        space = {"center": self.center, "whiten": self.whiten, "components": self.components}
        return index_class(self.kind)(metric=self.metric, **space, **self.options)  # type: ignore[call-arg]

    def build_mapped(self) -> Index:
        """Return an empty index over vectors that `fit` has already mapped."""
        return index_class(self.kind)(metric=self.metric, **self.options)  # type: ignore[call-arg]

    @property
    def space(self) -> tuple[bool, bool, int | None]:
        """What tells two spaces apart."""
        return self.center, self.whiten, self.components

    def fit(self, vectors: Vectors) -> Space:
        """Fit the space on rows: (n, dim)."""
        if not (self.center or self.whiten):
            return Space(np.zeros(vectors.shape[1], dtype=np.float32))
        return fit_space(vectors, whiten=self.whiten, components=self.components)


def read_setting(expression: str) -> Setting:
    """Read the expression of an index.

    Raises
    ------
    RecipeError
        If there is no such kind or preset, the metric is not said, or an option is none of the kind's own or out of its range.
    MissingExtra
        If the kind is of a library that is not installed.
    """
    call = parse_call(expression, "index", EXAMPLE)
    kind, preset = PRESETS.get(call.name, (call.name, {}))
    if kind not in KINDS:
        raise RecipeError(f"no index '{call.name}'; there are {', '.join((*KINDS, *PRESETS))}")
    options = {**preset, **call.options}
    metric = options.pop("metric", None)
    if metric not in METRICS:
        raise RecipeError(
            f"'{expression}': say which similarity is meant, metric='cosine' or metric='euclidean'"
            + (f"; found {metric!r}" if metric is not None else "")
        )
    space = {name: options.pop(name, default) for name, default in (("center", False), ("whiten", False), ("components", None))}
    setting = Setting(expression, kind, metric, **space, options=options)
    known = [name for name, item in inspect.signature(index_class(kind)).parameters.items() if item.kind is item.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            own = ", ".join(name for name in known if name not in ("metric", *space)) or "none"
            raise RecipeError(f"'{expression}': {kind} has no setting '{name}'; its own are {own}")
    try:
        setting.build()
    except MissingExtra:
        raise
    except (TypeError, UserError) as error:
        raise RecipeError(f"'{expression}': {error}") from error
    return setting
