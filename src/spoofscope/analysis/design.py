"""What is held out, and who may stand on which side: the design that every hold-out question shares.

Conventions
-----------
Trials are dealt into folds so that no two folds share a value of any column of `disjoint` (speaker and source utterance): rows that
are linked by such values, however far round, form one component and stay together. A trial is tested in its own fold by heads that
were trained on the others.

A group (an attack, a family ...) whose rows form a single component cannot be both learnt and tested under that rule. It is then kept apart by
one column alone, the first of `disjoint` that allows it, and bona fide trials of its own component are left out of its test; `Split.disjoint`
says which rule held, so that no figure can pass for stricter than it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spoofscope.errors import LeakError, NotEnoughTrials, TrialsError
from spoofscope.trials import BONAFIDE

Mask = NDArray[np.bool_]
Codes = NDArray[np.intp]
DISJOINT = ("speaker", "source")


class Split(NamedTuple):
    """One fold of one held-out group: (n,) masks over the rows of the design.

    Parameters
    ----------
    fold : int
        Which fold is tested.
    bonafide, own : mask
        The rows that are tested: bona fide, and the group's.
    others : mask
        Rows to train on that are not of the group: bona fide and other spoof.
    own_train : mask
        Rows of the group that may be trained on.
    disjoint : tuple of str
        The columns of which the group's rows on both sides share no value.
    """

    fold: int
    bonafide: Mask
    own: Mask
    others: Mask
    own_train: Mask
    disjoint: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Design:
    """Trials, what is held out among them, and the folds that they are tested in.

    Parameters
    ----------
    frame : polars.DataFrame
        One row per trial, with `label`, `held_by` and whatever of `disjoint` is known.
    held_by : str
        The column whose values are held out one by one: attack, family, algorithm, vocoder, corpus ...
    fold : (n,) int array
        The fold of each row, from `design_of`, or of one's own.
    name : str
        Which trials these are.
    disjoint : tuple of str
        Columns of which no two folds may share a value.

    Raises
    ------
    LeakError
        If two folds share a value of a column of `disjoint`; the message names it.
    """

    frame: pl.DataFrame
    held_by: str
    fold: Codes
    name: str
    disjoint: tuple[str, ...] = DISJOINT

    def __post_init__(self) -> None:
        require_columns(self.frame, ("label", self.held_by), self.name)
        if self.fold.shape != (self.frame.height,):
            raise TrialsError(f"{self.name}: folds have shape {self.fold.shape} for {self.frame.height} trials")
        for column in self.known:
            shared = self.frame.select(column, fold=self.fold).drop_nulls().group_by(column).agg(pl.col("fold").n_unique())
            for value in shared.filter(pl.col("fold") > 1)[column].sort().head(1):
                raise LeakError(
                    f"{self.name}: {column} '{value}' stands in more than one fold, so what is tested would have been heard in training. "
                    "Deal the folds by speaker and source (design_of does)."
                )

    def __len__(self) -> int:
        return self.frame.height

    @cached_property
    def known(self) -> tuple[str, ...]:
        """The columns of `disjoint` that the trials carry."""
        return known_columns(self.frame, self.disjoint)

    @cached_property
    def is_bonafide(self) -> Mask:
        """(n,) bool array, True for bona fide rows."""
        return (self.frame["label"] == BONAFIDE).to_numpy()

    @cached_property
    def held(self) -> NDArray[np.object_]:
        """(n,) array with the group of each spoof row; '' for bona fide rows and where the column says nothing."""
        words = self.frame[self.held_by].cast(pl.String).fill_null("").to_numpy().astype(object)
        words[self.is_bonafide] = ""
        return words

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups, sorted."""
        return tuple(sorted(set(self.held[self.held != ""])))

    @cached_property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(np.unique(self.fold))

    def counts(self, group: str) -> int:
        """Return how many rows a group has."""
        return int((self.held == group).sum())

    def splits(self, group: str) -> Iterator[Split]:
        """Yield the folds in which a group is tested, each with what may be trained on.

        Raises
        ------
        NotEnoughTrials
            If the rows of the group cannot be parted at all.
        """
        own = self.held == group
        is_parted = len(np.unique(self.fold[own])) > 1
        own_fold, columns = (self.fold, self.known) if is_parted else self._own_folds(own, group)
        kin = np.zeros(len(self), dtype=bool) if is_parted else np.isin(self._component, self._component[own])
        for fold in np.unique(self.fold):
            tested = own & (own_fold == fold)
            bonafide = self.is_bonafide & (self.fold == fold) & ~kin
            if tested.any() and bonafide.any():
                others = (self.fold != fold) & ~own
                if not is_parted:
                    others &= ~self._sharing(tested, columns)
                yield Split(int(fold), bonafide, tested, others, own & (own_fold != fold), columns)

    @cached_property
    def _component(self) -> Codes:
        return components(self.frame, self.known)

    def _own_folds(self, own: Mask, group: str) -> tuple[Codes, tuple[str, ...]]:
        """Part a group that is one component by a single column."""
        for column in self.known:
            codes = codes_of(self.frame.filter(own)[column])
            if len(np.unique(codes)) > 1:
                dealt = np.full(len(self), -1, dtype=np.intp)
                places = deal(codes, np.zeros((len(codes), 1), dtype=np.intp), self.n_folds, seed=0)
                dealt[own] = np.unique(self.fold)[places]
                return dealt, (column,)
        raise NotEnoughTrials(
            f"{self.name}: the {own.sum()} trials of {self.held_by} '{group}' share one {' and one '.join(self.known) or 'fold'}: "
            "they cannot be both learnt and tested"
        )

    def _sharing(self, rows: Mask, columns: Sequence[str]) -> Mask:
        """Mark the rows that share a value of one of `columns` with `rows`."""
        sharing = np.zeros(len(self), dtype=bool)
        for column in columns:
            values = self.frame.filter(rows)[column].drop_nulls().unique()
            sharing |= self.frame[column].is_in(values.implode()).fill_null(False).to_numpy()
        return sharing

    def matched(self, split: Split, rng: np.random.Generator) -> tuple[Mask, Mask]:
        """Return what to train on without the group, and with it: two (n,) masks of equally many bona fide and spoof rows.

        Rows of the group take the places of as many other spoof rows, drawn from every other group in proportion.
        """
        spoof = np.flatnonzero(split.others & ~self.is_bonafide)
        own = np.flatnonzero(split.own_train)
        if len(own) > len(spoof):
            own = rng.permutation(own)[: len(spoof)]
        leaving = spread(self.held[spoof].astype(str), len(own), rng)
        with_group = split.others.copy()
        with_group[spoof[leaving]] = False
        with_group[own] = True
        return split.others, with_group


