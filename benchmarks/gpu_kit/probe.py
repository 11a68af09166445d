"""What the device does with the kernels of this package: a time for each, transfers, one step of the fit.

    python probe.py OUT.json FILE.vgm

Every part is tried by itself and the result is written after each, so that a failure costs one part. With
VGM_KIT_DRY=1 the kernels are run by the CPU on a few voxels: that tries the script, its times mean nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import traceback
from pathlib import Path

import numpy as np

DRY = os.environ.get("VGM_KIT_DRY") == "1"
OUT, FILE = Path(sys.argv[1]), Path(sys.argv[2])
REPEATS = 1 if DRY else 10
found = {"dry": DRY, "failed": {}}


def part(name):
    """Runs a function now and keeps what it returns, or why it failed."""

    def run(work):
        begun = time.perf_counter()
        try:
            found[name] = work()
        except Exception:
            found["failed"][name] = traceback.format_exc()[-3000:]
            print(f"probe: {name} FAILED: {traceback.format_exc().splitlines()[-1]}", flush=True)
        else:
            print(f"probe: {name} {json.dumps(found[name], default=str)[:900]}", flush=True)
        found.setdefault("seconds", {})[name] = round(time.perf_counter() - begun, 3)
        OUT.write_text(json.dumps(found, indent=1, default=str) + "\n")

    return run


def open_the_device():
    if not DRY:
        from volmicro_codec.cuda.device import open_device

        return open_device(0)
    import tempfile

    from tests.cuda_host import host_device

    return host_device.HostDevice(host_device.build(Path(tempfile.mkdtemp())))


device = open_the_device()
xp = device.xp


def ms(work, repeats=REPEATS, warm=1 if DRY else 2):
    """Median milliseconds of some work on the device."""
    for _ in range(warm):
        work()
    times = []
    for _ in range(repeats):
        if DRY:
            begun = time.perf_counter()
            work()
            times.append((time.perf_counter() - begun) * 1e3)
            continue
        start, end = xp.cuda.Event(), xp.cuda.Event()
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(xp.cuda.get_elapsed_time(start, end))
    return round(statistics.median(times), 4)


def sync():
    if not DRY:
        xp.cuda.Device(0).synchronize()


def wall_ms(work, repeats=3):
    """Least milliseconds by the clock of the host, the device idle before and after."""
    times = []
    for _ in range(repeats):
        sync()
        begun = time.perf_counter()
        work()
        sync()
        times.append((time.perf_counter() - begun) * 1e3)
    return round(min(times), 3)


from volmicro_codec.cuda.fields import Fields  # noqa: E402
from volmicro_codec.cuda.rasteriser import CudaRasteriser  # noqa: E402
from volmicro_codec.cuda.steps import principal_axes  # noqa: E402
from volmicro_codec.format import VgmReader, codings  # noqa: E402
from volmicro_codec.primitives import Primitives, records_to_primitives  # noqa: E402


def load():
    """Shape, dtype, cut-off, mapping; the Gaussians and the points of the first image."""
    if DRY:
        from tests.cuda import scenes

        prims, shape = scenes.scattered(40, (13, 21, 35), scale=(0.6, 2.0)), (13, 21, 35)
        return shape, np.dtype("uint16"), 12.0, (100.0, 50.0), prims, prims
    with VgmReader.open(FILE) as reader:
        parts = [[], []]
        for k, entry in enumerate(reader.entries):
            if (entry.t, entry.c) == (0, 0):
                z, y, x = (a + (n - 1) / 2 for a, n in zip(entry.brick_lo, entry.brick_shape, strict=True))
                prims = records_to_primitives(reader.read_records(k), (z, y, x))
                parts[int(entry.coding == codings.POINTS)].append(prims)
        meta = reader.meta
        shape, kind, cutoff, mapping = meta.info.shape[2:], meta.info.dtype, meta.cutoff, meta.images[0]
    gaussians = Primitives.concatenate(parts[0]) if parts[0] else Primitives.empty()
    return shape, kind, cutoff, mapping, gaussians, Primitives.concatenate(parts[0] + parts[1])


shape, kind, cutoff, (base, gain), gaussians, every = load()
raster, fields = CudaRasteriser(cutoff, device), Fields(device)
rng = np.random.default_rng(0)
N = int(np.prod(shape))


@part("scene")
def _():
    return {"shape": list(shape), "gaussians": len(gaussians), "primitives": len(every), "cutoff": cutoff}


@part("transfers")
def _():
    host = rng.normal(size=shape).astype(np.float32)
    there = device.array(host, np.float32)
    pinned = device.pinned(host.nbytes)
    return {
        "megabytes": host.nbytes / 1e6,
        "to_device_as_the_fit_does_ms": wall_ms(lambda: device.array(host, np.float32)),
        "to_host_as_the_fit_does_ms": wall_ms(lambda: device.host(there)),
        "to_pinned_ms": wall_ms(lambda: device.wait(device.copy_out(there, pinned))),
        "host_copies_pinned_ms": wall_ms(lambda: host.reshape(-1).__setitem__(..., pinned.view(np.float32))),
        "host_negates_ms": wall_ms(lambda: np.negative(host, out=host)),
    }


def kernels_of(prims, name):
    @part(f"kernels of {name}")
    def _():
        floats = raster.upload(prims)
        packed = raster.pack_floats(floats, (0, 0, 0), shape)
        out, field = xp.empty(shape, kind), xp.empty(shape, np.float32)
        way = device.array(rng.normal(size=(len(prims), 10)).astype(np.float32), np.float32)
        residual = device.array(rng.normal(size=shape).astype(np.float32), np.float32)
        n, (_, items) = len(prims), raster.items(packed)
        entries = int(packed.offsets[-1])
        counts = device.host(packed.offsets)
        longest = int(np.diff(counts).max())
        told = {
            "upload_wall_ms": wall_ms(lambda: raster.upload(prims)),
            "pack_and_bin_ms": ms(lambda: raster.pack_floats(floats, (0, 0, 0), shape)),
            "pack_and_bin_wall_ms": wall_ms(lambda: raster.pack_floats(floats, (0, 0, 0), shape)),
            "render_ms": ms(lambda: raster.voxels(packed, base, gain, kind, out)),
            "render_float32_ms": ms(lambda: raster.voxels(packed, 0.0, 1.0, np.float32, field)),
            "slope_ms": ms(lambda: raster.jvp(packed, way, field)),
            "moments_ms": ms(lambda: raster.vjp_moments(packed, residual)),
            "tile_entries": entries, "items": items, "longest_list": longest,
        }  # fmt: skip
        told["render_gvoxel_per_s"] = round(N / told["render_ms"] / 1e6, 2)
        told["bytes_per_primitive_list"] = 4 * entries / max(n, 1)
        return told


kernels_of(gaussians, "the Gaussians")
kernels_of(every, "all primitives")


@part("passes over voxels")
def _():
    a, b, w = (device.array(np.abs(rng.normal(size=shape)).astype(np.float32), np.float32) for _ in range(3))
    saturated = device.array(rng.integers(0, 3, shape), np.uint8)
    out = xp.empty(shape, np.float32)
    taps = [np.ones(n, np.float32) / n for n in (13, 13, 13)]
    norms = [np.ones(n, np.float32) for n in shape]
    flag = device.array(np.ones(1), np.int32)
    smooth = fields.correlate(a, taps)
    told = {
        "dot": ms(lambda: fields.dot(a, b)),
        "energy": ms(lambda: fields.energy(a, b, w, 0.0, out)),
        "energy_saturated": ms(lambda: fields.energy(a, b, w, 0.0, out, saturated)),
        "energy_gradient": ms(lambda: fields.energy(a, b, w, 0.1, out, saturated)),
        "metric": ms(lambda: fields.metric(a, w, 0.0, out)),
        "metric_gradient": ms(lambda: fields.metric(a, w, 0.1, out)),
        "mask_saturated": ms(lambda: fields.mask_saturated(out, a, saturated)),
        "correlate_13_taps_3_axes": ms(lambda: fields.correlate(a, taps), 3),
        "halve_3_axes": ms(lambda: fields.halve(a, (True, True, True)), 3),
        "peaks": ms(lambda: fields.peaks(smooth, norms, 0.0), 3),
        "flatnonzero_of_peaks": ms(lambda: xp.flatnonzero(fields.peaks(smooth, norms, 0.0)), 3),
        "copy_if": ms(lambda: fields.copy_if(flag, a, out)),
        "floor_of_one_read_and_write_ms": ms(lambda: out.__setitem__(..., a)),
    }
    return told


def model_of_file():
    from volmicro_codec.encoder.quantise.coder import model_of

    model = model_of(gaussians if len(gaussians) else every)
    model.w /= max(float(np.abs(model.w).max()), 1e-9)
    return model


@part("steps of the Gaussians")
def _():
    import torch
    from torch.utils.dlpack import from_dlpack

    from volmicro_codec.encoder.fit.device_block import torch_device
    from volmicro_codec.encoder.fit.device_steps import DeviceSteps
    from volmicro_codec.encoder.fit.lbfgs import KEPT_STEPS
    from volmicro_codec.encoder.fit.refiner import MAX_SIGMA
    from volmicro_codec.encoder.fit.tensors import TensorModel

    where = torch_device(raster)
    model = TensorModel.of(model_of_file(), where)
    steps = DeviceSteps(raster, 1e-3, MAX_SIGMA)
    moments = torch.as_tensor(rng.normal(size=(len(model), 11))).to(where)
    gradient = steps.gradient(model, moments, None)
    flag, on_cupy = device.array(np.zeros(1), np.int32), device.array(model.B, np.float64)

    def launch():
        return fields.copy_if(flag, on_cupy, on_cupy)

    return {
        "device": str(where),
        "gradient": ms(lambda: steps.gradient(model, moments, None)),
        "precondition": ms(lambda: steps.precondition(model, gradient)),
        "held": ms(lambda: steps.held(model, gradient)),
        "cleared_pairs": ms(lambda: steps.cleared(model, torch.stack([gradient] * KEPT_STEPS), False)),
        "between": ms(lambda: steps.between(model, model)),
        "table": ms(lambda: steps.table(model, gradient)),
        "moved": ms(lambda: steps.moved(model, gradient)),
        "principal_axes": ms(lambda: principal_axes(device, model.B)),
        "dlpack_both_ways_wall_us": 1e3 * wall_ms(lambda: [from_dlpack(on_cupy) for _ in range(100)]) / 100,
        "launch_by_cupy_wall_us": 1e3 * wall_ms(lambda: [launch() for _ in range(20)]) / 20,
        "torch_add_wall_us": 1e3 * wall_ms(lambda: [gradient + gradient for _ in range(100)]) / 100,
    }


@part("steps of the fit")
def _():
    import torch

    from volmicro_codec.encoder.fit.device import DeviceRefiner
    from volmicro_codec.encoder.fit.device_loop import State, Stepper
    from volmicro_codec.encoder.fit.refiner import Block
    from volmicro_codec.encoder.fit.tensors import TensorModel

    model = model_of_file()
    prims = raster.pack(model.mu, model.covariance6(), model.w, shape)
    target = raster.render(prims) + rng.normal(size=shape).astype(np.float32) * np.float32(0.02)
    weights = np.ones(shape, np.float32)
    start = model.copy()
    start.w *= 0.9
    start.mu += rng.normal(size=start.mu.shape) * 0.1
    refiner = DeviceRefiner(Block(np.zeros(3), target, weights), raster, noise_floor=1e-3)
    told = {"gaussians": len(model)}
    trips = 2 if DRY else 12
    with refiner.entered() as block:
        there = TensorModel.of(start, block.where)
        begun = time.perf_counter()
        loss = block.enter(there)
        sync()
        told["enter_ms"] = (time.perf_counter() - begun) * 1e3
        stepper = Stepper(block, refiner.steps(None), 1000, 0.0, 0.0, None)
        state = State.begin(there, loss, None)
        told["loss_before"] = float(loss)
        for _ in range(2):
            state = stepper.advance(state)
        sync()
        begun = time.perf_counter()
        for _ in range(trips):
            state = stepper.advance(state)
        asked = time.perf_counter()
        sync()
        ended = time.perf_counter()
        told["host_asks_ms_a_trip"] = (asked - begun) / trips * 1e3
        told["device_ms_a_trip"] = (ended - begun) / trips * 1e3
        told["loss_after"] = float(state.loss)
        told["count"] = int(state.count)
        told["parts_ms"] = {
            "moments": ms(lambda: block.moments(), 3),
            "pack": ms(lambda: block._pack(state.model, block.room), 3),
            "attempt": ms(lambda: block.attempt(state.model), 3),
            "keep": ms(lambda: block.keep(torch.zeros((), dtype=torch.bool, device=block.where)), 3),
        }
    told["residual_to_host_ms"] = wall_ms(lambda: refiner.residual, 1)
    return told


@part("search for candidates")
def _():
    from volmicro_codec.encoder.fit.device import find

    field = rng.normal(size=shape).astype(np.float32)
    count = 20 if DRY else 10_000
    find(raster, field, count)
    return {"wall_ms": wall_ms(lambda: find(raster, field, count), 2), "candidates": count}


@part("profile of five steps")
def _():
    if DRY:
        return {}
    import torch

    from volmicro_codec.encoder.fit.device import DeviceRefiner
    from volmicro_codec.encoder.fit.refiner import Block

    model = model_of_file()
    refiner = DeviceRefiner(
        Block(np.zeros(3), rng.normal(size=shape).astype(np.float32), np.ones(shape, np.float32)),
        raster,
        noise_floor=1e-3,
    )
    refiner.refine(model, 2)
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        refiner.refine(model, 5)
    rows = sorted(profile.key_averages(), key=lambda e: -getattr(e, "self_device_time_total", 0))[:28]
    return [
        [e.key[:70], e.count, round(getattr(e, "self_device_time_total", 0) / 1e3, 3)]
        for e in rows
        if getattr(e, "self_device_time_total", 0) > 0
    ]


@part("opened file")
def _():
    import volmicro_codec

    if DRY:
        return {}
    told = {}
    for where in ("cuda", "cpu"):
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            with volmicro_codec.open(FILE, device=where) as array:
                whole = array[...]
            times.append((time.perf_counter() - begun) * 1e3)
        told[f"file_to_array_ms_{where}"] = [round(t, 1) for t in times]
        with volmicro_codec.open(FILE, device=where) as array:
            times, r = [], np.random.default_rng(0)
            for _ in range(25):
                lo = [int(r.integers(0, max(1, n - 63))) for n in shape]
                box = [(a, min(n, a + 64)) for a, n in zip(lo, shape, strict=True)]
                begun = time.perf_counter()
                array.read(box)
                times.append((time.perf_counter() - begun) * 1e3)
        told[f"region_64_ms_{where}"] = round(statistics.median(times[5:]), 3)
        told[f"sum_{where}"] = int(whole.astype(np.int64).sum())
        found[f"_{where}"] = whole
    a, b = found.pop("_cuda").astype(np.int64), found.pop("_cpu").astype(np.int64)
    off = np.abs(a - b)
    told["cuda_against_cpu"] = {"largest": int(off.max()), "share_that_differs": float((off > 0).mean())}
    return told


print("probe: failed parts:", sorted(found["failed"]) or "none", flush=True)
sys.exit(1 if found["failed"] else 0)
