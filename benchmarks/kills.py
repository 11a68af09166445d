"""An encode into one file that is killed: the same bytes, no brick twice, so much memory.

    python benchmarks/kills.py workers tasks dask [--shape 448,896,896] [--brick 224] [--workers 2]
    python benchmarks/kills.py file [--shape 100,448,448]

Of a volume of bricks runs of so many workers are killed, or one at a time of three of --task i/3 at once,
or the workers of a dask cluster. Of a phantom that is encoded at once it is the encode, 20 times.

The volume of bricks is that of `scale_volume`, written as OME-Zarr. It is encoded once without kills; then
again, while what works on it is killed (-9) at random moments and started anew by the same command. Of the
phantom the target is looked at after each kill, and one that is whole makes room for the next encode. Memory
is that of all processes together, sampled. Results of all kinds are kept in one file.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scale_volume
from processes import Watch

from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.job import DONE

HERE = Path(__file__).resolve().parent
KILLS, FILE_KILLS = 5, 20
TASKS = 3
PHANTOM, VOLUME = "100,448,448", "448,896,896"
Row = tuple[str, dict[str, Any]]


class Twice:
    """Looks which bricks are done, and which of them are done again."""

    def __init__(self, bricks: Path) -> None:
        self.names: set[str] = set()
        self._done, self._seen = bricks / DONE, dict[str, int]()

    def __call__(self) -> None:
        for path in self._done.glob("[0-9]*"):
            try:
                when = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if self._seen.setdefault(path.name, when) != when:
                self.names.add(path.name)


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


def at_once(args: argparse.Namespace, shape: tuple[int, int, int], folder: Path) -> Iterator[Row]:
    """A plain encode of a phantom, killed again and again: what there is after each kill, and at the end."""
    source, plain, out = (folder / name for name in ("in.npy", "plain.vgm", "killed.vgm"))
    np.save(source, make_phantom(shape, args.seed))

    def encode(target: Path) -> list[str]:
        options = ["--effort", args.effort, "--slope", str(args.slope), "-q"]
        return [
            sys.executable,
            "-m",
            "volmicro_codec.cli",
            "encode",
            str(source),
            "-o",
            str(target),
            *options,
        ]

    began = time.monotonic()
    with Watch() as alone:
        subprocess.run(encode(plain), check=True, capture_output=True)
    seconds = time.monotonic() - began
    expected, finished, absent, whole, wrong = digest(plain), 0, 0, 0, 0

    def look() -> bool:
        nonlocal wrong
        there = out.exists()
        if there:
            wrong += digest(out) != expected
            out.unlink()
        return there

    for kills in range(1, FILE_KILLS + 1):
        process = started(encode(out))
        moment = random.uniform(0.0, 0.8) * seconds
        try:
            process.wait(moment)
            if process.returncode != 0:
                raise SystemExit("the encode failed")
            finished += 1  # a run that went on from kept steps; the next begins anew, and is killed
            look()
            process = started(encode(out))
            time.sleep(moment)
        except subprocess.TimeoutExpired:
            pass
        kill(process)
        if look():
            whole += 1
        else:
            absent += 1
        print(f"kill {kills} after {moment:.0f} s: absent {absent}, whole {whole}, wrong {wrong}", flush=True)
    subprocess.run(encode(out), check=True, capture_output=True)
    look()
    yield (
        "file",
        {
            "voxel_bytes": 2 * int(np.prod(shape)),
            "effort": args.effort,
            "slope": args.slope,
            "kills": FILE_KILLS,
            "target_absent": absent,
            "target_whole": whole,
            "encodes_finished": finished + whole + 1,
            "of_other_bytes": wrong,
            "file_bytes": plain.stat().st_size,
            "left_beside": sorted(p.name for p in folder.iterdir() if p not in (source, plain)),
            "seconds_without_kills": round(seconds),
            "seconds": round(time.monotonic() - began),
            "peak_bytes_without_kills": alone.peak,
        },
    )


class Moments:
    """When to kill: at random numbers of bricks that are done, and up to the time of a brick later.

    Parameters
    ----------
    bricks : path
        The store beside the file.
    total : int
        Of its bricks.
    seconds : float
        Of a brick.
    """

    def __init__(self, bricks: Path, total: int, seconds: float) -> None:
        self._done, self._seconds = bricks / DONE, seconds
        self._counts = sorted(random.choices(range(total - 2), k=KILLS))

    def wait(self, kill: int, runs: list[subprocess.Popen[bytes]]) -> None:
        """Wait for a moment; raise where all runs end before."""
        until = None
        while until is None or time.monotonic() < until:
            if all(run.poll() is not None for run in runs):
                raise SystemExit(f"it ended before kill {kill + 1}: a larger volume, or another --seed")
            if until is None and len(list(self._done.glob("[0-9]*"))) >= self._counts[kill]:
                until = time.monotonic() + random.uniform(0.0, self._seconds)
            time.sleep(0.2)


def killed_runs(arguments: list[str], moments: Moments) -> None:
    """The same command again and again, killed but for the last time."""
    for k in range(KILLS):
        process = started(arguments)
        moments.wait(k, [process])
        kill(process)
    subprocess.run(arguments, check=True, capture_output=True)


def killed_workers(source: Path, out: Path, args: argparse.Namespace, moments: Moments) -> None:
    """One encode by a cluster whose workers are killed; it starts others."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=args.workers, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
    ) as cluster:
        process = started(command(source, out, args, "--dask", cluster.scheduler_address))
        over = threading.Event()

        def restock() -> None:
            # A worker that is killed while it starts is gone for good: schedulers of clusters start others.
            while not over.wait(1.0):
                cluster.scale(args.workers)

        keeper = threading.Thread(target=restock)
        keeper.start()
        for k in range(KILLS):
            moments.wait(k, [process])
            while not _kill_one(list(cluster.workers.values())):
                time.sleep(0.2)
        _, told = process.communicate()
        over.set()
        keeper.join()
        if process.returncode != 0:
            raise SystemExit(f"the encode failed: {told.decode()}")


