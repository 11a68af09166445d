"""Buffers are lent to one at a time, and kept by the thread that they were lent to."""

from __future__ import annotations

import threading

import numpy as np

from volmicro_codec.raster.rasteriser import MOST_FREE, Scratch


def test_a_name_is_one_buffer_whatever_its_shape() -> None:
    scratch = Scratch()
    large, small = scratch.of("a", (4, 5, 6)), scratch.of("a", (2, 3))
    assert large.shape == (4, 5, 6)
    assert small.shape == (2, 3)
    assert np.shares_memory(large, small)
    assert not np.shares_memory(large, scratch.of("b", (4, 5, 6)))


def test_what_is_lent_is_lent_to_no_one_else_until_it_is_back() -> None:
    scratch = Scratch()
    one, other = scratch.lend((4, 4, 4)), scratch.lend((4, 4, 4))
    assert not np.shares_memory(one, other)
    scratch.take_back(one)
    again = scratch.lend((2, 4, 4))
    assert np.shares_memory(again, one)
    assert not np.shares_memory(again, scratch.lend((2, 4, 4)))


def test_the_smallest_that_is_large_enough_is_lent() -> None:
    scratch = Scratch()
    lent = [scratch.lend((n,)) for n in (30, 10, 20)]
    for buffer in lent:
        scratch.take_back(buffer)
    assert np.shares_memory(scratch.lend((15,)), lent[2])


def test_other_arrays_are_not_taken_and_few_are_kept() -> None:
    scratch, own = Scratch(), np.zeros((8, 8), np.float32)
    scratch.take_back(own[:4])
    scratch.take_back(own)
    assert not np.shares_memory(scratch.lend((4,)), own)
    lent = [scratch.lend((9,)) for _ in range(2 * MOST_FREE)]
    for buffer in lent:
        scratch.take_back(buffer)
    kept = [scratch.lend((9,)) for _ in lent]
    assert sum(any(np.shares_memory(a, b) for b in lent) for a in kept) == MOST_FREE


def test_threads_have_buffers_of_their_own() -> None:
    scratch, found = Scratch(), []
    mine = scratch.lend((5,))
    scratch.take_back(mine)
    thread = threading.Thread(target=lambda: found.append(scratch.lend((5,))))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, found[0])
