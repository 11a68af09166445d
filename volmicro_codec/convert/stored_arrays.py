"""What .npz archives and torch checkpoints hold, by name; read when it is asked for, without running code."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError, InputError
from ..room import free_memory
from ..text import size_text

Array = npt.NDArray[Any]

_HOLDERS = ("model_state_dict", "state_dict", "model_params", "model", "params", "gaussians")
_DEEPEST = 32  # of mappings in one another
_SHARE = 8  # of the free memory that one array may take: it is converted, sorted and split


class Archive(Mapping[str, Any]):
    """The arrays of a .npz archive.

    Parameters
    ----------
    name : str

    Raises
    ------
    InputError
        Where it is no archive; and, when an array is asked for, where that is damaged, holds objects, or is
        larger than memory.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        try:
            with open(name, "rb") as f:
                if f.read(6) == b"\x93NUMPY":
                    raise InputError(f"{name}: holds one array, expected an archive of several")
            with zipfile.ZipFile(name) as archive:
                self._members = {i.filename.removesuffix(".npy"): i.filename for i in archive.infolist()}
        except InputError:
            raise
        except PermissionError as e:
            raise InputError(f"{name}: no permission to read it") from e
        except Exception as e:  # whatever damaged bytes do to zipfile
            raise InputError(f"{name}: not a .npz archive of numbers, or damaged ({one_line(e)})") from e
        self._read: dict[str, Array] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, key: object) -> bool:
        return key in self._members

    def __getitem__(self, key: str) -> Array:
        member = self._members[key]
        if key not in self._read:
            try:
                with zipfile.ZipFile(self._name) as archive, archive.open(member) as file:
                    self._read[key] = self._array(key, file, archive.getinfo(member).file_size)
            except InputError:
                raise
            except Exception as e:
                said = f"{key} is no array of numbers, or damaged ({one_line(e)})"
                raise InputError(f"{self._name}: {said}") from e
        return self._read[key]

    def _array(self, key: str, file: Any, stored: int) -> Array:
        """An array whose head is looked at before room is made for the rest."""
        version = np.lib.format.read_magic(file)
        heads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = heads[version](file)
        if dtype.hasobject:
            raise InputError(f"{self._name}: {key} holds objects, expected numbers")
        length = math.prod(shape) * dtype.itemsize
        if length > stored:
            said = f"{length} bytes for {list(shape)}, got {stored}"
            raise InputError(f"{self._name}: {key} is cut short: {said}")
        _check_room(f"{self._name}: {key}", length)
        data = file.read(length)
        flat: Array = np.frombuffer(data, dtype, math.prod(shape))
        return flat.reshape(shape, order="F" if fortran else "C")


class Checkpoint(Mapping[str, Any]):
    """The tensors and plain values of a torch checkpoint, as arrays, by the last part of their names.

    Those of a state dict come before those around it. It is loaded with ``weights_only=True``: it can hold
    tensors and plain values, not code.

    Parameters
    ----------
    name : str

    Raises
    ------
    DependencyError
        Where torch is not installed.
    InputError
        Where it is no such checkpoint; and, when a value is asked for, where that is none of an array's.
    """

    def __init__(self, name: str) -> None:
        try:
            import torch
        except ImportError as e:
            raise DependencyError(f"{name}: reading a checkpoint needs torch (the extra 'torch')") from e
        try:
            loaded = torch.load(name, map_location="cpu", weights_only=True)
        except PermissionError as e:
            raise InputError(f"{name}: no permission to read it") from e
        except Exception as e:
            said = one_line(e).split(". ")[0]
            raise InputError(
                f"{name}: no checkpoint of tensors alone, or damaged "
                f"(code in a checkpoint is not run): {said}"
            ) from e
        if not isinstance(loaded, Mapping):
            raise InputError(f"{name}: holds a {type(loaded).__name__}, expected a state dict")
        self._name = name
        self._values: dict[str, Any] = {}
        self._gather(loaded, [])

    def _gather(self, held: Mapping[Any, Any], around: list[int]) -> None:
        if id(held) in around:  # it holds itself
            return
        if len(around) >= _DEEPEST:
            raise InputError(f"{self._name}: more than {_DEEPEST} mappings in one another")
        for holder in _HOLDERS:
            within = held.get(holder)
            if isinstance(within, Mapping):
                self._gather(within, [*around, id(held)])
        for key, value in held.items():
            if not isinstance(value, Mapping):
                self._values.setdefault(str(key).rpartition(".")[2], value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if value is None or isinstance(value, str):
            return value
        where = f"{self._name}: {key}"
        try:
            return _from_tensor(where, value) if hasattr(value, "detach") else np.asarray(value)
        except InputError:
            raise
        except Exception as e:  # of the many kinds of tensors, and of lists of anything
            raise InputError(f"{where}: cannot be taken for an array ({one_line(e)})") from e


def _from_tensor(where: str, tensor: Any) -> Array:
    import torch

    tensor = tensor.detach()
    if tensor.layout != torch.strided or tensor.is_nested:
        raise InputError(f"{where}: a sparse or nested tensor, expected a dense one")
    if tensor.is_meta:
        raise InputError(f"{where}: a tensor without values")
    _check_room(where, tensor.numel() * 4)
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_floating_point() and tensor.dtype != torch.float64:
        tensor = tensor.float()
    out: Array = tensor.numpy()
    return out


def _check_room(where: str, length: int) -> None:
    free = free_memory() // _SHARE
    if length > free:
        raise InputError(f"{where} takes {size_text(length)}, where memory allows {size_text(free)}")


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
