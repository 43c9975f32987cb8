"""Nearest neighbours among embeddings: one contract (`spoofscope.retrieval.index`), and kinds of index that keep it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from spoofscope.errors import RunFolderError
from spoofscope.retrieval.index import Index

KINDS = {
    "exact": "exact.ExactIndex",
    "lsh": "lsh.LshIndex",
    "sketch": "sketch.SketchIndex",
    "faiss_flat": "libraries_faiss.FaissFlatIndex",
    "faiss_ivf": "libraries_faiss.FaissIvfIndex",
    "faiss_hnsw": "libraries_faiss.FaissHnswIndex",
    "faiss_pq": "libraries_faiss.FaissPqIndex",
    "faiss_lsh": "libraries_faiss.FaissLshIndex",
    "usearch": "libraries_usearch.UsearchIndex",
}
"""Module and class of each kind of index, by the name that its key has."""


def index_class(kind: str) -> type[Index]:
    """Return the class of a kind of index."""
    module, _, name = KINDS[kind].partition(".")
    return cast(type[Index], getattr(import_module(f"{__name__}.{module}"), name))


def open_index(folder: str | Path) -> Index:
    """Open a saved index, whatever its kind.

    Raises
    ------
    RunFolderError
        If the folder holds no whole index of a known kind and format.
    """
    from spoofscope.retrieval.stored import read_key

    kind = read_key(Path(folder))["kind"]
    if kind not in KINDS:
        raise RunFolderError(f"{folder} holds an index of kind '{kind}'; known are {', '.join(KINDS)}")
    return index_class(kind).load(folder)
