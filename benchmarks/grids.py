"""Coarse grids of the fit: how far they are off, and what they save, over the width that a step asks for.

    python benchmarks/grids.py [-o benchmarks/results/grids.json]

`raster.pyramid.WIDTHS_A_STEP` and `PAIRS_A_VOXEL` stand on it. Errors are of single Gaussians over their
weight; times are processor seconds of one thread, direct over pyramid, of a scene like a fitted stack's: many
narrow Gaussians and a few wide ones that reach over most of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from volumes import ROOT

from volmicro_codec.raster import pyramid
from volmicro_codec.raster.rasteriser import CpuRasteriser

CUTOFF = 12.0
SHAPE = (48, 160, 160)
WIDTHS = (1.5, 2.0, 2.5, 3.0, 4.0)
F64 = npt.NDArray[np.float64]


def scene(count: int, low: float, high: float, seed: int) -> tuple[F64, F64, F64]:
    """Means [N, 3], covariances [N, 6] and weights [N] of Gaussians of any direction."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-4, np.array(SHAPE) + 4.0, (count, 3))
    turned = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    b = turned * rng.uniform(low, high, (count, 1, 3))
    c = b @ b.transpose(0, 2, 1)
    six = np.stack([c[:, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))], axis=1)
    return means, six, rng.uniform(0.3, 1.0, count)


def cpu_seconds(work: Callable[[], Any]) -> float:
    """The least of five runs, after one to warm up."""
    work()
    taken = []
    for _ in range(5):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "grids.json")
    output = parser.parse_args().output
    direct, coarse = CpuRasteriser(CUTOFF, 1), pyramid.PyramidRasteriser(CUTOFF, 1)
    narrow, wide = scene(1500, 1.0, 3.0, 1), scene(60, 6.0, 24.0, 2)
    mixed = [np.concatenate(pair) for pair in zip(narrow, wide, strict=True)]
    residual = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    rows = []
    for width in WIDTHS:
        with patch.object(pyramid, "WIDTHS_A_STEP", width):
            errors = []
            with patch.object(pyramid, "PAIRS_A_VOXEL", 0.0):  # each on the grid its width allows
                means, cov, weights = scene(60, 1.5, 24.0, 4)
                for k in range(len(weights)):
                    one = means[k : k + 1], cov[k : k + 1], weights[k : k + 1], SHAPE
                    off = coarse.render(coarse.pack(*one)) - direct.render(direct.pack(*one))
                    errors.append(float(np.abs(off).max() / weights[k]))
            lists, packed = direct.pack(*mixed, SHAPE), coarse.pack(*mixed, SHAPE)
            saved = {
                "render": cpu_seconds(lambda a=lists: direct.render(a))
                / cpu_seconds(lambda a=packed: coarse.render(a)),
                "moments": cpu_seconds(lambda a=lists: direct.vjp_moments(a, residual))
                / cpu_seconds(lambda a=packed: coarse.vjp_moments(a, residual)),
            }
        rows.append(
            {
                "widths_a_step": width,
                "error_over_weight": float(f"{max(errors):.3g}"),
                "times_faster": {k: round(v, 2) for k, v in saved.items()},
            }
        )
        print(json.dumps(rows[-1]))
    output.write_text(json.dumps({"shape": SHAPE, "cutoff": CUTOFF, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
