"""libvgm, built by CMake alone under sanitizers: every vector decodes or is rejected, a region reads in C."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "spec" / "vectors"
VALID = sorted(p.stem for p in (VECTORS / "valid").glob("*.vgm"))
INVALID = sorted(p.stem for p in (VECTORS / "invalid").glob("*.vgm"))
USAGE = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("cmake") and shutil.which("cc")), reason="needs CMake and a C compiler"
    ),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples are."""
    folder = tmp_path_factory.mktemp("libvgm")
    given = ["-DVGM_SANITIZE=address,undefined", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS=-O1"]
    subprocess.run(["cmake", "-S", ROOT / "libvgm", "-B", folder, *given], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", folder, "-j2"], check=True, capture_output=True)
    return folder


def run(built: Path, *arguments: object) -> tuple[int, bytes, str]:
    """Status, output and complaint of an example; a sanitizer that finds something is a failure."""
    command = [str(built / str(arguments[0])), *map(str, arguments[1:])]
    ran = subprocess.run(command, capture_output=True, timeout=60)
    complaint = ran.stderr.decode()
    assert "Sanitizer" not in complaint, complaint
    assert "runtime error" not in complaint, complaint
    return ran.returncode, ran.stdout, complaint


def dumped(built: Path, path: Path, *arguments: object) -> bytes:
    status, out, complaint = run(built, "vgmdump", path, *arguments)
    assert status == 0, complaint
    return out


def said_of(name: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((VECTORS / "valid" / f"{name}.json").read_text(encoding="utf-8"))
    said["quality"] = {k: float(v) for k, v in said["quality"].items()}
    return said


@pytest.mark.parametrize("name", VALID)
def test_a_valid_file_says_what_its_vector_says(built: Path, name: str) -> None:
    path = VECTORS / "valid" / f"{name}.vgm"
    found = json.loads(dumped(built, path))
    said = said_of(name)
    np.testing.assert_array_equal(np.float32(found.pop("images")), np.float32(said.pop("images")))
    quality, expected = found.pop("quality"), said.pop("quality")
    assert {k: np.float32(v) for k, v in quality.items()} == {k: np.float32(v) for k, v in expected.items()}
    assert found == said


@pytest.mark.parametrize("name", VALID)
def test_a_valid_file_has_the_records_and_the_voxels_of_its_vector(built: Path, name: str) -> None:
    path = VECTORS / "valid" / f"{name}.vgm"
    records = np.frombuffer(dumped(built, path, "records"), "<u2").reshape(-1, 11)
    np.testing.assert_array_equal(records, np.load(VECTORS / "valid" / f"{name}.records.npy"))
    with volmicro_codec.open(path, device="cpu") as array:  # which is held against the reference elsewhere
        for level in range(3):
            voxels = np.asarray(array.level(level))
            assert dumped(built, path, "voxels", level) == voxels.tobytes()


@pytest.mark.parametrize("name", [n for n in VALID if (VECTORS / "valid" / f"{n}.grain.npy").exists()])
def test_grain_is_that_of_the_vector(built: Path, name: str) -> None:
    expected = np.load(VECTORS / "valid" / f"{name}.grain.npy")
    found = np.frombuffer(dumped(built, VECTORS / "valid" / f"{name}.vgm", "grain", 1234567), expected.dtype)
    off = np.abs(found.reshape(expected.shape).astype(float) - expected)
    assert (off <= (1e-3 if expected.dtype.kind == "f" else 1)).all()  # as far as the voxels may be off
    assert (off > 1e-3).mean() < 0.01


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_file_is_rejected_with_one_line(built: Path, name: str) -> None:
    shows = json.loads((VECTORS / "invalid.json").read_text())[name]["shows"]
    what = ("voxels", 31) if shows == "overview" else ("records",)
    status, _, complaint = run(built, "vgmdump", VECTORS / "invalid" / f"{name}.vgm", *what)
    assert status in (1, 2, 3)
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize("name", ["one_level", "all_codings"])
def test_a_packed_file_is_refused_for_what_it_is(built: Path, name: str) -> None:
    status, _, complaint = run(built, "vgmdump", VECTORS / "packed" / "valid" / f"{name}.vgm")
    assert status in (1, 2, 3)
    assert "packed volume" in complaint
    assert len(complaint.splitlines()) == 1


def test_a_region_has_the_bytes_that_it_has_in_the_whole(built: Path) -> None:
    path = VECTORS / "valid" / "lattice_two_bricks.vgm"
    with volmicro_codec.open(path) as array:
        z, y, x = array.shape
        expected = array[1 : z - 1, 2:y, 3 : x - 2]
    status, out, complaint = run(built, "region", path, 1, z - 1, 2, y, 3, x - 2)
    assert (status, complaint) == (0, "")
    assert out == expected.tobytes()
    assert run(built, "region", path, 0, z + 1, 0, y, 0, x)[0] == USAGE
    assert len((ROOT / "libvgm" / "examples" / "region.c").read_text().splitlines()) <= 40
