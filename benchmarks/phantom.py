"""The phantom of the published size (100 x 647 x 813 uint16) at its ratio of 231: encode and decode.

    python benchmarks/phantom.py [--effort balanced] [--ratio 231]

Encoding is a process of its own, as a user runs it; decoding is timed by ``decode_speed.py``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from encode_stacks import encode

HERE = Path(__file__).resolve().parent
SHAPE = "100,647,813"


def main() -> None:
    """Parse, run, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", default="balanced")
    parser.add_argument("--ratio", type=float, default=231.0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "phantom.json")
    parser.add_argument("--keep", type=Path, help="also keep the .vgm here")
    args = parser.parse_args()
    vgm = [sys.executable, "-m", "volmicro_codec.cli"]
    with tempfile.TemporaryDirectory() as folder:
        stack, file = Path(folder) / "phantom.tif", args.keep or Path(folder) / "phantom.vgm"
        subprocess.run([*vgm, "phantom", "-o", str(stack), "--shape", SHAPE, "--seed", "0"], check=True)
        r = encode(stack, 0, args.ratio, ["--effort", args.effort], file)
        speed = Path(folder) / "speed.json"
        subprocess.run(
            [sys.executable, str(HERE / "decode_speed.py"), str(file), "--threads", "2", "-o", str(speed)],
            check=True,
        )
        decoded = json.loads(speed.read_text())
    table = {
        "encode, effort": args.effort,
        "ratio": round(r["ratio"], 1),
        "bytes": r["file_bytes"],
        "primitives": r["primitives"],
        "PSNR whole / foreground, dB": f"{r['psnr']:.2f} / {r['psnr_fg']:.2f}",
        "SSIM / MIP SSIM": f"{r['ssim']:.4f} / {r['mip_ssim']:.4f}",
        "encode seconds, whole process": round(r["seconds"]),
        "encode CPU seconds": round(r["cpu_seconds"]),
        "encode peak MB": round(r["peak_mb"]),
    }
    document = {
        "table": table,
        "decode": decoded,
        "machine": f"{platform.machine()} {os.cpu_count()} cores",
        "date": datetime.date.today().isoformat(),
    }
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
