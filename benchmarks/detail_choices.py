"""What constants are worth where every voxel counts: each as it is and as it might be, on real stacks.

    python benchmarks/detail_choices.py [-o benchmarks/results/detail_choices.json]      # half an hour
    python benchmarks/detail_choices.py --volumes beads --ratios 100 --choices multiplier

With ``--objective voxels`` no noise is known: `quantise.residual.LAGRANGE_MULTIPLIER` (what a bit of a
residual sample may cost), `fit.method.WITHOUT_NOISE` (how long the last refit goes on) and
`rate.to_bytes.REFITS_WITHOUT_NOISE` (how long those between roundings do) stand on it. PSNR is against the
voxels; ``over_chosen`` is in dB, and seconds over those of the encoder as it is. Stacks of more than
`LARGEST` voxels are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
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
RATIOS = (100.0, 200.0, 400.0)
LARGEST = 4 << 20
MULTIPLIERS = (0.1155, 0.13, 0.2)
THREADS = 2


@contextlib.contextmanager
def as_with_noise(table: dict[str, Any], other: Mapping[str, Any]) -> Iterator[None]:
    """An effort's entry of one table as it is in another."""
    own = table[EFFORT]
    table[EFFORT] = other[EFFORT]
    try:
        yield
    finally:
        table[EFFORT] = own


CHOICES: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "chosen": contextlib.nullcontext,
    "last refit as where noise is known": lambda: as_with_noise(method.WITHOUT_NOISE, method.EFFORTS),
    "rounding as where noise is known": lambda: as_with_noise(to_bytes.REFITS_WITHOUT_NOISE, to_bytes.REFITS),
    **{f"multiplier {m:g}": lambda m=m: set_to("LAGRANGE_MULTIPLIER", m) for m in MULTIPLIERS},  # type: ignore[misc]
}


def encoded(image: Image, ratio: float, folder: Path) -> dict[str, float]:
    """Figures of one encode."""
    file = folder / "out.vgm"
    began = time.perf_counter()
    settings = vgm.EncodeSettings(
        ratio=ratio, objective="voxels", effort=EFFORT, threads=THREADS, device="cpu"
    )
    vgm.encode_volume(Volume.from_array(image.data), file, settings, force=True)
    quality = vgm.open(file).quality
    seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 1), **{k: round(quality[k], 3) for k in ("psnr", "psnr_fg")}}


def main() -> None:
    """Measure and write the result file, after each stack what is known so far."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/detail_choices.json")
    parser.add_argument("--volumes", default="", help="parts of file names, comma-separated")
    parser.add_argument("--ratios", default=",".join(f"{r:g}" for r in RATIOS))
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
                for ratio in (float(r) for r in args.ratios.split(",")):
                    chosen: dict[str, float] = {}
                    for name in names:
                        with CHOICES[name]():
                            found = encoded(image, ratio, Path(folder))
                        chosen = chosen or found
                        over = {k: round(found[k] - chosen[k], 3) for k in ("psnr", "psnr_fg")}
                        over["seconds"] = round(found["seconds"] / chosen["seconds"], 2)
                        row = {"choice": name, "stack": image.label, "ratio": ratio, **found}
                        rows.append(row | {"over_chosen": over})
                        print(json.dumps(rows[-1]), flush=True)
                document = {"effort": EFFORT, "chosen": own, "means": means(rows), "rows": rows}
                args.output.write_text(json.dumps(document, indent=1) + "\n")


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each choice what it changes on average."""
    out = {}
    for name in dict.fromkeys(row["choice"] for row in rows):
        mine = [row["over_chosen"] for row in rows if row["choice"] == name]
        out[name] = {k: round(fmean(m[k] for m in mine), 3) for k in ("psnr", "psnr_fg", "seconds")}
    return out


if __name__ == "__main__":
    main()
