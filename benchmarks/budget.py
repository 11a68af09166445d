"""How well a store meets the bytes that were asked for, of volumes whose bricks are very different.

    python benchmarks/budget.py [--kind even ...] [--brick 48] [--share 0.7]

Volumes are those of `uneven_volumes`. Of each as many bytes are asked for as are a share of what a few boxes
say that all that is not noise takes. Given are the bytes of the store, all levels, over those, what the
sample foretold, how many boxes it took, and its CPU seconds and those of all bricks. Results of all kinds are
kept in one file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from uneven_volumes import KINDS, SHAPE, Uneven

import volmicro_codec
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.store import pilot
from volmicro_codec.store.encode import draft, encode_bricks, with_slope
from volmicro_codec.store.finish import finish
from volmicro_codec.store.pilot import find_slope
from volmicro_codec.store.runners import Here

HERE = Path(__file__).resolve().parent


class Counting(Here):
    """Counts boxes that are encoded."""

    tried = 0

    def run(self, function: Any, items: Any) -> Any:
        if getattr(function, "func", None) is pilot.try_box:
            self.tried += len(items)
        return super().run(function, items)


def measure(kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """One volume."""
    with tempfile.TemporaryDirectory() as folder:
        settings = EncodeSettings(effort="fast", brick=args.brick, threads=1)
        job = draft(Uneven(kind), f"{folder}/a.ome.zarr", settings)
        wanted = args.share * find_slope(job, None, Here()).size
        runner = Counting()
        began = time.process_time()
        found = find_slope(job, wanted, runner, lambda text: print(" ", kind, text, flush=True))
        searched = time.process_time()
        job = with_slope(job, found.slope)
        worked = encode_bricks(replace(job, looked=""), Here())
        assert not worked.failures
        ended = time.process_time()
        done = finish(job)
        return {
            "bricks": len(job.grid),
            "left_out": done.empty,
            "ratio": job.info.nbytes / wanted,
            "slope": found.slope,
            "wanted": wanted,
            "bytes": done.size,
            "off_percent": 100 * (done.size / wanted - 1),
            "foretold_percent": 100 * (found.size / wanted - 1),
            "said_percent": 100 * found.error,
            "boxes_tried": runner.tried,
            "seconds_of_sample": searched - began,
            "seconds_of_bricks": ended - searched,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kind", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--brick", type=int, default=48)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "budget.json")
    args = parser.parse_args()
    found: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {"kinds": {}}
    found |= {
        "date": datetime.date.today().isoformat(), "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(), "version": volmicro_codec.__version__, "shape": SHAPE, "brick": args.brick,
        "share": args.share,
    }  # fmt: skip
    for kind in args.kind:
        row = measure(kind, args)
        found["kinds"][kind] = row
        args.out.write_text(json.dumps(found, indent=1) + "\n")
        print(kind, row, flush=True)


if __name__ == "__main__":
    main()
