"""Opens a file as an array, whether it holds one page of chunks or is packed of many files."""

from __future__ import annotations

from ..format import VgmReader
from ..format.packed_reader import is_packed, peek
from .array import VgmArray
from .array import open as open_one
from .multiscale import MultiscaleArray
from .packed import open_packed


def open(
    source: object, *, threads: int | None = None, device: str = "auto", budget: int | None = None
) -> VgmArray | MultiscaleArray:
    """Open a .vgm file as an array.

    Parameters
    ----------
    source : path, bytes, seekable binary file object, fsspec URL, or VgmReader
    threads : int, optional
        Threads that evaluate voxels; ``VGM_THREADS``, or as many as there are cores.
    device : str
        "cpu", "cuda", "cuda:1", or "auto": CUDA where CuPy and a device are there, else the CPU.
    budget : int, optional
        Use only the first ``budget`` bytes of the file: a preview (spec, 9). A file that is cut
        short is taken then. Packed files have none, but levels, of which the coarse ones are small.

    Returns
    -------
    VgmArray or MultiscaleArray
        The latter of a packed file; both are read alike.

    Raises
    ------
    FormatError
        The bytes are not a valid file.
    UsageError
        An option makes no sense.
    InputError, RemoteError, DependencyError
        The bytes cannot be had, or the device is not there.
    """
    if isinstance(source, VgmReader) or budget is not None:
        return open_one(source, threads=threads, device=device, budget=budget)
    peeked = peek(source)
    try:
        if not is_packed(peeked):
            return open_one(peeked, threads=threads, device=device)
        return open_packed(peeked, threads=threads, device=device)
    except BaseException:
        if peeked is not source:
            peeked.close()
        raise
