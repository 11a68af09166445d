"""The encoder of lattice chunks in plain Python, after spec/vgm-1-lattice.md: a twin of libvgm/encoder's.

Counts down a kd tree are the code of Devillers and Gandoin ("Geometric compression for interactive
transmission", IEEE Visualization 2000).
"""

from __future__ import annotations

import numpy as np

from tests.twins.lattice_numbers import ONE, Models, clip, exp2_fixed, log2_fixed
from tests.twins.range_code import RangeEncoder
from volmicro_codec.entropy.lattice import Chunk

CELL_FLOOR = 32768  # half a voxel: a cell this small is not split further
FARTHEST = 1 << 34  # that the first lattice coordinate may shift the second
MAX_MARGIN, MAX_CLASS = 1 << 14, 40
WIDE = 4 * ONE

Cell = tuple[list[int], list[int]]  # low and high, in 2^-16 voxel
Part = tuple[list[int], list[int], list[int]]  # points, low and high


def places(
    code: RangeEncoder, models: Models, half: list[int], margins: list[int], points: list[list[int]]
) -> tuple[list[int], list[Cell]]:
    """Write which cell every point is in; their order, and their cells in it."""

    def part(which: list[int], axis: int, middle: int) -> int:
        """Bring those below `middle` to the front; how many they are."""
        i, k = 0, len(which)
        while i < k:
            if points[which[i]][axis] < middle:
                i += 1
            else:
                k -= 1
                which[i], which[k] = which[k], which[i]
        return k

    low = [-h - (m << 16) for h, m in zip(half, margins[:3], strict=True)]
    high = [h + (m << 16) for h, m in zip(half, margins[3:], strict=True)]
    inner = list(range(len(points)))
    below: list[Part] = []
    above: list[Part] = []
    for side in range(6):
        if margins[side] == 0:
            continue
        axis, wall = side % 3, -half[side] if side < 3 else half[side - 3]
        k = part(inner, axis, wall)
        lo, hi = low.copy(), high.copy()
        if side < 3:
            outside, inner = inner[:k], inner[k:]
            hi[axis] = low[axis] = wall
            below.append((outside, lo, hi))
        else:
            inner, outside = inner[:k], inner[k:]
            lo[axis] = high[axis] = wall
            above.append((outside, lo, hi))
        code.excess(len(outside))

    def leaves(which: list[int], low: list[int], high: list[int]) -> tuple[list[int], list[Cell]]:
        if not which:
            return [], []
        axis = 0
        for a in (1, 2):
            if high[a] - low[a] > high[axis] - low[axis]:
                axis = a
        size = high[axis] - low[axis]
        if len(which) == 1 or size <= CELL_FLOOR:
            return which, [(low, high)] * len(which)
        middle = low[axis] + (size >> 1)
        left = part(which, axis, middle)
        models.code_split(code, len(which), left)
        lower, upper = low.copy(), high.copy()
        upper[axis] = lower[axis] = middle
        one, two = leaves(which[:left], low, upper), leaves(which[left:], lower, high)
        return one[0] + two[0], one[1] + two[1]

    # written: the brick's own first, then what is outside, the last side first
    own = leaves(inner, low, high)
    over = [leaves(*p) for p in reversed(above)]
    under = [leaves(*p) for p in reversed(below)]
    parts = [*reversed(under), own, *over]
    return [i for which, _ in parts for i in which], [c for _, cells in parts for c in cells]


def geometry(steps: list[int], shape: list[int]) -> tuple[list[int], list[int]] | None:
    """Factor and lattice vectors (zz, yy, xx, yz, xz, xy) of a shape; None where it is out of range."""
    logs, skews = [q * steps[0] for q in shape[:3]], [q * steps[1] for q in shape[3:]]
    if any(not -5 << 16 <= e <= 10 << 16 for e in logs) or any(abs(v) > 64 << 16 for v in skews):
        return None
    factor = [exp2_fixed(e) >> 14 for e in logs]
    factor += [(v * factor[1 if i == 0 else 2] + 32768) >> 16 for i, v in enumerate(skews)]
    basis = [(f * steps[2] + 32768) >> 16 for f in factor]
    return factor, [max(b, 1) for b in basis[:3]] + basis[3:]


