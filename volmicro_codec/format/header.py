"""The fixed 32-byte header: what the file is, and how long each of its sections is."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from ..errors import ChecksumError, FormatError, UnsupportedFeatureError, UsageError

MAGIC = b"\x89VGM\r\n\x1a\n"
MAJOR = 1
MINOR = 0
HEADER_BYTES = 32
_LAYOUT = struct.Struct("<8sBBBBIIQI")
assert _LAYOUT.size == HEADER_BYTES
_CHECKED = HEADER_BYTES - 4  # bytes before the checksum

PACKED = 1
"""Must-understand flag of a packed file, which holds many files (spec, vgm-1-packed.md)."""
PACKED_MINOR = 1
KNOWN_FLAGS = PACKED
MAX_PAYLOAD = 1 << 62


@dataclass(frozen=True)
class Header:
    """Lengths of the sections, and the check of all but the payload.

    Attributes
    ----------
    metadata_length, index_length, payload_length : int
        Bytes.
    crc32 : int
        CRC-32 of the header's bytes before it, the metadata and the index.
    minor : int
    required_flags, ignorable_flags : int
    """

    metadata_length: int
    index_length: int
    payload_length: int
    crc32: int = 0
    minor: int = MINOR
    required_flags: int = 0
    ignorable_flags: int = 0

    @property
    def is_packed(self) -> bool:
        """Whether it is of a packed file."""
        return bool(self.required_flags & PACKED)

    @property
    def payload_start(self) -> int:
        """Byte of the file at which the first chunk starts."""
        return HEADER_BYTES + self.metadata_length + self.index_length

    @property
    def file_size(self) -> int:
        """Bytes of the whole file."""
        return self.payload_start + self.payload_length


def pack(header: Header, body: bytes) -> bytes:
    """The 32 bytes of a header, with the checksum of itself and ``body`` (metadata and index)."""
    if max(header.metadata_length, header.index_length) >= 1 << 32 or header.payload_length > MAX_PAYLOAD:
        raise UsageError("metadata and index are at most 4 GiB each, the payload 2^62 bytes")
    flags = (header.required_flags, header.ignorable_flags)
    lengths = (header.metadata_length, header.index_length, header.payload_length)
    start = _LAYOUT.pack(MAGIC, MAJOR, header.minor, *flags, *lengths, 0)[:_CHECKED]
    return start + struct.pack("<I", zlib.crc32(body, zlib.crc32(start)))


def parse(data: bytes) -> Header:
    """Read the first 32 bytes of a file; nothing but magic, version and limits is checked yet.

    Raises
    ------
    FormatError
        Not a .vgm file, or cut short.
    UnsupportedFeatureError
        Another major version.
    """
    if data[: len(MAGIC)] != MAGIC[: len(data)] or len(data) == 0:
        raise FormatError(f"not a .vgm file: starts with {data[:8].hex(' ') or 'nothing'}")
    if len(data) < HEADER_BYTES:
        raise FormatError(f"cut short: {len(data)} bytes, the header alone has {HEADER_BYTES}")
    _, major, minor, required, ignorable, meta, index, payload, crc = _LAYOUT.unpack(data[:HEADER_BYTES])
    if major != MAJOR:
        raise UnsupportedFeatureError(f"format version {major}.{minor}: this release reads {MAJOR}.x")
    if payload > MAX_PAYLOAD:
        raise FormatError(f"header: payload length {payload} is over the limit of 2^62")
    return Header(meta, index, payload, crc, minor, required, ignorable)


def verify(header: Header, head: bytes) -> None:
    """Check the bytes before the payload against the checksum, then the flags.

    Parameters
    ----------
    header : Header
    head : bytes
        Header, metadata and index; what comes after is ignored.

    Raises
    ------
    ChecksumError
    UnsupportedFeatureError
        A must-understand flag that is not known.
    """
    crc = zlib.crc32(head[HEADER_BYTES : header.payload_start], zlib.crc32(head[:_CHECKED]))
    if crc != header.crc32:
        raise ChecksumError(
            f"header, metadata and index: checksum {crc:#010x}, expected {header.crc32:#010x}"
        )
    unknown = [bit for bit in range(8) if (header.required_flags & ~KNOWN_FLAGS) >> bit & 1]
    if unknown:
        bits = ", ".join(str(bit) for bit in unknown)
        raise UnsupportedFeatureError(f"header: must-understand flag bit {bits} is not known to this release")
