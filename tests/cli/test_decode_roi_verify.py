"""``vgm decode`` and ``vgm roi`` write what the array says, with its metadata; ``vgm verify`` measures it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import volmicro_codec
from volmicro_codec.cli import region
from volmicro_codec.cli.app import run
from volmicro_codec.cli.options import parse_box
from volmicro_codec.evaluate import compare
from volmicro_codec.io import read_volume
from volmicro_codec.report import measures
from volmicro_codec.volume import ChannelInfo

from .conftest import Ran, small_file


def voxels_of(file: Path) -> Any:
    with volmicro_codec.open(file) as array:
        return array[...]


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.npy"])
def test_decode_writes_the_whole_volume(
    vgm: Callable[..., Any], file: Path, tmp_path: Path, name: str
) -> None:
    ran = vgm("decode", "cells.vgm", "-o", name)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"wrote {name}: CZYX 2 x 6 x 20 x 24 uint16, 11,520 bytes (11.5 kB)\n"
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.data[0], voxels_of(file))
    if name.endswith("tif"):
        assert volume.info.axes == "CZYX"
        assert volume.info.voxel_size == (2.0, 0.5, 0.5)
        assert volume.info.unit == "µm"
        assert volume.info.channels == (ChannelInfo("DAPI", 0x0000FF), ChannelInfo("GFP", None))


def test_decode_says_in_the_file_that_it_is_lossy(
    vgm: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    vgm("decode", "cells.vgm", "-o", "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        said = tif.ome_metadata
    ratio = 11520 / file.stat().st_size
    assert f"lossy .vgm file {ratio:.1f} times smaller than the original voxels; PSNR 40.00 dB" in str(said)


def test_decode_in_thin_slabs_gives_the_same_file(
    vgm: Callable[..., Any], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region, "SLAB_BYTES", 4 * 4 * 20 * 24)
    assert vgm("decode", "cells.vgm", "-o", "out.npy").code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), voxels_of(file))


def test_a_channel_is_decoded_alone(vgm: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    for chosen in ("1", "GFP"):
        assert vgm("decode", "cells.vgm", "-o", "out.tif", "--channel", chosen, "--force").code == 0
        volume = read_volume(tmp_path / "out.tif")
        assert volume.info.axes == "ZYX"
        assert [c.name for c in volume.info.channels] == ["GFP"]
        np.testing.assert_array_equal(volume.data[0, 0], voxels_of(file)[1])


def test_a_level_has_larger_voxels(vgm: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    assert vgm("decode", "cells.vgm", "-o", "out.tif", "--level", "1").code == 0
    volume = read_volume(tmp_path / "out.tif")
    assert volume.info.voxel_size == (4.0, 1.0, 1.0)
    with volmicro_codec.open(file) as array:
        np.testing.assert_array_equal(volume.data[0], array.level(1)[...])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("0:3,5:9,2:20", np.s_[0:3, 5:9, 2:20]),
        (":,:,:", np.s_[:, :, :]),
        ("-2:,:-15,20:", np.s_[-2:, :-15, 20:]),
        ("2:99,0:1,0:1", np.s_[2:99, 0:1, 0:1]),
        (" 1 : 2 , 3:4,5: 6 ", np.s_[1:2, 3:4, 5:6]),
    ],
)
def test_roi_is_that_part_of_the_whole(
    vgm: Callable[..., Any], file: Path, tmp_path: Path, text: str, key: Any
) -> None:
    ran = vgm("roi", "cells.vgm", f"--box={text}", "-o", "part.npy")
    assert (ran.code, ran.out) == (0, "")
    np.testing.assert_array_equal(np.load(tmp_path / "part.npy"), voxels_of(file)[(slice(None), *key)])


def test_roi_without_an_output_is_named_after_its_file(
    vgm: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    file.rename(tmp_path / "elsewhere" / "cells.vgm")
    assert vgm("roi", "elsewhere/cells.vgm", "--box", "0:2,0:5,0:5").code == 0
    assert (tmp_path / "cells_roi.tif").is_file()
    again = vgm("roi", "elsewhere/cells.vgm", "--box", "0:2,0:5,0:5")
    assert (again.code, again.err) == (5, "vgm: error: cells_roi.tif: exists already (--force replaces it)\n")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--box", "6:9,:,:"], 2, "cells.vgm: the box 6:9 on z holds no voxel of 0:6"),
        (["--box", ":,5:5,:"], 2, "cells.vgm: the box 5:5 on y holds no voxel of 0:20"),
        (["--box", ":,:,9:3"], 2, "cells.vgm: the box 9:3 on x holds no voxel of 0:24"),
        (["--channel", "2"], 2, "cells.vgm: channel 2 was asked for, the file has 2 (from 0)"),
        (["--channel", "RFP"], 2, "cells.vgm: no single channel is called 'RFP'; the file names: DAPI, GFP"),
        (["--time", "1"], 2, "cells.vgm: time point 1 was asked for, the file has 1 (from 0)"),
        (["--budget", "lots"], 2, "budget 'lots': expected a number of bytes such as 500k, 2M or 1.5MB"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_file(
    vgm: Callable[..., Any], file: Path, tmp_path: Path, args: list[str], code: int, said: str
) -> None:
    ran = vgm("roi", "cells.vgm", *args)
    assert (ran.code, ran.out, ran.err) == (code, "", f"vgm: error: {said}\n")
    assert list(tmp_path.iterdir()) == [file]


def test_a_budget_decodes_from_the_first_bytes_alone(
    vgm: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    budget = file.stat().st_size - 1
    ran = vgm("decode", "cells.vgm", "-o", "out.tif", "--budget", budget)
    assert ran.code == 0
    whole, part = voxels_of(file), read_volume(tmp_path / "out.tif").data[0]
    np.testing.assert_array_equal(part[0], whole[0])
    assert (part[1] == 50).all()  # the second channel's only chunk is beyond the budget: its base is left
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert "a preview without 1 of its chunks" in str(tif.ome_metadata)


def test_a_damaged_chunk_leaves_no_output(vgm: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    ran = vgm("decode", "cells.vgm", "-o", "out.tif")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("vgm: error: cells.vgm: chunk 1 at byte ")
    assert list(tmp_path.iterdir()) == [file]
    sound = vgm("decode", "cells.vgm", "-o", "out.tif", "--channel", "0")
    assert sound.code == 0


def test_verify_finds_no_loss_in_what_was_decoded(vgm: Callable[..., Any], file: Path) -> None:
    vgm("decode", "cells.vgm", "-o", "out.tif")
    ran = vgm("verify", "out.tif", "cells.vgm", "--json", "--min-psnr", "99")
    assert (ran.code, ran.err) == (0, "")
    document = json.loads(ran.out)
    assert document["ok"] is True
    assert document["max_error"] == 0
    assert document["psnr"] is None  # infinite
    assert [(i["time"], i["channel"], i["ssim"]) for i in document["images"]] == [(0, 0, 1.0), (0, 1, 1.0)]


def test_verify_measures_the_loss_and_holds_it_to_the_target(
    vgm: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    voxels = voxels_of(file)
    voxels[1, 2, 10, 10] += 7
    np.save(tmp_path / "original.npy", voxels)
    from volmicro_codec.evaluate import compare

    expected = compare(voxels[1], voxels_of(file)[1])
    ran = vgm("verify", "original.npy", "cells.vgm", "--json")
    document = json.loads(ran.out)
    assert document["max_error"] == 7
    assert document["psnr"] == pytest.approx(expected["psnr"])
    assert document["file_bytes"] == file.stat().st_size
    low = vgm("verify", "original.npy", "cells.vgm", "--min-psnr", "90")
    assert low.code == 7
    assert low.err == f"vgm: error: cells.vgm: PSNR {expected['psnr']:.2f} dB, expected at least 90 dB\n"
    assert "time point 0, channel 1" in low.out
    one = vgm("verify", "original.npy", "cells.vgm", "--channel", "0", "--min-psnr", "90")
    assert (one.code, one.err) == (0, "")


@pytest.mark.parametrize("command", ["verify", "report"])
def test_as_many_threads_compare_as_were_asked_for(
    vgm: Callable[..., Any], file: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    vgm("decode", "cells.vgm", "-o", "out.tif")
    asked = []

    def watched(*images: Any, threads: int, **options: Any) -> Any:
        asked.append(threads)
        return compare(*images, threads=threads, **options)

    monkeypatch.setattr(measures, "compare", watched)
    assert vgm(command, "out.tif", "cells.vgm", "--threads", "3").code == 0
    assert asked == [3, 3]


def test_verify_of_another_volume_says_so(vgm: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.ones((6, 20, 24), np.uint16))
    ran = vgm("verify", "other.npy", "cells.vgm")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == (
        "vgm: error: cells.vgm: holds CZYX 2 x 6 x 20 x 24 uint16, but other.npy is ZYX 6 x 20 x 24 uint16\n"
    )


@pytest.mark.slow
def test_gate_writes_a_gate_that_can_be_read(vgm: Callable[..., Any], tmp_path: Path) -> None:
    from volmicro_codec.encoder.mask.gate import Gate

    vgm("phantom", "-o", "p.npy", "--shape", "16,48,48")
    ran = vgm("gate", "p.npy", "-o", "g.npz", "--gate-tau", "0.25", "--iterations", "5")
    assert (ran.code, ran.err) == (0, "")
    gate = Gate.load(tmp_path / "g.npz")
    assert gate.tau == 0.25
    occupancy = gate.occupancy(read_volume(tmp_path / "p.npy").data[0, 0])
    assert f"occupancy    {100 * occupancy:.2f} %" in ran.out


ends = st.one_of(st.none(), st.integers(-30, 30))


@given(box=st.tuples(*(st.tuples(ends, ends),) * 3))
def test_a_box_means_what_it_means_in_python(
    tmp_path_factory: pytest.TempPathFactory, box: tuple[tuple[int | None, int | None], ...]
) -> None:
    directory = tmp_path_factory.mktemp("box")
    small_file(directory / "f.vgm", (3, 5, 7))
    text = ",".join(f"{'' if a is None else a}:{'' if b is None else b}" for a, b in box)
    assert parse_box(None, None, text) == box  # type: ignore[arg-type]
    part = voxels_of(directory / "f.vgm")[(slice(None), *(slice(a, b) for a, b in box))]
    code = run(["roi", str(directory / "f.vgm"), f"--box={text}", "-o", str(directory / "o.npy")])
    if part.size:
        assert code == 0
        np.testing.assert_array_equal(np.load(directory / "o.npy"), part)
    else:
        assert code == 2


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_decode_writes_an_ome_zarr_pyramid_of_evaluated_levels(
    vgm: Callable[..., Any], tmp_path: Path, version: str
) -> None:
    zarr = pytest.importorskip("zarr")
    small_file(tmp_path / "wide.vgm", (4, 20, 300))
    ran = vgm("decode", "wide.vgm", "-o", "out.ome.zarr", "--zarr-version", version)
    assert (ran.code, ran.out) == (0, "")
    volume = read_volume(tmp_path / "out.ome.zarr")
    assert volume.info.voxel_size == (2.0, 0.5, 0.5)
    np.testing.assert_array_equal(volume.data[0], voxels_of(tmp_path / "wide.vgm"))
    group = zarr.open(str(tmp_path / "out.ome.zarr"), mode="r")
    with volmicro_codec.open(tmp_path / "wide.vgm") as array:
        np.testing.assert_array_equal(group["1"][...], array.level(1)[...])
    again = vgm("decode", "wide.vgm", "-o", "out.ome.zarr")
    assert again.code == 5
    assert "exists already" in again.err


def test_roi_writes_an_ome_zarr_of_its_part(vgm: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    assert vgm("roi", "cells.vgm", "--box", "1:3,2:9,:", "--channel", "0", "-o", "p.ome.zarr").code == 0
    np.testing.assert_array_equal(
        read_volume(tmp_path / "p.ome.zarr").data[0, 0], voxels_of(file)[0, 1:3, 2:9]
    )


@pytest.mark.parametrize("name", ["v.tif", "v.npy", "v.ome.zarr"])
def test_float32_is_not_rounded(vgm: Callable[..., Ran], tmp_path: Path, name: str) -> None:
    if name.endswith(".zarr"):
        pytest.importorskip("zarr")
    small_file(tmp_path / "in.vgm")
    assert vgm("decode", "in.vgm", "-o", "rounded.npy").code == 0
    assert vgm("decode", "in.vgm", "-o", name, "--float32").code == 0
    fine = read_volume(name).data
    rounded = np.load("rounded.npy").reshape(fine.shape)
    assert fine.dtype == np.float32
    assert (fine != rounded).any()
    assert np.abs(fine - rounded).max() <= 0.5
    assert (
        vgm("roi", "in.vgm", "--box=1:4,3:17,5:20", "-o", "part.npy", "--float32", "--channel", 1).code == 0
    )
    np.testing.assert_array_equal(np.load("part.npy"), fine[0, 1, 1:4, 3:17, 5:20])
