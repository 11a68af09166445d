"""What looking at less of an image is worth: constants of the encoder that decide over time, one by one.

    python benchmarks/block_choices.py [-o benchmarks/results/block_choices.json]      # some ten minutes
    python benchmarks/block_choices.py --constants MOST_REACHED --values 0,0.7 --shape 100,647,813 --turns 1

`fit.blocks.MOST_REACHED` (refits look at what of a block Gaussians reach) and `pool.LEAST_PIECE` (what of a
pass is worth a thread) stand on it. What was measured of other constants and scenes stays in the result file.
Seconds and processor time of encodes in this process at the default effort, the least of some turns in which
all values take part; ``over_chosen`` is over those of the value that the encoder has. PSNR is against the
truth. The first acts on images of several blocks: a phantom, and structures amid four times the space.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from encode_speed import OFFSET, RATIO, READ_NOISE, SEED, THREADS, alone_and_amid
from volumes import ROOT

import volmicro_codec as vgm
from volmicro_codec.evaluate import compare
from volmicro_codec.phantom import make_phantom
from volmicro_codec.volume import Volume

Voxels = npt.NDArray[Any]
CHOICES: dict[str, tuple[float, ...]] = {
    "MOST_REACHED": (0.0, 0.4, 0.7, 1.0),
    "LEAST_PIECE": (1 << 10, 1 << 16, 1 << 18, 1 << 21),
}
SEVERAL_BLOCKS = ("MOST_REACHED",)
SMALL = ((16, 48, 48), (32, 96, 96), (48, 192, 192), (64, 256, 256))
"""Phantoms of one block."""
TURNS = 2


@contextlib.contextmanager
def set_to(name: str, value: float) -> Iterator[float]:
    """Give a constant another value wherever it was imported; yields its own."""
    loaded = [m for k, m in sys.modules.items() if k.startswith("volmicro_codec") and hasattr(m, name)]
    own = getattr(loaded[0], name)
    try:
        for module in loaded:
            setattr(module, name, value)
        yield own
    finally:
        for module in loaded:
            setattr(module, name, own)


def scenes(shape: tuple[int, int, int], blocks: bool) -> dict[str, tuple[Voxels, Voxels]]:
    """Stacks and their truth."""
    if not blocks:
        return {f"phantom {'x'.join(map(str, s))}": make_phantom(s, SEED, truth=True) for s in SMALL}
    light = alone_and_amid((shape[0], shape[1] // 2, shape[2] // 2))[1]
    rng = np.random.default_rng(SEED)
    counts = rng.poisson(light) + READ_NOISE * rng.standard_normal(light.shape) + OFFSET
    amid = np.rint(counts.clip(0, 65535)).astype(np.uint16)
    label = "x".join(map(str, shape))
    phantom = make_phantom(shape, SEED, truth=True)
    return {f"phantom {label}": phantom, f"amid space {label}": (amid, light + OFFSET)}


def encoded(voxels: Voxels, truth: Voxels, folder: Path) -> dict[str, float]:
    """Figures of one encode."""
    file = folder / "out.vgm"
    began, spent = time.perf_counter(), time.process_time()
    settings = vgm.EncodeSettings(ratio=RATIO, threads=THREADS, device="cpu")
    vgm.encode_volume(Volume.from_array(voxels), file, settings, force=True)
    figures = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - spent}
    decoded = np.asarray(vgm.open(file)[...]).reshape(voxels.shape)
    return figures | {"bytes": file.stat().st_size, "psnr": round(compare(truth, decoded)["psnr"], 3)}


def measured(
    name: str, values: Sequence[float], turns: int, scene: str, voxels: Voxels, truth: Voxels
) -> list[dict[str, Any]]:
    """A row for each value of a constant, of which one is its own."""
    rows: dict[float, dict[str, Any]] = {}
    own = math.nan
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns):
            for value in values:
                with set_to(name, value) as own:
                    row = encoded(voxels, truth, Path(folder))
                before = rows.get(value, row)
                least = {k: round(min(row[k], before[k]), 2) for k in ("seconds", "cpu_seconds")}
                rows[value] = row | least
    for value, row in rows.items():
        over = {k: round(row[k] / rows[own][k], 3) for k in ("seconds", "cpu_seconds", "bytes")}
        rows[value] = {"constant": name, "value": str(value), "scene": scene, **row, "over_chosen": over}
        print(json.dumps(rows[value]), flush=True)
    return list(rows.values())


def main() -> None:
    """Measure and write the result file, after each constant and scene what is known so far."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/block_choices.json")
    parser.add_argument("--shape", default="100,320,400", help="of the phantom of several blocks (z,y,x)")
    parser.add_argument("--constants", default=",".join(CHOICES), help="comma-separated")
    parser.add_argument("--values", help="of the constants, their own among them; default several of each")
    parser.add_argument("--turns", type=int, default=TURNS)
    args = parser.parse_args()
    z, y, x = (int(n) for n in args.shape.split(","))
    vgm.encode(make_phantom((16, 48, 48)), ratio=RATIO)  # all modules are loaded, and begun
    rows = json.loads(args.output.read_text())["rows"] if args.output.exists() else []
    for name in args.constants.split(","):
        values = [float(v) for v in args.values.split(",")] if args.values else CHOICES[name]
        for scene, (voxels, truth) in scenes((z, y, x), name in SEVERAL_BLOCKS).items():
            rows = [row for row in rows if (row["constant"], row["scene"]) != (name, scene)]
            rows += measured(name, values, args.turns, scene, voxels, truth)
            document = {"ratio": RATIO, "threads": THREADS, "rows": rows}
            args.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
