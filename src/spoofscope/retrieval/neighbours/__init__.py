"""The stored embeddings of a run into the tables of the report's third part: what the neighbours of its trials say.

Answers are about the stated layer of each embedder and the first index of the recipe; other conditions and indexes are there to hold them against.
"""

from __future__ import annotations

from spoofscope.audit import Audit
from spoofscope.retrieval.neighbours import questions
from spoofscope.retrieval.neighbours.answering import save_answering
from spoofscope.retrieval.neighbours.conclusions import conclude
from spoofscope.retrieval.neighbours.indexes import measure_indexes
from spoofscope.retrieval.neighbours.notebook import Notebook, OnProgress


def retrieve(audit: Audit, on_progress: OnProgress = lambda task, total, done: None) -> tuple[list[str], list[str]]:
    """Ask the neighbours of every trial, write the tables and `retrieval.json`, and save an index for each embedder.

    Returns
    -------
    (findings, warnings)
        Sentences; a warning says what could not be asked, and why.

    Raises
    ------
    RecipeError
        If no index is named, or one cannot be read.
    NotEnoughTrials
        If a fold leaves fewer trials of a class than `neighbours`.
    """
    from threadpoolctl import threadpool_limits

    with audit.timed("retrieve"), threadpool_limits(1):
        book = Notebook(audit)
        warnings = book.warnings
        for embedder in audit.embedders:
            for condition in audit.conditions:
                space = book.spaces.space(embedder, condition)
                sides = questions.detect(book, space)
                if space.is_clean:
                    attributed = questions.attribute(book, space)
                    held = questions.hold_out(book, space, sides[0])
                    measure_indexes(book, space, sides, attributed, held)
                    warnings += questions.repeat_study(book, space) if book.recipe.reference else []
                    save_answering(book, space, sides[0])
                on_progress(f"neighbours, {embedder}", len(audit.conditions), 1)
        findings = conclude(book)
        book.write(findings, warnings)
    return findings, warnings
