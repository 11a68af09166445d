"""Chunks of a Zarr v3 array as .vgm files: an array-to-bytes codec that reads of a chunk what a slice needs.

Every stored chunk is a whole file of the format, of the chunk's box or, at the far walls of the array, of as
much of it as there is. A chunk that is not there has the array's fill value, as with any codec.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import zarr
import zarr.core.sync
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.abc.store import RangeByteRequest
from zarr.core.common import JSON, parse_named_configuration
from zarr.registry import register_codec

from ..decoder import open as open_vgm
from ..decoder.chunk_box import read_box
from ..errors import FormatError, UnsupportedFeatureError, UsageError
from ..format.header import HEADER_BYTES, parse
from ..format.reader import FIRST_READ
from ..volume import SUPPORTED_DTYPES, Volume

NAME = "vgm"
VERSION = 1
DECODING = 16
"""Chunks that wait for their bytes, or are decoded, at once."""
ENDING = 5.0
"""Seconds that what is under way has to end when the process does."""

Voxels = npt.NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """How files are decoded, of which metadata say nothing.

    Attributes
    ----------
    device : str
    threads : int or None
        Of each file.
    unrounded : numpy.dtype or None
        Of the files, where voxels are float32 and not rounded to it.
    """

    device: str = "auto"
    threads: int | None = None
    unrounded: np.dtype[Any] | None = None


@dataclass(frozen=True)
class VgmCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """The codec ``vgm`` of Zarr v3.

    Attributes
    ----------
    version : int
        Of this configuration, 1.
    settings : dict
        What chunks are encoded with: fields of `EncodeSettings`. Reading needs none of them.
    reading : Reading
        See `read_by`.

    Raises
    ------
    UnsupportedFeatureError
        By the constructor, where the configuration is of a later version.
    """

    is_fixed_size = False

    version: int = VERSION
    settings: dict[str, JSON] = field(default_factory=dict)
    reading: Reading = field(default=Reading(), init=False)

    def __init__(self, *, version: int = VERSION, **settings: JSON) -> None:
        if not isinstance(version, int) or not 1 <= version <= VERSION:
            raise UnsupportedFeatureError(
                f"Zarr codec {NAME!r}: configuration of version {version!r}, expected 1 to {VERSION}"
            )
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "settings", dict(settings))

    def __hash__(self) -> int:
        return hash((self.version, tuple(sorted(self.settings))))

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        _, configuration = parse_named_configuration(data, NAME, require_configuration=False)
        return cls(**(configuration or {}))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, JSON]:
        return {"name": NAME, "configuration": {"version": self.version, **self.settings}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise `UsageError` for an array whose chunks are no volumes."""
        check_kind(len(shape), np.dtype(dtype.to_native_dtype()))

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: Any) -> int:
        raise NotImplementedError  # which is how a codec of Zarr says that sizes vary

    async def _encode_single(self, chunk_array: Any, chunk_spec: Any) -> Any:
        voxels = np.ascontiguousarray(chunk_array.as_numpy_array())
        data = await _in_thread(encode_chunk, voxels, self.settings)
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        every = (slice(None),) * len(chunk_spec.shape)
        voxels = await _in_thread(_part, chunk_bytes.to_bytes(), every, chunk_spec, self.reading)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(voxels)

    async def _decode_partial_single(self, byte_getter: Any, selection: Any, chunk_spec: Any) -> Any:
        source = await _GetterSource.of(byte_getter, chunk_spec.prototype)
        if source is None:
            return None
        voxels = await _in_thread(_part, source, selection, chunk_spec, self.reading)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(voxels)


def check_kind(ndim: int, dtype: np.dtype[Any]) -> None:
    """Raise `UsageError` unless chunks of such arrays are volumes."""
    if not 3 <= ndim <= 5:
        raise UsageError(
            f"Zarr codec {NAME!r}: an array of {ndim} dimensions, expected 3 to 5 that end in z, y, x"
        )
    if dtype.newbyteorder("=").name not in SUPPORTED_DTYPES:
        raise UsageError(
            f"Zarr codec {NAME!r}: dtype {dtype.name}, expected one of {', '.join(SUPPORTED_DTYPES)}"
        )


def encode_chunk(voxels: Voxels, settings: Mapping[str, Any]) -> bytes:
    """A chunk [(T, (C,)) Z, Y, X] as a .vgm file's bytes.

    Parameters
    ----------
    voxels : numpy.ndarray of 3 to 5 dimensions
    settings : mapping
        Fields of `EncodeSettings`.

    Raises
    ------
    UsageError
        Where a setting makes no sense.
    DependencyError
        Where what encoding takes is not installed.
    """
    from ..encoder import EncodeSettings
    from ..encoder.pipeline import encode_bytes

    unknown = set(settings) - set(EncodeSettings.__dataclass_fields__)
    if unknown:
        raise UsageError(f"Zarr codec {NAME!r}: no setting is called {sorted(unknown)[0]!r}")
    chosen = EncodeSettings(**{"overview": 0, **settings})  # Zarr asks a chunk for no coarser grid
    return encode_bytes(Volume.from_array(voxels), chosen)[0]


