"""What an encode costs beside what others cost for the same bytes, and whether its time follows the signal.

    python benchmarks/encode_speed.py                              # some ten minutes on two quiet cores
    python benchmarks/encode_speed.py --shape 24,96,96 --output /tmp/x.json     # to try it

All in one run, one after the other, on two threads, each encode a process of its own: wall and CPU seconds
and peak memory are the process's, its start included. `vgm encode` makes a file of a phantom at each effort;
then libaom, x265 and SPERR make what is nearest below the bytes of the first. PSNR is against the truth.

Then the same structures alone and in the midst of four times as many voxels, the rest as empty as between
them, at the default effort: with the gate and without.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import peers
from decode_speed import machine
from peers import video
from peers.contract import Curve, CurvePeer
from peers.intensity import candidates
from peers.search import Search
from volumes import ROOT, Image

from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.evaluate import Reference, compare
from volmicro_codec.phantom import make_phantom

F32 = npt.NDArray[np.float32]
Voxels = npt.NDArray[Any]
SHAPE, SEED, RATIO = (100, 512, 512), 9, 231.0
THREADS = 2
EFFORTS = ("fast", "balanced")
TOLERANCE, MOST = 0.12, 6
"""Share of the bytes below which a peer's file may stay, and encodes that a search for it may take."""
BORDER = 16
"""Voxels over which structures fade at the faces of the smaller stack, so that none is cut by a wall."""
OFFSET, READ_NOISE = 100.0, 2.0
TURNS = 3
"""Of the stacks with and without space: each figure is the median, for seconds differ by a tenth."""
BARS = {
    "fast over libaom cpu-used 5, seconds": 1.0,
    "balanced over libaom cpu-used 5, seconds": 2.5,
    "four times the space over once, seconds": 1.5,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and keep, after each encode what is known so far; 1 where one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default=",".join(map(str, SHAPE)), help="of the phantom (z,y,x)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "encode_speed.json")
    args = parser.parse_args(argv)
    shape = tuple(int(n) for n in args.shape.split(","))
    began = time.perf_counter()
    document: dict[str, Any] = {
        "shape": shape, "seed": SEED, "ratio asked": RATIO, "threads": THREADS,
        "machine": machine(None, "cpu"), "bars": BARS, "encodes": {}, "space": {},
    }  # fmt: skip
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sections = (("encodes", _side_by_side, 1), ("space", _with_empty_space, TURNS))
        for section, rows, turns in sections:
            taken: dict[str, list[dict[str, Any]]] = {}
            for label, measure in turns * list(rows(shape, folder)):
                try:
                    taken.setdefault(label, []).append(measure())
                    document[section][label] = _middle(taken[label])
                except (RuntimeError, ValueError, OSError) as failure:
                    # One codec's failure must not cost the others' figures.
                    document[section][label] = {"failed": str(failure)}
                    failed = 1
                document["ratios"] = _ratios(document)
                document["seconds in all"] = round(time.perf_counter() - began)
                args.output.write_text(json.dumps(document, indent=1) + "\n")
                print(label, document[section][label], flush=True)
    print(json.dumps(document["ratios"], indent=1))
    return failed


def _middle(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of the median of its seconds, and those of all."""
    seconds = sorted(row["seconds"] for row in rows)
    middle = next(row for row in rows if row["seconds"] == seconds[(len(rows) - 1) // 2])
    return middle if len(rows) == 1 else middle | {"seconds of all": seconds}


Measure = tuple[str, Callable[[], dict[str, Any]]]


def _side_by_side(shape: tuple[int, ...], folder: Path) -> list[Measure]:
    voxels, truth = make_phantom((shape[0], shape[1], shape[2]), SEED, truth=True)
    reference = Reference.of(truth)
    stack = folder / "phantom.npy"
    np.save(stack, voxels)
    size: dict[str, int] = {}

    def quality(decoded: Voxels) -> dict[str, float]:
        found = compare(truth, decoded, reference=reference)
        return {name: round(found[name], 3) for name in ("psnr", "psnr_fg", "mip_ssim")}

    def ours(effort: str) -> dict[str, Any]:
        row, file = _vgm(stack, folder, ["--effort", effort])
        size.setdefault("ours", row["bytes"])
        return row | quality(np.asarray(open_vgm(file)[...]).reshape(voxels.shape))

    def theirs(make: Callable[[Image, int, Path], tuple[dict[str, Any], Voxels]]) -> dict[str, Any]:
        if "ours" not in size:
            raise RuntimeError("no file of ours whose bytes to match")
        row, decoded = make(Image("phantom", 0, voxels, ""), size["ours"], folder)
        return row | quality(decoded)

    def of_peer(name: str) -> Measure:
        return PEERS[name][0], lambda: theirs(PEERS[name][1])

    efforts: list[Measure] = [(f"vgm {e}", lambda e=e: ours(e)) for e in EFFORTS]  # type: ignore[misc]
    return efforts + [of_peer(name) for name in PEERS]


def _with_empty_space(shape: tuple[int, ...], folder: Path) -> list[Measure]:
    small, large = alone_and_amid((shape[0], shape[1] // 2, shape[2] // 2))

    def of(name: str, light: F32, gate: str) -> dict[str, Any]:
        stack = folder / f"{name}.npy"
        if not stack.exists():
            rng = np.random.default_rng([SEED, *light.shape])
            counts = rng.poisson(light) + READ_NOISE * rng.standard_normal(light.shape) + OFFSET
            np.save(stack, np.rint(counts.clip(0, 65535)).astype(np.uint16))
        row, _ = _vgm(stack, folder, ["--gate", gate])
        return row | {"shape": light.shape}

    stacks = (("alone", small), ("amid four times the space", large))
    return [
        (f"{name}, gate {gate}", lambda n=name, v=light, g=gate: of(n, v, g))  # type: ignore[misc]
        for gate in ("learned", "none")
        for name, light in stacks
    ]


def alone_and_amid(shape: tuple[int, int, int]) -> tuple[F32, F32]:
    """Photons of structures in a small stack, and of the same amid one of four times the voxels."""
    _, truth = make_phantom(shape, SEED, offset=0.0, truth=True)
    empty = float(np.median(truth))
    fade = np.ones(shape, np.float32)
    for axis, n in enumerate(shape):
        inwards = np.minimum(np.arange(n), np.arange(n)[::-1]) / min(BORDER, max(1, n // 4))
        edge = 0.5 - 0.5 * np.cos(np.pi * np.clip(inwards, 0.0, 1.0))
        fade *= edge.astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
    light = empty + (truth - empty) * fade
    around = ((0, 0), *((n // 2, n - n // 2) for n in shape[1:]))
    return light, np.pad(light, around, constant_values=empty)


def _vgm(stack: Path, folder: Path, options: Sequence[str]) -> tuple[dict[str, Any], Path]:
    file = folder / "out.vgm"
    command = [sys.executable, "-m", "volmicro_codec.cli", "encode", str(stack), "-o", str(file), "--force"]
    command += ["--quiet", "--threads", str(THREADS), "--ratio", f"{RATIO:g}", *options]
    row = _timed(command)
    return row | {"bytes": file.stat().st_size}, file


TIMER = """
import json, os, sys, time
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
wall, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
figures = {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2), "peak_mb": round(usage.ru_maxrss / 1024)}
print(json.dumps([os.waitstatus_to_exitcode(status), figures]))
"""


def _timed(command: Sequence[str]) -> dict[str, Any]:
    """Wall and CPU seconds and peak memory of a process and those it waited for."""
    # By way of a small process: a child's peak is never less than what its parent held when it was born.
    timer = [sys.executable, "-I", "-S", "-c", TIMER, *command]
    done = subprocess.run(timer, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name}: {done.stderr[-300:].strip()}")
    status, figures = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise RuntimeError(f"{Path(command[0]).name}: exit {status}: {done.stderr[-300:].strip()}")
    return dict(figures)


def _nearest(curve: Curve, size: int) -> float:
    """The knob whose file is the largest of at most that many bytes."""
    found = Search(curve, TOLERANCE, 1.0, MOST).run(size)
    trial = found.lower or found.upper
    if trial is None:
        raise RuntimeError(f"{curve.name}: no file near {size} bytes")
    return trial.knob


def _video(
    name: str, stream: str, knob: str, high: float, step: float, options: Callable[[float], list[str]]
) -> Callable[[Image, int, Path], tuple[dict[str, Any], Voxels]]:
    """A gray video of 12 bits on `THREADS` threads."""

    def make(image: Image, size: int, folder: Path) -> tuple[dict[str, Any], Voxels]:
        mapping, layout = candidates(image.data)[0], video.GRAY12
        curve = video.curve(
            image, mapping, name=name, stream=stream, layout=layout, options=options, knob=knob, high=high,
            step=step, start=25.0, slope=-0.1,
        )  # fmt: skip
        value = _nearest(curve, size)
        if value > high:
            raise RuntimeError(f"{name}: {size} bytes are beyond {knob} {high:g}")
        raw, path = folder / "in.raw", folder / f"out.{stream}"
        raw.write_bytes(layout.pack(mapping.forward(image.data, layout.top)))
        command = video.encode_command(
            raw, path, layout=layout, shape=image.data.shape, stream=stream, options=options(value),
            threads=THREADS,
        )  # fmt: skip
        row = _timed([str(video.program()), "-nostdin", "-v", "error", *command])
        payload = path.read_bytes()
        samples = video.decoded(payload, layout, image.data.shape, stream)
        return row | {"bytes": len(payload), knob: value}, mapping.back(samples, layout.top)

    return make


def _av1(crf: float) -> list[str]:
    quality = ["-crf", f"{crf:.0f}", "-b:v", "0", "-tune", "psnr", "-cpu-used", "5", "-row-mt", "1"]
    return ["-c:v", "libaom-av1", *quality, "-g", "9999"]


def _x265(crf: float) -> list[str]:
    tuned = "aq-mode=0:psy-rd=0:psy-rdoq=0:cutree=0:keyint=-1:info=0"
    threads = f"pools={THREADS}:log-level=none"
    return ["-c:v", "libx265", "-preset", "slow", "-x265-params", f"crf={crf:g}:{tuned}:{threads}"]


def _sperr(image: Image, size: int, folder: Path) -> tuple[dict[str, Any], Voxels]:
    """As the peer of the other benchmarks has it, in a process that reads the stack: on one thread."""
    peer = peers.load("sperr")
    assert isinstance(peer, CurvePeer)
    stack, file = folder / "phantom.npy", folder / "out.sperr"
    bits = 8.0 * size / image.data.size
    program = (
        "import sys, numpy as np, imagecodecs\n"
        "v = np.load(sys.argv[1]).astype(np.float32)\n"
        "data = imagecodecs.sperr_encode(v, float(sys.argv[3]), 'bpp', chunks=v.shape)\n"
        "open(sys.argv[2], 'wb').write(data)\n"
    )
    row = _timed([sys.executable, "-c", program, str(stack), str(file), repr(bits)])
    payload = file.read_bytes()
    return row | {"bytes": len(payload)}, peer.curves(image)[0].decode(payload)


PEERS = {
    "av1": ("libaom cpu-used 5", _video("libaom cpu-used 5", "obu", "crf", 63, 1, _av1)),
    "x265": ("x265 slow", _video("x265 slow", "hevc", "crf", 51, 0.5, _x265)),
    "sperr": ("SPERR", _sperr),
}


def _ratios(document: dict[str, Any]) -> dict[str, float]:
    """What the bars speak of, and its like, as far as it is known."""
    encodes, space = document["encodes"], document["space"]
    pairs = [
        (f"{effort} over {label}, seconds", encodes.get(f"vgm {effort}"), encodes.get(label))
        for effort in EFFORTS
        for label, _ in PEERS.values()
    ]
    for gate, note in (("learned", ""), ("none", ", gate none")):
        alone, amid = (space.get(f"{n}, gate {gate}") for n in ("alone", "amid four times the space"))
        pairs.append((f"four times the space over once{note}, seconds", amid, alone))
    return {
        label: round(a["seconds"] / b["seconds"], 3)
        for label, a, b in pairs
        if a and b and "seconds" in a and "seconds" in b
    }


if __name__ == "__main__":
    sys.exit(main())
