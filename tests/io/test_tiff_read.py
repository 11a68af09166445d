"""What a TIFF says is what is read: any axis order, voxel size, channels, one channel without the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from volmicro_codec.errors import UsageError
from volmicro_codec.io import read_volume
from volmicro_codec.volume import ChannelInfo

Voxels = npt.NDArray[Any]


def some_voxels(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> Voxels:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@given(
    order=st.permutations("TCZ"),
    drop=st.sets(st.sampled_from("TC")),
    compression=st.sampled_from([None, "zlib", "lzw"]),
    byteorder=st.sampled_from("<>"),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    bigtiff=st.booleans(),
)
def test_any_stored_order_of_an_ome_tiff_reads_as_tczyx(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[str],
    drop: set[str],
    compression: str | None,
    byteorder: str,
    dtype: str,
    bigtiff: bool,
) -> None:
    path = tmp_path_factory.mktemp("order") / "v.ome.tif"
    sizes = {"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}
    axes = "".join(a for a in order if a not in drop) + "YX"
    voxels = some_voxels(tuple(sizes[a] for a in axes), dtype)
    # ome says it is microscopy: without it tifffile takes three uint8 or uint16 planes for RGB.
    tifffile.imwrite(
        path,
        voxels,
        bigtiff=bigtiff,
        byteorder=byteorder,
        compression=compression,
        photometric="minisblack",
        metadata={"axes": axes},
        ome=True,
    )
    volume = read_volume(path)
    wanted = "".join(a for a in "TCZYX" if a in axes)
    assert volume.info.axes == wanted
    assert volume.info.dtype == np.dtype(dtype)
    assert volume.data.dtype.isnative
    expected = voxels.transpose([axes.index(a) for a in wanted])
    np.testing.assert_array_equal(volume.data.reshape(volume.info.squeezed_shape), expected)
    assert volume.data.shape == volume.info.shape


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", "<>")
def test_a_chosen_channel_and_time_point_are_those_of_the_whole(
    tmp_path: Path, compression: str | None, byteorder: str
) -> None:
    path = tmp_path / "v.ome.tif"
    tifffile.imwrite(
        path,
        some_voxels((2, 4, 3, 5, 6)),
        compression=compression,
        byteorder=byteorder,
        photometric="minisblack",
        metadata={"axes": "TZCYX", "Channel": {"Name": ["DAPI", "GFP", "2"]}},
    )
    whole = read_volume(path)
    one = read_volume(path, channel=1)
    assert one.info.axes == "TZYX"
    assert one.info.channels == (ChannelInfo("GFP"),)
    np.testing.assert_array_equal(one.data, whole.data[:, 1:2])
    both = read_volume(path, channel="GFP", time=1)
    assert both.info.axes == "ZYX"
    np.testing.assert_array_equal(both.data, whole.data[1:2, 1:2])
    np.testing.assert_array_equal(read_volume(path, channel="0").data, whole.data[:, :1])


def test_a_channel_of_a_compressed_stack_is_read_without_the_other_planes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.ome.tif"
    tifffile.imwrite(
        path,
        some_voxels((5, 2, 6, 7)),
        compression="zlib",
        photometric="minisblack",
        metadata={"axes": "ZCYX"},
    )
    read: list[int] = []
    for kind in (tifffile.TiffPage, tifffile.TiffFrame):
        original = kind.asarray

        def counted(self: Any, *args: Any, original: Any = original, **kwargs: Any) -> Voxels:
            read.append(self.index)
            return original(self, *args, **kwargs)  # type: ignore[no-any-return]

        monkeypatch.setattr(kind, "asarray", counted)
    read_volume(path, channel=1)
    assert sorted(set(read)) == [1, 3, 5, 7, 9]


def test_a_plain_stack_is_mapped_not_read(tmp_path: Path) -> None:
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, some_voxels((7, 8, 9)), photometric="minisblack")
    data = read_volume(path).data
    while data.base is not None and not isinstance(data, np.memmap):
        data = data.base  # type: ignore[assignment]
    assert isinstance(data, np.memmap)


def test_a_stack_larger_than_memory_allows_is_unpacked_beside_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volmicro_codec.io.arrange.total_memory", lambda: 1000)
    path = tmp_path / "v.tif"
    voxels = some_voxels((7, 8, 9))
    tifffile.imwrite(path, voxels, photometric="minisblack", compression="zlib")
    data = read_volume(path).data
    np.testing.assert_array_equal(data[0, 0], voxels)
    assert isinstance(data.base, np.memmap) or isinstance(data, np.memmap)


def test_a_stack_without_metadata_has_z_for_its_pages(tmp_path: Path) -> None:
    path = tmp_path / "v.tif"
    voxels = some_voxels((4, 5, 6))
    with tifffile.TiffWriter(path) as tif:
        for plane in voxels:
            tif.write(plane, metadata=None, contiguous=False)
    volume = read_volume(path)
    assert volume.info.axes == "ZYX"
    np.testing.assert_array_equal(volume.data[0, 0], voxels)
    assert volume.info.voxel_size == (None, None, None)
    assert volume.info.unit is None


def test_tiled_volumetric_pages_are_read(tmp_path: Path) -> None:
    path = tmp_path / "v.tif"
    voxels = some_voxels((16, 32, 32))
    tifffile.imwrite(path, voxels, tile=(16, 16, 16), photometric="minisblack", metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_volume(path).data[0, 0], voxels)


@pytest.mark.parametrize(
    ("axes", "expected"), [("QQYX", "CZYX"), ("QQQYX", "TCZYX")], ids=["four axes", "five axes"]
)
def test_unnamed_axes_mean_what_they_mean_for_arrays(tmp_path: Path, axes: str, expected: str) -> None:
    path = tmp_path / "v.tif"
    voxels = some_voxels((2, 5, 4, 5, 6)[-len(axes) :])
    tifffile.imwrite(path, voxels, photometric="minisblack")
    volume = read_volume(path)
    assert volume.info.axes == expected
    np.testing.assert_array_equal(volume.data.reshape(volume.info.squeezed_shape), voxels)


def test_voxel_size_and_channels_of_ome_are_read(tmp_path: Path) -> None:
    path = tmp_path / "v.ome.tif"
    metadata = {
        "axes": "CZYX",
        "PhysicalSizeX": 162.5,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.1625,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 2.0,
        "Channel": {"Name": ["DAPI", "GFP"], "Color": [65535, -16711681 & 0x7FFFFFFF]},
    }
    tifffile.imwrite(path, some_voxels((2, 3, 4, 5)), photometric="minisblack", metadata=metadata)
    info = read_volume(path).info
    assert info.unit == "nm"
    assert info.voxel_size == pytest.approx((2000.0, 162.5, 162.5))
    assert [c.name for c in info.channels] == ["DAPI", "GFP"]
    assert info.channels[0].color == 0x0000FF
    assert info.source_name == "v.ome.tif"


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_voxel_size_of_imagej_is_read(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "v.tif"
    luts = [np.zeros((3, 256), np.uint8), np.zeros((3, 256), np.uint8)]
    luts[0][1] = np.arange(256)
    luts[1][0] = np.arange(256)
    tifffile.imwrite(
        path,
        some_voxels((3, 2, 4, 5)),
        imagej=True,
        resolution=(4.0, 2.0),
        metadata={"axes": "ZCYX", "spacing": 1.5, "unit": unit, "LUTs": luts, "mode": "composite"},
    )
    info = read_volume(path).info
    assert info.axes == "CZYX"
    assert info.unit == "µm"
    assert info.voxel_size == pytest.approx((1.5, 0.5, 0.25))
    assert [c.color for c in info.channels] == [0x00FF00, 0xFF0000]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"channel": 2}, "channel 2 was asked for, the file has 2 (from 0)"),
        ({"channel": -1}, "channel -1 was asked for, the file has 2 (from 0)"),
        ({"time": 1}, "time point 1 was asked for, the file has 1 (from 0)"),
        ({"channel": "RFP"}, "no single channel is called 'RFP'; the file names: DAPI, GFP"),
    ],
)
def test_what_is_not_in_the_file_cannot_be_chosen(tmp_path: Path, asked: Any, said: str) -> None:
    path = tmp_path / "v.ome.tif"
    metadata = {"axes": "CZYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(path, some_voxels((2, 3, 4, 5)), photometric="minisblack", metadata=metadata)
    with pytest.raises(UsageError) as raised:
        read_volume(path, **asked)
    assert str(raised.value) == f"{path}: {said}"


@pytest.mark.volumes
def test_every_real_volume_is_read(volumes: Path) -> None:
    shapes = {p.name: read_volume(p).info.squeezed_shape for p in sorted(volumes.glob("*.tif"))}
    assert shapes
    for name, shape in shapes.items():
        with tifffile.TiffFile(volumes / name) as tif:
            assert sorted(shape) == sorted(tif.series[0].shape)
