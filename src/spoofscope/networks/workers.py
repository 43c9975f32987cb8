"""Share work among threads so that neither their number nor the batch can be seen in the result.

PyTorch's own threads cut one operation into as many parts as there are cores, and the parts' sizes decide how sums are rounded.
Here every operation runs on one thread, and several run side by side: whole recordings where there are enough of them, else
stretches of one recording, which are cut at fixed places.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from spoofscope.errors import RecipeError
from spoofscope.networks.aasist_blocks import Run

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A pool of threads, in each of which PyTorch computes on one thread and without gradients.

    Parameters
    ----------
    threads : int
        How many recordings, or stretches of one, are computed side by side.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = _single_threaded_pool(threads)

    def map(self, compute: Callable[[Item, Run], Result], items: Sequence[Item]) -> list[Result]:
        """Return `compute(item, run)` for each item; `run` shares an item's own stretches among threads that are idle."""
        alone = len(items) - len(items) % self.threads
        futures = [self._pool.submit(_without_gradients, compute, item, in_turn) for item in items[:alone]]
        results = [future.result() for future in futures]
        for item in items[alone:]:
            results.append(self._pool.submit(_without_gradients, compute, item, self._side_by_side).result())
        return results

    def _side_by_side(self, compute: Callable[[int, int], None], stretches: Iterable[tuple[int, int]]) -> None:
        work = _Shared(stretches)
        helpers: list[Future[None]] = []
        for _ in range(self.threads - 1):
            helpers.append(self._pool.submit(_without_gradients, in_turn, compute, work))
        in_turn(compute, work)
        for helper in helpers:
            if not helper.cancel():  # one that no thread was free to start has nothing left to do
                helper.result()


class _Shared:
    """An iterator that several threads may draw from."""

    def __init__(self, items: Iterable[tuple[int, int]]) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return self

    def __next__(self) -> tuple[int, int]:
        with self._lock:
            return next(self._items)


def available_threads() -> int:
    """Return how many threads this process may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checked_threads(threads: int | None, *, name: str) -> int:
    """Return how many threads to compute on: those asked for, or as many as this process may use.

    Raises
    ------
    RecipeError
        If it is less than one.
    """
    if threads is None:
        return available_threads()
    if threads < 1:
        raise RecipeError(f"{name}: threads is {threads}; it must be at least 1")
    return threads


def in_turn(compute: Callable[[int, int], None], stretches: Iterable[tuple[int, int]]) -> None:
    """Call `compute` on each (start, stop), in order."""
    for start, stop in stretches:
        compute(start, stop)


def _without_gradients(compute: Callable[..., Result], *arguments: object) -> Result:
    import torch

    with torch.inference_mode():
        return compute(*arguments)


def _single_threaded_pool(threads: int) -> ThreadPoolExecutor:
    """Start all threads, set each to compute alone, and give the caller's own setting back.

    PyTorch keeps the number per thread, but takes the shared default over a thread's own setting when that thread first
    asks for it: so each thread asks before it sets.
    """
    import torch

    before = torch.get_num_threads()
    started = threading.Barrier(threads + 1)

    def compute_alone() -> None:
        torch.get_num_threads()
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix="spoofscope", initializer=compute_alone)
    for _ in range(threads):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(before)
    return pool