def code_centre(code: RangeEncoder, basis: list[int], cell: Cell, n: list[int]) -> bool:
    """Write a lattice point inside its cell; False where it cannot be."""
    for a in range(3):
        offset, side, m = 0, basis[a], n[a]
        if a == 1:
            offset = n[0] * basis[3]
            if abs(offset) > FARTHEST:
                return False
        elif a == 2:
            odd = (n[0] + n[1]) & 1
            offset, side, m = n[0] * basis[4] + n[1] * basis[5] + odd * basis[2], 2 * side, (m - odd) // 2
        first, end = (-((offset - wall[a]) // side) for wall in cell)
        if end <= first:
            return False
        code.uniform(end - first, m - first)
    return True


class Late:
    """Running means that outlive a primitive, in 2^-16."""

    def __init__(self) -> None:
        self.values = {"class": 5 << 15, "sign": 0}
        for a in range(3):
            self.values |= {f"log {a}": 1 << 15, f"skew {a}": 0, f"size {a}": -(1 << 15)}

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def follow(self, name: str, value: int) -> None:
        """Move a quarter of the way."""
        self.values[name] += (value - self.values[name]) >> 2


def code_primitive(
    code: RangeEncoder,
    models: Models,
    late: Late,
    steps: list[list[int]],
    cell: Cell,
    j: int,
    amplitude: int,
    shape: list[int],
    n: list[int],
) -> bool:
    """Write one primitive; False where it cannot be."""
    extent = sum(log2_fixed(h - w) - (16 << 16) for w, h in zip(*cell, strict=True))
    room = clip((extent // 3 >> 4) - 6554, WIDE)
    models.numbers[0].code(
        code, [ONE, room, clip((late["class"] >> 4) - 10240, WIDE)], [ONE], 65536, 32768, j
    )
    if not 0 <= j <= MAX_CLASS:
        return False
    late.follow("class", j << 16)
    strength = clip((j << 12) // 3 - 3277, WIDE)
    models.code_sign(code, [ONE, strength, late["sign"] >> 4], int(amplitude > 0))
    sign = 1 if amplitude > 0 else -1
    late.follow("sign", sign << 16)
    if not models.code_amplitude(code, j, abs(amplitude)):
        return False

    logs: list[int] = []
    for s in range(3):
        x = [ONE, strength, room, clip((late[f"log {s}"] >> 4) - 2048, WIDE), sign * ONE]
        x += [clip((v >> 4) - 2048, WIDE) for v in logs]
        step = steps[j][0]
        models.numbers[1 + s].code(code, x, [ONE, strength, room], step, step >> 1, shape[s])
        logs.append(shape[s] * step)
        late.follow(f"log {s}", clip(logs[s], 16 << 16))
    skews: list[int] = []
    sizes: list[int] = []
    for s, (row, column) in enumerate(((1, 0), (2, 0), (2, 1))):
        x = [ONE, late[f"skew {s}"] >> 4]
        y = [
            ONE,
            strength,
            clip((logs[column] - logs[row]) >> 4, WIDE),
            clip((logs[column] >> 4) - 2048, WIDE),
        ]
        y += [room, (late[f"size {s}"] >> 4) + 2048, *((v >> 4) + 2048 for v in sizes)]
        step, q = steps[j][1], shape[3 + s]
        if s < 2:
            models.numbers[4 + s].code(code, x, y, step, step >> 1, q)
        else:
            odd = sum(shape[:5]) & 1  # the six sum to an even number
            x.append((clip(skews[0], 3 << 15) * clip(skews[1], 2 << 16)) >> 20)
            models.numbers[6].code(code, x, y, 2 * step, (1 - odd) * step, (q - odd) >> 1)
        skews.append(q * step)
        sizes.append(clip(log2_fixed(abs(skews[s]) + 16384) - (16 << 16), 2 << 16))
        late.follow(f"skew {s}", clip(skews[s], 2 << 16))
        late.follow(f"size {s}", sizes[s])
    found = geometry(steps[j], shape)
    return found is not None and code_centre(code, found[1], cell, n)


def encode(
    chunk: Chunk, brick: tuple[int, int, int], margins: tuple[int, ...], steps: np.ndarray
) -> tuple[bytes, list[int], int]:
    """What `Chunk.encode` gives."""
    code, models, late = RangeEncoder(), Models(), Late()
    for m in margins:
        code.excess(m)
        if m > MAX_MARGIN:
            return code.finish(), list(range(len(chunk.classes))), 0
    half = [s << 15 for s in brick]
    order, cells = places(code, models, half, list(margins), chunk.centres.tolist())
    symbols = [v.tolist() for v in (chunk.classes, chunk.amplitudes, chunk.shapes, chunk.lattice)]
    for i, (at, cell) in enumerate(zip(order, cells, strict=True)):
        if not code_primitive(code, models, late, steps.tolist(), cell, *(v[at] for v in symbols)):
            return code.finish(), order, i
    return code.finish(), order, -1
