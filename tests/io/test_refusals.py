"""What is not a volume is refused with one clear line, and no damage is read as voxels."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from volmicro_codec.errors import InputError, MissingFileError, VgmError
from volmicro_codec.io import read_volume


def refusal(path: Path) -> str:
    """What is said of a file, without its name."""
    with pytest.raises(InputError) as raised:
        read_volume(path)
    said = str(raised.value)
    assert "\n" not in said
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


def test_a_missing_file_is_also_what_python_calls_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        read_volume(tmp_path / "none.tif")
    assert isinstance(raised.value, MissingFileError)
    assert str(raised.value) == f"{tmp_path / 'none.tif'}: no such file"


@pytest.mark.parametrize(
    ("voxels", "how", "said"),
    [
        (
            np.zeros((8, 9, 3), np.uint8),
            {"photometric": "rgb"},
            "RGB image (3 samples), expected one value a voxel; take one of them first: voxels[..., 0]",
        ),
        (
            np.zeros((5, 8, 9, 4), np.uint8),
            {"photometric": "rgb"},
            "RGB image (4 samples), expected one value a voxel; --axes ZYXC takes its colours for channels",
        ),
        (
            np.zeros((2, 3, 4, 20, 24), np.uint16),
            {"photometric": "rgb", "planarconfig": "separate"},
            "RGB image (4 samples), expected one value a voxel; take one of them first: voxels[..., 0]",
        ),
        (
            np.zeros((8, 9), np.uint8),
            {"photometric": "minisblack"},
            "2-D image (YX 8x9), expected a volume with a Z axis; "
            "--axes ZYX takes it for a stack of one plane",
        ),
        (
            np.zeros((5, 8, 9), np.uint8),
            {"photometric": "minisblack", "metadata": {"axes": "TYX"}},
            "2-D image (TYX 5x8x9), expected a volume with a Z axis; --axes ZYX takes its T for Z, "
            "--axes TZYX takes it for stacks of one plane",
        ),
        (
            np.zeros((5, 8, 9), np.int32),
            {"photometric": "minisblack"},
            "dtype int32 is not supported, expected one of uint8, uint16, float32, int16; "
            "convert it first: voxels.astype('uint16') where all are 0 to 65535, "
            "else voxels.astype('float32')",
        ),
        (
            np.zeros((5, 8, 9), np.float64),
            {"photometric": "minisblack"},
            "dtype float64 is not supported, expected one of uint8, uint16, float32, int16; "
            "convert it first: voxels.astype('float32')",
        ),
        (
            np.zeros((5, 8, 9), np.complex64),
            {"photometric": "minisblack"},
            "dtype complex64 is not supported, expected one of uint8, uint16, float32, int16; "
            "convert it first: abs(voxels).astype('float32')",
        ),
        (
            np.zeros((2, 5, 8, 9), np.uint8),
            {"photometric": "minisblack", "metadata": {"axes": "AZYX"}},
            "axis A of AZYX (2x5x8x9) is none of T, C, Z, Y, X; say what they are with --axes",
        ),
    ],
    ids=[
        "rgb",
        "rgba stack",
        "colours apart",
        "2-d",
        "2-d in time",
        "int32",
        "float64",
        "complex",
        "unknown axis",
    ],
)
def test_tiffs_that_are_no_volumes(tmp_path: Path, voxels: Any, how: dict[str, Any], said: str) -> None:
    tifffile.imwrite(tmp_path / "v.tif", voxels, **how)
    assert refusal(tmp_path / "v.tif") == said


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_values_that_are_not_finite(tmp_path: Path, bad: float, suffix: str) -> None:
    voxels = np.zeros((5, 8, 9), np.float32)
    voxels[3, 4, 5] = bad
    path = tmp_path / f"v{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, voxels, photometric="minisblack")
    else:
        np.save(path, voxels)
    assert (
        refusal(path)
        == "a value that is not finite (NaN or infinity) in plane z 3 of time point 0, channel 0"
    )


def test_several_images_in_one_file(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "v.ome.tif", ome=True) as tif:
        for shape in ((5, 8, 9), (4, 8, 9)):
            tif.write(np.zeros(shape, np.uint8), photometric="minisblack", metadata={"axes": "ZYX"})
    assert refusal(tmp_path / "v.ome.tif") == (
        "holds 2 images (0: Image0 5x8x9, 1: Image1 4x8x9), expected one volume; "
        "choose one with --series 0, 1, ..."
    )


def test_a_file_of_an_ome_tiff_in_several_files_that_lacks_the_others(tmp_path: Path) -> None:
    path = tmp_path / "v.ome.tif"
    tifffile.imwrite(path, np.ones((4, 8, 9), np.uint8), photometric="minisblack", metadata={"axes": "ZYX"})
    data = path.read_bytes()
    path.write_bytes(data.replace(b'SizeZ="4"', b'SizeZ="9"').replace(b'PlaneCount="4"', b'PlaneCount="4"'))
    assert refusal(path) == "its OME-XML promises 9 planes and gives pages to 4"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("v.tif", b"", "is empty (0 bytes)"),
        ("v.tif", b"\x89VGM\r\n\x1a\n" + bytes(64), "not a TIFF file (not a TIFF file: header="),
        ("v.npy", b"", "not a .npy file of numbers, or damaged (No data left in file)"),
        ("v.npy", b"II*\0" + bytes(64), "not a .npy file of numbers, or damaged"),
        ("v.npy", b"\x93NUMPY\1\0v\0{", "not a .npy file of numbers, or damaged (EOF: reading array header"),
        ("v.npy", b"\x93NUMPY\1\0\x0a\0{'descr': (\n", "not a .npy file of numbers, or damaged"),
        ("v.czi", b"ZISRAWFILE", "unknown kind of file, expected one of "),
        ("v", b"", "unknown kind of file, expected one of "),
    ],
)
def test_other_bytes(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name).startswith(said)
    assert "pickle" not in refusal(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
@pytest.mark.parametrize("name", ["v.tif", "v.npy", "v"])
def test_a_pipe_with_a_name(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert refusal(tmp_path / name) == "not a regular file (- reads a pipe)"


def test_a_directory(tmp_path: Path) -> None:
    (tmp_path / "v.tif").mkdir()
    assert (
        refusal(tmp_path / "v.tif") == "a directory without TIFF files, expected a file or one TIFF a plane"
    )


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (
            np.zeros((8, 9), np.uint8),
            "an array of 2 dimensions, expected 3 to 5 (ZYX, CZYX, TCZYX); "
            "--axes ZYX takes it for a stack of one plane",
        ),
        (np.zeros((5, 0, 9), np.uint8), "the volume is empty (shape (5, 0, 9))"),
        (
            np.zeros((5, 8, 9), np.int32),
            "dtype int32 is not supported, expected one of uint8, uint16, float32, int16; "
            "convert it first: voxels.astype('uint16') where all are 0 to 65535, "
            "else voxels.astype('float32')",
        ),
        (
            np.zeros((5, 8, 9), np.float16),
            "dtype float16 is not supported, expected one of uint8, uint16, float32, int16; "
            "convert it first: voxels.astype('float32')",
        ),
    ],
    ids=["2-d", "empty", "int32", "float16"],
)
def test_npy_files_that_are_no_volumes(tmp_path: Path, array: Any, said: str) -> None:
    np.save(tmp_path / "v.npy", array)
    assert refusal(tmp_path / "v.npy") == said


def test_an_npy_of_objects_is_refused_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[[None]]], object), allow_pickle=True)
    assert "not a .npy file of numbers" in refusal(tmp_path / "v.npy")


@pytest.mark.parametrize(("code", "matters"), [(50000, False), (50839, True)])
def test_a_broken_tag_is_damage_where_it_is_one_that_is_read(
    tmp_path: Path, code: int, matters: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "v.tif"
    own = [(code, 1, 20, bytes(20), True)]
    tifffile.imwrite(path, np.ones((4, 8, 9), np.uint8), photometric="minisblack", extratags=own)
    entry = struct.pack("<HHI", code, 1, 20)
    data = path.read_bytes()
    at = data.index(entry) + len(entry)
    path.write_bytes(data[:at] + b"\xf0\xff\xff\xff" + data[at + 4 :])
    if matters:
        assert "invalid value offset" in refusal(path)
    else:
        assert read_volume(path).info.squeezed_shape == (4, 8, 9)
    assert capfd.readouterr() == ("", "")


def stacks() -> dict[str, dict[str, Any]]:
    """Ways in which writers lay out a stack."""
    return {
        "plain": {"photometric": "minisblack"},
        "zlib": {"photometric": "minisblack", "compression": "zlib"},
        "ome": {"photometric": "minisblack", "metadata": {"axes": "ZYX"}, "ome": True},
        "ome zlib": {
            "photometric": "minisblack",
            "metadata": {"axes": "ZYX"},
            "ome": True,
            "compression": "zlib",
        },
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
        "tiled": {"photometric": "minisblack", "tile": (16, 16)},
    }


@pytest.mark.parametrize("kind", list(stacks()))
def test_a_tiff_cut_short_anywhere_is_refused_or_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "v.tif"
    voxels = np.random.default_rng(1).integers(0, 65536, (4, 17, 19), dtype=np.uint16)
    tifffile.imwrite(path, voxels, **stacks()[kind])
    data = path.read_bytes()
    refused = 0
    for length in range(0, len(data), 1 + len(data) // 300):
        path.write_bytes(data[:length])
        try:
            volume = read_volume(path)
        except InputError as e:
            assert str(e).startswith(f"{path}: ")
            refused += 1
        else:
            np.testing.assert_array_equal(volume.data[0, 0], voxels)
    assert refused > 200


@pytest.mark.parametrize("kind", list(stacks()))
def test_a_damaged_tiff_raises_nothing_but_the_projects_errors(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, np.ones((3, 16, 16), np.uint16), **stacks()[kind])
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(2)
    for at in rng.choice(len(data), min(len(data), 250), replace=False):
        damaged = bytearray(data)
        damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_volume(path)
        except VgmError as e:
            assert "\n" not in str(e)
