"""Zarr's chunks in Blosc's format, which takes its header's word for how many bytes follow.

Of a chunk that was cut short it reads on in memory that is not its own: what comes is whatever lies there, or
the process dies. So while a hierarchy is opened (`checked_blosc`) its arrays get codecs that look first.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numcodecs
import zarr
from numcodecs.registry import codec_registry
from zarr.codecs import BloscCodec
from zarr.registry import register_codec

HEADER_BYTES = 16
"""Of which the last four are the bytes of the chunk with its header, little-endian (c-blosc,
README_CHUNK_FORMAT)."""

_turn = threading.Lock()
_within: list[None] = []  # one for each context that is open
_before: list[Any] = []  # what puts Zarr's configuration back


def check_whole(chunk: Any) -> None:
    """Raise where a chunk, anything with a buffer, has fewer bytes than its header says.

    Raises
    ------
    ValueError
    """
    held = memoryview(chunk).cast("B")
    said = int.from_bytes(held[12:HEADER_BYTES], "little") if len(held) >= HEADER_BYTES else HEADER_BYTES
    if len(held) < max(said, HEADER_BYTES):
        raise ValueError(f"a chunk was cut short: {len(held)} bytes of {said}")


class CheckedBlosc(numcodecs.Blosc):  # type: ignore[misc]
    """Blosc of Zarr 2."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The bytes of a chunk."""
        check_whole(buf)
        return super().decode(buf, out)


class CheckedBloscCodec(BloscCodec):
    """Blosc of Zarr 3."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        check_whole(chunk_bytes.as_numpy_array())
        return await super()._decode_single(chunk_bytes, chunk_spec)


register_codec("blosc", CheckedBloscCodec)  # beside Zarr's own, which is what its configuration asks for


@contextlib.contextmanager
def checked_blosc() -> Iterator[None]:
    """A context in which arrays that are opened get the codecs of this module."""
    name = f"{CheckedBloscCodec.__module__}.{CheckedBloscCodec.__qualname__}"
    with _turn:
        if not _within:
            codec_registry["blosc"] = CheckedBlosc
            _before.append(zarr.config.set({"codecs.blosc": name}))
        _within.append(None)
    try:
        yield
    finally:
        with _turn:  # what was before is put back by the last to leave
            _within.pop()
            if not _within:
                _before.pop().__exit__(None, None, None)
                codec_registry["blosc"] = numcodecs.Blosc
