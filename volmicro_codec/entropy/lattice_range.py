"""The writing half of the range coder of both chunk codings, in integers; libvgm reads.

Normative text: spec/vgm-1-lattice.md, "Range coder" (Martin, "Range encoding: an algorithm for removing
redundancy from a digitised message", 1979). A coder is an int64 array (see the index constants).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..jit import njit

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

LOW, RANGE, AT, CACHE, PENDING, STATE_WORDS = 0, 1, 2, 3, 4, 5
WORD = 5  # bytes of the interval's registers
FULL = (1 << 8 * WORD) - 1
TOP = 1 << 8 * (WORD - 1)
SLACK = WORD  # zero bytes that an encoder may leave off the end, and a decoder supplies


@njit(cache=True, nogil=True)
def start_encoding(rc):  # type: ignore[no-untyped-def]
    """Set up `rc` to write; the caller's buffer must be long enough (see `room_for`)."""
    rc[:] = 0
    rc[RANGE] = FULL
    rc[PENDING] = 1


@njit(cache=True, nogil=True)
def _shift_low(rc, buf):  # type: ignore[no-untyped-def]
    low = rc[LOW]
    if low < 255 * TOP or low > FULL:
        carry = low >> 8 * WORD
        byte = rc[CACHE]
        at = rc[AT]
        while rc[PENDING] > 0:
            if at < buf.shape[0]:
                buf[at] = (byte + carry) & 0xFF
            at += 1
            byte = 0xFF
            rc[PENDING] -= 1
        rc[AT] = at
        rc[CACHE] = (low >> 8 * (WORD - 1)) & 0xFF
    rc[PENDING] += 1
    rc[LOW] = (low & (TOP - 1)) << 8


@njit(cache=True, nogil=True)
def _renormalise(rc, buf):  # type: ignore[no-untyped-def]
    while rc[RANGE] < TOP:
        rc[RANGE] <<= 8
        _shift_low(rc, buf)


@njit(cache=True, nogil=True)
def finish_encoding(rc, buf):  # type: ignore[no-untyped-def]
    """Flush; return the length of the code in `buf` counted from its byte 1 (byte 0 is always 0)."""
    low = rc[LOW]
    high = low + rc[RANGE] - 1
    bits = 8 * WORD
    while bits > 0:
        mask = (1 << bits) - 1
        value = (low + mask) & ~mask
        if value <= high:
            low = value
            break
        bits -= 1
    rc[LOW] = low
    for _ in range(WORD + 1):
        _shift_low(rc, buf)
    end = rc[AT]
    for _ in range(SLACK):
        if end > 1 and buf[end - 1] == 0:
            end -= 1
    return end - 1


@njit(cache=True, nogil=True)
def code_bit(rc, buf, p_one, bit):  # type: ignore[no-untyped-def]
    """Code one bit whose probability of being 1 is `p_one` / 65536, 0 < p_one < 65536."""
    bound = (rc[RANGE] * p_one) >> 16
    if bit == 1:
        rc[RANGE] = bound
    else:
        rc[LOW] += bound
        rc[RANGE] -= bound
    if rc[RANGE] < TOP:
        _renormalise(rc, buf)


@njit(cache=True, nogil=True)
def _code_uniform_16(rc, buf, n, value):  # type: ignore[no-untyped-def]
    part = rc[RANGE] // n
    rc[LOW] += part * value
    if value == n - 1:
        rc[RANGE] -= part * (n - 1)
    else:
        rc[RANGE] = part
    _renormalise(rc, buf)


@njit(cache=True, nogil=True)
def code_uniform(rc, buf, n, value):  # type: ignore[no-untyped-def]
    """Code `value`, 0 <= value < n, all values equally likely; 1 <= n < 2^48."""
    if n <= 1:
        return
    if n <= 65536:
        _code_uniform_16(rc, buf, n, value)
        return
    high = value >> 16
    code_uniform(rc, buf, (n + 65535) >> 16, high)
    code_uniform(rc, buf, min(n - (high << 16), np.int64(65536)), value & 65535)


@njit(cache=True, nogil=True)
def code_part(rc, buf, low, high):  # type: ignore[no-untyped-def]
    """Narrow the interval to the parts low <= part < high of 2^20 (the last part takes the remainder)."""
    part = rc[RANGE] >> 20
    rc[LOW] += part * low
    if high == 1 << 20:
        rc[RANGE] -= part * low
    else:
        rc[RANGE] = part * (high - low)
    _renormalise(rc, buf)


def room_for(count: int) -> int:
    """Bytes of buffer that always hold the code of `count` primitives."""
    return 256 * count + 4096
