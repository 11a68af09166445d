"""Servers that hang, fail, break off or answer something else: tried again, told of, then exit code 8."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec import notices, web
from volmicro_codec.cli.app import run
from volmicro_codec.errors import RemoteError, UsageError
from volmicro_codec.format.sources import UrlSource
from volmicro_codec.io import read_volume
from volmicro_codec.io.zarr_pyramid import write_pyramid
from volmicro_codec.volume import Volume

BOX = ((2, 10), (400, 464), (500, 564))
LOST = {
    "hang": "no answer in time|[Tt]imeout",
    "drip": "no answer in time|[Tt]imeout",
    "reset": ".",
    "cut": "[Pp]ayload",
    "short": r"asked for \d+ bytes, answered with \d+",
    "long": r"asked for \d+ bytes, answered with more",
    "shifted": r"asked for bytes \d+ to \d+, answered with \d+ to \d+",
}


@pytest.fixture
def url(server: Any, large_file: Path) -> str:
    shutil.copy(large_file, server.root / "v.vgm")
    return f"{server.url}/v.vgm"


@pytest.fixture
def told() -> Iterator[list[str]]:
    said: list[str] = []
    with notices.listening(said.append):
        yield said


SILENT = ("hang", "drip")


def impatient(monkeypatch: pytest.MonkeyPatch, mood: str) -> None:
    """A short time-out where a test waits for it, else one that nothing runs into."""
    monkeypatch.setenv("VGM_TIMEOUT", "1" if mood in SILENT else "60")


@pytest.mark.parametrize("mood", LOST)
def test_what_goes_wrong_once_is_tried_again_and_told(
    server: Any,
    url: str,
    large_file: Path,
    told: list[str],
    mood: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    impatient(monkeypatch, mood)
    with volmicro_codec.open(large_file) as local, volmicro_codec.open(url) as remote:
        server.moods = {2: mood}
        if mood == "reset":
            server.moods[3] = mood  # once, on a connection that was open already, is nothing odd
        np.testing.assert_array_equal(remote.read(BOX), local.read(BOX))
    said = told[-1]
    assert said.startswith(f"{url}: ")
    assert said.endswith("; trying again in 0.001 s (1 of 3)")
    assert len(told) == 1 or mood in SILENT


@pytest.mark.parametrize("mood", LOST)
@pytest.mark.parametrize("command", ["info", "roi"])
def test_what_stays_wrong_is_a_remote_error_in_the_end(
    server: Any,
    url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mood: str,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    impatient(monkeypatch, mood)
    server.moods = {0: mood} | ({1: "whole"} if command == "roi" else {})
    args = ["--box", "2:10,400:464,500:564", "-o", str(tmp_path / "x.npy")] if command == "roi" else []
    assert run([command, url, *args]) == 8
    *tries, error = capsys.readouterr().err.splitlines()
    assert error.startswith(f"vgm: error: {url}: bytes ")
    assert re.search(LOST[mood], error)
    waits = [float(line.partition("trying again in ")[2].partition(" s")[0]) for line in tries]
    assert waits == sorted(waits)
    assert len(waits) >= 1
    assert len(set(waits)) == len(waits) or command == "roi"  # of several ranges each has its own
    assert [p.name for p in tmp_path.iterdir()] == ["www"]


def test_5xx_is_tried_again_after_growing_waits(server: Any, url: str, told: list[str]) -> None:
    server.fail = {1, 2, 3}
    with volmicro_codec.open(url) as remote:
        assert remote.shape == (16, 1000, 1000)
    said = "503 Service Unavailable; trying again in"
    assert told == [f"{url}: {said} {w} s ({n} of 3)" for n, w in enumerate((0.001, 0.002, 0.004), 1)]


def test_tries_are_told_on_stderr_unless_quiet(
    server: Any, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for quiet in ([], ["-q"]):
        server.forget()
        server.fail = {1}
        assert run(["info", url, *quiet]) == 0
        line = f"vgm: {url}: 503 Service Unavailable; trying again in 0.001 s (1 of 3)\n"
        assert capsys.readouterr().err == ("" if quiet else line)


def test_a_server_that_never_answers_at_all_is_given_up(
    server: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, "hang")
    server.moods = {-1: "hang", 0: "hang"}
    with pytest.raises(RemoteError, match=LOST["hang"]):
        volmicro_codec.open(url)
    assert server.heads == 2


def test_the_length_of_a_file_is_found_without_head(server: Any, url: str, large_file: Path) -> None:
    server.moods = {-1: "405"}
    assert UrlSource(url).size == large_file.stat().st_size
    assert server.gets == [(0, 0)]


def test_a_slow_answer_is_no_answer(server: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = UrlSource(url)
    monkeypatch.setattr(web, "LEAST_RATE", 1e12)
    monkeypatch.setattr(web, "_clock", iter(range(0, 10**6, 20)).__next__)
    with pytest.raises(RemoteError, match=r"only \d+ bytes in 20 s"):
        source.read(0, 1000)


def test_a_server_without_ranges_is_read_no_further_than_needed(
    server: Any, url: str, large_file: Path
) -> None:
    server.ranges = False
    source, data = UrlSource(url), large_file.read_bytes()
    assert source.read(100, 50) == data[100:150]
    assert source.read(len(data) - 5, 5) == data[-5:]


@pytest.mark.parametrize("text", ["0", "-3", "soon", "inf", "nan", ""])
def test_a_time_out_that_is_no_time_is_refused(url: str, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VGM_TIMEOUT", text)
    with pytest.raises(UsageError, match="VGM_TIMEOUT"):
        UrlSource(url)


@pytest.mark.parametrize("mood", ["hang", "reset", "cut", "503"])
def test_an_ome_zarr_behind_such_a_server_is_read_or_given_up_alike(
    server: Any, told: list[str], monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    pytest.importorskip("zarr")
    impatient(monkeypatch, mood)
    data = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    write_pyramid(str(server.root / "v.ome.zarr"), [data], Volume.from_array(data).info)

    def fail(numbers: range) -> None:
        server.forget()
        server.fail = set(numbers) if mood == "503" else set()
        server.moods = {} if mood == "503" else dict.fromkeys(numbers, mood)

    for number in range(1, 8):
        fail(range(number, number + 1))
        np.testing.assert_array_equal(read_volume(f"{server.url}/v.ome.zarr").data[0, 0], data)
    assert told or mood == "reset"
    fail(range(1, 1000))
    with pytest.raises(RemoteError):
        read_volume(f"{server.url}/v.ome.zarr")
