"""What every index over embeddings offers, whoever searches behind it.

Conventions
-----------
A row is a vector with an id of its own, text or int64. Its place is its number in the order of adding; `remove` closes the gaps.
Similarity is higher for nearer rows: the cosine, or the negative Euclidean distance, both after the centring or whitening that the index was
asked for. Equal similarities stand in the order of places. Where fewer than k rows were found, the rest of the answer is padded: id "" (or -1), similarity
-inf, place -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.floating[Any]]
Ids: TypeAlias = NDArray[Any]
Places: TypeAlias = NDArray[np.int64]
Metric: TypeAlias = Literal["cosine", "euclidean"]

METRICS = ("cosine", "euclidean")


class Found(NamedTuple):
    """Answers to q queries, nearest first.

    `ids`, `similarities` (float32) and `places` are (q, k) arrays. Of each query, `candidates` (q,) counts the distinct rows that were looked at, if
    only by their code, and `reranked` (q,) those among whose exact similarities the answer was found; divided by the rows of the index they are fractions.
    """

    ids: Ids
    similarities: NDArray[np.float32]
    places: Places
    candidates: Places
    reranked: Places


class Index(Protocol):
    """Nearest neighbours of vectors among rows that have ids."""

    kind: ClassVar[str]

    @property
    def metric(self) -> Metric:
        """What similarity is."""

    @property
    def dim(self) -> int:
        """Length of the vectors that are added and searched; 0 before the first are."""

    @property
    def ids(self) -> Ids:
        """(n,) ids, by place."""

    @property
    def nbytes(self) -> int:
        """Bytes of all that a search reads: vectors, ids and whatever is kept to find them."""

    def __len__(self) -> int:
        """Rows."""

    def add(self, ids: Sequence[str] | Sequence[int] | Ids, vectors: Vectors) -> None:
        """Add rows. A space that is to be fitted is fitted on the first rows added, and stays.

        Raises
        ------
        DataError
            If an id is there already, empty or negative; a vector has another length, holds NaN or infinity, or (for cosine) is zero.
        """

    def search(self, vectors: Vectors, k: int) -> Found:
        """Find the k most similar rows of each of (q, dim) queries.

        Raises
        ------
        UserError
            If k is below 1 or above the number of rows.
        DataError
            If the queries cannot be compared with the rows.
        """

    def remove(self, ids: Sequence[str] | Sequence[int] | Ids) -> None:
        """Remove rows, at the price of moving those that stay.

        Raises
        ------
        DataError
            If an id is not there.
        """

    def save(self, folder: str | Path) -> None:
        """Write the index as `.npy` arrays and a `key.json`, which comes last."""

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open a saved index; its arrays stay on disk until they are read.

        Raises
        ------
        RunFolderError
            If the folder holds no whole index of this kind and format.
        """
