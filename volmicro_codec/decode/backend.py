"""Which device evaluates voxels, and how: the CPU's tiles, or a CUDA rasteriser behind the same method."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError, UsageError
from .image import Block, Primed, moved
from .select import Grid

MAX_PAIRS = 1 << 24  # of tiles and primitives in one pass, unless a tile alone has more: 400 MB
CUDA_HINT = "install CuPy: pip install 'volmicro-codec[cuda12]' (or [cuda13])"


class Backend(Protocol):
    """Evaluates blocks of voxels."""

    @property
    def name(self) -> str:
        """ "cpu", "cuda:0", ..."""
        ...

    def evaluate(
        self,
        primed: Primed,
        grid: Grid,
        block: Block,
        base: float,
        gain: float,
        out: npt.NDArray[Any],
        pitch: npt.NDArray[np.int64],
    ) -> None:
        """Write the voxels that `block` wants into ``out`` [voxels] of the file's dtype.

        Voxel (0, 0, 0) goes to ``out[pitch[2]]``; planes are ``pitch[0]`` apart, rows ``pitch[1]``.
        """
        ...


def integer_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Least and largest stored integer of a dtype; both 0 for floats."""
    if dtype.kind == "f":
        return 0.0, 0.0
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


class CpuBackend:
    """numba kernels on a pool of threads.

    Parameters
    ----------
    cutoff : float
    threads : int, optional
    """

    name = "cpu"

    def __init__(self, cutoff: float, threads: int | None = None) -> None:
        self.cutoff = cutoff
        self.threads = threads

    def evaluate(
        self,
        primed: Primed,
        grid: Grid,
        block: Block,
        base: float,
        gain: float,
        out: npt.NDArray[Any],
        pitch: npt.NDArray[np.int64],
    ) -> None:
        """As in `Backend`."""
        from . import tables, voxel_kernels
        from .cpu import default_threads, run_in_pool

        threads = self.threads or default_threads()
        starts = np.concatenate([[0], np.cumsum([len(p) for p in primed.parts], dtype=np.int64)])
        n = int(starts[-1])
        wide = np.empty((n, tables.WIDE_COLUMNS), np.float64)
        narrow = np.empty((n, tables.COLUMNS), np.float32)
        span = np.empty((n, 6), np.int64)
        runs = max(1, min(len(primed.parts), 4 * threads, n // 1000))
        chunk_cuts = np.searchsorted(starts, np.linspace(0, n, runs + 1)).tolist()

        def gather(r: int) -> int:
            found = 0
            for k in range(chunk_cuts[r], chunk_cuts[r + 1]):
                p, a, b = primed.parts[k], int(starts[k]), int(starts[k + 1])
                found += tables.gather(
                    p.means, p.scales, p.rotations, p.intensities, self.cutoff, grid.origin, float(grid.step),
                    grid.widening, block.tile, primed.tile_lo[k], primed.tile_hi[k],
                    wide[a:b], narrow[a:b], span[a:b],
                )  # fmt: skip
            return found

        room, tiles = sum(run_in_pool(threads, gather, runs)), block.tiles
        if room > MAX_PAIRS and tiles > 1:
            del wide, narrow, span
            for part, at in block.parts(max(1, tiles // 4)):
                self.evaluate(primed.within(part), grid, part, base, gain, out, moved(pitch, at))
            return
        offsets = np.zeros(tiles + 1, np.int64)
        pairs = np.empty(room, np.int64), np.empty(room, np.int64)
        entries = tables.list_entries(
            wide, span, self.cutoff, block.tile, block.tile_lo, block.grid, *pairs, offsets
        )
        np.cumsum(offsets, out=offsets)
        ids = np.empty(entries, np.int64)
        tables.sort_entries(*pairs, entries, offsets[:-1].copy(), ids)

        runs = min(tiles, 1 if threads == 1 else 8 * threads)
        cost = offsets + np.arange(tiles + 1) * 4
        cuts = np.unique(np.searchsorted(cost, np.linspace(0, cost[-1], runs + 1)[1:-1]))
        bounds = [0, *(int(c) for c in cuts if 0 < c < tiles), tiles]
        least, largest = integer_range(out.dtype)

        def tiles_of(r: int) -> None:
            voxel_kernels.evaluate_tiles(
                bounds[r], bounds[r + 1], offsets, ids, wide, narrow, self.cutoff, block.tile, block.tile_lo,
                block.grid, block.lo, block.step, block.count, base, gain, least, largest, out, pitch,
            )  # fmt: skip

        run_in_pool(threads, tiles_of, len(bounds) - 1)


def parse_device(device: str) -> str:
    """ "auto", "cpu", "cuda" or "cuda:N"; "auto" is what ``VGM_DEVICE`` says, where it says something.

    Raises
    ------
    UsageError
        Any other name.
    """
    name = (os.environ.get("VGM_DEVICE") or "auto") if device == "auto" else device
    kind, colon, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (colon and (kind != "cuda" or not number.isdigit())):
        raise UsageError(f"device {name!r}: expected auto, cpu, cuda or cuda:N")
    return name


def get_backend(device: str, cutoff: float, threads: int | None = None) -> Backend:
    """What evaluates voxels on a device.

    Parameters
    ----------
    device : str
        "cpu", "cuda", "cuda:N", or "auto": what ``VGM_DEVICE`` says, else CUDA where there is one,
        else the CPU.
    cutoff : float
        C of the file.
    threads : int, optional
        For the CPU.

    Raises
    ------
    UsageError
        A device of another name.
    DependencyError
        CUDA was asked for, and CuPy or the device is not there.
    """
    name = parse_device(device)
    if name == "cpu" or (name == "auto" and not _cuda_there()):
        return CpuBackend(cutoff, threads)
    backend: Backend = _cuda(name).CudaBackend(cutoff, "cuda" if name == "auto" else name)
    return backend


def get_rasteriser(device: str, cutoff: float, threads: int | None = None) -> Any:
    """What fits primitives on a device: `cpu.CpuRasteriser`, or the CUDA rasteriser with the same methods.

    Parameters and errors are those of `get_backend`.
    """
    name = parse_device(device)
    if name == "cpu" or (name == "auto" and not _cuda_there()):
        from .cpu import CpuRasteriser

        return CpuRasteriser(cutoff, threads)
    return _cuda(name).get_rasteriser("cuda" if name == "auto" else name, cutoff, threads)


def _cuda_there() -> bool:
    try:
        return bool(_cuda("cuda").available())
    except DependencyError:
        return False


def _cuda(name: str) -> Any:
    try:
        return import_module("volmicro_codec.cuda")
    except ImportError as exc:
        raise DependencyError(f"{name}: {exc}; {CUDA_HINT}") from exc
