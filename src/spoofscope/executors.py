"""Where reading and degrading run: this process, worker processes beside the model, or a Ray cluster.

An executor maps a function over items *in order* with a bounded look-ahead, so that memory is set by the batch and the
answer by the items alone.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Protocol, TypeVar

from spoofscope.errors import DataError, MissingExtra
from spoofscope.registry import load_plugin

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Executor(Protocol):
    """Anything that maps a picklable function over items, in order."""

    def imap(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield `function(item)` for each item, in order, looking ahead a few items at most."""
        ...


class Inline:
    """Runs everything in this process."""

    def imap(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield each answer as it is asked for."""
        return map(function, items)


class Workers:
    """Runs in worker processes, which end with this process however it ends."""

    def __init__(self, pool: ProcessPoolExecutor, ahead: int) -> None:
        self._pool = pool
        self._ahead = ahead

    def imap(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield answers in order, keeping a few items under way."""
        waiting: collections.deque[Future[Answer]] = collections.deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(function, item))
                if len(waiting) >= self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process died (killed, or out of memory). What was finished is kept: run the same command again, "
                "with --workers 0 to see the fault in this process."
            ) from error
        finally:
            for future in waiting:
                future.cancel()


class Ray:
    """Runs as Ray tasks, on this machine or on the cluster that RAY_ADDRESS names."""

    def __init__(self, plugins: Sequence[str], ahead: int) -> None:
        self._plugins = tuple(plugins)
        self._ahead = ahead

    def imap(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield answers in order, keeping a few tasks under way."""
        import ray

        plugins = self._plugins
        pickled = pickle.dumps(function)  # as bytes, since it can only be unpickled where the plug-ins are loaded

        @ray.remote  # type: ignore[untyped-decorator,unused-ignore]
        def call(item: Item) -> Answer:
            _load(plugins)
            answer: Answer = pickle.loads(pickled)(item)
            return answer

        waiting: collections.deque[object] = collections.deque()
        for item in items:
            waiting.append(call.remote(item))
            if len(waiting) >= self._ahead:
                yield ray.get(waiting.popleft())
        while waiting:
            yield ray.get(waiting.popleft())


@contextlib.contextmanager
def open_executor(kind: str, *, workers: int, plugins: Sequence[str] = ()) -> Iterator[Executor]:
    """Start an executor and end it.

    Parameters
    ----------
    kind : {"local", "ray"}
        Worker processes of this machine, or Ray.
    workers : int
        Number of processes; 0 for none, -1 for one per core.
    plugins : sequence of str
        Files that each process loads first.
    """
    count = (os.cpu_count() or 1) if workers < 0 else workers
    if kind == "ray":
        try:
            import ray
        except ImportError as error:
            raise MissingExtra("executor = 'ray'", "ray") from error
        started = not ray.is_initialized()
        if started:
            ray.init(num_cpus=None if workers < 0 else max(1, workers), include_dashboard=False, log_to_driver=False)
        try:
            yield Ray(plugins, ahead=2 * max(1, count) + 1)
        finally:
            if started:
                ray.shutdown()
        return
    if count == 0:
        yield Inline()
        return
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(tuple(plugins),))
    try:
        yield Workers(pool, ahead=count + 1)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(plugins: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _load(plugins)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _load(plugins: Sequence[str]) -> None:
    for plugin in plugins:
        load_plugin(plugin)
