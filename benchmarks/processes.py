"""Memory of processes and of all that they have started, sampled while something runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

INTERVAL = 0.05


class Watch:
    """The most memory that all processes below this one took at once, sampled.

    Parameters
    ----------
    look : callable, optional
        Called at every sample.
    """

    def __init__(self, look: Callable[[], None] = lambda: None) -> None:
        self.peak = 0
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(INTERVAL):
            self.peak = max(self.peak, sum(map(memory, descendants(os.getpid()))))
            self._look()


def descendants(pid: int) -> list[int]:
    """All processes that a process has started, and those that they have."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    out, waiting = [], [pid]
    while waiting:
        found = parents.get(waiting.pop(), [])
        out += found
        waiting += found
    return out


def memory(pid: int) -> int:
    """Bytes of a process, what it shares counted in part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
