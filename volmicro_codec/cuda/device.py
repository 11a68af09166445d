"""What a CUDA device does for the launchers: arrays, launches and copies out, behind a few methods.

The launchers see only `Device`, so that tests can put another one (the kernels run by the CPU) in its place.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import AbstractContextManager
from importlib import import_module, util
from threading import Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError
from . import sources

EXTRAS = {12: "cuda12", 13: "cuda13"}
"""Extra of the package, by the CUDA version that the driver supports."""
DRIVERS = "https://www.nvidia.com/drivers"

_devices: dict[int, CupyDevice] = {}
_lock = Lock()


class Device(Protocol):
    """Where kernels run.

    Attributes
    ----------
    name : str
        "cuda:0", ...
    number : int or None
        Of the CUDA device.
    xp : module
        numpy, or what has its functions for arrays of the device.
    processors : int
        Multiprocessors.
    """

    name: str
    number: int | None
    xp: Any
    processors: int

    def active(self) -> AbstractContextManager[Any]:
        """Makes this device the one that ``xp`` works on."""
        ...

    def array(self, values: Any, dtype: npt.DTypeLike) -> Any:
        """A contiguous array of the device, of a host array, one of the device, or one that speaks DLPack."""
        ...

    def host(self, values: Any) -> npt.NDArray[Any]:
        """A host copy of an array of the device."""
        ...

    def is_host(self, values: Any) -> bool:
        """Whether an array is the host's."""
        ...

    def stream(self) -> int | None:
        """Address of the stream that work goes to now (0: the default one); None where there is none."""
        ...

    def launch(self, kernel: str, blocks: int, threads: int, *args: Any) -> None:
        """Launch a kernel; arguments are arrays of the device, numpy scalars, or None for a null pointer."""
        ...

    def free_bytes(self) -> int:
        """Device memory that can still be had."""
        ...

    def total_bytes(self) -> int:
        """Device memory that there is."""
        ...

    def pinned(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """Host memory that the device can copy to while it computes."""
        ...

    def copy_out(self, source: Any, target: npt.NDArray[np.uint8]) -> Any:
        """Start a copy to pinned memory, after what has been launched; returns a token for `wait`."""
        ...

    def wait(self, token: Any) -> None:
        """Wait on the host until a copy has ended."""
        ...


def find_cupy() -> Any:
    """The cupy module.

    Raises
    ------
    DependencyError
        Where it is not installed or cannot be imported, with what to install.
    """
    if util.find_spec("cupy") is None:
        raise DependencyError(f"CUDA needs CuPy: {install_hint()}")
    try:
        return import_module("cupy")
    except Exception as exc:  # a CuPy without its libraries raises all sorts of things
        why = " ".join(str(exc).split()).strip("= ")[:300]
        raise DependencyError(f"CuPy is installed but does not load: {why}") from exc


def driver_version() -> tuple[int, int] | None:
    """The CUDA version that the machine's driver supports; None where there is no driver."""
    name = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) or not version.value:
        return None
    return version.value // 1000, version.value % 1000 // 10


def extra() -> str:
    """The extra of the package that has what CUDA needs here."""
    version = driver_version()
    return EXTRAS[13 if version is not None and version[0] >= 13 else 12]


def install_hint() -> str:
    """The command that installs what CUDA needs here."""
    return f"pip install 'volmicro-codec[{extra()}]'"


def device_count() -> int:
    """CUDA devices that CuPy sees.

    Raises
    ------
    DependencyError
        CuPy is not there, or there is no driver, or none that suits this CuPy; with what to install.
    """
    cupy = find_cupy()
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except Exception as exc:
        version = driver_version()
        if version is None:
            raise DependencyError(f"no NVIDIA driver is here: install one from {DRIVERS}") from exc
        raise DependencyError(
            f"no CUDA device: {exc}; the driver supports CUDA {version[0]}.{version[1]}: {install_hint()}"
        ) from exc


