"""What a file says never moves a cursor, forges a line, or fails for want of a letter on its way out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from volmicro_codec.io import read_volume
from volmicro_codec.volume import ChannelInfo

from .conftest import small_file

ROOT = Path(__file__).resolve().parents[2]
GREEK = "β-tubulin <568 & 594>"
EVIL = "a\x1b[2Jb\nfile  forged.vgm\x9b31m\u2028\u202ec\r\t\x7f"
SHOWN = r"a\x1b[2Jb\nfile  forged.vgm\x9b31m\u2028\u202ec\r\t\x7f"


def named(path: Path, name: str) -> Path:
    small_file(path, channels=(ChannelInfo(name, 0xFF), ChannelInfo("GFP")), source_name=f"{name}.tif")
    return path


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "koi8-r", "utf-8"])
@pytest.mark.parametrize("args", [["info"], ["info", "--json"], ["test"], ["decode", "-o", "-"]])
def test_an_output_that_is_not_utf_8_has_escapes_for_letters_that_it_lacks(
    tmp_path: Path, encoding: str, args: list[str]
) -> None:
    file = named(tmp_path / "β ‒ ×.vgm", GREEK)
    ran = subprocess.run(
        [sys.executable, "-m", "volmicro_codec.cli", args[0], file.name, *args[1:]],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
    )
    assert ran.returncode == 0, ran.stderr
    if args == ["info", "--json"]:
        said = ran.stdout.decode(encoding)
        assert json.loads(said)["channels"][0]["name"] == GREEK
        assert said.isascii() == (encoding != "utf-8")
    elif args == ["info"]:
        beta = "β" if encoding == "utf-8" else r"\u03b2"
        assert f"channels     0 {beta}-tubulin <568 & 594>" in ran.stdout.decode(encoding)


def test_an_error_about_a_name_that_stderr_has_no_letters_for_is_one_line(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "volmicro_codec.cli", "info", os.fsdecode(b"none \xce\xb2 \xff.vgm")],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"},
    )
    assert ran.returncode == 3
    assert ran.stderr == rb"vgm: error: none \u03b2 \udcff.vgm: no such file" + os.linesep.encode()


def only_lines_of_text(said: str) -> bool:
    return all(line.isprintable() for line in said.removesuffix("\n").split("\n"))


def test_names_are_shown_with_their_control_characters_escaped(
    vgm: Callable[..., Any], tmp_path: Path
) -> None:
    file = named(tmp_path / "evil.vgm", EVIL)
    ran = vgm("info", file.name)
    assert f"channels     0 {SHOWN} #0000ff, 1 GFP\n" in ran.out
    assert f"made from    {SHOWN}.tif\n" in ran.out
    assert sum(line.startswith("file ") for line in ran.out.splitlines()) == 1
    ran = vgm("info", "--json", file.name)
    assert only_lines_of_text(ran.out)
    assert json.loads(ran.out)["channels"][0]["name"] == EVIL
    assert vgm("decode", file.name, "-o", "v.ome.tif").code == 0
    for args in (
        ["verify", "v.ome.tif", file.name],
        ["decode", file.name, "-o", "x.tif", "--channel", EVIL + "?"],
        ["export", file.name, "-o", "x.npz", "--channel", EVIL + "?", "-v"],
        ["encode", "v.ome.tif", "-o", "x.vgm", "--channel", "none"],
    ):
        ran = vgm(*args)
        assert only_lines_of_text(ran.out), args
        assert only_lines_of_text(ran.err), args


def test_names_of_files_are_shown_escaped_by_every_command(vgm: Callable[..., Any], tmp_path: Path) -> None:
    file = named(tmp_path / "a\x1b[2J\nb.vgm", "DAPI").name
    for args in (
        ["info", file],
        ["info", file, "none\x1b[2J\n.vgm"],
        ["test", file],
        ["test", "--json", file],
        ["decode", file, "-o", "\x1b[2J.tif"],
        ["roi", file],
        ["export", file, "--format", "csv"],
        ["preview", file, "--size", "64"],
        ["verify", "\x1b[2J.tif", file],
        ["report", "\x1b[2J.tif", file],
        ["encode", "\x1b[2J.npy", "-o", "x.vgm", "-v"],
        ["gate", "\x1b[2J.npy", "-o", "x.npz"],
        ["import", "\x1b[2J.npz", "-o", "x.vgm"],
        ["\x1b[2J"],
        ["info", "--\x1b[2J"],
    ):
        ran = vgm(*args)
        assert only_lines_of_text(ran.out), args
        assert only_lines_of_text(ran.err), args
        assert r"\x1b[2J" in ran.out + ran.err or "--json" in args, args


def test_a_name_in_brackets_is_no_markup_of_the_progress(
    monkeypatch: pytest.MonkeyPatch, vgm: Callable[..., Any], tmp_path: Path
) -> None:
    monkeypatch.setattr("volmicro_codec.cli.progress.sys.stderr.isatty", lambda: True)
    ran = vgm("decode", named(tmp_path / "a[bold]b\x1b[2J.vgm", "DAPI").name, "-o", "x.npy")
    assert ran.code == 0
    assert r"a[bold]b\x1b[2J.vgm" in ran.err.replace("\n", "")


@pytest.mark.parametrize("name", [EVIL, "\x01\x0b\ufffe\uffff", "]]>&<\"'"])
@pytest.mark.parametrize("command", ["decode", "roi"])
def test_what_xml_cannot_hold_is_replaced_in_an_ome_tiff(
    vgm: Callable[..., Any], tmp_path: Path, name: str, command: str
) -> None:
    file = named(tmp_path / "evil.vgm", name)
    assert vgm(command, file.name, "-o", "v.ome.tif").code == 0
    with tifffile.TiffFile(tmp_path / "v.ome.tif") as tif:
        root = ElementTree.fromstring(tif.ome_metadata or "")
    names = [e.get("Name") for e in root.iter() if e.tag.endswith("}Channel")]
    kept = "".join(c for c in name if c.isprintable())
    assert names[1] == "GFP"
    assert "".join(c for c in names[0] or "" if c.isprintable() and c != "\ufffd").replace(
        " ", ""
    ) == kept.replace(" ", "")
    np.testing.assert_array_equal(read_volume(tmp_path / "v.ome.tif").info.shape, (1, 2, 6, 20, 24))


def test_pictures_reports_and_exports_take_any_name(vgm: Callable[..., Any], tmp_path: Path) -> None:
    file = named(tmp_path / "evil.vgm", EVIL)
    assert vgm("decode", file.name, "-o", "v.tif").code == 0
    assert vgm("preview", file.name, "--size", "64").code == 0
    assert vgm("report", "v.tif", file.name, "-o", "r.html").code == 0
    assert only_lines_of_text((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert vgm("decode", file.name, "-o", "v.ome.zarr").code == 0
    assert read_volume(tmp_path / "v.ome.zarr").info.channels[0].name == EVIL
    for kind in ("ply", "splat", "npz", "csv"):
        assert vgm("export", file.name, "--format", kind).code == 0
