"""A real web server on this machine that counts what is asked of it."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volmicro_codec.convert.imports import write_primitives
from volmicro_codec.primitives import Primitives
from volmicro_codec.volume import VolumeInfo

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@dataclass
class Server:
    """What is served, how, and what was asked.

    Attributes
    ----------
    root : Path
    url : str
    ranges : bool
        Whether it honours ranges.
    fail : set of int
        Numbers of GET requests, from 1, that are answered with 503.
    moods : dict
        What else happens to GET requests, by their number, or for all that no number names by 0:
        "hang", "reset", "cut" (half of the body), "short", "long", "shifted" (a range of other
        bytes), "drip" (a byte, then nothing), "whole".
    released : threading.Event
        What those that hang wait for.
    gets : list of (first, last)
        The range of each GET, None for a whole file.
    heads, sent : int
        HEAD requests, and bytes of bodies.
    together : threading.Barrier or None
        Where a GET waits until as many as it says are waiting; one that waits in vain is answered with 503.
    """

    root: Path
    url: str = ""
    ranges: bool = True
    fail: set[int] = field(default_factory=set)
    moods: dict[int, str] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    gets: list[tuple[int, int] | None] = field(default_factory=list)
    heads: int = 0
    sent: int = 0
    together: threading.Barrier | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Start counting again."""
        self.gets.clear()
        self.heads = self.sent = 0


class Handler(BaseHTTPRequestHandler):
    """Serves a directory by GET and HEAD, with ranges."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        with self.served.lock:
            self.served.heads += 1
        if self.served.moods.get(-1) == "hang":
            self.served.released.wait()
            self.close_connection = True
        elif self.served.moods.get(-1) == "405":
            self.plain(405)
        else:
            self.answer(False)

    def do_GET(self) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        with self.served.lock:
            self.served.gets.append((int(match[1]), int(match[2])) if match else None)
            number = len(self.served.gets)
        if number in self.served.fail:
            self.plain(503)
            return
        mood = self.served.moods.get(number, self.served.moods.get(0))
        if mood is not None:
            self.moody(mood, match)
            return
        if self.served.together is not None:
            try:
                self.served.together.wait()
            except threading.BrokenBarrierError:
                self.plain(503)
                return
        self.answer(True, match)

    @property
    def served(self) -> Server:
        server: Any = self.server
        found: Server = server.served
        return found

    def plain(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, body: bool, wanted: re.Match[str] | None = None) -> None:
        file = self.served.root / self.path.lstrip("/")
        if not file.is_file():
            self.plain(404)
            return
        data = file.read_bytes()
        if wanted and self.served.ranges:
            first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        else:
            self.send_response(200)
        if self.served.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            with self.served.lock:
                self.served.sent += len(data)
            self.wfile.write(data)

    def moody(self, mood: str, wanted: re.Match[str] | None) -> None:
        """Answer as no server should."""
        self.close_connection = True
        if mood == "hang":
            self.served.released.wait()
        elif mood == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            file = self.served.root / self.path.lstrip("/")
            if not file.is_file():
                self.plain(404)
                return
            data = file.read_bytes()
            first, last = (int(wanted[1]), int(wanted[2])) if wanted else (0, len(data))
            last = min(last, len(data) - 1)
            shift = 7 * (mood == "shifted")
            body = data[first + shift : last + 1 + shift + {"short": -9, "long": 9}.get(mood, 0)]
            said = shift if mood == "shifted" else 0
            self.send_response(206)
            if mood not in ("short", "long"):
                self.send_header("Content-Range", f"bytes {first + said}-{last + said}/{len(data)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if mood in ("cut", "drip"):
                body = body[: len(body) // 2 if mood == "cut" else 1]
            self.wfile.write(body)
            self.wfile.flush()
            if mood == "drip":
                self.served.released.wait()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serves ``tmp_path / "www"``."""
    (tmp_path / "www").mkdir()
    http: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.served = Server(tmp_path / "www", f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield http.served
    http.served.released.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits before further tries that are no waits."""
    monkeypatch.setattr("volmicro_codec.web.WAITS", (0.001, 0.002, 0.004))


@pytest.fixture(scope="session")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 64 chunks in a grid of 8 x 8 bricks, of some 6 kB each."""
    rng = np.random.default_rng(0)
    n, shape = 20_000, (16, 1000, 1000)
    p = Primitives(
        rng.uniform(0, 1, (n, 3)) * shape,
        rng.uniform(0.8, 2, (n, 3)).astype(np.float32),
        rng.normal(size=(n, 4)).astype(np.float32),
        rng.uniform(0.1, 1, n).astype(np.float32),
    )
    path = tmp_path_factory.mktemp("large") / "v.vgm"
    write_primitives(path, p, VolumeInfo((1, 1, *shape), np.dtype("uint16")), ((100.0, 1000.0),))
    return path
