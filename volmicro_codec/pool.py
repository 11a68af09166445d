"""The threads that work on pieces of an image; which of them does what changes no result."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from .errors import UsageError
from .text import whole_number

MOST_THREADS = 4096
"""That anyone may ask for."""
LEAST_PIECE = 1 << 18
"""Voxels of a pass that are worth handing to a thread: half a millisecond of the quickest passes. With a
thousand small images take 1.2 times as long (`benchmarks/block_choices.py`)."""
PIECES = 8
"""Of a pass for each thread at most, so that none waits long for another."""

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()
_here = threading.local()


def default_threads() -> int:
    """Threads to use: ``VGM_THREADS``, or as many as the process may run on where it is 0, empty or not set.

    Raises
    ------
    UsageError
        Where the variable is no number of threads.
    """
    env = os.environ.get("VGM_THREADS", "").strip()
    number = whole_number(env or "0")
    if number is None or not 0 <= number <= MOST_THREADS:
        raise UsageError(f"VGM_THREADS={env}: expected a whole number, 0 to {MOST_THREADS}")
    if number:
        return number
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pieces_of(voxels: int, threads: int) -> int:
    """Into how many pieces threads had best share a pass over so many voxels; 1 is not at all."""
    return min(PIECES * threads, voxels // LEAST_PIECE) if threads > 1 and voxels >= 2 * LEAST_PIECE else 1


def _pool(threads: int) -> ThreadPoolExecutor:
    key = (os.getpid(), threads)
    with _pools_lock:
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(threads - 1, thread_name_prefix="vgm", initializer=_mark)
        return _pools[key]


def _mark() -> None:
    _here.is_worker = True


class _Pieces:
    """Pieces of work that threads take one by one, until none is left or one failed."""

    def __init__(self, task: Callable[[int], Any], count: int) -> None:
        self._task, self._next = task, iter(range(count))
        self.results: list[Any] = [None] * count
        self.failed: dict[int, Exception] = {}

    def work(self) -> None:
        """Take pieces; several threads do at once."""
        try:
            for k in self._next:
                self.results[k] = self._task(k)
        except Exception as error:
            self.failed[k] = error
        finally:
            self._next = iter(range(0))


def run_in_pool(threads: int, task: Callable[[int], Any], count: int) -> list[Any]:
    """Results of ``task(0) .. task(count - 1)``, in order, on ``threads`` threads, the caller's among them.

    What a task asks for in turn its own thread does: were all threads to wait, none would be left to do it.
    """
    helpers = min(threads, count) - 1
    if helpers < 1 or getattr(_here, "is_worker", False):
        return [task(k) for k in range(count)]
    pieces, pool = _Pieces(task, count), _pool(threads)
    others = [pool.submit(pieces.work) for _ in range(helpers)]
    _here.is_worker = True
    try:
        pieces.work()
    finally:
        _here.is_worker = False
    wait([other for other in others if not other.cancel()])
    if pieces.failed:
        raise pieces.failed[min(pieces.failed)]
    return pieces.results
