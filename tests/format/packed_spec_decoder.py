"""A second decoder of packed files, written from spec/vgm-1-packed.md; `spec_decoder` reads their files."""

from __future__ import annotations

import importlib.util
import itertools
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

_found = importlib.util.spec_from_file_location(
    "spec_decoder_of_packed", Path(__file__).with_name("spec_decoder.py")
)
assert _found is not None
assert _found.loader is not None
one: Any = importlib.util.module_from_spec(_found)
_found.loader.exec_module(one)
require, Bytes, Rejected = one.require, one.Bytes, one.Rejected


class Packed(one.File):  # type: ignore[misc, name-defined]  # a module that is loaded by its path
    """What the root of a packed file says; pages and chunks when they are asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.seen: list[int] = []
        self.tags: dict[str, Any] = {"voxel_size": (None, None, None), "unit": None, "channels": []}
        self.tags |= {"source_name": None, "software": None, "quality": {}, "shared": {}, "noise": []}
        require(data[:8] == bytes.fromhex("8956474D0D0A1A0A") and len(data) >= 32, "not a VGM file")
        major, _minor, required, _, meta, index, payload, crc = struct.unpack("<BBBBIIQI", data[8:32])
        require(major == 1, "major version")
        require(payload <= 1 << 62 and len(data) == 32 + meta + index + payload, "lengths")
        start = 32 + meta + index
        require(zlib.crc32(data[:28] + data[32:start]) == crc, "checksum of the root")
        require(required == 1, "required flags")
        said = Bytes(data[32 : 32 + meta])
        self.read_shape(said)
        self.read_tags(said)
        require(not {1, 10, 12, 14, 18} & set(self.seen), "tag of one file")
        self.read_root(Bytes(data[32 + meta : start]), start, payload)

    def read_root(self, b: Any, start: int, payload: int) -> None:
        """Sections 3 and 4."""
        n_levels = b.u8()
        require(1 <= n_levels <= 32, "number of levels")
        self.levels: list[dict[str, Any]] = []
        for n in range(n_levels):
            coding, chunk = b.u8(), tuple(b.varint() for _ in range(3))
            (fill,) = struct.unpack("<d", b.take(8))
            log2 = b.u8()
            require(coding <= 2, "coding")
            require(all(1 <= e < 2**31 for e in chunk), "shape of chunks")
            large = math.prod(chunk) * np.dtype(self.dtype).itemsize
            require(coding == 0 or large <= 2**25, "plain chunks too large")
            require(math.isfinite(fill), "fill value not finite")
            if self.dtype == "float32":
                require(float(np.float32(fill)) == fill, "fill value no binary32")
            else:
                low, high = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
                require(fill == int(fill) and low <= fill <= high, "fill value not of the dtype")
            require(log2 <= 16, "size of pages")
            shape = [-(-s // 2**n) for s in self.shape[2:]]
            counts = [-(-s // e) for s, e in zip(shape, chunk, strict=True)]
            total = self.shape[0] * self.shape[1] * math.prod(counts)
            self.levels.append(
                {"coding": coding, "chunk": chunk, "fill": fill, "page_log2": log2, "shape": shape}
                | {"counts": counts, "total": total, "pages": -(-total // 2**log2)}
            )
        length, crc = struct.unpack("<II", b.take(8))
        require(length > 0 or crc == 0, "checksum of no documents")
        self.said = start, length, crc
        at = start + length
        require(len(b.data) == 16 * sum(e["pages"] for e in self.levels), "number of page entries")
        for level in reversed(self.levels):
            entries = [struct.unpack("<QII", b.take(16)) for _ in range(level["pages"])]
            require(all(n or not (d or c) for d, n, c in entries), "page of no bytes")
            level["entries"] = []
            for data, length, crc in entries:
                level["entries"].append({"data_at": at, "data": data, "length": length, "crc32": crc})
                at += data
            for entry in level["entries"]:
                entry["at"] = at
                at += entry["length"]
        require(at == start + payload, "lengths do not add up")

    def documents(self) -> list[bytes | None]:
        """Section 8."""
        at, length, crc = self.said
        if not length:
            return [None] * (len(self.levels) + 1)
        data = self.data[at : at + length]
        require(zlib.crc32(data) == crc, "checksum of the documents")
        b = Bytes(one.zstd_frame(data, 2**24))
        found = [b.take(b.varint()) or None for _ in range(len(self.levels) + 1)]
        require(not b.data, "documents too long")
        return found

    def order(self, n: int) -> list[tuple[int, ...]]:
        """Section 5, chunk by chunk, each put where its number says."""
        nz, ny, nx = counts = self.levels[n]["counts"]
        out: dict[int, tuple[int, ...]] = {}
        for t, c, *at in itertools.product(*map(range, (*self.shape[:2], *counts))):
            b = [8 * (k // 8) for k in at]
            d = [min(8, m - k) for m, k in zip(counts, b, strict=True)]
            z, y, x = (k - m for k, m in zip(at, b, strict=True))
            number = (
                (t * self.shape[1] + c) * nz * ny * nx
                + b[0] * ny * nx
                + b[1] * d[0] * nx
                + b[2] * d[0] * d[1]
            )
            out[number + (z * d[1] + y) * d[2] + x] = (t, c, *at)
        return [out[k] for k in range(len(out))]

    def places(self, n: int) -> dict[tuple[int, ...], tuple[int, int, int]]:
        """Section 6: offset, length and CRC-32 of each chunk of a level that is there."""
        level, out = self.levels[n], {}
        waiting = iter(self.order(n))
        for k, entry in enumerate(level["entries"]):
            count = min(2 ** level["page_log2"], level["total"] - k * 2 ** level["page_log2"])
            chunks = list(itertools.islice(waiting, count))
            if entry["length"] == 0:
                continue
            page = self.data[entry["at"] : entry["at"] + entry["length"]]
            require(zlib.crc32(page) == entry["crc32"], "checksum of a page")
            require(page[0] <= 1, "flags of a page")
            content = one.zstd_frame(page[1:], 13 * count) if page[0] else page[1:]
            require(len(content) <= 13 * count, "size of a page")
            b = Bytes(content)
            lengths = [b.varint() for _ in range(count)]
            require(sum(lengths) == entry["data"], "lengths of chunks")
            require(len(b.data) == 4 * sum(m > 0 for m in lengths), "number of checksums")
            at = entry["data_at"]
            for chunk, length in zip(chunks, lengths, strict=True):
                if length:
                    out[chunk] = at, length, struct.unpack("<I", b.take(4))[0]
                at += length
        return out

    def level(self, n: int) -> np.ndarray:
        """Section 7: the voxels [T, C, Z, Y, X] of a level."""
        level = self.levels[n]
        out = np.full((*self.shape[:2], *level["shape"]), level["fill"], self.dtype)
        for (t, c, *at), (offset, length, crc) in self.places(n).items():
            data = self.data[offset : offset + length]
            require(zlib.crc32(data) == crc, "checksum of a chunk")
            chunk = level["chunk"]
            box = out[t, c, *(slice(e * k, e * k + e) for e, k in zip(chunk, at, strict=True))]
            if level["coding"] == 0:
                file = one.File(data)
                require(file.dtype == self.dtype, "dtype of a file")
                require(file.shape[:2] == (1, 1), "images of a file")
                sizes = zip(box.shape, file.shape[2:], chunk, strict=True)
                require(all(a <= b <= e for a, b, e in sizes), "shape of a file")
                voxels = file.voxels()[0, 0]
            else:
                size = math.prod(chunk) * out.itemsize
                plain = one.zstd_frame(data, size) if level["coding"] == 2 else data
                require(len(plain) == size, "size of a plain chunk")
                voxels = np.frombuffer(plain, np.dtype(self.dtype).newbyteorder("<")).reshape(chunk)
            box[...] = voxels[tuple(map(slice, box.shape))]
        return out
