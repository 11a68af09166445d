"""Originals as people have them: planes in a folder, stacks under other names, several images in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from volmicro_codec.format import FileMeta, VgmReader, encode_file
from volmicro_codec.io import read_volume
from volmicro_codec.volume import Volume, VolumeInfo

Run = Callable[..., Any]

STACK = np.random.default_rng(0).integers(90, 110, (6, 16, 20)).astype(np.uint16)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Volume]:
    """The volumes that were encoded, by an encoder that fits nothing."""
    volumes: list[Volume] = []

    def encode(volume: Volume, dest: Any, *_: Any, force: bool = False) -> Any:
        volumes.append(volume)
        images = ((100.0, 1.0),) * (volume.info.shape[0] * volume.info.shape[1])
        data = encode_file(FileMeta(volume.info, 9.0, images), [])
        Path(dest).write_bytes(data)
        scores = dict.fromkeys(("psnr", "psnr_fg", "ssim", "mip_ssim", "occupancy", "seconds"), 1.0)
        return SimpleNamespace(
            bytes=len(data), ratio=1.0, primitives=0, points=0, history=[], remark=None, **scores
        )

    monkeypatch.setattr("volmicro_codec.encoder.encode_volume", encode, raising=False)
    return volumes


def planes(folder: Path) -> Path:
    folder.mkdir()
    for z, plane in enumerate(STACK):
        tifffile.imwrite(folder / f"z{z}.tif", plane, photometric="minisblack", metadata=None)
    return folder


@pytest.mark.parametrize("asked", ["planes", "planes/", "planes/z*.tif"])
def test_a_directory_or_a_pattern_is_one_stack(
    vgm: Run, encoded: list[Volume], tmp_path: Path, asked: str
) -> None:
    planes(tmp_path / "planes")
    ran = vgm("encode", asked, "-o", "v.vgm")
    assert (ran.code, ran.err) == (0, "")
    np.testing.assert_array_equal(encoded[0].data[0, 0], STACK)
    assert vgm("verify", asked, "v.vgm", "--quick", "--min-psnr", "0").code == 0


def test_a_pattern_for_a_directory_of_outputs_is_several_volumes(
    vgm: Run, encoded: list[Volume], tmp_path: Path
) -> None:
    for name in ("a.ome.tif", "b.ome.btf"):
        tifffile.imwrite(tmp_path / name, STACK, photometric="minisblack", ome=True, metadata={"axes": "ZYX"})
    planes(tmp_path / "c.dir")
    assert vgm("encode", "?.*", "--output-dir", "out").code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.vgm", "b.vgm", "c.dir.vgm"]
    assert [v.info.shape for v in encoded] == [(1, 1, 6, 16, 20)] * 3


def test_every_command_that_takes_an_original_takes_its_axes(
    vgm: Run, encoded: list[Volume], tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "t.tif", STACK, imagej=True, metadata={"axes": "TYX"})
    ran = vgm("encode", "t.tif", "-o", "v.vgm")
    assert ran.code == 3
    assert "--axes ZYX takes its T for Z" in ran.err
    assert vgm("encode", "t.tif", "-o", "v.vgm", "--axes", "ZYX").code == 0
    for command in (
        ("verify", "t.tif", "v.vgm", "--quick"),
        ("report", "t.tif", "v.vgm", "-o", "r.html"),
        ("gate", "t.tif", "-o", "g.npz", "--iterations", "1"),
    ):
        assert vgm(*command).code == 3
        ran = vgm(*command, "--axes", "ZYX")
        assert (ran.code, "error" in ran.err) == (0, False)


def test_one_image_of_several_is_encoded_and_compared(
    vgm: Run, encoded: list[Volume], tmp_path: Path
) -> None:
    with tifffile.TiffWriter(tmp_path / "v.ome.tif", ome=True) as out:
        for voxels in (STACK, STACK[:3, :8]):
            out.write(voxels, photometric="minisblack", metadata={"axes": "ZYX"})
    ran = vgm("encode", "v.ome.tif", "-o", "v.vgm")
    assert ran.code == 3
    assert "choose one with --series 0, 1" in ran.err
    assert vgm("encode", "v.ome.tif", "-o", "v.vgm", "--series", "1").code == 0
    assert encoded[0].info.squeezed_shape == (3, 8, 20)
    assert vgm("verify", "v.ome.tif", "v.vgm", "--series", "1", "--quick").code == 0
    assert vgm("verify", "v.ome.tif", "v.vgm", "--series", "0", "--quick").code == 3
    assert vgm("encode", "v.ome.tif", "-o", "w.vgm", "--series", "2").code == 2


@pytest.mark.parametrize("suffix", [".ome.tif", ".npy", ".ome.zarr"])
@pytest.mark.parametrize("axes", ["ZYX", "CZYX", "TZYX", "TCZYX"])
def test_a_region_of_one_plane_is_a_volume_again(
    vgm: Run, encoded: list[Volume], tmp_path: Path, axes: str, suffix: str
) -> None:
    if suffix == ".npy" and axes == "TZYX":
        pytest.skip("npy has no names for axes")
    shape = (2 if "T" in axes else 1, 2 if "C" in axes else 1, 6, 16, 20)
    info = VolumeInfo(shape, np.dtype("uint16"), axes)
    (tmp_path / "v.vgm").write_bytes(
        encode_file(FileMeta(info, 9.0, ((100.0, 1.0),) * (shape[0] * shape[1])), [])
    )
    plane = f"plane{suffix}"
    assert vgm("roi", "v.vgm", "--box", "5:6,:,:", "-o", plane).code == 0
    assert vgm("encode", plane, "-o", "again.vgm").code == 0
    assert (encoded[0].info.axes, encoded[0].info.shape) == (axes, (*shape[:2], 1, 16, 20))
    assert vgm("verify", plane, "again.vgm", "--quick").code == 0
    if axes == "ZYX":
        assert vgm("verify", plane, "again.vgm").code == 0
        assert vgm("report", plane, "again.vgm", "-o", "r.html", "--force").code == 0


def test_a_time_interval_is_shown_and_goes_where_the_voxel_size_goes(
    vgm: Run, encoded: list[Volume], tmp_path: Path
) -> None:
    about = {"axes": "TZYX", "PhysicalSizeX": 0.5, "TimeIncrement": 250.0, "TimeIncrementUnit": "ms"}
    tifffile.imwrite(tmp_path / "t.ome.tif", np.stack([STACK] * 3), photometric="minisblack", metadata=about)
    assert vgm("encode", "t.ome.tif", "-o", "v.vgm").code == 0
    assert "time step    250 ms\n" in vgm("info", "v.vgm").out
    said = json.loads(vgm("info", "v.vgm", "--json").out)
    assert (said["time_interval"], said["time_unit"]) == (250.0, "ms")
    for name in ("out.ome.tif", "out.ome.zarr"):
        assert vgm("decode", "v.vgm", "-o", name).code == 0
        info = read_volume(tmp_path / name).info
        assert (info.time_interval, info.time_unit) == (250.0, "ms")
    assert vgm("export", "v.vgm", "--format", "npz", "-o", "p.npz").code == 0
    with VgmReader.open(tmp_path / "v.vgm") as reader:
        assert reader.meta.info.time_interval == 250.0
    with np.load(tmp_path / "p.npz") as found:
        assert (float(found["time_interval"]), str(found["time_unit"])) == (250.0, "ms")


def test_sizes_without_a_unit_are_shown_and_written_as_pixels(
    vgm: Run, encoded: list[Volume], tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "v.tif", STACK, imagej=True, metadata={"axes": "ZYX", "spacing": 4.0})
    assert vgm("encode", "v.tif", "-o", "v.vgm").code == 0
    assert "voxel size   z 4, y 1, x 1 (unit unknown)\n" in vgm("info", "v.vgm").out
    assert vgm("decode", "v.vgm", "-o", "out.tif").code == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert tif.ome_metadata is not None
        assert 'PhysicalSizeZ="4.0" PhysicalSizeZUnit="pixel"' in tif.ome_metadata


@pytest.mark.parametrize("unit", ["um", "micron", "micrometer", "\u03bcm", "\u00b5m"])
def test_import_takes_any_name_of_a_unit(vgm: Run, tmp_path: Path, unit: str) -> None:
    one = {
        "positions": [[2.0, 2, 2]],
        "scales": [[1.0, 1, 1]],
        "rotations": [[1.0, 0, 0, 0]],
        "intensities": [1.0],
    }
    np.savez(tmp_path / "p.npz", **{k: np.array(v) for k, v in one.items()})
    ran = vgm(
        "import", "p.npz", "-o", "v.vgm", "--shape", "5,6,7", "--dtype", "int16", "--gain", "-300",
        "--voxel-size", "2,0.5,0.5", "--unit", unit,
    )  # fmt: skip
    assert ran.code == 0
    assert vgm("decode", "v.vgm", "-o", "out.tif").code == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert tif.ome_metadata is not None
        assert 'PhysicalSizeXUnit="µm"' in tif.ome_metadata
        assert tif.pages.first.get_resolution("MICROMETER") == pytest.approx((2.0, 2.0))
        assert tif.asarray().dtype == np.int16
        assert tif.asarray().min() == -300
