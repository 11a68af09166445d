"""Encode every real stack, every channel, at several ratios: size, quality, seconds, memory.

Each encode is a process of its own (``vgm encode --json``), so seconds and peak memory are those a user sees.

    python benchmarks/encode_stacks.py [--ratios 100,200,400] [--effort balanced] [--volumes NAME,...]
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import rows
from volumes import Image, read_images, stack_files

HERE = Path(__file__).resolve().parent
COLUMNS = (
    "volume", "channel", "effort", "coding", "ratio_target", "bytes", "ratio", "primitives", "psnr",
    "psnr_fg",
    "ssim", "mip_ssim", "seconds", "peak_mb", "options", "machine", "date",
)  # fmt: skip


def encode(path: Path, channel: int, ratio: float, options: list[str], out: Path) -> dict[str, Any]:
    """Run one encode; returns its JSON document with wall seconds and peak memory in MB."""
    command = [
        sys.executable,
        "-m",
        "volmicro_codec.cli",
        "encode",
        str(path),
        "-o",
        str(out),
        "--ratio",
        f"{ratio:g}",
    ]
    command += ["--json", "--force", *options]
    command += ["--channel", str(channel)]
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    result: dict[str, Any] = json.loads(text)
    for name in ("psnr", "psnr_fg"):
        result[name] = math.inf if result[name] is None else result[name]  # JSON has no infinity
    result["seconds"] = time.monotonic() - began
    result["cpu_seconds"] = usage.ru_utime + usage.ru_stime
    result["peak_mb"] = usage.ru_maxrss / 1024
    return result


def main() -> None:
    """Parse, run, append to the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratios", default="100,200,400")
    parser.add_argument("--effort", default="balanced")
    parser.add_argument("--coding", default="lattice")
    parser.add_argument("--volumes", default="")
    parser.add_argument("--options", default="", help="more options of vgm encode, separated by blanks")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "encode_stacks.csv")
    parser.add_argument("--table", type=Path, help="also put rows into this rate-distortion table")
    args = parser.parse_args()
    names = [name for name in args.volumes.split(",") if name]
    machine = f"{platform.machine()} {os.cpu_count()} cores"
    fresh = not args.out.exists()
    args.out.parent.mkdir(exist_ok=True)
    with args.out.open("a", newline="") as f, tempfile.TemporaryDirectory() as folder:
        writer = csv.DictWriter(f, COLUMNS)
        if fresh:
            writer.writeheader()
        for path in stack_files(names):
            for image in read_images(path):
                name, channel = image.volume, image.channel
                for ratio in map(float, args.ratios.split(",")):
                    options = ["--effort", args.effort, "--coding", args.coding, *args.options.split()]
                    r = encode(path, channel, ratio, options, Path(folder) / "x.vgm")
                    writer.writerow({
                    "volume": name, "channel": channel, "effort": args.effort, "coding": args.coding,
                    "ratio_target": f"{ratio:g}", "bytes": r["file_bytes"], "ratio": round(r["ratio"], 2),
                    "primitives": r["primitives"],
                    "psnr": round(r["psnr"], 3), "psnr_fg": round(r["psnr_fg"], 3),
                    "ssim": round(r["ssim"], 5), "mip_ssim": round(r["mip_ssim"], 5),
                    "seconds": round(r["seconds"], 1),
                    "peak_mb": round(r["peak_mb"]), "options": args.options,
                    "machine": machine, "date": datetime.date.today().isoformat(),
                })  # fmt: skip
                    f.flush()
                    if args.table:
                        rows.add(args.table, [table_row(image, ratio, r, args.effort)])
                    print(
                        f"{name} c{channel} {ratio:g}x: {r['ratio']:.1f} {r['psnr']:.2f} dB"
                        f" fg {r['psnr_fg']:.2f} mip {r['mip_ssim']:.4f} {r['seconds']:.0f} s",
                        file=sys.stderr,
                    )


def table_row(image: Image, ratio: float, result: dict[str, Any], effort: str) -> rows.Row:
    """The same measurement as a row of the rate-distortion table."""
    return rows.Row(
        volume=image.volume, sha=image.sha, channel=image.channel, shape="x".join(map(str, image.data.shape)),
        dtype=image.data.dtype.name, peer="vgm", ratio=ratio, bytes=result["file_bytes"],
        achieved_ratio=image.nbytes / result["file_bytes"], psnr=result["psnr"], psnr_fg=result["psnr_fg"],
        ssim=result["ssim"], mip_ssim=result["mip_ssim"], encode_s=result["seconds"], decode_s=None,
        settings=f"effort {effort}, {result['primitives']} primitives, whole process",
    )  # fmt: skip


if __name__ == "__main__":
    main()
