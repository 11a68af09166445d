"""What `pip install '.[encode]'` brings is enough to encode, decode and look; what needs more says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ABSENT = ("zarr", "fsspec", "torch", "dask", "distributed", "xarray", "matplotlib", "skimage", "PIL")
PROGRAM = """
import sys
for name in {absent}:
    sys.modules[name] = None
from volmicro_codec.cli.app import main
main(sys.argv[1:])
"""


def vgm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", PROGRAM.format(absent=ABSENT), *arguments]
    return subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("few")
    assert vgm(made, "phantom", "-o", "p.tif", "--shape", "16,48,48").returncode == 0
    done = vgm(made, "encode", "p.tif", "-o", "p.vgm", "--ratio", "100")
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize(
    "arguments",
    [
        ("decode", "p.vgm", "-o", "d.tif"),
        ("roi", "p.vgm", "--box", "0:5,10:30,20:40", "-o", "r.tif"),
        ("info", "p.vgm"),
        ("verify", "p.tif", "p.vgm"),
        ("test", "p.vgm"),
    ],
)
def test_what_encoding_brings_is_enough(folder: Path, arguments: tuple[str, ...]) -> None:
    done = vgm(folder, *arguments)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "p.tif", "-o", "q.vgm", "--packed"),
        ("encode", "p.tif", "-o", "q.ome.zarr"),
        ("decode", "p.vgm", "-o", "d.ome.zarr"),
    ],
)
def test_what_needs_zarr_says_so_at_once_and_leaves_nothing(folder: Path, arguments: tuple[str, ...]) -> None:
    before = sorted(folder.iterdir())
    done = vgm(folder, *arguments)
    assert done.returncode == 6
    assert done.stderr.strip().endswith("needs the package 'zarr': pip install 'volmicro-codec[zarr]'")
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(folder.iterdir()) == before
