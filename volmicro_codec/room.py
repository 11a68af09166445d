"""Whether there is room for what is to be written, on its disk and in memory, before any work is done."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import OutputError
from .text import size_text
from .volume import VolumeInfo

COMPRESSED_TO = 0.1
"""What becomes of decoded voxels at best where a kind of file compresses them without loss; less is rare."""

_NO_DIRECTORY = "no directory for temporary files can be written (TMPDIR names one)"
_CGROUPS = "/sys/fs/cgroup"


def check_room(path: str | os.PathLike[str], info: VolumeInfo, compressed: bool) -> None:
    """Raise where a volume cannot fit on the disk that it is to be written to.

    Parameters
    ----------
    path : path
        Of the file to write.
    info : VolumeInfo
        Of what goes into it.
    compressed : bool
        Whether the kind of file compresses voxels: then what could fit at a tenth of its size is let through.

    Raises
    ------
    OutputError
        With the size that it would have.
    """
    needed = int(info.nbytes * COMPRESSED_TO) if compressed else info.nbytes
    free = _free_disk(Path(os.path.realpath(path)).parent)
    if free is not None and needed > free:
        even = ", too little even at a tenth of that" if compressed else ""
        raise OutputError(
            f"{os.fspath(path)}: would hold {size_text(info.nbytes)} of voxels, and its disk has "
            f"{size_text(free)} free{even}"
        )


def check_planes(path: str | os.PathLike[str], info: VolumeInfo) -> None:
    """Raise `OutputError` where memory cannot hold one plane, as it is made and as it is written."""
    _check_memory(path, info, "one plane of it", 2 * info.shape[3] * info.shape[4] * info.dtype.itemsize)


def check_whole(path: str | os.PathLike[str], info: VolumeInfo, voxel_bytes: int) -> None:
    """Raise `OutputError` where a volume, at so many bytes a voxel meanwhile, does not fit memory."""
    _check_memory(path, info, "to make it", voxel_bytes * math.prod(info.shape))


def _check_memory(path: str | os.PathLike[str], info: VolumeInfo, what: str, needed: int) -> None:
    free = free_memory()
    if needed > free:
        raise OutputError(
            f"{os.fspath(path)}: would hold {size_text(info.nbytes)} of voxels, and {what} takes "
            f"{size_text(needed)} of memory, where {size_text(free)} are free"
        )


def check_scratch(nbytes: int) -> None:
    """Raise `OutputError` where voxels cannot be kept in a temporary file meanwhile."""
    directory = temporary_directory()
    if directory is None:
        raise OutputError(_NO_DIRECTORY)
    free = _free_disk(Path(directory))
    if free is not None and nbytes > free:
        raise OutputError(
            f"{directory}: {size_text(nbytes)} of voxels do not fit in memory, and here only "
            f"{size_text(free)} are free (TMPDIR names another directory for temporary files)"
        )


def _free_disk(directory: Path) -> int | None:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None


def temporary_directory() -> str | None:
    """The directory for temporary files; None where none can be written."""
    import tempfile

    try:
        return tempfile.gettempdir()
    except OSError:
        return None


@contextlib.contextmanager
def scratch_directory() -> Iterator[str]:
    """A new directory for temporary files, which is removed at the end.

    Raises
    ------
    OutputError
        Where there is no place for it.
    """
    import tempfile  # this would make every command start later

    parent = temporary_directory()
    if parent is None:
        raise OutputError(_NO_DIRECTORY)
    with tempfile.TemporaryDirectory(prefix="vgm-", dir=parent) as directory:
        yield directory


def total_memory() -> int:
    """Bytes of memory that this process may have: the machine's, or its container's; 8 GiB where unknown."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        machine = 8 << 30
    return min([machine, *(limit for limit, _ in _limits())])


def free_memory() -> int:
    """Bytes of memory that this process may still take, swap included; all there is where unknown."""
    free = total_memory()
    with contextlib.suppress(OSError, ValueError, IndexError):
        found = {}
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            found[name] = rest.split()[0]
        free = 1024 * (int(found.get("MemAvailable", 0)) + int(found.get("SwapFree", 0))) or free
    return max(0, min([free, *(limit - used for limit, used in _limits())]))


def _limits() -> list[tuple[int, int]]:
    """(limit, bytes used that cannot be dropped) of the control groups that hold this process, 2 and 1."""
    within = {"": "", "memory": ""}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for name in within:
                if name in controllers.split(","):
                    within[name] = path.strip("/")
    limits = []
    for folder, limit, used in (
        (f"{_CGROUPS}/{within['']}", "memory.max", "memory.current"),
        (f"{_CGROUPS}/memory/{within['memory']}", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        (_CGROUPS, "memory.max", "memory.current"),
        (f"{_CGROUPS}/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        # "max" is no number, and a file that is not there no limit.
        with contextlib.suppress(OSError, ValueError):
            limits.append((int(Path(folder, limit).read_text()), _used(Path(folder), used)))
    return limits


def _used(folder: Path, name: str) -> int:
    """Bytes used, less those of files that are only kept in case they are read again."""
    kept = 0
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            key, _, value = line.partition(" ")
            if key in ("inactive_file", "total_inactive_file"):
                kept = int(value)
    return int((folder / name).read_text()) - kept
