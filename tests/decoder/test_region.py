"""Any region has exactly the bytes that it has in the whole, however it is asked for."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoder.models import Model, bricks, one_chunk, random_records
from volmicro_codec.decoder import VgmArray, backend, image
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.primitives import RECORD_DTYPE

SHAPE = (41, 53, 70)


def _model() -> Model:
    return bricks(SHAPE, dtype="float32", levels=2, scales=(0.3, 9.0))


ARRAY = open_vgm(_model().data, threads=2)
WHOLE = {level: ARRAY.level(level)[...] for level in (0, 1, 3)}


def _slices(n: int) -> st.SearchStrategy[slice]:
    ends = st.none() | st.integers(-n - 3, n + 3)
    steps = st.none() | st.sampled_from([1, 2, 3, 7, 17, 40, -1, -2, -5])
    return st.builds(slice, ends, ends, steps)


def _indices(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    axes = [_slices(n) | st.integers(-n, n - 1) for n in shape]
    full = st.tuples(*axes)
    short = st.integers(0, len(shape) - 1).flatmap(lambda k: st.tuples(*axes[:k]))
    dotted = st.integers(0, len(shape)).flatmap(
        lambda k: st.tuples(*axes[:k], st.just(Ellipsis), *axes[k + 1 :])
    )
    return full | short | dotted


@given(_indices(SHAPE))
@settings(max_examples=200)
def test_indexing_gives_what_numpy_gives_of_the_whole(index: Any) -> None:
    got, expected = ARRAY[index], WHOLE[0][index]
    assert type(got) is type(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)


@given(st.data(), st.sampled_from([1, 3]))
@settings(max_examples=60)
def test_regions_of_coarser_grids_too(data: st.DataObject, level: int) -> None:
    whole = WHOLE[level]
    index = data.draw(_indices(whole.shape))
    assert np.array_equal(ARRAY.level(level)[index], whole[index])


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_threads_change_nothing(threads: int) -> None:
    with open_vgm(_model().data, threads=threads) as array:
        assert np.array_equal(array[...], WHOLE[0])
        assert np.array_equal(array[3:17, 20:, 5:60:3], WHOLE[0][3:17, 20:, 5:60:3])


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 11])
def test_blocks_change_nothing(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "BLOCK_TILES", limit)
    assert np.array_equal(ARRAY[...], WHOLE[0])
    assert np.array_equal(ARRAY[::-7, 1::5, ::2], WHOLE[0][::-7, 1::5, ::2])


@pytest.mark.parametrize(("pairs", "primitives"), [(50, 1 << 20), (1 << 24, 100), (1, 1)])
def test_blocks_are_parted_where_primitives_are_many(
    pairs: int, primitives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "MAX_PAIRS", pairs)
    monkeypatch.setattr(image, "BLOCK_PRIMITIVES", primitives)
    monkeypatch.setattr(image, "FEW_TILES", 2)
    assert np.array_equal(ARRAY[...], WHOLE[0])
    assert np.array_equal(ARRAY[::3, ::-11, 5:], WHOLE[0][::3, ::-11, 5:])


@given(st.data())
@settings(max_examples=60)
def test_blocks_cover_each_wanted_voxel_once(data: st.DataObject) -> None:
    lo = np.array([data.draw(st.integers(0, 90)) for _ in range(3)], np.int64)
    step = np.array([data.draw(st.integers(1, 50)) for _ in range(3)], np.int64)
    count = np.array([data.draw(st.integers(1, 12)) for _ in range(3)], np.int64)
    limit = data.draw(st.integers(1, 30))
    seen = np.zeros(count, int)
    tiles = set()
    for block, at in image.Block.of(lo, step, count).parts(limit):
        assert int(np.prod(block.grid)) <= max(limit, 1)
        assert (block.lo == lo + at * step).all()
        seen[tuple(slice(a, a + n) for a, n in zip(at, block.count, strict=True))] += 1
        last = block.lo + (block.count - 1) * block.step
        assert (block.lo // block.tile == block.tile_lo).all()
        assert (last // block.tile + 1 == block.tile_hi).all()
        mine = {tuple(block.tile_lo + t) for t in np.ndindex(*block.grid)}
        assert not mine & tiles
        tiles |= mine
    assert (seen == 1).all()


def test_many_threads_may_read_one_array() -> None:
    boxes = [
        (slice(a % 30, a % 30 + 9), slice(a % 41, a % 41 + 12), slice(a % 50, a % 50 + 20))
        for a in range(0, 120, 7)
    ]
    failures: list[BaseException] = []

    def read(array: VgmArray) -> None:
        try:
            for box in boxes:
                assert np.array_equal(array[box], WHOLE[0][box])
        except BaseException as exc:
            failures.append(exc)

    with open_vgm(_model().data, threads=2) as array:
        threads = [threading.Thread(target=read, args=(array,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_can_read_too() -> None:
    assert np.array_equal(ARRAY[5], WHOLE[0][5])
    with pytest.warns(DeprecationWarning, match="fork") if _warns_of_fork() else _nothing():
        pid = os.fork()
    if pid == 0:
        same = np.array_equal(ARRAY[6:30, 2:], WHOLE[0][6:30, 2:])
        os._exit(0 if same else 1)
    assert os.waitpid(pid, 0)[1] == 0


def _warns_of_fork() -> bool:
    return sys.version_info >= (3, 12)


def _nothing() -> Any:
    return nullcontext()


def test_slabs_are_the_volume_in_order() -> None:
    for limit in (1, 70_000, 10**9):
        parts = []
        for index, slab in ARRAY.iter_slabs(limit):
            assert np.array_equal(slab, ARRAY[index])
            assert slab.nbytes <= max(limit, WHOLE[0][0].nbytes)
            parts.append(slab)
        assert np.array_equal(np.concatenate(parts), WHOLE[0])


def test_primitives_that_end_exactly_at_a_tile_do_not_depend_on_the_request() -> None:
    # Half widths of exactly 4 voxels (scale 2, C = 4), centres 4 voxels from tile walls, in any chunk.
    records = np.zeros(6, RECORD_DTYPE)
    records["position"] = [
        [-4, 4, 20],
        [12, -12, -4],
        [-20, 20, -12],
        [4.5, 4, 4],
        [0.5, 0.5, 0.5],
        [8, 8, -28],
    ]
    records["scale"], records["rotation"], records["intensity"] = 2, [1, 0, 0, 0], 1
    model = one_chunk(records, (65, 65, 65), cutoff=4.0)
    with open_vgm(model.data) as array:
        whole = array[...]
        for edge in (15, 16, 17, 31, 32, 33, 47, 48):
            assert np.array_equal(array[edge], whole[edge])
            assert np.array_equal(array[:, edge : edge + 1], whole[:, edge : edge + 1])
            assert np.array_equal(array[..., edge], whole[..., edge])


def test_volumes_far_larger_than_memory_open_and_read() -> None:
    shape = (1 << 20, 1 << 19, 1 << 20)
    records = random_records(20, [10, 10, 10], seed=9)
    model = one_chunk(records, shape, dtype="uint16", base=5.0, gain=100.0)
    z, y, x = (n // 2 for n in shape)
    with open_vgm(model.data) as array:
        assert array.size == 1 << 59
        here = array[z - 20 : z + 20, y - 20 : y + 20, x - 20 : x + 20]
        assert here.max() > 50
        assert np.array_equal(here[3:9, 5, ::3], array[z - 17 : z - 11, y - 15, x - 20 : x + 20 : 3])
        assert array[-1, -1, -1] == 5
        assert array[:: 1 << 18, y, x].tolist() == [5, 5, here[20, 20, 20], 5]
        assert abs(array.sample([[z, y, x]])[0] - float(here[20, 20, 20])) <= 0.51
        coarse = array.level(10)
        assert coarse.shape == (1 << 10, 1 << 9, 1 << 10)
        assert coarse[511:513, 255:257, 511:513].shape == (2, 2, 2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.slow
def test_tiles_with_more_primitives_than_fit_in_memory_are_summed_in_groups(
    dtype: str, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bricks((33, 40, 70), brick=24, per_brick=40, dtype=dtype, levels=2, base=40.0, gain=30.0)
    monkeypatch.setattr(image, "MANY_PRIMITIVES", 150)
    monkeypatch.setattr(image, "GROUP_PRIMITIVES", 37)
    array = open_vgm(model.data, threads=1).level(level)
    whole = array[...]
    for index in ((slice(3, 9), 7, slice(None, None, 5)), (16, slice(1, 40), slice(30, 34)), (0, 0, 0)):
        assert np.array_equal(array[index], whole[index])
    value, slack = model.reference(level)
    low, high = value - slack, value + slack
    if dtype != "float32":
        low, high = (np.clip(np.rint(v), 0, np.iinfo(dtype).max) for v in (low, high))
    assert ((whole >= low) & (whole <= high)).all()
