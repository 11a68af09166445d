"""Opening costs what opening needs: nothing heavy is imported early, and decoding never imports torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import volmicro_codec

ROOT = Path(__file__).resolve().parents[1]

HEAVY = ("torch", "numba", "scipy", "tifffile", "imagecodecs", "cupy", "zarr", "dask", "rich", "fsspec")


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after some code."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*{{m.partition('.')[0] for m in sys.modules}})"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=True,
    )
    return set(ran.stdout.splitlines()[-1].split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not loaded_by("import volmicro_codec") & {*HEAVY, "numpy", "click"}


def test_help_imports_nothing_heavy() -> None:
    assert not loaded_by("from volmicro_codec.cli.app import run; run(['--help'])") & {*HEAVY, "numpy"}


def test_help_of_encode_imports_nothing_heavy() -> None:
    assert not loaded_by("from volmicro_codec.cli.app import run; run(['encode', '--help'])") & set(HEAVY)


def test_info_imports_nothing_heavy() -> None:
    vector = next(iter(sorted((ROOT / "spec" / "vectors").rglob("*.vgm"))))
    code = f"from volmicro_codec.cli.app import run; run(['info', {str(vector)!r}])"
    assert not loaded_by(code) & set(HEAVY)


def test_reading_a_volume_imports_neither_torch_nor_numba(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    code = f"""
import numpy, volmicro_codec
numpy.save({str(path)!r}, numpy.ones((2, 3, 4), numpy.uint8))
volmicro_codec.read_volume({str(path)!r})
"""
    assert not loaded_by(code) & {"torch", "numba", "scipy", "tifffile"}


@pytest.mark.parametrize("name", volmicro_codec.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(volmicro_codec, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'encoder'"):
        volmicro_codec.encoder  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    assert set(dir(volmicro_codec)) == set(volmicro_codec.__all__)
