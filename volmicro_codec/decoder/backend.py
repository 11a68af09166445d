"""Which device evaluates voxels, and how: the CPU's tiles, or a CUDA rasteriser behind the same method."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import native
from ..device import parse_device
from ..errors import DependencyError
from ..format.metadata import DTYPE_IDS
from ..pool import MOST_THREADS, default_threads, run_in_pool
from ..values import checked
from .block import Block, BlockPrimitives, moved
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
        primitives: BlockPrimitives,
        grid: Grid,
        block: Block,
        base: float,
        gain: float,
        out: npt.NDArray[Any],
        pitch: npt.NDArray[np.int64],
    ) -> None:
        """Write the voxels that `block` wants into ``out`` [voxels] of the file's dtype, or float32.

        Voxel (0, 0, 0) goes to ``out[pitch[2]]``; planes are ``pitch[0]`` apart, rows ``pitch[1]``.
        """
        ...


class CpuBackend:
    """The native code on a pool of threads.

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
        primitives: BlockPrimitives,
        grid: Grid,
        block: Block,
        base: float,
        gain: float,
        out: npt.NDArray[Any],
        pitch: npt.NDArray[np.int64],
    ) -> None:
        """As in `Backend`."""
        threads = self.threads or default_threads()
        starts = np.concatenate([[0], np.cumsum([len(p) for p in primitives.parts], dtype=np.int64)])
        n, tiles = int(starts[-1]), block.tiles
        tile_lo, size = triple(block.tile_lo), triple(block.grid)
        gaussians = np.empty(n, native.GAUSSIAN)
        runs = max(1, min(len(primitives.parts), 4 * threads, n // 1000))
        chunk_cuts = np.searchsorted(starts, np.linspace(0, n, runs + 1)).tolist()

        first, last = triple(block.lo), triple(block.lo + (block.count - 1) * block.step)

        def gather(r: int) -> int:
            touched = 0
            for k in range(chunk_cuts[r], chunk_cuts[r + 1]):
                p = primitives.parts[k]
                touched += native.gather(
                    p.means, p.scales, p.rotations, p.intensities, self.cutoff, grid.origin, float(grid.step),
                    grid.widening, triple(primitives.tile_lo[k]), triple(primitives.tile_hi[k]), first, last,
                    gaussians[starts[k] : starts[k + 1]],
                )  # fmt: skip
            return touched

        rooms = run_in_pool(threads, gather, runs)
        if sum(rooms) > MAX_PAIRS and tiles > 1:
            del gaussians
            for part, at in block.parts(max(1, tiles // 4)):
                self.evaluate(primitives.within(part), grid, part, base, gain, out, moved(pitch, at))
            return
        cuts = [int(starts[k]) for k in chunk_cuts]
        offsets, ids = self._touched(threads, gaussians, cuts, rooms, tile_lo, size)

        runs = min(tiles, 1 if threads == 1 else 16 * threads)
        bounds = [tiles * r // runs for r in range(runs + 1)]
        kind = DTYPE_IDS[out.dtype.name]
        wanted = triple(block.lo), triple(block.step), triple(block.count)

        def tiles_of(r: int) -> None:
            native.evaluate_tiles(
                bounds[r], bounds[r + 1], offsets, ids, gaussians, self.cutoff, tile_lo, size, *wanted, base,
                gain, kind, out, triple(pitch),
            )  # fmt: skip

        run_in_pool(threads, tiles_of, runs)

    def _touched(
        self,
        threads: int,
        gaussians: npt.NDArray[np.void],
        cuts: list[int],
        rooms: list[int],
        tile_lo: tuple[int, int, int],
        size: tuple[int, int, int],
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
        """Which Gaussians touch each tile, in order: where lists start [LISTS x tiles + 1], their numbers.

        ``cuts`` [runs + 1] shares them out; ``rooms`` [runs]: pairs of tile and Gaussian that there can be.
        """
        lists, runs = native.LISTS * math.prod(size), len(rooms)
        pairs = [np.empty(room, native.PAIR) for room in rooms]
        counts = np.zeros((runs, lists), np.uint64)

        def list_pairs(r: int) -> int:
            return native.list_pairs(
                gaussians, cuts[r], cuts[r + 1], self.cutoff, tile_lo, size, rooms[r], pairs[r], counts[r]
            )

        entries = run_in_pool(threads, list_pairs, runs)
        offsets = np.zeros(lists + 1, np.uint64)
        np.cumsum(counts.sum(axis=0), out=offsets[1:])
        cursors = np.cumsum(counts, axis=0) - counts + offsets[:-1]
        ids = np.empty(sum(entries), np.uint32)
        run_in_pool(threads, lambda r: native.sort_pairs(pairs[r], entries[r], cursors[r], ids), runs)
        return offsets, ids


def triple(values: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    """Three plain ints of an array."""
    z, y, x = values.tolist()
    return z, y, x


def checked_options(threads: Any, device: Any) -> tuple[int | None, str]:
    """Threads and device as callers give them; `UsageError` where one of them makes no sense."""
    if threads is not None:
        threads = checked("threads", int, threads, 1, MOST_THREADS)
    device = "auto" if device is None else checked("device", str, device)
    parse_device(device)
    return threads, device


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
    if name.kind == "cpu" or (name.kind == "auto" and not cuda_there()):
        return CpuBackend(cutoff, threads)
    backend: Backend = the_cuda_package(str(name)).CudaBackend(cutoff, name.number)
    return backend


def cuda_there() -> bool:
    """Whether there is a CUDA device, and CuPy."""
    try:
        return bool(the_cuda_package("cuda").available())
    except DependencyError:
        return False


def the_cuda_package(name: str) -> Any:
    """`volmicro_codec.cuda`, or `DependencyError` for the device that was asked for."""
    try:
        from .. import cuda
    except ImportError as exc:
        raise DependencyError(f"{name}: {exc}; {CUDA_HINT}") from exc
    return cuda
