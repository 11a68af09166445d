"""An output that fits neither disk nor memory is refused before work begins, with the size it would have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from volmicro_codec import room
from volmicro_codec.errors import OutputError
from volmicro_codec.io import arrange
from volmicro_codec.text import size_text

from .conftest import small_file

HUGE = (1, 1 << 29, 1 << 30)


def disk_of(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))


@pytest.mark.parametrize("shape", [HUGE, (1 << 29, 1, 1 << 30), (1 << 20, 1 << 20, 1 << 19)])
@pytest.mark.parametrize("output", ["x.npy", "x.tif", "x.ome.tif", "x.ome.zarr", "-"])
def test_a_small_file_that_declares_a_huge_volume_is_not_decoded(
    vgm: Callable[..., Any], tmp_path: Path, output: str, shape: tuple[int, int, int]
) -> None:
    if output.endswith(".zarr"):
        pytest.importorskip("zarr")
    small_file(tmp_path / "huge.vgm", shape)
    for command in ("decode", "roi"):
        ran = vgm(command, "huge.vgm", "-o", output)
        assert (ran.code, ran.out) == (5, "")
        assert f"{output.replace('-', 'stdout')}" in ran.err
        assert ": would hold 2.31 EB of voxels, and its disk has " in ran.err
        assert ran.err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["huge.vgm"]


def test_parts_and_coarse_grids_of_a_huge_volume_are_decoded(vgm: Callable[..., Any], tmp_path: Path) -> None:
    small_file(tmp_path / "huge.vgm", HUGE)
    assert vgm("roi", "huge.vgm", "--box", ":,:20,:24", "-o", "a.npy").code == 0
    assert vgm("decode", "huge.vgm", "--level", "20", "-o", "b.npy").code == 0
    assert np.load(tmp_path / "a.npy").any()


@pytest.mark.parametrize(("output", "least"), [("x.npy", 11520), ("x.tif", 1152), ("x.ome.zarr", 1152)])
def test_what_fits_is_written_and_what_does_not_leaves_nothing(
    vgm: Callable[..., Any], file: Path, monkeypatch: pytest.MonkeyPatch, output: str, least: int
) -> None:
    if output.endswith(".zarr"):
        pytest.importorskip("zarr")
    disk_of(monkeypatch, least - 1)
    ran = vgm("decode", "cells.vgm", "-o", output)
    assert ran.code == 5
    even = "" if least == 11520 else ", too little even at a tenth of that"
    free = size_text(least - 1)
    assert ran.err == (
        f"vgm: error: {output}: would hold 11.5 kB of voxels, and its disk has {free} free{even}\n"
    )
    assert [p.name for p in file.parent.iterdir()] == ["cells.vgm"]
    disk_of(monkeypatch, least)
    assert vgm("decode", "cells.vgm", "-o", output).code == 0


@pytest.mark.parametrize("output", ["x.npy", "x.tif"])
def test_a_plane_that_memory_cannot_hold_is_refused(
    vgm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    small_file(tmp_path / "wide.vgm", (1, 1 << 22, 1 << 22))
    disk_of(monkeypatch, 1 << 60)
    ran = vgm("decode", "wide.vgm", "-o", output)
    assert ran.code == 5
    assert ran.err.startswith(
        f"vgm: error: {output}: would hold 70.4 TB of voxels, and one plane of it takes 70.4 TB of memory, "
    )


def test_a_phantom_larger_than_memory_is_refused(vgm: Callable[..., Any]) -> None:
    ran = vgm("phantom", "-o", "p.tif", "--shape", "100000,100000,100000")
    assert (ran.code, ran.err.count("\n")) == (5, 1)
    assert "p.tif: would hold 2 PB of voxels, and to make it takes 8 PB of memory, where " in ran.err


def test_voxels_that_go_to_a_temporary_file_are_measured_against_its_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(OutputError, match=r"2\.31 EB of voxels do not fit in memory, .* \(TMPDIR names"):
        arrange.new_voxels((1 << 30, 1 << 30), np.dtype("uint16"))


def test_the_limit_of_a_container_is_all_the_memory_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room.free_memory() > 0
    assert room.total_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(room, "_CGROUPS", str(tmp_path))
    (tmp_path / "memory.max").write_text("max\n")
    without = room.total_memory()
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 250000\ninactive_file 150000\n")
    assert (room.total_memory(), room.free_memory()) == (1_000_000, 750_000)
    assert without > 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("2000000\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("1500000\n")
    assert (room.total_memory(), room.free_memory()) == (2_000_000, 500_000)
