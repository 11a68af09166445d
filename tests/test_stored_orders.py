"""Voxels in whatever order memory has them: encoded to the same bytes, compared with the same figures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.cli.app import run
from volmicro_codec.evaluate import compare
from volmicro_codec.phantom import make_phantom

ORDERS = ["".join(p) for p in itertools.permutations("ZYX")]


@pytest.fixture(scope="module")
def voxels() -> np.ndarray:
    return make_phantom((12, 40, 48), 3)


@pytest.fixture(scope="module")
def expected(voxels: np.ndarray) -> bytes:
    return volmicro_codec.encode(voxels, effort="fast", ratio=50)


def stored(voxels: np.ndarray, order: str) -> np.ndarray:
    """The same voxels with axes in another order, in one piece."""
    return np.ascontiguousarray(voxels.transpose(["ZYX".index(a) for a in order]))


@pytest.mark.parametrize("order", ORDERS)
def test_axes_in_any_order_make_the_same_file(voxels: np.ndarray, expected: bytes, order: str) -> None:
    given = stored(voxels, order)
    assert volmicro_codec.encode(given, axes=order, effort="fast", ratio=50) == expected


@pytest.mark.parametrize("objective", ["signal", "voxels"])
def test_an_array_in_fortran_order_makes_the_same_file(voxels: np.ndarray, objective: str) -> None:
    made = [
        volmicro_codec.encode(a, effort="fast", ratio=50, objective=objective)
        for a in (voxels, np.asfortranarray(voxels))
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_figures_do_not_depend_on_the_order_in_memory(voxels: np.ndarray, dtype: type) -> None:
    original, decoded = voxels.astype(dtype), (voxels // 2 * 2).astype(dtype)
    plain = compare(original, decoded)
    assert compare(np.asfortranarray(original), decoded) == plain
    assert compare(original, np.asfortranarray(decoded)) == plain


@pytest.mark.parametrize("order", ["fortran", "XYZ", "ZXY"])
@pytest.mark.parametrize("command", ["verify", "verify --quick", "report"])
def test_a_file_of_any_order_is_compared_with_its_original(
    voxels: np.ndarray,
    expected: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    order: str,
    command: str,
) -> None:
    plain, other, file = (tmp_path / name for name in ("plain.npy", "other.npy", "a.vgm"))
    np.save(plain, voxels)
    np.save(other, np.asfortranarray(voxels) if order == "fortran" else stored(voxels, order))
    file.write_bytes(expected)
    said = []
    for original, axes in ((plain, []), (other, [] if order == "fortran" else ["--axes", order])):
        more = ["-q", "-o", f"{original}.html"] if command == "report" else ["--json"]
        code = run([*command.split(), str(original), str(file), *axes, *more])
        out = capsys.readouterr()
        assert (code, out.err) == (0, "")
        if command != "report":
            said.append(json.loads(out.out)["psnr"])
    assert len(set(said)) <= 1
