"""Where files are read from, how few reads that takes, and what a prefix gives."""

from __future__ import annotations

import io
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volmicro_codec.errors import (
    DependencyError,
    FormatError,
    InputError,
    MissingFileError,
    RemoteError,
    UsageError,
)
from volmicro_codec.format import EncodedChunk, VgmReader, encode_file, where_bytes_go
from volmicro_codec.format.sources import BytesSource, open_source


class CountedSource(BytesSource):
    """Bytes that remember how they were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return super().read(offset, length)


def same(found: list[Any], expected: list[Any]) -> bool:
    return [f.tobytes() for f in found] == [e.tobytes() for e in expected]


@pytest.fixture
def sources(made: Any, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "a.vgm"
    path.write_bytes(made.data)
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://vgm-test/a.vgm", "wb") as file:
        file.write(made.data)
    return {
        "path": path,
        "str": str(path),
        "bytes": made.data,
        "bytearray": bytearray(made.data),
        "memoryview": memoryview(made.data),
        "file object": io.BytesIO(made.data),
        "url of a file": path.as_uri(),
        "url of memory": "memory://vgm-test/a.vgm",
        "source": open_source(made.data),
    }


KINDS = [
    "path",
    "str",
    "bytes",
    "bytearray",
    "memoryview",
    "file object",
    "url of a file",
    "url of memory",
    "source",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same(made: Any, sources: dict[str, Any], kind: str) -> None:
    with VgmReader.open(sources[kind]) as reader:
        assert reader.meta == made.meta
        assert same(reader.read_many(range(4)), made.records)
        assert same([reader.read_records(2)], [made.records[2]])


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "file object"])
def test_reader_can_be_pickled(made: Any, sources: dict[str, Any], kind: str) -> None:
    with VgmReader.open(sources[kind]) as reader, pickle.loads(pickle.dumps(reader)) as again:
        assert again.meta == reader.meta
        assert same(again.read_many(range(4)), made.records)


def test_reader_of_a_file_object_says_why_it_cannot_be_pickled(made: Any) -> None:
    with VgmReader.open(io.BytesIO(made.data)) as reader, pytest.raises(UsageError, match="pickled"):
        pickle.dumps(reader)


def test_file_object_stays_open(made: Any) -> None:
    file = io.BytesIO(made.data)
    VgmReader.open(file).close()
    assert not file.closed


def test_path_is_closed_on_close_and_where_opening_fails(made: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.vgm"
    path.write_bytes(made.data + bytes(100_000))
    with pytest.raises(FormatError):
        VgmReader.open(path)
    source = open_source(path)
    source.close()
    with pytest.raises(UsageError, match="after close"):
        source.read(0, 1)


@pytest.mark.parametrize("kind", ["path", "file object", "bytes"])
def test_threads_share_a_reader(many: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.vgm"
    path.write_bytes(many.data)
    source = {"path": path, "file object": io.BytesIO(many.data), "bytes": many.data}[kind]
    with VgmReader.open(source) as reader, ThreadPoolExecutor(8) as pool:
        order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(many.chunks)), 5)).tolist()
        found = list(pool.map(reader.read_records, order))
    assert same(found, [many.records[i] for i in order])


def test_small_file_takes_one_read_for_everything(made: Any) -> None:
    source = CountedSource(made.data)
    reader = VgmReader.open(source)
    reader.read_many(range(4))
    assert source.reads == [(0, len(made.data))]


def test_large_index_takes_two_reads(made: Any) -> None:
    rng = np.random.default_rng(0)
    chunks = [EncodedChunk(**(vars(made.chunks[0]) | {"payload": rng.bytes(30)})) for _ in range(30_000)]
    source = CountedSource(encode_file(made.meta, chunks))
    reader = VgmReader.open(source)
    start = reader.header.payload_start
    assert source.reads == [(0, 65536), (65536, start - 65536)]


def test_neighbours_are_read_together_and_far_chunks_apart(many: Any) -> None:
    source = CountedSource(many.data)
    reader = VgmReader.open(source)
    source.reads.clear()
    entries = reader.entries
    last = [i for i, e in enumerate(entries) if e.offset > 65536]
    assert len(last) > 40
    near, gap = last[:5], last[6]
    assert same(reader.read_many([*near, gap]), [many.records[i] for i in (*near, gap)])
    assert len(source.reads) == 1
    source.reads.clear()
    assert entries[last[-1]].offset - entries[last[0]].offset > 16384
    reader.read_many([last[0], last[-1]])
    assert len(source.reads) == 2
    assert sum(length for _, length in source.reads) < 1000


def test_read_many_keeps_order_and_repeats(many: Any) -> None:
    ids = [150, 3, 3, 199, 0, 150]
    with VgmReader.open(many.data) as reader:
        assert same(reader.read_many(ids), [many.records[i] for i in ids])
        assert reader.read_many([]) == []


@pytest.mark.parametrize("i", [-1, 4])
def test_chunk_that_is_not_there_is_a_usage_error(made: Any, i: int) -> None:
    with VgmReader.open(made.data) as reader, pytest.raises(UsageError, match="chunks 0 to 3"):
        reader.read_records(i)


def test_every_prefix_past_the_index_gives_its_whole_chunks(made: Any) -> None:
    with VgmReader.open(made.data) as reader:
        ends = [e.offset + e.length for e in reader.entries]
        start = reader.header.payload_start
    for length in range(len(made.data) + 1):
        prefix = made.data[:length]
        if length < start:
            with pytest.raises(FormatError):
                VgmReader.open(prefix, prefix=True)
            continue
        with VgmReader.open(prefix, prefix=True) as reader:
            whole = sum(end <= length for end in ends)
            assert len(reader.entries) == whole
            assert reader.chunks_missing == 4 - whole
            assert same(reader.read_many(range(whole)), made.records[:whole])
            assert reader.file_size == len(made.data)


def test_where_bytes_go_adds_up(many: Any) -> None:
    with VgmReader.open(many.data) as reader:
        report = where_bytes_go(reader)
    assert report["file"] == len(many.data) == report["overhead"] + report["payload"]
    assert report["overhead"] == report["header"] + report["metadata"] + report["index"]
    for groups in (report["by_coding"], report["by_level"]):
        assert sum(g["bytes"] for g in groups.values()) == report["payload"]
        assert sum(g["chunks"] for g in groups.values()) == report["chunks"] == 200
        assert sum(g["primitives"] for g in groups.values()) == report["primitives"] == 4000


def test_missing_path_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        VgmReader.open(tmp_path / "none.vgm")
    with pytest.raises(FileNotFoundError):
        VgmReader.open(tmp_path / "none.vgm")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory"):
        VgmReader.open(tmp_path)


def test_missing_url_is_a_missing_file() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(MissingFileError):
        VgmReader.open("memory://vgm-test/none.vgm")


def test_an_unknown_protocol_is_no_url() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError, match="unknown protocol 'nosuch', expected http, https, s3, file or"):
        VgmReader.open("nosuch://a/b.vgm")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
def test_a_pipe_with_a_name_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.vgm")
    with pytest.raises(InputError, match=r"a\.vgm: not a regular file"):
        VgmReader.open(tmp_path / "a.vgm")


def test_url_without_fsspec_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(DependencyError, match="fsspec"):
        VgmReader.open("memory://vgm-test/a.vgm")


def test_remote_failure_in_the_middle_is_a_remote_error(many: Any) -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://vgm-test/b.vgm", "wb") as file:
        file.write(many.data)
    with VgmReader.open("memory://vgm-test/b.vgm") as reader:
        fsspec.filesystem("memory").rm("/vgm-test/b.vgm")
        with pytest.raises(RemoteError, match="vgm-test"):
            reader.read_records(199)


def test_file_that_shrinks_while_it_is_open_is_a_format_error(many: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.vgm"
    path.write_bytes(many.data)
    with VgmReader.open(path) as reader:
        path.write_bytes(many.data[:70_000])
        with pytest.raises(FormatError, match="cut short"):
            reader.read_records(199)


@pytest.mark.parametrize("source", [None, 7, ["a"]])
def test_anything_else_is_a_usage_error(source: object) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        VgmReader.open(source)


def test_stream_that_cannot_seek_is_refused() -> None:
    class Pipe(io.BytesIO):
        def seek(self, *args: Any) -> int:
            raise io.UnsupportedOperation("seek")

    with pytest.raises(InputError, match="seek"):
        VgmReader.open(Pipe(b"x"))
