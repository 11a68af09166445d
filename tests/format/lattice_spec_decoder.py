"""A second decoder of lattice chunks, written from spec/vgm-1-lattice.md; its tables are read from there."""

from __future__ import annotations

import math
import re
import struct
from bisect import bisect_right
from functools import cache
from itertools import accumulate
from pathlib import Path

SPEC = Path(__file__).parents[2] / "spec" / "vgm-1-lattice.md"


reached: set[str] = set()
"""Which of the paths of the document have been taken, for the test that the vectors take them all."""


def note(what: str, when: bool = True) -> None:
    if when:
        reached.add(what)


class Rejected(Exception):
    """The spec says to reject the chunk."""


def _block(text: str, after: str) -> list[int]:
    """The first indented block of nothing but numbers after a phrase."""
    rest = text[text.index(after) :]
    found = re.search(r"\n\n((?:    [-0-9 ]+\n)+)", rest)
    assert found is not None, after
    return [int(v) for v in found.group(1).split()]


@cache
def tables() -> dict[str, list[list[int]]]:
    """EXP2, LOGISTIC, weights and models as the spec prints them."""
    text = SPEC.read_text()
    priors = text[text.index("### 5.1 Priors") :]
    means, spreads = [], []
    for name in ("class", "log z", "log y", "log x", "skew yz", "skew xz", "skew xy"):
        row = re.search(rf"\n\| {name} \| ([-0-9 ]+) \| ([-0-9 ]+) \|", priors)
        assert row is not None, name
        means.append([int(v) for v in row.group(1).split()])
        spreads.append([int(v) for v in row.group(2).split()])
    sign = re.search(r"Starting weights of the sign: ([-0-9 ]+)\.", priors)
    assert sign is not None
    return {
        "exp2": [_block(text, "EXP2[0 .. 15]")],
        "logistic": [_block(text, "LOGISTIC[0 .. 192]")],
        "means": means,
        "spreads": spreads,
        "sign": [[int(v) for v in sign.group(1).split()]],
        "amplitude": [_block(priors, f"Context {c}:") for c in range(4)],
    }


def clip(v: int, limit: int) -> int:
    return min(max(v, -limit), limit)


def exp2(e: int) -> int:
    r = 1 << 30
    for b in range(15, -1, -1):
        if ((e & 65535) >> b) & 1:
            r = (r * tables()["exp2"][0][b] + (1 << 29)) >> 30
    w = e >> 16
    return r << w if w >= 0 else r >> -w


def log2(v: int) -> int:
    n = v.bit_length() - 1
    return (n << 16) + (((v - (1 << n)) << 16) >> n)


def logistic(z: int) -> int:
    table = tables()["logistic"][0]
    a = abs(z)
    note("logistic beyond its table", a >= 12 * 65536)
    if a >= 12 * 65536:
        f = table[192]
    else:
        i = a >> 12
        f = table[i] + (((table[i + 1] - table[i]) * (a & 4095)) >> 12)
    return f if z >= 0 else (1 << 20) - f


def step(code: int, j: int) -> int:
    note("step of 1, the least", ((code - 128) << 11) - (j << 16) < -16 * 65536)
    return max(1, exp2(max(((code - 128) << 11) - (j << 16), -20 * 65536)) >> 14)


