"""An OME-Zarr of many images is read an image at a time: what is indexed is read, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volmicro_codec.cli.app import run
from volmicro_codec.errors import InputError, UsageError
from volmicro_codec.io import arrange, chunked, lazy_images, read_volume
from volmicro_codec.io import zarr as zarr_io
from volmicro_codec.io.chunked import ChunkedArray
from volmicro_codec.io.lazy_images import Box, LazyImages
from volmicro_codec.io.zarr_pyramid import write_pyramid
from volmicro_codec.volume import ChannelInfo, Volume

SHAPE = (3, 2, 5, 4, 6)
VOXELS = np.random.default_rng(0).integers(0, 65535, SHAPE, dtype=np.uint16)


class Counting:
    """A Zarr array that writes down which voxels are read of it."""

    def __init__(self, array: Any) -> None:
        self.array, self.read = array, np.zeros(array.shape, int)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.array, name)

    def __getitem__(self, key: Any) -> Any:
        self.read[key] += 1
        return self.array[key]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    """The arrays that are opened while the test runs."""
    opened: list[Counting] = []
    source = zarr_io.ChunkedArray

    def counting(array: Any, places: dict[str, int]) -> Any:
        opened.append(Counting(array))
        return source(opened[-1], places)  # type: ignore[arg-type]

    monkeypatch.setattr(zarr_io, "ChunkedArray", counting)
    return opened


def an_image(path: Path, voxels: Any = VOXELS, **info: Any) -> Path:
    volume = Volume.from_array(voxels, "TCZYX"[-voxels.ndim :], **info)
    write_pyramid(str(path), [voxels], volume.info)
    return path


def test_opening_reads_nothing_and_an_image_reads_itself_once(
    tmp_path: Path, counted: list[Counting]
) -> None:
    volume = read_volume(an_image(tmp_path / "v.zarr"))
    (array,) = counted
    assert array.read.sum() == 0
    assert (volume.info.shape, volume.info.axes) == (SHAPE, "TCZYX")
    for _ in range(2):  # the second time it is kept
        np.testing.assert_array_equal(volume.data[1, 0], VOXELS[1, 0])
        np.testing.assert_array_equal(volume.data[1, 0, 2:4], VOXELS[1, 0, 2:4])
    assert array.read[1, 0].min() == array.read[1, 0].max() == 1
    assert array.read.sum() == VOXELS[1, 0].size


def test_what_is_kept_is_bounded(
    tmp_path: Path, counted: list[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_images, "KEPT_BYTES", 2 * VOXELS[0, 0].nbytes)
    volume = read_volume(an_image(tmp_path / "v.zarr"))
    for _ in range(2):
        for t, c in np.ndindex(3, 2):
            np.testing.assert_array_equal(volume.data[t, c], VOXELS[t, c])
    (array,) = counted
    times = array.read.reshape(6, -1)
    assert (times.min(axis=1) == times.max(axis=1)).all()
    assert times[:, 0].tolist() == [1, 1, 2, 2, 2, 2]


def test_room_is_taken_for_one_image_and_not_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_images, "KEPT_BYTES", 0)
    taken: list[int] = []
    room = arrange.new_voxels

    def counting(shape: tuple[int, ...], dtype: np.dtype) -> Any:
        taken.append(int(np.prod(shape)))
        return room(shape, dtype)

    monkeypatch.setattr(chunked, "new_voxels", counting)
    volume = read_volume(an_image(tmp_path / "v.zarr"), channel=1)
    assert volume.info.shape == (3, 1, 5, 4, 6)
    for t in range(3):
        np.testing.assert_array_equal(volume.data[t, 0], VOXELS[t, 1])
    assert taken == [VOXELS[0, 0].size] * 3


class Chunked:
    """An array that says it has chunks, and refuses what a Zarr array does not take."""

    def __init__(self, array: Any, chunks: tuple[int, ...]) -> None:
        self.array, self.chunks, self.shape, self.dtype = array, chunks, array.shape, array.dtype

    def __getitem__(self, key: Any) -> Any:
        assert all(isinstance(k, int) or (k.start < k.stop and k.step >= 1) for k in key)
        return self.array[key]


ends = st.integers(-8, 8) | st.none()
slices = st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3, -1, -2]))


@given(
    key=st.lists(slices | st.integers(-2, 1), max_size=5).map(tuple),
    dotted=st.integers(0, 5),
    order=st.permutations("TCZYX"),
    chunks=st.tuples(*[st.integers(1, 4)] * 5),
)
def test_any_basic_indexing_equals_the_same_on_the_array(
    key: tuple[Any, ...], dotted: int, order: list[str], chunks: tuple[int, ...]
) -> None:
    stored = VOXELS.transpose(["TCZYX".index(a) for a in order])
    source = ChunkedArray(Chunked(stored, chunks), {a: k for k, a in enumerate(order)})
    lazy = source.images("v", dict(zip("TCZYX", SHAPE, strict=True)), {})
    for index in (key, (*key[:dotted], ..., *key[dotted:])):
        np.testing.assert_array_equal(lazy[index], VOXELS[index])


def test_it_describes_itself_as_arrays_do() -> None:
    def read(t: int, c: int, box: Box) -> Any:
        return VOXELS[t, c][box]

    lazy = LazyImages(SHAPE, VOXELS.dtype, read)
    assert (lazy.ndim, len(lazy), lazy.size, lazy.nbytes) == (5, 3, VOXELS.size, VOXELS.nbytes)
    assert repr(lazy) == "LazyImages(shape=(3, 2, 5, 4, 6), dtype=uint16)"
    np.testing.assert_array_equal(np.asarray(lazy), VOXELS)
    np.testing.assert_array_equal(np.asarray(lazy, np.float32), VOXELS.astype(np.float32))
    for bad in (3, (0, 2), (0,) * 6):
        with pytest.raises(IndexError):
            lazy[bad]
    with pytest.raises(UsageError, match="expected an int, a slice or"):
        lazy["z"]


def test_values_that_are_not_finite_are_found_where_they_are_read(tmp_path: Path) -> None:
    voxels = np.ones((2, 3, 4, 5), np.float32)
    voxels[1, 2, 1, 1] = np.nan
    volume = read_volume(an_image(tmp_path / "v.zarr", voxels))
    np.testing.assert_array_equal(volume.data[0, 0], voxels[0])
    with pytest.raises(InputError, match=r"v\.zarr: a value that is not finite .* plane z 2 of .* channel 1"):
        volume.data[0, 1, 1:]


def test_a_damaged_chunk_is_found_where_it_is_read(tmp_path: Path) -> None:
    path = an_image(tmp_path / "v.zarr")
    (path / "0" / "c" / "2" / "1" / "0" / "0" / "0").write_bytes(b"\0\1\2")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data[2, 0], VOXELS[2, 0])
    with pytest.raises(InputError, match=r"v\.zarr: damaged or unsupported Zarr \("):
        volume.data[2, 1]


@pytest.mark.slow
def test_channels_are_encoded_from_it_and_verified_against_it(tmp_path: Path) -> None:
    z, y, x = np.indices((12, 24, 24))
    blobs = [900 * np.exp(-((z - 6) ** 2 + (y - b) ** 2 + (x - b) ** 2) / 18) for b in (9, 14)]
    voxels = np.stack([100 + b for b in blobs]).astype(np.uint16)
    path = an_image(tmp_path / "v.zarr", voxels, channels=(ChannelInfo("a"), ChannelInfo("b")))
    out = str(tmp_path / "v.vgm")
    assert run(["encode", str(path), "-o", out, "--primitives", "6", "--gate", "none"]) == 0
    assert run(["verify", str(path), out, "--quick", "--min-psnr", "25"]) == 0
