"""Coarse grids of a file with an overview are the overview's voxels and means of them, and read no chunk."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from tests.decoder.models import CountingSource, bricks
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.decoder.overview import means
from volmicro_codec.errors import FormatError, UsageError
from volmicro_codec.format import FileMeta, VgmReader, check_file, encode_file, where_bytes_go
from volmicro_codec.format.metadata import MAX_OVERVIEW_VOXELS, Overview
from volmicro_codec.volume import VolumeInfo

SHAPE = (24, 41, 50)
GRID = 1
MODEL = bricks(SHAPE, brick=24, per_brick=30, dtype="uint16", levels=2)
SMALL = bricks((12, 21, 25), brick=24, per_brick=20, dtype="uint16")
INSIDE = encode_file(SMALL.meta, SMALL.chunks)
DATA = encode_file(replace(MODEL.meta, overview=Overview(GRID, INSIDE)), MODEL.chunks)


def of_shape(shape: tuple[int, ...], axes: str = "ZYX", dtype: str = "uint16", **more: object) -> bytes:
    """A flat file."""
    images = ((7.0, 1.0),) * (shape[0] * shape[1])
    return encode_file(FileMeta(VolumeInfo(shape, np.dtype(dtype), axes), 12.0, images, **more), [])


def test_its_own_grid_is_that_of_the_file_within() -> None:
    with open_vgm(DATA) as array, open_vgm(INSIDE) as inside:
        assert np.array_equal(array.level(GRID)[...], inside[...])
        assert array.level(GRID).origin == (0.5, 0.5, 0.5)
        points = np.random.default_rng(0).uniform(0, 12, (50, 3))
        assert np.array_equal(array.level(GRID).sample(points), inside.sample(points))
        assert np.array_equal(array.level(3).sample(points), inside.level(2).sample(points))


def test_finer_grids_are_those_of_the_chunks() -> None:
    with open_vgm(DATA) as array, open_vgm(encode_file(MODEL.meta, MODEL.chunks)) as plain:
        assert np.array_equal(array[...], plain[...])


@pytest.mark.parametrize("n", [2, 3, 4, 31])
def test_coarser_grids_are_means_of_the_voxels_that_there_are(n: int) -> None:
    step = 1 << (n - GRID)
    with open_vgm(DATA) as array:
        fine, found = array.level(GRID)[...], array.level(n)[...]
        assert found.shape == tuple(-(-a // (1 << n)) for a in SHAPE)
        for at in np.ndindex(found.shape):
            cell = fine[tuple(slice(a * step, (a + 1) * step) for a in at)]
            assert found[at] == np.rint(int(cell.sum()) / cell.size)


def test_means_of_floats_are_not_rounded() -> None:
    found = means(np.arange(12, dtype=np.float32).reshape(1, 3, 4), 2)
    assert found.tolist() == [[[2.5, 4.5], [8.5, 10.5]]]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_box_has_the_bytes_of_the_whole(n: int) -> None:
    with open_vgm(DATA) as array:
        coarse = array.level(n)
        whole = coarse[...]
        for key in (np.s_[1:3, 2:5, 1:6], np.s_[::2, 1::3, ::-2], np.s_[1, ..., 2], np.s_[0:0]):
            assert np.array_equal(coarse[key], whole[key])
        assert np.array_equal(pickle.loads(pickle.dumps(coarse))[...], whole)
        assert np.array_equal(array.level(1).read(level=n - 1) if n > 1 else array.level(1)[...], whole)


def test_no_chunk_is_read_nor_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    from volmicro_codec.format import reader as reading

    monkeypatch.setattr(reading, "FIRST_READ", 64)
    source = CountingSource(DATA)
    with VgmReader.open(source) as reader:
        start = reader.header.payload_start
        open_vgm(reader).level(2)[...]
        assert max(offset + length for offset, length in source.reads) == start
        sizes = where_bytes_go(reader)
        assert (sizes["by_grid"][GRID], sizes["overview"]) == (start, len(INSIDE))
    preview = open_vgm(DATA, budget=start)
    assert preview.chunks_missing == len(MODEL.chunks)
    assert preview.level(2).chunks_missing == 0
    with open_vgm(DATA) as array:
        assert np.array_equal(preview.level(2)[...], array.level(2)[...])


WITHIN = encode_file(replace(SMALL.meta, overview=Overview(3, of_shape((1, 1, 2, 3, 4)))), SMALL.chunks)
WIDE = (1, 1, 2, 2048, 2048)


@pytest.mark.parametrize(
    ("within", "said"),
    [
        (b"", "not a .vgm file"),
        (INSIDE[:-1], "cut short"),
        (WITHIN, "has an overview itself"),
        (of_shape((1, 1, 12, 20, 25)), "expected ZYX"),
        (of_shape((1, 1, 12, 21, 25), dtype="uint8"), "of uint8, expected"),
        (of_shape((1, 1, 12, 21, 25), axes="CZYX"), "expected ZYX"),
    ],
)
def test_what_is_no_overview_is_neither_read_nor_written(within: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        encode_file(replace(MODEL.meta, overview=Overview(GRID, within)), MODEL.chunks)


@pytest.mark.parametrize("grid", [0, 32])
def test_it_is_of_a_coarser_grid(grid: int) -> None:
    with pytest.raises(UsageError, match="overview of grid"):
        encode_file(replace(MODEL.meta, overview=Overview(grid, INSIDE)), MODEL.chunks)


def test_it_holds_so_many_voxels_that_means_of_all_are_soon_made() -> None:
    assert MAX_OVERVIEW_VOXELS < 2 * 2048 * 2048
    info = VolumeInfo((1, 1, 4, 4096, 4096), np.dtype("uint16"))
    meta = FileMeta(info, 12.0, ((7.0, 1.0),), overview=Overview(1, of_shape(WIDE)))
    with pytest.raises(UsageError, match="images of 8388608 voxels"):
        encode_file(meta, [])


def test_damage_within_it_shows_where_it_is_read() -> None:
    place = DATA.index(INSIDE) + len(INSIDE) - 1
    inside = bytearray(INSIDE)
    inside[-1] ^= 1
    data = encode_file(replace(MODEL.meta, overview=Overview(GRID, bytes(inside))), MODEL.chunks)
    assert data[place] != DATA[place]
    with open_vgm(data) as array:
        array[...]
        with pytest.raises(FormatError, match="checksum"):
            array.level(2)[...]
    (error,) = check_file(data)["errors"]
    assert error.startswith("overview: chunk")
