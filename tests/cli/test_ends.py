"""Every end of ``vgm`` is a documented exit code and, where something is wrong, one line on stderr."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from volmicro_codec import errors
from volmicro_codec.cli import app

ROOT = Path(__file__).resolve().parents[2]

WRONG = [
    # arguments, exit code, stderr
    (["frobnicate"], 2, "No such command 'frobnicate'. (see 'vgm --help')"),
    (["info"], 2, "Missing argument 'FILE...'. (see 'vgm info --help')"),
    (["info", "none.vgm"], 3, "none.vgm: no such file"),
    (["info", "."], 3, ".: is a directory, expected a file"),
    (["test", "--level", "1", "x"], 2, "No such option "),
    (["encode", "v.tif"], 2, "Missing option '-o' / '--output'. (see 'vgm encode --help')"),
    (["encode", "none.tif", "-o", "x.vgm"], 3, "none.tif: no such file"),
    (
        ["encode", "v.tif", "-o", "x.vgm", "--ratio", "9", "--psnr", "40"],
        2,
        "expected one of --ratio, --size, --psnr, --within-noise, --slope and --primitives,"
        " got --ratio and --psnr",
    ),
    (
        ["encode", "v.tif", "-o", "x.vgm", "--size", "many"],
        2,
        "size 'many': expected a number of bytes such as 500k, 2M or 1.5MB",
    ),
    (["encode", "v.tif", "-o", "x.vgm", "--ratio", "0.5"], 2, "ratio: expected at least 1, got 0.5"),
    (["encode", "v.tif", "-o", "x.vgm", "--config", "none.toml"], 3, "none.toml: no such file"),
    (
        ["encode", "v.tif", "-o", "x.vgm", "--config", "bad.toml"],
        2,
        "bad.toml: unknown setting 'gate-tua', did you mean 'gate_tau'?",
    ),
    (
        ["encode", "v.tif", "-o", "x.vgm", "--gate-file", "bad.toml"],
        3,
        "gate file bad.toml: not a gate file, which 'vgm gate' makes, or damaged",
    ),
    (["encode", "v.tif", "-o", "cells.vgm"], 5, "cells.vgm: exists already (--force replaces it)"),
    (["encode", "v.tif", "-o", "none/x.vgm"], 5, "none/x.vgm: the directory none does not exist"),
    (["encode", "v.tif", "-o", "x.tif"], 5, "x.tif: expected a name that ends in .vgm"),
    (["preview", "cells.vgm", "-o", "x.jpg"], 5, "x.jpg: expected a name that ends in .png"),
    (["report", "v.tif", "cells.vgm", "-o", "x.pdf"], 5, "x.pdf: expected a name that ends in .html or .htm"),
    (
        ["encode", "", "-o", "x.vgm"],
        2,
        "Invalid value for 'VOLUME...': an empty name (see 'vgm encode --help')",
    ),
    (["encode", "v.tif", "-o", "."], 5, ".: is a directory, expected a file name"),
    (["encode", "text.tif", "-o", "x.vgm"], 3, "text.tif: not a TIFF file "),
    (["encode", "short.tif", "-o", "x.vgm"], 3, "short.tif: "),
    (["encode", "empty.tif", "-o", "x.vgm"], 3, "empty.tif: is empty (0 bytes)"),
    (
        ["encode", "flat.tif", "-o", "x.vgm"],
        3,
        "flat.tif: 2-D image (YX 8x9), expected a volume with a Z axis; "
        "--axes ZYX takes it for a stack of one plane",
    ),
    (
        ["encode", "nan.npy", "-o", "x.vgm"],
        3,
        "nan.npy: a value that is not finite (NaN or infinity) in plane z 1 of time point 0, channel 0",
    ),
    (["decode", "short.vgm", "-o", "x.tif"], 4, "short.vgm: cut short: "),
    (["decode", "cells.vgm", "-o", "x.tif", "--budget", "40"], 2, "cells.vgm: budget of 40 bytes: "),
    (
        ["encode", "rgb.tif", "-o", "x.vgm"],
        3,
        "rgb.tif: RGB image (3 samples), expected one value a voxel; take one of them first: voxels[..., 0]",
    ),
    (
        ["encode", "v.tif", "-o", "x.vgm", "--channel", "3"],
        2,
        "v.tif: channel 3 was asked for, the file has 1 (from 0)",
    ),
    (["decode", "none.vgm", "-o", "x.tif"], 3, "none.vgm: no such file"),
    (["decode", "v.tif", "-o", "x.jpg"], 5, "x.jpg: unknown kind of file, expected one of "),
    (
        ["roi", "cells.vgm", "--box", "0:5,0:5"],
        2,
        "Invalid value for '--box': '0:5,0:5': expected z0:z1,y0:y1,x0:x1, as in 0:50,100:300,200:400"
        " (see 'vgm roi --help')",
    ),
    (
        ["gate", "two.npy", "-o", "g.npz"],
        2,
        "two.npy: has 1 time points and 2 channels, choose one with --time and --channel",
    ),
    (
        ["phantom", "-o", "p.tif", "--shape", "5,x"],
        2,
        "Invalid value for '--shape': '5,x': expected three lengths, as in 64,256,256"
        " (see 'vgm phantom --help')",
    ),
    (["phantom", "-o", "v.tif"], 5, "v.tif: exists already (--force replaces it)"),
]


@pytest.fixture
def wrong_things(tmp_path: Path, file: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", np.ones((4, 5, 6), np.uint16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "rgb.tif", np.ones((8, 9, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "flat.tif", np.ones((8, 9), np.uint8))
    (tmp_path / "text.tif").write_text("not a picture")
    (tmp_path / "empty.tif").touch()
    (tmp_path / "short.tif").write_bytes((tmp_path / "v.tif").read_bytes()[:300])
    (tmp_path / "short.vgm").write_bytes(file.read_bytes()[:-9])
    np.save(tmp_path / "nan.npy", np.where(np.arange(24).reshape(2, 3, 4) == 17, np.nan, 1).astype("f4"))
    np.save(tmp_path / "two.npy", np.ones((2, 4, 5, 6), np.uint16))
    (tmp_path / "bad.toml").write_text("gate-tua = 0.3\n")


@pytest.mark.usefixtures("wrong_things")
@pytest.mark.parametrize(("args", "code", "said"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_what_is_wrong_is_one_line_and_a_code(
    vgm: Callable[..., Any], tmp_path: Path, args: list[str], code: int, said: str
) -> None:
    before = sorted(tmp_path.iterdir())
    ran = vgm(*args)
    assert ran.code == code
    assert ran.out == ""
    assert ran.err.startswith(f"vgm: error: {said}")
    assert ran.err.count("\n") == 1
    if not said.endswith(" "):  # a list that grows follows
        assert ran.err == f"vgm: error: {said}\n"
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_no_vgm_file_is_named_and_exits_with_4(
    vgm: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "x.vgm").write_bytes(b"II*\0" + bytes(100))
    for args in (["info", "x.vgm"], ["decode", "x.vgm", "-o", "out.tif"], ["roi", "x.vgm"]):
        ran = vgm(*args)
        assert (ran.code, ran.out) == (4, "")
        assert re.fullmatch(r"vgm: error: x\.vgm: [^\n]+\n", ran.err)
    assert [p.name for p in tmp_path.iterdir()] == ["x.vgm"]


def test_an_unexpected_error_is_one_line_and_a_traceback_only_with_v(
    vgm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("volmicro_codec.phantom.make_phantom", fail)
    ran = vgm("phantom", "-o", "p.tif")
    assert ran.code == 1
    assert ran.err == "vgm: error: ZeroDivisionError: division by zero (-v shows where)\n"
    ran = vgm("phantom", "-o", "p.tif", "-v")
    assert ran.code == 1
    assert ran.err.startswith("vgm: error: ZeroDivisionError: division by zero\nTraceback")


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [(KeyboardInterrupt, 130, "vgm: interrupted\n"), (app.Terminated, 143, "vgm: terminated\n"),
     (MemoryError, 1, "vgm: error: out of memory\n")],
)  # fmt: skip
def test_an_interrupt_while_writing_leaves_nothing(
    vgm: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    failure: type[BaseException],
    code: int,
    said: str,
) -> None:
    def interrupted(*args: Any) -> None:
        assert any(p.name.endswith(".part") for p in tmp_path.iterdir())
        raise failure

    monkeypatch.setattr("volmicro_codec.atomic._put_in_place", interrupted)
    ran = vgm("phantom", "-o", "p.tif", "--shape", "4,8,8")
    assert ran.code == code
    assert ran.err.lstrip("\n") == said
    assert list(tmp_path.iterdir()) == []


# Many short sleeps: Python sees a signal that comes just before one long sleep begins only when that ends.
SLOW_WRITE = """
import sys, time
from volmicro_codec import phantom
from volmicro_codec.cli import main
from volmicro_codec.io import files
def slabs(array, info):
    yield array[:2]
    print("ready", flush=True)
    for _ in range(6000):
        time.sleep(0.01)
