"""Draws an original and its decoded copy side by side: maximum projections along z and y, at one contrast."""

from __future__ import annotations

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from volmicro_codec import read_volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original")
    parser.add_argument("decoded")
    parser.add_argument("-o", "--output", required=True, help="a .png")
    parser.add_argument("--channel", type=int, default=0)
    parser.add_argument("--time", type=int, default=0)
    arguments = parser.parse_args()
    pair = [
        read_volume(p).data[arguments.time, arguments.channel]
        for p in (arguments.original, arguments.decoded)
    ]
    depth, height, width = pair[0].shape
    figure, panels = plt.subplots(
        2,
        2,
        figsize=(10, 10 * (height + depth) / (2 * width) + 0.5),
        gridspec_kw={"height_ratios": (height, depth)},
        layout="constrained",
    )
    for row, (axis, name) in enumerate(((0, "along z"), (1, "along y"))):
        projections = [np.asarray(voxels).max(axis=axis) for voxels in pair]
        low, high = np.percentile(projections[0], (1, 99.8))
        for panel, projection, title in zip(panels[row], projections, ("original", "decoded"), strict=True):
            panel.imshow(projection, cmap="gray", vmin=low, vmax=max(high, low + 1))
            panel.set_title(f"{title}, maximum {name}")
            panel.axis("off")
    figure.savefig(arguments.output, dpi=110)


if __name__ == "__main__":
    main()
