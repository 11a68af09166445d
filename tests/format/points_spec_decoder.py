"""A second decoder of points chunks, written from spec/vgm-1-points.md; its tables are read from there."""

from __future__ import annotations

import importlib.util
import math
import re
import struct
from functools import cache
from pathlib import Path
from typing import Any

# The range coder and the learned bit are those of the other document, and of its decoder.
_found = importlib.util.spec_from_file_location(
    "lattice_spec_decoder", Path(__file__).with_name("lattice_spec_decoder.py")
)
assert _found is not None
assert _found.loader is not None
lattice: Any = importlib.util.module_from_spec(_found)
_found.loader.exec_module(lattice)
Rejected, note = lattice.Rejected, lattice.note

SPEC = Path(__file__).parents[2] / "spec" / "vgm-1-points.md"
MODELS = ("block", "quiet", "busy", "sign", "first", "more")

OFFSETS = {
    4: ((0, 0, -1), (0, -1, 0), (-1, 0, 0)),
    2: ((0, -1, -1), (0, -1, 1), (-1, 0, -1), (-1, 0, 1), (-1, -1, 0), (-1, 1, 0)),
    1: ((-1, -1, -1), (-1, -1, 1), (-1, 1, -1), (-1, 1, 1)),
}

Node = tuple[int, int, int]


@cache
def tables() -> dict[str, list[int]]:
    """Thresholds and starting probabilities as the spec prints them."""
    text = SPEC.read_text(encoding="utf-8")
    phrases = ("block[0", "quiet[0", "busy[0", "sign[0", "magnitude[0 .. 13][0]", "magnitude[0 .. 13][1")
    after = {"thresholds": "these 13 thresholds"} | dict(zip(MODELS, phrases, strict=True))
    start = text.index("## 4. Models")
    out = {}
    for name, phrase in after.items():
        rest = text[text.index(phrase, 0 if name == "thresholds" else start) :]
        found = re.search(r"\n\n    ([0-9 ]+)\n", rest)
        assert found is not None, name
        out[name] = [int(v) for v in found.group(1).split()]
    return out


def head_of(payload: bytes) -> tuple[int, float, float]:
    """Section 1: spacing, scale, step."""
    if len(payload) < 5:
        raise Rejected("length")
    spacing, scale, step = struct.unpack("<Bee", payload[:5])
    if not 1 <= spacing <= 16:
        raise Rejected("spacing")
    if not all(math.isfinite(v) and v > 0 for v in (scale, step)):
        raise Rejected("scale or step")
    return spacing, scale, step


class Chunk:
    """Section 3: which blocks hold points, and the integers, as they are read."""

    def __init__(self, rc: Any, grid: Node) -> None:
        self.rc, self.grid = rc, grid
        self.model = {name: [[p, 8] for p in tables()[name]] for name in ("block", "quiet", "busy", "sign")}
        first, more = tables()["first"], tables()["more"]
        self.magnitude = [[[f, 8]] + [[m, 8] for _ in range(13)] for f, m in zip(first, more, strict=True)]
        self.blocks: dict[Node, int] = {}
        self.q: dict[Node, int] = {}

    def read_blocks(self) -> None:
        nz, ny, nx = (math.ceil(n / 8) for n in self.grid)
        for z in range(nz):
            for y in range(ny):
                for x in range(nx):
                    before = ((z - 1, y, x), (z, y - 1, x), (z, y, x - 1))
                    h = sum(self.blocks.get(b, 0) for b in before)
                    note(f"block model {h}")
                    self.blocks[z, y, x] = self.rc.learned(self.model["block"][h])

    def read_nodes(self) -> None:
        nz, ny, nx = self.grid
        for z in range(nz):
            for y in range(ny):
                for x in range(nx):
                    if self.blocks[z // 8, y // 8, x // 8]:
                        v = self.read_node(z, y, x)
                        if v:
                            self.q[z, y, x] = v

    def at(self, z: int, y: int, x: int) -> int:
        return self.q.get((z, y, x), 0)

    def read_node(self, z: int, y: int, x: int) -> int:
        e = 0
        for weight, offsets in OFFSETS.items():
            for dz, dy, dx in offsets:
                e += weight * min(abs(self.at(z + dz, y + dy, x + dx)), 1023)
        level = sum(t <= e for t in tables()["thresholds"])
        b = (z // 8, y // 8, x // 8)
        m = 0
        for axis in range(3):
            for step in (-1, 1):
                beside = (b[0] + step * (axis == 0), b[1] + step * (axis == 1), b[2] + step * (axis == 2))
                m += self.blocks.get(beside, 0)
        kind = 0 if m <= 1 else 1 if m <= 4 else 2
        zero = self.model["quiet"][kind] if level == 0 else self.model["busy"][level - 1]
        note(f"quiet kind {kind}" if level == 0 else f"busy model {level - 1}")
        if self.rc.learned(zero) == 0:
            return 0
        s = self.at(z, y, x - 1) + self.at(z, y - 1, x) + self.at(z - 1, y, x)
        k = 0 if s < -2 else 1 if s < 0 else 2 if s == 0 else 3 if s <= 2 else 4
        note(f"sign model {k}")
        positive = self.rc.learned(self.model["sign"][k])
        low = 0
        while e >= 2 ** (low + 8):
            low += 1
        note(f"{low} low bits")
        note(f"magnitude of level {level}")
        high = 0
        while high < 14 and self.rc.learned(self.magnitude[level][high]) == 1:
            high += 1
        if high == 14:
            note("magnitude with an excess")
            high = 14 + self.rc.excess()
        rest = high * 2**low + self.rc.uniform(2**low)
        if rest >= 2**20:
            raise Rejected("integer")
        return rest + 1 if positive else -(rest + 1)


def decode(payload: bytes, count: int, brick_shape: Node) -> bytes:
    """The records [count] of a payload, 22 bytes each."""
    spacing, scale, step = head_of(payload)
    nz, ny, nx = (n // spacing for n in brick_shape)
    nodes = nz * ny * nx
    if nodes == 0:
        raise Rejected("no nodes")
    if nodes > 2**21:
        raise Rejected("too many nodes")
    if count > nodes:
        raise Rejected("more points than nodes")
    note("voxels without a node", any(n % spacing for n in brick_shape))
    code = payload[5:]
    rc = lattice.RangeDecoder(code)
    chunk = Chunk(rc, (nz, ny, nx))
    chunk.read_blocks()
    chunk.read_nodes()
    if len(chunk.q) != count:
        raise Rejected("number of points")
    left_off = rc.taken - len(code)
    if not (left_off == 5 or (left_off == 4 and code[-1] != 0)):
        raise Rejected("end")
    return b"".join(record(node, v, brick_shape, spacing, scale, step) for node, v in chunk.q.items())


def record(node: Node, v: int, brick_shape: Node, spacing: int, scale: float, step: float) -> bytes:
    """Section 5."""
    middle = (spacing - 1) / 2
    position = [i * spacing + middle - (n - 1) / 2 for i, n in zip(node, brick_shape, strict=True)]
    values = [*position, scale, scale, scale, 1.0, 0.0, 0.0, 0.0, v * step]
    if any(abs(value) >= 65520 for value in values):
        raise Rejected("overflow")
    return struct.pack("<11e", *values)