def missing() -> str | None:
    """Why CUDA cannot be used here; None where it can."""
    try:
        return None if device_count() else "no CUDA device"
    except DependencyError as exc:
        return str(exc)


def open_device(number: int = 0) -> Device:
    """The CUDA device of a number; always the same object.

    Raises
    ------
    DependencyError
        Where there is no such device, with what is missing.
    """
    count = device_count()
    if not 0 <= number < count:
        raise DependencyError(f"cuda:{number}: there are {count} CUDA devices")
    with _lock:
        if number not in _devices:
            _devices[number] = CupyDevice(find_cupy(), number)
        return _devices[number]


class CupyDevice:
    """A CUDA device by CuPy. Sources are compiled once, on first use; CuPy keeps the machine code on disk."""

    def __init__(self, cupy: Any, number: int) -> None:
        self.xp = cupy
        self.number: int | None = number
        self.name = f"cuda:{number}"
        self.processors = int(cupy.cuda.Device(number).attributes["MultiProcessorCount"])
        self._kernels: dict[str, Any] = {}
        self._lock = Lock()
        with self.active():
            self._copies = cupy.cuda.Stream(non_blocking=True)

    def active(self) -> AbstractContextManager[Any]:
        """As in `Device`."""
        context: AbstractContextManager[Any] = self.xp.cuda.Device(self.number)
        return context

    def array(self, values: Any, dtype: npt.DTypeLike) -> Any:
        """As in `Device`."""
        with self.active():
            foreign = hasattr(values, "__dlpack__") and not isinstance(values, np.ndarray | self.xp.ndarray)
            return self.xp.asarray(self.xp.from_dlpack(values) if foreign else values, dtype, order="C")

    def host(self, values: Any) -> npt.NDArray[Any]:
        """As in `Device`."""
        with self.active():
            return np.asarray(values.get())

    def is_host(self, values: Any) -> bool:
        """As in `Device`."""
        return isinstance(values, np.ndarray)

    def stream(self) -> int | None:
        """As in `Device`."""
        with self.active():
            return int(self.xp.cuda.get_current_stream().ptr)

    def _kernel(self, name: str) -> Any:
        with self._lock:
            if name not in self._kernels:
                file = sources.file_of(name)
                module = self.xp.RawModule(
                    code=sources.source(file), options=sources.OPTIONS, backend="nvrtc"
                )
                for kernel in sources.KERNELS[file]:
                    self._kernels[kernel] = module.get_function(kernel)
            return self._kernels[name]

    def launch(self, kernel: str, blocks: int, threads: int, *args: Any) -> None:
        """As in `Device`."""
        if blocks == 0:
            return
        given = []
        for a in args:
            if a is None:
                a = np.uint64(0)
            elif not isinstance(a, np.generic) and not a.flags.c_contiguous:
                raise ValueError(f"{kernel}: an array that is not contiguous")
            given.append(a)
        with self.active():
            self._kernel(kernel)((blocks,), (threads,), tuple(given))

    def free_bytes(self) -> int:
        """As in `Device`."""
        with self.active():
            free, _ = self.xp.cuda.runtime.memGetInfo()
            return int(free) + int(self.xp.get_default_memory_pool().free_bytes())

    def total_bytes(self) -> int:
        """As in `Device`."""
        with self.active():
            return int(self.xp.cuda.runtime.memGetInfo()[1])

    def pinned(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """As in `Device`."""
        with self.active():
            memory = self.xp.cuda.alloc_pinned_memory(max(nbytes, 1))
            return np.frombuffer(memory, np.uint8, nbytes)

    def copy_out(self, source: Any, target: npt.NDArray[np.uint8]) -> Any:
        """As in `Device`."""
        with self.active():
            self._copies.wait_event(self.xp.cuda.get_current_stream().record())
            source.data.copy_to_host_async(target.ctypes.data, source.nbytes, self._copies)
            return self._copies.record()

    def wait(self, token: Any) -> None:
        """As in `Device`."""
        token.synchronize()
