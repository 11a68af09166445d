"""What constants of the encoder are worth: each as it is, less and more, against known truth.

    python benchmarks/significance.py                      # whatever rows are missing, then the summary
    python benchmarks/significance.py --constant BY_CHANCE  # one constant
    python benchmarks/significance.py --again              # measure again, after a change of the encoder
    python benchmarks/significance.py --effort fast --constant DEFAULT_RADIUS   # significance_fast.md
    python benchmarks/significance.py --constant OVERFIT,MOST_OVERFIT --output significance_overfit.csv

Small phantoms of all kinds at 2000 to 30 photons, crops of real stacks seen by a made-up camera, and, for the
constants that decide what is admitted, the scenes of ``faint.py``: how many of the spots and lines planted at
4 and 5 standard deviations are found in what was decoded, at equal false alarms. All at ratio 50, where files
end by themselves: the constants say where; but for those of `SHORT`. Decoded as float32: rounding to whole
counts is most of the error of faint stacks. Bytes and PSNR are to be read together.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import math
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cases
import faint
import keyed_csv
import numpy as np
from volumes import ROOT

import volmicro_codec as vgm
from volmicro_codec import encoder
from volmicro_codec.encoder import job, significance
from volmicro_codec.encoder.fit import candidates
from volmicro_codec.encoder.fit.method import EFFORTS
from volmicro_codec.encoder.rate import allocation, balance, growth, point_layer
from volmicro_codec.evaluate import Reference, compare
from volmicro_codec.phantom import KINDS, make_phantom

TABLE = ROOT / "benchmarks" / "results" / "significance.csv"
RATIO = 50.0
EFFORT = "balanced"
"""What is measured where no other is asked for."""
SHORT = {"FIRST_SHARE": 400.0, "MANY": 400.0}
"""Ratios of constants that act where bytes are short."""
SHAPE = (32, 96, 96)
FIRST_SEED = 11  # of the phantoms; each has its own
REAL = (("brain", 200), ("nucleus", 200), ("beads-8bit", 200), ("brain-resampled", 200), ("cleared", 30))
CLEAN = ("clean-beads", "clean-nucleus")
"""Real stacks low in noise as they are, their own truth: where points are coded."""
CLEAN_COUNTS = 20_000.0
AS_IT_IS = "as it is"
FEW = (
    ("phantom-mixed", 500, 11), ("phantom-neurites", 120, 15), ("phantom-mixed", 30, 17),
    ("phantom-nuclei", 2000, 22), ("nucleus", 200, 0), ("brain-resampled", 200, 0), ("clean-beads", 0, 0),
    ("clean-nucleus", 0, 0),
)  # fmt: skip
"""(stack, photons, seed): what is measured of constants that are not in `CLOSELY`."""
TRIED: dict[str, tuple[float, ...]] = {
    "BIT": (1.0, 2.0),
    "STEP": (2.4, 4.9),
    "ROUNDING_STEP": (1.0, 2.0, 2.8),
    "LEVEL_SIGMA": (0.5, 2.0),
    "BITS_A_CLASS": (3.0, 9.5),
    "FITTED": (0.0, 10.0, 40.0),
    "OVERFIT": (0.0, 10.0, 40.0),
    "MOST_OVERFIT": (0.05, 0.25, 0.5),
    "LEAST_BITS": (16.0, 30.0),
    "LEAST_SEEN": (0.005, 0.08),
    "ADMITTED": (18.0, 36.0),
    "CLOSED": (30.0, 49.0),
    "BY_CHANCE": (0.0, 0.5),
    "FAINTEST": (12.0, 20.0),
    "FALSE_SHARE": (0.0, 0.1, 0.6),
    "WINDOW": (3, 7),
    "SUPPORT": (3.0, 6.0),
    "MOST_SUPPORT": (6.0, 144.0),
    "SCALE_RATIO": (2.0,),
    "FIRST_SHARE": (1.0, 4.0),
    "MANY": (0.0, 0.9),
    "cleanings": (1, 3),
    "DEFAULT_RADIUS": (3.0, 4.0),
    "COARSER_TRIED": (1.25, 2.0),
}
"""Values beside the constant's own."""
OWNERS = {
    "FIRST_SHARE": growth,
    "MANY": balance,
    "SCALE_RATIO": candidates,
    "STEP": point_layer,
    "DEFAULT_RADIUS": job,
    "COARSER_TRIED": allocation,
}
"""Where a constant is, if not in `significance`; "cleanings" is a field of the effort's schedule."""
CLOSELY = (
    AS_IT_IS, "BIT", "ROUNDING_STEP", "LEVEL_SIGMA", "FITTED", "OVERFIT", "MOST_OVERFIT", "ADMITTED",
    "BY_CHANCE", "FAINTEST", "FALSE_SHARE", "SCALE_RATIO", "FIRST_SHARE", "MANY", "cleanings",
    "DEFAULT_RADIUS", "gate otsu", "gate none",
)  # fmt: skip
"""Measured on all stacks: what these are worth is less than it varies from stack to stack."""
ADMITTING = (
    AS_IT_IS, "LEAST_BITS", "MOST_OVERFIT", "ADMITTED", "BY_CHANCE", "FAINTEST", "FALSE_SHARE",
    "SCALE_RATIO", "cleanings", "DEFAULT_RADIUS",
)  # fmt: skip
"""For which faint structures are looked for, too; of the gates `faint.py` has more to say."""
GATES = ("otsu", "none")
"""With the constants as they are, beside the gate that is the default."""
FAINT = "faint"
COLUMNS = (
    "constant", "value", "stacks", "bytes", "PSNR, dB", "least", "most", "foreground, dB", "spots", "lines",
    "scenes' bytes",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One stack, or the faint scenes, encoded with one constant changed.

    Attributes
    ----------
    constant : str
        See `TRIED`; `AS_IT_IS` for none, "gate none" and "gate otsu" for another gate.
    value : float
        0 where no constant is changed.
    psnr, psnr_fg : float or None
        dB, against the truth.
    spots, lines : float or None
        Share found of those planted at 4 and 5 standard deviations.
    """

    constant: str
    value: float
    stack: str
    photons: int
    seed: int
    ratio: float
    bytes: int
    psnr: float | None = None
    psnr_fg: float | None = None
    spots: float | None = None
    lines: float | None = None

    @property
    def case(self) -> tuple[str, int, int, float]:
        """Which stack, at what ratio."""
        return self.stack, self.photons, self.seed, self.ratio

    @property
    def key(self) -> tuple[str, float, tuple[str, int, int, float]]:
        """What makes a row the same measurement."""
        return self.constant, self.value, self.case

    @property
    def order(self) -> Any:
        """What rows are sorted by."""
        return self.key

    @classmethod
    def digits(cls) -> Mapping[str, int]:
        """Decimals of the fields that have a fixed number of them."""
        return dict.fromkeys(("psnr", "psnr_fg", "spots", "lines"), 3)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, write the summary; 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = ",".join((*(f"gate {g}" for g in GATES), *TRIED))
    parser.add_argument("--effort", default=EFFORT, help="of the encodes (default balanced)")
    parser.add_argument("--constant", default=every, help=f"comma-separated (default {every})")
    parser.add_argument("--again", action="store_true", help="measure again what the table has")
    parser.add_argument("--report-only", action="store_true", help="the summary of the rows that exist")
    parser.add_argument("--output", type=Path, help="the table (default results/significance.csv, _fast.csv)")
    args = parser.parse_args(argv)
    global _effort
    _effort = args.effort
    if args.output is None:
        args.output = TABLE if _effort == EFFORT else TABLE.with_stem(f"{TABLE.stem}_{_effort}")
    if not args.report_only:
        _run(args.constant.split(","), args.again, args.output)
    _summarise(keyed_csv.read(args.output, Row), args.output.with_suffix(".md"))
    return 0


def _run(constants: Sequence[str], again: bool, table: Path) -> None:
    have = set() if again else {row.key for row in keyed_csv.read(table, Row)}
    ratios = sorted({SHORT.get(name, RATIO) for name in (*constants, AS_IT_IS)})
    settings = [(AS_IT_IS, 0.0, ratio) for ratio in ratios]
    settings += [
        (name, value, SHORT.get(name, RATIO)) for name in constants for value in TRIED.get(name, (0.0,))
    ]
    for name, value, ratio in settings:
        for stack in _cases() if name in CLOSELY else FEW:
            case = (*stack, ratio)
            if (name, value, case) not in have:
                _measured(name, value, case, lambda c: _against_truth(*c), table)
        scenes = (FAINT, 0, 0, RATIO)
        if name in ADMITTING and ratio == RATIO and (name, value, scenes) not in have:
            _measured(name, value, scenes, lambda _: _recall(), table)


def _cases() -> Iterator[tuple[str, int, int]]:
    """(stack, photons, seed)."""
    for k, (photons, kind) in enumerate(itertools.product(cases.PHOTONS, KINDS)):
        yield f"phantom-{kind}", photons, FIRST_SEED + k
    yield from ((stack, photons, 0) for stack, photons in REAL)
    yield from ((stack, 0, 0) for stack in CLEAN)


def _measured(
    name: str,
    value: float,
    case: tuple[str, int, int, float],
    measure: Callable[[Any], dict[str, Any]],
    table: Path,
) -> None:
    with _set(name, value):
        row = Row(name, value, *case, **measure(case))
    keyed_csv.add(table, [row], Row)
    print(row, flush=True)


_gate, _effort = "learned", EFFORT


@contextlib.contextmanager
def _set(name: str, value: float) -> Iterator[None]:
    """While inside, a constant has another value wherever it was imported; or another gate is asked for."""
    global _gate
    if name == AS_IT_IS:
        yield
    elif name.startswith("gate "):
        _gate, gate = name.removeprefix("gate "), _gate
        yield
        _gate = gate
    elif name == "cleanings":
        before = EFFORTS[_effort]
        EFFORTS[_effort] = replace(before, cleanings=int(value))
        yield
        EFFORTS[_effort] = before
    else:
        own = _value(name)
        modules = [m for m in _modules() if getattr(m, name, None) is own]
        for module in modules:
            setattr(module, name, value)
        yield
        for module in modules:
            setattr(module, name, own)


def _value(name: str) -> Any:
    """What a constant is."""
    if name == "cleanings":
        return EFFORTS[_effort].cleanings
    return getattr(OWNERS.get(name, significance), name)


@cache
def _modules() -> list[Any]:
    names = (m.name for m in pkgutil.walk_packages(encoder.__path__, f"{encoder.__name__}."))
    return [importlib.import_module(name) for name in names if not name.rpartition(".")[2].startswith("_")]


def _against_truth(stack: str, photons: int, seed: int, ratio: float) -> dict[str, Any]:
    voxels, truth, reference = _stack(stack, photons, seed)
    data, decoded = _coded(voxels, ratio)
    found = compare(truth, decoded, reference=reference)
    return {"bytes": len(data), "psnr": found["psnr"], "psnr_fg": found["psnr_fg"]}


@cache
def _stack(stack: str, photons: int, seed: int) -> tuple[Any, Any, Reference]:
    if stack.startswith("phantom-"):
        kind = stack.removeprefix("phantom-")
        voxels, truth = make_phantom(SHAPE, seed, kind, photons=photons, truth=True)
    elif stack in CLEAN:
        crop = cases.clean(stack.removeprefix("clean-"))[tuple(slice(0, n) for n in SHAPE)]
        voxels = truth = np.rint(100.0 + CLEAN_COUNTS * crop.clip(max=3.0)).astype(np.uint16)
    else:
        case = cases.load(stack, photons)
        box = tuple(slice(0, n) for n in SHAPE)
        voxels, truth = case.voxels[box], case.truth[box]
    return voxels, truth, Reference.of(truth)


def _coded(voxels: Any, ratio: float = RATIO) -> tuple[bytes, Any]:
    data = vgm.encode(voxels, ratio=ratio, effort=_effort, gate=_gate, threads=1)
    return data, np.asarray(vgm.decode(data, float32=True)).reshape(voxels.shape)


@cache
def _scenes() -> list[faint.Scene]:
    return [faint.make_scene(seed) for seed in faint.SEEDS]


def _recall() -> dict[str, Any]:
    size = 0
    answers: list[tuple[faint.Place, float]] = []
    for scene in _scenes():
        data, decoded = _coded(scene.voxels)
        size += len(data)
        answers += zip(scene.places, faint.answers(scene, decoded), strict=True)

    def found(structure: str) -> float:
        empty = [a for place, a in answers if place.structure == structure and not place.sigma]
        planted = [a for place, a in answers if place.structure == structure and place.sigma >= 4]
        return float(np.mean(np.array(planted) > np.quantile(empty, 1 - faint.FALSE_ALARMS)))

    return {"bytes": size, "spots": found(faint.SPOT), "lines": found(faint.LINE)}


def _summarise(rows: Sequence[Row], path: Path) -> None:
    """One line a constant and value: what changed against the constants as they are."""
    own = {row.case: row for row in rows if row.constant == AS_IT_IS}
    at = ", ".join(f"{name} at {ratio:g}" for name, ratio in SHORT.items())
    lines = [
        f"Stacks at ratio {RATIO:g} at most ({at}), and what changing one constant does to the mean of"
        " bytes (geometric) and of the PSNR against the truth, with its least and most; spots and lines are"
        " the shares found of those of 4 and 5 standard deviations in the scenes of `faint.py`.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    settings = sorted({(row.constant, row.value) for row in rows}, key=_listed)
    for name, value in settings:
        mine = [row for row in rows if (row.constant, row.value) == (name, value) and row.case in own]
        stacks = [row for row in mine if row.psnr is not None]
        found = next((row for row in mine if row.spots is not None), None)
        shown = f"{value:g}" if name in TRIED else ""
        cells = [name, shown, *(_changes(stacks, own) if stacks else [""] * 6)]
        cells += [f"{found.spots:.2f}", f"{found.lines:.2f}", str(found.bytes)] if found else [""] * 3
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "As they are: " + ", ".join(f"{n} {_value(n):.4g}" for n in TRIED) + "."]
    path.write_text("\n".join(lines) + "\n")


def _listed(setting: tuple[str, float]) -> tuple[int, float]:
    order = [AS_IT_IS, *(f"gate {g}" for g in GATES), *TRIED]
    return order.index(setting[0]), setting[1]


def _changes(rows: Sequence[Row], own: Mapping[tuple[str, int, int, float], Row]) -> list[str]:
    size = math.exp(np.mean([math.log(row.bytes / own[row.case].bytes) for row in rows]))
    whole = np.array([_less(row.psnr, own[row.case].psnr) for row in rows])
    foreground = np.array([_less(row.psnr_fg, own[row.case].psnr_fg) for row in rows])
    psnr = [f"{v:+.3f}" for v in (whole.mean(), whole.min(), whole.max(), foreground.mean())]
    return [str(len(rows)), f"{100 * (size - 1):+.1f} %", *psnr]


def _less(a: float | None, b: float | None) -> float:
    assert a is not None
    assert b is not None
    return a - b


if __name__ == "__main__":
    sys.exit(main())
