"""Building the extension says what it needs where that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="CC names no compiler there")
def test_without_a_compiler_the_last_lines_say_what_is_needed(tmp_path: Path) -> None:
    places = ["--build-lib", str(tmp_path / "lib"), "--build-temp", str(tmp_path / "temp")]
    ran = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", *places],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "CC": str(tmp_path / "no-compiler")},
        timeout=300,
    )
    assert ran.returncode != 0
    assert "no-compiler" in ran.stderr
    assert "It takes a C compiler and nothing else" in ran.stderr.splitlines()[-3]
