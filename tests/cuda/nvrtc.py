"""NVIDIA's run-time compiler by ctypes, from the wheel that PyPI has: it needs neither a GPU nor a driver."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")


@dataclass(frozen=True)
class Resources:
    """What one kernel takes, as the assembler says."""

    registers: int
    stack_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int


@dataclass(frozen=True)
class Compiled:
    """A compiled source: PTX or machine code, and the compiler's log."""

    code: bytes
    log: str

    def resources(self) -> dict[str, Resources]:
        """Figures of each kernel, from the log of the assembler (-Xptxas -v)."""
        found = {}
        for part in self.log.split("Compiling entry function ")[1:]:
            name = re.match(r"'(\w+)'", part)
            frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill", part)
            used = re.search(r"Used (\d+) registers", part)
            if name and frame and used:
                stack, stores, loads = (int(v) for v in frame.groups())
                found[name[1]] = Resources(int(used[1]), stack, stores, loads)
        return found


@cache
def library() -> ctypes.CDLL | None:
    """The compiler's library, or None where no such package is installed."""
    for package in PACKAGES:
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if re.fullmatch(r"libnvrtc\.so\.\d+|nvrtc64_\d+_0\.dll", Path(file).name):
                return load(Path(str(file.locate())))
    return None


def load(path: Path) -> ctypes.CDLL:
    """The compiler's library, after the one beside it that holds its built-in functions.

    It asks for that one by its bare name, and not every wheel tells the loader to look beside it.
    """
    beside = [*path.parent.glob("libnvrtc-builtins.so*"), *path.parent.glob("nvrtc-builtins*.dll")]
    for sibling in sorted(beside):
        ctypes.CDLL(str(sibling), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(path))


def compile_source(text: str, name: str, options: Sequence[str]) -> Compiled:
    """Compile a source: machine code for --gpu-architecture=sm_*, PTX for compute_*.

    Raises
    ------
    RuntimeError
        With the compiler's log, where it refuses.
    """
    nvrtc = library()
    assert nvrtc is not None
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None) == 0
    try:
        given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        failed = nvrtc.nvrtcCompileProgram(program, len(options), given)
        log = _read(nvrtc, program, "ProgramLog").rstrip(b"\0").decode()
        if failed:
            raise RuntimeError(f"{name}: {log}")
        machine = any("sm_" in o for o in options)
        return Compiled(_read(nvrtc, program, "CUBIN" if machine else "PTX"), log)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _read(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    assert getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    buffer = ctypes.create_string_buffer(max(size.value, 1))
    assert getattr(nvrtc, f"nvrtcGet{what}")(program, buffer) == 0
    return buffer.raw[: size.value]
