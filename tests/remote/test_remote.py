"""A file behind a URL: its head is one request, a region as few as its chunks need, and it is the same."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.cli.app import run
from volmicro_codec.decoder.prefix import PrefixSource
from volmicro_codec.errors import FormatError, RemoteError
from volmicro_codec.format import VgmReader, sources
from volmicro_codec.format.sources import open_source
from volmicro_codec.io import read_volume
from volmicro_codec.io.zarr_pyramid import write_pyramid
from volmicro_codec.volume import Volume

BOX = ((2, 10), (400, 464), (500, 564))


@pytest.fixture
def url(server: Any, large_file: Path) -> str:
    shutil.copy(large_file, server.root / "v.vgm")
    return f"{server.url}/v.vgm"


def test_opening_takes_one_request_for_header_metadata_and_index(server: Any, url: str) -> None:
    with VgmReader.open(url) as reader:
        assert len(reader.entries) == 64
        assert server.gets == [(0, 65535)]
        assert server.heads <= 1


def test_info_reads_the_head_alone(server: Any, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--json", url]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [16, 1000, 1000]
    assert server.gets == [(0, 65535)]


def test_a_region_takes_one_request_for_each_run_of_chunks_it_needs(
    server: Any, url: str, large_file: Path
) -> None:
    with volmicro_codec.open(large_file) as local:
        expected = local.read(BOX)
    with VgmReader.open(large_file) as reader:
        lo, hi = reader.index.support_lo, reader.index.support_hi
        # The evaluated box is one of whole tiles, so a little larger than what is asked for.
        a, b = np.array([v[0] for v in BOX]) - 32, np.array([v[1] for v in BOX]) + 32
        near = np.flatnonzero((np.maximum(lo, a) < np.minimum(hi, b)).all(axis=1))
        needed = int(reader.index.length[near].sum())
        rows = len(np.unique(reader.index.brick_lo[near, 1]))
    with volmicro_codec.open(url) as remote:
        opened = server.sent
        np.testing.assert_array_equal(remote.read(BOX), expected)
        # Bricks of a row follow one another in the file, rows are far apart.
        assert 1 <= len(server.gets) - 1 <= rows <= 3
        assert server.sent - opened <= needed + rows * 2 * 16384
        assert server.sent < 0.5 * large_file.stat().st_size
        asked = len(server.gets)
        remote.read(BOX)
        assert len(server.gets) == asked  # it is kept


def test_the_whole_is_read_in_few_large_requests(server: Any, url: str, large_file: Path) -> None:
    with volmicro_codec.open(url) as remote, volmicro_codec.open(large_file) as local:
        np.testing.assert_array_equal(np.asarray(remote), np.asarray(local))
    assert len(server.gets) == 2
    assert server.sent <= large_file.stat().st_size + 65536


@pytest.mark.parametrize("prefix", [False, True])
def test_runs_that_lie_far_apart_are_fetched_at_once(
    server: Any, url: str, large_file: Path, prefix: bool
) -> None:
    with VgmReader.open(large_file) as local:
        expected = [r.tobytes() for r in local.read_many([60, 20, 0, 40])]
        index = local.index
    source: Any = open_source(url)
    with VgmReader.open(PrefixSource(source, source.size) if prefix else source) as remote:
        server.forget()
        # None of the three is answered before all are asked for.
        server.together = threading.Barrier(3, timeout=30)
        found = remote.read_many([60, 20, 0, 40])  # chunk 0 came with the head
    assert [r.tobytes() for r in found] == expected
    spans = [(int(index.offset[i]), int(index.offset[i] + index.length[i]) - 1) for i in (20, 40, 60)]
    assert sorted(server.gets) == spans  # type: ignore[type-var]
    assert server.sent == sum(b - a + 1 for a, b in spans)


def test_no_more_are_under_way_than_a_server_should_bear(
    server: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CONCURRENT", 2)
    with VgmReader.open(url) as remote:
        server.forget()
        server.together = threading.Barrier(2, timeout=30)  # pairs pass it, a single one would not
        remote.read_many([15, 25, 35, 45])
        assert len(server.gets) == 4
        server.together = None
        server.fail = set(range(5, 50))
        with pytest.raises(RemoteError, match=r"v\.vgm: bytes \d+\.\.\d+: 503"):
            remote.read_many([16, 26, 36, 46])


def test_roi_and_decode_take_urls(server: Any, url: str, large_file: Path, tmp_path: Path) -> None:
    roi = tmp_path / "roi.tif"
    assert run(["roi", url, "--box", "2:10,400:464,500:564", "-o", str(roi)]) == 0
    assert len(server.gets) <= 4
    with volmicro_codec.open(large_file) as local:
        np.testing.assert_array_equal(read_volume(roi).data[0, 0], local.read(BOX))
        assert run(["decode", url, "--level", "2", "-o", str(tmp_path / "v.npy")]) == 0
        np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), np.asarray(local.level(2)))


def test_a_server_without_ranges_serves_all_the_same(server: Any, url: str, large_file: Path) -> None:
    server.ranges = False
    with volmicro_codec.open(url) as remote, volmicro_codec.open(large_file) as local:
        np.testing.assert_array_equal(remote.read(BOX), local.read(BOX))


def test_an_open_remote_file_pickles_as_its_url(url: str, large_file: Path) -> None:
    with volmicro_codec.open(url) as remote, volmicro_codec.open(large_file) as local:
        again = pickle.loads(pickle.dumps(remote))
        np.testing.assert_array_equal(again.read(BOX), local.read(BOX))


def test_dask_blocks_are_read_by_range(server: Any, url: str, large_file: Path) -> None:
    pytest.importorskip("dask")
    with volmicro_codec.open(url) as remote, volmicro_codec.open(large_file) as local:
        lazy = remote.to_dask(chunks=(16, 200, 200))
        np.testing.assert_array_equal(lazy[:, 200:400, 600:800].compute(), local[:, 200:400, 600:800])
    assert server.sent < 0.6 * large_file.stat().st_size


def test_a_budget_reads_no_more_than_it_says(server: Any, url: str, large_file: Path) -> None:
    with VgmReader.open(large_file) as reader:
        budget = int(reader.index.offset[3])
    with volmicro_codec.open(url, budget=budget) as preview:
        np.asarray(preview.level(3))
        assert preview.chunks_missing == 61
    assert max(last for _, last in server.gets) < budget
    assert server.sent <= budget + 48  # the header alone comes first, to know where the first chunk starts


def test_what_a_server_refuses_has_its_exit_code(
    server: Any, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail = {2, 3, 4, 5}
    with volmicro_codec.open(url) as remote, pytest.raises(RemoteError, match="503"):
        remote.read(BOX)
    server.forget()
    assert run(["decode", url, "-o", str(tmp_path / "v.npy")]) == 8
    assert not (tmp_path / "v.npy").exists()
    server.forget()
    server.fail = {1, 2, 3, 4}
    assert run(["info", url, "-q"]) == 8
    assert capsys.readouterr().err.splitlines()[-1].endswith(": 503 Service Unavailable")
    server.fail = set()
    assert run(["info", f"{server.url}/none.vgm"]) == 3
    assert run(["info", "http://127.0.0.1:9/v.vgm"]) == 8


@pytest.mark.parametrize("kind", ["memory", "file", "zip"])
def test_any_url_that_fsspec_knows_will_do(kind: str, large_file: Path, tmp_path: Path) -> None:
    import fsspec

    if kind == "memory":
        url = "memory://bucket/v.vgm"
        fsspec.filesystem("memory").pipe("/bucket/v.vgm", large_file.read_bytes())
    elif kind == "file":
        url = large_file.as_uri()
    else:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(large_file, "v.vgm")
        url = f"zip://v.vgm::{tmp_path / 'a.zip'}"
    with volmicro_codec.open(url) as remote, volmicro_codec.open(large_file) as local:
        np.testing.assert_array_equal(remote.read(BOX), local.read(BOX))


def test_a_damaged_chunk_behind_a_url_is_found(server: Any, url: str) -> None:
    data = bytearray((server.root / "v.vgm").read_bytes())
    data[-100] ^= 1
    (server.root / "v.vgm").write_bytes(data)
    with volmicro_codec.open(url) as remote, pytest.raises(FormatError, match="checksum"):
        np.asarray(remote)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_behind_a_url_is_read_chunk_by_chunk(server: Any, version: str, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    data = np.random.default_rng(0).integers(0, 255, (2, 40, 300, 300), dtype=np.uint8)
    volume = Volume.from_array(data, "CZYX", voxel_size=(2.0, 0.5, 0.5), unit="µm")
    write_pyramid(
        str(server.root / "v.ome.zarr"), [data, data[:, ::2, ::2, ::2]], volume.info, version=version
    )
    read = read_volume(f"{server.url}/v.ome.zarr", channel=1)
    np.testing.assert_array_equal(read.data[0, 0], data[1])
    assert read.info.voxel_size == (2.0, 0.5, 0.5)
    level_0 = sum(f.stat().st_size for f in (server.root / "v.ome.zarr" / "0").rglob("*") if f.is_file())
    assert server.sent < 0.6 * level_0
    with pytest.raises(RemoteError):
        read_volume(f"{server.url}/none.ome.zarr")
