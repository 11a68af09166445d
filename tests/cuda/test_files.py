"""A file's voxels by the CUDA backend: within the tolerance, by slabs of any size, the same for a region."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec
from tests.conftest import ROOT
from tests.cuda import scenes
from volmicro_codec.cuda.backend import CudaBackend, _cuts
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.decoder.chunk_cache import ChunkCache
from volmicro_codec.decoder.image import ImageEvaluator
from volmicro_codec.decoder.select import Grid
from volmicro_codec.format import VgmReader
from volmicro_codec.indexing import AxisRange
from volmicro_codec.primitives import Primitives

VECTORS = sorted((ROOT / "spec" / "vectors" / "valid").glob("*.vgm"))


def read(path: Path, device: Any, level: int, ranges: list[tuple[int, int, int]], slab: int = 1 << 20) -> Any:
    """Every image's voxels over (start, step, count) of z, y, x."""
    with VgmReader.open(path) as reader:
        info = reader.meta.info
        backend = CudaBackend(reader.meta.cutoff, device, slab_bytes=slab)
        evaluator = ImageEvaluator(reader, ChunkCache(reader), backend)
        out = np.zeros((*info.shape[:2], *(n for _, _, n in ranges)), info.dtype)
        for t, c in np.ndindex(*info.shape[:2]):
            axes = [AxisRange(*r) for r in ranges]
            evaluator.voxels(t, c, Grid.of(info.shape[2:], level), axes, out[t, c])
        return out


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
def test_vectors_decode_within_the_tolerance(device: Any, path: Path) -> None:
    about = json.loads(path.with_suffix(".json").read_text())
    reference = np.load(path.with_suffix(".values.npy"))
    whole = [(0, 1, n) for n in reference.shape[2:]]
    got = read(path, device, 0, whole).astype(np.float64)
    coarse = np.load(path.with_suffix(".grid1.npy"))
    half = read(path, device, 1, [(0, 1, n) for n in coarse.shape[2:]]).astype(np.float64)
    with VgmReader.open(path) as reader:
        of_primitives = reader.meta.overview is None  # else level 1 may be what the overview holds
    weight = np.load(path.with_suffix(".records.npy")).view(np.float16)[:, 10].astype(np.float64)
    gain = np.abs(np.array(about["images"]))[:, 1].reshape(*about["shape"][:2], 1, 1, 1)
    for voxels, value in ((got, reference), (half, coarse))[: 1 + of_primitives]:
        allowed = gain * 1e-4 * max(1.0, np.abs(weight).sum()) + 2.0**-22 * np.abs(value)
        if about["dtype"] != "float32":
            ends = np.iinfo(about["dtype"])
            low, high = (np.clip(np.rint(value + s * allowed), ends.min, ends.max) for s in (-1, 1))
            assert ((low <= voxels) & (voxels <= high)).all()
        else:
            assert (np.abs(voxels - value) <= allowed).all()


