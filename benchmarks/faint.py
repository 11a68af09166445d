"""Whether faint structure survives: spots and lines at 1 to 5 sigma, looked for in decoded stacks.

    python benchmarks/faint.py [--codec vgm,av1] [--gate none,otsu,learned] [--ratio 200,400] [--again]

Spots and lines of the width of the PSF are planted between the nuclei of a phantom, each so bright that a
matched filter sees it at a known number of standard deviations of the noise. The same filter is then laid
over the noisy stack and over the decoded one, at the places of the structures and at empty ones. The
threshold is what a given share of the empty places exceed, so that false alarms are equal; recall is the
share of structures above it.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import encodes
import keyed_csv
import numpy as np
import numpy.typing as npt
from volumes import ROOT

from volmicro_codec.phantom import make_phantom

F64 = npt.NDArray[np.float64]
TABLE = ROOT / "benchmarks" / "results" / "faint.csv"
SHAPE = (48, 160, 160)
SEEDS = (1, 2, 3)
GATES = ("learned", "otsu", "none")
SIGMAS = (1, 2, 3, 4, 5)
FALSE_ALARMS = 0.02
PSF = (1.7, 1.1, 1.1)
READ_NOISE, OFFSET = 2.0, 100.0
LENGTH = 20.0
PITCH = 28
LAYERS, EMPTY_LAYERS = (8, 24, 40), (16, 32)
BOX = (6, 14, 14)  # half of what a filter looks at
ANGLES = (0.0, 45.0, 90.0, 135.0)
SPOT, LINE = "spot", "line"


@dataclass(frozen=True)
class Row:
    """Recall of the structures of one kind and strength in what one codec left.

    Attributes
    ----------
    sigma : int
        What the matched filter gives for the structure in the noisy stack on average, in standard deviations.
    number : int
        Structures planted.
    recall, recall_stack : float
        Share found in the decoded and in the noisy stack, both at `FALSE_ALARMS`.
    contrast : float
        Mean amplitude in the decoded stack over that planted.
    """

    structure: str
    codec: str
    ratio: float
    sigma: int
    number: int
    recall: float
    recall_stack: float
    contrast: float
    bytes: int
    settings: str

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What makes a row the same measurement."""
        return self.structure, self.codec, self.ratio, self.sigma

    @property
    def order(self) -> tuple[str, str, float, int]:
        """What rows are sorted by."""
        return self.key

    @classmethod
    def digits(cls) -> Mapping[str, int]:
        """Decimals of the fields that have a fixed number of them."""
        return {"recall": 3, "recall_stack": 3, "contrast": 3}


@dataclass(frozen=True)
class Place:
    """Where a filter is laid: sigma is 0 where nothing is."""

    structure: str
    angle: float
    at: tuple[int, int, int]
    sigma: int


@dataclass(frozen=True)
class Scene:
    """A stack with faint structures, the counts without them and without noise, and its places."""

    voxels: npt.NDArray[np.uint16]
    base: F64
    places: list[Place]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codec", default="vgm", help="of vgm and the peers (default vgm)")
    parser.add_argument("--gate", default=",".join(GATES), help="for vgm (default learned,otsu,none)")
    parser.add_argument("--ratio", default="200", help="default 200")
    parser.add_argument("--again", action="store_true", help="measure again what the table has")
    parser.add_argument("--output", type=Path, default=TABLE, help="the table")
    args = parser.parse_args(argv)
    have = set() if args.again else {(r.codec, r.ratio) for r in keyed_csv.read(args.output, Row)}
    scenes: list[Scene] = []
    for name, codec, options in _codecs(args.codec.split(","), args.gate.split(",")):
        for ratio in map(float, args.ratio.split(",")):
            if (name, ratio) in have:
                continue
            scenes = scenes or [make_scene(seed) for seed in SEEDS]
            for row in _measure(name, codec, options, ratio, scenes):
                keyed_csv.add(args.output, [row], Row)
                print(
                    f"{name} {ratio:g}x {row.structure} {row.sigma} sigma: recall {row.recall:.2f},"
                    f" in the stack {row.recall_stack:.2f}, contrast {row.contrast:.2f}",
                    flush=True,
                )
    return 0


