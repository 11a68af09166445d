"""What growing small images again is worth where a PSNR is asked for: as it is, never, and to other counts.

    python benchmarks/quality_search.py [-o benchmarks/results/quality_search.json]      # five minutes
    python benchmarks/quality_search.py --stacks mixed --psnr-above 3 --choices never

`rate.to_quality.GROWN_AGAIN` and `MOST_GROWN` stand on it. Phantoms as the camera has them, as their truth,
and smoothed as denoising leaves them; a PSNR is asked for that is so many dB under that of the noise, or that
many dB beyond 40 where there is none. Bytes and seconds are over those of the encoder as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from block_choices import set_to
from scipy.ndimage import gaussian_filter

import volmicro_codec as vgm
from volmicro_codec.encoder.rate import to_quality
from volmicro_codec.evaluate import Reference

SHAPE, SEED, PHOTONS = (16, 80, 80), 3, 300.0
KINDS = ("mixed", "neurites", "nuclei")
KINDS_OF_NOISE = ("camera", "none", "smoothed")
DECIBELS = (0.5, 3.0, 8.0)
"""Under the PSNR of the noise; where there is none, 40 and twice as many are asked for."""
SMOOTHED = 1.2
THREADS = 2

CHOICES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "chosen": nullcontext,
    "never": lambda: set_to("MOST_GROWN", 0),
    "once": lambda: set_to("MOST_GROWN", 1),
    "to 0.75": lambda: set_to("GROWN_AGAIN", 0.75),
    "to 0.92": lambda: set_to("GROWN_AGAIN", 0.92),
}


def stack(kind: str, noise: str) -> tuple[npt.NDArray[Any], float]:
    """Voxels, and the PSNR of their noise."""
    noisy, truth = vgm.make_phantom(SHAPE, SEED, kind, photons=PHOTONS, truth=True)
    if noise == "none":
        return np.asarray(truth, np.float32), math.inf
    if noise == "smoothed":
        return gaussian_filter(noisy.astype(np.float32), SMOOTHED), math.inf
    peak = Reference.of(noisy).peak
    return noisy, 10.0 * math.log10(peak**2 / float(np.mean((noisy - truth.astype(np.float64)) ** 2)))


def encoded(voxels: npt.NDArray[Any], psnr: float, folder: Path) -> dict[str, float]:
    """Figures of one encode."""
    began = time.perf_counter()
    found = vgm.imwrite(folder / "out.vgm", voxels, force=True, threads=THREADS, psnr=psnr)
    return {
        "bytes": found.bytes,
        "psnr": round(found.psnr, 3),
        "seconds": round(time.perf_counter() - began, 2),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print and keep the figures; 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--stacks", default=",".join(KINDS), help="kinds of phantoms, comma-separated")
    parser.add_argument("--psnr-above", default=",".join(map(str, DECIBELS)), help="dB, comma-separated")
    parser.add_argument("--choices", default=",".join(CHOICES), help="beside that which is chosen")
    args = parser.parse_args(argv)
    choices = dict.fromkeys(("chosen", *args.choices.split(",")))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, noise in product(args.stacks.split(","), KINDS_OF_NOISE):
            voxels, of_noise = stack(kind, noise)
            for decibels in map(float, args.psnr_above.split(",")):
                psnr = 40.0 + 2.0 * decibels if math.isinf(of_noise) else of_noise - decibels
                for choice in choices:
                    with CHOICES[choice]():
                        row = {"stack": kind, "noise": noise, "asked": round(psnr, 2), "choice": choice}
                        rows.append(row | encoded(voxels, psnr, Path(folder)))
                    print(rows[-1], flush=True)
    result = {
        "shape": SHAPE,
        "grown_again": to_quality.GROWN_AGAIN,
        "most_grown": to_quality.MOST_GROWN,
        "over_chosen": [over_chosen(rows, choice) for choice in choices if choice != "chosen"],
        "rows": rows,
    }
    text = json.dumps(result, indent=1) + "\n"
    if args.output is None:
        print(text, end="")
    else:
        args.output.write_text(text, encoding="utf-8")
    return 0


def over_chosen(rows: Sequence[dict[str, Any]], choice: str) -> dict[str, Any]:
    """Means over the stacks of what a choice makes of them, over what they are."""
    of = {(r["stack"], r["noise"], r["asked"]): r for r in rows if r["choice"] == "chosen"}
    pairs = [(r, of[r["stack"], r["noise"], r["asked"]]) for r in rows if r["choice"] == choice]
    return {
        "choice": choice,
        "bytes": round(fmean(r["bytes"] / c["bytes"] for r, c in pairs), 4),
        "psnr": round(fmean(r["psnr"] - c["psnr"] for r, c in pairs), 3),
        "seconds": round(fmean(r["seconds"] / c["seconds"] for r, c in pairs), 2),
    }


if __name__ == "__main__":
    raise SystemExit(main())
