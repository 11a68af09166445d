"""An open file behaves as a numpy array does, and says clearly where it does not."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec
from tests.decoder.models import Model, bricks
from volmicro_codec.decoder import BoundsError, VgmArray
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.errors import MissingFileError, UsageError
from volmicro_codec.format import VgmReader

SHAPE = (10, 21, 33)
MODEL = bricks(SHAPE, per_brick=5)
SERIES = bricks(SHAPE, per_brick=3, images=(2, 3), axes="TCZYX", dtype="uint8", gain=90.0)


@pytest.fixture
def array() -> Iterator[VgmArray]:
    with open_vgm(MODEL.data) as opened:
        yield opened


@pytest.fixture
def series() -> Iterator[VgmArray]:
    with open_vgm(SERIES.data) as opened:
        yield opened


def test_says_what_an_array_says(array: VgmArray) -> None:
    assert (array.shape, array.ndim, array.size, len(array)) == (SHAPE, 3, 6930, 10)
    assert array.dtype == np.uint16
    assert array.nbytes == 2 * 6930
    assert array.axes == "ZYX"
    assert array.voxel_size == (1.0, 0.25, 0.25)
    assert array.info.unit == "µm"
    assert array.meta == MODEL.meta
    assert "ZYX (10, 21, 33) uint16" in repr(array)


def test_axes_that_the_source_had_not_are_not_there(series: VgmArray) -> None:
    assert series.shape == (2, 3, *SHAPE)
    assert series.axes == "TCZYX"
    flat = bricks(SHAPE, per_brick=3, images=(1, 3), axes="CZYX")
    assert open_vgm(flat.data).shape == (3, *SHAPE)


def test_numpy_takes_it_whole(array: VgmArray) -> None:
    whole = array[...]
    assert np.array_equal(np.asarray(array), whole)
    assert np.asarray(array, dtype=np.float32).dtype == np.float32
    assert np.array_equal(np.array(array, copy=True), whole)
    assert np.array_equal(np.stack(list(array)), whole)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="copy"):
        np.array(array, copy=False)


def test_images_are_those_of_their_time_and_channel(series: VgmArray) -> None:
    whole = series[...]
    for t, c in np.ndindex(2, 3):
        value, allowed = SERIES.reference(t=t, c=c)
        stored = np.clip(value, 0, 255)
        assert (np.abs(whole[t, c] - stored) <= 0.5 + allowed).all()
        assert np.array_equal(series.read(time=t, channel=c), whole[t, c])
    assert np.array_equal(series.read(channel=1), whole[:, 1])
    assert np.array_equal(series.read(time=1), whole[1])
    assert np.array_equal(series.read(((2, 5), None, slice(-4, None))), whole[..., 2:5, :, -4:])
    assert np.array_equal(series[1, ::-2, ..., 3], whole[1, ::-2, ..., 3])


def test_slabs_run_over_every_image(series: VgmArray) -> None:
    whole = series[...]
    seen = np.zeros(whole.shape, int)
    for index, slab in series.iter_slabs(4 * 21 * 33):
        assert np.array_equal(slab, whole[index])
        seen[index] += 1
    assert (seen == 1).all()
    assert [slab.shape for _, slab in series.iter_slabs(channel=2, time=0)] == [SHAPE]


def test_reads_into_an_array_of_the_caller(series: VgmArray) -> None:
    room = np.full((2, 4, 21, 5), 7, np.uint8)
    got = series.read(((1, 5), None, (3, 8)), channel=2, out=room)
    assert got is room
    assert np.array_equal(room, series[:, 2, 1:5, :, 3:8])
    for wrong in (
        np.empty((2, 4, 21, 6), np.uint8),
        np.empty((2, 4, 21, 5), np.uint16),
        np.empty((2, 4, 5, 21), np.uint8).swapaxes(2, 3),
    ):
        with pytest.raises(UsageError, match=r"out: expected .* shape \(2, 4, 21, 5\)"):
            series.read(((1, 5), None, (3, 8)), channel=2, out=wrong)
    locked = room.copy()
    locked.flags.writeable = False
    with pytest.raises(UsageError, match="writable"):
        series.read(((1, 5), None, (3, 8)), channel=2, out=locked)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ((0, 0, 0, 0), "3 axes, got 4"),
        (10, "index 10 is out of bounds for axis 0 of 10"),
        ((0, -22), "index -22 is out of bounds for axis 1 of 21"),
        ((..., 0, ...), "only one Ellipsis"),
    ],
)
def test_indices_past_the_end_are_index_errors(array: VgmArray, index: Any, said: str) -> None:
    with pytest.raises(IndexError, match=said):
        array[index]


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ((None, 0), "newaxis"),
        ([1, 2], "expected an int, a slice"),
        (np.array([1, 2]), "arrays of indices"),
        (np.zeros(SHAPE, bool), "masks"),
        (True, "masks"),
        (1.5, "expected an int"),
        ("z", "expected an int"),
        (slice("a", None), "whole numbers"),
        (slice(None, None, 0), "zero"),
    ],
)
def test_what_is_not_a_basic_index_is_refused(array: VgmArray, index: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        array[index]


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (((0, 11), None, None), "box on z: expected 0 <= lo <= hi <= 10, got 0:11"),
        ((None, (-1, 4), None), "box on y"),
        ((None, None, (5, 4)), "box on x"),
        (((0, 1), (0, 1)), "a box is"),
        (5, "a box is"),
        ((3, None, None), r"expected \(lo, hi\)"),
        (((0, 1.5), None, None), r"expected \(lo, hi\)"),
        ((slice(0, 5, 2), None, None), "no step"),
    ],
)
def test_what_is_not_a_box_is_refused(array: VgmArray, box: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        array.read(box)


def test_empty_boxes_are_empty(array: VgmArray) -> None:
    assert array[3:3].shape == (0, 21, 33)
    assert array.read(((2, 2), None, (4, 9))).shape == (0, 21, 5)
    assert array[20:, ::-1].shape == (0, 21, 33)


def test_other_channels_and_times_are_refused(series: VgmArray, array: VgmArray) -> None:
    with pytest.raises(BoundsError, match="channel 3: the volume has channels 0 to 2"):
        series.read(channel=3)
    with pytest.raises(BoundsError, match="time -1"):
        series.read(time=-1)
    with pytest.raises(BoundsError, match="time 1"):
        array.sample([[0, 0, 0]], time=1)


def test_coarser_grids_are_views(array: VgmArray) -> None:
    coarse = array.level(2)
    assert coarse.shape == (3, 6, 9)
    assert coarse.voxel_size == (4.0, 1.0, 1.0)
    assert coarse.origin == (1.5, 1.5, 1.5)
    assert coarse.grid_level == 2
    assert np.array_equal(array.level(1).level(1)[...], coarse[...])
    assert np.array_equal(array.read(((1, 3), None, (2, 8)), level=2), coarse[1:3, :, 2:8])
    assert np.array_equal(array.level(0)[...], array[...])
    assert array.level(31).shape == (1, 1, 1)
    for wrong in (-1, 32):
        with pytest.raises(UsageError, match=f"level {wrong}"):
            array.level(wrong)
    with pytest.raises(UsageError, match="level -1"):
        coarse.level(-1)


def test_coarser_grids_average_the_voxels_they_cover() -> None:
    model = bricks((32, 32, 32), dtype="float32", scales=(2.0, 5.0))
    with open_vgm(model.data) as array:
        mean = array[...].reshape(8, 4, 8, 4, 8, 4).mean(axis=(1, 3, 5))
        coarse = array.level(2)[...]
    inner = (slice(1, -1),) * 3
    assert np.abs(coarse - mean)[inner].max() < 0.03 * np.ptp(mean)


@pytest.mark.parametrize("kind", ["path", "bytes", "url"])
def test_pickles_with_its_source(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.vgm"
    path.write_bytes(MODEL.data)
    source: Any = {"path": path, "bytes": MODEL.data, "url": f"file://{path}"}[kind]
    with open_vgm(source, threads=1, device="cpu") as array:
        again = pickle.loads(pickle.dumps(array))
        assert np.array_equal(again[...], array[...])
        coarse = pickle.loads(pickle.dumps(array.level(1)))
        assert coarse.shape == (5, 11, 17)
        assert np.array_equal(coarse[...], array.level(1)[...])
        again.close()
        coarse.close()


def test_a_file_object_is_read_but_not_pickled() -> None:
    file = io.BytesIO(MODEL.data)
    with open_vgm(file) as array:
        assert np.array_equal(array[...], open_vgm(MODEL.data)[...])
        with pytest.raises(UsageError, match="cannot be pickled"):
            pickle.dumps(array)
    assert not file.closed


def test_a_reader_can_be_opened_as_an_array() -> None:
    with VgmReader.open(MODEL.data) as reader:
        assert np.array_equal(open_vgm(reader)[...], open_vgm(MODEL.data)[...])


def test_closed_means_closed_for_every_view(tmp_path: Path) -> None:
    path = tmp_path / "a.vgm"
    path.write_bytes(MODEL.data)
    with open_vgm(path) as array:
        coarse = array.level(1)
        coarse[...]
    for view in (array, coarse):
        with pytest.raises(UsageError, match="closed"):
            view[0]
        with pytest.raises(UsageError, match="closed"):
            view.sample([[0, 0, 0]])


def test_files_that_are_not_there() -> None:
    with pytest.raises(MissingFileError):
        open_vgm("no/such/file.vgm")
    with pytest.raises(FileNotFoundError):
        volmicro_codec.open("no/such/file.vgm")


def test_dask_computes_the_same_voxels(tmp_path: Path) -> None:
    da = pytest.importorskip("dask.array")
    model: Model = bricks((40, 50, 60))
    path = tmp_path / "a.vgm"
    path.write_bytes(model.data)
    with open_vgm(path) as array:
        lazy = da.from_array(array, chunks=(17, 24, 31))
        assert np.array_equal(lazy.compute(scheduler="threads"), array[...])
        assert np.array_equal(lazy[3:30:4, ::-1, 7].compute(), array[3:30:4, ::-1, 7])
