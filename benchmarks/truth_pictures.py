"""Pictures of the noisy stack, the truth, ours and a peer's file of the same bytes: a slice and a projection.

Ours is shown as it is decoded by default, in whole counts, and as float32; the peer's as float32.

python benchmarks/truth_pictures.py [--case phantom-mixed-120,brain-200] [--ratio 400] [--peer av1,sperr]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases
import encodes
import keyed_csv
import numpy as np
import peers
from truth import TABLE, Row
from volumes import ROOT

from volmicro_codec.evaluate import Reference, compare

SHOWN = "cleared-200,brain-200,phantom-mixed-500,phantom-nuclei-120,phantom-mixed-30,nucleus-30"
COLOURS = 64  # of gray: enough to the eye, and it keeps the files small


def main(argv: Sequence[str] | None = None) -> None:
    """Draw one picture a case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", default=SHOWN, help=f"stack-photons, comma-separated (default {SHOWN})")
    parser.add_argument("--ratio", type=float, default=400.0, help="of ours (default 400)")
    parser.add_argument(
        "--peer", default="av1,sperr", help="the first that has so small a file (default av1,sperr)"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures")
    args = parser.parse_args(argv)
    known = {f"{stack}-{photons}": (stack, photons) for stack, photons in cases.names()}
    for name in args.case.split(","):
        case = cases.load(*known[name])
        panels: list[tuple[str, Any, int]] = [
            ("the stack", case.voxels, case.voxels.nbytes),
            ("the truth", case.truth, 0),
        ]
        ours = next(iter(encodes.encode(peers.OURS, case.voxels, [args.ratio])))
        assert ours is not None
        panels.append(("volmicro-codec", ours.decoded, ours.size))
        panels.append(("volmicro-codec, float32", ours.unrounded, ours.size))
        for peer in args.peer.split(","):
            same = case.voxels.nbytes / ours.size
            knob = _known_knob(case, peer, same)
            theirs = next(iter(encodes.encode(peer, case.voxels, [same], known_knob=lambda _, k=knob: k)))
            if theirs is not None:
                panels.append((f"{peer}, float32", theirs.unrounded, theirs.size))
                break
        path = args.output / f"truth-{name}.png"
        draw(case, panels, path)
        print(path.name, *(f"{title} {size} B" for title, _, size in panels[2:]), flush=True)


def _known_knob(case: cases.Case, codec: str, ratio: float) -> float | None:
    """What the table's search ended at on this stack at the nearest ratio, moved: 6 steps halve the bytes."""
    rows = [
        r
        for r in keyed_csv.read(TABLE, Row)
        if (r.stack, r.photons, r.codec) == (case.stack, case.photons, codec)
    ]
    known = [(float(np.log2(ratio / r.ratio)), r.knob) for r in rows if r.knob is not None]
    halvings, knob = min(known, key=lambda k: abs(k[0]), default=(0.0, None))
    return None if knob is None else knob + 6 * halvings


def draw(case: cases.Case, panels: Sequence[tuple[str, Any, int]], path: Path) -> None:
    """Columns are (title, voxels, bytes); the upper row is the middle slice, the lower the projection."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    reference = Reference.of(case.truth)
    middle = case.truth.shape[0] // 2
    views = (lambda v: v[middle], lambda v: v.max(axis=0))
    figure, grid = plt.subplots(2, len(panels), figsize=(3.2 * len(panels), 7), layout="constrained")
    for row, view in enumerate(views):
        low, high = np.percentile(view(case.truth), [0.5, 99.8])
        for axis, (title, voxels, size) in zip(grid[row], panels, strict=True):
            axis.imshow(view(voxels), cmap=plt.get_cmap("gray", COLOURS), vmin=low, vmax=high,
                        interpolation="nearest")  # fmt: skip
            axis.set_axis_off()
            if row:
                continue
            about = [title, f"{size:,} B" if size else "", ""]
            if voxels is not case.truth:
                about[2] = f"{compare(case.truth, voxels, reference=reference)['psnr']:.1f} dB"
            axis.set_title("\n".join(about), fontsize=9)
    figure.suptitle(f"{case.stack}, {case.photons} photons: slice {middle}, and the projection along z",
                    fontsize=9)  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=64)
    plt.close(figure)


if __name__ == "__main__":
    main()
