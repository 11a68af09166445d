"""What a .vgm file knows of its volume is in every file that is decoded from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.cli.app import run
from volmicro_codec.io import read_volume
from volmicro_codec.volume import ChannelInfo, VoxelSize

zarr = pytest.importorskip("zarr")

MakeFile = Callable[..., Path]
CHANNELS = (ChannelInfo("DAPI, 405 nm", 0x3060FF), ChannelInfo("β-tubulin", 0xFF8000))


@pytest.mark.parametrize("output", ["v.ome.tif", "v.ome.zarr", "v4.ome.zarr"])
@pytest.mark.parametrize("axes", ["ZYX", "CZYX", "TZYX", "TCZYX"])
@pytest.mark.parametrize(
    ("voxel_size", "unit"), [((2.0, 0.5, 0.25), "nm"), ((None, 0.5, 0.5), "µm"), ((None, None, None), None)]
)
def test_axes_voxel_size_unit_and_channels_come_back(
    make_file: MakeFile, tmp_path: Path, output: str, axes: str, voxel_size: VoxelSize, unit: str | None
) -> None:
    channels = CHANNELS if "C" in axes else CHANNELS[1:]
    path = make_file(axes=axes, voxel_size=voxel_size, unit=unit, channels=channels)
    out = tmp_path / output
    version = ["--zarr-version", "0.4"] if "4" in output else []
    assert run(["decode", str(path), "-o", str(out), *version]) == 0
    again = read_volume(out)
    with volmicro_codec.open(path) as array:
        np.testing.assert_array_equal(np.asarray(again.data).reshape(array.shape), np.asarray(array))
        assert again.info.axes == axes
        assert (again.info.voxel_size, again.info.unit) == (voxel_size, unit)
        assert again.info.channels == channels


def test_a_pyramid_holds_the_files_own_levels_and_says_that_it_is_lossy(
    make_file: MakeFile, tmp_path: Path
) -> None:
    path = make_file(axes="CZYX", shape=(20, 300, 600), n=200, channels=CHANNELS)
    out = tmp_path / "v.ome.zarr"
    assert run(["decode", str(path), "-o", str(out)]) == 0
    group = zarr.open_group(out, mode="r")
    with volmicro_codec.open(path) as array:
        for n in range(3):
            np.testing.assert_array_equal(group[str(n)][:], np.asarray(array.level(n)))
        ratio = array.nbytes / path.stat().st_size
    assert sorted(group.array_keys()) == ["0", "1", "2"]
    note = group.attrs["ome"]["multiscales"][0]["metadata"]["description"]
    assert "lossy" in note
    assert f"{ratio:.1f} times smaller" in note


@pytest.mark.volumes
@pytest.mark.slow
def test_the_real_stacks_go_through_ome_zarr_unchanged(volumes: Path, tmp_path: Path) -> None:
    from volmicro_codec.io import write_volume

    for file in sorted(volumes.glob("*.tif")):
        volume = read_volume(file)
        out = tmp_path / f"{file.name}.ome.zarr"
        write_volume(out, volume.data, volume.info)
        again = read_volume(out)
        np.testing.assert_array_equal(again.data, volume.data)
        assert again.info.axes == volume.info.axes
        assert again.info.voxel_size == pytest.approx(volume.info.voxel_size, nan_ok=True)
        assert again.info.unit == volume.info.unit
        assert again.info.channels == volume.info.channels
