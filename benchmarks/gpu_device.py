"""What a CUDA device can do at best, and what is written down about it beside every figure."""

from __future__ import annotations

import datetime
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = ("numpy", "cupy-cuda12x", "cupy-cuda13x", "torch", "faiss-gpu", "volmicro-codec")

# Four independent chains of fused multiply-adds a thread, 512 each: enough to keep every unit busy.
ARITHMETIC = """
extern "C" __global__ void chains(float* out, float a, float b) {
    float v0 = threadIdx.x, v1 = v0 + 1, v2 = v0 + 2, v3 = v0 + 3;
    for (int k = 0; k < 512; k++) {
        v0 = fmaf(v0, a, b); v1 = fmaf(v1, a, b); v2 = fmaf(v2, a, b); v3 = fmaf(v3, a, b);
    }
    out[(long long)blockIdx.x * blockDim.x + threadIdx.x] = v0 + v1 + v2 + v3;
}
"""


def require_cuda() -> Any:
    """CuPy, or the end of the script with what is missing."""
    from volmicro_codec.cuda.device import find_cupy, missing

    reason = missing()
    if reason is not None:
        print(f"no benchmark without a GPU: {reason}", file=sys.stderr)
        raise SystemExit(6)
    return find_cupy()


def milliseconds(cupy: Any, work: Callable[[], Any], repeats: int = 20, warm: int = 3) -> float:
    """Median time of some work on the device, by events."""
    for _ in range(warm):
        work()
    times = []
    for _ in range(repeats):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end))
    return statistics.median(times)


def ceilings(cupy: Any) -> dict[str, float]:
    """Measured: bytes written a second, and float32 instructions a second."""
    big = cupy.empty(1 << 28, cupy.float32)
    fill = milliseconds(cupy, lambda: big.fill(1.5))
    blocks, threads = 132 * 64, 256
    out = cupy.empty(blocks * threads, cupy.float32)
    kernel = cupy.RawKernel(ARITHMETIC, "chains")
    args = (out, cupy.float32(0.999), cupy.float32(0.001))
    chains = milliseconds(cupy, lambda: kernel((blocks,), (threads,), args))
    return {
        "written_bytes_per_s": big.nbytes / (fill / 1e3),
        "float32_instructions_per_s": blocks * threads * 4 * 512 / (chains / 1e3),
    }


def about(cupy: Any) -> dict[str, Any]:
    """Machine, versions, date and commit."""
    device = cupy.cuda.runtime.getDeviceProperties(0)
    name = device["name"]
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "device": name.decode() if isinstance(name, bytes) else name,
        "memory_bytes": int(device["totalGlobalMem"]),
        "driver": int(cupy.cuda.runtime.driverGetVersion()),
        "runtime": int(cupy.cuda.runtime.runtimeGetVersion()),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
    }


def commit() -> str | None:
    """The commit that is checked out; None where there is no git, or this is no clone."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def write_result(name: str, document: dict[str, Any]) -> None:
    """Write results/NAME.json and print it."""
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))
    print(f"wrote benchmarks/results/{path.name}")
