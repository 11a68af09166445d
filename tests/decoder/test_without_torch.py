"""Decoding needs neither torch nor anything else that only encoding has; opening needs no compiler either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.decoder.models import bricks

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(name + " must not be imported here")

sys.meta_path.insert(0, Blocked())
"""

DECODE = """
import pkgutil
import importlib
import volmicro_codec
for package in ("volmicro_codec.format", "volmicro_codec.decoder", "volmicro_codec.cuda"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        importlib.import_module(module.name)
array = volmicro_codec.open(sys.argv[1], threads=1, device="cpu")
array[2:5, ::2]
array.level(1)[...]
array.sample([[1.5, 2.5, 3.5]])
next(array.iter_slabs())
print(sorted(m for m in sys.modules if m.partition(".")[0] in {blocked}))
"""

OPEN = """
import volmicro_codec
array = volmicro_codec.open(sys.argv[1])
print(array.shape, array.level(2).shape, array.info.unit)
"""


def _run(blocked: set[str], code: str, path: Path) -> str:
    script = BLOCK.replace("{blocked}", repr(blocked)) + code.replace("{blocked}", repr(blocked))
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "a.vgm"
    file.write_bytes(bricks((8, 16, 16), brick=16, per_brick=3).data)
    return file


def test_decoding_works_where_torch_cannot_be_imported(path: Path) -> None:
    blocked = {"torch", "scipy", "zarr", "dask", "napari", "fsspec", "tifffile", "cupy"}
    assert _run(blocked, DECODE, path) == "[]"


def test_opening_loads_no_compiler(path: Path) -> None:
    assert _run({"torch", "scipy"}, OPEN, path) == "(8, 16, 16) (2, 4, 4) µm"
