"""NumPy's .npy files as volumes: ZYX, CZYX or TCZYX, no other metadata."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError

import numpy as np
import numpy.typing as npt

from ..atomic import atomic_output
from ..errors import InputError
from ..volume import Volume, VolumeInfo
from .arrange import AnyArray, Key, Source, arranged, in_native_order
from .axes import Choice
from .lazy_images import arranged_lazily
from .metadata import Described

_DAMAGE = (ValueError, OSError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError, TokenError)
_AXES = {3: "ZYX", 4: "CZYX", 5: "TCZYX"}


def read(path: str, choice: Choice) -> Volume:
    """Map a .npy file of 3 to 5 dimensions into memory; see `volmicro_codec.io.read_volume`."""
    return arranged(path, _image(path, choice), choice)


def read_lazily(path: str, choice: Choice) -> Volume:
    """The same with voxels that are read box by box; see `io.open_volume`."""
    return arranged_lazily(path, lambda: contextlib.nullcontext(_image(path, choice)), choice)


def _image(path: str, choice: Choice) -> Source:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of files that Python 2 wrote, which are as good
            data = np.load(path, mmap_mode="r", allow_pickle=False)
    except PermissionError:
        raise
    except _DAMAGE as e:
        why = _one_line(e)
        said = "" if "pickle" in why else f" ({why})"  # numpy's advice on files that it takes for pickles
        raise InputError(f"{path}: not a .npy file of numbers, or damaged{said}") from e
    if not isinstance(data, np.ndarray):
        data.close()
        raise InputError(f"{path}: holds several arrays (.npz), expected one")
    choice.one_of(path, [_text(data.shape)])
    given = choice.axes is not None and data.ndim > 1
    if data.ndim not in _AXES and not given:
        raise InputError(
            f"{path}: an array of {data.ndim} dimensions, expected 3 to 5 (ZYX, CZYX, TCZYX)"
            f"{'; --axes ZYX takes it for a stack of one plane' if data.ndim == 2 else ''}"
        )
    axes = _AXES.get(data.ndim, "YX".rjust(data.ndim, "Q"))

    def voxels(key: Key) -> AnyArray:
        return in_native_order(np.asanyarray(data[key]))

    return Source(axes, data.shape, data.dtype, Described(), voxels)


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


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
