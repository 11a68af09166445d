"""Memory of an encode of the phantom, and of a volume eight times as large: it is not to grow.

    python benchmarks/memory.py [--effort fast] [--slope 11.1] [--structures 1]

The phantom is the published one (100 x 647 x 813); the large volume has it, turned, dimmed and with other
noise, in some of its 2 x 2 x 2 parts and background in the others, as most of a large stack is. Both are
written as OME-Zarr and encoded by the same command; memory is that of all processes together, sampled.
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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from processes import Watch

from volmicro_codec.io import write_volume
from volmicro_codec.phantom import make_phantom
from volmicro_codec.volume import VolumeInfo

HERE = Path(__file__).resolve().parent
SHAPE = (100, 647, 813)
BACKGROUND, OFFSET, READ_NOISE = 12.0, 100.0, 2.0


def large(truth: npt.NDArray[np.float32], structures: int) -> Iterator[npt.NDArray[np.uint16]]:
    """Planes of the volume of eight parts, of which so many hold the phantom."""
    order = np.random.default_rng(1).permutation(8)
    depth, height, width = truth.shape
    for z in range(2 * depth):
        plane = np.full((2 * height, 2 * width), BACKGROUND, np.float32)
        for part in order[:structures]:
            far, low, right = (int(part) >> k & 1 for k in (2, 1, 0))
            if z // depth != far:
                continue
            rng = np.random.default_rng([2, int(part)])
            turn = [slice(None, None, -1 if turned else 1) for turned in rng.integers(0, 2, 3)]
            signal = truth[turn[0]][z % depth][turn[1], turn[2]] - OFFSET - BACKGROUND
            box = np.s_[low * height : (low + 1) * height, right * width : (right + 1) * width]
            plane[box] += signal * np.float32(rng.uniform(0.5, 1.0))
        rng = np.random.default_rng([3, z])
        counts = rng.poisson(plane.clip(0)).astype(np.float32)
        counts += rng.standard_normal(plane.shape, np.float32) * np.float32(READ_NOISE) + np.float32(OFFSET)
        yield np.rint(counts.clip(0, 65535)).astype(np.uint16)[None]


def encode(source: Path, out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One encode, as a person would ask for it."""
    command = [sys.executable, "-m", "volmicro_codec.cli", "encode", str(source), "-o", str(out), "--json"]
    began, before = time.monotonic(), os.times()
    with Watch() as watch:
        done = subprocess.run(
            [*command, "--effort", args.effort, "--slope", f"{args.slope:g}"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    after = os.times()
    found = json.loads(done.stdout)
    return {
        "shape": "x".join(map(str, found["shape"])),
        "voxel_bytes": found["uncompressed_bytes"],
        "bricks": found.get("bricks", 1),
        "file_bytes": found["file_bytes"],
        "peak_bytes": watch.peak,
        "seconds": round(time.monotonic() - began),
        "cpu_seconds": round(sum(after[2:4]) - sum(before[2:4])),
        "said": done.stderr.splitlines()[:1],
    }


def main() -> None:
    """Make both volumes, encode them, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--slope", type=float, default=11.1, help="what is not noise, as a ratio of 231 is")
    parser.add_argument("--structures", type=int, default=1, help="parts of eight that hold the phantom")
    parser.add_argument("--shape", default=",".join(map(str, SHAPE)), help="of the phantom; z,y,x")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "memory.json")
    args = parser.parse_args()
    z, y, x = (int(n) for n in args.shape.split(","))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        voxels, truth = make_phantom((z, y, x), 0, truth=True)
        for file, planes, shape in (
            ("one.ome.zarr", (plane[None] for plane in voxels), (z, y, x)),
            ("eight.ome.zarr", large(truth, args.structures), (2 * z, 2 * y, 2 * x)),
        ):
            write_volume(folder / file, planes, VolumeInfo((1, 1, *shape), np.dtype(np.uint16), "ZYX"))
        del voxels, truth
        one = encode(folder / "one.ome.zarr", folder / "one.vgm", args)
        eight = encode(folder / "eight.ome.zarr", folder / "eight.vgm", args)
    document = {
        "effort": args.effort,
        "slope": args.slope,
        "parts_with_structure": args.structures,
        "phantom": one,
        "eight_times": eight,
        "memory_of_eight_over_one": round(eight["peak_bytes"] / one["peak_bytes"], 3),
        "machine": f"{platform.machine()} {os.cpu_count()} cores, shared with other work",
        "date": datetime.date.today().isoformat(),
    }
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
