"""Numbers beyond all bounds, on the command line and in TOML, are options that make no sense: exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DIGITS = {"5000 digits": "9" * 5000, "400 digits": "9" * 400, "20 digits": "9" * 20}

COMMANDS = [
    *(["encode", "v.npy", "-o", "x.vgm", option, "{}"]
      for option in ("--seed", "--primitives", "--size", "--threads", "--channel", "--time", "--ratio")),
    *(["decode", "cells.vgm", "-o", "x.npy", option, "{}"]
      for option in ("--level", "--budget", "--channel", "--time", "--threads")),
    ["decode", "cells.vgm", "-o", "x.npy", "--device", "cuda:{}"],
    ["roi", "cells.vgm", "--box", "0:{},:,:"],
    ["roi", "cells.vgm", "--box", ":,-{}:,:"],
    ["phantom", "-o", "p.tif", "--shape", "1,{},1"],
    ["phantom", "-o", "p.tif", "--shape", "8,8,8", "--seed", "{}"],
    ["phantom", "-o", "p.tif", "--shape", "8,8,8", "--photons", "{}"],
    ["phantom", "-o", "p.tif", "--shape", "8,8,8", "--offset", "{}"],
    ["gate", "v.npy", "-o", "g.npz", "--iterations", "{}"],
    ["preview", "cells.vgm", "--size", "{}"],
    ["import", "p.npz", "-o", "x.vgm", "--shape", "{},1,1"],
]  # fmt: skip


@pytest.fixture
def inputs(tmp_path: Path, file: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((4, 5, 6), np.uint16))
    np.savez(tmp_path / "p.npz", positions=np.ones((1, 3)), scales=np.ones((1, 3)), intensities=np.ones(1))


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize("args", COMMANDS, ids=[" ".join(c) for c in COMMANDS])
def test_a_giant_number_is_an_option_that_makes_no_sense(
    vgm: Callable[..., Any], args: list[str], digits: str
) -> None:
    ran = vgm(*(a.replace("{}", DIGITS[digits]) for a in args))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("end", ["9" * 400, "9223372036854775808", "-9223372036854775809"])
@pytest.mark.parametrize("box", ["0:{},:,:", ":,{}:,:", ":,:,{}:{}"])
def test_a_box_of_giant_numbers_is_told_in_a_short_line(
    vgm: Callable[..., Any], file: Path, box: str, end: str
) -> None:
    ran = vgm("roi", file, "--box", box.replace("{}", end))
    assert (ran.code, ran.out) == (2, "")
    said = f"a number of {len(end.lstrip('-'))} digits, beyond all voxels"
    assert ran.err == f"vgm: error: Invalid value for '--box': {said} (see 'vgm roi --help')\n"


FLOATS = [
    *(["encode", "v.npy", "-o", "x.vgm", option]
      for option in ("--ratio", "--psnr", "--within-noise", "--slope", "--gate-tau", "--edge-boost",
                     "--lambda-gradient", "--grad-threshold", "--lr", "--cutoff")),
    ["verify", "v.npy", "cells.vgm", "--min-psnr"],
    ["gate", "v.npy", "-o", "g.npz", "--gate-tau"],
    ["export", "cells.vgm", "-o", "x.ply", "--opacity"],
    *(["import", "p.npz", "-o", "x.vgm", "--shape", "4,5,6", option]
      for option in ("--base", "--gain", "--cutoff")),
    *(["phantom", "-o", "p.tif", "--shape", "8,8,8", option]
      for option in ("--photons", "--background", "--offset", "--read-noise")),
]  # fmt: skip
# Of a file that loses nothing the PSNR is infinite.
NO_NUMBERS = [(c, v) for c in FLOATS for v in ("nan", "-inf", "inf") if (c[0], v) != ("verify", "inf")]


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(("args", "value"), NO_NUMBERS, ids=[f"{c[0]} {c[-1]}={v}" for c, v in NO_NUMBERS])
def test_what_is_no_number_is_an_option_that_makes_no_sense(
    vgm: Callable[..., Any], tmp_path: Path, args: list[str], value: str
) -> None:
    before = sorted(tmp_path.iterdir())
    *others, option = args
    ran = vgm(*others, f"{option}={value}")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert option.strip("-").replace("-", " ") in ran.err.replace("-", " ").replace("_", " ")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("value", ["nan:5", "0:inf", "-inf:5", "5:5"])
def test_a_contrast_of_what_is_no_number_is_one_too(vgm: Callable[..., Any], file: Path, value: str) -> None:
    ran = vgm("preview", file, "--contrast", value)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"vgm: error: contrast {value}: expected two numbers")


def test_a_file_that_loses_nothing_passes_any_bar(vgm: Callable[..., Any], file: Path) -> None:
    assert vgm("decode", file, "-o", "v.tif").code == 0
    assert vgm("verify", "v.tif", file, "--quick", "--min-psnr", "inf").code == 0


TOML = {
    "digits": "seed = " + "1" * 5000,
    "float": "ratio = " + "1" * 400,
    "negative": "seed = -" + "1" * 4000,
    "hexadecimal": "seed = 0x" + "f" * 6000,
    "octal": "threads = [0o" + "7" * 9000 + "]",
    "size": "size = " + "1" * 350,
    "text of a size": 'size = "' + "9" * 5000 + 'G"',
    "hexadecimal size": "size = 0x" + "f" * 6000,
    "arrays in arrays": "a = " + "[" * 100_000 + "]" * 100_000,
    "tables in tables": "a = " + "{a=" * 20_000 + "1" + "}" * 20_000,
    "dotted": ".".join(["a"] * 5_000) + " = 1",
    "head of a table": "[" + ".".join(["a"] * 20_000) + "]\nx = 1",
}


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("kind", TOML)
def test_a_giant_number_or_deep_nesting_in_toml_is_a_setting_that_makes_no_sense(
    vgm: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    (tmp_path / "s.toml").write_text(TOML[kind] + "\n")
    ran = vgm("encode", "v.npy", "-o", "x.vgm", "--config", "s.toml")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("vgm: error: s.toml: ")
    assert ran.err.count("\n") == 1
    assert len(ran.err) < 300
