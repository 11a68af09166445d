"""Whether an installed package decodes: every valid vector within the tolerance, every invalid one refused.

    python scripts/check_install.py spec/vectors

Needs the package and what it installs, and nothing else; the checkout is not looked into.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

import volmicro_codec as vgm


def off_by(found: np.ndarray, reference: np.ndarray, gains: np.ndarray) -> float:
    """How far voxels are outside of what section 8.5 of the specification allows, 0 for within."""
    slack = 1e-4 * gains + 2.0**-22 * np.abs(reference)
    low, high = reference - slack, reference + slack
    if found.dtype.kind != "f":
        ends = np.iinfo(found.dtype).min, np.iinfo(found.dtype).max
        low, high = np.clip(np.rint(low), *ends), np.clip(np.rint(high), *ends)
    return float(np.maximum(np.maximum(low - found, found - high), 0).max(initial=0))


def main(vectors: Path) -> int:
    """Print what failed and a line of counts; the exit status."""
    failed = []
    valid = sorted((vectors / "valid").glob("*.vgm"))
    invalid = sorted((vectors / "invalid").glob("*.vgm"))
    for file in valid:
        images = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["images"]
        reference = np.load(file.with_suffix(".values.npy"))
        gains = np.abs(np.array(images)[:, 1]).reshape(*reference.shape[:2], 1, 1, 1)
        off = off_by(vgm.imread(file).reshape(reference.shape), reference, gains)
        if off:
            failed.append(f"{file.name}: {off:g} outside of the tolerance")
    for file in invalid:
        try:
            vgm.decode(file.read_bytes())
            with vgm.open(file) as array:  # what only coarser grids need
                np.asarray(array.level(array.coarsest))
        except vgm.FormatError:
            continue
        failed.append(f"{file.name}: decodes, and must not")
    for line in failed:
        print(line)
    where = Path(vgm.__file__).parent
    absent = [name for name in ("torch", "scipy") if importlib.util.find_spec(name) is None]
    print(f"volmicro_codec {vgm.__version__} in {where}, without {', '.join(absent) or 'nothing'}:")
    print(f"{len(valid)} valid and {len(invalid)} invalid vectors, {len(failed)} failures")
    return 1 if failed or not (valid and invalid) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
