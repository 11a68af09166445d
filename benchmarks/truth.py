"""Codecs given noisy stacks and measured against the truth behind them: a table that each run adds to.

    python benchmarks/truth.py                                  # whatever rows are missing
    python benchmarks/truth.py --codec vgm,vgm-no-points        # these alone
    python benchmarks/truth.py --only phantom-mixed,brain-200 --ratio 100,200,400 --jobs 2
    python benchmarks/truth.py --codec vgm --again              # measure again what the table has
    python benchmarks/truth.py --codec vvc,av1 --again --no-search      # the files of the table once more

A row is written as soon as it is known; stop a run at any time, the next one goes on. Each encode is a
process of its own, its seconds are those of the processor. truth_report.py makes tables and pictures.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cases
import encodes
import keyed_csv
import numpy as np
import peers
from cases import Case
from encodes import Encoded
from peers.contract import to_dtype
from volumes import ROOT

from volmicro_codec.evaluate import Reference, compare, segmentation_agreement

TABLE = ROOT / "benchmarks" / "results" / "truth.csv"
RATIOS = (200.0, 400.0, 100.0, 800.0, 50.0)  # in the order to work in
STACK = "stack"  # the row of the noisy stack itself
ROUNDED = "rounded-truth"  # that of the truth in whole counts: no file does better in the stack's dtype
REFERENCES = (STACK, ROUNDED)
OURS = {"vgm": [], "vgm-no-points": ["--no-points"], "vgm-voxels": ["--objective", "voxels"]}
PEERS = ("vvc", "av1", "hevc", "h5j", "sperr", "jpeg2000")
QUANTISED = ("vvc", "av1", "hevc", "h5j")
CODECS = (*REFERENCES, *OURS, *PEERS)
MEASURES = ("psnr", "psnr_fg", "ssim", "mip_ssim")
UNROUNDED = tuple(f"{name}_float" for name in MEASURES)
OBJECTS = ("objects", "objects_truth", "object_error", "object_error_p90")


@dataclass(frozen=True)
class Row:
    """One codec at one ratio on one stack, against the truth.

    Attributes
    ----------
    ratio : float
        Asked for: the file has at most raw bytes / ratio bytes. 1 for the stack itself.
    bytes : int or None
        None where no file was that small.
    psnr, psnr_fg : float or None
        dB, peak = p99.99 - p0.01 of the truth; the foreground is that of the truth.
    psnr_float, psnr_fg_float, ssim_float, mip_ssim_float : float or None
        The same of what is decoded as float32, not rounded to whole counts.
    objects, objects_truth : int or None
        Connected components above the threshold of the truth.
    object_error, object_error_p90 : float or None
        Median and 90th percentile over the truth's objects of the relative error of their summed intensity.
    knob : float or None
        What the search ended at.
    encode_s : float or None
        Seconds of processor time.
    """

    stack: str
    photons: int
    codec: str
    ratio: float
    shape: str
    dtype: str
    bytes: int | None
    achieved_ratio: float | None
    psnr: float | None
    psnr_fg: float | None
    ssim: float | None
    mip_ssim: float | None
    psnr_float: float | None
    psnr_fg_float: float | None
    ssim_float: float | None
    mip_ssim_float: float | None
    objects: int | None
    objects_truth: int | None
    object_error: float | None
    object_error_p90: float | None
    encode_s: float | None
    knob: float | None
    settings: str

    @property
    def key(self) -> tuple[str, int, str, float]:
        """What makes a row the same measurement."""
        return self.stack, self.photons, self.codec, self.ratio

    @property
    def order(self) -> tuple[str, int, int, float]:
        """What rows are sorted by."""
        return self.stack, -self.photons, CODECS.index(self.codec), self.ratio

    @classmethod
    def digits(cls) -> Mapping[str, int]:
        """Decimals of the fields that have a fixed number of them."""
        two = {"achieved_ratio": 2, "encode_s": 2}
        four = ("object_error", "object_error_p90")
        return two | dict.fromkeys(four, 4) | {
            name: 3 if name.startswith("psnr") else 4 for name in (*MEASURES, *UNROUNDED)
        }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status is 1 where a row failed."""
    args = _arguments().parse_args(argv)
    work = list(_work(args))
    if args.jobs == 1:
        failed = [_measure(*unit, args.output, args.search) for unit in work]
        return int(any(failed))
    with ProcessPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(_measure, *unit, args.output, args.search) for unit in work]
        failed = [done.result() for done in as_completed(futures)]
    return int(any(failed))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_names, default=(), help="parts of stack-photons, comma-separated")
    parser.add_argument("--codec", type=_names, default=CODECS, help=f"of {','.join(CODECS)}")
    parser.add_argument("--ratio", type=_ratios, default=RATIOS, help="default 50,100,200,400,800")
    parser.add_argument("--jobs", type=int, default=1, help="encodes at the same time (default 1)")
    parser.add_argument("--again", action="store_true", help="measure again what the table has")
    parser.add_argument(
        "--no-search", dest="search", action="store_false", help="peers: where the row's search ended, alone"
    )
    parser.add_argument("--output", type=Path, default=TABLE, help="the table")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(t for t in text.split(",") if t)


def _ratios(text: str) -> tuple[float, ...]:
    asked = {float(t) for t in text.split(",")}
    return (*(r for r in RATIOS if r in asked), *sorted(asked - set(RATIOS)))


