"""A store of 100 Gvoxel: some of its bricks are encoded, the rest repeated; schedulers are simulated.

    python benchmarks/scale.py [--bricks 8] [--edge 128] [--effort fast] [--shape 2048,2048,2560]

Bricks are encoded one after the other, each in a process of its own, as a worker has it. A store is then made
whole of their chunks: of 100 Gvoxel, or of the corner that --shape says, so that its metadata, opening
and overview can be counted. What 1 to 4096 workers need is simulated from the measured times: 1 % of the
workers are three times as slow, 1 % die and lose their brick.
"""

from __future__ import annotations

import argparse
import datetime
import heapq
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from scale_volume import SHAPE, Generated

from volmicro_codec.encoder.rate.slope import FLOOR
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.store.array import open_store
from volmicro_codec.store.brick import encode_brick
from volmicro_codec.store.finish import finish
from volmicro_codec.store.foresee import foresee
from volmicro_codec.store.grid import HALO, Shape3
from volmicro_codec.store.job import DONE, Done, Job

HERE = Path(__file__).resolve().parent
WORKERS = (1, 16, 256, 4096)
SLOW_SHARE, SLOWER, DYING = 0.01, 3.0, 0.01
TERABYTES = 5e12
REQUEST_SECONDS = 0.05
TOGETHER = 10


def job_of(dest: str, edge: int, effort: str, shape: Shape3 = SHAPE) -> Job:
    """The job of the whole volume."""
    source = Generated(shape=shape)
    settings = EncodeSettings(slope=FLOOR, effort=effort)
    return Job(source, dest, source.open().info, edge, settings, 112)


def one_brick(dest: str, edge: int, effort: str, shape: Shape3, number: int) -> None:
    """Encode one brick in this process and print what it took."""
    job = job_of(dest, edge, effort, shape)
    began = time.process_time()
    done = encode_brick(job, number, threads=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps({"number": number, "sizes": done.sizes, "cpu": time.process_time() - began, "peak": peak})
    )


def measured(job: Job, count: int) -> list[dict[str, Any]]:
    """Bricks spread over the volume, each in a process of its own."""
    rows = []
    given = {"--edge": job.edge, "--effort": job.settings.effort, "--dest": job.dest}
    options = [str(v) for pair in given.items() for v in pair]
    options += ["--shape", ",".join(map(str, job.grid.shape))]
    for number in np.linspace(0, len(job.grid) - 1, count).astype(int).tolist():
        args = [sys.executable, __file__, "--one", str(number), *options]
        found = subprocess.run(args, check=True, capture_output=True, text=True)
        rows.append(json.loads(found.stdout))
        print(rows[-1], flush=True)
    return rows


def repeat(job: Job, rows: list[dict[str, Any]]) -> None:
    """Give every brick the chunks of one that was encoded."""
    rng = np.random.default_rng(0)
    encoded = {r["number"]: Done.from_json(job.place.get(f"{DONE}/{r['number']}") or b"") for r in rows}
    for number in range(len(job.grid)):
        if number in encoded:
            continue
        donor = encoded[int(rng.choice(list(encoded)))]
        for level, size in enumerate(donor.sizes):
            if size:
                target = Path(job.place.location(job.grid.key(job.grid.brick(number), level)))
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(job.place.location(job.grid.key(job.grid.brick(donor.number), level)), target)
        folder = Path(job.place.location(DONE))
        (folder / str(number)).write_bytes(replace(donor, number=number).to_json())


def simulate(seconds: list[float], bricks: int, workers: int, seed: int = 0) -> dict[str, float]:
    """Hours until all bricks are done, given the times that some took.

    Workers take the next brick when they are free. A worker that dies does so at a random moment of what all
    workers would need, and its brick is done again by the next that is free.
    """
    rng = np.random.default_rng(seed)
    speed = np.where(rng.random(workers) < SLOW_SHARE, SLOWER, 1.0)
    span = float(np.mean(seconds)) * bricks / workers
    dying = rng.random(workers) < DYING
    dying[0] = False  # one is left
    ends = np.where(dying, rng.uniform(0, max(span, np.mean(seconds)), workers), np.inf)
    free = [(0.0, w) for w in range(workers)]
    heapq.heapify(free)
    left, finished, again = bricks, 0.0, 0
    while left:
        now, w = heapq.heappop(free)
        if now >= ends[w]:
            continue
        took = float(rng.choice(seconds)) * speed[w]
        if now + took > ends[w]:
            again += 1
            continue
        left -= 1
        finished = max(finished, now + took)
        heapq.heappush(free, (now + took, w))
    return {
        "workers": workers, "hours": finished / 3600, "done_again": again,
        "of_ideal": float(np.mean(seconds)) * bricks / workers / finished,
    }  # fmt: skip


