"""A packed file of 2.5 million chunks: its root, opening, overview and a slice, counted over http.

    python benchmarks/pack.py [--out benchmarks/results/pack.json]

Every chunk is there and of one value, so that the file is cheap to make; pages are as full as they are of any
other file. Once with bricks of 128 voxels (5 TB of uint16), once with those of 1024 (1 PB).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

import volmicro_codec
from volmicro_codec.decoder import MultiscaleArray
from volmicro_codec.format import FileMeta, encode_file
from volmicro_codec.format.packed import FILES, Level, level_of, usual_page_log2
from volmicro_codec.format.packed_reader import PackedReader, peek
from volmicro_codec.format.packed_writer import PackedWriter
from volmicro_codec.store.grid import Grid
from volmicro_codec.store.join import CHUNK
from volmicro_codec.volume import VolumeInfo

HERE = Path(__file__).resolve().parent
BRICKS = {128: 108, 1024: 79}
"""Edge of the bricks, and how many there are along each axis."""
LEVEL = 5
RUNS = 11
VALUES = 500

OPENING = """
import re, sys, time
import numpy
from volmicro_codec.decoder.opening import open as open_vgm

def peak():  # of this process alone: ru_maxrss begins with that of the one that started it
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

before = peak()
began = time.perf_counter()
array = open_vgm(sys.argv[1])
print(time.perf_counter() - began, peak() - before, peak())
"""


def levels_of(info: VolumeInfo, edge: int) -> list[Level]:
    """The levels that a store of such bricks has."""
    grid = Grid(info, edge)
    out = []
    for n in range(len(grid.levels)):
        own = n < grid.own_levels
        chunk = (edge >> n if own else CHUNK,) * 3
        chunks = level_of(info, n, chunk, FILES, 100, 0).chunks
        out.append(level_of(info, n, chunk, FILES, 100, usual_page_log2(chunks)))
    return out


def chunk_of(level: Level, value: int) -> bytes:
    """A chunk of one value."""
    info = VolumeInfo((1, 1, *level.chunk), np.dtype(np.uint16), "ZYX")
    return encode_file(FileMeta(info, 12.0, ((float(value), 1.0),)), [])


def write(path: Path, edge: int, count: int) -> list[Level]:
    """A file whose chunks are flat, each of one of a few hundred values."""
    info = VolumeInfo((1, 1, *(edge * count,) * 3), np.dtype(np.uint16), "ZYX", (1.0, 1.0, 1.0), "µm")
    levels = levels_of(info, edge)
    with open(path, "wb") as file:
        writer = PackedWriter(file, info, "benchmarks/pack.py", levels, [b""] * (len(levels) + 1))
        for level in reversed(levels):
            some = [chunk_of(level, value) for value in range(VALUES)]
            rng = np.random.default_rng(0)
            for _ in range(level.chunks):
                writer.put(some[int(rng.integers(VALUES))])
        writer.finish()
    return levels


class Counting(BaseHTTPRequestHandler):
    """Serves one file by range, and notes the bytes of each GET."""

    protocol_version = "HTTP/1.1"
    path_served: Path
    gets: list[int] = []  # noqa: RUF012 - of the class on purpose: a handler lives for one connection

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        size = self.path_served.stat().st_size
        first, last = 0, size - 1
        wanted = self.headers.get("Range")
        if wanted:
            first, last = (int(n) for n in wanted.removeprefix("bytes=").split("-"))
            last = min(last, size - 1)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if body:
            with open(self.path_served, "rb") as file:
                file.seek(first)
                self.wfile.write(file.read(last - first + 1))
            self.gets.append(last - first + 1)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def over_http(path: Path) -> dict[str, dict[str, int]]:
    """Requests and bytes of opening, of level 5, of the coarsest level, and of a slice at full resolution."""
    Counting.path_served = path
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{path.name}"
    out: dict[str, dict[str, int]] = {}

    def told(name: str) -> None:
        out[name] = {"requests": len(Counting.gets), "bytes": sum(Counting.gets)}
        Counting.gets.clear()

    Counting.gets.clear()
    source = peek(url)
    with volmicro_codec.open(source) as array:
        assert isinstance(array, MultiscaleArray)
        told("open")
        # Fetched, and not decoded: the voxels of the larger one do not fit in memory.
        reader = PackedReader.open(source)
        places = reader.places(LEVEL, np.arange(reader.root.levels[LEVEL].chunks))
        told(f"level {LEVEL}, index")
        wanted = [(int(n), int(m)) for n, m in zip(places.offset, places.length, strict=True)]
        assert sum(map(len, reader.fetch(wanted))) == int(places.length.sum())
        told(f"level {LEVEL}, chunks")
        assert (array.level(array.coarsest)[...] < VALUES).all()
        told("coarsest level")
        assert (array[5000, 5000:5512, 5000:5512] < VALUES).all()
        told("slice of 512 x 512")
    server.shutdown()
    return out


def opening(path: Path) -> dict[str, float]:
    """Milliseconds and bytes of memory of opening, the middle of several processes."""
    runs = []
    for _ in range(RUNS):
        ran = subprocess.run(
            [sys.executable, "-c", OPENING, str(path)], capture_output=True, text=True, check=True
        )
        runs.append([float(v) for v in ran.stdout.split()])
    seconds, more, peak = np.median(runs, axis=0)
    return {"ms": round(1e3 * seconds, 2), "memory_bytes": int(more), "process_peak_bytes": int(peak)}


def main() -> None:
    """Make both files, measure, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "pack.json")
    args = parser.parse_args()
    rows = []
    for edge, count in BRICKS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "one.vgm"
            began = time.monotonic()
            levels = write(path, edge, count)
            row = {
                "brick": edge,
                "voxels": int(np.prod([edge * count] * 3, dtype=np.float64)),
                "levels": len(levels),
                "chunks": sum(level.chunks for level in levels),
                "pages": sum(level.pages for level in levels),
                "file_bytes": path.stat().st_size,
                "index_bytes": sum(int(t["length"].sum()) for t in PackedReader.open(path).root.tables),
                "root_bytes": PackedReader.open(path).header.payload_start,
                "write_seconds": round(time.monotonic() - began, 1),
                "opening": opening(path),
                "http": over_http(path),
            }
        print(json.dumps(row, indent=1), flush=True)
        rows.append(row)
    machine = f"{platform.machine()} {os.cpu_count()} cores, Python {platform.python_version()}"
    document = {"machine": machine, "date": datetime.date.today().isoformat(), "files": rows}
    args.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
