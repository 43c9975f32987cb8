"""How training says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, float], None]
"""Called with the name of a phase and the share of it that is done."""


def silent(_phase: str, _share: float) -> None:
    """Report no progress."""


@contextmanager
def shown() -> Iterator[Progress]:
    """Show each phase as a bar on stderr while the block runs."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    bars = Bars(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, TaskID] = {}

    def report(phase: str, share: float) -> None:
        if phase not in tasks:
            tasks[phase] = bars.add_task(phase, total=1.0)
        bars.update(tasks[phase], completed=share)

    with bars:
        yield report