def _codecs(codecs: Sequence[str], gates: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    for codec in codecs:
        if codec == "vgm":
            yield from ((f"vgm, gate {gate}", codec, ["--gate", gate]) for gate in gates)
        else:
            yield codec, codec, []


def make_scene(seed: int) -> Scene:
    """A phantom of nuclei with structures planted where it is even."""
    _, truth = make_phantom(SHAPE, seed, "nuclei", read_noise=READ_NOISE, offset=OFFSET, truth=True)
    base = truth.astype(np.float64)
    rng = np.random.default_rng([seed, 5])
    expected = base.copy()
    places = []
    for place in _slots(rng):
        box = _box(place.at)
        noise = np.sqrt(base[box].mean() - OFFSET + READ_NOISE**2)
        if np.ptp(base[box]) > 3 * noise:
            continue
        places.append(place)
        if place.sigma:
            expected[box] += _amplitude(place, noise) * _template(place.structure, place.angle)
    counts = rng.poisson(expected - OFFSET) + READ_NOISE * rng.standard_normal(SHAPE) + OFFSET
    return Scene(np.rint(counts.clip(0, 65535)).astype(np.uint16), base, places)


def _slots(rng: np.random.Generator) -> Iterator[Place]:
    """Lines on a grid and spots at the middles of its cells, in layers; nothing between the layers."""
    number = 0
    for z in (*LAYERS, *EMPTY_LAYERS):
        for structure, start in ((LINE, PITCH // 2), (SPOT, PITCH)):
            for y in range(start, SHAPE[1] - BOX[1], PITCH):
                for x in range(start, SHAPE[2] - BOX[2], PITCH):
                    if y < BOX[1] or x < BOX[2]:
                        continue
                    if z in EMPTY_LAYERS:
                        yield Place(SPOT, 0.0, (z, y, x), 0)
                        yield from (Place(LINE, angle, (z, y, x), 0) for angle in ANGLES)
                    else:
                        angle = float(rng.choice(ANGLES)) if structure == LINE else 0.0
                        yield Place(structure, angle, (z, y, x), SIGMAS[number % len(SIGMAS)])
                        number += 1


def _box(at: tuple[int, int, int]) -> tuple[slice, ...]:
    return tuple(slice(a - b, a + b + 1) for a, b in zip(at, BOX, strict=True))


def _template(structure: str, angle: float) -> F64:
    """A structure of amplitude 1 as the microscope shows it."""
    z, y, x = np.mgrid[tuple(slice(-b, b + 1) for b in BOX)]
    steps = np.linspace(-LENGTH / 2, LENGTH / 2, 41) if structure == LINE else np.zeros(1)
    turn = np.deg2rad(angle)
    total = sum(
        np.exp(
            -(
                (z / PSF[0]) ** 2
                + ((y - s * np.sin(turn)) / PSF[1]) ** 2
                + ((x - s * np.cos(turn)) / PSF[2]) ** 2
            )
            / 2
        )
        for s in steps
    )
    shape: F64 = np.asarray(total, np.float64)
    return shape / shape.max()


def _filter(structure: str, angle: float) -> F64:
    """The matched filter, blind to what is constant over its box; its answer to amplitude 1 is 1."""
    template = _template(structure, angle)
    blind = template - template.mean()
    return blind / float((blind * template).sum())


def _amplitude(place: Place, noise: float) -> float:
    return place.sigma * noise * float(np.linalg.norm(_filter(place.structure, place.angle)))


def answers(scene: Scene, voxels: npt.NDArray[Any]) -> F64:
    """The filter's answer at every place, over what it gives on average for noise alone, in sigma."""
    difference = voxels.astype(np.float64) - scene.base
    found = []
    for place in scene.places:
        box = _box(place.at)
        noise = np.sqrt(scene.base[box].mean() - OFFSET + READ_NOISE**2)
        taps = _filter(place.structure, place.angle)
        found.append((difference[box] * taps).sum() / (noise * np.linalg.norm(taps)))
    return np.array(found)


def _measure(
    name: str, codec: str, options: list[str], ratio: float, scenes: Sequence[Scene]
) -> Iterator[Row]:
    found: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    size = 0
    note = ""
    for scene in scenes:
        made = next(encodes.encode(codec, scene.voxels, [ratio], options))
        if made is None:
            return
        size += made.size
        note = made.settings
        pairs = zip(answers(scene, scene.voxels), answers(scene, made.unrounded), strict=True)
        for place, pair in zip(scene.places, pairs, strict=True):
            found[place.structure, place.sigma].append((float(pair[0]), float(pair[1])))
    for structure in (SPOT, LINE):
        empty = np.array(found[structure, 0])
        thresholds = np.quantile(empty, 1 - FALSE_ALARMS, axis=0)
        for sigma in SIGMAS:
            values = np.array(found[structure, sigma])
            noisy, decoded = (values > thresholds).mean(axis=0)
            contrast = float((values[:, 1].mean() - empty[:, 1].mean()) / sigma)
            yield Row(structure, name, ratio, sigma, len(values), float(decoded), float(noisy), contrast,
                      size // len(scenes), note)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
