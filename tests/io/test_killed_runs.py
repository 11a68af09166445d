"""At every moment an output is the old or the new one, whole; a later run clears up after a killed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volmicro_codec import beside, notices
from volmicro_codec.errors import OutputExistsError
from volmicro_codec.io import atomic_output, check_output, check_volume_output, read_volume, write_volume
from volmicro_codec.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
LOCKS = pytest.mark.skipif(os.name != "posix", reason="the system has no locks that end with a process")

# Writes ones to a path and dies at a place: while writing, or before or after it gives a file its name.
DIES = """
import os, signal, sys
import numpy as np
from volmicro_codec.io import write_volume
from volmicro_codec.volume import Volume
path, place, swaps = sys.argv[1:]
count = [0]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if path.endswith(".zarr"):
    from volmicro_codec.io import zarr_output
    if swaps == "False":
        zarr_output.exchanged = lambda a, b: False
for module, name in ((os, "rename"), (os, "replace"), (os, "link")) + (
    ((zarr_output, "exchanged"),) if path.endswith(".zarr") and swaps == "True" else ()
):
    def call(*args, do=getattr(module, name)):
        count[0] += path in map(os.fspath, args)
        if place == f"before {count[0]}":
            die()
        done = do(*args)
        if place == f"after {count[0]}":
            die()
        return done
    setattr(module, name, call)
volume = Volume.from_array(np.ones((4, 5, 6), np.uint16))
def slabs():
    yield np.ones((2, 5, 6), np.uint16)
    if place == "writing":
        die()
    yield np.ones((2, 5, 6), np.uint16)
