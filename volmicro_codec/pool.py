"""The threads that work on pieces of an image; which of them does what changes no result."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()
_here = threading.local()


def default_threads() -> int:
    """Threads to use: ``VGM_THREADS``, or as many as the process may run on."""
    env = os.environ.get("VGM_THREADS", "")
    if env.isdigit() and int(env) > 0:
        return int(env)
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _pool(threads: int) -> ThreadPoolExecutor:
    key = (os.getpid(), threads)
    with _pools_lock:
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(threads, thread_name_prefix="vgm", initializer=_mark)
        return _pools[key]


def _mark() -> None:
    _here.is_worker = True


def run_in_pool(threads: int, task: Callable[[int], Any], count: int) -> list[Any]:
    """Results of ``task(0) .. task(count - 1)``, in order, on ``threads`` threads.

    What a task asks for in turn its own thread does: were all threads to wait, none would be left to do it.
    """
    if threads == 1 or count == 1 or getattr(_here, "is_worker", False):
        return [task(k) for k in range(count)]
    return list(_pool(threads).map(task, range(count)))
