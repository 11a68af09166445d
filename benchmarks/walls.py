"""What bricks cost: the bytes of a volume as bricks over those of it as one file of the same slope.

    python benchmarks/walls.py [--shape 128,512,512] [--brick 256 128 64] [--kind mixed nuclei]

Of a phantom the full grid alone is encoded, once as one file and once for each edge brick by brick, each with
what it sees around it. Bytes are those of the Gaussians and points, and of all else: headers, metadata,
indices of chunks. Gaussians are counted as well: those that reach over a wall are stored on both sides of it.
A wall costs as many voxels of the volume's bytes as are given: the bytes that are more, over those of a
voxel's thickness of the volume along each axis that has walls. How much larger the squared error is than
that of the one file is said of voxels within 4 of a wall, and of the others.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import volmicro_codec
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.format import VgmReader
from volmicro_codec.format.sizes import where_bytes_go
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.brick import encode_box, noise_of
from volmicro_codec.store.encode import draft
from volmicro_codec.store.grid import Grid
from volmicro_codec.store.job import Input, Job

HERE = Path(__file__).resolve().parent
NEAR = 4


def count(data: bytes) -> dict[str, int]:
    """Of a file: all bytes, those of its chunks, and what is in these."""
    with VgmReader.open(data) as reader:
        sizes = where_bytes_go(reader)
        return {
            "files": 1,
            "bytes": reader.file_size,
            "overhead": int(sizes["overhead"]),
            "chunks": len(reader.entries),
            "primitives": sum(e.count for e in reader.entries),
        }


def tiled(stack: np.ndarray, job: Job, edge: int | None) -> tuple[dict[str, Any], np.ndarray]:
    """The full grid as bricks of an edge, or as one file; and the squared errors of all voxels."""
    whole = tuple(slice(0, n) for n in stack.shape)
    grid = Grid(job.info, edge) if edge else None
    boxes = [whole] if grid is None else [grid.brick(n).box for n in range(len(grid))]
    total: dict[str, Any] = {}
    squares = np.empty(stack.shape, np.float32)
    began = time.process_time()
    for box in boxes:
        around, within = (whole, whole) if grid is None else grid.with_halo(box)
        voxels = stack[around]
        data, _ = encode_box(voxels, within, 0, job.info, job.settings, noise_of(voxels))
        for key, value in count(data).items():
            total[key] = total.get(key, 0) + value
        with volmicro_codec.open(data) as array:
            squares[box] = (np.asarray(array, np.float32).reshape(stack[box].shape) - stack[box]) ** 2
    total["seconds"] = time.process_time() - began
    total["mse"] = float(np.mean(squares, dtype=np.float64))
    return total, squares


def near_walls(shape: tuple[int, ...], edge: int) -> np.ndarray:
    """Where voxels are next to walls of bricks."""
    near = np.zeros(shape, bool)
    for axis, n in enumerate(shape):
        for wall in range(edge, n, edge):
            near[(slice(None),) * axis + (slice(wall - NEAR, wall + NEAR),)] = True
    return near


def measure(kind: str, shape: tuple[int, ...], edges: list[int], effort: str) -> dict[str, Any]:
    """One phantom, as one file and as bricks."""
    stack = make_phantom(shape, 0, kind)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/a.npy", stack)
        settings = EncodeSettings(effort=effort, brick=32, threads=1)
        job = draft(Input(f"{folder}/a.npy"), f"{folder}/a.ome.zarr", settings)
    one, before = tiled(stack, job, None)
    print(kind, "one file", one, flush=True)
    found: dict[str, Any] = {"slope": job.settings.slope, "one file": one}
    for edge in edges:
        row, after = tiled(stack, job, edge)
        walls = [-(-n // edge) - 1 for n in shape]
        thickness = sum(w / n for w, n in zip(walls, shape, strict=True))
        row["more_bytes_percent"] = 100 * (row["bytes"] / one["bytes"] - 1)
        more = {
            "of_overhead_percent": row["overhead"] - one["overhead"],
            "of_primitives_percent": (row["bytes"] - row["overhead"]) - (one["bytes"] - one["overhead"]),
        }
        row |= {key: 100 * value / one["bytes"] for key, value in more.items()}
        row["more_primitives_percent"] = 100 * (row["primitives"] / one["primitives"] - 1)
        row["walls"] = walls
        row["voxels_a_wall"] = (row["bytes"] / one["bytes"] - 1) / thickness if thickness else 0.0
        # Of a volume that goes on on all sides.
        row["more_bytes_without_end_percent"] = 100 * 3 * row["voxels_a_wall"] / edge
        near = near_walls(shape, edge)
        if near.any():
            row["worse_near_walls_db"] = float(10 * np.log10(after[near].mean() / before[near].mean()))
            row["worse_elsewhere_db"] = float(10 * np.log10(after[~near].mean() / before[~near].mean()))
        found[f"bricks of {edge}"] = row
        print(kind, edge, row, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", default="128,512,512")
    parser.add_argument("--brick", type=int, nargs="+", default=[256, 128, 64])
    parser.add_argument("--kind", nargs="+", default=["mixed", "nuclei"])
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "walls.json")
    args = parser.parse_args()
    shape = tuple(int(n) for n in args.shape.split(","))
    found: dict[str, Any] = {
        "date": datetime.date.today().isoformat(), "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(), "version": volmicro_codec.__version__, "shape": shape, "effort": args.effort,
        "near": NEAR, "kinds": {},
    }  # fmt: skip
    for kind in args.kind:
        found["kinds"][kind] = measure(kind, shape, args.brick, args.effort)
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
