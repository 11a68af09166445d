"""Zstandard frames whose decompressed size is known and bounded before memory is taken."""

from __future__ import annotations

import zstandard

from ..errors import FormatError

MAGIC = b"\x28\xb5\x2f\xfd"
MAX_WINDOW = 1 << 27


def inflate(data: bytes, *, at_most: int, where: str, exactly: int | None = None) -> bytes:
    """Decompress one frame that says its content size and is all of ``data`` (spec, 1.5).

    Parameters
    ----------
    data : bytes
    at_most : int
        Largest content size allowed; an empty content never is.
    where : str
        What is decompressed, for error messages.
    exactly : int, optional
        The content size, where it is known.

    Raises
    ------
    FormatError
    """
    if data[:4] != MAGIC:
        raise FormatError(f"{where}: not a zstd frame: starts with {data[:4].hex(' ') or 'nothing'}")
    try:
        frame = zstandard.get_frame_parameters(data)
    except zstandard.ZstdError as exc:
        raise FormatError(f"{where}: not a zstd frame: {exc}") from None
    if frame.dict_id:
        raise FormatError(f"{where}: zstd frame needs dictionary {frame.dict_id}, expected none")
    if frame.window_size > MAX_WINDOW:
        raise FormatError(f"{where}: zstd window of {frame.window_size} bytes, expected at most {MAX_WINDOW}")
    size = frame.content_size
    if not 0 < size <= at_most or (exactly is not None and size != exactly):
        expected = f"{exactly}" if exactly is not None else f"at most {at_most}"
        said = "no size" if size == zstandard.CONTENTSIZE_UNKNOWN else f"{size} bytes"
        raise FormatError(f"{where}: zstd frame says {said}, expected {expected}")
    try:
        out = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise FormatError(f"{where}: damaged zstd frame: {exc}") from None
    if len(out) != size:
        raise FormatError(f"{where}: zstd frame holds {len(out)} bytes, says {size}")
    return out