class Counting(BaseHTTPRequestHandler):
    """Serves a directory with ranges, and counts."""

    protocol_version = "HTTP/1.1"
    root: Path
    requests: list[int] = []  # noqa: RUF012 - of the class on purpose: a handler lives for one connection

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        path, wanted = self.root / self.path.lstrip("/"), self.headers.get("Range", "")
        if not path.is_file():
            self.requests.append(0)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        self.send_response(206 if match else 200)
        if match:
            first, last = int(match[1]), min(int(match[2]), len(data) - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)
        self.requests.append(len(data) if body else 0)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def over_http(store: Path) -> dict[str, dict[str, float]]:
    """Requests and bytes of opening a store, of its overview, and of a slice of its full grid."""
    Counting.root = store.parent
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{store.name}"
    out = {}

    def count(name: str, chained: int) -> None:
        n = len(Counting.requests)
        # Those that wait for one another, and the rest as many at a time as Zarr sends.
        rounds = chained + -(-max(n - chained, 0) // TOGETHER)
        out[name] = {
            "requests": n,
            "bytes": sum(Counting.requests),
            "seconds_at_50_ms": rounds * REQUEST_SECONDS,
        }
        Counting.requests.clear()

    Counting.requests.clear()
    array = open_store(url)
    count("open", len(Counting.requests))
    _ = array.level(array.coarsest)[...]
    count("overview", 1)
    _ = array[1000, 1000:1512, 1000:1512]
    count("slice of 512 x 512", 2)
    server.shutdown()
    return out


def main() -> None:
    """Parse, run, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bricks", type=int, default=8)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--effort", default="fast")
    parser.add_argument(
        "--shape", default=",".join(map(str, SHAPE)), help="of the store that is made whole; z,y,x"
    )
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--dest", help="keep the store here")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "scale.json")
    args = parser.parse_args()
    z, y, x = (int(n) for n in args.shape.split(","))
    if args.one is not None:
        one_brick(args.dest, args.edge, args.effort, (z, y, x), args.one)
        return
    with tempfile.TemporaryDirectory() as folder:
        dest = args.dest or str(Path(folder) / "scale.ome.zarr")
        job = job_of(dest, args.edge, args.effort, (z, y, x))
        rows = measured(job, args.bricks)
        repeat(job, rows)
        began = time.monotonic()
        finished = finish(job)
        document = describe(
            job, rows, finished.size, finished.full_size, time.monotonic() - began, args.effort
        )
        document["http"] = over_http(Path(dest))
        document["metadata_bytes"] = sum(p.stat().st_size for p in Path(dest).rglob("zarr.json"))
        overview = sum(
            p.stat().st_size for n in range(job.grid.own_levels, len(job.grid.levels))
            for p in (Path(dest) / str(n)).rglob("c/*/*/*")
        )  # fmt: skip
        document["joined_level_bytes"] = overview
        if args.dest is None:
            shutil.rmtree(dest)
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


def describe(
    job: Job, rows: list[dict[str, Any]], size: int, full: int, finish_seconds: float, effort: str
) -> dict[str, Any]:
    """The result, of what was measured and simulated."""
    domain = (job.edge + 2 * HALO) ** 3
    rates = [r["cpu"] / domain for r in rows]
    large = 512
    of_5_tb = int(np.ceil(TERABYTES / 2 / large**3))
    per_large = [rate * (large + 2 * HALO) ** 3 for rate in rates]
    return {
        "voxels": int(np.prod(SHAPE)),
        "voxels_of_the_store": int(np.prod(job.grid.shape)),
        "effort": effort,
        "brick": job.edge,
        "bricks": len(job.grid),
        "encoded": [{**r, "cpu": round(r["cpu"], 1)} for r in rows],
        "cpu_seconds_a_megavoxel": {
            "mean": 1e6 * float(np.mean(rates)),
            "least": 1e6 * min(rates),
            "most": 1e6 * max(rates),
        },
        "worker_peak_bytes": max(r["peak"] for r in rows),
        "worker_bytes_foreseen": foresee(job).memory,
        "store_bytes": size,
        "coarser_levels_over_full_grid": (size - full) / full,
        "ratio": job.info.nbytes / size,
        "finish_seconds": round(finish_seconds, 1),
        "simulated_brick": large,
        "simulated": [simulate(per_large, -(-int(np.prod(SHAPE)) // large**3), w) for w in WORKERS],
        "simulated_5_tb": [simulate(per_large, of_5_tb, w) for w in WORKERS],
        "machine": f"{platform.machine()} {os.cpu_count()} cores",
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    main()
