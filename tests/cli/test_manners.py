"""``vgm`` in a shell: pipes, patterns, many files, completion, colours, and how much it says."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

import volmicro_codec
from volmicro_codec.cli import app
from volmicro_codec.io import read_volume

from .conftest import small_file

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
VGM = [sys.executable, "-m", "volmicro_codec.cli"]


def piped(directory: Path, *args: object, stdin: bytes = b"", env: dict[str, str] | None = None) -> Any:
    """A real process with a pipe at each end."""
    return subprocess.run(
        [*VGM, *map(str, args)],
        cwd=directory,
        input=stdin,
        capture_output=True,
        env={**ENV, **(env or {})},
        timeout=300,
    )


def stdin_of(monkeypatch: pytest.MonkeyPatch, data: bytes, terminal: bool = False) -> None:
    stream = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stream)


def test_a_file_can_come_through_a_pipe_wherever_a_file_is_read(
    vgm: Callable[..., Any], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: object) -> Any:
        stdin_of(monkeypatch, file.read_bytes())
        ran = vgm(*args)
        assert ran.code == 0, ran.err
        return ran

    assert run("info", "-").out == vgm("info", "cells.vgm").out.replace("cells.vgm", "stdin")
    assert run("test", "-").out == vgm("test", "cells.vgm").out.replace("cells.vgm", "stdin")
    run("decode", "-", "-o", "a.npy")
    run("roi", "-", "--box", "1:3,:,:")
    run("export", "-", "--format", "csv")
    pytest.importorskip("PIL")
    run("preview", "-", "--size", "64")
    names = {"a.npy", "cells.vgm", "stdin.csv", "stdin_mip.png", "stdin_roi.tif"}
    assert {p.name for p in tmp_path.iterdir()} == names
    with volmicro_codec.open(file) as array:
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array[...])


def test_a_budget_takes_no_more_from_a_pipe(
    vgm: Callable[..., Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin_of(monkeypatch, file.read_bytes())
    assert vgm("decode", "-", "-o", "a.npy", "--budget", file.stat().st_size - 1).code == 0
    assert sys.stdin.buffer.tell() == file.stat().st_size - 1


@pytest.mark.parametrize("kind", ["tif", "npy"])
def test_a_decoded_volume_can_go_through_a_pipe(file: Path, tmp_path: Path, kind: str) -> None:
    ran = piped(tmp_path, "decode", "cells.vgm", "-o", "-", "--format", kind)
    assert ran.returncode == 0
    assert ran.stderr.decode() == ("wrote to stdout: CZYX 2 x 6 x 20 x 24 uint16, 11,520 bytes (11.5 kB)\n")
    (tmp_path / f"got.{kind}").write_bytes(ran.stdout)
    with volmicro_codec.open(file) as array:
        np.testing.assert_array_equal(read_volume(tmp_path / f"got.{kind}").data[0], array[...])


def test_pictures_and_exports_can_go_through_a_pipe(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    assert piped(tmp_path, "preview", "cells.vgm", "-o", "-").stdout.startswith(b"\x89PNG")
    ran = piped(tmp_path, "export", "cells.vgm", "-o", "-", "--format", "npz")
    assert sorted(np.load(io.BytesIO(ran.stdout)).files)[-1] == "voxel_size"
    assert [p.name for p in tmp_path.iterdir()] == ["cells.vgm"]


def test_bytes_are_not_written_to_a_terminal_nor_waited_for_from_one(
    vgm: Callable[..., Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin_of(monkeypatch, b"", terminal=True)
    assert vgm("info", "-").err == "vgm: error: -: stdin is a terminal, expected a .vgm file from a pipe\n"
    assert vgm("encode", "-", "-o", "x.vgm").code == 2
    monkeypatch.setattr("volmicro_codec.cli.streams.sys.stdout.isatty", lambda: True)
    for args in (["decode", "cells.vgm"], ["preview", "cells.vgm"], ["phantom"], ["encode", "cells.vgm"]):
        ran = vgm(*args, "-o", "-")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == "vgm: error: -o -: stdout is a terminal, expected a file or a pipe\n"


def test_stdin_is_read_once_and_must_hold_what_is_expected(
    vgm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin_of(monkeypatch, b"")
    assert vgm("info", "-", "-").err == "vgm: error: -: stdin can be read only once\n"
    assert vgm("info", "-").err.startswith("vgm: error: stdin: ")
    stdin_of(monkeypatch, b"\x89PNG....")
    ran = vgm("encode", "-", "-o", "x.vgm")
    assert (ran.code, ran.err) == (3, "vgm: error: stdin: neither TIFF nor npy\n")


def test_the_format_of_stdout_is_not_the_format_of_a_file(vgm: Callable[..., Any], file: Path) -> None:
    ran = vgm("decode", "cells.vgm", "-o", "x.tif", "--format", "npy")
    assert ran.code == 2
    assert ran.err == "vgm: error: --format npy: says what -o - writes; of x.tif its suffix does\n"


def test_patterns_that_the_shell_left_are_matched(vgm: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("b.vgm", "a.vgm", "sub/c.vgm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        small_file(tmp_path / name)
    ran = vgm("test", "*.vgm", "**/c.vgm")
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == [
        *("a.vgm", "b.vgm", os.path.join("sub", "c.vgm"))
    ]
    assert len(json.loads(vgm("info", "--json", "?.vgm").out)) == 2
    ran = vgm("info", "*.tif")
    assert (ran.code, ran.err) == (3, "vgm: error: *.tif: no file matches\n")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(vgm: Callable[..., Any], tmp_path: Path) -> None:
    small_file(tmp_path / "[1].vgm")
    small_file(tmp_path / "1.vgm")
    assert vgm("test", "[1].vgm").out.startswith("[1].vgm: OK")


def test_info_goes_on_where_one_of_several_files_cannot_be_read(
    vgm: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.vgm").write_bytes(file.read_bytes()[:-3])
    ran = vgm("info", "none.vgm", "bad.vgm", "cells.vgm")
    assert ran.code == 3
    assert "file         cells.vgm" in ran.out
    first, second = ran.err.splitlines()
    assert first == "vgm: error: none.vgm: no such file"
    assert second.startswith("vgm: error: bad.vgm: cut short")
    documents = json.loads(vgm("info", "--json", "bad.vgm", "cells.vgm").out)
    assert ["error" in d for d in documents] == [True, False]


Encoded = list[tuple[Any, str]]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Encoded:
    """What the encoder was asked to encode; it writes a small file, and fails where voxels are 13."""
    seen: Encoded = []

    def encode(volume: Any, dest: Any, *args: Any, force: bool = False, **more: Any) -> Any:
        seen.append((volume, os.fspath(dest)))
        if (np.asarray(volume.data) == 13).all():
            raise volmicro_codec.InputError("an unlucky volume")
        small_file(Path(dest))
        names = (
            "bytes",
            "ratio",
            "primitives",
            "points",
            "seconds",
            "psnr",
            "psnr_fg",
            "ssim",
            "mip_ssim",
            "occupancy",
        )
        return SimpleNamespace(**dict.fromkeys(names, 1), remark=None, history=[])

    monkeypatch.setattr("volmicro_codec.encoder.pipeline.encode_volume", encode)
    return seen


def stack(path: Path, value: int = 1) -> None:
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(
        path, np.full((3, 4, 5), value, np.uint8), photometric="minisblack", metadata={"axes": "ZYX"}
    )


def test_several_volumes_go_to_a_directory_under_their_names(
    vgm: Callable[..., Any], tmp_path: Path, encoded: Encoded
) -> None:
    for name in ("a.tif", "b.ome.tif", "c.TIFF"):
        stack(tmp_path / name)
    ran = vgm("encode", "?.*", "--output-dir", "new/out")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(p.name for p in (tmp_path / "new/out").iterdir()) == ["a.vgm", "b.vgm", "c.vgm"]
    assert ran.out.count("\n\nfile ") == 2
    ran = vgm("encode", "a.tif", "b.ome.tif", "--output-dir", "new/out")
    assert ran.code == 5
    assert len(encoded) == 3
    documents = json.loads(
        vgm("encode", "a.tif", "b.ome.tif", "--output-dir", "new/out", "--force", "--json").out
    )
    assert [d["output"] for d in documents] == [os.path.join("new/out", n) for n in ("a.vgm", "b.vgm")]


def test_one_volume_that_fails_does_not_stop_the_others(
    vgm: Callable[..., Any], tmp_path: Path, encoded: Encoded
) -> None:
    stack(tmp_path / "a.tif", 13)
    stack(tmp_path / "b.tif")
    ran = vgm("encode", "a.tif", "none.tif", "b.tif", "--output-dir", "out", "--json")
    assert ran.code == 3
    assert ran.err == "vgm: error: a.tif: an unlucky volume\nvgm: error: none.tif: no such file\n"
    assert [d.get("error") for d in json.loads(ran.out)] == [
        *("a.tif: an unlucky volume", "none.tif: no such file", None)
    ]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b.vgm"]


WRONG = [
    (
        ["a.tif", "b.tif", "-o", "x.vgm"],
        "-o x.vgm: names one file for 2 volumes, expected --output-dir "
        "(for planes of one stack give their directory, or a pattern in quotes)",
    ),
    (["a.tif", "-o", "x.vgm", "--output-dir", "out"], "expected one of -o and --output-dir, got both"),
    (["a.tif", "sub/a.tif", "--output-dir", "out"], "a.tif and sub/a.tif would both become out/a.vgm"),
    (["a.tif", "b.tif", "--output-dir", "out", "--save-params", "p.npz"],
     "--save-history and --save-params are of one volume"),
    (["a.tif", "-o", "-", "--json"], "--json and -o -: both are for stdout"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "said"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_what_several_volumes_cannot_have_is_said_before_any_work(
    vgm: Callable[..., Any], tmp_path: Path, encoded: Encoded, args: list[str], said: str
) -> None:
    for name in ("a.tif", "b.tif", "sub/a.tif"):
        stack(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    ran = vgm("encode", *args)
    assert (ran.code, ran.out, ran.err) == (2, "", f"vgm: error: {said}\n")
    assert not encoded
    assert sorted(tmp_path.rglob("*")) == before


def test_a_volume_from_a_pipe_becomes_a_file_through_a_pipe(
    vgm: Callable[..., Any], tmp_path: Path, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack(tmp_path / "a.tif", 5)
    stdin_of(monkeypatch, (tmp_path / "a.tif").read_bytes())
    out = SimpleNamespace(buffer=io.BytesIO(), isatty=lambda: False, flush=lambda: None, encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    assert app.run(["encode", "-", "-o", "-"]) == 0
    ((volume, where),) = encoded
    np.testing.assert_array_equal(volume.data[0, 0], np.full((3, 4, 5), 5, np.uint8))
    assert volume.info.source_name is None
    assert not Path(where).exists()
    with volmicro_codec.open(out.buffer.getvalue()) as array:
        assert array.shape == (2, 6, 20, 24)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(
    ("shell", "part"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete ")]
)
def test_completion_is_a_script_for_the_shell(vgm: Callable[..., Any], shell: str, part: str) -> None:
    ran = vgm("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert part in ran.out
    assert f"_VGM_COMPLETE={shell}_complete" in ran.out


def completed(directory: Path, *words: str) -> list[str]:
    asked = {
        "_VGM_COMPLETE": "bash_complete",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    return str(piped(directory, env=asked).stdout.decode()).split()


def test_commands_options_choices_and_files_are_completed(tmp_path: Path) -> None:
    assert completed(tmp_path, "vgm", "de") == ["plain,decode"]
    assert "plain,--budget" in completed(tmp_path, "vgm", "roi", "--b")
    assert completed(tmp_path, "vgm", "export", "--format", "s") == ["plain,splat"]
    for words in (["info", "ce"], ["encode", "v"], ["decode", "x", "-o", "y"], ["verify", "a", "b"]):
        assert completed(tmp_path, "vgm", *words) == [f"file,{words[-1]}"]


def test_quiet_and_verbose_may_stand_before_the_command_too(vgm: Callable[..., Any], file: Path) -> None:
    assert vgm("-q", "decode", "cells.vgm", "-o", "a.npy").err == ""
    for args in (["-v", "info", "none.vgm"], ["info", "none.vgm", "-v"]):
        ran = vgm(*args)
        assert ran.code == 3
        assert ran.err.startswith("vgm: error: none.vgm: no such file\nTraceback")
    assert " s, at most " in vgm("-v", "info", "cells.vgm").err


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="the system has no pseudo-terminals")
@pytest.mark.parametrize(
    ("env", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals_that_want_them(tmp_path: Path, env: dict[str, str], colored: bool) -> None:
    ours, theirs = os.openpty()
    try:
        environment = {**{k: v for k, v in ENV.items() if k != "NO_COLOR"}, "TERM": "xterm", **env}
        ran = subprocess.run([*VGM, "info", "none.vgm"], cwd=tmp_path, stderr=theirs, env=environment)
        said = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert ran.returncode == 3
    assert ("\x1b[" in said) == colored
    if not colored:
        assert said.strip() == "vgm: error: none.vgm: no such file"


def test_info_starts_without_what_it_does_not_need(file: Path) -> None:
    code = (
        "import sys; from volmicro_codec.cli.app import run; run(['info', 'cells.vgm']); print(*sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=file.parent, capture_output=True, env=ENV, text=True
    )
    slow = {"numpy.ma", "numpy.random", "numpy.testing", "importlib.metadata", "rich", "tifffile"}
    assert not slow & set(ran.stdout.split())


def test_a_file_that_may_not_be_opened_is_an_inputs_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**given: object) -> None:
        raise PermissionError(13, "Permission denied", "a.vgm")

    monkeypatch.setattr(app.group, "main", refuse)
    assert app.run(["info", "a.vgm"]) == 3
    assert capsys.readouterr().err == "vgm: error: a.vgm: no permission to open it\n"