files.array_slabs = slabs
main(["phantom", "-o", "p.tif", "--shape", "4,8,8"])
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_to_the_real_process_leaves_nothing(tmp_path: Path, number: int, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITE],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # Also where the tests run in the background of a shell, or under nohup, which have it ignored.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert process.stdout.readline() == b"ready\n"
    assert any(p.name.endswith(".part") for p in tmp_path.iterdir())
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.decode().strip() in ("vgm: interrupted", "vgm: terminated")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_of_stdout_that_goes_away_is_no_traceback(file: Path) -> None:
    process = subprocess.run(
        f'set -o pipefail; "{sys.executable}" -m volmicro_codec.cli info --json {" ".join([str(file)] * 300)}'
        " | head -c 1",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, b"[", b"")


def shell(command: str, directory: Path) -> Any:
    return subprocess.run(
        command.replace("vgm ", f'"{sys.executable}" -m volmicro_codec.cli ', 1),
        shell=True,
        capture_output=True,
        text=True,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
@pytest.mark.parametrize("command", ["info", "decode -o - --format npy"])
def test_a_full_disk_behind_stdout_is_one_line_and_an_exit_code(file: Path, command: str) -> None:
    ran = shell(f"vgm {command} cells.vgm -q > /dev/full", file.parent)
    assert ran.returncode == 5
    assert ran.stderr == "vgm: error: the output cannot be written: No space left on device\n"


def test_closed_streams_are_no_trouble(file: Path) -> None:
    assert shell("vgm info none.vgm 2>&-", file.parent).returncode == 3
    assert shell("vgm info cells.vgm >&-", file.parent).stderr == ""
    ran = shell("vgm decode cells.vgm -o - >&-", file.parent)
    assert (ran.returncode, ran.stderr) == (5, "vgm: error: -o -: stdout is closed\n")
    assert shell("vgm decode cells.vgm -q -o - >/dev/null", file.parent).returncode == 0
    ran = shell("vgm info - <&-", file.parent)
    assert (ran.returncode, ran.stderr) == (4, "vgm: error: stdin: not a .vgm file: starts with nothing\n")


def test_a_process_that_was_told_to_outlive_its_terminal_does(vgm: Callable[..., Any]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    seen: list[Any] = []
    try:
        app.group.callback, kept = lambda: seen.append(signal.getsignal(signal.SIGHUP)), app.group.callback
        vgm("completion", "bash")
        app.group.callback = kept
        assert seen == [signal.SIG_IGN]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_every_exit_code_of_the_library_is_documented_in_help_and_readme(vgm: Callable[..., Any]) -> None:
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.VgmError)]
    documented = dict(app.EXIT_CODES)
    assert {k.exit_code for k in kinds} <= set(documented)
    shown = " ".join(vgm("--help").out.split())
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("`", "")
    for code, meaning in app.EXIT_CODES:
        assert f"{code} {meaning}" in shown
        assert f"| {code} | {meaning} |" in readme


def test_help_lists_every_command_with_the_first_line_of_its_own_help(vgm: Callable[..., Any]) -> None:
    listed = vgm("--help")
    assert listed.code == 0
    shown = " ".join(listed.out.split())
    for name, (_, line) in app.COMMANDS.items():
        assert f"{name} {line}" in shown
        ran = vgm(name, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith(f"Usage: vgm {name} ")


def test_version(vgm: Callable[..., Any]) -> None:
    ran = vgm("--version")
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(r"vgm \d+\.\d+\.\d+\n", ran.out)


def test_the_readme_says_what_every_command_does() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in app.COMMANDS:
        assert re.search(rf"^\| `vgm {name}\b[^|\n]*(\\\|[^|\n]*)*` \| .+ \|$", readme, re.MULTILINE), name
