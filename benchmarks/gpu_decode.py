"""Decoding on a GPU: the render kernel against its floors, file to array, and small regions.

    python benchmarks/gpu_decode.py [--files a.vgm ...] [--repeats 20]

Without --files it encodes the phantom of 100 x 647 x 813 voxels at ratio 231, and the real stacks at 200,
once, into a folder of its own (--cache). The floor of the kernel is the larger of: bytes of the voxels at the
measured rate of writing, and INSTRUCTIONS for each (voxel, primitive) pair inside a support at the measured
rate of arithmetic.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from gpu_device import about, ceilings, milliseconds, require_cuda, write_result
from volumes import stack_files

import volmicro_codec
from volmicro_codec import EncodeSettings
from volmicro_codec.cuda import CudaRasteriser
from volmicro_codec.decoder import oracle
from volmicro_codec.format import VgmReader
from volmicro_codec.phantom import make_phantom
from volmicro_codec.primitives import Primitives
from volmicro_codec.volume import Volume

INSTRUCTIONS = 5  # of a voxel and primitive: subtract, maximum, multiply-add, two multiplications of the walk
PHANTOM = (100, 647, 813)


def encoded(cache: Path) -> list[Path]:
    """The .vgm files to decode, made where they are not there yet."""
    wanted: list[tuple[Path, Any, float]] = [(cache / "phantom.vgm", None, 231.0)]
    try:
        wanted += [(cache / f"{p.name.split('.')[0]}.vgm", p, 200.0) for p in stack_files()]
    except FileNotFoundError as exc:
        print(f"only the phantom: {exc}")
    for path, source, ratio in wanted:
        if not path.exists():
            volume = (
                Volume.from_array(make_phantom(PHANTOM, seed=1))
                if source is None
                else volmicro_codec.read_volume(source)
            )
            volmicro_codec.encode_volume(volume, path, EncodeSettings(ratio=ratio, effort="fast"))
    return [path for path, _, _ in wanted]


def primitives(path: Path) -> tuple[Primitives, VgmReader]:
    """Primitives of the first image of a file."""
    from volmicro_codec.primitives import records_to_primitives

    reader = VgmReader.open(path)
    parts = []
    for k, entry in enumerate(reader.entries):
        if (entry.t, entry.c) == (0, 0):
            lo, size = entry.brick_lo, entry.brick_shape
            z, y, x = (a + (n - 1) / 2 for a, n in zip(lo, size, strict=True))
            parts.append(records_to_primitives(reader.read_records(k), (z, y, x)))
    return Primitives.concatenate(parts), reader


def kernel_figures(cupy: Any, path: Path, limits: dict[str, float], repeats: int) -> dict[str, Any]:
    """Time of binning and rendering one image, and how far that is from the floors."""
    prims, reader = primitives(path)
    with reader:
        meta = reader.meta
        shape, kind, (base, gain) = meta.info.shape[2:], meta.info.dtype, meta.images[0]
        raster = CudaRasteriser(meta.cutoff, "cuda")
        floats = raster.upload(prims)
        packed = raster.pack_floats(floats, (0, 0, 0), shape)
        out = cupy.empty(shape, kind)
        bin_ms = milliseconds(cupy, lambda: raster.pack_floats(floats, (0, 0, 0), shape), repeats)
        render_ms = milliseconds(cupy, lambda: raster.voxels(packed, base, gain, kind, out), repeats)
        # Voxels within each ellipsoid, as if none were cut off by the volume's faces.
        pairs = float(4 / 3 * np.pi * meta.cutoff**1.5 * prims.scales.astype(np.float64).prod(axis=1).sum())
        check = (0, 0, 0), tuple(min(n, 24) for n in shape)
        want = base + gain * oracle.render(prims, meta.cutoff, *check)
        got = out[tuple(slice(0, n) for n in check[1])].get().astype(np.float64)
        limit = np.iinfo(kind).max if kind.kind == "u" else np.inf
        off = np.abs(got - (np.clip(np.rint(want), 0, limit) if kind.kind == "u" else want)).max()
    bytes_ms = out.nbytes / limits["written_bytes_per_s"] * 1e3
    arithmetic_ms = pairs * INSTRUCTIONS / limits["float32_instructions_per_s"] * 1e3
    return {
        "shape": list(shape),
        "primitives": len(prims),
        "tile_entries": packed.capacity,
        "pairs": pairs,
        "bin_ms": bin_ms,
        "render_ms": render_ms,
        "gvoxel_per_s": out.size / render_ms / 1e6,
        "floor_bytes_ms": bytes_ms,
        "floor_arithmetic_ms": arithmetic_ms,
        "times_floor": render_ms / max(bytes_ms, arithmetic_ms),
        "off_from_oracle": float(off),
    }


def file_figures(path: Path, repeats: int) -> dict[str, float]:
    """Milliseconds from file to array, and of a region of 64 voxels a side once it is open."""
    figures = {}
    for device in ("cuda", "cpu"):
        whole = []
        for _ in range(3):
            start = time.perf_counter()
            with volmicro_codec.open(path, device=device) as array:
                array[...]
            whole.append((time.perf_counter() - start) * 1e3)
        figures[f"file_to_array_ms_{device}"] = min(whole)
        with volmicro_codec.open(path, device=device) as array:
            image = {"time": 0 if "T" in array.axes else None, "channel": 0 if "C" in array.axes else None}
            size = array.info.shape[2:]
            r = np.random.default_rng(0)
            times = []
            for _ in range(repeats + 3):
                lo = [int(r.integers(0, max(1, n - 63))) for n in size]
                box = [(a, min(n, a + 64)) for a, n in zip(lo, size, strict=True)]
                start = time.perf_counter()
                array.read(box, **image)
                times.append((time.perf_counter() - start) * 1e3)
            figures[f"region_64_ms_{device}"] = statistics.median(times[3:])
    return figures


def main() -> None:
    """Measure and write results/gpu_decode.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", nargs="*", type=Path, help=".vgm files to decode")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "vgm-gpu-bench")
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    cupy = require_cuda()
    given.cache.mkdir(parents=True, exist_ok=True)
    limits = ceilings(cupy)
    document = {**about(cupy), "ceilings": limits, "instructions_per_pair": INSTRUCTIONS, "files": {}}
    for path in given.files or encoded(given.cache):
        figures = kernel_figures(cupy, path, limits, given.repeats)
        document["files"][path.stem] = {**figures, **file_figures(path, given.repeats)}
    write_result("gpu_decode", document)


if __name__ == "__main__":
    main()
