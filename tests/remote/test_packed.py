"""A packed file behind a web server: one request opens it, and an overview takes two more."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec as vgm
from tests.format.packed_files import packed
from volmicro_codec.cli.app import run
from volmicro_codec.errors import ChecksumError, RemoteError
from volmicro_codec.format.packed import FILES, PLAIN, ZSTD
from volmicro_codec.volume import VolumeInfo

SHAPE = (256, 192, 192)
EDGES = [(32, 32, 32), (16, 16, 16), (8, 8, 8), (32, 32, 32)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    """288 chunks on each of three levels and 6 on the coarsest; pages of 16."""
    info = VolumeInfo((1, 1, *SHAPE), np.dtype(np.uint16), "ZYX")
    data, arrays = packed(
        info, EDGES, [FILES, PLAIN, PLAIN, ZSTD],
        lambda n, image, z, y, x: 1000 * n + 100 * z + 10 * y + x if (z + y) % 7 else None, page_log2=4,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("packed") / "a.vgm"
    path.write_bytes(data)
    return path, arrays


@pytest.fixture
def url(server: Any, made: tuple[Path, list[np.ndarray]]) -> str:
    (server.root / "a.vgm").write_bytes(made[0].read_bytes())
    return f"{server.url}/a.vgm"


def test_opening_takes_one_request(server: Any, url: str) -> None:
    with vgm.open(url) as array:
        assert array.shape == SHAPE
    assert server.gets == [(0, 65535)]


def test_an_overview_takes_two_requests_more(
    server: Any, url: str, made: tuple[Path, list[np.ndarray]]
) -> None:
    with vgm.open(url) as array:
        server.forget()
        for n in (3, 2):
            server.forget()
            found = array.level(n)[...]
            assert np.array_equal(found, made[1][n][0, 0])
            assert len(server.gets) <= 2
            assert server.sent < server.root.joinpath("a.vgm").stat().st_size / 2


def test_a_region_reads_its_pages_and_chunks_and_pages_once(
    server: Any, url: str, made: tuple[Path, list[np.ndarray]]
) -> None:
    box = (slice(70, 90), slice(40, 60), slice(100, 120))
    with vgm.open(url) as array:
        server.forget()
        assert np.array_equal(array[box], made[1][0][0, 0][box])
        first = len(server.gets)
        assert server.sent < 64 << 10
        server.forget()
        assert np.array_equal(array[box], made[1][0][0, 0][box])
        assert len(server.gets) == first - 1


def test_nothing_is_asked_for_chunks_that_are_left_out(server: Any, url: str) -> None:
    with vgm.open(url) as array:
        array[0, 0, :]
        server.forget()
        assert (array[:32, :32, 32:64] == 7).all()
        assert not server.gets


def test_commands_take_its_url(
    url: str, made: tuple[Path, list[np.ndarray]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", url]) == 0
    assert "4 levels" in (said := capsys.readouterr().out) or "level 3" in said
    assert run(["roi", url, "--level", "1", "--box", "3:9,:,:", "-o", str(tmp_path / "a.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "a.npy"), made[1][1][0, 0, 3:9])


def test_it_pickles_as_its_url(url: str, made: tuple[Path, list[np.ndarray]]) -> None:
    with vgm.open(url) as array:
        text = pickle.dumps(array.level(1))
    assert len(text) < 2000
    assert np.array_equal(pickle.loads(text)[3:9], made[1][1][0, 0, 3:9])


def test_a_server_without_ranges_serves_all_the_same(
    server: Any, url: str, made: tuple[Path, list[np.ndarray]]
) -> None:
    server.ranges = False
    assert np.array_equal(vgm.imread(url, 2), made[1][2][0, 0])


def test_damage_and_failures_are_told(server: Any, url: str) -> None:
    file = server.root / "a.vgm"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with vgm.open(url) as array:
        array.level(2)[:8]
        with pytest.raises(ChecksumError, match="level 0, page"):
            array[-1, -1, -1]
    server.moods[0] = "short"
    with pytest.raises(RemoteError):
        vgm.open(url)
