"""What of the fine texture of real stacks is noise, and how well known noise is found.

python benchmarks/noise_of_stacks.py [--volumes NAME ...] [--known]

For each stack the noise model, and how its voxels vary in four bands, where it is dark and where it is
bright: the corner (second differences along all axes) and three differences of blurs along y and x. Three
witnesses say what of that is noise.

share of noise
    The variance that noise of the model has in the band, over what is there (by medians, so that it is
    that of most places). Detail makes it less than 1.
next plane
    Correlation of the band in one plane with that in the next, beside what noise of the model has there.
    Detail reaches over planes, since a blur along z does; noise does not.
second neighbour
    Correlation two voxels on along y and x of the second differences along the other axes: 0 for noise
    that next neighbours share, 0.37 for detail blurred by a voxel.

Writes results/noise_of_stacks.csv. With --known: stacks whose noise is known, and the standard deviation
found over the true one at several levels, into results/noise_known.csv.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve1d, gaussian_filter
from volumes import read_images, stack_files

from volmicro_codec.evaluate.noise import estimate_noise
from volmicro_codec.noise_model import NoiseModel, kernel
from volmicro_codec.phantom import KINDS, make_phantom

RESULTS = Path(__file__).resolve().parent / "results"
F32 = npt.NDArray[np.float32]
Stack = npt.NDArray[Any]

BANDS = {"fine": (0.0, 1.0), "middle": (1.0, 2.0), "coarse": (2.0, 4.0)}
CROP = (64, 256, 256)
CLEAN = ("mouse-brain", "beads", "nucleus-conf-wf", "root-membrane")
KINDS_OF_NOISE = (
    ("", [1.0], 16),
    (" in 8 bits", [1.0], 8),
    (" smoothed by 1 1", [0.5, 0.5], 16),
    (" smoothed by 1 2 1", [0.25, 0.5, 0.25], 16),
)
QUANTILES = (0, 50, 90, 98, 99.7, 100)


def drawn(model: NoiseModel, level: F32) -> F32:
    """Noise of a model at a level, before rounding."""
    white = np.random.default_rng(0).standard_normal(level.shape, np.float32)
    for axis, correlation in enumerate(model.correlation):
        white = convolve1d(white, kernel(correlation), axis=axis)
    return white * model.sigma_at(level)


def band_of(v: F32, band: tuple[float, float]) -> F32:
    """What of an image lies between two blurs along y and x; along z nothing is blurred."""
    low, high = (v if s == 0 else gaussian_filter(v, (0, s, s)) for s in band)
    return low - high


def corner(v: F32) -> F32:
    """Second differences along all axes."""
    for axis in range(3):
        v = convolve1d(v, [1.0, -2.0, 1.0], axis=axis)
    return v


def correlation(a: F32, b: F32, where: npt.NDArray[np.bool_]) -> float:
    """Of two images that have a mean of 0, over some voxels."""
    a, b = a[where].astype(np.float64), b[where].astype(np.float64)
    power = np.sqrt((a * a).mean() * (b * b).mean())
    return float((a * b).mean() / power) if power > 0 else np.nan


def second_neighbour(v: F32, axis: int, where: npt.NDArray[np.bool_]) -> float:
    """Correlation two voxels on along an axis, of the second differences along the other two."""
    for other in {0, 1, 2} - {axis}:
        v = convolve1d(v, [1.0, -2.0, 1.0], axis=other)
    on = np.moveaxis(v, axis, 0), np.moveaxis(where, axis, 0)
    return correlation(on[0][:-2], on[0][2:], on[1][:-2] & on[1][2:])


def witnesses(name: str, stack: Stack) -> Iterator[dict[str, Any]]:
    """A line for each band of the dark half and of the brightest tenth of a stack."""
    model = estimate_noise(stack)
    v = stack[tuple(slice(0, n) for n in CROP)].astype(np.float32)
    level = gaussian_filter(v, (1, 2, 2))
    noise = drawn(model, level)
    # Normalised, so that the brightest voxels do not stand for all.
    width = model.sigma_at(level)
    parts = {
        "dark half": level <= np.median(level),
        "brightest tenth": level >= np.percentile(level, 90),
        "brightest hundredth": level >= np.percentile(level, 99),
    }
    about = {
        "stack": name,
        "background": f"{model.background:.4g}",
        "sigma": f"{model.sigma:.4g}",
        "gain": f"{model.gain or 0:.4g}",
        "correlation z y x": " ".join(f"{v:.2f}" for v in model.correlation),
    }
    for part, here in parts.items():
        both = here[:-1] & here[1:]
        for band in ("corner", *BANDS):
            seen, expected = (
                corner(a) / width if band == "corner" else band_of(a, BANDS[band]) / width for a in (v, noise)
            )
            power = float(np.median(seen[here] ** 2))
            beyond = [second_neighbour(v / width, a, here) for a in (1, 2)] if band == "fine" else []
            yield {
                **about,
                "where": part,
                "level": f"{np.median(level[here]):.5g}",
                "sigma there": f"{np.median(width[here]):.4g}",
                "band": band,
                "share of noise": f"{np.median(expected[here] ** 2) / power:.3f}" if power else "",
                "next plane": f"{correlation(seen[:-1], seen[1:], both):.3f}",
                "next plane of noise": f"{correlation(expected[:-1], expected[1:], both):.3f}",
                "second neighbour y x": " ".join(f"{v:.3f}" for v in beyond),
            }


def known(names: list[str]) -> Iterator[tuple[str, Stack, npt.NDArray[np.float64]]]:
    """Stacks with noise, and what they are without it."""
    for kind, photons in itertools.product(KINDS, (2000, 500, 120, 30)):
        stack, truth = make_phantom((48, 160, 160), 7, kind, photons=float(photons), truth=True)
        yield f"phantom {kind} of {photons} photons", stack, truth.astype(np.float64)
    rng = np.random.default_rng(5)
    for path in stack_files(names or CLEAN):
        for image in read_images(path):
            clean_stack = image.data[tuple(slice(0, n) for n in (60, 192, 192))].astype(np.float64)
            low, high = np.percentile(clean_stack, (1, 99.9))
            for photons in (200, 40):
                light = np.maximum(clean_stack - low, 0) / (high - low) * photons + 3
                for what, taps, bits in KINDS_OF_NOISE:
                    truth = 100 + 8 * light
                    noisy = 100 + 8 * rng.poisson(light) + rng.normal(0, 6, light.shape)
                    for axis in range(3):
                        noisy, truth = (convolve1d(a, taps, axis=axis) for a in (noisy, truth))
                    # What was mirrored at the faces has other noise.
                    noisy, truth = (a[2:-2, 2:-2, 2:-2] for a in (noisy, truth))
                    scale = 250 / noisy.max() if bits == 8 else 1.0
                    kept = np.rint(noisy * scale).clip(0, 2**bits - 1).astype(f"uint{bits}")
                    yield f"{image.label} of {photons} photons{what}", kept, truth * scale


def found(name: str, stack: Stack, truth: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The model's standard deviation over the true one at several levels."""
    model, error = estimate_noise(stack), stack - truth
    out: dict[str, Any] = {"stack": name}
    for quantile, (low, high) in zip(
        QUANTILES[1:], itertools.pairwise(np.percentile(truth, QUANTILES)), strict=True
    ):
        here = (truth >= low) & (truth <= high)
        ratio = np.sqrt(model.variance_at(truth[here]).mean() / np.mean(error[here] ** 2))
        out[f"up to {quantile} %"] = f"{ratio:.3f}" if here.sum() >= 1000 else ""
    for axis, rho in zip("zyx", model.correlation, strict=True):
        e = np.moveaxis(error, "zyx".index(axis), 0)
        out[f"correlation {axis}"] = f"{rho:.2f}"
        out[f"true correlation {axis}"] = f"{(e[1:] * e[:-1]).mean() / (e * e).mean():.2f}"
    return out


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    """A table, whole or not at all."""
    beside = path.with_suffix(".part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    beside.replace(path)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--volumes", nargs="*", default=[], help="parts of file names; all where not given")
    parser.add_argument("--known", action="store_true", help="stacks whose noise is known instead")
    arguments = parser.parse_args()
    if arguments.known:
        lines = [found(*one) for one in known(arguments.volumes)]
        ratios = np.array([float(v) for line in lines for k, v in line.items() if k.startswith("up") and v])
        off = np.abs(ratios - 1)
        print(
            f"{len(ratios)} levels: {np.mean(off <= 0.1):.1%} within 10 %, median off by {np.median(off):.1%}"
        )
        write(RESULTS / "noise_known.csv", lines)
        return
    images = (image for path in stack_files(arguments.volumes) for image in read_images(path))
    write(RESULTS / "noise_of_stacks.csv", [line for i in images for line in witnesses(i.label, i.data)])


if __name__ == "__main__":
    main()
