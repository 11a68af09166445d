"""Encode every real stack, every channel, at several ratios: size, quality, seconds, memory.

Each encode is a process of its own (``vgm encode --json``), so seconds and peak memory are those a user sees.

    python benchmarks/encode_stacks.py [--ratios 100,200,400] [--effort balanced] [--volumes NAME,...]
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tifffile
from volumes import stack_files

HERE = Path(__file__).resolve().parent
COLUMNS = (
    "volume", "channel", "effort", "coding", "ratio_target", "bytes", "ratio", "primitives", "psnr", "psnr_fg",
    "ssim", "mip_ssim", "seconds", "peak_mb", "options", "machine", "date",
)  # fmt: skip


def encode(path: Path, channel: int | None, ratio: float, options: list[str], out: Path) -> dict[str, Any]:
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
    if channel is not None:
        command += ["--channel", str(channel)]
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    result: dict[str, Any] = json.loads(text)
    result["seconds"] = time.monotonic() - began
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
    args = parser.parse_args()
    names = [name for name in args.volumes.split(",") if name]
    machine = f"{platform.machine()} {os.cpu_count()} cores"
    fresh = not args.out.exists()
    args.out.parent.mkdir(exist_ok=True)
    with args.out.open("a", newline="") as f, tempfile.TemporaryDirectory() as folder:
        rows = csv.DictWriter(f, COLUMNS)
        if fresh:
            rows.writeheader()
        for path, channel in images(names):
            name = path.name.split(".")[0]
            for ratio in map(float, args.ratios.split(",")):
                options = ["--effort", args.effort, "--coding", args.coding, *args.options.split()]
                r = encode(path, channel, ratio, options, Path(folder) / "x.vgm")
                rows.writerow({
                    "volume": name, "channel": channel or 0, "effort": args.effort, "coding": args.coding,
                    "ratio_target": f"{ratio:g}", "bytes": r["file_bytes"], "ratio": round(r["ratio"], 2),
                    "primitives": r["primitives"], "psnr": round(r["psnr"], 3), "psnr_fg": round(r["psnr_fg"], 3),
                    "ssim": round(r["ssim"], 5), "mip_ssim": round(r["mip_ssim"], 5),
                    "seconds": round(r["seconds"], 1), "peak_mb": round(r["peak_mb"]), "options": args.options,
                    "machine": machine, "date": datetime.date.today().isoformat(),
                })  # fmt: skip
                f.flush()
                print(
                    f"{name} c{channel or 0} {ratio:g}x: {r['ratio']:.1f} {r['psnr']:.2f} dB"
                    f" fg {r['psnr_fg']:.2f} mip {r['mip_ssim']:.4f} {r['seconds']:.0f} s",
                    file=sys.stderr,
                )


def images(names: list[str]) -> list[tuple[Path, int | None]]:
    """Every stack and channel, smallest first; channel None where there is only one."""
    out: list[tuple[Path, int | None]] = []
    for path in stack_files(names):
        with tifffile.TiffFile(path) as tif:
            series = tif.series[0]
            count = dict(zip(series.axes, series.shape, strict=True)).get("C", 1)
        out += [(path, None)] if count == 1 else [(path, c) for c in range(count)]
    return out


if __name__ == "__main__":
    main()
