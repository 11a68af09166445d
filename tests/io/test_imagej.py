"""ImageJ's TIFF: sizes as ImageJ has them, colours, names, signed voxels, and stacks under other names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from volmicro_codec.errors import InputError, UsageError
from volmicro_codec.io import read_volume
from volmicro_codec.volume import ChannelInfo

VOXELS = np.random.default_rng(0).integers(0, 60000, (3, 8, 9), dtype=np.uint16)


def write(
    path: Path, voxels: Any = VOXELS, axes: str = "ZYX", resolution: Any = (4.0, 2.0), **metadata: Any
) -> Path:
    how = {k: metadata.pop(k) for k in ("resolutionunit",) if k in metadata}
    tifffile.imwrite(
        path, voxels, imagej=True, resolution=resolution, metadata={"axes": axes, **metadata}, **how
    )
    return path


def ramp(r: int, g: int, b: int) -> Any:
    steps = np.arange(256, dtype=np.uint16)
    return np.stack([steps * v // 255 for v in (r, g, b)]).astype(np.uint8)


@pytest.mark.parametrize(
    ("how", "size", "unit"),
    [
        ({"resolution": (1.0, 1.0), "spacing": 4.0}, (4.0, 1.0, 1.0), None),
        ({"resolution": (1.0, 1.0), "spacing": 4.0, "unit": "pixel"}, (4.0, 1.0, 1.0), "pixel"),
        ({"resolution": (1.0, 1.0), "spacing": 4.0, "unit": " "}, (4.0, 1.0, 1.0), None),
        ({"spacing": -1.5, "unit": "um"}, (1.5, 0.5, 0.25), "µm"),
        ({"resolution": (1.0, 1.0), "spacing": 1.5, "unit": "um"}, (1.5, 1.0, 1.0), "µm"),
        ({"resolution": None, "spacing": 1.5}, (1.5, 1.0, 1.0), None),
        ({"unit": "micron"}, (None, 0.5, 0.25), "µm"),
        ({"spacing": 1.5, "unit": "nm", "zunit": "um"}, (1500.0, 0.5, 0.25), "nm"),
        ({"resolution": (1.0, 1.0)}, (None, None, None), None),
        ({"resolution": (72.0, 72.0), "resolutionunit": "INCH", "spacing": 2.0}, (2.0, 1.0, 1.0), None),
        (
            {"resolution": (40000.0, 20000.0), "resolutionunit": "CENTIMETER", "spacing": 1.5, "unit": "um"},
            (1.5, 0.5, 0.25),
            "µm",
        ),
        (
            {"resolution": (40000.0, 20000.0), "resolutionunit": "CENTIMETER", "spacing": 1.5},
            (None, 0.5, 0.25),
            "µm",
        ),
        ({"spacing": 1.5, "unit": "section"}, (1.5, 0.5, 0.25), "section"),
    ],
)
def test_sizes_are_those_that_imagej_shows(tmp_path: Path, how: Any, size: Any, unit: str | None) -> None:
    info = read_volume(write(tmp_path / "v.tif", **how)).info
    assert info.unit == unit
    for got, expected in zip(info.voxel_size, size, strict=True):
        assert got == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("tables", "colors"),
    [
        ([(0, 255, 0)], [0x00FF00]),
        ([(255, 255, 255)], None),
        ([(0, 0, 0)], None),
        ([(255, 0, 0), (0, 0, 255)], [0xFF0000, 0x0000FF]),
        ([(255, 0, 0), (0, 0, 0)], [0xFF0000, None]),
    ],
)
def test_colours_are_the_bright_ends_of_the_tables(tmp_path: Path, tables: Any, colors: Any) -> None:
    count = len(tables)
    voxels = VOXELS if count == 1 else np.stack([VOXELS] * count, axis=1)
    path = write(tmp_path / "v.tif", voxels, "ZYX" if count == 1 else "ZCYX", LUTs=[ramp(*t) for t in tables])
    expected = () if colors is None else tuple(ChannelInfo(None, c) for c in colors)
    assert read_volume(path).info.channels == expected


def test_a_hyperstack_keeps_names_colours_and_time(tmp_path: Path) -> None:
    voxels = np.random.default_rng(1).integers(0, 99, (2, 3, 2, 8, 9), dtype=np.uint8)
    labels = [
        f"c:{c}/2 z:{z}/3 t:{t}/2 - {n}"
        for t in (1, 2)
        for z in (1, 2, 3)
        for c, n in ((1, "DAPI"), (2, "GFP"))
    ]
    path = write(
        tmp_path / "v.tif", voxels, "TZCYX", spacing=1.5, unit="um", mode="composite", finterval=30.0,
        Labels=labels, LUTs=[ramp(0, 0, 255), ramp(0, 255, 0)],
    )  # fmt: skip
    volume = read_volume(path)
    assert volume.info.axes == "TCZYX"
    assert volume.info.channels == (ChannelInfo("DAPI", 0x0000FF), ChannelInfo("GFP", 0x00FF00))
    assert (volume.info.time_interval, volume.info.time_unit) == (30.0, "s")
    np.testing.assert_array_equal(volume.data, voxels.transpose(0, 2, 1, 3, 4))


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_signed_voxels_are_what_imagej_shows(tmp_path: Path, byteorder: Any) -> None:
    signed = (VOXELS.astype(np.int32) - 30000).astype(np.int16)
    kept = (signed.astype(np.int32) + 32768).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "v.tif", kept, imagej=True, byteorder=byteorder,
        metadata={"axes": "ZYX", "cf": 0, "c0": -32768.0, "c1": 1.0, "vunit": "Gray Value"},
    )  # fmt: skip
    volume = read_volume(tmp_path / "v.tif")
    assert volume.info.dtype == np.int16
    np.testing.assert_array_equal(volume.data[0, 0], signed)


def test_another_calibration_leaves_voxels_as_they_are(tmp_path: Path) -> None:
    volume = read_volume(write(tmp_path / "v.tif", cf=0, c0=1.5, c1=2.0))
    assert volume.info.dtype == np.uint16
    np.testing.assert_array_equal(volume.data[0, 0], VOXELS)


@pytest.mark.parametrize("axis", ["T", "C"])
def test_a_stack_under_another_name_is_asked_about_and_then_read(tmp_path: Path, axis: str) -> None:
    path = write(tmp_path / "v.tif", axes=f"{axis}YX", spacing=1.0, unit="um")
    with pytest.raises(InputError) as raised:
        read_volume(path)
    assert f"2-D image ({axis}YX 3x8x9)" in str(raised.value)
    assert f"--axes ZYX takes its {axis} for Z" in str(raised.value)
    volume = read_volume(path, axes="zyx")
    assert (volume.info.axes, volume.info.voxel_size) == ("ZYX", (1.0, 0.5, 0.25))
    np.testing.assert_array_equal(volume.data[0, 0], VOXELS)
    assert read_volume(path, axes=f"{axis}ZYX").info.squeezed_shape == (3, 1, 8, 9)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("ZCYX", "--axes ZCYX does not fit its axes TYX (3x8x9)"),
        ("YX", "--axes YX does not fit its axes TYX (3x8x9)"),
        ("TYX", "--axes TYX (3x8x9) has no Z, expected a volume"),
        ("ZZYX", "axes 'ZZYX': expected letters of T, C, Z, Y, X, each once"),
        ("ZYS", "axes 'ZYS': expected letters of T, C, Z, Y, X, each once"),
        ("ZCX", "axes 'ZCX': expected Y and X among them"),
    ],
)
def test_axes_that_do_not_fit_are_refused(tmp_path: Path, axes: str, said: str) -> None:
    path = write(tmp_path / "v.tif", axes="TYX")
    with pytest.raises(UsageError) as raised:
        read_volume(path, axes=axes)
    assert said in str(raised.value)


def test_colours_are_channels_where_the_user_says_so(tmp_path: Path) -> None:
    rgb = np.random.default_rng(2).integers(0, 255, (5, 8, 9, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "v.tif", rgb, photometric="rgb")
    volume = read_volume(tmp_path / "v.tif", axes="ZYXC")
    np.testing.assert_array_equal(volume.data[0], rgb.transpose(3, 0, 1, 2))


@pytest.mark.parametrize("planar", [False, True])
def test_colours_of_ome_tiff_are_channels_where_the_user_says_so(tmp_path: Path, planar: bool) -> None:
    rgb = np.random.default_rng(2).integers(0, 255, (5, 3, 8, 9), dtype=np.uint8)
    stored, axes = (rgb, "ZSYX") if planar else (rgb.transpose(0, 2, 3, 1), "ZYXS")
    path = tmp_path / "v.ome.tif"
    how = {"planarconfig": "separate"} if planar else {}
    tifffile.imwrite(path, stored, photometric="rgb", ome=True, metadata={"axes": axes}, **how)
    with pytest.raises(
        InputError, match=r"RGB image \(3 samples\).*--axes Z\w*C\w* takes its colours for channels"
    ):
        read_volume(path)
    volume = read_volume(path, axes=axes.replace("S", "C"))
    np.testing.assert_array_equal(volume.data[0], rgb.transpose(1, 0, 2, 3))


def test_more_pages_than_the_text_describes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.tif"
    with tifffile.TiffWriter(path) as out:
        for n, plane in enumerate(np.concatenate([VOXELS, VOXELS])):
            text = "ImageJ=1.53t\nimages=3\nslices=3\n" if n == 0 else None
            out.write(plane, photometric="minisblack", metadata=None, description=text, compression="zlib")
    with pytest.raises(
        InputError, match=r"its ImageJ text describes 3 planes \(ZYX 3x8x9\), the file holds 6"
    ):
        read_volume(path)


def test_a_stack_and_an_overview_are_two_images(tmp_path: Path) -> None:
    path = tmp_path / "v.tif"
    with tifffile.TiffWriter(path) as out:
        out.write(VOXELS, photometric="minisblack", metadata=None)
        out.write(VOXELS[0, ::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
    with pytest.raises(InputError, match=r"holds 2 images .*; choose one with --series 0, 1"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, series=0).data[0, 0], VOXELS)


@pytest.mark.parametrize(
    ("how", "size"),
    [
        ({"resolution": (40000, 20000), "resolutionunit": "CENTIMETER"}, (None, 0.5, 0.25)),
        ({"resolution": (4, 2), "resolutionunit": "MICROMETER"}, (None, 0.5, 0.25)),
        ({"resolution": (1, 1), "resolutionunit": "CENTIMETER"}, (None, None, None)),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, (None, None, None)),
        ({}, (None, None, None)),
    ],
)
def test_plain_tiff_tags_are_believed_in_centimetres(tmp_path: Path, how: Any, size: Any) -> None:
    tifffile.imwrite(tmp_path / "v.tif", VOXELS, photometric="minisblack", metadata=None, **how)
    info = read_volume(tmp_path / "v.tif").info
    assert info.voxel_size == tuple(None if v is None else pytest.approx(v) for v in size)
    assert info.unit == (None if size[2] is None else "µm")