def design_of(
    frame: pl.DataFrame, held_by: str, name: str, *, folds: int = 5, disjoint: Sequence[str] = DISJOINT, seed: int = 0
) -> Design:
    """Deal trials into folds that share no value of `disjoint`, each fold with its share of bona fide and of every group.

    Raises
    ------
    TrialsError
        If a column is missing, or there are fewer components with bona fide trials than folds.
    """
    require_columns(frame, ("label", held_by), name)
    known = known_columns(frame, disjoint)
    component = components(frame, known)
    words = frame[held_by].cast(pl.String).fill_null("")
    strata = pl.select(pl.when(frame["label"] == BONAFIDE).then(pl.lit("")).otherwise(words)).to_series()
    marks = np.column_stack((component, codes_of(strata)))
    bonafide = len(np.unique(component[(frame["label"] == BONAFIDE).to_numpy()]))
    if bonafide < folds:
        raise TrialsError(
            f"{name}: bona fide trials fall into {bonafide} parts that share no {' or '.join(known)}, too few for {folds} folds. "
            "Lower folds, or give the corpus a speaker column."
        )
    return Design(frame, held_by, deal(component, marks[:, 1:], folds, seed=seed), name, tuple(disjoint))


def components(frame: pl.DataFrame, columns: Sequence[str]) -> Codes:
    """Number the rows so that two that share a value of any of `columns`, or are linked by such rows, have one number."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = frame.height
    nodes, links, size = [], [], n
    for column in columns:
        codes = codes_of(frame[column])
        nodes.append(np.arange(n))
        links.append(size + codes)
        size += int(codes.max(initial=-1)) + 1
    if not columns:
        return np.arange(n)
    rows, others = np.concatenate(nodes), np.concatenate(links)
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, others)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1][:n]
    return np.unique(labels, return_inverse=True)[1].astype(np.intp)


def deal(component: Codes, strata: NDArray[np.intp], folds: int, *, seed: int) -> Codes:
    """Deal components to folds, the largest first, each to the fold that has had least of what it holds; returns (n,) folds."""
    ids = np.unique(component, return_inverse=True)[1]
    stratum = np.unique(strata, axis=0, return_inverse=True)[1].ravel()
    table = np.zeros((ids.max() + 1, stratum.max() + 1))
    np.add.at(table, (ids, stratum), 1.0)
    share = table / table.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(table))
    order = order[np.argsort(-share[order].sum(axis=1), kind="stable")]
    load = np.zeros((folds, share.shape[1]))
    chosen = np.empty(len(table), dtype=np.intp)
    for at in order:
        chosen[at] = np.argmin(load @ share[at] / share[at].sum() + 1e-6 * load.sum(axis=1))
        load[chosen[at]] += share[at]
    return chosen[ids]


def spread(groups: NDArray[np.str_], size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw `size` places so that every group gives its share: (size,) indices into `groups`."""
    order = rng.permutation(len(groups))
    codes = np.unique(groups[order], return_inverse=True)[1]
    turn = np.empty(len(order))
    for code in range(codes.max(initial=-1) + 1):
        own = np.flatnonzero(codes == code)
        turn[own] = (np.arange(len(own)) + rng.uniform()) / len(own)
    return order[np.argsort(turn, kind="stable")[:size]]


def require_disjoint(frame: pl.DataFrame, train: Mask, test: Mask, columns: Sequence[str] = DISJOINT) -> None:
    """Refuse a split whose sides share a value of a column.

    Raises
    ------
    LeakError
        The message names the column and the first value that stands on both sides.
    """
    for column in known_columns(frame, columns):
        both = set(frame.filter(train)[column].drop_nulls()) & set(frame.filter(test)[column].drop_nulls())
        if both:
            raise LeakError(
                f"{column} '{min(map(str, both))}' stands in training and in test ({len(both)} such values): what is tested would have been "
                "heard in training. Split by speaker and source."
            )


def require_columns(frame: pl.DataFrame, columns: Sequence[str], name: str) -> None:
    """Raise `TrialsError` unless the trials have these columns."""
    for column in columns:
        if column not in frame.columns:
            raise TrialsError(f"{name}: no column '{column}'; the trials have {', '.join(frame.columns)}")


def known_columns(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[str, ...]:
    """Return those of `columns` that say something of at least one trial."""
    return tuple(column for column in columns if column in frame.columns and frame[column].null_count() < frame.height)


def codes_of(values: pl.Series) -> Codes:
    """Number the values of a column from 0; each null has a number of its own."""
    words = values.cast(pl.String).to_list()
    known: dict[object, int] = {}
    return np.fromiter(
        (known.setdefault(object() if word is None else word, len(known)) for word in words), np.intp, len(words)
    )