def read_by(array: Any, *, device: str, threads: int | None, float32: bool) -> Any:
    """A Zarr array whose files are decoded as is said; itself where its chunks are no .vgm files.

    Parameters
    ----------
    array : zarr.Array
    device : str
    threads : int or None
    float32 : bool
        Do not round voxels to the array's dtype: it becomes float32.
    """
    from zarr.dtype import Float32

    metadata, dtype = array.metadata, np.dtype(array.dtype)
    (codec, *others) = metadata.codecs
    if others or not isinstance(codec, VgmCodec):
        return array
    codec = VgmCodec(version=codec.version, **codec.settings)
    if float32 and dtype.kind != "f":
        metadata = replace(metadata, data_type=Float32(), fill_value=float(metadata.fill_value))
    else:
        float32 = False
    object.__setattr__(codec, "reading", Reading(device, threads, dtype if float32 else None))
    return zarr.Array(zarr.AsyncArray(replace(metadata, codecs=(codec,)), array.store_path))


def _part(source: _GetterSource | bytes, selection: Any, spec: Any, reading: Reading) -> Voxels:
    """What ``chunk[selection]`` would be."""
    shape = tuple(int(n) for n in spec.shape)
    bounds, inner = _bounds(selection, shape)
    float32 = reading.unrounded is not None
    dtype = reading.unrounded or _dtype(spec)
    try:
        with open_vgm(source, device=reading.device, threads=reading.threads) as array:
            box = read_box(array, shape, dtype, bounds, spec.fill_value, float32)
    except FormatError as e:
        if isinstance(source, bytes):
            raise
        raise type(e)(f"{source.name}: {e}") from e
    return np.asarray(box[inner], order="C")  # which a single voxel stays one in


def _bounds(selection: Any, shape: tuple[int, ...]) -> tuple[list[tuple[int, int]], tuple[Any, ...]]:
    """The box [lo, hi) on each axis that a selection lies in, and the selection within that box."""
    keys = selection if isinstance(selection, tuple) else (selection,)
    if len(keys) != len(shape) or any(
        np.asarray(k).dtype.kind == "b" for k in keys if not isinstance(k, slice)
    ):
        return [(0, n) for n in shape], keys
    bounds: list[tuple[int, int]] = []
    inner: list[Any] = []
    for key, n in zip(keys, shape, strict=True):
        if isinstance(key, slice):
            picked = range(n)[key]
            lo, hi = (picked[0], picked[-1] + 1) if picked else (0, 0)  # Zarr's steps are positive
            inner.append(slice(0, hi - lo, picked.step))
        else:
            at = np.asarray(key)
            lo, hi = (int(at.min()), int(at.max()) + 1) if at.size else (0, 0)
            inner.append(key - lo)
        bounds.append((lo, hi))
    return bounds, tuple(inner)


def _dtype(spec: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(spec.dtype.to_native_dtype())
    return dtype


class _GetterSource:
    """A stored chunk as a source of bytes; read by threads, fetched by the event loop they came from."""

    def __init__(self, getter: Any, prototype: Any, head: bytes, size: int) -> None:
        self.name = str(getattr(getter, "path", "chunk"))
        self._getter, self._prototype, self._head = getter, prototype, head
        self._loop = asyncio.get_running_loop()
        self.size = size

    @classmethod
    async def of(cls, getter: Any, prototype: Any) -> _GetterSource | None:
        """None where no chunk is stored."""
        try:
            first = await getter.get(prototype, byte_range=RangeByteRequest(0, FIRST_READ))
        except AssertionError:  # a chunk within a shard is given whole
            first = await getter.get(prototype)
        if first is None:
            return None
        head = first.to_bytes()
        size = len(head)
        if size == FIRST_READ:
            size = max(size, parse(head[:HEADER_BYTES]).file_size)
        return cls(getter, prototype, head, size)

    def read(self, offset: int, length: int) -> bytes:
        return next(self.read_ranges([(offset, length)]))

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """The bytes of several ranges (offset, length), asked for together."""
        far = [r for r in ranges if sum(r) > len(self._head)]
        fetched: Iterator[bytes] = iter(())
        if far:
            fetched = iter(asyncio.run_coroutine_threadsafe(self._fetch(far), self._loop).result())
        for offset, length in ranges:
            if offset + length <= len(self._head):
                yield self._head[offset : offset + length]
            else:
                yield next(fetched)

    async def _fetch(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        async def one(offset: int, length: int) -> bytes:
            found = await self._getter.get(
                self._prototype, byte_range=RangeByteRequest(offset, offset + length)
            )
            data = b"" if found is None else found.to_bytes()
            if len(data) != length:
                raise FormatError(
                    f"chunk: cut short: {length} bytes wanted at byte {offset}, got {len(data)}"
                )
            return data

        return await asyncio.gather(*(one(*r) for r in ranges))

    def close(self) -> None:
        """Nothing to let go of."""


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(DECODING, thread_name_prefix="vgm-chunk")


async def _in_thread(function: Any, *args: Any) -> Any:
    """Run what takes long, or waits for bytes, outside of the event loop.

    In threads of their own: stores fetch bytes in the loop's, and would wait there for those that wait for
    them.
    """
    waiting = asyncio.get_running_loop().run_in_executor(_pool(os.getpid()), function, *args)
    _under_way.add(waiting)
    return await waiting


_under_way: weakref.WeakSet[asyncio.Future[Any]] = weakref.WeakSet()
"""What chunks wait for, in whatever loop."""


@atexit.register
def _end() -> None:
    """Where one chunk fails others are still under way: Zarr's loop, which is stopped after this, would
    complain of each."""
    loop = zarr.core.sync.loop[0]
    if loop is None or not loop.is_running() or not _under_way:
        return

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with contextlib.suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(end(), loop).result(ENDING)


register_codec(NAME, VgmCodec)
