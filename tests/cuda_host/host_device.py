"""The kernels on the CPU: a `Device` whose arrays are numpy's and whose launches a sanitised program runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "volmicro_codec" / "cuda"
FLAGS = (
    "-std=c++17",
    "-O1",
    "-g1",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-fsanitize=address,undefined,float-cast-overflow,float-divide-by-zero",
    "-fno-sanitize-recover=all",
)
GOOD = 0x600DC0DE
POISON = 0xCB


class KernelFault(AssertionError):
    """What a sanitiser, or the shim's own checks, found in a kernel."""


def compiler() -> str | None:
    """The C++ compiler, or None where there is none."""
    named = os.environ.get("CXX")
    return next((p for c in (named, "g++", "clang++", "c++") if c and (p := shutil.which(c))), None)


def why_not() -> str | None:
    """Why kernels cannot be built here; None where they can."""
    found = compiler()
    if found is None:
        return "no C++ compiler: install g++ or clang++, or name one in CXX"
    probe = "#include <sanitizer/common_interface_defs.h>\nint main() {}\n"
    with tempfile.TemporaryDirectory() as scratch:
        command = [found, *FLAGS, "-x", "c++", "-", "-o", str(Path(scratch) / "probe")]
        ran = subprocess.run(command, input=probe, capture_output=True, text=True)
    return None if ran.returncode == 0 else f"{found} has no sanitisers: {ran.stderr.strip()[:200]}"


def build(directory: Path) -> Path:
    """The program that runs kernels, compiled into ``directory`` unless it is there already.

    Raises
    ------
    RuntimeError
        With what the compiler says, where it refuses.
    """
    found = compiler()
    assert found is not None
    inputs = sorted([*HERE.glob("*.[hc]pp"), *SOURCES.glob("*.cu*")])
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in inputs) + repr((found, FLAGS)).encode())
    program = directory / f"driver-{digest.hexdigest()[:16]}"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other test processes wait rather than compile it too
        if not program.exists():
            part = directory / "part"
            command = [found, *FLAGS, "-o", str(part), str(HERE / "driver.cpp")]
            ran = subprocess.run(command, capture_output=True, text=True)
            if ran.returncode:
                raise RuntimeError(ran.stderr[-4000:])
            part.rename(program)
    return program


class _Poisoned(ModuleType):
    """numpy, but for ``empty``: what no kernel writes shows."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def empty(shape: Any, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
        array = np.empty(shape, dtype)
        array.view(np.uint8).reshape(-1)[...] = POISON
        return array


class HostDevice:
    """Runs kernels by the program that `build` makes; ``order`` of blocks and threads as in shim.hpp."""

    name = "host"
    number = None
    processors = 2

    def __init__(self, program: Path, order: int = 0) -> None:
        self.xp = _Poisoned("poisoned")
        self.order = order
        self.launches: list[str] = []
        self.memory = 1 << 30
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the program."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def active(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def array(self, values: Any, dtype: npt.DTypeLike) -> Any:
        if not isinstance(values, np.ndarray) and hasattr(values, "__dlpack__"):
            values = np.from_dlpack(values)
        return np.ascontiguousarray(values, dtype)

    def host(self, values: Any) -> npt.NDArray[Any]:
        return np.array(values)

    def is_host(self, values: Any) -> bool:
        return isinstance(values, np.ndarray)

    def stream(self) -> int | None:
        return None

    def free_bytes(self) -> int:
        return self.memory

    def total_bytes(self) -> int:
        return 1 << 32

    def pinned(self, nbytes: int) -> npt.NDArray[np.uint8]:
        return np.empty(nbytes, np.uint8)

    def copy_out(self, source: Any, target: npt.NDArray[np.uint8]) -> Any:
        # The copy happens when it is waited for: whoever overwrites the source before that is found out.
        return [source, target]

    def wait(self, token: Any) -> None:
        if token:
            source, target = token
            target[...] = source.view(np.uint8).reshape(-1)
            token.clear()

    def launch(self, kernel: str, blocks: int, threads: int, *args: Any) -> None:
        self.launches.append(kernel)
        if blocks == 0:
            return
        if self._process is None:
            self._process = subprocess.Popen(
                [str(self._program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"},
            )
        request = [struct.pack("<I", len(kernel)), kernel.encode()]
        request.append(struct.pack("<IIII", blocks, threads, self.order, len(args)))
        for a in args:
            if a is None:
                request.append(b"0")
            elif isinstance(a, np.generic):
                request.append(b"v" + a.tobytes().ljust(8, b"\0"))
            else:
                assert a.flags.c_contiguous
                request.append(b"b" + struct.pack("<Q", a.nbytes) + a.tobytes())
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(b"".join(request))
            self._process.stdin.flush()
            for a in args:
                if isinstance(a, np.ndarray) and self._read(1) == b"\1":
                    flat = a.reshape(-1).view(np.uint8)
                    flat[...] = np.frombuffer(self._read(a.nbytes), np.uint8)
            (good,) = struct.unpack("<I", self._read(4))
        except (BrokenPipeError, EOFError):
            good = 0
        if good != GOOD:
            _, err = self._process.communicate()
            self._process = None
            raise KernelFault(f"{kernel}: {err.decode(errors='replace')[-6000:]}")

    def _read(self, n: int) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        data = self._process.stdout.read(n)
        if len(data) != n:
            raise EOFError
        return data
