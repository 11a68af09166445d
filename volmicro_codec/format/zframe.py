"""Zstandard frames whose decompressed size is known and bounded before memory is taken."""

from __future__ import annotations

import zstandard

from ..errors import FormatError


def inflate(data: bytes, *, at_most: int, where: str, exactly: int | None = None) -> bytes:
    """Decompress one frame that says its content size and is all of ``data``.

    Parameters
    ----------
    data : bytes
    at_most : int
        Largest content size allowed.
    where : str
        What is decompressed, for error messages.
    exactly : int, optional
        The content size, where it is known.

    Raises
    ------
    FormatError
    """
    try:
        size = zstandard.get_frame_parameters(data).content_size
    except zstandard.ZstdError as exc:
        raise FormatError(f"{where}: not a zstd frame: {exc}") from None
    if size > at_most or (exactly is not None and size != exactly):
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
