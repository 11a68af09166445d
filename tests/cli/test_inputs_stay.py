"""No command replaces what it reads, under whatever name that stands as its output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from volmicro_codec.cli import same_file

ROOT = Path(__file__).resolve().parents[2]

# A command, its input, and an output of its kind; the input is given the output's name.
COMMANDS = [
    (["export", "IN", "--format", "npz", "-o", "OUT"], "cells.vgm", "x.vgm"),
    (["export", "IN", "--format", "csv", "-o", "OUT"], "cells.vgm", "x"),
    (["decode", "IN", "-o", "OUT"], "cells.vgm", "x.tif"),
    (["decode", "IN", "-o", "OUT"], "cells.vgm", "x.npy"),
    (["roi", "IN", "-o", "OUT"], "cells.vgm", "x.ome.tif"),
    (["preview", "IN", "-o", "OUT"], "cells.vgm", "x.png"),
    (["report", "IN", "cells.vgm", "-o", "OUT"], "v.tif", "x.html"),
    (["report", "v.tif", "IN", "-o", "OUT"], "cells.vgm", "x.html"),
    (["encode", "IN", "-o", "OUT"], "v.tif", "x.vgm"),
    (["encode", "v.tif", "-o", "OUT", "--config", "IN"], "set.toml", "x"),
    (["encode", "v.tif", "-o", "OUT", "--gate-file", "IN"], "gate.npz", "x"),
    (["encode", "IN", "-o", "y.vgm", "--save-history", "OUT"], "v.tif", "x.json"),
    (["encode", "IN", "-o", "y.vgm", "--save-params", "OUT"], "v.tif", "x"),
    (["gate", "IN", "-o", "OUT"], "v.tif", "x.npz"),
    (["import", "IN", "-o", "OUT"], "gate.npz", "x.vgm"),
    (["import", "gate.npz", "--like", "IN", "-o", "OUT"], "cells.vgm", "x.vgm"),
]


def the_same(path: Path, other: Path) -> None:
    shutil.copy(path, other)
    path.unlink()
    path.symlink_to(other)


NAMES = {
    "symbolic link": lambda path, other: other.symlink_to(path),
    "the input is a link": the_same,
    "hard link": lambda path, other: os.link(path, other),
}


@pytest.fixture
def inputs(tmp_path: Path, file: Path) -> Path:
    tifffile.imwrite(tmp_path / "v.tif", np.ones((4, 5, 6), np.uint16), photometric="minisblack")
    (tmp_path / "set.toml").write_text("ratio = 100\n")
    np.savez(tmp_path / "gate.npz", x=np.ones(3))
    return tmp_path


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize(("args", "source", "target"), COMMANDS, ids=[" ".join(c[0]) for c in COMMANDS])
def test_an_output_that_is_an_input_under_another_name_is_refused(
    vgm: Callable[..., Any], inputs: Path, args: list[str], source: str, target: str, kind: str
) -> None:
    NAMES[kind](inputs / source, inputs / target)
    before = {p.name: p.read_bytes() for p in inputs.iterdir()}
    for out in (target, str(inputs / target), f"sub/../{target}"):
        (inputs / "sub").mkdir(exist_ok=True)
        ran = vgm(*({"IN": source, "OUT": out}.get(a, a) for a in args), "--force")
        assert (ran.code, ran.out) == (5, "")
        assert ran.err == f"vgm: error: {out}: is the input {source}, and an input is never replaced\n"
    (inputs / "sub").rmdir()
    assert {p.name: p.read_bytes() for p in inputs.iterdir()} == before


@pytest.mark.parametrize("args", [["export", "--format", "npz"], ["decode"], ["roi"], ["preview"]])
def test_the_very_name_of_the_input_is_refused(vgm: Callable[..., Any], file: Path, args: list[str]) -> None:
    before = file.read_bytes()
    ran = vgm(args[0], file.name, *args[1:], "-o", file.name, "--force")
    assert (ran.code, file.read_bytes()) == (5, before)
    assert ran.err == "vgm: error: cells.vgm: is the input cells.vgm, and an input is never replaced\n"


def test_the_name_that_an_output_has_by_default_is_no_exception(vgm: Callable[..., Any], file: Path) -> None:
    file.with_name("cells_roi.tif").hardlink_to(file)
    ran = vgm("roi", "cells.vgm", "--force")
    assert ran.err == "vgm: error: cells_roi.tif: is the input cells.vgm, and an input is never replaced\n"


def test_a_url_of_a_local_file_is_that_file(vgm: Callable[..., Any], file: Path) -> None:
    before = file.read_bytes()
    for url in (file.as_uri(), f"local://{file}", f"simplecache::{file.as_uri()}"):
        ran = vgm("export", url, "--format", "npz", "-o", "cells.vgm", "--force")
        assert (ran.code, file.read_bytes()) == (5, before)


def test_of_several_volumes_none_is_replaced(vgm: Callable[..., Any], inputs: Path) -> None:
    (inputs / "out").mkdir()
    shutil.move(inputs / "v.tif", inputs / "out" / "v.vgm")
    (inputs / "v.tif").symlink_to("out/v.vgm")
    before = (inputs / "v.tif").read_bytes()
    ran = vgm("encode", "*.tif", "--output-dir", "out", "--force")
    assert ran.code == 5
    assert ran.err.endswith("v.vgm: is the input v.tif, and an input is never replaced\n")
    assert (inputs / "v.tif").read_bytes() == before


def test_the_files_of_a_pattern_are_inputs(vgm: Callable[..., Any], inputs: Path) -> None:
    os.link(inputs / "v.tif", inputs / "g.npz")
    ran = vgm("gate", "?.tif", "-o", "g.npz", "--force")
    assert ran.code == 5
    assert ran.err == "vgm: error: g.npz: is the input ?.tif, and an input is never replaced\n"


def test_two_outputs_cannot_be_one_file(vgm: Callable[..., Any], inputs: Path) -> None:
    for more in (["--save-params", "x"], ["--save-history", "sub/../x"]):
        (inputs / "sub").mkdir(exist_ok=True)
        ran = vgm("encode", "v.tif", "-o", "x", *more)
        assert (ran.code, ran.out) == (5, "")
        assert ran.err == f"vgm: error: {more[1]}: is named for two outputs\n"


def test_a_directory_that_holds_an_input_is_not_replaced(vgm: Callable[..., Any], file: Path) -> None:
    pytest.importorskip("zarr")
    assert vgm("decode", "cells.vgm", "-o", "v.ome.zarr").code == 0
    shutil.copy(file, file.with_name("v.ome.zarr") / "kept.vgm")
    for url in ("v.ome.zarr", file.with_name("v.ome.zarr").as_uri()):
        ran = vgm("decode", "v.ome.zarr/kept.vgm", "-o", url, "--force")
        assert ran.code == 5
        assert ran.err.endswith(": holds the input v.ome.zarr/kept.vgm, and an input is never replaced\n")


def test_a_part_of_an_input_directory_is_not_replaced(vgm: Callable[..., Any], file: Path) -> None:
    pytest.importorskip("zarr")
    assert vgm("decode", "cells.vgm", "-o", "v.ome.zarr").code == 0
    (chunk, *_) = [p for p in Path("v.ome.zarr/0").rglob("*") if p.is_file() and not p.suffix]
    before = chunk.read_bytes()
    ran = vgm("encode", "v.ome.zarr", "-o", chunk, "--force")
    assert (ran.code, chunk.read_bytes()) == (5, before)
    assert ran.err.endswith(": is part of the input v.ome.zarr, and an input is never replaced\n")
    same_file.refuse_inputs("v.ome.zarr/new.vgm", ["v.ome.zarr"])


def test_a_redirected_stream_is_the_file_behind_it(file: Path) -> None:
    before = file.read_bytes()
    vgm = f'"{sys.executable}" -m volmicro_codec.cli'
    for command, said in (
        (f"{vgm} export - --format npz -o cells.vgm --force < cells.vgm", b"cells.vgm: is the input stdin"),
        (f"{vgm} decode cells.vgm -o - >> cells.vgm", b"stdout: is the input cells.vgm"),
        (f"{vgm} export /dev/stdin -o cells.vgm --format csv --force < cells.vgm", b"the input /dev/stdin"),
    ):
        ran = subprocess.run(
            command,
            shell=True,
            cwd=file.parent,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert ran.returncode == 5
        assert said in ran.stderr
        assert file.read_bytes() == before
