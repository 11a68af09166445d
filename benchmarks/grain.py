"""Whether noise that is put back is like the original's: histogram and power spectrum of the background.

python benchmarks/grain.py [--volumes NAME ...] [--ratio 200]

Each stack (a crop of it) is encoded, decoded, and decoded with grain. In the darkest blocks of 8 x 16 x 16
voxels the three are compared after the block's mean is taken off: **histogram** is the largest difference of
the cumulative distributions of original and decoded (Kolmogorov and Smirnov), **spectrum** the ratio of their
mean powers in four bands of radial frequency from 0.125 to 0.866 cycles a voxel (lower ones are the
specimen's). Tolerances: histogram at most 0.05, every band within 25 %. Writes results/grain.csv.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from volumes import read_images, stack_files

import volmicro_codec
from volmicro_codec.encoder import EncodeSettings, encode_volume
from volmicro_codec.phantom import KINDS, make_phantom
from volmicro_codec.volume import Volume, VolumeInfo

RESULTS = Path(__file__).resolve().parent / "results"
Stack = npt.NDArray[Any]
F64 = npt.NDArray[np.float64]

CROP = (32, 128, 128)
BLOCK = (8, 16, 16)
DARKEST = 0.2
BANDS = (0.125, 0.25, 0.375, 0.5, 0.8661)
HISTOGRAM_TOLERANCE, BAND_TOLERANCE = 0.05, 0.25


def stacks(names: list[str]) -> Iterator[tuple[str, Stack]]:
    """Phantoms, and the middle of the real stacks."""
    for kind in KINDS:
        for photons in (500, 60):
            yield f"phantom {kind} of {photons} photons", make_phantom(CROP, 7, kind, photons=float(photons))
    for path in stack_files(names):
        for image in read_images(path):
            box = [
                slice(max(0, (n - c) // 2), (n + c) // 2) for n, c in zip(image.data.shape, CROP, strict=True)
            ]
            yield image.label, image.data[tuple(box)]


def blocks_of(v: Stack) -> F64:
    """Blocks [n, z, y, x] that tile an image."""
    counts = [n // b for n, b in zip(v.shape, BLOCK, strict=True)]
    v = v[tuple(slice(0, c * b) for c, b in zip(counts, BLOCK, strict=True))].astype(np.float64)
    split = v.reshape(counts[0], BLOCK[0], counts[1], BLOCK[1], counts[2], BLOCK[2])
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, *BLOCK)


def powers(blocks: F64) -> F64:
    """Mean power in each band."""
    found = np.abs(np.fft.fftn(blocks, axes=(1, 2, 3))) ** 2
    radius = np.sqrt(sum(np.square(f) for f in np.meshgrid(*map(np.fft.fftfreq, BLOCK), indexing="ij")))
    mean = found.mean(axis=0)
    return np.array([mean[(radius >= a) & (radius < b)].mean() for a, b in itertools.pairwise(BANDS)])


def apart(a: F64, b: F64) -> float:
    """Largest difference of two cumulative distributions."""
    places = np.union1d(a, b)
    shares = (np.searchsorted(np.sort(v), places, "right") / v.size for v in (a, b))
    first, second = shares
    return float(np.abs(first - second).max())


def measure(name: str, stack: Stack, ratio: float) -> dict[str, Any]:
    """How alike background and decoded background are, without and with grain."""
    volume = Volume(stack[None, None], VolumeInfo((1, 1, *stack.shape), stack.dtype))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.vgm"
        result = encode_volume(volume, path, EncodeSettings(ratio=ratio, effort="fast"))
        with volmicro_codec.open(path) as array:
            noise = array.meta.noise_of(0, 0)
            plain, grained = array.read(), array.read(grain=True)
    original, decoded, with_grain = map(blocks_of, (stack, plain, grained))
    level = decoded.mean(axis=(1, 2, 3))
    dark = level <= np.quantile(level, DARKEST)
    parts = [v[dark] - v[dark].mean(axis=(1, 2, 3), keepdims=True) for v in (original, decoded, with_grain)]
    power = [powers(v) for v in parts]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where there is nothing to put back, nothing over nothing is as it should be.
        without, bands = (np.where(p == power[0], 1.0, p / power[0]) for p in power[1:])
    found = apart(parts[0].ravel(), parts[2].ravel())
    return {
        "stack": name,
        "noise": str(noise),
        "ratio": f"{result.ratio:.0f}",
        "deviation": f"{parts[0].std():.4g}",
        "decoded": f"{parts[1].std():.4g}",
        "with grain": f"{parts[2].std():.4g}",
        "histogram decoded": f"{apart(parts[0].ravel(), parts[1].ravel()):.3f}",
        "histogram with grain": f"{found:.3f}",
        "spectrum decoded": " ".join(f"{v:.2f}" for v in without),
        "spectrum with grain": " ".join(f"{v:.2f}" for v in bands),
        "within": bool(found <= HISTOGRAM_TOLERANCE and np.all(np.abs(bands - 1) <= BAND_TOLERANCE)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--volumes", nargs="*", default=[], help="parts of file names; all where not given")
    parser.add_argument("--ratio", type=float, default=200.0)
    arguments = parser.parse_args()
    lines = []
    for name, stack in stacks(arguments.volumes):
        lines.append(measure(name, stack, arguments.ratio))
        print(*lines[-1].values(), sep=", ", flush=True)
    path = RESULTS / "grain.csv"
    beside = path.with_suffix(".part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    beside.replace(path)
    print(f"{sum(line['within'] for line in lines)} of {len(lines)} within the tolerances; wrote {path}")


if __name__ == "__main__":
    main()
