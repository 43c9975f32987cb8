"""Detectors trained again, as a plan or the recipe asks: a band masked, noise and codecs heard."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from spoofscope.analysis.generalise.notebook import Notebook, OnProgress
from spoofscope.analysis.retraining.augmentation import Augmentation, run_augmentation
from spoofscope.analysis.retraining.masking import run_masking
from spoofscope.analysis.retraining.plan import read_plan
from spoofscope.errors import RecipeError
from spoofscope.recipe import Recipe

FOLDER = "retraining"


def require_training(recipe: Recipe) -> None:
    """Refuse a recipe that asks for trainings and cannot have them.

    Raises
    ------
    RecipeError
        If it names no corpus to train on, or its plan cannot be read.
    """
    if recipe.plan:
        read_plan(recipe.plan)
    if (recipe.plan or recipe.augment) and not recipe.train_corpus:
        raise RecipeError("train_corpus is empty; name the corpus that detectors are trained on, as plan and augment need one")


def retrain(book: Notebook, on_progress: OnProgress) -> dict[str, Any] | None:
    """Carry out the plan and the augmentation that the recipe asks for; return the plan with its digest, None without one."""
    recipe, other = book.recipe, book.audit.other
    if other is None or not (recipe.plan or recipe.augment):
        return None
    train, test = other.trials, book.audit.data.trials
    folder, progress = book.audit.folder / FOLDER, _in_hundredths(on_progress)
    said = None
    if recipe.plan:
        plan = read_plan(recipe.plan)
        book.add("masking", run_masking(plan, train, test, folder, progress=progress).iter_rows(named=True))
        said = {"digest": plan.digest, "text": json.loads(plan.text)}
    if recipe.augment:
        settings = Augmentation(held_by=book.column, replicates=recipe.replicates, level=recipe.level)
        book.add("augmentation", run_augmentation(settings, train, test, folder, progress=progress).iter_rows(named=True))
    return said


def _in_hundredths(on_progress: OnProgress) -> Callable[[str, float], None]:
    """Tell steps of a hundredth to who counts what is done, from shares."""
    told: dict[str, int] = {}

    def report(phase: str, share: float) -> None:
        done = round(100 * share)
        on_progress(phase, 100, done - told.get(phase, 0))
        told[phase] = done

    return report
