"""An encode into one file that is killed five times: the same bytes, no brick twice, so much memory.

    python benchmarks/kills.py workers [--shape 512,768,768] [--brick 256] [--workers 2]
    python benchmarks/kills.py dask        # workers of a LocalCluster are killed
    python benchmarks/kills.py tasks       # three runs of --task i/3 at once, killed one at a time

The volume is that of `scale_volume`, written as OME-Zarr. It is encoded once without kills; then again, while
what works on it is killed (-9) at random moments and started anew by the same command. Memory is that of all
processes together, sampled. Results of all kinds are kept in one file.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scale_volume

from volmicro_codec.io import write_volume
from volmicro_codec.store.job import DONE
from volmicro_codec.volume import VolumeInfo

HERE = Path(__file__).resolve().parent
KILLS = 5
TASKS = 3


class Watch:
    """Memory of all processes below this one, and the bricks that are done, over time."""

    def __init__(self, bricks: Path) -> None:
        self.peak = 0
        self.twice: set[str] = set()
        self._done, self._seen = bricks / DONE, dict[str, int]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.2):
            self.peak = max(self.peak, sum(map(memory, descendants(os.getpid()))))
            for path in self._done.glob("[0-9]*"):
                try:
                    when = path.stat().st_mtime_ns
                except FileNotFoundError:
                    continue
                if self._seen.setdefault(path.name, when) != when:
                    self.twice.add(path.name)


def descendants(pid: int) -> list[int]:
    """All processes that a process has started, and those that they have."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    out, waiting = [], [pid]
    while waiting:
        found = parents.get(waiting.pop(), [])
        out += found
        waiting += found
    return out


def memory(pid: int) -> int:
    """Bytes of a process, what it shares counted in part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def command(source: Path, out: Path, args: argparse.Namespace, *more: str) -> list[str]:
    """The encode."""
    options = ["--brick", str(args.brick), "--effort", args.effort, "--slope", str(args.slope), "-q"]
    return [sys.executable, "-m", "volmicro_codec.cli", "encode", str(source), "-o", str(out), "--packed",
            *options, *more]  # fmt: skip


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def started(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(arguments, process_group=0, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def killed_runs(arguments: list[str], pause: Callable[[], float]) -> None:
    """The same command again and again, killed but for the last time."""
    for _ in range(KILLS):
        process = started(arguments)
        try:
            process.wait(pause())
            raise SystemExit("it was done before its last kill: a larger volume, or another --seed")
        except subprocess.TimeoutExpired:
            kill(process)
    subprocess.run(arguments, check=True, capture_output=True)


def killed_workers(source: Path, out: Path, args: argparse.Namespace, pause: Callable[[], float]) -> None:
    """One encode by a cluster whose workers are killed; it starts others."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=args.workers, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
    ) as cluster:
        process = started(command(source, out, args, "--dask", cluster.scheduler_address))
        for _ in range(KILLS):
            time.sleep(pause())
            victim = random.choice(list(cluster.workers.values()))
            os.kill(victim.process.process.pid, signal.SIGKILL)
        _, told = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"the encode failed: {told.decode()}")


def killed_tasks(source: Path, out: Path, args: argparse.Namespace, pause: Callable[[], float]) -> None:
    """Several runs at once, each of a share; those that are killed are started anew."""
    runs = {i: started(command(source, out, args, "--task", f"{i}/{TASKS}")) for i in range(TASKS)}
    for _ in range(KILLS):
        time.sleep(pause())
        alive = [i for i, run in runs.items() if run.poll() is None]
        if not alive:
            break
        i = random.choice(alive)
        kill(runs[i])
        runs[i] = started(command(source, out, args, "--task", f"{i}/{TASKS}"))
    if [run.wait() for run in runs.values()] != [0] * TASKS:
        raise SystemExit("a task failed")
    subprocess.run(
        [sys.executable, "-m", "volmicro_codec.cli", "finish", str(out)], check=True, capture_output=True
    )


def main() -> None:
    """Make the volume, encode it both ways, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("how", choices=("workers", "dask", "tasks"))
    parser.add_argument("--shape", default="512,768,768", help="of the volume; z,y,x")
    parser.add_argument(
        "--empty", type=float, default=scale_volume.EMPTY, help="share of cells without structure"
    )
    parser.add_argument("--brick", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--slope", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "kills.json")
    args = parser.parse_args()
    random.seed(args.seed)
    scale_volume.EMPTY = args.empty
    z, y, x = (int(n) for n in args.shape.split(","))
    with tempfile.TemporaryDirectory() as folder:
        source, plain, out = (Path(folder) / name for name in ("in.ome.zarr", "plain.vgm", "killed.vgm"))
        planes = (
            scale_volume.read(0, 0, (slice(k, min(k + 16, z)), slice(0, y), slice(0, x)))
            for k in range(0, z, 16)
        )
        write_volume(source, planes, VolumeInfo((1, 1, z, y, x), np.dtype(np.uint16), "ZYX"))
        workers = ["--workers", str(args.workers)]
        began = time.monotonic()
        with Watch(Path(folder) / ".plain.vgm.bricks") as alone:
            subprocess.run(command(source, plain, args, *workers), check=True, capture_output=True)
        seconds = time.monotonic() - began

        def pause() -> float:
            return random.uniform(0.05, 0.35) * seconds

        began = time.monotonic()
        with Watch(Path(folder) / ".killed.vgm.bricks") as watch:
            if args.how == "workers":
                killed_runs(command(source, out, args, *workers), pause)
            elif args.how == "dask":
                killed_workers(source, out, args, pause)
            else:
                killed_tasks(source, out, args, pause)
        row: dict[str, Any] = {
            "voxel_bytes": 2 * z * y * x,
            "empty": args.empty,
            "brick": args.brick,
            "bricks": int(np.prod([-(-n // args.brick) for n in (z, y, x)])),
            "effort": args.effort,
            "slope": args.slope,
            "workers": TASKS if args.how == "tasks" else args.workers,
            "kills": KILLS,
            "file_bytes": out.stat().st_size,
            "same_bytes": digest(out) == digest(plain),
            "bricks_done_twice": sorted(watch.twice),
            "left_beside": sorted(p.name for p in Path(folder).iterdir() if p not in (source, plain, out)),
            "seconds_without_kills": round(seconds),
            "seconds": round(time.monotonic() - began),
            "peak_bytes_without_kills": alone.peak,
            "peak_bytes": watch.peak,
            "machine": f"{platform.machine()} {os.cpu_count()} cores, shared with other work",
            "date": datetime.date.today().isoformat(),
        }
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    results[args.how] = row
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
