"""Opens a file in the real napari and reports what is there; run by test_napari.py where napari is installed.

Usage: python napari_session.py FILE SCREENSHOT_2D SCREENSHOT_3D [WINDOW_3D]   (prints one JSON document)
"""

from __future__ import annotations

import json
import sys
from typing import Any

import napari
import numpy as np


def main(path: str, flat: str, deep: str, window: str | None = None) -> None:
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1100, 800)
    opened = viewer.open(path, plugin="volmicro-codec")
    report: dict[str, Any] = {"napari": napari.__version__, "layers": [describe(layer) for layer in opened]}
    viewer.screenshot(flat, canvas_only=False, flash=False)
    report["flat"] = viewer.screenshot(canvas_only=True, flash=False)[..., :3].max(axis=-1).mean()
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    getattr(viewer, "scene", viewer).camera.angles = (20, 35, 60)
    picture = viewer.screenshot(deep, canvas_only=True, flash=False)
    report["deep"] = picture[..., :3].max(axis=-1).mean()
    report["colors"] = [int(v) for v in picture[..., :3].reshape(-1, 3).max(axis=0)]
    if window is not None:
        viewer.screenshot(window, canvas_only=False, flash=False)
    viewer.layers.clear()
    sample = viewer.open_sample("volmicro-codec", "phantom")
    report["sample"] = [describe(layer) for layer in sample]
    viewer.close()
    print(json.dumps(report))


def describe(layer: Any) -> dict[str, Any]:
    levels = layer.data if layer.multiscale else [layer.data]
    return {
        "name": layer.name,
        "type": type(layer).__name__,
        "lazy": type(levels[0]).__module__.startswith("dask"),
        "shapes": [list(level.shape) for level in levels],
        "dtype": str(np.dtype(levels[0].dtype)),
        "scale": [float(v) for v in layer.scale],
        "units": [str(u) for u in layer.units],
        "axes": list(layer.axis_labels),
        "limits": [float(v) for v in layer.contrast_limits],
        "last_color": [float(v) for v in layer.colormap.colors[-1][:3]],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
