"""A file is written whole or not at all, and never over another without being told so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from volmicro_codec.errors import OutputError, OutputExistsError, UsageError
from volmicro_codec.format import check_file, write_file


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_written_file_is_the_encoded_one(made: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.vgm"
    assert write_file(path, made.meta, iter(made.chunks)) == len(made.data)
    assert path.read_bytes() == made.data
    assert names(tmp_path) == ["a.vgm"]
    assert check_file(path)["ok"]


def test_permissions_follow_the_umask(made: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.vgm"
    write_file(path, made.meta, made.chunks)
    (tmp_path / "b").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "b").stat().st_mode


def test_existing_file_is_kept_without_force(made: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.vgm"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        write_file(path, made.meta, made.chunks)
    with pytest.raises(FileExistsError):
        write_file(path, made.meta, made.chunks)
    assert path.read_text() == "mine"
    write_file(path, made.meta, made.chunks, force=True)
    assert path.read_bytes() == made.data
    assert names(tmp_path) == ["a.vgm"]


def test_file_that_appears_during_the_write_is_kept(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.vgm"
    fsync = os.fsync

    def appear(fd: int) -> None:
        path.write_text("mine")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", appear)
    with pytest.raises(OutputExistsError):
        write_file(path, made.meta, made.chunks)
    assert path.read_text() == "mine"
    assert names(tmp_path) == ["a.vgm"]


def test_file_system_without_hard_links_is_served(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(a: str, b: str) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "link", no_link)
    write_file(tmp_path / "a.vgm", made.meta, made.chunks)
    assert (tmp_path / "a.vgm").read_bytes() == made.data
    assert names(tmp_path) == ["a.vgm"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), MemoryError()]
)
def test_failed_write_leaves_nothing_and_keeps_what_was_there(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "a.vgm"
    path.write_text("mine")

    def fail(fd: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write_file(path, made.meta, made.chunks, force=True)
    assert path.read_text() == "mine"
    assert names(tmp_path) == ["a.vgm"]


def test_folder_that_is_not_there_is_an_output_error(made: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write_file(tmp_path / "none" / "a.vgm", made.meta, made.chunks)


@pytest.mark.parametrize("force", [False, True])
def test_folder_is_not_replaced(made: Any, tmp_path: Path, force: bool) -> None:
    with pytest.raises(OutputError, match="directory"):
        write_file(tmp_path, made.meta, made.chunks, force=force)


def test_what_cannot_be_stored_leaves_nothing(made: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_file(tmp_path / "a.vgm", made.meta, made.chunks[::-1])
    assert names(tmp_path) == []
