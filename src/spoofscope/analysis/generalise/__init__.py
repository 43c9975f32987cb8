"""The stored embeddings of a run into the tables of the report's second part: why it does not generalise.

Every question that a recipe asks is a function that leaves rows in a `Notebook`. One layer is in memory at a time. Findings are about the
stated layer of each embedder, heard clean, under the first head; every other layer, head and condition is there to hold them against.
"""

from __future__ import annotations

from spoofscope.analysis.generalise import controls, foresight, gaps, interventions
from spoofscope.analysis.generalise.conclusions import conclude, exposure_warnings
from spoofscope.analysis.generalise.notebook import Notebook, OnProgress
from spoofscope.audit import Audit


def analyse(audit: Audit, on_progress: OnProgress = lambda task, total, done: None) -> tuple[list[str], list[str]]:
    """Ask every question of a recipe, and write the tables and `analysis.json`.

    Returns
    -------
    (findings, warnings)
        Sentences; a warning is what a reader must see before any figure.
    """
    from threadpoolctl import threadpool_limits

    interventions.require_training(audit.recipe)
    # The two pools of numpy and scipy wait for each other in small products; one thread is faster, and the same on every machine.
    with audit.timed("analyse"), threadpool_limits(1, user_api="blas"):
        book = Notebook(audit)
        _look(book, on_progress)
        gaps.associate_all(book)
        gaps.sweep(book)
        gaps.compare(book)
        contamination = gaps.cross(book)
        controls.of_recordings(book, on_progress)
        unscored = foresight.coverage(book, on_progress)
        foresight.foresee(book)
        plan = interventions.retrain(book, on_progress)
        findings = conclude(book)
        warnings = [*contamination, *exposure_warnings(book.exposure), *unscored]
        book.write(contamination=contamination, plan=plan, findings=findings, warnings=warnings)
    return findings, warnings


def _look(book: Notebook, on_progress: OnProgress) -> None:
    """Go through every layer once, asking all that needs its vectors."""
    for embedder in book.audit.embedders:
        for condition in book.audit.conditions:
            total = len(book.spaces.layers(embedder, condition))
            for space in book.spaces.each(embedder, condition):
                gaps.hold_groups_out(book, space)
                if space.is_clean:
                    gaps.measure_geometry(book, space)
                    controls.probe(book, space)
                    controls.confounds(book, space)
                on_progress(f"{embedder}, {condition.label}", total, 1)
