"""What a file costs in C follows from its bytes (spec, section 10): the worst files, and damaged ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.format.test_bounds import METADATA, WORST, metadata_of

ROOT = Path(__file__).resolve().parents[2]
INVALID = sorted((ROOT / "spec" / "vectors" / "invalid").glob("*.vgm"))
# Processor time, with a tenfold margin; what has no relation to the bytes is off by far more.
SECONDS_PER_BYTE = 1e-3  # 5700 symbols of some 15 ns
VOXEL_SECONDS_PER_BYTE = 1e-4  # 8 primitives of some 400 ns
SECONDS = 0.5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("cmake") and shutil.which("cc")), reason="needs CMake and a C compiler"
    ),
]

FILES = {
    **WORST,
    **{name: lambda tags=tags: metadata_of(tags()) for name, tags in METADATA.items()},
    **{path.stem: path.read_bytes for path in INVALID},
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fuzz/bounds.c, which counts memory and holds it against the bounds of fuzz/counted.h."""
    folder = tmp_path_factory.mktemp("libvgm")
    subprocess.run(["cmake", "-S", ROOT / "libvgm", "-B", folder], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", folder, "-j2", "--target", "bounds"], check=True, capture_output=True)
    return folder / "bounds"


@pytest.mark.parametrize("name", FILES)
def test_memory_and_time_follow_the_bytes(program: Path, name: str, tmp_path: Path) -> None:
    data = FILES[name]()
    path = tmp_path / "x.vgm"
    path.write_bytes(data)
    ran = subprocess.run([program, path], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, f"{len(data)} bytes: {ran.stdout}{ran.stderr}"
    _, records_seconds, _, voxel_seconds = (float(v) for v in ran.stdout.split())
    assert records_seconds <= SECONDS_PER_BYTE * len(data) + SECONDS
    assert voxel_seconds <= VOXEL_SECONDS_PER_BYTE * len(data) + SECONDS
