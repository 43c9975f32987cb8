"""Checks: what every corpus, degradation, detector and embedder must satisfy, callable by a plug-in's own tests."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was checked: what, whether it holds, and what was seen."""

    name: str
    ok: bool
    detail: str
