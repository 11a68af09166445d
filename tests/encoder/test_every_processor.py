"""Every processor gives the same file: instructions, ours and the libraries', change nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

ENCODE = """
import hashlib, sys
from volmicro_codec import encode
from volmicro_codec.native_encoder import cells, coder, network
from volmicro_codec.phantom import make_phantom
from volmicro_codec.raster import kernels
cells.limit_instructions({most})
coder.limit_instructions({most})
network.limit_instructions({most})
kernels.limit_instructions({most})
made = [encode(make_phantom((20, 40, 48), 4), ratio=ratio) for ratio in (100, 20)]
print(hashlib.sha256(b"".join(made)).hexdigest())
"""
FOUND = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
WIDE = " ".join(name for name in FOUND if "512" in name or name == "X86_V4")
MACHINES = {
    "no AVX": (
        0,
        {
            "ATEN_CPU_CAPABILITY": "default",
            "OPENBLAS_CORETYPE": "Nehalem",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
            "NPY_DISABLE_CPU_FEATURES": " ".join(FOUND),
        },
    ),
    "AVX2": (1, {"ATEN_CPU_CAPABILITY": "avx2", "NPY_DISABLE_CPU_FEATURES": WIDE}),
    "another BLAS": (2, {"OPENBLAS_CORETYPE": "Haswell", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
}


def digest(most: int, environment: dict[str, str]) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", ENCODE.format(most=most)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=600,
        check=True,
    )
    return ran.stdout.split()[-1]


@pytest.fixture(scope="module")
def here() -> str:
    found = digest(2, {})
    assert len(found) == len(hashlib.sha256().hexdigest())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_another_processor_gives_the_same_file(machine: str, here: str) -> None:
    assert digest(*MACHINES[machine]) == here
