"""Degradations: one file per physical cause. A degradation is what a channel does to sound.

A degradation is a frozen dataclass of settings with units in their names, registered by `@degradation`, and called as::

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio

It returns a new float32 array of the same length (unless `keeps_length` is False), never changes its argument, and takes
all its randomness from `rng`, which the loop seeds by (seed, condition, trial). Every field has a default.

What a degradation may add: `library()`, the versions of what it calls, for the key; and promises that `check_degradation`
measures: `passband_hz`, a pair of frequencies, and `causal = True` for a filter that delays as real ones do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from spoofscope.audio import Audio
from spoofscope.registry import Registry, origin_of


class Degradation(Protocol):
    """Frozen settings that can be called on sound; see the docstring of this module.

    Attributes
    ----------
    name : str
        Set by the decorator.
    version : int
        Raised whenever the same settings would give other samples; part of the key of a score.
    swept : str
        The field that a sweep varies, such as `bitrate_kbps`; the x axis of its figure. Empty where there is none.
    keeps_length : bool
        Whether the answer is as long as the question.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    swept: ClassVar[str]
    keeps_length: ClassVar[bool]

    @property
    def label(self) -> str:
        """A few words for a figure's axis, such as `MP3 32 kb/s`."""
        ...

    def __call__(self, audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """Return the degraded sound."""
        ...


Settings = TypeVar("Settings", bound=type)

degradations: Registry[Callable[..., Degradation]] = Registry("degradation", "spoofscope.degradations")


def degradation(name: str, *, version: int, swept: str = "", keeps_length: bool = True) -> Callable[[Settings], Settings]:
    """Register a frozen dataclass as the degradation called `name`."""

    def register(settings: Settings) -> Settings:
        settings.name, settings.version = name, version  # type: ignore[attr-defined]
        settings.swept, settings.keeps_length = swept, keeps_length  # type: ignore[attr-defined]
        degradations.add(name, settings, origin=origin_of(settings))
        return settings

    return register


def settings_of(degradation: Degradation) -> dict[str, Any]:
    """Return all that decides what a degradation does: its name, version, every field, and its library if it has one."""
    settings: dict[str, Any] = {"name": degradation.name, "version": degradation.version}
    settings |= {field.name: getattr(degradation, field.name) for field in fields(degradation)}  # type: ignore[arg-type]
    library = getattr(degradation, "library", None)
    if library is not None:
        settings["library"] = library()
    return settings
