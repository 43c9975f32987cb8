"""Checks that the degradations run on their own settings, with one wording for all."""

from __future__ import annotations

import math
from collections.abc import Collection

from spoofscope.errors import RecipeError


def require_number(name: str, field: str, value: object, *, low: float, high: float, unit: str) -> None:
    """Raise RecipeError unless `value` is a finite number from `low` to `high`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not low <= float(value) <= high:  # type: ignore[arg-type]
        raise RecipeError(f"{name}: {field} is {value!r}; it must be a number from {low:g} to {high:g} {unit}")


def require_whole(name: str, field: str, value: object, *, low: int, high: int, unit: str) -> None:
    """Raise RecipeError unless `value` is a whole number from `low` to `high`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RecipeError(f"{name}: {field} is {value!r}; it must be a whole number from {low} to {high} {unit}".rstrip())


def require_one_of(name: str, field: str, value: object, choices: Collection[object]) -> None:
    """Raise RecipeError unless `value` is one of a closed set."""
    if isinstance(value, bool) or value not in choices:
        raise RecipeError(f"{name}: {field} is {value!r}; it must be one of {', '.join(str(choice) for choice in choices)}")
