"""What constants are worth where little is noise: each as it is and as it might be, on real stacks.

    python benchmarks/detail_choices.py [-o benchmarks/results/detail_choices.json]      # half an hour
    python benchmarks/detail_choices.py --volumes beads --ratios 100 --choices multiplier --objectives voxels

Without noise, or with ``--objective voxels``, which knows of none, `quantise.residual.LAGRANGE_MULTIPLIER`
(what a bit of a residual sample may cost) stands on it; with little of it, how long the last refit goes on
(`fit.method.EFFORTS`, `fit.method.LEAST_EXCESS`, `fit.method.WHOLE_EXCESS`: `detail_choices_excess.json`, of
three stacks) and how long those between roundings do (`rate.to_bytes.REFITS_WITHOUT_NOISE`,
`rate.to_bytes.MOSTLY_NOISE`); and how steeply the error of a
converged fit may be taken to fall with the count (`rate.balance.STEEPEST`). PSNR is against the voxels;
``over_chosen`` is in dB, bytes and seconds are over those of the encoder as it is. Stacks of more than
`LARGEST` voxels are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from block_choices import set_to
from volumes import ROOT, Image, read_images, stack_files

import volmicro_codec as vgm
from volmicro_codec.encoder.fit import method
from volmicro_codec.encoder.quantise import residual
from volmicro_codec.encoder.rate import point_layer, to_bytes
from volmicro_codec.volume import Volume

EFFORT = "balanced"
RATIOS = (100.0, 400.0)
LARGEST = 8 << 20
MULTIPLIERS = (0.13, 0.2)
THREADS = 2


OBJECTIVES = ("signal", "voxels")


@contextlib.contextmanager
def as_given(table: dict[str, Any], value: Any) -> Iterator[None]:
    """An effort's entry of a table as it might be."""
    own = table[EFFORT]
    table[EFFORT] = value
    try:
        yield
    finally:
        table[EFFORT] = own


def scheduled(**changes: Any) -> contextlib.AbstractContextManager[Any]:
    """An effort's schedule, changed."""
    return as_given(method.EFFORTS, replace(method.EFFORTS[EFFORT], **changes))


CHOICES: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "chosen": contextlib.nullcontext,
    "last refit of 40 iterations": lambda: scheduled(final=40, tolerance=2e-5, of_excess=False),
    "last refit by all of the loss": lambda: scheduled(of_excess=False),
    "least excess 0.03": lambda: set_to("LEAST_EXCESS", 0.03),
    "least excess 0.3": lambda: set_to("LEAST_EXCESS", 0.3),
    "whole excess 1": lambda: set_to("WHOLE_EXCESS", 1.0),
    "steepest 1.2": lambda: set_to("STEEPEST", 1.2),
    "steepest 6": lambda: set_to("STEEPEST", 6.0),
    "rounding as amid noise": lambda: as_given(to_bytes.REFITS_WITHOUT_NOISE, to_bytes.REFITS[EFFORT]),
    "rounding as without noise": lambda: as_given(to_bytes.REFITS, to_bytes.REFITS_WITHOUT_NOISE[EFFORT]),
    **{f"multiplier {m:g}": lambda m=m: set_to("LAGRANGE_MULTIPLIER", m) for m in MULTIPLIERS},  # type: ignore[misc]
}


def encoded(image: Image, objective: str, ratio: float, folder: Path) -> dict[str, float]:
    """Figures of one encode."""
    file = folder / "out.vgm"
    began = time.perf_counter()
    settings = vgm.EncodeSettings(
        ratio=ratio, objective=objective, effort=EFFORT, threads=THREADS, device="cpu"
    )
    vgm.encode_volume(Volume.from_array(image.data), file, settings, force=True)
    seconds = time.perf_counter() - began
    quality = vgm.open(file).quality
    figures = {k: round(quality[k], 3) for k in ("psnr", "psnr_fg")}
    return {"seconds": round(seconds, 1), "bytes": file.stat().st_size, **figures}


def main() -> None:
    """Measure and write the result file, after each stack what is known so far."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/detail_choices.json")
    parser.add_argument("--volumes", default="", help="parts of file names, comma-separated")
    parser.add_argument("--ratios", default=",".join(f"{r:g}" for r in RATIOS))
    parser.add_argument("--objectives", default=",".join(OBJECTIVES))
    parser.add_argument("--choices", default="", help="parts of names, comma-separated")
    args = parser.parse_args()
    names = [n for n in CHOICES if n == "chosen" or any(p in n for p in args.choices.split(","))]
    rows: list[dict[str, Any]] = []
    own = f"multiplier {residual.LAGRANGE_MULTIPLIER:g}, step {point_layer.STEP:.3g} sigma"
    with tempfile.TemporaryDirectory() as folder:
        for path in stack_files([name for name in args.volumes.split(",") if name]):
            for image in read_images(path):
                if image.data.size > LARGEST:
                    continue
                for objective, ratio in product(args.objectives.split(","), args.ratios.split(",")):
                    chosen: dict[str, float] = {}
                    for name in names:
                        with CHOICES[name]():
                            found = encoded(image, objective, float(ratio), Path(folder))
                        chosen = chosen or found
                        over = {k: round(found[k] - chosen[k], 3) for k in ("psnr", "psnr_fg")}
                        over |= {k: round(found[k] / chosen[k], 3) for k in ("bytes", "seconds")}
                        row = {"choice": name, "stack": image.label, "objective": objective}
                        rows.append(row | {"ratio": float(ratio), **found, "over_chosen": over})
                        print(json.dumps(rows[-1]), flush=True)
                document = {"effort": EFFORT, "chosen": own, "means": means(rows), "rows": rows}
                args.output.write_text(json.dumps(document, indent=1) + "\n")


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each choice what it changes on average, by objective."""
    found: dict[str, list[dict[str, float]]] = {}
    for row in rows:
        found.setdefault(f"{row['objective']}: {row['choice']}", []).append(row["over_chosen"])
    return {
        name: {k: round(fmean(one[k] for one in some), 3) for k in some[0]} for name, some in found.items()
    }


if __name__ == "__main__":
    main()
