"""``vgm info``, ``vgm test`` and ``vgm phantom`` say what is so, to people and to programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volmicro_codec.format import FileMeta, VgmReader, as_records, encode_file, write_file
from volmicro_codec.format.metadata import Overview
from volmicro_codec.io import read_volume


def test_info_says_what_the_file_holds(vgm: Callable[..., Any], file: Path) -> None:
    ran = vgm("info", "cells.vgm")
    assert (ran.code, ran.err) == (0, "")
    size = file.stat().st_size
    lines = dict(line.split("  ", 1) for line in ran.out.splitlines())
    rows = {k.strip(): v.strip() for k, v in lines.items()}
    assert rows["file"] == "cells.vgm"
    assert rows["volume"] == "CZYX 2 x 6 x 20 x 24 uint16"
    assert rows["voxel size"] == "z 2, y 0.5, x 0.5 µm"
    assert rows["channels"] == "0 DAPI #0000ff, 1 GFP"
    assert rows["made from"] == "cells.ome.tif"
    assert rows["size"] == f"{size} bytes, was 11,520 bytes (11.5 kB)"
    assert rows["ratio"] == f"{11520 / size:.1f}"
    assert rows["primitives"] == "10 Gaussians of 22.00 bytes"
    assert rows["chunks"] == "2 in 1 levels; coding: raw"
    assert rows["quality"] == "psnr 40"


def test_info_says_which_grids_read_less(vgm: Callable[..., Any], file: Path) -> None:
    with VgmReader.open(file) as reader:
        meta, chunks = as_records(reader)
        some = [replace(chunk, level=k) for k, chunk in enumerate(chunks)]
    write_file(file, replace(meta, grid_levels=(1, 0)), some, force=True)
    size = file.stat().st_size
    less = size - len(some[1].payload)
    rows = [line for line in vgm("info", "cells.vgm").out.splitlines() if line.startswith("coarser grids")]
    assert rows == [f"coarser grids  from level 2 on {less} bytes, {100 * less / size:.3g} %"]
    document = json.loads(vgm("info", "--json", "cells.vgm").out)
    assert document["bytes"]["by_grid"] == {"0": size, "1": size, "2": less}


def test_info_says_of_which_grid_an_overview_is(vgm: Callable[..., Any], file: Path) -> None:
    with VgmReader.open(file) as reader:
        meta, chunks = as_records(reader)
        chunks = list(chunks)
    small = replace(meta.info, shape=(1, 2, 2, 5, 6))
    within = encode_file(FileMeta(small, 12.0, meta.images), [])
    write_file(file, replace(meta, overview=Overview(2, within)), chunks, force=True)
    rows = vgm("info", "cells.vgm").out.splitlines()
    assert [r for r in rows if r.startswith("overview")] == [
        f"overview       of level 2, {len(within)} bytes"
    ]
    document = json.loads(vgm("info", "--json", "cells.vgm").out)
    head = document["bytes"]["overhead"]
    assert (document["overview"], document["bytes"]["overview"]) == (2, len(within))
    assert document["bytes"]["by_grid"]["2"] == head


def test_info_as_json_is_one_document_that_agrees_with_the_reader(
    vgm: Callable[..., Any], file: Path
) -> None:
    ran = vgm("info", "--json", "cells.vgm")
    assert (ran.code, ran.err) == (0, "")
    document = json.loads(ran.out)
    with VgmReader.open(file) as reader:
        assert document["file_bytes"] == reader.file_size == file.stat().st_size
        assert document["bytes"]["primitives"] == sum(e.count for e in reader.entries)
    assert document["shape"] == [2, 6, 20, 24]
    assert document["voxel_size"] == {"z": 2.0, "y": 0.5, "x": 0.5}
    assert document["channels"] == [{"name": "DAPI", "color": "#0000ff"}, {"name": "GFP", "color": None}]
    assert document["ratio"] == 11520 / file.stat().st_size
    assert document["quality"] == {"psnr": 40.0}
    assert document["format_version"] == "1.0"


def test_info_of_several_files_as_json_is_still_one_document(vgm: Callable[..., Any], file: Path) -> None:
    ran = vgm("info", "--json", "cells.vgm", "cells.vgm")
    assert [d["file"] for d in json.loads(ran.out)] == ["cells.vgm", "cells.vgm"]


@pytest.mark.parametrize(
    "args",
    ["info none.vgm", "info none.zarr", "info v.npy", "verify v.npy none.vgm", "verify none.npy cells.vgm",
     "encode none.npy -o x.vgm", "encode none.npy -o x.ome.zarr", "encode v.npy -o cells.vgm",
     "finish none.vgm", "finish none.zarr", "pack none.zarr -o x.vgm", "unpack cells.vgm -o x.ome.zarr"],
)  # fmt: skip
def test_what_fails_prints_nothing_on_stdout(
    vgm: Callable[..., Any], file: Path, tmp_path: Path, args: str
) -> None:
    np.save(tmp_path / "v.npy", np.ones((4, 5, 6), np.uint16))
    for flags in ([], ["--json"]):
        ran = vgm(*args.split(), *flags)
        assert ran.code > 1
        assert ran.out == ""
        assert ran.err.count("\n") == 1


def test_what_a_test_finds_is_its_result_and_several_files_are_one_list(
    vgm: Callable[..., Any], file: Path
) -> None:
    ran = vgm("test", "none.vgm", "--json")
    assert (ran.code, json.loads(ran.out)["ok"]) == (3, False)
    ran = vgm("info", "none.vgm", "cells.vgm", "--json")
    assert (ran.code, json.loads(ran.out)[0]) == (3, {"file": "none.vgm", "error": "none.vgm: no such file"})


def test_test_passes_a_sound_file(vgm: Callable[..., Any], file: Path) -> None:
    ran = vgm("test", "cells.vgm")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"cells.vgm: OK, 2 chunks, 10 primitives, {file.stat().st_size} bytes\n"


def test_test_names_the_damage_and_goes_on_to_the_next_file(
    vgm: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged.vgm").write_bytes(damaged)
    ran = vgm("test", "damaged.vgm", "none.vgm", "cells.vgm")
    assert ran.code == 4
    first, second = ran.err.splitlines()
    assert first.startswith("vgm: error: damaged.vgm: chunk 1 at byte ")
    assert "checksum" in first
    assert second == "vgm: error: none.vgm: no such file"
    assert ran.out.startswith("cells.vgm: OK")
    reports = json.loads(vgm("test", "--json", "damaged.vgm", "cells.vgm").out)
    assert [r["ok"] for r in reports] == [False, True]


def test_phantom_makes_the_same_stack_of_the_same_seed(vgm: Callable[..., Any], tmp_path: Path) -> None:
    for name, seed in (("a.tif", 5), ("b.tif", 5), ("c.npy", 6)):
        ran = vgm("phantom", "-o", name, "--shape", "6x20x24", "--seed", seed)
        assert ran.code == 0
        assert ran.err == f"wrote {name}: ZYX 6 x 20 x 24 uint16, 5,760 bytes (5.76 kB) uncompressed\n"
    a, b, c = (read_volume(tmp_path / n) for n in ("a.tif", "b.tif", "c.npy"))
    assert a.info.squeezed_shape == (6, 20, 24)
    np.testing.assert_array_equal(a.data, b.data)
    assert (a.data != c.data).any()


def test_quiet_says_nothing(vgm: Callable[..., Any]) -> None:
    ran = vgm("phantom", "-o", "a.tif", "--shape", "6,20,24", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
