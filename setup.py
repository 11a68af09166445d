"""The extension module: libvgm and its binding in plain C; everything else is in pyproject.toml."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCES = ["libvgm/python/native.c", *sorted(p.as_posix() for p in Path("libvgm/src").glob("*.c"))]
HEADERS = sorted(p.as_posix() for p in Path("libvgm").rglob("*.h"))
# The same bytes on every machine: no multiplication is contracted with an addition.
ARITHMETIC = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
UNIX = ["-std=gnu99", "-O3", "-fvisibility=hidden", "-Wno-psabi", "-Werror=implicit-function-declaration"]
WINDOWS = [f"/clang:{flag}" for flag in ("-O3", *ARITHMETIC)]  # by clang-cl: libvgm needs its vectors

setup(
    ext_modules=[
        Extension(
            "volmicro_codec._native",
            SOURCES,
            include_dirs=["libvgm/include"],
            depends=HEADERS,
            extra_compile_args=WINDOWS if sys.platform == "win32" else [*UNIX, *ARITHMETIC],
            define_macros=[("NDEBUG", None)],
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
