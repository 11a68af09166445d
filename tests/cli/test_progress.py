"""Progress is drawn where someone watches, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from volmicro_codec.progress import Progress, SilentProgress

ROOT = Path(__file__).resolve().parents[2]


def stderr_on_a_terminal(directory: Path, *args: str) -> str:
    """What ``vgm`` writes to stderr when that is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "volmicro_codec.cli", *args],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # how a pty says that the other side is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait(60) == 0
    assert process.stdout.read() == b""
    process.stdout.close()
    return said.decode()


def test_on_a_terminal_stages_have_bars_and_an_eta(tmp_path: Path) -> None:
    said = stderr_on_a_terminal(tmp_path, "phantom", "-o", "p.tif", "--shape", "4,8,8")
    assert "phantom" in said
    assert "ETA" in said
    assert "writing" in said
    assert "100%" in said


def test_with_q_there_is_nothing_even_on_a_terminal(tmp_path: Path) -> None:
    assert stderr_on_a_terminal(tmp_path, "phantom", "-o", "p.tif", "--shape", "4,8,8", "-q") == ""


@pytest.mark.parametrize("stages", [[], ["one"], ["one", "two"]])
def test_a_silent_progress_takes_every_call(stages: list[str]) -> None:
    progress: Progress = SilentProgress()
    for stage in stages:
        progress.start(stage, 2)
        progress.advance(2)
    assert progress.finish() is None
