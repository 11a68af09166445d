"""The range coder of both chunk codings in plain Python, after spec/vgm-1-lattice.md, "Range coder".

The interval's lower end is one whole number, so that nothing is ever carried.
"""

from __future__ import annotations

FULL, TOP, WORD = (
    (1 << 40) - 1,
    1 << 32,
    5,
)  # WORD: bytes of an interval, and of zeros that a decoder supplies
TOTAL = 1 << 20
LIMIT = 96  # observations after which a bit stops slowing down


class RangeEncoder:
    """Writes symbols; `finish` gives the code."""

    def __init__(self) -> None:
        self.low, self.range, self.shifts = 0, FULL, 0

    def _narrow(self, below: int, size: int) -> None:
        self.low += below
        self.range = size
        while self.range < TOP:
            self.low <<= 8
            self.range <<= 8
            self.shifts += 1

    def bit(self, p: int, bit: int) -> None:
        """One bit that is 1 with probability p / 65536."""
        bound = (self.range * p) >> 16
        if bit:
            self._narrow(0, bound)
        else:
            self._narrow(bound, self.range - bound)

    def part(self, low: int, high: int) -> None:
        """Parts low <= part < high of 2^20; the last takes the remainder."""
        part = self.range >> 20
        size = self.range - part * low if high == TOTAL else part * (high - low)
        self._narrow(part * low, size)

    def uniform(self, n: int, value: int) -> None:
        """One of n, all as likely."""
        if n <= 1:
            return
        if n > 65536:
            high = value >> 16
            self.uniform((n + 65535) >> 16, high)
            self.uniform(min(n - (high << 16), 65536), value & 65535)
            return
        part = self.range // n
        self._narrow(part * value, self.range - part * (n - 1) if value == n - 1 else part)

    def excess(self, value: int) -> None:
        """A number from 0 on as an exp-Golomb code."""
        prefix = 0
        while prefix < 24:
            more = int((value + 1) >> (prefix + 1) > 0)
            self.uniform(2, more)
            if not more:
                break
            prefix += 1
        self.uniform(1 << prefix, value + 1 - (1 << prefix))

    def learned(self, model: list[int], bit: int) -> None:
        """One bit by a model: [probability of a 1 in 1/65536, observations]."""
        self.bit(model[0], bit)
        learn(model, bit)

    def finish(self) -> bytes:
        """The code: of all numbers in the interval the one that ends in most zeros, without them."""
        high = self.low + self.range - 1
        for bits in range(8 * WORD, 0, -1):
            value = -(-self.low >> bits) << bits
            if value <= high:
                break
        else:
            value = self.low
        code = value.to_bytes(self.shifts + WORD, "big")
        return code[: len(code) - WORD] + code[len(code) - WORD :].rstrip(b"\0")


def learn(model: list[int], bit: int) -> None:
    """Let a model learn a bit."""
    p, n = model
    p += (((bit << 16) - p) * (131072 // (2 * n + 3))) >> 16
    model[:] = min(max(p, 64), 65536 - 64), min(n + 1, LIMIT)