def _work(args: argparse.Namespace) -> Iterator[tuple[str, int, str, tuple[float, ...]]]:
    """(stack, photons, codec, ratios) of what is to do; the ratios of a codec share their files."""
    have = set() if args.again else {row.key for row in keyed_csv.read(args.output, Row)}
    usable = [codec for codec in args.codec if _usable(codec)]
    for stack, photons in cases.names():
        if args.only and not any(part in f"{stack}-{photons}" for part in args.only):
            continue
        for codec in usable:
            ratios = (1.0,) if codec in REFERENCES else args.ratio
            missing = tuple(r for r in ratios if (stack, photons, codec, r) not in have)
            if missing:
                yield stack, photons, codec, missing


def _usable(codec: str) -> bool:
    if codec not in CODECS:
        raise SystemExit(f"no codec {codec!r}: expected some of {', '.join(CODECS)}")
    if codec in PEERS:
        reason = peers.load(codec).missing()
    else:
        lacking = [o for o in OURS.get(codec, []) if o.startswith("--") and o not in encodes.encode_help()]
        reason = f"vgm encode has no {' '.join(lacking)}" if lacking else None
    if reason:
        print(f"{codec}: left out: {reason}", file=sys.stderr)
    return reason is None


def _measure(
    stack: str, photons: int, codec: str, ratios: Sequence[float], table: Path, search: bool
) -> bool:
    """Measure and write the rows of one codec on one stack; whether one failed."""
    case = cases.load(stack, photons)
    reference = Reference.of(case.truth)
    if codec in REFERENCES:
        shown = case.voxels if codec == STACK else to_dtype(case.truth, case.voxels.dtype)
        itself = Encoded(1.0, case.voxels.nbytes, shown, shown, 0.0, None, "")
        keyed_csv.add(table, [_row(case, codec, 1.0, reference, itself)], Row)
        return False
    name, options = (peers.OURS, OURS[codec]) if codec in OURS else (codec, [])
    made = encodes.encode(
        name, case.voxels, ratios, options, lambda r: _known_knob(table, case, codec, r, search), search
    )
    try:
        for ratio, encoded in zip(ratios, made, strict=True):
            row = _row(case, codec, ratio, reference, encoded)
            keyed_csv.add(table, [row], Row)
            quality = f"{row.bytes} B, {row.psnr:.2f} dB, {row.encode_s:.0f} s" if encoded else "no file"
            print(f"{case.label} {codec} {row.ratio:g}x: {quality} [{row.settings}]", flush=True)
    except (RuntimeError, ValueError) as failure:
        # One codec's failure on one stack must not end a run of hours; the row stays missing.
        print(f"{case.label} {codec}: failed: {failure}", file=sys.stderr, flush=True)
        return True
    return False


def _known_knob(table: Path, case: Case, codec: str, ratio: float, search: bool) -> float | None:
    """What the search ended at on the most similar stack, moved by as much as the noise differs.

    For a ``search``, that is; else what it ended at on this one.

    The knobs that matter are a video's quantisers, whose step doubles every 6 or so.
    """

    def unlike(row: Row) -> tuple[bool, float]:
        return row.stack.split("-")[0] != case.stack.split("-")[0], abs(np.log(row.photons / case.photons))

    rows = [r for r in keyed_csv.read(table, Row) if r.codec == codec and r.ratio == ratio]
    if not search:
        rows = [r for r in rows if (r.stack, r.photons) == (case.stack, case.photons)]
    similar = min((r for r in rows if r.knob is not None), key=unlike, default=None)
    if similar is None or similar.knob is None:
        return None
    if codec not in QUANTISED:
        return similar.knob
    before = _noise(cases.load(similar.stack, similar.photons))
    return similar.knob + 6 * float(np.log2(_noise(case) / before))


def _noise(case: Case) -> float:
    """Roughly, the deviation of the noise over the range."""
    voxels = case.voxels.astype(np.float32)
    steps = np.diff(voxels, n=2, axis=2)
    return float(np.median(np.abs(steps)) + 0.1) / float(np.ptp(voxels))


def _row(case: Case, codec: str, ratio: float, reference: Reference, made: Encoded | None) -> Row:
    values: dict[str, Any] = dict.fromkeys((*MEASURES, *UNROUNDED, *OBJECTS))
    if made is not None:
        quality = compare(case.truth, made.decoded, reference=reference)
        found = segmentation_agreement(case.truth, made.decoded, reference=reference, one_threshold=True)
        values = {name: quality[name] for name in MEASURES}
        exact = compare(case.truth, made.unrounded, reference=reference)
        values |= {f"{name}_float": exact[name] for name in MEASURES}
        values |= {"objects": int(found["objects_decoded"]), "objects_truth": int(found["objects"])}
        values |= {name: found[name] for name in ("object_error", "object_error_p90")}
    return Row(
        stack=case.stack,
        photons=case.photons,
        codec=codec,
        ratio=ratio,
        shape="x".join(map(str, case.voxels.shape)),
        dtype=case.voxels.dtype.name,
        bytes=made.size if made else None,
        achieved_ratio=case.voxels.nbytes / made.size if made else None,
        encode_s=made.cpu_s if made else None,
        knob=made.knob if made else None,
        settings=made.settings.replace("\n", " ") if made else "no file this small was found",
        **values,
    )


if __name__ == "__main__":
    began = time.perf_counter()
    status = main()
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    sys.exit(status)