@pytest.mark.parametrize("level", [0, 1])
def test_regions_and_strides_have_the_bytes_of_the_whole(device: Any, level: int) -> None:
    path = next(p for p in VECTORS if p.stem == "chunks_and_levels")
    with VgmReader.open(path) as reader:
        shape = Grid.of(reader.meta.info.shape[2:], level).shape
    whole = read(path, device, level, [(0, 1, n) for n in shape])
    for step in (1, 2, 3):
        ranges = [(n // 3, step, max(1, (n - n // 3) // step)) for n in shape]
        cut = tuple(slice(a, a + s * n, s) for a, s, n in ranges)
        assert read(path, device, level, ranges).tobytes() == whole[(..., *cut)].tobytes()


@pytest.mark.parametrize("slab", [1, 3000, 40_000])
@pytest.mark.parametrize("lo", [(0, 0, 0), (5, 3, 2)])
def test_slabs_change_no_byte(device: Any, slab: int, lo: tuple[int, int, int]) -> None:
    prims, shape = scenes.scattered(60, (37, 15, 18)), (37, 15, 18)
    whole = CudaBackend(12.0, device).decode(prims, shape, 10.0, 30.0, np.uint16, lo=lo)
    parts = CudaBackend(12.0, device, slab_bytes=slab).decode(prims, shape, 10.0, 30.0, np.uint16, lo=lo)
    assert parts.tobytes() == whole.tobytes()


def test_a_device_with_little_memory_takes_thin_slabs(host: Any) -> None:
    prims, shape = scenes.scattered(20, (40, 9, 9)), (40, 9, 9)
    host.memory = 8 * 4 * 9 * 9 * 16
    host.launches.clear()
    got = CudaBackend(12.0, host).decode(prims, shape, 0.0, 1.0, np.float32)
    assert host.launches.count("render_float32") == 3
    raster = CudaRasteriser(12.0, host)
    want = raster.voxels(raster.pack_floats(raster.upload(prims), (0, 0, 0), shape), 0.0, 1.0, np.float32)
    assert (got == want).all()


@pytest.mark.parametrize(
    ("lo", "planes", "most"), [(0, 40, 16), (5, 40, 16), (3, 7, 3), (7, 1, 99), (1, 9, 8)]
)
def test_slabs_are_cut_where_tiles_end(lo: int, planes: int, most: int) -> None:
    cuts = _cuts(lo, planes, most)
    assert [n for _, n in cuts] == [
        b - a for (a, _), (b, _) in zip(cuts, [*cuts[1:], (planes, 0)], strict=True)
    ]
    assert all(1 <= n <= most for _, n in cuts)
    if most >= 8:
        assert all((lo + first) % 8 == 0 for first, _ in cuts[1:])


@pytest.mark.gpu
def test_more_than_two_billion_voxels_decode_by_slabs() -> None:
    shape = (2056, 1024, 1024)
    assert np.prod(shape) > 2**31
    prims = scenes.scattered(3000, shape, scale=(2, 30))
    got = CudaBackend(12.0, "cuda").decode(prims, shape, 20.0, 60.0, np.uint8)
    for z in (0, 1027, 2047, 2055):
        value, allowed = scenes.reference(prims, 12.0, (z, 500, 200), (1, 40, 60))
        low, high = (np.clip(np.rint(20 + 60 * (value + s * allowed)), 0, 255) for s in (-1, 1))
        part = got[z : z + 1, 500:540, 200:260]
        assert ((low <= part) & (part <= high)).all()


@pytest.mark.gpu
@pytest.mark.volumes
def test_shared_stacks_decode_as_on_the_cpu(volumes: Path, tmp_path: Path) -> None:
    stacks = sorted(p for p in volumes.rglob("*") if p.suffix == ".tif")
    assert stacks
    for stack in stacks:
        coded = tmp_path / f"{stack.stem}.vgm"
        settings = volmicro_codec.EncodeSettings(ratio=400, effort="fast", device="cpu")
        volmicro_codec.encode_volume(volmicro_codec.read_volume(stack), coded, settings)
        cpu = volmicro_codec.open(coded, device="cpu")[...].astype(np.float64)
        gpu = volmicro_codec.open(coded, device="cuda")[...].astype(np.float64)
        off = np.abs(cpu - gpu)
        assert off.max() <= 1 + 1e-4 * np.ptp(cpu)
        assert np.mean(off > 0.5) < 1e-3


def test_primitives_come_from_every_part_in_order(device: Any) -> None:
    parts = [scenes.scattered(4, (9, 9, 9), seed=k) for k in range(3)]
    backend = CudaBackend(12.0, device)
    both = [
        backend.decode(Primitives.concatenate(p), (9, 9, 9), 0, 1, np.float32) for p in (parts, parts[::-1])
    ]
    assert np.allclose(*both, atol=1e-5)
