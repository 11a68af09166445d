"""Tasks share threads, also those that tasks ask for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from volmicro_codec.errors import UsageError
from volmicro_codec.pool import LEAST_PIECE, PIECES, default_threads, pieces_of, run_in_pool


def test_tasks_that_ask_for_tasks_come_to_an_end() -> None:
    """Of as many threads as there are tasks that wait, whichever number their own tasks name."""
    both = threading.Barrier(2)

    def outer(k: int) -> list[int]:
        both.wait()
        return [sum(run_in_pool(threads, lambda n: n + k, 3)) for threads in (1, 2, 3)]

    assert run_in_pool(2, outer, 2) == [[3] * 3, [6] * 3]


def test_the_caller_works_too_and_results_are_in_order() -> None:
    seen: set[int] = set()

    def task(k: int) -> int:
        seen.add(threading.get_ident())
        time.sleep(0.01)
        return k * k

    assert run_in_pool(3, task, 20) == [k * k for k in range(20)]
    assert threading.get_ident() in seen
    assert 2 <= len(seen) <= 3


def test_the_first_piece_that_fails_is_told_and_no_further_ones_are_begun() -> None:
    begun: list[int] = []
    both = threading.Barrier(2)

    def task(k: int) -> None:
        begun.append(k)
        both.wait()
        raise ValueError(f"piece {k}")

    with pytest.raises(ValueError, match="piece 0"):
        run_in_pool(2, task, 9)
    assert sorted(begun) == [0, 1]


def test_callers_do_not_wait_for_each_other() -> None:
    """While one keeps the threads busy another does its pieces by itself."""
    held = threading.Event()
    with ThreadPoolExecutor(2) as callers:
        slow = callers.submit(run_in_pool, 2, lambda k: held.wait(30), 2)
        time.sleep(0.05)
        assert callers.submit(run_in_pool, 2, lambda k: k, 5).result(10) == list(range(5))
        held.set()
        assert slow.result(10) == [True, True]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_small_passes_are_not_shared_and_large_ones_in_no_more_pieces_than_help(threads: int) -> None:
    assert pieces_of(2 * LEAST_PIECE - 1, threads) == 1
    assert pieces_of(3 * LEAST_PIECE, threads) == (3 if threads > 1 else 1)
    assert pieces_of(1 << 40, threads) == (PIECES * threads if threads > 1 else 1)


@pytest.mark.parametrize("text", ["abc", "-3", "1.5", "5000", "\u00b2"])
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VGM_THREADS", text)
    with pytest.raises(UsageError, match=f"VGM_THREADS={text}: expected a whole number"):
        default_threads()


def test_zero_threads_and_no_number_are_as_if_nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VGM_THREADS", raising=False)
    usual = default_threads()
    for text, threads in (("", usual), ("0", usual), ("3", 3)):
        monkeypatch.setenv("VGM_THREADS", text)
        assert default_threads() == threads
