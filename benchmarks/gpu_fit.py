"""A step of a fit on a GPU by the size of its block: what the host takes to ask for it, what the device.

    python benchmarks/gpu_fit.py [--file a.vgm] [--trips 12]

The Gaussians are those of a .vgm file, or, without one, of a phantom encoded in effort fast; blocks are boxes
of its volume from its corner on, and what is fitted is what the Gaussians draw there, with noise. While the
device takes longer than the host, the host is never waited for; blocks as small as those of the CPU leave the
device idle for most of the time: what `DEVICE_BLOCK` of encoder/fit/device.py is about.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from gpu_device import about, require_cuda, write_result

import volmicro_codec
from volmicro_codec import EncodeSettings
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.encoder.fit.device import DeviceRefiner
from volmicro_codec.encoder.fit.device_loop import State, Stepper
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.fit.refiner import Block
from volmicro_codec.encoder.fit.tensors import TensorModel
from volmicro_codec.encoder.quantise.coder import model_of
from volmicro_codec.format import VgmReader, codings
from volmicro_codec.phantom import make_phantom
from volmicro_codec.primitives import Primitives, records_to_primitives
from volmicro_codec.volume import Volume

PHANTOM = (100, 647, 813)
NOISE, FLOOR = 0.02, 1e-3


def gaussians_of(path: Path) -> tuple[Model, tuple[int, int, int], float]:
    """Gaussians of a file's first image, their largest amplitude 1; its shape; its cut-off."""
    with VgmReader.open(path) as reader:
        parts = []
        for k, entry in enumerate(reader.entries):
            if (entry.t, entry.c) == (0, 0) and entry.coding != codings.POINTS:
                centre = [a + (n - 1) / 2 for a, n in zip(entry.brick_lo, entry.brick_shape, strict=True)]
                parts.append(records_to_primitives(reader.read_records(k), (centre[0], centre[1], centre[2])))
        z, y, x = reader.meta.info.shape[2:]
        model = model_of(Primitives.concatenate(parts))
        model.w /= float(np.abs(model.w).max())
        return model, (z, y, x), reader.meta.cutoff


def step_of(
    cupy: Any, raster: CudaRasteriser, model: Model, shape: tuple[int, ...], trips: int
) -> dict[str, Any]:
    """Milliseconds of a step of the fit of a box from the corner on."""
    mine = model.take(np.flatnonzero((model.mu < np.array(shape)).all(axis=1)))
    rng = np.random.default_rng(0)
    packed = raster.pack(mine.mu, mine.covariance6(), mine.w, shape)
    target = raster.render(packed) + rng.normal(0, NOISE, shape).astype(np.float32)
    mine.w *= 0.9
    mine.mu += rng.normal(0, 0.1, mine.mu.shape)
    refiner = DeviceRefiner(Block(np.zeros(3), target), raster, noise_floor=FLOOR)
    with refiner.entered() as block:
        there = TensorModel.of(mine, block.where)
        stepper = Stepper(block, refiner.steps(None), 1000, 0.0, 0.0, None)
        state = State.begin(there, block.enter(there), None)
        for _ in range(2):
            state = stepper.advance(state)
        cupy.cuda.Device().synchronize()
        begun = time.perf_counter()
        for _ in range(trips):
            state = stepper.advance(state)
        asked = time.perf_counter()
        cupy.cuda.Device().synchronize()
        ended = time.perf_counter()
    return {
        "shape": list(shape),
        "mvoxel": round(float(np.prod(shape)) / 1e6, 2),
        "gaussians": len(mine),
        "host_asks_ms": (asked - begun) / trips * 1e3,
        "device_ms": (ended - begun) / trips * 1e3,
    }


def main() -> None:
    """Measure and write results/gpu_fit.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path)
    parser.add_argument("--trips", type=int, default=12)
    given = parser.parse_args()
    cupy = require_cuda()
    with tempfile.TemporaryDirectory() as scratch:
        path = given.file
        if path is None:
            path = Path(scratch) / "phantom.vgm"
            volume = Volume.from_array(make_phantom(PHANTOM, seed=1))
            volmicro_codec.encode_volume(volume, path, EncodeSettings(ratio=231, effort="fast"))
        model, (z, y, x), cutoff = gaussians_of(path)
    raster = CudaRasteriser(cutoff, "cuda")
    document: dict[str, Any] = {**about(cupy), "gaussians": len(model), "blocks": []}
    for part in (0.15, 0.24, 0.4, 0.7, 1.0):
        box = z, max(1, round(part * y)), max(1, round(part * x))
        document["blocks"].append(step_of(cupy, raster, model, box, given.trips))
        write_result("gpu_fit", document)


if __name__ == "__main__":
    main()
