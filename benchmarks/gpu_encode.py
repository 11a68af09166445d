"""Encoding on a GPU: seconds, and PSNR against the same encode on the CPU.

    python benchmarks/gpu_encode.py [--no-stacks] [--no-cpu] [--effort fast]

The phantom of 100 x 647 x 813 voxels at ratio 231 (published: 7 minutes; goal: 10 s, within 0.1 dB of the
CPU), and the real stacks, where they are there, at ratio 200. Results are written after each.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from gpu_device import about, require_cuda, write_result
from volumes import stack_files

import volmicro_codec
from volmicro_codec import EncodeSettings
from volmicro_codec.phantom import make_phantom
from volmicro_codec.volume import Volume

PHANTOM = (100, 647, 813)


def encode(volume: Volume, ratio: float, effort: str, device: str) -> dict[str, Any]:
    """One encode on one device."""
    with tempfile.TemporaryDirectory() as scratch:
        settings = EncodeSettings(ratio=ratio, effort=effort, device=device)
        result = volmicro_codec.encode_volume(volume, Path(scratch) / "out.vgm", settings)
    return {
        f"{device}_seconds": result.seconds,
        f"{device}_psnr": result.psnr,
        f"{device}_bytes": result.bytes,
        f"{device}_primitives": result.primitives,
    }


def main() -> None:
    """Measure and write results/gpu_encode.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-stacks", action="store_true", help="the phantom alone")
    parser.add_argument("--no-cpu", action="store_true", help="leave out the encode to compare with")
    parser.add_argument("--effort", default="balanced")
    given = parser.parse_args()
    cupy = require_cuda()
    jobs: list[tuple[str, Path | None, float]] = [("phantom", None, 231.0)]
    if not given.no_stacks:
        try:
            jobs += [(p.name.split(".")[0], p, 200.0) for p in stack_files()]
        except FileNotFoundError as exc:
            print(f"only the phantom: {exc}")
    small = Volume.from_array(make_phantom((16, 64, 64), seed=2))
    encode(small, 100.0, "fast", "cuda")  # compiles what is compiled on first use
    document = {**about(cupy), "effort": given.effort, "stacks": {}}
    for name, path, ratio in jobs:
        volume = (
            Volume.from_array(make_phantom(PHANTOM, seed=1))
            if path is None
            else volmicro_codec.read_volume(path)
        )
        figures = {"ratio": ratio, **encode(volume, ratio, given.effort, "cuda")}
        if not given.no_cpu:
            figures.update(encode(volume, ratio, given.effort, "cpu"))
            figures["psnr_difference"] = figures["cuda_psnr"] - figures["cpu_psnr"]
        document["stacks"][name] = figures
        write_result("gpu_encode", document)


if __name__ == "__main__":
    main()