@cache
def split_table(s: int, n: int) -> list[int]:
    spread = (1, 2, 4, 12, 60)[s]
    w = [0] * (n + 1)
    w[n >> 1] = 1 << 28
    for k in range(n >> 1, 0, -1):
        w[k - 1] = w[k] * k * (2 * (n - k) + spread) // ((n - k + 1) * (2 * (k - 1) + spread))
    for k in range(n >> 1, n):
        w[k + 1] = w[k] * (n - k) * (2 * k + spread) // ((k + 1) * (2 * (n - k - 1) + spread))
    below = [0, *accumulate(w)]
    return [k + below[k] * ((1 << 20) - n - 1) // below[-1] for k in range(n + 1)] + [1 << 20]


class RangeDecoder:
    def __init__(self, payload: bytes) -> None:
        self.payload, self.taken, self.code = payload, 0, 0
        self.range = (1 << 40) - 1
        for _ in range(5):
            self.code = (self.code << 8) + self.byte()
        if self.code == self.range:
            raise Rejected("start")

    def byte(self) -> int:
        self.taken += 1
        if self.taken > len(self.payload) + 5:
            raise Rejected("past the end")
        return self.payload[self.taken - 1] if self.taken <= len(self.payload) else 0

    def renormalise(self) -> None:
        while self.range < 1 << 32:
            self.range <<= 8
            self.code = (self.code << 8) + self.byte()

    def bit(self, p: int) -> int:
        bound = (self.range * p) >> 16
        if self.code < bound:
            bit, self.range = 1, bound
        else:
            bit, self.code, self.range = 0, self.code - bound, self.range - bound
        self.renormalise()
        return bit

    def target(self) -> int:
        return min(self.code // (self.range >> 20), (1 << 20) - 1)

    def part(self, low: int, high: int) -> None:
        note("part at the top", high == 1 << 20)
        part = self.range >> 20
        self.code -= part * low
        self.range = self.range - part * low if high == 1 << 20 else part * (high - low)
        self.renormalise()

    def uniform(self, n: int) -> int:
        if n == 1:
            note("uniform of 1")
            return 0
        note("uniform of two parts", n > 65536)
        if n <= 65536:
            part = self.range // n
            v = min(self.code // part, n - 1)
            self.code -= part * v
            self.range = self.range - part * v if v == n - 1 else part
            self.renormalise()
            return v
        h = self.uniform((n + 65535) >> 16)
        return (h << 16) + self.uniform(min(n - (h << 16), 65536))

    def excess(self) -> int:
        prefix = 0
        while prefix < 24 and self.uniform(2) == 1:
            prefix += 1
        note("excess with the longest prefix", prefix == 24)
        return (1 << prefix) - 1 + self.uniform(1 << prefix)

    def learned(self, model: list[int]) -> int:
        p, n = model
        bit = self.bit(p)
        p += (((bit << 16) - p) * (131072 // (2 * n + 3))) >> 16
        note("learned bit at its least probability", p < 64)
        note("learned bit at its slowest", n == 96)
        model[:] = [min(max(p, 64), 65472), min(n + 1, 96)]
        return bit


class Predicted:
    def __init__(self, kind: int) -> None:
        self.a, self.b = list(tables()["means"][kind]), list(tables()["spreads"][kind])
        self.seen = 0

    def read(self, rc: RangeDecoder, step: int, start: int, x: list[int], y: list[int]) -> int:
        mean = clip(sum(a * v for a, v in zip(self.a, x, strict=True)) >> 12, 64 * 65536)
        spread = sum(b * v for b, v in zip(self.b, y, strict=True)) >> 12
        note("spread at its least", spread < -9 * 65536)
        note("spread at its greatest", spread > 5 * 65536)
        spread = min(max(spread, -9 * 65536), 5 * 65536)
        scale = exp2(spread) >> 14
        inverse = (1 << 40) // scale
        fine = 0
        while (step << (fine + 4)) < scale:
            fine += 1
        note("fine above 0", fine > 0)
        width = step << fine
        reach = (12 * scale) // width + 2
        first = (mean + start) // width - reach
        last = first + 2 * reach

        def z(i: int) -> int:
            return ((i * width - start - mean) * inverse) >> 24

        def c(i: int) -> int:
            if i < first:
                return 0
            if i > last + 1:
                return 1 << 20
            return ((logistic(z(i)) * ((1 << 20) - 2 * reach - 3)) >> 20) + i - first + 1

        target = rc.target()
        i = first - 2 + bisect_right(range(first - 1, last + 2), target, key=c)
        rc.part(c(i), c(i + 1))
        h = i
        if i == first - 1:
            note("number below what its distribution reaches")
            h = i - rc.excess()
        elif i == last + 1:
            note("number above what its distribution reaches")
            h = i + rc.excess()
        q = (h << fine) + rc.uniform(1 << fine)

        za, zb = clip(z(i), 16 * 65536), clip(z(i + 1), 16 * 65536)
        fa, fb = logistic(za), logistic(zb)
        pull = (3 * scale * (fa + fb - (1 << 20))) >> 20
        da, db = (fa * ((1 << 20) - fa)) >> 20, (fb * ((1 << 20) - fb)) >> 20
        note("bin of no probability", fb == fa)
        widen = (za * da - zb * db) // max(fb - fa, 1)
        note("widen at its least", widen < -65536)
        note("widen at its greatest", widen > 196608)
        widen = min(max(widen, -65536), 196608)
        note("weights at their slowest", self.seen > 256)
        rate = 65536 // (min(self.seen, 256) + 16)
        self.seen += 1
        moves_a = [(pull * rate) >> 16] + [(pull * v) >> 19 for v in x[1:]]
        moves_b = [(widen * rate) >> 16] + [(widen * v) >> 20 for v in y[1:]]
        self.a = [a + m for a, m in zip(self.a, moves_a, strict=True)]
        self.b = [b + m for b, m in zip(self.b, moves_b, strict=True)]
        return q


Box = tuple[list[int], list[int], int, int]


def cells(
    rc: RangeDecoder, brick_shape: tuple[int, int, int], count: int
) -> list[tuple[list[int], list[int]]]:
    margins = [rc.excess() for _ in range(6)]
    if max(margins) > 16384:
        raise Rejected("margin")
    half = [n * 32768 for n in brick_shape]
    low = [-half[a] - (margins[a] << 16) for a in range(3)]
    high = [half[a] + (margins[3 + a] << 16) for a in range(3)]
    first, n = 0, count
    stack: list[Box] = []
    for side in range(6):
        if margins[side] == 0:
            continue
        axis = side % 3
        m = rc.excess()
        if m > n:
            raise Rejected("margin count")
        note(f"margin {'zyx'[axis]} {'below' if side < 3 else 'above'} with primitives", m > 0)
        part_low, part_high = list(low), list(high)
        if side < 3:
            part_high[axis] = low[axis] = -half[axis]
            stack.append((part_low, part_high, first, m))
            first += m
        else:
            part_low[axis] = high[axis] = half[axis]
            stack.append((part_low, part_high, first + n - m, m))
        n -= m
    stack.append((low, high, first, n))
    out: list[tuple[list[int], list[int]]] = [([], [])] * count
    mixture = [[13107] * 5 for _ in range(4)]
    while stack:
        low, high, first, n = stack.pop()
        if n == 0:
            continue
        sides = [h - lo for lo, h in zip(low, high, strict=True)]
        axis = sides.index(max(sides))
        note("several primitives in a cell", n > 1 and sides[axis] <= 32768)
        note(f"split along {'zyx'[axis]}", n > 1 and sides[axis] > 32768)
        if n == 1 or sides[axis] <= 32768:
            out[first : first + n] = [(low, high)] * n
            continue
        middle = low[axis] + (sides[axis] >> 1)
        k = split(rc, mixture, n)
        right_low, left_high = list(low), list(high)
        right_low[axis] = left_high[axis] = middle
        stack.append((right_low, high, first + k, n - k))
        stack.append((low, left_high, first, k))
    return out


def split(rc: RangeDecoder, mixture: list[list[int]], n: int) -> int:
    if n > 255:
        note("split of more than 255")
        return rc.uniform(n + 1)
    bucket = 0 if n < 4 else 1 if n < 8 else 2 if n < 32 else 3
    note(f"split of bucket {bucket}")
    m = mixture[bucket]
    c = [split_table(s, n) for s in range(5)]

    def mixed(k: int) -> int:
        return sum(m[s] * c[s][k] for s in range(5)) // sum(m)

    k = bisect_right(range(n + 1), rc.target(), key=mixed) - 1
    rc.part(mixed(k), mixed(k + 1))
    g = [m[s] * (c[s][k + 1] - c[s][k]) for s in range(5)]
    note("mixture weight at its least", min(g) << 16 < 512 * sum(g))
    m[:] = [max((v << 16) // sum(g), 512) for v in g]
    return k


def decode(payload: bytes, count: int, shared: bytes, brick_shape: tuple[int, int, int]) -> bytes:
    """The records [count] of a payload, 22 bytes each."""
    if len(shared) != 5:
        raise Rejected("parameters")
    dc_code, log_code, skew_code, position_code = struct.unpack("<hBBB", shared)
    if abs(dc_code) > 7680:
        raise Rejected("dc")
    e = dc_code << 8
    dc = float(exp2(e & 65535)) * 2.0 ** ((e >> 16) - 30)
    if count > 1 << 20:
        raise Rejected("count")
    if max(brick_shape) > 16384:
        raise Rejected("brick")
    rc = RangeDecoder(payload)
    where = cells(rc, brick_shape, count)
    numbers = [Predicted(kind) for kind in range(7)]
    signs = list(tables()["sign"][0])
    trees = [[[128, 10]] + [[p * 256, 10] for p in row] for row in tables()["amplitude"]]
    late_class, late_sign, late_log, late_skew, late_size = 163840, 0, [32768] * 3, [0] * 3, [-32768] * 3
    out = b""
    for low, high in where:
        extent = sum(log2(h - lo) - 16 * 65536 for lo, h in zip(low, high, strict=True))
        room = clip(((extent // 3) >> 4) - 6554, 16384)

        x = [4096, room, clip((late_class >> 4) - 10240, 16384)]
        j = numbers[0].read(rc, 65536, 32768, x, [4096])
        if not 0 <= j <= 40:
            raise Rejected("class")
        late_class += ((j << 16) - late_class) >> 2
        strength = clip((j << 12) // 3 - 3277, 16384)

        factors = [4096, strength, late_sign >> 4]
        p = logistic(sum(s * f for s, f in zip(signs, factors, strict=True)) >> 12) >> 4
        note("sign at its least probability", p < 256)
        note("sign at its greatest probability", p > 65280)
        p = min(max(p, 256), 65280)
        bit = rc.bit(p)
        note("positive" if bit else "negative")
        signs = [s + ((((bit << 16) - p) * f) >> 17) for s, f in zip(signs, factors, strict=True)]
        sign = 1 if bit else -1
        late_sign += (sign * 65536 - late_sign) >> 2

        context = min(j, 3)
        note(f"amplitude context {context}")
        node = 1
        for _ in range(5):
            node = 2 * node + rc.learned(trees[context][node])
        t = node - 32
        note("amplitude below its tree's first bits", t == 0)
        if t == 31:
            note("amplitude with an excess")
            t += rc.excess()
        if t >= 1 << (53 - (j - context)):
            raise Rejected("amplitude above 53 bits")
        k = (t << (j - context)) + rc.uniform(1 << (j - context))
        if k == 0:
            raise Rejected("amplitude 0")

        log_step, skew_step = step(log_code, j), step(skew_code, j)
        symbols: list[int] = []
        log: list[int] = []
        for a in range(3):
            x = [4096, strength, room, clip((late_log[a] >> 4) - 2048, 16384), sign * 4096]
            x += [clip((v >> 4) - 2048, 16384) for v in log]
            q = numbers[1 + a].read(rc, log_step, log_step >> 1, x, [4096, strength, room])
            symbols.append(q)
            log.append(q * log_step)
            late_log[a] += (clip(log[a], 16 * 65536) - late_log[a]) >> 2
        skew: list[int] = []
        size: list[int] = []
        for i, (row, column) in enumerate(((1, 0), (2, 0), (2, 1))):
            x = [4096, late_skew[i] >> 4]
            if i == 2:
                x.append((clip(skew[0], 98304) * clip(skew[1], 131072)) >> 20)
            y = [
                4096,
                strength,
                clip((log[column] - log[row]) >> 4, 16384),
                clip((log[column] >> 4) - 2048, 16384),
                room,
                (late_size[i] >> 4) + 2048,
            ]
            y += [(v >> 4) + 2048 for v in size]
            if i < 2:
                q = numbers[4 + i].read(rc, skew_step, skew_step >> 1, x, y)
            else:
                odd = sum(symbols) & 1
                note("odd sum" if odd else "even sum")
                q = 2 * numbers[6].read(rc, 2 * skew_step, (1 - odd) * skew_step, x, y) + odd
            symbols.append(q)
            skew.append(q * skew_step)
            size.append(clip(log2(abs(skew[i]) + 16384) - 16 * 65536, 131072))
            late_skew[i] += (clip(skew[i], 131072) - late_skew[i]) >> 2
            late_size[i] += (size[i] - late_size[i]) >> 2

        if not all(-5 * 65536 <= v <= 10 * 65536 for v in log):
            raise Rejected("pivot")
        if max(map(abs, skew)) > 64 * 65536:
            raise Rejected("off-diagonal")
        zz, yy, xx = (exp2(v) >> 14 for v in log)
        yz, xz, xy = ((s * f + 32768) >> 16 for s, f in zip(skew, (yy, xx, xx), strict=True))
        factor = (zz, yy, xx, yz, xz, xy)
        position_step = step(position_code, j)
        b = [(f * position_step + 32768) >> 16 for f in factor]
        note("vector of the least length", min(b[:3]) < 1)
        b[:3] = [max(v, 1) for v in b[:3]]

        def point(a: int, offset: int, side: int, low: list[int] = low, high: list[int] = high) -> int:
            first = -((offset - low[a]) // side)
            number = -((offset - high[a]) // side) - first
            if number <= 0:
                raise Rejected("centre")
            return first + rc.uniform(number)

        n_z = point(0, 0, b[0])
        offset_y = n_z * b[3]
        if abs(offset_y) > 1 << 34:
            raise Rejected("offset")
        n_y = point(1, offset_y, b[1])
        offset_x = n_z * b[4] + n_y * b[5] + ((n_z + n_y) & 1) * b[2]
        n_x = point(2, offset_x, 2 * b[2])
        centre = (n_z * b[0], offset_y + n_y * b[1], offset_x + n_x * 2 * b[2])
        out += record(centre, factor, sign * k, dc)
    left_off = rc.taken - len(payload)
    note(f"code that ends {left_off} bytes after the payload")
    if left_off not in (4, 5) or (left_off == 4 and payload[-1] == 0):
        raise Rejected("end")
    return out


def record(centre: tuple[int, int, int], factor: tuple[int, ...], amplitude: int, dc: float) -> bytes:
    unit = 2.0**-16
    zz, yy, xx, yz, xz, xy = (float(f) * unit for f in factor)
    m = [[zz, 0.0, 0.0], [yz, yy, 0.0], [xz, xy, xx]]
    intensity = (float(amplitude) * dc) / (float.fromhex("0x1.2e0ba61625c5dp+1") * math.sqrt(zz * yy * xx))
    for _ in range(6):
        for p, q in ((0, 1), (0, 2), (1, 2)):
            a = m[0][p] * m[0][p] + m[1][p] * m[1][p] + m[2][p] * m[2][p]
            b = m[0][q] * m[0][q] + m[1][q] * m[1][q] + m[2][q] * m[2][q]
            g = m[0][p] * m[0][q] + m[1][p] * m[1][q] + m[2][p] * m[2][q]
            if g == 0:
                note("columns that are orthogonal")
                continue
            z = (b - a) / (2 * g)
            t = 1 / (abs(z) + math.sqrt(1 + z * z))
            if z < 0:
                t = -t
            c = 1 / math.sqrt(1 + t * t)
            s = c * t
            for r in range(3):
                u, v = m[r][p], m[r][q]
                m[r][p], m[r][q] = c * u - s * v, s * u + c * v
    scale = [math.sqrt(m[0][i] * m[0][i] + m[1][i] * m[1][i] + m[2][i] * m[2][i]) for i in range(3)]
    place = [0, 1, 2]
    for a, b in ((0, 1), (1, 2), (0, 1)):
        note(f"{'swap' if scale[place[b]] > scale[place[a]] else 'no swap'} of places {a} and {b}")
        if scale[place[b]] > scale[place[a]]:
            place[a], place[b] = place[b], place[a]
    R = [[m[r][place[i]] / scale[place[i]] for i in range(2)] + [0.0] for r in range(3)]
    R[0][2] = R[1][0] * R[2][1] - R[2][0] * R[1][1]
    R[1][2] = R[2][0] * R[0][1] - R[0][0] * R[2][1]
    R[2][2] = R[0][0] * R[1][1] - R[1][0] * R[0][1]
    trace = R[0][0] + R[1][1] + R[2][2]
    if trace > R[0][0] and trace > R[1][1] and trace > R[2][2]:
        note("quaternion by w")
        d = math.sqrt(1 + trace) * 2
        h = [d / 4, (R[2][1] - R[1][2]) / d, (R[0][2] - R[2][0]) / d, (R[1][0] - R[0][1]) / d]
    elif R[0][0] >= R[1][1] and R[0][0] >= R[2][2]:
        note("quaternion by i")
        d = math.sqrt(1 + R[0][0] - R[1][1] - R[2][2]) * 2
        h = [(R[2][1] - R[1][2]) / d, d / 4, (R[0][1] + R[1][0]) / d, (R[0][2] + R[2][0]) / d]
    elif R[1][1] >= R[2][2]:
        note("quaternion by j")
        d = math.sqrt(1 + R[1][1] - R[0][0] - R[2][2]) * 2
        h = [(R[0][2] - R[2][0]) / d, (R[0][1] + R[1][0]) / d, d / 4, (R[1][2] + R[2][1]) / d]
    else:
        note("quaternion by k")
        d = math.sqrt(1 + R[2][2] - R[0][0] - R[1][1]) * 2
        h = [(R[1][0] - R[0][1]) / d, (R[0][2] + R[2][0]) / d, (R[1][2] + R[2][1]) / d, d / 4]
    if next(v for v in h if v != 0) < 0:
        note("quaternion with its sign changed")
        h = [-v for v in h]
    values = [float(c) * unit for c in centre] + [scale[p] for p in place] + h + [intensity]
    halves = b""
    for v in values:
        if abs(v) >= 65520:
            raise Rejected("overflow")
        half = struct.pack("<e", v)
        note("-0 in a record", half == b"\0\x80")
        note("subnormal value in a record", 0 < abs(v) < 2.0**-14)
        halves += b"\0\0" if half == b"\0\x80" else half
    return halves
