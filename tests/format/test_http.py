"""A file behind a web server is opened with one request for its head, and read by range."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import volmicro_codec
from volmicro_codec.errors import MissingFileError, RemoteError, UsageError
from volmicro_codec.format import VgmReader
from volmicro_codec.io import read_volume

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


class Handler(BaseHTTPRequestHandler):
    """Serves one file; ``served.ranges`` says whether it honours ranges."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        server: Any = self.server
        if self.path == "/broken.vgm" and "Range" in self.headers and body:
            self.send_error(503)
            return
        if self.path not in ("/a.vgm", "/broken.vgm"):
            self.send_error(404)
            return
        data, wanted = server.data, self.headers.get("Range")
        if wanted and server.ranges:
            first, last = (int(v) for v in wanted.removeprefix("bytes=").split("-"))
            last = min(last, len(data) - 1)
            part = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            if body:
                server.bytes_sent += len(part)
                server.requests += 1
        else:
            part = data
            self.send_response(200)
        if server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.wfile.write(part)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(many: Any) -> Iterator[Any]:
    served: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.data, served.ranges, served.bytes_sent, served.requests = many.data, True, 0, 0
    served.url = f"http://127.0.0.1:{served.server_port}"
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.mark.parametrize("ranges", [True, False])
def test_chunks_come_back_whether_or_not_the_server_honours_ranges(
    server: Any, many: Any, ranges: bool
) -> None:
    server.ranges = ranges
    with VgmReader.open(f"{server.url}/a.vgm") as reader:
        found = reader.read_many([0, 1, 150, 199])
    assert [r.tobytes() for r in found] == [many.records[i].tobytes() for i in (0, 1, 150, 199)]


def test_only_what_is_needed_is_asked_for(server: Any, many: Any) -> None:
    with VgmReader.open(f"{server.url}/a.vgm") as reader:
        assert server.requests == 1
        reader.read_many([199])
    assert server.requests == 2
    assert server.bytes_sent < 65536 + 1000 < len(many.data)


def test_missing_file_and_failing_server_are_told_apart(server: Any) -> None:
    with pytest.raises(MissingFileError):
        VgmReader.open(f"{server.url}/none.vgm")
    with pytest.raises(RemoteError, match="503"):
        VgmReader.open(f"{server.url}/broken.vgm")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "no URL of a file, expected http://HOST/PATH"),
        ("https:///a.vgm", "no URL of a file, expected https://HOST/PATH"),
        ("http://host:port/a.vgm", "no URL of a file, expected http://HOST/PATH"),
        ("simplecache::http:///a.vgm", "no URL of a file, expected http://HOST/PATH"),
        ("foo://x", "unknown protocol 'foo', expected http, https, s3, file or another of fsspec's"),
        ("foo://x.ome.zarr", "unknown protocol 'foo', expected http, https, s3, file or another of fsspec's"),
    ],
)
def test_a_url_behind_which_nothing_can_be_is_refused_at_once(url: str, said: str) -> None:
    for opened in (volmicro_codec.open, read_volume):
        with pytest.raises(UsageError) as raised:
            opened(url)
        assert str(raised.value) == f"{url}: {said}"
