"""Variable-length integers and the bounded byte cursor that metadata is read with."""

from __future__ import annotations

import struct
from typing import cast

import numpy as np
import numpy.typing as npt

from ..errors import FormatError, UsageError

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

MAX_VARINT_BYTES = 9  # 63 bits: every value fits a signed 64-bit integer
VARINT_LIMIT = 1 << 63


def put(value: int) -> bytes:
    """One varint: seven bits a byte, least significant first, high bit set on all bytes but the last."""
    if not 0 <= value < VARINT_LIMIT:
        raise UsageError(f"a varint holds 0 to 2^63 - 1, got {value}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_bytes(data: bytes) -> bytes:
    """A byte string: its length as a varint, then the bytes."""
    return put(len(data)) + data


def put_decimal(value: float) -> bytes:
    """A non-negative finite number, exactly, in as few bytes as its shortest decimal form needs.

    An exponent byte ``e`` (signed) and a varint ``m`` mean m * 10^e rounded to the nearest float64;
    where that would be longer, the byte 0x80 and the float64 itself.
    """
    digits, exponent = _shortest(value)
    if len(put(digits)) < 8 and -128 < exponent < 128:
        return struct.pack("<b", exponent) + put(digits)
    return b"\x80" + struct.pack("<d", value)


def _shortest(value: float) -> tuple[int, int]:
    """The shortest decimal (digits, exponent) that reads back as ``value``."""
    mantissa, _, exponent = f"{float(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).rstrip("0") or "0"
    power = int(exponent or 0) + len(whole) - len(digits)
    return int(digits), power if int(digits) else 0


def zigzag(values: I64) -> I64:
    """Signed to unsigned: 0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
    return (values << 1) ^ (values >> 63)


def unzigzag(values: I64) -> I64:
    """The inverse of `zigzag`."""
    return (values >> 1) ^ -(values & 1)


def put_many(values: I64) -> bytes:
    """Varints of a whole array, one after the other.

    Parameters
    ----------
    values : int64 [N], each at least 0
    """
    v = np.ascontiguousarray(values, np.int64).ravel()
    if v.size == 0:
        return b""
    if int(v.min()) < 0:
        raise UsageError(f"a varint holds no negative number, got {int(v.min())}")
    lengths = np.ones(v.size, np.int64)
    for k in range(1, MAX_VARINT_BYTES):
        lengths += (v >> np.int64(7 * k)) > 0
    ends = np.cumsum(lengths)
    out = np.zeros(int(ends[-1]), np.uint8)
    starts = ends - lengths
    for k in range(int(lengths.max())):
        here = lengths > k
        byte = (v[here] >> np.int64(7 * k)) & 0x7F
        byte |= np.where(lengths[here] > k + 1, 0x80, 0)
        out[starts[here] + k] = byte.astype(np.uint8)
    return out.tobytes()


def get_many(data: bytes | memoryview, count: int, where: str) -> I64:
    """Exactly ``count`` varints that fill ``data``.

    Returns
    -------
    int64 [count]

    Raises
    ------
    FormatError
        Where the bytes hold more, fewer, overlong or too large integers.
    """
    raw: U8 = np.frombuffer(data, np.uint8)
    if count > raw.size:
        raise FormatError(f"{where}: {raw.size} bytes cannot hold {count} varints")
    ends = np.flatnonzero(raw < 0x80)
    if ends.size != count or (count and int(ends[-1]) != raw.size - 1) or (not count and raw.size):
        raise FormatError(f"{where}: expected {count} varints that fill {raw.size} bytes, got {ends.size}")
    if count == 0:
        return np.zeros(0, np.int64)
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    if int(lengths.max()) > MAX_VARINT_BYTES:
        raise FormatError(
            f"{where}: a varint of {int(lengths.max())} bytes, at most {MAX_VARINT_BYTES} allowed"
        )
    if bool(((lengths > 1) & (raw[ends] == 0)).any()):
        raise FormatError(f"{where}: a varint is longer than its value needs")
    out = np.zeros(count, np.int64)
    for k in range(int(lengths.max())):
        here = lengths > k
        out[here] |= (raw[starts[here] + k].astype(np.int64) & 0x7F) << np.int64(7 * k)
    return out


class Cursor:
    """Reads fields off a byte string and never past its end.

    Parameters
    ----------
    data : bytes
    where : str
        What the bytes are, for error messages.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._at = 0
        self.where = where

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        if length > self.left:
            raise FormatError(f"{self.where}: needs {length} bytes at byte {self._at}, only {self.left} left")
        self._at += length
        return self._data[self._at - length : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def u8(self) -> int:
        """An unsigned byte."""
        return self.take(1)[0]

    def f32(self) -> float:
        """A little-endian float32."""
        return cast(float, struct.unpack("<f", self.take(4))[0])

    def varint(self) -> int:
        """A varint below 2^63 in its shortest form."""
        value = 0
        for k in range(MAX_VARINT_BYTES):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * k)
            if byte < 0x80:
                if byte == 0 and k:
                    raise FormatError(f"{self.where}: a varint is longer than its value needs")
                return value
        raise FormatError(f"{self.where}: a varint of more than {MAX_VARINT_BYTES} bytes")

    def decimal(self) -> float:
        """A number as `put_decimal` wrote it; may be any float64, so check it."""
        exponent = cast(int, struct.unpack("<b", self.take(1))[0])
        if exponent == -128:
            return cast(float, struct.unpack("<d", self.take(8))[0])
        return float(f"{self.varint()}e{exponent}")

    def counted(self) -> bytes:
        """A byte string as `put_bytes` wrote it."""
        return self.take(self.varint())

    def text(self) -> str:
        """A counted UTF-8 string without NUL."""
        return to_text(self.counted(), self.where)

    def done(self) -> None:
        """Raise unless everything has been read."""
        if self.left:
            raise FormatError(f"{self.where}: {self.left} bytes too many")


def to_text(data: bytes, where: str) -> str:
    """Bytes as UTF-8 text without NUL, or `FormatError`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise FormatError(f"{where}: text is not UTF-8: {exc.reason} at byte {exc.start}") from None
    if "\0" in text:
        raise FormatError(f"{where}: text holds a NUL")
    return text
