"""Kernels of the fit: processor time a pass, over the shape of the tiles that a box is cut into.

    python benchmarks/fit_kernels.py [-o benchmarks/results/fit_kernels.json]

`raster.rasteriser.TILE` stands on it. Milliseconds of one thread, the least of five, of a box of 3 Mvoxel with
as many narrow Gaussians as a block of a fitted phantom has, or ten times as many; over those of the tile
that the rasteriser has.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from grids import cpu_seconds
from volumes import ROOT

from volmicro_codec.raster.rasteriser import TILE, CpuRasteriser

SHAPE = (100, 173, 173)
TILES = [(8, 16, 32), (16, 16, 32), (16, 32, 64), (32, 32, 64), (64, 64, 64), (64, 64, 128)]
COUNTS = (1700, 17000)


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/fit_kernels.json")
    args = parser.parse_args()
    rows = []
    for count in COUNTS:
        rng = np.random.default_rng(1)
        b = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
        b = b * np.exp(rng.normal(np.log([2.9, 1.7, 1.2]), 0.3, (count, 3)))[:, None, :]
        c = b @ b.transpose(0, 2, 1)
        six = np.stack([c[:, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))], axis=1)
        scene = rng.uniform(0, np.array(SHAPE), (count, 3)), six, rng.uniform(0.3, 1.0, count)
        field = rng.normal(size=SHAPE).astype(np.float32)
        table = rng.normal(scale=0.05, size=(count, 10)).astype(np.float32)
        out = np.empty(SHAPE, np.float32)
        for tile in TILES:
            raster = CpuRasteriser(12.0, 1, tile)
            packed = raster.pack(*scene, SHAPE)
            taken = {
                "pack": lambda r=raster: r.pack(*scene, SHAPE),
                "residual": lambda r=raster, p=packed: r.residual(p, field, None, out),
                "moments": lambda r=raster, p=packed: r.vjp_moments(p, field),
                "curvature": lambda r=raster, p=packed: r.curvature(p, table, field, None, out),
            }
            row = {name: round(1e3 * cpu_seconds(work), 2) for name, work in taken.items()}
            entries = len(packed.ids)
            rows.append(
                {"gaussians": count, "tile": tile, "entries": entries, **row, "all": sum(row.values())}
            )
            print(rows[-1])
    for row in rows:
        own = next(r for r in rows if r["gaussians"] == row["gaussians"] and r["tile"] == TILE)
        row["over_chosen"] = round(float(row["all"]) / float(own["all"]), 2)
        row["all"] = round(float(row["all"]), 2)
    args.output.write_text(json.dumps({"shape": SHAPE, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
