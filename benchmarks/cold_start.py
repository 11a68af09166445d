"""What the first command costs where nothing was run before: no compiled code of Python or numba is cached.

    python benchmarks/cold_start.py FILE.vgm [-o OUT.json] [--repeat 3]

Each command is a process of its own, with empty directories for what Python and numba cache. Wall seconds are
the best of several runs; on a shared machine the CPU seconds say more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from decode_speed import machine

HERE = Path(__file__).resolve().parent
BARS = {"vgm info": 0.3, "vgm roi 64^3": 0.6}


def run_once(command: list[str], folder: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command with empty caches."""
    caches = {"PYTHONPYCACHEPREFIX": f"{folder}/python", "NUMBA_CACHE_DIR": f"{folder}/numba"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, env={**os.environ, **caches}, check=True, capture_output=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(command: list[str], repeat: int, warm: bool) -> dict[str, float]:
    """Best of several runs: each with caches of its own, or all with those that a first run has filled."""
    found = []
    with tempfile.TemporaryDirectory() as shared:
        if warm:
            run_once(command, shared)
        for _ in range(repeat):
            with tempfile.TemporaryDirectory() as fresh:
                found.append(run_once(command, shared if warm else fresh))
    walls, cpus = zip(*found, strict=True)
    return {"seconds": round(min(walls), 3), "cpu_seconds": round(min(cpus), 3)}


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "cold_start.json")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    vgm = [sys.executable, "-m", "volmicro_codec.cli"]
    with tempfile.TemporaryDirectory() as folder:
        box = ["--box", "10:74,100:164,100:164", "-o", f"{folder}/roi.npy", "--force"]
        commands = {
            "python": [sys.executable, "-c", "pass"],
            "import volmicro_codec": [sys.executable, "-c", "import volmicro_codec"],
            "vgm info": [*vgm, "info", given.file],
            "vgm roi 64^3": [*vgm, "roi", given.file, *box],
            "vgm decode": [*vgm, "decode", given.file, "-o", f"{folder}/out.npy", "--force"],
        }
        results = {
            name: {kind: measure(command, given.repeat, kind == "warm") for kind in ("cold", "warm")}
            for name, command in commands.items()
        }
    for name, found in results.items():
        bar = f", bar {BARS[name]} s" if name in BARS else ""
        cold, warm = found["cold"], found["warm"]
        print(
            f"{name:22s} cold {cold['seconds']:6.3f} s ({cold['cpu_seconds']:.3f} CPU),"
            f" warm {warm['seconds']:6.3f} s ({warm['cpu_seconds']:.3f} CPU){bar}"
        )
    about = {"file": Path(given.file).name, "bars": BARS, "machine": machine(None, "cpu")}
    document = {**about, "commands": results}
    given.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
