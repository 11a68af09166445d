"""Rate and distortion of volmicro-codec and its peers at equal file bytes: CSV, BD-rate table, plots.

Rows already in the table are kept, so a second run only measures what is missing. See README.md beside.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import peers
import rows
from measure import FAILED, measure
from peers.contract import Peer
from volumes import ROOT, Image, read_images, stack_files

RESULTS = ROOT / "benchmarks" / "results"
WORK_ORDER = (200, 100, 400, 50, 800)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 unless a measurement failed."""
    args = _arguments().parse_args(argv)
    table = args.output / "rate_distortion.csv"
    failures = 0 if args.report_only else _measure_missing(args, table)
    if not args.no_report:
        from report import write_report

        print(write_report(table, args.output))
    return 1 if failures else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--volumes", type=_names, default=(), help="parts of file names, comma-separated")
    parser.add_argument("--peers", type=_names, default=peers.NAMES, help=f"of {','.join(peers.NAMES)}")
    parser.add_argument("--only", choices=("ours",), help="'ours' measures volmicro-codec alone")
    parser.add_argument("--ratios", type=_ratios, default=WORK_ORDER, help="default 50,100,200,400,800")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--refresh", action="store_true", help="measure again what the table has")
    parser.add_argument("--all-sizes", action="store_true", help="slow fitted peers on large stacks as well")
    parser.add_argument("--effort", default="balanced", help="of volmicro-codec (default balanced)")
    parser.add_argument(
        "--fit-seconds", type=float, default=90.0, help="CPU seconds of a fit of siren, published"
    )
    parser.add_argument("--tthresh", type=Path, help="path of a TTHRESH binary")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the result files")
    parser.add_argument("--no-report", action="store_true", help="rows only")
    parser.add_argument(
        "--report-only", action="store_true", help="tables and plots from the rows that exist"
    )
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(t for t in text.split(",") if t)


def _ratios(text: str) -> tuple[float, ...]:
    asked = [float(t) for t in text.split(",")]
    order = {r: i for i, r in enumerate(WORK_ORDER)}
    return tuple(sorted(asked, key=lambda r: order.get(int(r), len(order))))


def _options(args: argparse.Namespace) -> dict[str, object]:
    return {
        "effort": args.effort,
        "fit_seconds": args.fit_seconds,
        "tthresh": args.tthresh,
    }


def _measure_missing(args: argparse.Namespace, table: Path) -> int:
    """Measure what the table has not; the number of rows that failed."""
    names = (peers.OURS,) if args.only else args.peers
    files = stack_files(args.volumes)
    jobs = []
    for name in names:
        peer = peers.load(name, **_options(args))
        reason = peer.missing()
        if reason:
            print(f"{name}: left out: {reason}", file=sys.stderr)
            continue
        jobs += [(name, path) for path in files]
    if args.jobs == 1:
        return sum(_job(name, path, args, table) for name, path in jobs)
    with ProcessPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(_job, name, path, args, table) for name, path in jobs]
        return sum(done.result() for done in as_completed(futures))


def _job(name: str, path: Path, args: argparse.Namespace, table: Path) -> int:
    """All channels of one file through one peer; the number of rows that failed."""
    failures = 0
    peer = peers.load(name, **_options(args))
    for image in read_images(path):
        if peer.max_voxels and image.data.size > peer.max_voxels and not args.all_sizes:
            print(f"{name}: {image.label} left out: more than {peer.max_voxels} voxels", file=sys.stderr)
            continue
        ratios = args.ratios if args.refresh else _missing(peer, image, args.ratios, table)
        began = time.perf_counter()
        for row in measure(peer, image, ratios):
            if row.settings.startswith(FAILED):
                print(f"{name} {image.label} {row.ratio:g}x: {row.settings}", file=sys.stderr)
                failures += 1
                continue
            rows.add(table, [row])
            quality = "-" if row.psnr is None else f"{row.psnr:.2f} dB, fg {row.psnr_fg:.2f}, {row.bytes} B"
            spent = time.perf_counter() - began
            print(
                f"{name} {image.label} {row.ratio:g}x: {quality} [{row.settings}] {spent:.0f} s", flush=True
            )
    return failures


def _missing(peer: Peer, image: Image, ratios: Sequence[float], table: Path) -> list[float]:
    """Ratios without a row that still counts for this peer."""
    revision = peer.revision()
    have = {
        row.ratio
        for row in rows.read(table)
        if row.peer == peer.name
        and (row.sha, row.channel) == (image.sha, image.channel)
        and revision in row.settings
    }
    return [r for r in ratios if float(r) not in have]


if __name__ == "__main__":
    sys.exit(main())
