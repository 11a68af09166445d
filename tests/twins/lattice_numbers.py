"""Whole-number arithmetic and models of the lattice coding in plain Python, after spec/vgm-1-lattice.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from tests.twins.range_code import TOTAL, RangeEncoder

_found = spec_from_file_location(
    "lattice_spec_decoder", Path(__file__).parents[1] / "format" / "lattice_spec_decoder.py"
)
assert _found is not None
assert _found.loader is not None
document: Any = module_from_spec(_found)  # its tables are read from the document
_found.loader.exec_module(document)

ONE = 4096  # of a feature
MEAN_LIMIT = 64 << 16
SPREADS = (1, 2, 4, 12, 60)  # twice the beta-binomial's parameter: from clustered to even
TABLED = 255  # counts above this are split by plain uniform numbers
PRIOR_WEIGHT = 10  # observations that the amplitudes' starting probabilities count for


def clip(v: int, limit: int) -> int:
    return min(max(v, -limit), limit)


def exp2_fixed(e: int) -> int:
    """2^(e / 65536) in units of 2^-30, truncated."""
    r = 1 << 30
    for b in range(15, -1, -1):
        if (e >> b) & 1:
            r = (r * document.tables()["exp2"][0][b] + (1 << 29)) >> 30
    whole = e >> 16
    return r << whole if whole >= 0 else r >> -whole


def log2_fixed(v: int) -> int:
    """About log2(v) in 2^-16, v >= 1: exact at powers of two, straight between them."""
    e = v.bit_length() - 1
    rest = v - (1 << e)
    return (e << 16) + (rest >> (e - 16) if e >= 16 else rest << (16 - e))


def logistic(z: int) -> int:
    """1 / (1 + exp(-z)) in 2^-20, z in 2^-16."""
    table = document.tables()["logistic"][0]
    a = abs(z)
    if a >= 12 << 16:
        f = table[192]
    else:
        i = a >> 12
        f = table[i] + (((table[i + 1] - table[i]) * (a & 4095)) >> 12)
    return int(f if z >= 0 else TOTAL - f)


@cache
def split_table(spread: int, n: int) -> tuple[int, ...]:
    """Cumulative beta-binomial frequencies of 0 .. n, of a total of 2^20."""
    w = [0] * (n + 1)
    m = n >> 1
    w[m] = 1 << 28
    for k in range(m, 0, -1):
        w[k - 1] = w[k] * k * (2 * (n - k) + spread) // ((n - k + 1) * (2 * (k - 1) + spread))
    for k in range(m, n):
        w[k + 1] = w[k] * (n - k) * (2 * k + spread) // ((k + 1) * (2 * (n - k - 1) + spread))
    below = [sum(w[:k]) for k in range(n + 1)]
    return (*(k + below[k] * (TOTAL - n - 1) // sum(w) for k in range(n + 1)), TOTAL)


@dataclass
class Number:
    """What the numbers of one kind are predicted by: weights of the mean and of the log2 of the spread."""

    mean: list[int]
    spread: list[int]
    seen: int = 0

    def code(
        self, code: RangeEncoder, x: Sequence[int], y: Sequence[int], step: int, start: int, q: int
    ) -> None:
        """Write a number whose real value is near q * step by a logistic distribution, and learn from it."""
        mean = clip(sum(w * v for w, v in zip(self.mean, x, strict=True)) >> 12, MEAN_LIMIT)
        spread = sum(w * v for w, v in zip(self.spread, y, strict=True)) >> 12
        scale = exp2_fixed(min(max(spread, -9 << 16), 5 << 16)) >> 14
        inverse = (1 << 40) // scale
        fine = 0
        while step << (fine + 4) < scale:
            fine += 1
        width = step << fine
        reach = 12 * scale // width + 2
        first = (mean + start) // width - reach
        last = first + 2 * reach
        coarse = q >> fine
        at = min(max(coarse, first - 1), last + 1)
        za, zb = (((i * width - start - mean) * inverse) >> 24 for i in (at, at + 1))
        fa, fb = logistic(za), logistic(zb)

        def parts(f: int, i: int) -> int:
            return ((f * (TOTAL - 2 * reach - 3)) >> 20) + i - first + 1

        code.part(parts(fa, at) if at >= first else 0, parts(fb, at + 1) if at <= last else TOTAL)
        if at < first:
            code.excess(at - coarse)
        elif at > last:
            code.excess(coarse - at)
        code.uniform(1 << fine, q & ((1 << fine) - 1))

        # the gradient of the logarithm of the probability of the bin
        za, zb = clip(za, 16 << 16), clip(zb, 16 << 16)
        pull = (3 * scale * (fa + fb - TOTAL)) >> 20
        da, db = ((f * (TOTAL - f)) >> 20 for f in (fa, fb))
        widen = min(max((za * da - zb * db) // max(fb - fa, 1), -65536), 3 << 16)
        rate = 65536 // (min(self.seen, 256) + 16)
        self.seen += 1
        self.mean[0] += (pull * rate) >> 16
        self.spread[0] += (widen * rate) >> 16
        for k in range(1, len(x)):
            self.mean[k] += (pull * x[k]) >> 19
        for k in range(1, len(y)):
            self.spread[k] += (widen * y[k]) >> 20


def _numbers() -> list[Number]:
    said = document.tables()
    return [Number(list(a), list(b)) for a, b in zip(said["means"], said["spreads"], strict=True)]


def _amplitudes() -> list[list[list[int]]]:
    return [[[p << 8, PRIOR_WEIGHT] for p in (128, *row)] for row in document.tables()["amplitude"]]


@dataclass
class Models:
    """All that a chunk learns."""

    numbers: list[Number] = field(default_factory=_numbers)  # class; log z, y, x; skew yz, xz, xy
    amplitudes: list[list[list[int]]] = field(default_factory=_amplitudes)
    sign: list[int] = field(default_factory=lambda: list(document.tables()["sign"][0]))
    mixture: list[list[int]] = field(default_factory=lambda: [[65536 // 5] * 5 for _ in range(4)])

    def code_sign(self, code: RangeEncoder, x: Sequence[int], bit: int) -> None:
        """Write a bit by a logistic regression that learns."""
        z = sum(w * v for w, v in zip(self.sign, x, strict=True))
        p = min(max(logistic(z >> 12) >> 4, 256), 65536 - 256)
        code.bit(p, bit)
        for k in range(3):
            self.sign[k] += (((bit << 16) - p) * x[k]) >> 17

    def code_split(self, code: RangeEncoder, n: int, left: int) -> None:
        """Write how many of n >= 2 are in the first half."""
        if n > TABLED:
            code.uniform(n + 1, left)
            return
        weights = self.mixture[0 if n < 4 else 1 if n < 8 else 2 if n < 32 else 3]
        tables = [split_table(s, n) for s in SPREADS]
        low, high = (
            sum(w * t[k] for w, t in zip(weights, tables, strict=True)) // sum(weights)
            for k in (left, left + 1)
        )
        code.part(low, high)
        gained = [w * (t[left + 1] - t[left]) for w, t in zip(weights, tables, strict=True)]
        weights[:] = [max((g << 16) // sum(gained), 512) for g in gained]

    def code_amplitude(self, code: RangeEncoder, j: int, k: int) -> bool:
        """Write the magnitude k of an amplitude of class j; False where it cannot be."""
        context = min(j, 3)
        shift = j - context
        top = min(k >> shift, 31)
        node = 1
        for b in range(4, -1, -1):
            code.learned(self.amplitudes[context][node], (top >> b) & 1)
            node = node * 2 + ((top >> b) & 1)
        if top == 31:
            if (k >> shift) - 31 > (1 << 25) - 2:
                return False
            code.excess((k >> shift) - 31)
        if k >> 53:
            return False
        code.uniform(1 << shift, k & ((1 << shift) - 1))
        return k >= 1
