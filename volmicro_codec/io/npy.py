"""NumPy's .npy files as volumes: ZYX, CZYX or TCZYX, no other metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..atomic import atomic_output
from ..errors import InputError
from ..volume import Volume, VolumeInfo
from .arrange import Stored, as_volume, check_stored, chosen, in_native_order, selected

_AXES = {3: "ZYX", 4: "CZYX", 5: "TCZYX"}


def read(path: str, channel: int | str | None, time: int | None) -> Volume:
    """Map a .npy file of 3 to 5 dimensions into memory; see `volmicro_codec.io.read_volume`."""
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except PermissionError:
        raise
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError) as e:
        raise InputError(f"{path}: not a .npy file of numbers, or damaged ({_one_line(e)})") from e
    if not isinstance(data, np.ndarray):
        data.close()
        raise InputError(f"{path}: holds several arrays (.npz), expected one")
    if data.ndim not in _AXES:
        raise InputError(f"{path}: an array of {data.ndim} dimensions, expected 3 to 5 (ZYX, CZYX, TCZYX)")
    stored = Stored(path, _AXES[data.ndim], data.shape, data.dtype)
    check_stored(stored)
    at = chosen(stored, channel, time)
    return as_volume(stored, in_native_order(selected(data, stored.axes, at)), at)


def write(
    path: str,
    slabs: Iterator[npt.NDArray[np.generic]],
    info: VolumeInfo,
    force: bool,
    description: str | None,
) -> Path:
    """Write slabs to a .npy file; see `volmicro_codec.io.write_volume`."""
    little = info.dtype.newbyteorder("<")
    with atomic_output(path, force) as temp, open(temp, "wb") as f:
        head = {"descr": little.str, "fortran_order": False, "shape": info.squeezed_shape}
        np.lib.format.write_array_header_1_0(f, head)
        for slab in slabs:
            f.write(np.ascontiguousarray(slab, little).data)
    return Path(path)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
