"""What the tests and benchmarks of the kernels need of a machine, and do without where it is absent."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import gpu_device

from . import nvrtc


def test_the_compilers_built_in_functions_are_loaded_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("libnvrtc.so.13", "libnvrtc-builtins.so.13.0", "libnvrtc.alt.so.13"):
        (tmp_path / name).touch()
    loaded: list[tuple[str, int | None]] = []

    def load(path: str, mode: int | None = None) -> Any:
        loaded.append((Path(path).name, mode))
        return SimpleNamespace()

    monkeypatch.setattr(ctypes, "CDLL", load)
    nvrtc.load(tmp_path / "libnvrtc.so.13")
    assert loaded == [("libnvrtc-builtins.so.13.0", ctypes.RTLD_GLOBAL), ("libnvrtc.so.13", None)]


def test_the_commit_of_a_figure_is_told_where_it_can_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if shutil.which("git") and gpu_device.commit() is not None:
        assert re.fullmatch(r"[0-9a-f]{4,40}", gpu_device.commit() or "")
    monkeypatch.setattr(gpu_device, "HERE", tmp_path)  # no clone
    assert gpu_device.commit() is None

    def absent(*args: Any, **kwargs: Any) -> Any:
        raise FileNotFoundError(2, "No such file or directory", "git")

    monkeypatch.setattr(subprocess, "run", absent)
    assert gpu_device.commit() is None
