"""What evaluating large Gaussians on coarser grids does to voxels, over what the decoder charges for it.

    python benchmarks/coarse_error.py [-o OUT.json] [--gaussians 40]

Random Gaussians of all shapes and directions, eight alike in a file, whose centre or whose cut-off is in the
middle of a small volume; errors against the float64 reference, for a weight of 1 (the files hold so small a
weight that the decoder takes them all). "charged" is the largest share of what libvgm/src/gaussian.c charges
for a Gaussian of its size: past 1 it would charge too little.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from decode_speed import machine

from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.decoder import oracle
from volmicro_codec.format import EncodedChunk, FileMeta, encode_file
from volmicro_codec.format.codings import raw
from volmicro_codec.primitives import RECORD_DTYPE, Records, records_to_primitives
from volmicro_codec.volume import VolumeInfo

HERE = Path(__file__).resolve().parent
SHAPE = (40, 40, 72)
WEIGHT = 2.0**-14
ALIKE = 8  # fewer are evaluated at every voxel
KINK_ERROR, SMOOTH_ERROR, ARITHMETIC_ERROR = 0.22, 0.25, 2.5e-5  # as in libvgm/src/gaussian.c
SHAPES = {"round": (1.0, 1.0), "any": (1.0, 4.0), "needle": (1.0, 1.0, 6.0), "sheet": (1.0, 5.0, 5.0)}


def random_gaussian(rng: np.random.Generator, kind: str, sigma: float, cutoff: float) -> Records:
    """One record whose smallest standard deviation is ``sigma``, with voxels where its error may be large."""
    record = np.zeros(1, RECORD_DTYPE)
    factors = SHAPES[kind] if len(SHAPES[kind]) == 3 else rng.uniform(*SHAPES[kind], 3)
    factors = np.asarray(factors) / min(factors)
    record["scale"] = sigma * factors
    record["rotation"] = (1, 0, 0, 0) if rng.random() < 0.25 else rng.normal(size=4)
    record["intensity"] = WEIGHT
    rotation = oracle.rotation_matrices(record["rotation"].astype(np.float32))[0]
    towards = rng.normal(size=3)
    towards /= np.linalg.norm(towards)
    if rng.random() < 0.5:
        towards = np.eye(3)[rng.integers(3)] if rng.random() < 0.5 else rotation[:, rng.integers(3)]
    length = math.sqrt(cutoff / float((((rotation.T @ towards) / (sigma * factors)) ** 2).sum()))
    record["position"] = towards * length * rng.choice([0, 1], p=[0.3, 0.7]) + rng.uniform(-1, 1, 3)
    return record


def error(record: Records, cutoff: float) -> float:
    """Largest difference from the reference, for a weight of 1."""
    meta = FileMeta(VolumeInfo((1, 1, *SHAPE), np.dtype("float32")), cutoff, ((0.0, 1.0),))
    box = ((0, 0, 0), SHAPE)
    chunk = EncodedChunk(0, 0, 0, raw.id, *box, ALIKE, *box, raw.encode(record.repeat(ALIKE)))
    with open_vgm(encode_file(meta, [chunk]), threads=1, device="cpu") as array:
        found = array[...].astype(np.float64)
    centre = tuple((n - 1) / 2 for n in SHAPE)
    reference = ALIKE * oracle.render(records_to_primitives(record, centre), cutoff, (0, 0, 0), SHAPE)
    return float(np.abs(found - reference).max()) / (ALIKE * WEIGHT)


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "coarse_error.json")
    parser.add_argument("--gaussians", type=int, default=40, help="of each kind")
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    rows = []
    for cutoff in (1.0, 4.0, 12.0, 25.0, 50.0):
        edge = math.exp(-cutoff / 2)
        kink = math.sqrt(cutoff) * edge / (1 - edge)
        for sigma in (6.0, 8.0, 11.9, 12.0, 16.0, 24.0, 48.0):
            steps = sigma / (4 if sigma >= 12 else 2)
            charge = KINK_ERROR * kink / steps + SMOOTH_ERROR / steps**6 + ARITHMETIC_ERROR
            found = {
                kind: max(
                    error(random_gaussian(rng, kind, sigma, cutoff), cutoff) for _ in range(given.gaussians)
                )
                for kind in SHAPES
            }
            worst = max(found.values())
            row = {"cutoff": cutoff, "sigma": sigma, "steps": steps, "charge": round(charge, 7)}
            row |= {"charged": round(worst / charge, 3), "errors": {k: round(v, 7) for k, v in found.items()}}
            rows.append(row)
            print(f"C {cutoff:4g} sigma {sigma:5g}: error {worst:.2e} of {charge:.2e}, {worst / charge:.2f}")
    document = {"gaussians": given.gaussians, "rows": rows, "machine": machine(1, "cpu")}
    given.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
