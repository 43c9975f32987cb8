"""What the nearest trials of a run say of one recording."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spoofscope.errors import UserError
from spoofscope.terminal import print_table, status

if TYPE_CHECKING:
    from spoofscope.retrieval.neighbours.answering import Answer


def neighbours(options: argparse.Namespace) -> int:
    """Answer for one recording, in the terminal and, if asked, as a page."""
    from spoofscope import inventory
    from spoofscope.retrieval.neighbours.answering import Answering

    leave_out = {}
    for text in options.without:
        column, is_there, value = text.partition("=")
        if not (column and is_there):
            raise UserError(f"--without {text}: write COLUMN=VALUE, such as --without speaker=p225")
        leave_out[column] = value
    with status("asking"):
        answering = Answering.load(options.index)
        answer = answering.answer(options.clip, k=options.neighbours, leave_out=leave_out)
    held_by = answering.facts["held_by"]
    print_table(f"{options.clip}, {answer.seconds:.1f} s, among {answering.facts['trials']}", ("", ""), answer.lines)
    columns = ("similarity", "trial", "label", held_by, "speaker", "path")
    print_table(f"nearest by {answering.facts['embedder']}", columns, inventory.neighbour_rows(answer, held_by))
    if options.page:
        print(f"page: {_page(answering.facts, answer, Path(options.page))}")
    return 0


def _page(facts: Mapping[str, Any], answer: Answer, file: Path) -> Path:
    from spoofscope.report.neighbours import write_neighbours

    with status("writing the page"):
        return write_neighbours(answer, facts, file)
