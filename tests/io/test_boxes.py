"""Of a volume of any size a box is read with no more memory than the box and what on disk holds it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from volmicro_codec.io import open_volume, read_volume, write_volume
from volmicro_codec.volume import Volume

SHAPE = (40, 300, 500)
BOX = (slice(7, 19), slice(100, 140), slice(33, 80))
STEPS = (slice(3, 40, 7), slice(0, 300, 11), slice(5, 500, 13))
ROOM = 2_500_000
"""Bytes: of the volume's 12,000,000, and far more than the box and the strips or tiles around it."""

Writer = Callable[[Path, Any], Path]


def _tiff(**options: Any) -> Writer:
    def write(folder: Path, voxels: Any) -> Path:
        tifffile.imwrite(folder / "v.tif", voxels, **options)
        return folder / "v.tif"

    return write


def _own(name: str) -> Writer:
    def write(folder: Path, voxels: Any) -> Path:
        return write_volume(folder / name, voxels, Volume.from_array(voxels, "ZYX").info)

    return write


def _planes(folder: Path, voxels: Any) -> Path:
    for z, plane in enumerate(voxels):
        tifffile.imwrite(folder / f"z{z:03d}.tif", plane, compression="zlib")
    return folder


def _companion(folder: Path, voxels: Any) -> Path:
    tifffile.imwrite(folder / "v.ome.tif", voxels, ome=True, metadata={"axes": "ZYX"}, compression="zlib")
    text = tifffile.TiffFile(folder / "v.ome.tif").ome_metadata
    assert text is not None
    text = text.replace('<TiffData IFD="0"', '<TiffData FirstZ="0" IFD="0"')
    named = text.replace("</TiffData>", "").replace(
        '" PlaneCount="40"/>', '" PlaneCount="40"><UUID FileName="v.ome.tif">urn:uuid:0</UUID></TiffData>'
    )
    (folder / "v.companion.ome").write_text(named)
    return folder / "v.companion.ome"


def _zarr(folder: Path, voxels: Any) -> Path:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(folder / "v.zarr", shape=voxels.shape, chunks=(16, 32, 32), dtype=voxels.dtype)
    array[...] = voxels
    return folder / "v.zarr"


KINDS: dict[str, Writer] = {
    "npy": _own("v.npy"),
    "Zarr": _zarr,
    "OME-TIFF by strips": _own("v.ome.tif"),
    "TIFF": _tiff(),
    "TIFF of the other byte order": _tiff(byteorder=">"),
    "TIFF by strips": _tiff(compression="zlib", rowsperstrip=16, predictor=True),
    "TIFF by tiles": _tiff(compression="zlib", tile=(64, 48), byteorder=">"),
    "TIFF by tiles, plain": _tiff(tile=(64, 48)),
    "TIFF by tiles of several planes": _tiff(compression="zlib", tile=(8, 64, 48), volumetric=True),
    "OME-TIFF": _tiff(ome=True, metadata={"axes": "ZYX"}),
    "OME-TIFF by tiles": _tiff(ome=True, metadata={"axes": "ZYX"}, compression="zlib", tile=(64, 64)),
    "ImageJ": _tiff(imagej=True, metadata={"axes": "ZYX"}),
    "planes": _planes,
    "OME-XML": _companion,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_is_the_same_and_takes_the_memory_of_a_box(kind: str, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 2000, SHAPE).astype(np.uint16)
    path = KINDS[kind](tmp_path, voxels)
    volume = open_volume(path)
    assert volume.info == read_volume(path).info
    data: Any = volume.data
    for box in (STEPS, BOX):  # what is imported at the first read is not counted
        tracemalloc.start()
        found = data[(0, 0, *box)]
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        np.testing.assert_array_equal(found, voxels[box])
    assert taken < ROOM
    np.testing.assert_array_equal(data[0, 0], voxels)


def test_a_tile_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Sparse files have none where all voxels are zero."""
    voxels = np.zeros((2, 128, 128), np.uint16)
    voxels[:, :60, :50] = 7
    path = tmp_path / "v.tif"
    tiles = [plane[y : y + 64, x : x + 64] for plane in voxels for y in (0, 64) for x in (0, 64)]
    tifffile.imwrite(
        path, (tile if tile.any() else None for tile in tiles),
        shape=voxels.shape, dtype=voxels.dtype, tile=(64, 64), compression="zlib",
    )  # fmt: skip
    data: Any = open_volume(path).data
    np.testing.assert_array_equal(data[0, 0, :, 10:100, 5:90], voxels[:, 10:100, 5:90])
