"""The coding of points in plain Python, after spec/vgm-1-points.md, and the choice of them.

Twins of libvgm/encoder's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.twins.range_code import RangeEncoder, learn

_found = spec_from_file_location(
    "points_spec_decoder", Path(__file__).parents[1] / "format" / "points_spec_decoder.py"
)
assert _found is not None
assert _found.loader is not None
document: Any = module_from_spec(_found)  # its tables are read from the document
_found.loader.exec_module(document)

BLOCK, UNARY, LARGEST, CAP = 8, 14, 1 << 20, 1023
PRIOR_WEIGHT = 8
SPILL_SEEN = 0.25  # steps that a point spills into the next block from which on that counts there

F32 = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]
Model = list[int]


class Models:
    """All that a chunk learns: [probability of a 1 in 1/65536, observations] each."""

    def __init__(self) -> None:
        said = document.tables()

        def fresh(priors: list[int]) -> list[Model]:
            return [[p, PRIOR_WEIGHT] for p in priors]

        self.block, self.quiet, self.busy, self.sign = (
            fresh(said[n]) for n in ("block", "quiet", "busy", "sign")
        )
        self.magnitude = [
            fresh([a] + [b] * (UNARY - 1)) for a, b in zip(said["first"], said["more"], strict=True)
        ]
        self.thresholds = said["thresholds"]

    def of_block(self, blocks: np.ndarray, z: int, y: int, x: int) -> Model:
        """Of the flag of a block."""
        return self.block[int(blocks[z - 1, y, x]) + int(blocks[z, y - 1, x]) + int(blocks[z, y, x - 1])]


class Node:
    """What is known of a node before it is coded: its models, and how many low bits are plain."""

    def __init__(self, models: Models, blocks: np.ndarray, q: np.ndarray, z: int, y: int, x: int) -> None:
        e = 0
        for dz, dy, dx in np.ndindex(2, 3, 3):
            if (dz, dy, dx) < (1, 1, 1):  # coded before
                far = abs(dz - 1) + abs(dy - 1) + abs(dx - 1)
                e += {1: 4, 2: 2, 3: 1}[far] * min(abs(int(q[z + dz - 1, y + dy - 1, x + dx - 1])), CAP)
        level = sum(e >= t for t in models.thresholds)
        bz, by, bx = ((v - 1) // BLOCK + 1 for v in (z, y, x))
        around = sum(
            int(blocks[bz + s * (a == 0), by + s * (a == 1), bx + s * (a == 2)])
            for a in range(3)
            for s in (-1, 1)
        )
        lean = int(q[z, y, x - 1]) + int(q[z, y - 1, x]) + int(q[z - 1, y, x])
        kind = 0 if around <= 1 else 1 if around <= 4 else 2
        self.zero = models.busy[level - 1] if level else models.quiet[kind]
        self.sign = models.sign[
            0 if lean < -2 else 1 if lean < 0 else 2 if lean == 0 else 3 if lean <= 2 else 4
        ]
        self.magnitude = models.magnitude[level]
        self.low = max(e.bit_length() - 8, 0)


def nodes(blocks: np.ndarray, q: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Places in the padded array of the nodes of marked blocks, in coding order."""
    for z, y, x in np.ndindex(q.shape[0] - 1, q.shape[1] - 2, q.shape[2] - 2):
        if blocks[z // BLOCK + 1, y // BLOCK + 1, x // BLOCK + 1]:
            yield z + 1, y + 1, x + 1


def encode(blocks: np.ndarray, q: np.ndarray) -> bytes:
    """What `entropy.points.encode` gives."""
    code, models = RangeEncoder(), Models()
    for at in np.ndindex(*(n - 2 for n in blocks.shape)):
        z, y, x = (v + 1 for v in at)
        code.learned(models.of_block(blocks, z, y, x), int(blocks[z, y, x]))
    for z, y, x in nodes(blocks, q):
        node, value = Node(models, blocks, q, z, y, x), int(q[z, y, x])
        code.learned(node.zero, int(value != 0))
        if value == 0:
            continue
        code.learned(node.sign, int(value > 0))
        rest = abs(value) - 1
        high = rest >> node.low
        for n in range(min(high + 1, UNARY)):
            code.learned(node.magnitude[n], int(high > n))
        if high >= UNARY:
            code.excess(high - UNARY)
        code.uniform(1 << node.low, rest & ((1 << node.low) - 1))
        if rest >= LARGEST:
            break
    return code.finish()


def bits(model: Model, bit: int) -> float:
    """What a bit costs as its model stands."""
    p = model[0] / 65536.0
    return -math.log2(p if bit else 1.0 - p)


def magnitude_bits(node: Node, size: int) -> float:
    """What a magnitude costs as its models stand."""
    high = (size - 1) >> node.low
    out = float(node.low)
    for n in range(min(high, UNARY)):
        out += bits(node.magnitude[n], 1)
    return out + (
        bits(node.magnitude[high], 0) if high < UNARY else 2.0 * (high - UNARY + 1).bit_length() - 1.0
    )


def blocks_worth_it(
    residual: F32,
    weight: F32,
    lo: tuple[int, ...],
    nodes: tuple[int, ...],
    inverse: float,
    multiplier: float,
    side: float,
) -> np.ndarray:
    """Which blocks of a grid hold anything worth its bits; a border of 0 around them."""
    out = np.zeros([-(-n // BLOCK) + 2 for n in nodes], np.uint8)
    for block in np.ndindex(*(n - 2 for n in out.shape)):
        first = [a + b * BLOCK for a, b in zip(lo, block, strict=True)]
        last = [a + min((b + 1) * BLOCK, n) for a, b, n in zip(lo, block, nodes, strict=True)]
        inside = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        missing = residual[inside].astype(np.float64)
        beside = np.zeros(missing.shape, np.float32)  # what is missing next to a voxel, outside of the block
        most = 0.0
        for axis in range(3):
            for edge, at in ((0, first[axis] - 1), (-1, last[axis])):
                if 0 <= at < residual.shape[axis]:
                    face = np.moveaxis(residual, axis, 0)[at][
                        tuple(s for a, s in enumerate(inside) if a != axis)
                    ]
                    np.moveaxis(beside, axis, 0)[edge] += face
                    most = max(most, float(np.abs(face).max()))
        if side > 0.0 and most > SPILL_SEEN / inverse / side:
            missing -= side * beside
        a = np.abs(missing) * inverse
        k = np.floor(a + 0.5)
        g = (a * a - (a - k) ** 2) * weight[inside] - multiplier * (5.0 + 2.0 * np.log2(np.maximum(k, 1.0)))
        worth = (a > 0.75) & (g > 0.0)
        out[tuple(b + 1 for b in block)] = worth.any() and g[worth].sum() > 6.0 * multiplier
    return out


def sharpened(before: F32, side: float, sweeps: int) -> F32:
    """Heights that add up to `before` although each point spills `side` of its own into six voxels."""
    now = np.pad(before, 1)
    for _ in range(sweeps):
        for z, y, x in np.ndindex(*before.shape):
            c = now[z : z + 3, y : y + 3, x : x + 3]
            around = c[0, 1, 1] + c[2, 1, 1] + c[1, 0, 1] + c[1, 2, 1] + c[1, 1, 0] + c[1, 1, 2]
            c[1, 1, 1] = before[z, y, x] - np.float32(side) * around
    return now[1:-1, 1:-1, 1:-1].copy()


def choose(
    residual: F32,
    weight: F32,
    lo: tuple[int, ...],
    wanted: F32,
    inverse: float,
    multiplier: float,
    side: float,
    blocks: np.ndarray,
    q: np.ndarray,
) -> np.ndarray:
    """Choose the integers of a grid; the residual loses what they add. Bits of each block, with a border."""
    models, spent = Models(), np.zeros(blocks.shape)
    for z, y, x in nodes(blocks, q):
        node, real = Node(models, blocks, q, z, y, x), wanted[z - 1, y - 1, x - 1]
        at = lo[0] + z - 1, lo[1] + y - 1, lo[2] + x - 1
        a, best, paid = abs(float(real)) * inverse, 0, bits(node.zero, 0)
        most = min(int(a + 0.5), LARGEST - 1) if weight[at] > 0.0 else 0
        if most:
            head = bits(node.zero, 1) + bits(node.sign, int(real > 0))
            worth = multiplier / float(weight[at])
            least = a * a + worth * paid
            for k in range(max(1, most - 1), most + 1):
                taken = head + magnitude_bits(node, k)
                cost = (a - k) * (a - k) + worth * taken
                if cost < least:
                    least, best, paid = cost, k, taken
        spent[(z - 1) // BLOCK + 1, (y - 1) // BLOCK + 1, (x - 1) // BLOCK + 1] += paid
        learn(node.zero, int(best != 0))
        if best == 0:
            continue
        learn(node.sign, int(real > 0))
        high = (best - 1) >> node.low
        for n in range(min(UNARY, high + 1)):
            learn(node.magnitude[n], int(high > n))
        q[z, y, x] = best if real > 0 else -best
        d = np.float32(int(q[z, y, x]) / inverse)
        residual[at] -= d
        for axis in range(3):
            for step in (-1, 1):
                beside = tuple(v + step * (k == axis) for k, v in enumerate(at))
                if side > 0.0 and 0 <= beside[axis] < residual.shape[axis]:
                    residual[beside] -= d * np.float32(side)
    return spent


def clear_empty_blocks(blocks: np.ndarray, q: np.ndarray, spent: np.ndarray) -> float:
    """Clear the blocks that hold nothing; the bits of the others and of all flags."""
    models, total = Models(), 0.0
    for at in np.ndindex(*(n - 2 for n in blocks.shape)):
        z, y, x = (v + 1 for v in at)
        inside = q[1:, 1:-1, 1:-1][tuple(slice(v * BLOCK, (v + 1) * BLOCK) for v in at)]
        blocks[z, y, x] = blocks[z, y, x] and inside.any()
        total += spent[z, y, x] if blocks[z, y, x] else 0.0
        model = models.of_block(blocks, z, y, x)
        total += bits(model, int(blocks[z, y, x]))
        learn(model, int(blocks[z, y, x]))
    return total
