"""Where the time of an encode goes: inclusive and exclusive seconds of its stages, on the main thread.

    python stage_times.py OUT.json [--shape 100,647,813] [--ratio 231] [--effort balanced]
        [--device cuda] [--limit 150]

What is known when the limit is reached is written all the same.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

STAGES = (
    "encoder.choices:gate_of",
    "evaluate.noise:estimate_noise",
    "encoder.mask.gate:train_gate_seen",
    "encoder.image:mapping",
    "encoder.job:Job._measure",
    "evaluate.metrics:compare",
    "encoder.image:Image.target",
    "encoder.image:Image.saturated",
    "encoder.image:Image.foreground",
    "encoder.fit.blocks:edge_map",
    "encoder.fit.image_fit:ImageFit.refit",
    "encoder.fit.image_fit:ImageFit.grow",
    "encoder.fit.proposals:Proposals.candidates",
    "encoder.fit.residuals:Residuals.decoded_sse",
    "encoder.fit.candidates:find",
    "encoder.fit.candidates:uncovered",
    "encoder.fit.device:find",
    "encoder.fit.device:DeviceRefiner.see",
    "encoder.fit.device:DeviceRefiner.candidates",
    "encoder.fit.device_block:DeviceBlock.hold",
    "encoder.fit.blocks:Blocks.split",
    "encoder.fit.blocks:Blocks.reaches",
    "encoder.fit.blocks:digest",
    "encoder.fit.overlap:overlapping",
    "encoder.fit.significant:SignificantIn.__call__",
    "encoder.fit.residuals:Residuals.left",
    "encoder.fit.residuals:Residuals.where_significant",
    "encoder.fit.residuals:Residuals.excess",
    "encoder.fit.worth:worth",
    "encoder.significance:NoiseField.variance",
    "encoder.significance:NoiseField.variance_of",
    "encoder.significance:supported",
    "encoder.fit.device_block:DeviceBlock.__init__",
    "encoder.fit.device_block:DeviceBlock.enter",
    "encoder.fit.device_block:DeviceBlock.evaluate",
    "encoder.fit.device_loop:run",
    "encoder.fit.device_loop:Stepper.advance",
    "encoder.fit.device_loop:Looks.read",
    "encoder.fit.refiner:Refiner.refine",
    "encoder.fit.refiner:Refiner.pull",
    "encoder.fit.refiner:Refiner.evaluate",
    "encoder.rate.allocation:solve_allocation",
    "encoder.rate.point_layer:layer",
    "encoder.rate.allocation:_left",
    "encoder.rate.allocation:fill",
    "encoder.fit.voxels:squares",
    "encoder.rate.growth:allocation_of",
    "encoder.rate.growth:adjust_count",
    "encoder.rate.growth:regrow",
    "encoder.rate.growth:grow_to_bytes",
    "encoder.rate.balance:balance",
    "encoder.rate.growth:_count_for",
    "encoder.rate.growth:prune",
    "encoder.rate.to_bytes:code_with_points",
    "encoder.rate.to_bytes:code_to_bytes",
    "encoder.rate.balance:solve_step",
    "encoder.quantise.coder:plain_rounding",
    "encoder.quantise.coder:rounding_with_refits",
    "encoder.quantise.coder:Rounded.bytes",
    "encoder.quantise.coder:Rounded.code",
    "encoder.quantise.coder:Layout.of",
    "encoder.quantise.coder:_round_positions",
    "encoder.quantise.lattice:encode_chunk",
    "encoder.quantise.lattice:quantise_shape",
    "encoder.quantise.lattice:quantise_weights",
    "encoder.rate.point_layer:chunks_of",
    "format:encode_file",
    "format:write_file",
    "encoder.rate.slope:encode_at_slope",
    "encoder.rate.growth:prune_noise",
    "encoder.quantise.resolution:needed_on",
    "encoder.quantise.grid_levels:grid_levels",
)

_here = threading.local()
seconds: dict[str, list[float]] = {}  # name: calls, inclusive, exclusive


def timed(name, work):
    @functools.wraps(work)
    def run(*args, **kwargs):
        if threading.current_thread() is not threading.main_thread():
            return work(*args, **kwargs)
        stack = _here.__dict__.setdefault("stack", [])
        frame = [time.perf_counter(), 0.0]
        stack.append(frame)
        try:
            return work(*args, **kwargs)
        finally:
            stack.pop()
            took = time.perf_counter() - frame[0]
            row = seconds.setdefault(name, [0, 0.0, 0.0])
            row[0] += 1
            row[1] += took
            row[2] += took - frame[1]
            if stack:
                stack[-1][1] += took

    return run


def watch():
    """Puts a clock on each stage, in every module that has its name."""
    absent = []
    for stage in STAGES:
        module, _, name = stage.partition(":")
        try:
            home = importlib.import_module(f"volmicro_codec.{module}")
            owner, _, attribute = name.rpartition(".")
            if owner:
                kind = getattr(home, owner)
                raw = kind.__dict__[attribute]
                if isinstance(raw, classmethod):
                    setattr(kind, attribute, classmethod(timed(name, raw.__func__)))
                else:
                    setattr(kind, attribute, timed(name, raw))
                continue
            old = getattr(home, attribute)
        except (ImportError, AttributeError, KeyError):
            absent.append(stage)
            continue
        new = timed(name if module != "encoder.fit.device" else f"device.{name}", old)
        for other in list(sys.modules.values()):
            if getattr(other, "__name__", "").startswith("volmicro_codec"):
                for key, value in list(vars(other).items()):
                    if value is old:
                        setattr(other, key, new)
    try:
        kind = importlib.import_module("volmicro_codec.encoder.fit.device").DeviceRefiner
        kind.residual = kind.residual.getter(
            timed("DeviceRefiner.residual (to the host)", kind.residual.fget)
        )
    except (ImportError, AttributeError):
        absent.append("DeviceRefiner.residual")
    return absent


class OutOfTime(BaseException):
    """The limit is reached, or the process was asked to end."""


def stop(*_):
    raise OutOfTime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", default="100,647,813")
    parser.add_argument("--ratio", type=float, default=231.0)
    parser.add_argument("--effort", default="balanced")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--limit", type=float, default=150.0)
    given = parser.parse_args()

    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, stop)
    signal.setitimer(signal.ITIMER_REAL, given.limit)
    document = {
        "device": given.device, "effort": given.effort, "shape": given.shape, "ratio": given.ratio,
        "cores": os.cpu_count(), "finished": False, "at": "importing",
    }  # fmt: skip
    begun = time.perf_counter()
    try:
        measure(given, document)
        document["at"] = "end"
    except OutOfTime:
        document["cut_off_after_seconds"] = time.perf_counter() - begun
    except Exception as exc:
        document["error"] = repr(exc)[:2000]
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        report(given.out, document)


def measure(given, document):
    """Encodes, and notes how far it is."""
    import volmicro_codec
    from volmicro_codec import EncodeSettings
    from volmicro_codec.phantom import make_phantom
    from volmicro_codec.volume import Volume

    importlib.import_module("volmicro_codec.encoder.pipeline")
    importlib.import_module("volmicro_codec.encoder.rate.to_quality")
    if given.device == "cuda":
        importlib.import_module("volmicro_codec.cuda.device").open_device(0)
    scratch = tempfile.mkdtemp()

    def encode(volume, ratio):
        settings = EncodeSettings(ratio=ratio, effort=given.effort, device=given.device)
        return volmicro_codec.encode_volume(volume, os.path.join(scratch, "out.vgm"), settings, force=True)

    document["at"] = "a small encode, which compiles"
    begun = time.perf_counter()
    encode(Volume.from_array(make_phantom((16, 64, 64), seed=2)), 100.0)
    document["first_small_encode_seconds"] = time.perf_counter() - begun
    document["at"] = "making the phantom"
    volume = Volume.from_array(make_phantom(tuple(int(n) for n in given.shape.split(",")), seed=0))
    document["absent"] = watch()
    document["at"] = "the encode"
    begun = time.perf_counter()
    try:
        result = encode(volume, given.ratio)
    finally:
        document["seconds"] = time.perf_counter() - begun
    document.update(
        finished=True,
        psnr=result.psnr,
        psnr_fg=result.psnr_fg,
        bytes=result.bytes,
        primitives=result.primitives,
        points=result.points,
        history=result.history,
    )


def report(out, document):
    """Writes what is known, and prints the most of it."""
    rows = sorted(seconds.items(), key=lambda row: -row[1][2])
    document["stages"] = {
        name: {"calls": int(n), "inclusive": round(a, 3), "exclusive": round(b, 3)}
        for name, (n, a, b) in rows
    }
    out.write_text(json.dumps(document, indent=1) + "\n")
    shown = {k: v for k, v in document.items() if k not in ("stages", "history")}
    print("stages:", json.dumps(shown), flush=True)
    print(f"{'exclusive s':>12} {'inclusive s':>12} {'calls':>7}  stage")
    for name, (n, a, b) in rows[:28]:
        print(f"{b:12.2f} {a:12.2f} {n:7.0f}  {name}")


if __name__ == "__main__":
    main()
