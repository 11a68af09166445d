"""Every kernel compiles for every architecture we name, without a GPU, and the hot ones keep to registers."""

from __future__ import annotations

import re

import pytest

from tests.cuda import nvrtc
from volmicro_codec.cuda import sources

pytestmark = pytest.mark.skipif(
    nvrtc.library() is None, reason=f"NVRTC is not installed: pip install {nvrtc.PACKAGES[0]}"
)

# A multiprocessor has 65536 registers for at most 2048 threads: 64 leave half of them resident.
MOST_REGISTERS = {
    **dict.fromkeys(("render_uint8", "render_uint16", "render_int16", "render_float32", "slope"), 64),
    "moments": 128,
}


@pytest.mark.parametrize("name", sources.KERNELS)
@pytest.mark.parametrize("architecture", ["compute_75", "compute_80", "compute_90"])
def test_every_kernel_compiles_to_ptx(name: str, architecture: str) -> None:
    options = (*sources.OPTIONS, f"--gpu-architecture={architecture}")
    compiled = nvrtc.compile_source(sources.source(name), f"{name}.cu", options)
    assert "warning" not in compiled.log
    ptx = compiled.code.decode()
    entries = set(re.findall(r"\.visible \.entry (\w+)\(", ptx))
    assert entries == set(sources.KERNELS[name])
    assert f".target {architecture.replace('compute', 'sm')}" in ptx


@pytest.mark.parametrize("name", sources.KERNELS)
def test_no_kernel_spills_on_hopper(name: str) -> None:
    options = (*sources.OPTIONS, "--gpu-architecture=sm_90", "--ptxas-options=-v")
    compiled = nvrtc.compile_source(sources.source(name), f"{name}.cu", options)
    assert compiled.code[:4] == b"\x7fELF"
    assert "warning" not in compiled.log.lower()
    figures = compiled.resources()
    if not figures:
        pytest.skip("this NVRTC does not pass on what its assembler says of registers")
    assert set(figures) == set(sources.KERNELS[name])
    for kernel, used in figures.items():
        assert used.spill_store_bytes == used.spill_load_bytes == used.stack_bytes == 0, (kernel, used)
        assert used.registers <= MOST_REGISTERS.get(kernel, 168), (kernel, used)


def test_an_error_in_a_source_is_reported() -> None:
    with pytest.raises(RuntimeError, match=r"wrong\.cu"):
        nvrtc.compile_source("__global__ void f() { nothing(); }", "wrong.cu", sources.OPTIONS)


def test_spills_would_be_seen() -> None:
    text = """extern "C" __global__ void __launch_bounds__(1024, 2) f(float* a) {
        float v[64];
        for (int k = 0; k < 64; k++) v[k] = a[threadIdx.x + 1024 * k];
        __syncthreads();
        for (int r = 0; r < 9; r++)
            for (int k = 0; k < 64; k++) v[k] = v[k] * v[(k + 7) % 64] + v[(k * 3 + r) % 64];
        for (int k = 0; k < 64; k++) a[threadIdx.x + 1024 * k] = v[k];
    }"""
    options = (*sources.OPTIONS, "--gpu-architecture=sm_90", "--ptxas-options=-v")
    figures = nvrtc.compile_source(text, "spills.cu", options).resources()
    if not figures:
        pytest.skip("this NVRTC does not pass on what its assembler says of registers")
    assert figures["f"].stack_bytes > 0
