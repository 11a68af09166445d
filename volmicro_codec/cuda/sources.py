"""The .cu sources as text, which kernel is in which, and the options they are compiled with."""

from __future__ import annotations

from functools import cache
from importlib import resources

KERNELS: dict[str, tuple[str, ...]] = {
    "pack": ("pack_floats", "pack_covariances"),
    "binning": ("bin_count", "bin_fill", "sort_tiles", "scan_runs", "scan_sums", "scan_add"),
    "render": ("render_uint8", "render_uint16", "render_int16", "render_float32", "slope"),
    "sample": ("sample_tiles", "sample_nearest"),
    "backward": ("count_items", "moments", "sum_items"),
    "fields": ("dot", "energy", "metric", "mask_saturated", "correlate", "halve", "peaks", "copy_if"),
    "steps": (
        "principal_axes",
        "step_covariances",
        "step_gradient",
        "step_precondition",
        "step_hold",
        "step_clear",
        "step_between",
        "step_table",
        "step_move",
    ),
}
"""Kernels of each source file."""

OPTIONS = ("--std=c++17", "--ftz=true")
"""Options for NVRTC. Exponentials of normal numbers only are asked for, so denormals may go."""

_SHARED = "primitive.cuh"


@cache
def source(name: str) -> str:
    """Source of ``name``.cu with what it includes put in its place.

    Compilers then need no include path, and a cache keyed by the text cannot miss a change of the header.
    """
    here = resources.files(__package__)
    text = (here / f"{name}.cu").read_text(encoding="utf-8")
    return text.replace(f'#include "{_SHARED}"\n', (here / _SHARED).read_text(encoding="utf-8"))


def file_of(kernel: str) -> str:
    """Name of the source file that holds a kernel."""
    for name, kernels in KERNELS.items():
        if kernel in kernels:
            return name
    raise KeyError(kernel)