write_volume(path, slabs(), volume.info, force=True)
"""


def dies(path: Path, place: str, swaps: bool = True) -> int:
    return subprocess.run(
        [sys.executable, "-c", DIES, str(path), place, str(swaps)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).returncode


@pytest.fixture
def told() -> Iterator[list[str]]:
    said: list[str] = []
    with notices.listening(said.append):
        yield said


def stack(value: int) -> Volume:
    return Volume.from_array(np.full((4, 5, 6), value, np.uint16))


def value(path: Path) -> int:
    found = np.unique(np.asarray(read_volume(path).data))
    assert found.size == 1
    return int(found[0])


@LOCKS
@pytest.mark.parametrize("suffix", [".tif", ".npy", ".ome.zarr"])
@pytest.mark.parametrize("place", ["writing", "before 1", "after 1"])
def test_a_killed_run_leaves_the_old_or_the_new_and_the_next_clears_up(
    tmp_path: Path, told: list[str], suffix: str, place: str
) -> None:
    pytest.importorskip("zarr")
    path = tmp_path / f"v{suffix}"
    write_volume(path, stack(7).data, stack(7).info)
    assert dies(path, place) == -signal.SIGKILL
    assert value(path) == (1 if place == "after 1" else 7)
    write_volume(path, stack(9).data, stack(9).info, force=True)
    assert value(path) == 9
    assert list(tmp_path.iterdir()) == [path]
    if place == "after 1" and suffix != ".ome.zarr":
        assert told == []
    else:
        (said,) = told
        assert said.startswith(
            f"v{suffix}: a run that was killed had left something beside it: removed .v{suffix}."
        )


@LOCKS
@pytest.mark.parametrize("place", ["before 1", "after 1", "before 2", "after 2"])
@pytest.mark.parametrize("force", [True, False])
def test_where_a_directory_has_to_step_aside_it_is_put_back_after_a_kill(
    tmp_path: Path, told: list[str], place: str, force: bool
) -> None:
    pytest.importorskip("zarr")
    path = tmp_path / "v.ome.zarr"
    write_volume(path, stack(7).data, stack(7).info)
    assert dies(path, place, swaps=False) == -signal.SIGKILL
    whole = [p for p in tmp_path.iterdir() if p == path or p.name.endswith(".old")]
    assert {value_of(p) for p in whole} <= {1, 7}
    assert whole
    if force:
        write_volume(path, stack(9).data, stack(9).info, force=True)
    else:
        with pytest.raises(OutputExistsError):
            write_volume(path, stack(9).data, stack(9).info)
    assert value(path) == (9 if force else 1 if place == "after 2" else 7)
    assert list(tmp_path.iterdir()) == [path]
    (said,) = told
    assert ("put back what was there" in said) == (place in ("after 1", "before 2"))


def value_of(path: Path) -> int:
    link = path.with_name("link.zarr")
    link.symlink_to(path)
    try:
        return value(link)
    finally:
        link.unlink()


@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(5, "Input/output error"), MemoryError])
def test_an_interrupt_between_two_renames_loses_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool, failure: Any
) -> None:
    pytest.importorskip("zarr")
    path = tmp_path / "v.ome.zarr"
    write_volume(path, stack(7).data, stack(7).info)
    rename = os.rename

    def interrupted(src: Any, dst: Any) -> None:
        if str(src).endswith(".part"):
            raise failure
        rename(src, dst)

    monkeypatch.setattr(os, "rename", interrupted)
    if not swaps:
        monkeypatch.setattr("volmicro_codec.io.zarr_output.exchanged", lambda a, b: False)
        with pytest.raises((KeyboardInterrupt, OSError, MemoryError)):
            write_volume(path, stack(9).data, stack(9).info, force=True)
        assert value(path) == 7
    else:
        write_volume(path, stack(9).data, stack(9).info, force=True)
        assert value(path) == 9
    assert list(tmp_path.iterdir()) == [path]


@LOCKS
def test_what_a_run_that_is_alive_writes_is_left_alone(tmp_path: Path, told: list[str]) -> None:
    pytest.importorskip("zarr")
    from volmicro_codec.io.zarr_output import zarr_output

    with atomic_output(tmp_path / "v.tif", force=True) as first:
        check_output(tmp_path / "v.tif")
        with atomic_output(tmp_path / "v.tif") as second:
            second.write_bytes(b"second")
        assert first.exists()
    with zarr_output(str(tmp_path / "v.zarr")) as group:
        check_volume_output(tmp_path / "v.zarr")
        assert Path(group).is_dir()
    assert not told


@LOCKS
def test_only_what_runs_for_the_same_target_left_is_cleared(tmp_path: Path, told: list[str]) -> None:
    kept = [
        ".v.tif.part",
        ".v.tif.0123abcd.part.txt",
        ".w.tif.0123abcd.part",
        ".v.tif.0123ABCD.part",
        "v.tif.part",
    ]
    for name in [*kept, ".v.tif.0123abcd.part", ".v.tif.4567abcd.part"]:
        (tmp_path / name).write_bytes(b"x")
    check_output(tmp_path / "v.tif")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
    assert len(told) == 1


@pytest.mark.parametrize("name", ["é" * 120 + ".npy", "x" * 250 + ".npy"])
def test_a_name_of_any_length_can_be_written(tmp_path: Path, name: str) -> None:
    write_volume(tmp_path / name, stack(3).data, stack(3).info)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode in any locale")
def test_a_name_that_the_locale_does_not_know_can_be_written(tmp_path: Path) -> None:
    code = "import sys; from volmicro_codec.io import atomic_output\nwith atomic_output(sys.argv[1]): pass"
    ascii_names = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env = {**os.environ, "PYTHONPATH": str(ROOT), **ascii_names}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "β ‒.tif")], env=env, check=True)
    assert [p.name for p in tmp_path.iterdir()] == ["β ‒.tif"]


def test_where_there_are_no_locks_nothing_is_removed_and_all_else_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "locked", lambda fd: None)
    left = tmp_path / ".v.npy.0123abcd.part"
    left.write_bytes(b"perhaps of a run on another machine")
    write_volume(tmp_path / "v.npy", stack(3).data, stack(3).info)
    assert value(tmp_path / "v.npy") == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == [left.name, "v.npy"]


def test_what_was_left_is_told_by_a_logger_where_nobody_listens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "volmicro_codec"):
        notices.tell("something")
    assert caplog.messages == ["something"]
