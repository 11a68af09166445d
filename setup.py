"""The extension modules, in plain C: libvgm, the kernels of encoding; all else is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, CompileError, PlatformError

# What the encoder's coder is made of beside its binding, and what of it the decoder has too.
CODER = ["lattice_encoder", "peaks", "point_choice", "points_encoder", "range_encoder", "voxels"]
SHARED = ["lattice_model", "lattice_record", "memory", "range_code"]
SOURCES = {
    "_coder": [
        "libvgm/python/coder.c",
        *(f"libvgm/encoder/{name}.c" for name in CODER),
        *(f"libvgm/src/{name}.c" for name in SHARED),
    ],
    "_cells": ["libvgm/python/cells.c", "libvgm/encoder/cells.c"],
    "_native": ["libvgm/python/native.c", *sorted(p.as_posix() for p in Path("libvgm/src").glob("*.c"))],
    "_steps": ["libvgm/python/steps.c", "libvgm/encoder/steps.c", "libvgm/encoder/axes.c"],
    "_network": ["libvgm/python/network.c", "libvgm/encoder/network.c", "libvgm/src/gaussian.c"],
    "_raster": ["libvgm/python/raster.c", "libvgm/encoder/raster.c", "libvgm/src/gaussian.c"],
}
HEADERS = sorted(p.as_posix() for p in Path("libvgm").rglob("*.h"))
# The same bytes on every machine: no multiplication is contracted with an addition.
ARITHMETIC = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
UNIX = ["-std=gnu99", "-O3", "-fvisibility=hidden", "-Wno-psabi", "-Werror=implicit-function-declaration"]
WINDOWS = [f"/clang:{flag}" for flag in ("-O3", *ARITHMETIC)]  # by clang-cl: libvgm needs its vectors

NEEDED = """
volmicro-codec builds its inner loops from C while it is installed, and that failed (above is why).
It takes a C compiler and nothing else: GCC or Clang (CC=... names one), on Windows clang-cl, which comes
with Visual Studio's "C++ Clang tools" and with LLVM.
"""


class BuildExtension(build_ext):
    """Says what is needed where there is no compiler; on Windows compiles with clang-cl."""

    def build_extensions(self) -> None:
        try:
            if self.compiler.compiler_type == "msvc":
                self._take_clang()
            super().build_extensions()
        except (BaseError, CCompilerError, OSError) as e:
            raise CompileError(f"{e}\n{NEEDED}") from e

    def _take_clang(self) -> None:
        self.compiler.initialize()
        there = Path(os.environ.get("PROGRAMFILES", "")) / "LLVM" / "bin" / "clang-cl.exe"
        found = shutil.which("clang-cl") or (str(there) if there.is_file() else None)
        if found is None:
            raise PlatformError("clang-cl is not on the PATH")
        self.compiler.cc = found


setup(
    ext_modules=[
        Extension(
            f"volmicro_codec.{name}",
            sources,
            include_dirs=["libvgm/include"],
            depends=HEADERS,
            extra_compile_args=WINDOWS if sys.platform == "win32" else [*UNIX, *ARITHMETIC],
            define_macros=[("NDEBUG", None)],
            py_limited_api=True,
        )
        for name, sources in SOURCES.items()
    ],
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
