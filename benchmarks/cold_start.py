"""What the first command costs on a machine where none was run before.

    python benchmarks/cold_start.py FILE.vgm [-o OUT.json] [--repeat 3]

Each command is a process of its own: "installed" with the bytecode that installing leaves, "bare" without.
Wall seconds are the best of several runs; on a shared machine the CPU seconds say more.
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


def run_once(command: list[str], bytecode: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command, with bytecode kept in a directory."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(command: list[str], repeat: int, kind: str) -> dict[str, float]:
    """Best of several runs."""
    found = []
    with tempfile.TemporaryDirectory() as installed:
        if kind == "installed":
            run_once(command, installed)
        for _ in range(repeat):
            with tempfile.TemporaryDirectory() as bare:
                found.append(run_once(command, installed if kind == "installed" else bare))
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
            name: {kind: measure(command, given.repeat, kind) for kind in ("installed", "bare")}
            for name, command in commands.items()
        }
    for name, found in results.items():
        bar = f", bar {BARS[name]} s" if name in BARS else ""
        installed, bare = found["installed"], found["bare"]
        print(
            f"{name:22s} installed {installed['seconds']:6.3f} s ({installed['cpu_seconds']:.3f} CPU),"
            f" bare {bare['seconds']:6.3f} s ({bare['cpu_seconds']:.3f} CPU){bar}"
        )
    about = {"file": Path(given.file).name, "bars": BARS, "machine": machine(None, "cpu")}
    document = {**about, "commands": results}
    given.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