def _kill_one(nannies: list[Any]) -> bool:
    """Kill the process of one of a cluster's workers; False where none has any yet."""
    for nanny in random.sample(nannies, len(nannies)):
        worker = getattr(nanny.process, "process", None)
        if worker is not None and worker.pid is not None:
            os.kill(worker.pid, signal.SIGKILL)
            return True
    return False


def killed_tasks(source: Path, out: Path, args: argparse.Namespace, moments: Moments) -> None:
    """Several runs at once, each of a share; those that are killed are started anew."""
    tasks = [command(source, out, args, "--task", f"{i}/{TASKS}") for i in range(TASKS)]
    runs = [started(task) for task in tasks]
    for k in range(KILLS):
        moments.wait(k, runs)
        i = random.choice([i for i, run in enumerate(runs) if run.poll() is None])
        kill(runs[i])
        runs[i] = started(tasks[i])
    if [run.wait() for run in runs] != [0] * TASKS:
        raise SystemExit("a task failed")
    subprocess.run(
        [sys.executable, "-m", "volmicro_codec.cli", "finish", str(out)], check=True, capture_output=True
    )


def by_bricks(args: argparse.Namespace, shape: tuple[int, int, int], folder: Path) -> Iterator[Row]:
    """An encode brick by brick, left alone and then killed in each of the ways."""
    source, plain, out = (folder / name for name in ("in.ome.zarr", "plain.vgm", "killed.vgm"))
    scale_volume.write(str(source), shape)
    total = int(np.prod([-(-n // args.brick) for n in shape]))
    workers = ["--workers", str(args.workers)]
    began = time.monotonic()
    with Watch() as alone:
        subprocess.run(command(source, plain, args, *workers), check=True, capture_output=True)
    seconds = time.monotonic() - began
    for how in args.how:
        bricks = folder / ".killed.vgm.bricks"
        moments, twice = Moments(bricks, total, args.workers * seconds / total), Twice(bricks)
        began = time.monotonic()
        with Watch(twice) as watch:
            if how == "workers":
                killed_runs(command(source, out, args, *workers), moments)
            elif how == "dask":
                killed_workers(source, out, args, moments)
            else:
                killed_tasks(source, out, args, moments)
        yield (
            how,
            {
                "voxel_bytes": 2 * int(np.prod(shape)),
                "empty": args.empty,
                "brick": args.brick,
                "bricks": total,
                "effort": args.effort,
                "slope": args.slope,
                "workers": TASKS if how == "tasks" else args.workers,
                "kills": KILLS,
                "file_bytes": out.stat().st_size,
                "same_bytes": digest(out) == digest(plain),
                "bricks_done_twice": sorted(twice.names),
                "left_beside": sorted(p.name for p in folder.iterdir() if p not in (source, plain, out)),
                "seconds_without_kills": round(seconds),
                "seconds": round(time.monotonic() - began),
                "peak_bytes_without_kills": alone.peak,
                "peak_bytes": watch.peak,
            },
        )
        out.unlink()


def main() -> None:
    """Make the volume, encode it both ways, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("how", nargs="+", choices=("workers", "dask", "tasks", "file"))
    parser.add_argument("--shape", help="of the volume; z,y,x")
    parser.add_argument(
        "--empty", type=float, default=scale_volume.EMPTY, help="share of cells without structure"
    )
    parser.add_argument("--brick", type=int, default=224)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--slope", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "kills.json")
    args = parser.parse_args()
    if "file" in args.how and len(args.how) > 1:
        parser.error("file: is of a volume of its own")
    random.seed(args.seed)
    scale_volume.EMPTY = args.empty
    make, usual = (at_once, PHANTOM) if "file" in args.how else (by_bricks, VOLUME)
    z, y, x = (int(n) for n in (args.shape or usual).split(","))
    with tempfile.TemporaryDirectory() as folder:
        for how, row in make(args, (z, y, x), Path(folder)):
            row["machine"] = f"{platform.machine()} {os.cpu_count()} cores, shared with other work"
            row["date"] = datetime.date.today().isoformat()
            results = json.loads(args.out.read_text()) if args.out.exists() else {}
            results[how] = row
            args.out.write_text(json.dumps(results, indent=1) + "\n")
            print(json.dumps(row, indent=1), flush=True)


if __name__ == "__main__":
    main()
