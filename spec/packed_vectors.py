"""Test vectors of packed files, put together byte by byte: valid ones with their voxels, and invalid ones."""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from invalid_vectors import assemble, frame_of, tag, u

FILE, PLAIN, ZSTD = range(3)
DTYPES = {"uint8": 1, "uint16": 2, "float32": 3, "int16": 4}
Box = tuple[int, int, int]
Bytes = Callable[[bytes], bytes]


@dataclass
class Level:
    """A level of a packed file; ``chunks`` are its bytes by (t, c, z, y, x)."""

    coding: int
    chunk: Box
    fill: float
    page_log2: int
    chunks: dict[tuple[int, ...], bytes] = field(default_factory=dict)


@dataclass
class Packed:
    """A packed file before it is put together, and what it decodes to."""

    shape: tuple[int, int, int, int, int]
    dtype: str
    axes: str
    levels: list[Level]
    tags: bytes = b""
    documents: list[bytes] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    arrays: list[np.ndarray] = field(default_factory=list)

    def shape_of(self, n: int) -> tuple[int, ...]:
        """[T, C, Z, Y, X] of a level."""
        return (*self.shape[:2], *(-(-s // 2**n) for s in self.shape[2:]))


def flat(shape: tuple[int, ...], value: float, dtype: str, **fields: int) -> bytes:
    """An ordinary file of one value."""
    meta = bytes([DTYPES[dtype], 0]) + b"".join(map(u, shape)) + bytes([0, 12]) + struct.pack("<2f", value, 1)
    return assemble(meta, bytes([0, 0]), b"", **fields)


def order(shape: tuple[int, ...], chunk: Box) -> Iterator[tuple[int, ...]]:
    """Section 5: all chunks (t, c, z, y, x), block by block."""
    counts = [-(-s // e) for s, e in zip(shape[2:], chunk, strict=True)]
    for t, c, *block in itertools.product(*map(range, shape[:2]), *(range(0, n, 8) for n in counts)):
        sides = (range(b, min(b + 8, n)) for b, n in zip(block, counts, strict=True))
        for at in itertools.product(*sides):
            yield t, c, *at


def page_of(chunks: list[bytes], compress: bool) -> bytes:
    """Section 6: the page of some chunks; no bytes where all are left out."""
    if not any(chunks):
        return b""
    entries = b"".join(u(len(c)) for c in chunks)
    entries += b"".join(struct.pack("<I", zlib.crc32(c)) for c in chunks if c)
    return b"\1" + zstandard.ZstdCompressor().compress(entries) if compress else b"\0" + entries


def documents_of(documents: list[bytes]) -> bytes:
    """Section 8."""
    return frame_of(b"".join(u(len(d)) + d for d in documents)) if documents else b""


def metadata_of(file: Packed) -> bytes:
    """Section 2."""
    sizes = [u(n) for n, a in zip(file.shape, "TCZYX", strict=True) if a in file.axes]
    flags = ("T" in file.axes) | ("C" in file.axes) << 1
    return bytes([DTYPES[file.dtype], flags]) + b"".join(sizes) + file.tags


def put_together(
    file: Packed,
    *,
    page: Bytes = lambda b: b,
    entry: Callable[[int, int, int], tuple[int, int, int]] = lambda *e: e,
    index: Bytes = lambda b: b,
    compress: bool = True,
    **fields: int,
) -> bytes:
    """The bytes of a file; what is given changes the first page of level 0, its entry, or the whole index."""
    described = bytes([len(file.levels)])
    for level in file.levels:
        described += bytes([level.coding]) + b"".join(map(u, level.chunk))
        described += struct.pack("<d", level.fill) + bytes([level.page_log2])
    payload = documents_of(file.documents)
    described += struct.pack("<II", len(payload), zlib.crc32(payload))
    for n in reversed(range(len(file.levels))):
        level = file.levels[n]
        chunks = [level.chunks.get(at, b"") for at in order(file.shape_of(n), level.chunk)]
        pages = []
        for k in range(0, len(chunks), 2**level.page_log2):
            some = chunks[k : k + 2**level.page_log2]
            data = page_of(some, compress)
            if n == 0 and k == 0:
                data = page(data)
            told = sum(map(len, some)), len(data), zlib.crc32(data)
            described += struct.pack("<QII", *(entry(*told) if n == 0 and k == 0 else told))
            pages.append(data)
        payload += b"".join(chunks) + b"".join(pages)
    said = {"minor": 1, "required": 1} | fields
    return assemble(metadata_of(file), index(described), payload, **said)


def filled(file: Packed, value: Callable[..., float | None]) -> Packed:
    """Chunks of one value each, or left out where there is none, and the levels that come of it."""
    for n, level in enumerate(file.levels):
        shape = file.shape_of(n)
        array = np.full(shape, level.fill, file.dtype)
        for at in order(shape, level.chunk):
            found = value(n, *at)
            if found is None:
                continue
            box = tuple(slice(e * k, e * k + e) for e, k in zip(level.chunk, at[2:], strict=True))
            array[at[0], at[1], *box] = found
            inside = array[at[0], at[1], *box].shape
            voxels = np.full(level.chunk, found, np.dtype(file.dtype).newbyteorder("<")).tobytes()
            if level.coding == ZSTD:
                voxels = zstandard.ZstdCompressor().compress(voxels)
            level.chunks[at] = voxels if level.coding else flat(inside, found, file.dtype)
        file.arrays.append(array)
    return file


def valid_files(vectors: Path) -> dict[str, tuple[Packed, bytes]]:
    """Everything that a decoder must read; ``vectors`` is where those of ordinary files are."""
    files: dict[str, tuple[Packed, bytes]] = {}
    one = filled(
        Packed((1, 1, 9, 7, 5), "uint8", "ZYX", [Level(FILE, (8, 8, 8), 3, 12)]),
        lambda n, t, c, z, y, x: 9 + z,
    )
    files["one_level"] = one, put_together(one, compress=False)

    size = tag(2, bytes([0x1F]) + b"\xff\x05" + b"\xfc\xd9\x0c")
    names = tag(4, b"\3" + u(4) + b"DAPI" + b"\0\0\xff" + b"\0")
    said = size + names + tag(6, b"a.ome.zarr") + tag(8, b"make_vectors") + tag(16, b"\1\0\2")
    every = Packed(
        (2, 2, 10, 9, 20), "uint16", "TCZYX",
        [Level(FILE, (4, 4, 4), 7, 1), Level(PLAIN, (4, 4, 4), 0, 2), Level(ZSTD, (8, 3, 8), 8, 0)],
        said, [b'{"zarr_format":3}', b"", b'{"a":"\xc2\xb5"}', b"[1]"],
        {
            "voxel_size": [0.5, 0.1625, 0.1625], "unit": "µm", "channels": [["DAPI", 255], [None, None]],
            "source_name": "a.ome.zarr", "software": "make_vectors", "time": [2.0, "s"],
        },
    )  # fmt: skip
    filled(
        every,
        lambda n, t, c, z, y, x: (
            ((t + c + z + y + x + n) % 3 and 1000 * n + 100 * t + 10 * c + z + y + x) or None
        ),
    )
    files["all_codings"] = every, put_together(every)

    blocks = Packed((1, 1, 10, 9, 17), "uint8", "ZYX", [Level(PLAIN, (1, 1, 2), 200, 7)])
    filled(blocks, lambda n, t, c, z, y, x: (19 * z + 11 * y + x) % 251 if (z * y + x) % 4 else None)
    files["blocks"] = blocks, put_together(blocks)

    signed = Packed((3, 1, 4, 3, 5), "int16", "TZYX", [Level(ZSTD, (9, 9, 9), -32768, 0)])
    filled(signed, lambda n, t, *_: None if t == 1 else -5 * t)
    files["int16_larger_than_the_volume"] = signed, put_together(signed, minor=9)

    real = Packed((1, 1, 5, 7, 18), "float32", "ZYX", [Level(FILE, (5, 7, 9), 0.1015625, 0)])
    filled(real, lambda *_: None)
    real.levels[0].chunks[0, 0, 0, 0, 1] = (vectors / "valid" / "raw_float32.vgm").read_bytes()
    real.arrays[0][..., 9:] = np.load(vectors / "valid" / "raw_float32.voxels.npy")
    files["float32_with_gaussians"] = real, put_together(real)

    walls = Packed((1, 1, 5, 6, 7), "uint8", "ZYX", [Level(FILE, (4, 4, 4), 1, 3)])
    filled(walls, lambda *_: 50)
    walls.levels[0].chunks[0, 0, 1, 1, 1] = flat((4, 2, 3), 50, "uint8")
    walls.levels[0].chunks[0, 0, 1, 1, 0] = flat((2, 3, 4), 50, "uint8")
    files["files_over_the_walls"] = walls, put_together(walls)

    empty = Packed((1, 1, 90, 60, 30), "uint16", "ZYX", [Level(FILE, (4, 4, 4), 107, 16)], size)
    empty.about = {"voxel_size": [0.5, 0.1625, 0.1625], "unit": "µm"}
    filled(empty, lambda *_: None)
    files["all_left_out"] = empty, put_together(empty)
    return files


def small(coding: int = FILE, **changes: Any) -> Packed:
    """A file of two levels and eight chunks, of which level 0 can be given another coding."""
    file = Packed(
        (1, 1, 6, 6, 6), "uint16", "ZYX",
        [Level(coding, (4, 4, 4), 7, 2), Level(PLAIN, (4, 4, 4), 0, 12)],
    )  # fmt: skip
    filled(file, lambda n, t, c, z, y, x: 100 + z + y + x)
    for name, value in changes.items():
        setattr(file, name, value)
    return file


def with_level(**changes: Any) -> Packed:
    """The same with a changed entry of level 0, whose chunks stay."""
    file = small()
    for name, value in changes.items():
        setattr(file.levels[0], name, value)
    return file


def with_chunk(data: bytes, coding: int = FILE) -> Packed:
    """The same with another first chunk."""
    file = small(coding)
    file.levels[0].chunks[0, 0, 0, 0, 0] = data
    return file


def invalid_files() -> dict[str, tuple[bytes, str, str]]:
    """Everything that a decoder must reject: the file, when it shows, and what is wrong with it."""
    files: dict[str, tuple[bytes, str, str]] = {}

    def add(when: str, name: str, data: bytes, why: str) -> None:
        files[name] = data, when, why

    def opened(name: str, data: bytes, why: str) -> None:
        add("open", name, data, why)

    whole = put_together(small())
    opened("cut_by_a_byte", whole[:-1], "the last byte is missing")
    opened("trailing_byte", whole + b"\0", "one byte after the end")
    opened("root_changed", whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], "a bit of the root")
    opened("flag_unknown", put_together(small(), required=3), "must-understand flag bit 1")
    opened("major_2", put_together(small(), major=2), "major version 2")
    noise = b"\0\0\xc8\x42\0\2\0\0\0\0\0"
    for number, value in ((1, b""), (10, b"x"), (12, b"\1\0\0\x20\x42"), (14, noise), (18, b"\0")):
        opened(
            f"tag_{number}",
            put_together(small(tags=tag(number, value))),
            f"tag {number}, which is of one file",
        )
    opened("tag_odd_unknown", put_together(small(tags=tag(99, b""))), "an odd tag that is not known")
    opened("tags_fall", put_together(small(tags=tag(8, b"a") + tag(6, b"a"))), "tag 6 after tag 8")
    opened("no_levels", put_together(small(), index=lambda b: b"\0" + b[1:]), "0 levels")
    entry = bytes([PLAIN, 9, 9, 9]) + struct.pack("<d", 0) + bytes([12])
    many = bytes([33]) + entry * 33 + bytes(8) + bytes(16 * 33)
    opened("levels_33", assemble(bytes([2, 0, 6, 6, 6]), many, b"", minor=1, required=1), "33 levels")
    opened("coding_unknown", put_together(with_level(coding=3)), "coding 3")
    for name, at in (("z", 2), ("y", 3), ("x", 4)):
        opened(
            f"chunk_{name}_zero",
            put_together(small(), index=lambda b, at=at: b[:at] + b"\0" + b[at + 1 :]),
            f"chunks of 0 voxels along {name}",
        )
    large = put_together(small(), index=lambda b: b[:2] + u(2**31) + b[3:])
    opened("chunk_too_large", large, "chunks of 2^31 voxels along z")
    plain = Packed((1, 1, 300, 300, 300), "uint16", "ZYX", [Level(PLAIN, (1 << 12, 1 << 12, 2), 0, 0)])
    opened("plain_chunk_too_large", put_together(plain), "plain chunks of 2^26 bytes")
    for name, value, why in (
        ("fraction", 7.5, "7.5 in a file of uint16"), ("negative", -1.0, "-1 in a file of uint16"),
        ("too_large", 65536.0, "65536 in a file of uint16"), ("nan", float("nan"), "not a number"),
        ("infinite", float("inf"), "infinite"),
    ):  # fmt: skip
        opened(f"fill_{name}", put_together(with_level(fill=value)), f"fill value: {why}")
    single = Packed((1, 1, 6, 6, 6), "float32", "ZYX", [Level(PLAIN, (4, 4, 4), 0.1, 2)])
    opened("fill_no_float32", put_together(single), "fill value 0.1 (binary64) in a file of float32")
    opened("page_log2_17", put_together(with_level(page_log2=17)), "pages of 2^17 chunks")
    opened("index_cut", put_together(small(), index=lambda b: b[:-1]), "the last page entry ends early")
    opened("index_too_long", put_together(small(), index=lambda b: b + bytes(16)), "a page entry too many")
    opened(
        "index_cut_in_levels",
        put_together(small(), index=lambda b: b[:20]),
        "the index ends in an entry of a level",
    )
    huge = bytes([1, FILE, 1, 1, 1]) + struct.pack("<d", 0) + bytes([0]) + bytes(8)
    shape = bytes([1, 0]) + u(2**20) * 3
    opened(
        "pages_2_to_60",
        assemble(shape, huge, b"", minor=1, required=1),
        "2^60 pages, of which there is no entry",
    )
    bad = put_together(small(), index=lambda b: b[: 1 + 2 * 13 + 4] + b"\1" + b[1 + 2 * 13 + 5 :])
    opened("documents_empty_with_checksum", bad, "documents of no bytes with a checksum")
    left = with_level(chunks={})
    opened(
        "page_empty_with_checksum",
        put_together(left, entry=lambda d, n, c: (d, n, 1)),
        "a page of no bytes with a checksum",
    )
    opened(
        "page_empty_with_chunks",
        put_together(small(), page=lambda b: b""),
        "a page of no bytes with chunks",
    )
    opened(
        "lengths_too_long",
        put_together(small(), entry=lambda d, n, c: (d + 1, n, c)),
        "lengths add up to one byte more than the payload",
    )
    opened(
        "lengths_too_short",
        put_together(small(), entry=lambda d, n, c: (d, n - 1, c)),
        "lengths add up to one byte less than the payload",
    )
    opened(
        "lengths_wrap_around",
        put_together(small(), entry=lambda d, n, c: (d + 2**63, n, c)),
        "data of a page is above 2^63",
    )

    def paged(name: str, why: str, **rest: Any) -> None:
        add("page", name, put_together(small(), **rest), why)

    paged("page_checksum", "checksum of a page", entry=lambda d, n, c: (d, n, c ^ 1))
    paged("page_flags", "flags 2", page=lambda b: b"\2" + b[1:])
    paged("page_zstd_damaged", "the frame of a page is cut", page=lambda b: b[:-1])
    paged("page_zstd_trailing_byte", "a byte after the frame of a page", page=lambda b: b + b"\0")
    paged(
        "page_zstd_too_large",
        "53 bytes of four chunks in a frame",
        page=lambda b: b"\1" + frame_of(bytes(53)),
    )
    paged(
        "page_zstd_bomb",
        "a frame that says 2^26 bytes",
        page=lambda b: b"\1" + zstandard.ZstdCompressor().compress(bytes(2**26)),
    )
    paged("page_too_large", "53 bytes of four chunks", page=lambda b: bytes(54))
    entries = page_of([small().levels[0].chunks[at] for at in order((1, 1, 6, 6, 6), (4, 4, 4))][:4], False)
    paged("page_checksum_missing", "three checksums of four chunks", page=lambda b: entries[:-4])
    paged("page_checksum_too_many", "five checksums of four chunks", page=lambda b: entries + bytes(4))
    paged("page_varint_missing", "no byte that ends a varint", page=lambda b: b"\0" + b"\xff" * 20)
    paged(
        "page_varint_overlong",
        "a length in more bytes than it needs",
        page=lambda b: entries[:1] + bytes([entries[1] | 128, 0]) + entries[2:],
    )
    paged(
        "page_lengths_too_short",
        "lengths of chunks that add up to one byte less",
        page=lambda b: entries[:1] + bytes([entries[1] - 1]) + entries[2:],
    )
    wrap = b"\0" + (b"\xff" * 8 + b"\x7f") * 3 + u(3) + entries[-16:]
    paged(
        "page_lengths_wrap_around",
        "lengths of chunks that add up to data modulo 2^64 at most",
        page=lambda b: wrap,
    )

    def decoded(name: str, file: Packed, why: str) -> None:
        add("decode", name, put_together(file), why)

    def changed(coding: int) -> bytes:
        """A file one of whose chunks is not what its checksum says."""
        data = bytearray(put_together(small(coding)))
        first = small(coding).levels[0].chunks[0, 0, 0, 0, 0]
        data[data.index(first) + len(first) // 2] ^= 1
        return bytes(data)

    for coding, name in enumerate(("file", "plain", "zstd")):
        add("decode", f"{name}_changed", changed(coding), f"a bit of a chunk of coding {coding}")
    decoded("file_is_none", with_chunk(b"nonsense"), "a chunk that is no file")
    decoded("file_cut", with_chunk(flat((4, 4, 4), 100, "uint16")[:-1]), "a chunk whose file is cut")
    decoded("file_is_packed", with_chunk(put_together(small())), "a chunk that is a packed file")
    decoded(
        "file_of_other_dtype", with_chunk(flat((4, 4, 4), 100, "uint8")), "a file of uint8 in one of uint16"
    )
    decoded(
        "file_too_small", with_chunk(flat((4, 4, 3), 100, "uint16")), "a file that does not cover its chunk"
    )
    decoded("file_too_large", with_chunk(flat((4, 5, 4), 100, "uint16")), "a file larger than its chunk")
    two = bytes([2, 2, 2, 4, 4, 4, 0, 12]) + struct.pack("<4f", 100, 1, 100, 1)
    decoded("file_of_two_channels", with_chunk(assemble(two, bytes(2), b"")), "a file of two channels")
    decoded("plain_too_short", with_chunk(bytes(127), PLAIN), "127 bytes of 64 voxels of two")
    decoded("plain_too_long", with_chunk(bytes(129), PLAIN), "129 bytes of 64 voxels of two")
    compress = zstandard.ZstdCompressor().compress
    decoded(
        "zstd_too_short", with_chunk(compress(bytes(127)), ZSTD), "a frame of 127 bytes of 64 voxels of two"
    )
    decoded(
        "zstd_bomb", with_chunk(compress(bytes(2**26)), ZSTD), "a frame of 2^26 bytes of 64 voxels of two"
    )
    decoded("zstd_trailing_byte", with_chunk(compress(bytes(128)) + b"\0", ZSTD), "a byte after the frame")
    return files


def described(file: Packed, data: bytes) -> dict[str, Any]:
    """What a valid file says, for its JSON."""
    start = 32 + sum(struct.unpack("<II", data[12:20]))
    documents = file.documents or [b""] * (len(file.levels) + 1)
    at = start + len(documents_of(file.documents))
    chunks = {}
    for n in reversed(range(len(file.levels))):
        level = file.levels[n]
        every = list(order(file.shape_of(n), level.chunk))
        for where in every:
            found = level.chunks.get(where, b"")
            if found:
                kept = [str(k) for k, a in zip(where, "TCZYX", strict=True) if a in file.axes]
                chunks["/".join([str(n), "c", *kept])] = [at, len(found)]
            at += len(found)
        for k in range(0, len(every), 2**level.page_log2):
            some = [level.chunks.get(w, b"") for w in every[k : k + 2**level.page_log2]]
            at += len(page_of(some, data[at] == 1)) if any(some) else 0
    assert at == len(data)
    return {
        "shape": list(file.shape), "dtype": file.dtype, "axes": file.axes,
        "voxel_size": [None] * 3, "unit": None, "channels": [], "source_name": None, "software": None,
        **file.about,
        "levels": [{k: getattr(e, k) for k in ("coding", "chunk", "fill", "page_log2")} for e in file.levels],
        "documents": [d.decode() if d else None for d in documents],
        "chunks": chunks,
    }  # fmt: skip


def main(folder: Path) -> None:
    """Write them into ``folder``/packed; the vectors of ordinary files lie in ``folder``."""
    for name in ("valid", "invalid"):
        (folder / "packed" / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / "packed" / name).iterdir():
            old.unlink()
    for name, (file, data) in valid_files(folder).items():
        beside = folder / "packed" / "valid" / name
        beside.with_suffix(".vgm").write_bytes(data)
        text = json.dumps(described(file, data), ensure_ascii=False)
        beside.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        np.savez_compressed(f"{beside}.levels.npz", **{str(n): a for n, a in enumerate(file.arrays)})
    faults = {}
    for name, (data, when, why) in invalid_files().items():
        (folder / "packed" / "invalid" / f"{name}.vgm").write_bytes(data)
        faults[name] = {"shows": when, "fault": why}
    (folder / "packed" / "invalid.json").write_text(json.dumps(faults, indent=1) + "\n", encoding="utf-8")
