"""How fast a .vgm file decodes: whole, by regions, planes, coarser grids and points.

python benchmarks/decode_speed.py FILE.vgm [-o OUT.json] [--threads 2] [--repeat 5] [--device cpu]

Wall and CPU seconds are the best of several runs; on a shared machine the CPU seconds say more. Results of
several files go into one JSON file, by the name of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from volmicro_codec.decoder import VgmArray
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.native import instructions

HERE = Path(__file__).resolve().parent
REGION = 64
POINTS = 10_000


def best_of(task: Callable[[], Any], repeat: int) -> dict[str, float]:
    """Least wall and CPU seconds of ``task`` over ``repeat`` runs."""
    walls, cpus = [], []
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        task()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"seconds": round(min(walls), 5), "cpu_seconds": round(min(cpus), 5)}


def region_of(array: VgmArray, edge: int = REGION) -> tuple[slice | int, ...]:
    """A cube in the middle that is aligned with nothing; of the first image."""
    ranges = []
    for n in array.info.shape[2:]:
        start = max(0, (n - edge) // 2 - 3)
        ranges.append(slice(start, min(n, start + edge)))
    return (*(0 for _ in array.axes[:-3]), *ranges)


def measure(path: str, threads: int | None, repeat: int, device: str) -> dict[str, Any]:
    """Figures of one file."""

    def open_it() -> VgmArray:
        return open_vgm(path, threads=threads, device=device)

    start = time.perf_counter()
    with open_it() as array:
        region = region_of(array)
        array[region]
    first = time.perf_counter() - start
    found: dict[str, Any] = {
        "open": best_of(lambda: open_it().close(), repeat),
        "first_read_seconds": round(first, 3),
    }

    def cold() -> None:
        with open_it() as fresh:
            fresh[region]

    found["open_and_region_cold"] = best_of(cold, repeat)
    with open_it() as array:
        image = (0,) * (array.ndim - 3)
        z, y, x = (n // 2 for n in array.shape[-3:])
        out = np.empty(array.shape, array.dtype)
        found["whole"] = best_of(lambda: array.read(out=out), repeat)
        found["whole"]["mvoxel_per_second"] = round(array.size / found["whole"]["seconds"] / 1e6, 1)
        found["region_warm"] = best_of(lambda: array[region], 3 * repeat)
        found["plane_z"] = best_of(lambda: array[(*image, z)], repeat)
        found["plane_y"] = best_of(lambda: array[(*image, slice(None), y)], repeat)
        found["plane_x"] = best_of(lambda: array[(*image, slice(None), slice(None), x)], repeat)
        for level in (1, 2, 3):
            coarse = array.level(level)
            found[f"level_{level}"] = best_of(lambda coarse=coarse: coarse[...], repeat)
        points = np.random.default_rng(0).uniform(0, array.info.shape[2:], (POINTS, 3))
        found[f"sample_{POINTS}_points"] = best_of(lambda: array.sample(points), repeat)
        entries = array._file.reader.entries
        about = {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "bytes": array._file.reader.file_size,
            "ratio": round(array.nbytes / array._file.reader.file_size, 1),
            "chunks": len(entries),
            "primitives": sum(e.count for e in entries),
        }
    return {**about, "figures": found}


def machine(threads: int | None, device: str) -> dict[str, Any]:
    """What the figures were taken on."""
    versions = {name: metadata.version(name) for name in ("numpy", "zstandard", "volmicro-codec")}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": cores,
        "load_average": [round(v, 1) for v in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "threads": threads or "all",
        "device": device,
        "python": platform.python_version(),
        "instructions": instructions(),
        **versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def main() -> None:
    """Measure the files that are named and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("-o", "--output", default=str(HERE / "results" / "decode_speed.json"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    given = parser.parse_args()
    kept = Path(given.output)
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for path in given.files:
        found = measure(path, given.threads, given.repeat, given.device)
        name = f"{Path(path).name} on {given.device}"
        results[name] = {**found, "machine": machine(given.threads, given.device)}
        figures = found["figures"]
        print(f"{name}: {found['shape']} {found['dtype']}, {found['primitives']} primitives")
        print(f"  whole             {figures['whole']['mvoxel_per_second']:8.1f} Mvoxel/s")
        for key, value in figures.items():
            if isinstance(value, dict):
                wall, cpu = 1e3 * value["seconds"], 1e3 * value["cpu_seconds"]
                print(f"  {key:20s}{wall:10.2f} ms   {cpu:10.2f} ms CPU")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {kept}")


if __name__ == "__main__":
    main()
