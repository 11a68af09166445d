"""Where no directory can be written, as in containers, what needs none works, and doctor says what is so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import volmicro_codec
from volmicro_codec import jit

ROOT = Path(__file__).resolve().parents[2]

# numba with no place for its cache: packages that cannot be written, nobody's home.
NO_PLACE = """
import sys
from numba.core import caching
caching.CacheImpl._locator_classes = []
from volmicro_codec.cli.app import run
codes = [run(["roi", "cells.vgm", "-o", "x.npy"]), run(["doctor", "--json"])]
sys.exit(codes != [0, 0])
"""


@pytest.mark.slow
def test_without_a_place_for_compiled_kernels_regions_are_decoded_and_doctor_says_so(file: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", NO_PLACE],
        cwd=file.parent,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["kernel_cache"] is None
    assert told["devices"][0]["check"] == "ok"
    with volmicro_codec.open(file) as array:
        np.testing.assert_array_equal(np.load(file.with_name("x.npy")), array[...])


def test_doctor_names_the_places_and_what_to_do_where_there_is_none(
    vgm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = vgm("doctor").out
    assert f"\nkernels      kept in {jit.place()}\n" in said
    assert f"\ntemporary    {tempfile.gettempdir()}\n" in said
    monkeypatch.setattr(jit, "place", lambda: None)
    monkeypatch.setattr("volmicro_codec.room.temporary_directory", lambda: None)
    ran = vgm("doctor")
    assert ran.code == 0
    assert "\nkernels      compiled in every run, as they cannot be kept: NUMBA_CACHE_DIR names" in ran.out
    assert "\ntemporary    no directory can be written, for what goes through pipes" in ran.out


def test_doctor_runs_the_kernels_of_the_cpu(vgm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(vgm("doctor", "--json").out)["devices"][0]["check"] == "ok"

    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError("no such instruction")

    monkeypatch.setattr("volmicro_codec.decoder.open", broken)
    ran = vgm("doctor")
    assert ran.code == 6
    assert "cpu: the kernels do not run: OSError: no such instruction" in ran.err


def test_a_kernel_is_compiled_where_it_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def no_place(*function: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")
        return real(*function, **options)

    monkeypatch.setattr(numba, "njit", no_place)
    assert jit.njit(cache=True, nogil=True)(lambda x: x + 1)(2) == 3
    assert jit.place() is None


@pytest.mark.parametrize("method", ["_save_overload", "_load_overload"])
def test_a_full_or_damaged_place_for_kernels_is_done_without(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from numba.core import caching

    def failing(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.Cache, method, failing)

    @jit.njit(cache=True)
    def doubled(x: float) -> float:
        return 2 * x

    assert doubled(21) == 42


@pytest.mark.parametrize("command", [["decode", "cells.vgm", "-o", "-"], ["encode", "-", "-o", "x.vgm"]])
def test_without_a_directory_for_temporary_files_pipes_are_refused_in_one_line(
    vgm: Callable[..., Any], file: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    import io
    from types import SimpleNamespace

    stream = SimpleNamespace(buffer=io.BytesIO(b"II*\0" + bytes(100)), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stream)
    monkeypatch.setattr("volmicro_codec.room.temporary_directory", lambda: None)
    ran = vgm(*command)
    assert (ran.code, ran.out) == (5, "")
    assert ran.err == "vgm: error: no directory for temporary files can be written (TMPDIR names one)\n"
