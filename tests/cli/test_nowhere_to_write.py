"""Where no directory can be written, as in containers, what needs none works, and doctor says what is so."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_doctor_names_the_place_for_temporary_files_and_what_to_do_where_there_is_none(
    vgm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = vgm("doctor").out
    assert f"\ntemporary    {tempfile.gettempdir()}\n" in said
    monkeypatch.setattr("volmicro_codec.room.temporary_directory", lambda: None)
    ran = vgm("doctor")
    assert ran.code == 0
    assert "\ntemporary    no directory can be written, for what goes through pipes" in ran.out


def test_doctor_runs_the_kernels_of_the_cpu(vgm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(vgm("doctor", "--json").out)["devices"][0]["check"] == "ok"

    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError("no such instruction")

    monkeypatch.setattr("volmicro_codec.decoder.open", broken)
    ran = vgm("doctor")
    assert ran.code == 6
    assert "cpu: the kernels do not run: OSError: no such instruction" in ran.err


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
