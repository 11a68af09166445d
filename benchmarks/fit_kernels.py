"""Kernels of the fit: processor time a pass, over the shape of the tiles that a box is cut into.

    python benchmarks/fit_kernels.py [-o benchmarks/results/fit_kernels.json]

`raster.rasteriser.TILE` stands on it. Milliseconds of one thread, the least of five, of a box of 3 Mvoxel
with as many narrow Gaussians as a block of a fitted phantom has, or ten times as many; ``over_chosen`` is
over those of the tile that the rasteriser has.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from grids import cpu_seconds
from volumes import ROOT

from volmicro_codec.raster.rasteriser import TILE, CpuRasteriser

SHAPE = (100, 173, 173)
TILES = [(8, 16, 32), (16, 16, 32), (16, 32, 64), (32, 32, 64), (64, 64, 64), (64, 64, 128)]
COUNTS = (1700, 17000)
Scene = tuple[Any, Any, Any]


def measured(raster: CpuRasteriser, scene: Scene, rng: np.random.Generator) -> dict[str, float]:
    """Milliseconds of each pass over a box."""
    field = rng.normal(size=SHAPE).astype(np.float32)
    table = rng.normal(scale=0.05, size=(len(scene[0]), 10)).astype(np.float32)
    packed, out = raster.pack(*scene, SHAPE), np.empty(SHAPE, np.float32)
    passes: dict[str, Callable[[], Any]] = {
        "pack": lambda: raster.pack(*scene, SHAPE),
        "residual": lambda: raster.residual(packed, field, None, out),
        "moments": lambda: raster.vjp_moments(packed, field),
        "curvature": lambda: raster.curvature(packed, table, field, None),
    }
    return {name: round(1e3 * cpu_seconds(work), 2) for name, work in passes.items()}


def scene_of(count: int, rng: np.random.Generator) -> Scene:
    """Means, covariances and weights of Gaussians like those of a fitted phantom."""
    b = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    b = b * np.exp(rng.normal(np.log([2.9, 1.7, 1.2]), 0.3, (count, 3)))[:, None, :]
    c = b @ b.transpose(0, 2, 1)
    six = np.stack([c[:, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))], axis=1)
    return rng.uniform(0, np.array(SHAPE), (count, 3)), six, rng.uniform(0.3, 1.0, count)


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/fit_kernels.json")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for count in COUNTS:
        rng = np.random.default_rng(1)
        scene = scene_of(count, rng)
        for tile in TILES:
            row = measured(CpuRasteriser(12.0, 1, tile), scene, rng)
            rows.append({"gaussians": count, "tile": tile, **row, "all": round(sum(row.values()), 2)})
            print(rows[-1])
    for row in rows:
        own = next(r for r in rows if r["gaussians"] == row["gaussians"] and r["tile"] == TILE)
        row["over_chosen"] = round(row["all"] / own["all"], 2)
    args.output.write_text(json.dumps({"shape": SHAPE, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
