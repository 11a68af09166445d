"""Tasks share threads, also those that tasks ask for."""

from __future__ import annotations

import threading

from volmicro_codec.pool import run_in_pool


def test_tasks_that_ask_for_tasks_come_to_an_end() -> None:
    """Of as many threads as there are tasks that wait, whichever number their own tasks name."""
    both = threading.Barrier(2)

    def outer(k: int) -> list[int]:
        both.wait()
        return [sum(run_in_pool(threads, lambda n: n + k, 3)) for threads in (1, 2, 3)]

    assert run_in_pool(2, outer, 2) == [[3] * 3, [6] * 3]
