"""A directory or a pattern of files is one stack, sorted as a person counts, or is asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from volmicro_codec.errors import InputError, MissingFileError, UsageError
from volmicro_codec.io import read_volume

VOXELS = np.random.default_rng(0).integers(0, 60000, (2, 3, 12, 6, 7), dtype=np.uint16)
STACK = VOXELS[0, 0]


def write(folder: Path, planes: dict[str, Any], **how: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, plane in planes.items():
        kind = "rgb" if plane.shape[-1] == 3 else "minisblack"
        tifffile.imwrite(folder / name, plane, photometric=kind, metadata=None, **how)
    return folder


def test_planes_are_sorted_by_their_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path / "planes", {f"scan2_z{z}.tif": STACK[z] for z in range(12)})
    (folder / "notes.txt").write_text("not a plane")
    (folder / "._scan2_z0.tif").write_bytes(b"a Mac's own")
    for asked in (folder, f"{folder}/", f"{folder}/*.tif", f"{folder}/scan2_z[0-9]*.tif"):
        volume = read_volume(asked)
        assert volume.info.axes == "ZYX"
        np.testing.assert_array_equal(volume.data[0, 0], STACK)
    assert read_volume(folder).info.source_name == "planes"


def test_the_first_file_says_what_all_are(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "v", {f"{z:02}.tif": STACK[z] for z in range(12)}, resolution=(20000, 20000),
        resolutionunit="CENTIMETER", compression="zlib",
    )  # fmt: skip
    assert read_volume(folder).info.voxel_size == (None, pytest.approx(0.5), pytest.approx(0.5))


def test_every_other_number_will_do_but_none_may_be_left_out(tmp_path: Path) -> None:
    even = write(tmp_path / "even", {f"z{2 * z}.tif": STACK[z] for z in range(12)})
    np.testing.assert_array_equal(read_volume(even).data[0, 0], STACK)
    gap = write(tmp_path / "gap", {f"z{z:03}.tif": STACK[z] for z in range(12) if z != 5})
    with pytest.raises(InputError, match=r"no file with the number 5 \(z0 to z11\); --axes ZYX takes them"):
        read_volume(gap)
    assert read_volume(gap, axes="ZYX").info.squeezed_shape == (11, 6, 7)


def test_names_that_count_several_things_are_asked_about(tmp_path: Path) -> None:
    planes = {f"t{t}_c{c}_z{z:02}.tif": VOXELS[t, c, z] for t, c, z in np.ndindex(2, 3, 12)}
    folder = write(tmp_path / "v", planes)
    with pytest.raises(InputError, match=r"count 3 things \(t0 to t1, c0 to c2, z0 to z11\).*--axes TCZYX"):
        read_volume(folder)
    volume = read_volume(folder, axes="TCZYX")
    assert volume.info.axes == "TCZYX"
    np.testing.assert_array_equal(volume.data, VOXELS)
    np.testing.assert_array_equal(read_volume(folder, channel=1, axes="TCZYX").data, VOXELS[:, 1:2])
    np.testing.assert_array_equal(read_volume(f"{folder}/t1_c2_*.tif").data[0, 0], VOXELS[1, 2])
    with pytest.raises(
        UsageError, match=r"--axes CZYX: the names of the files count 3 things .*, expected 2"
    ):
        read_volume(folder, axes="CZYX")
    (folder / "t1_c2_z05.tif").unlink()
    with pytest.raises(InputError, match=r"71 files, whose names count .*: some are missing"):
        read_volume(folder, axes="TCZYX")


def test_numbers_that_go_with_the_planes_are_no_axis(tmp_path: Path) -> None:
    folder = write(tmp_path / "v", {f"z{z:02}_at_{1000 + 37 * z * z}ms.tif": STACK[z] for z in range(12)})
    np.testing.assert_array_equal(read_volume(folder).data[0, 0], STACK)


def test_volumes_in_files_are_channels_or_times_as_the_user_says(tmp_path: Path) -> None:
    folder = write(tmp_path / "v", {f"ch{c}.tif": VOXELS[0, c] for c in range(3)})
    with pytest.raises(
        InputError, match=r"files of several planes each \(12x6x7\).*--axes C.YX .*--axes T.YX"
    ):
        read_volume(folder)
    np.testing.assert_array_equal(read_volume(folder, axes="CZYX").data[0], VOXELS[0])
    np.testing.assert_array_equal(read_volume(folder, axes="TZYX").data[:, 0], VOXELS[0])
    with pytest.raises(UsageError, match=r"--axes ZYX: expected those of the files, then the 3 of each file"):
        read_volume(folder, axes="ZYX")


@pytest.mark.parametrize(
    ("planes", "said"),
    [
        ({"dapi.tif": STACK[0], "gfp.tif": STACK[1]}, "differ in more than numbers (dapi.tif, gfp.tif)"),
        ({"z0.tif": STACK[0], "z1.tif": STACK[1, :3]}, "z1.tif is YX 3x7 uint16, z0.tif is YX 6x7 uint16"),
        ({"z0.tif": STACK[0], "z1.tif": STACK[1].astype(np.uint8)}, "z1.tif is YX 6x7 uint8, z0.tif is"),
        ({f"z{z}.tif": np.zeros((6, 7, 3), np.uint8) for z in (0, 1)}, "z0.tif is an RGB image"),
        ({}, "a directory without TIFF files"),
    ],
)
def test_files_that_are_no_stack_are_refused(tmp_path: Path, planes: dict[str, Any], said: str) -> None:
    folder = write(tmp_path / "v", planes)
    with pytest.raises(InputError) as raised:
        read_volume(folder)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_pattern_that_fits_one_file_or_none(tmp_path: Path) -> None:
    write(tmp_path, {"stack1.tif": STACK})
    np.testing.assert_array_equal(read_volume(tmp_path / "stack*.tif").data[0, 0], STACK)
    with pytest.raises(MissingFileError, match=r"none\*\.tif: no file matches"):
        read_volume(tmp_path / "none*.tif")


def test_a_name_with_the_signs_of_a_pattern_is_a_name_where_there_is_such_a_file(tmp_path: Path) -> None:
    write(tmp_path, {"cell [1] (2).tif": STACK})
    np.testing.assert_array_equal(read_volume(tmp_path / "cell [1] (2).tif").data[0, 0], STACK)


def test_something_else_among_the_files_of_a_pattern_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "v", {f"z{z}.tif": STACK[z] for z in range(3)})
    (folder / "z3.tif").write_text("no TIFF")
    with pytest.raises(InputError, match=r"z3\.tif is no TIFF"):
        read_volume(f"{folder}/z*.tif")


@pytest.mark.parametrize("content", [b"", bytes(1216), b"\x93NUMPY"])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_plane_that_is_no_tiff_any_more_is_not_left_out(
    tmp_path: Path, content: bytes, number: int
) -> None:
    folder = write(tmp_path / "planes", {f"z{z}.tif": STACK[z] for z in range(4)})
    (folder / f"z{number}.tif").write_bytes(content)
    (folder / "Thumbs.db").write_bytes(b"not a plane")
    with pytest.raises(InputError, match=f"z{number}.tif is .*expected one TIFF a plane"):
        read_volume(folder)


def test_numbers_with_points_are_not_put_in_a_wrong_order(tmp_path: Path) -> None:
    folder = write(tmp_path / "p", {f"z{z * 0.25:g}.tif": STACK[z] for z in range(6)})
    with pytest.raises(InputError, match="order of the 6 files is not plain"):
        read_volume(folder, axes="ZYX")


def test_the_axes_that_are_proposed_are_taken(tmp_path: Path) -> None:
    folder = write(tmp_path / "p", {f"a{c}.tif": VOXELS[0, c] for c in range(3)})
    with pytest.raises(InputError, match="--axes CZYX") as refused:
        read_volume(folder)
    assert "--axes TZYX" in str(refused.value)
    np.testing.assert_array_equal(read_volume(folder, axes="CZYX").data[0], VOXELS[0])
