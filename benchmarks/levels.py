"""What coarser grids read of a file, what that costs them, and how fast the first picture is there.

    python benchmarks/levels.py [--effort fast] [--only NAME,...] [--from FOLDER] [--alone N:BYTES,...]

For each grid: bytes read, and the PSNR (peak p99.99 - p0.01) against means of the original's voxels, of what
is read and of everything, over all voxels of the grid and over those that lie wholly in the volume. Times are
CPU milliseconds of one thread: of a new process that opens the file and decodes level 4, as it is and without
its tag 18 (then a grid takes every chunk), and of opening and decoding alone, once another file was decoded;
medians. With --alone the means of grid N are also coded as a volume by themselves, in so many bytes: what a
file would take that held that grid beside the others.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from volumes import read_images, stack_files

import volmicro_codec
from volmicro_codec.encoder.quantise.resolution import grids_of, means
from volmicro_codec.format import EncodedChunk, VgmReader, encode_file
from volmicro_codec.format.sizes import where_bytes_go
from volmicro_codec.phantom import make_phantom

HERE = Path(__file__).resolve().parent
PHANTOMS = {
    "phantom": ((100, 647, 813), "mixed"),
    "phantom-neurites": ((64, 256, 256), "neurites"),
    "phantom-nuclei": ((64, 256, 256), "nuclei"),
}
RATIO = {"phantom": 231.0}
USUAL_RATIO = 100.0
SHOWN = 4
COLD, WARM = 9, 21
SHOW = """
import sys, time
import volmicro_codec

def show():
    start = time.process_time()
    with volmicro_codec.open(sys.argv[1], threads=1, device="cpu") as array:
        array.read(level={level})
    return time.process_time() - start

show()
whole = time.process_time()
print(whole, *(show() for _ in range({warm})))
"""


def stacks() -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Names, and what makes the voxels [Z, Y, X]."""
    for name, (shape, kind) in PHANTOMS.items():
        yield name, lambda shape=shape, kind=kind: make_phantom(shape, 0, kind)
    for path in stack_files():
        for image in read_images(path):
            yield image.label, lambda image=image: image.data


def without_levels(data: bytes) -> bytes:
    """The same file without an overview, of which every grid takes every chunk."""
    with VgmReader.open(data) as reader:
        chunks = []
        for entry in reader.entries:
            boxes = (entry.brick_lo, entry.brick_shape, entry.count, entry.support_lo, entry.support_hi)
            payload = data[entry.offset : entry.offset + entry.length]
            chunks.append(EncodedChunk(entry.t, entry.c, entry.level, entry.coding, *boxes, payload))
        return encode_file(replace(reader.meta, grid_levels=(), overview=None), chunks)


def qualities(voxels: np.ndarray, data: bytes, plain: bytes) -> list[dict[str, Any]]:
    """A row for each grid."""
    out = []
    box = tuple(slice(0, n) for n in voxels.shape)
    with VgmReader.open(data) as reader:
        sizes = where_bytes_go(reader)["by_grid"]
    with volmicro_codec.open(data) as some, volmicro_codec.open(plain) as every:
        for n in range(1, grids_of(voxels.shape)[-1] + 1):
            target, share = means(voxels, box, n)
            peak = float(np.percentile(target, 99.99) - np.percentile(target, 0.01))
            read = sizes[min(n, len(sizes) - 1)]
            row: dict[str, Any] = {"level": n, "bytes": read, "share": round(read / len(data), 4)}
            for name, array in (("", some), ("_of_everything", every)):
                errors = np.square(array.read(level=n).astype(np.float64) - target)
                for part, where in (("", np.full(share.shape, True)), ("_inside", share == 1)):
                    if where.any():
                        psnr = 10 * np.log10(peak**2 / max(float(errors[where].mean()), 1e-12))
                        row[f"psnr{part}{name}"] = round(float(psnr), 3)
            out.append(row)
    return out


def by_itself(voxels: np.ndarray, level: int, size: int, effort: str) -> dict[str, Any]:
    """How well the means of a grid are coded by themselves."""
    target, share = means(voxels, tuple(slice(0, n) for n in voxels.shape), level)
    file = volmicro_codec.encode(target, size=size, effort=effort, objective="voxels")
    errors = np.square(volmicro_codec.decode(file).astype(np.float64) - target)
    peak = float(np.percentile(target, 99.99) - np.percentile(target, 0.01))
    psnr, inside = (10 * np.log10(peak**2 / float(e.mean())) for e in (errors, errors[share == 1]))
    return {"level": level, "bytes": len(file), "psnr": round(psnr, 3), "psnr_inside": round(inside, 3)}


def times(data: bytes, folder: Path) -> dict[str, float]:
    """CPU milliseconds until level 4 of a file is there."""
    file = folder / "shown.vgm"
    file.write_bytes(data)
    program = SHOW.format(level=SHOWN, warm=WARM)
    runs = []
    for _ in range(COLD):
        ran = subprocess.run(
            [sys.executable, "-c", program, file], check=True, capture_output=True, text=True
        )
        runs.append([1e3 * float(v) for v in ran.stdout.split()])
    return {
        "new_process": round(statistics.median(r[0] for r in runs), 2),
        "alone": round(statistics.median(v for r in runs for v in r[1:]), 2),
    }


def main() -> None:
    """Encode what is not there yet, measure, and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--from", dest="folder", type=Path, help="where encoded files NAME.vgm are, or go")
    parser.add_argument("--alone", default="", help="grids and bytes, N:BYTES, separated by commas")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "levels.json")
    args = parser.parse_args()
    document = json.loads(args.out.read_text()) if args.out.exists() else {"stacks": {}}
    wanted = set(filter(None, args.only.split(",")))
    with tempfile.TemporaryDirectory() as room:
        folder = args.folder or Path(room)
        for name, make in stacks():
            if wanted and name not in wanted:
                continue
            voxels, file = make(), folder / f"{name}.vgm"
            if not file.exists():
                ratio = RATIO.get(name, USUAL_RATIO)
                volmicro_codec.imwrite(file, voxels, ratio=ratio, effort=args.effort)
            data = file.read_bytes()
            plain = without_levels(data)
            with VgmReader.open(data) as reader:
                settings = reader.meta.settings
            document["stacks"][name] = {
                "bytes": len(data),
                "settings": settings,
                "grids": qualities(voxels, data, plain),
                f"cpu_milliseconds_of_level_{SHOWN}": {
                    "as_it_is": times(data, Path(room)),
                    "every_chunk": times(plain, Path(room)),
                },
            }
            if args.alone:
                pairs = [tuple(map(int, pair.split(":"))) for pair in args.alone.split(",")]
                document["stacks"][name]["grids_by_themselves"] = [
                    by_itself(voxels, level, size, args.effort) for level, size in pairs
                ]
            document["machine"] = f"{platform.machine()} {os.cpu_count()} cores"
            document["date"] = datetime.date.today().isoformat()
            args.out.write_text(json.dumps(document, indent=1) + "\n")
            print(name, json.dumps(document["stacks"][name]))


if __name__ == "__main__":
    main()
