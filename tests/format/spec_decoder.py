"""A second decoder, written from the documents in spec/ alone: it shares no line with the package it checks.

Plain Python and numpy, no care for speed. What a decoder must reject raises `Rejected`.
"""

from __future__ import annotations

import importlib.util
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

# Codings 2 and 3 have documents, and so decoders, of their own.
_found = importlib.util.spec_from_file_location(
    "points_spec_decoder", Path(__file__).with_name("points_spec_decoder.py")
)
assert _found is not None
assert _found.loader is not None
points: Any = importlib.util.module_from_spec(_found)
_found.loader.exec_module(points)


class Rejected(Exception):
    """Bytes that a decoder must reject."""


def require(condition: bool, why: str) -> None:
    if not condition:
        raise Rejected(why)


class Bytes:
    """Section 1: the field types, read off one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, n: int) -> bytes:
        require(n <= len(self.data), "cut short")
        head, self.data = self.data[:n], self.data[n:]
        return head

    def all(self) -> bytes:
        return self.take(len(self.data))

    def u8(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        groups = [self.u8()]
        while groups[-1] >= 128:
            require(len(groups) < 9, "varint of more than nine bytes")
            groups.append(self.u8())
        require(groups[-1] != 0 or len(groups) == 1, "overlong varint")
        return sum((g % 128) * 128**k for k, g in enumerate(groups))

    def decimal(self) -> float:
        (e,) = struct.unpack("<b", self.take(1))
        if e == -128:
            return float(struct.unpack("<d", self.take(8))[0])
        return float(f"{self.varint()}e{e}")

    def bytes_(self) -> bytes:
        return self.take(self.varint())


def text(data: bytes) -> str:
    try:
        out = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("not UTF-8") from None
    require("\0" not in out, "NUL in text")
    return out


def zstd_frame(data: bytes, most: int) -> bytes:
    """Section 1.5."""
    require(data[:4] == bytes.fromhex("28B52FFD"), "not a zstd frame")
    try:
        frame = zstandard.get_frame_parameters(data)
        said = frame.content_size
        require(frame.dict_id == 0, "zstd dictionary")
        require(frame.window_size <= 1 << 27, "zstd window")
        require(0 < said <= most, "content of zstd frame")
        out = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError:
        raise Rejected("damaged zstd frame") from None
    require(len(out) == said, "size of zstd frame")
    return out


def unzigzag(u: int) -> int:
    return (u >> 1) ^ -(u & 1)


class File:
    """What the header, the metadata and the index of a file say."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.chunks: list[dict[str, Any]] = []
        self.seen: list[int] = []
        self.tags: dict[str, Any] = {
            "voxel_size": (None, None, None),
            "unit": None,
            "channels": [],
            "source_name": None,
        }
        self.overview: File | None = None
        self.tags |= {"software": None, "settings": None, "quality": {}, "shared": {}, "noise": []}
        require(data[:8] == bytes.fromhex("8956474D0D0A1A0A") and len(data) >= 32, "not a VGM file")
        major, _minor, required, _, meta, index, payload, crc = struct.unpack("<BBBBIIQI", data[8:32])
        require(major == 1, "major version")
        require(payload <= 1 << 62 and len(data) == 32 + meta + index + payload, "lengths")
        start = 32 + meta + index
        require(zlib.crc32(data[:28] + data[32:start]) == crc, "checksum of the head")
        require(required == 0, "required flags")
        self.read_metadata(Bytes(data[32 : 32 + meta]))
        self.read_index(Bytes(data[32 + meta : start]), start, payload)

    def read_metadata(self, b: Bytes) -> None:
        """Section 4."""
        self.read_shape(b)
        self.cutoff = b.decimal()
        require(1 <= self.cutoff <= 50, "cutoff")
        images = self.shape[0] * self.shape[1]
        require(8 * images <= len(b.data), "images")
        self.images = [struct.unpack("<2f", b.take(8)) for _ in range(images)]
        require(all(math.isfinite(v) for pair in self.images for v in pair), "base or gain")
        self.read_tags(b)

    def read_shape(self, b: Bytes) -> None:
        dtype, axes = b.u8(), b.u8()
        require(dtype in (1, 2, 3, 4) and axes <= 3, "dtype or axes")
        self.dtype = ("uint8", "uint16", "float32", "int16")[dtype - 1]
        self.axes = ("T" if axes & 1 else "") + ("C" if axes & 2 else "") + "ZYX"
        self.shape = tuple(b.varint() if a in self.axes else 1 for a in "TCZYX")
        require(all(1 <= n < 2**31 for n in self.shape) and math.prod(self.shape) <= 2**60, "shape")

    def read_tags(self, b: Bytes) -> None:
        """Section 4.2."""
        before = -1
        while b.data:
            tag, value = b.varint(), Bytes(b.bytes_())
            require(tag > before, "order of tags")
            before = tag
            self.seen.append(tag)
            require(tag in (1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20) or tag % 2 == 0, "unknown required tag")
            if tag == 1:
                while value.data:
                    coding = value.varint()
                    require(coding <= 255, "coding of shared parameters")
                    require(coding > max(self.tags["shared"], default=-1), "order of shared parameters")
                    self.tags["shared"][coding] = value.bytes_()
            elif tag == 2:
                self.read_voxel_size(value)
            elif tag == 4:
                while value.data:
                    flags = value.u8()
                    require(flags <= 3, "channel flags")
                    name = text(value.bytes_()) if flags & 1 else None
                    color = int.from_bytes(value.take(3), "big") if flags & 2 else None
                    self.tags["channels"].append([name, color])
                require(len(self.tags["channels"]) == self.shape[1], "number of channels")
            elif tag in (6, 8, 10):
                name = {6: "source_name", 8: "software", 10: "settings"}[tag]
                self.tags[name] = text(value.all())
                if tag == 6:
                    source = self.tags[name]
                    require(source not in ("", ".", "..") and "/" not in source, "source name")
            elif tag == 12:
                self.read_quality(value)
            elif tag == 14:
                self.read_noise(value, self.shape[0] * self.shape[1])
            elif tag == 16:
                self.read_time_interval(value)
            elif tag == 18:
                self.tags["grid_levels"] = list(value.all())
                require(1 <= len(self.tags["grid_levels"]) <= 31, "levels of grids")
            elif tag == 20:
                self.read_overview(value)

    def read_overview(self, b: Bytes) -> None:
        grid = b.u8()
        require(1 <= grid <= 31, "grid of the overview")
        self.tags["overview"] = [grid, len(b.data)]
        self.overview = File(b.all())
        require("overview" not in self.overview.tags, "an overview within an overview")
        shape = tuple(math.ceil(n / 2**grid) for n in self.shape[2:])
        require(self.overview.shape == self.shape[:2] + shape, "shape of the overview")
        require((self.overview.axes, self.overview.dtype) == (self.axes, self.dtype), "axes of overview")
        require(math.prod(shape) <= 2**21, "voxels of the overview")

    def read_voxel_size(self, b: Bytes) -> None:
        flags = b.u8()
        same = bool(flags & 8)
        require(not same or flags & 6 == 6, "x as y")
        z, y = (b.decimal() if flags & bit else None for bit in (1, 2))
        x = y if same else b.decimal() if flags & 4 else None
        require(all(v is None or 0 < v < math.inf for v in (z, y, x)), "voxel size")
        unit = flags >> 4
        require(unit <= 8 or unit == 15, "unit")
        names = [None, "µm", "nm", "mm", "Å", "pm", "cm", "m", "pixel"]
        self.tags["voxel_size"] = (z, y, x)
        self.tags["unit"] = text(b.all()) if unit == 15 else names[unit]
        require(not b.data, "bytes after the voxel size")

    def read_time_interval(self, b: Bytes) -> None:
        unit, interval = b.u8(), b.decimal()
        require(0 < interval < math.inf, "time interval")
        require(unit <= 7 or unit == 15, "unit of time")
        names = [None, "s", "ms", "µs", "ns", "min", "h", "d"]
        self.tags["time"] = [interval, text(b.all()) if unit == 15 else names[unit]]
        require(not b.data, "bytes after the time interval")

    def read_quality(self, b: Bytes) -> None:
        names = ["psnr", "psnr_fg", "ssim", "mip_ssim", "max_error", "bias", "rmse", "occupancy"]
        while b.data:
            key = b.u8()
            require(key <= len(names), "quality id")
            name = names[key - 1] if key else text(b.bytes_())
            require(key > 0 or name not in names, "quality name that has an id")
            require(name not in self.tags["quality"], "quality twice")
            (value,) = struct.unpack("<f", b.take(4))
            require(not math.isnan(value), "quality NaN")
            self.tags["quality"][name] = value

    def read_noise(self, b: Bytes, images: int) -> None:
        """Section 4.6."""
        for _ in range(images):
            (background,) = struct.unpack("<f", b.take(4))
            sigma, gain = b.decimal(), b.decimal()
            correlation = list(struct.unpack("<3b", b.take(3)))
            require(math.isfinite(background) and 0 < sigma < math.inf and 0 <= gain < math.inf, "noise")
            require(all(-50 <= v <= 67 for v in correlation), "correlation of noise")
            self.tags["noise"].append(
                {"background": background, "sigma": sigma, "gain": gain, "correlation": correlation}
            )
        require(not b.data, "bytes after the noise")

    def read_index(self, b: Bytes, offset: int, payload: int) -> None:
        """Section 5."""
        flags, n = b.u8(), b.varint()
        require(flags <= 1 and 4 * n <= len(b.data) and n <= payload, "index head")
        crcs = [struct.unpack("<I", b.take(4))[0] for _ in range(n)]
        if n == 0:
            require(flags == 0 and not b.data and payload == 0, "no chunks")
            return
        block = Bytes(zstd_frame(b.all(), 3 + 94 * n) if flags else b.all())
        mask = block.varint()
        require(mask < 1 << 18, "column mask")
        columns = [[block.varint() for _ in range(n)] if mask >> k & 1 else [0] * n for k in range(18)]
        require(not block.data, "bytes after the columns")
        require(all(v < 1 << 33 for column in columns[1:] for v in column), "column value")
        size_t, size_c, *size = self.shape
        last = {"coding": 0, "t": 0, "c": 0, "level": 0, "lo": [0, 0, 0], "shape": list(size)}
        for i in range(n):
            stored = [column[i] for column in columns]
            signed = [unzigzag(v) for v in stored]
            now: dict[str, Any] = {"length": stored[0] + 1, "count": stored[1] + 1}
            for k, key in enumerate(("coding", "t", "c", "level")):
                now[key] = last[key] + signed[2 + k]
            now["lo"] = [a + d for a, d in zip(last["lo"], signed[6:9])]
            now["shape"] = [a + d for a, d in zip(last["shape"], signed[9:12])]
            hi = [a + s for a, s in zip(now["lo"], now["shape"])]
            now["support_lo"] = [a - d for a, d in zip(now["lo"], signed[12:15])]
            now["support_hi"] = [a + d for a, d in zip(hi, signed[15:18])]
            require(now["count"] <= 8 * now["length"] and 0 <= now["coding"] <= 255, "count or coding")
            require(0 <= now["t"] < size_t and 0 <= now["c"] < size_c, "image")
            require(last["level"] <= now["level"] <= 255, "level")
            for a in range(3):
                require(now["lo"][a] >= 0 and now["shape"][a] >= 1 and hi[a] <= size[a], "brick")
                require(0 <= now["support_lo"][a] <= now["support_hi"][a] <= size[a], "support box")
            now |= {"crc32": crcs[i], "offset": offset}
            offset += now["length"]
            self.chunks.append(now)
            last = now
        require(sum(chunk["length"] for chunk in self.chunks) == payload, "lengths of chunks")

    def records(self, chunk: dict[str, Any]) -> np.ndarray:
        """Sections 6 and 7: float16 [count, 11] of a chunk."""
        if "records" not in chunk:
            chunk["records"] = self.decoded(chunk)
        out: np.ndarray = chunk["records"]
        return out

    def decoded(self, chunk: dict[str, Any]) -> np.ndarray:
        data = self.data[chunk["offset"] : chunk["offset"] + chunk["length"]]
        require(zlib.crc32(data) == chunk["crc32"], "checksum of a chunk")
        count = chunk["count"]
        if chunk["coding"] == 1:
            planes = zstd_frame(data, 22 * count)
            require(len(planes) == 22 * count, "size of planes")
            data = bytes(planes[b * count + i] for i in range(count) for b in range(22))
        elif chunk["coding"] in (2, 3):
            shape = tuple(chunk["shape"])
            try:
                if chunk["coding"] == 2:
                    shared = self.tags["shared"].get(2, b"")
                    data = points.lattice.decode(data, count, shared, shape)
                else:
                    data = points.decode(data, count, shape)
            except points.Rejected as exc:
                raise Rejected(str(exc)) from None
        else:
            require(chunk["coding"] == 0, "unknown coding")
        require(len(data) == 22 * count, "size of records")
        out = np.frombuffer(data, "<f2").reshape(count, 11)
        require(bool(np.isfinite(out).all() and (out[:, 3:6] > 0).all()), "record values")
        require(bool((out[:, 6:10] != 0).any(axis=1).all()), "zero quaternion")
        return out

    def all_records(self) -> np.ndarray:
        """float16 [N, 11] of the file."""
        return np.concatenate([np.zeros((0, 11), "<f2"), *(self.records(chunk) for chunk in self.chunks)])

    def values(self, n: int = 0) -> np.ndarray:
        """Sections 8.1, 8.2 and 8.4: all values of grid ``n``, float64 [T, C, Z', Y', X']."""
        if self.overview is not None and n >= self.tags["overview"][0]:
            return self.of_overview(2 ** (n - self.tags["overview"][0]))
        step, cut = 2**n, math.exp(-self.cutoff / 2)
        shape = [math.ceil(s / step) for s in self.shape[2:]]
        at = np.indices(shape).reshape(3, -1).T * step + (step - 1) / 2
        out = np.zeros((*self.shape[:2], len(at)))
        said = self.tags.get("grid_levels")
        highest = said[min(n, len(said)) - 1] if n and said else 255
        for chunk in self.chunks:
            if chunk["level"] > highest:
                continue
            middle = [a + (s - 1) / 2 for a, s in zip(chunk["lo"], chunk["shape"])]
            for record in self.records(chunk).astype(float):
                d = at - (middle + record[0:3])
                w, i, j, k = record[6:10] / math.sqrt(sum(record[6:10] ** 2))
                axes = np.array(
                    [
                        (1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)),
                        (2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)),
                        (2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)),
                    ]
                )
                # In the frame of the principal axes the widened covariance is diagonal too.
                wide = record[3:6] ** 2 + (step**2 - 1) / 12
                q = ((d @ axes) ** 2 / wide).sum(axis=1)
                weight = record[10] * math.sqrt(float(np.prod(record[3:6] ** 2 / wide)))
                kernel = np.where(q < self.cutoff, (np.exp(-q / 2) - cut) / (1 - cut), 0)
                out[chunk["t"], chunk["c"]] += weight * kernel
        base, gain = np.array(self.images).T.reshape(2, *self.shape[:2], 1)
        return (base + gain * out).reshape(*self.shape[:2], *shape)

    def of_overview(self, step: int) -> np.ndarray:
        """Section 8.4: the overview's values, or means of its voxels."""
        assert self.overview is not None
        if step == 1:
            return self.overview.values()
        voxels = self.overview.voxels().astype(float)
        for axis in (2, 3, 4):
            starts = np.arange(0, voxels.shape[axis], step)
            parts = [np.take(voxels, range(a, min(a + step, voxels.shape[axis])), axis) for a in starts]
            voxels = np.concatenate([p.mean(axis=axis, keepdims=True) for p in parts], axis)
        return voxels

    def voxels(self) -> np.ndarray:
        """Section 8.3."""
        values = self.values()
        if self.dtype == "float32":
            return values.astype(np.float32)
        return np.clip(np.rint(values), np.iinfo(self.dtype).min, np.iinfo(self.dtype).max).astype(self.dtype)

    def grain(self, voxels: np.ndarray, seed: int) -> np.ndarray:
        """Section 8.6: voxels of the full grid [T, C, Z, Y, X] with noise put back."""
        out = voxels.copy()
        for (t, c, *place), v in np.ndenumerate(voxels):
            noise = self.tags["noise"][t * self.shape[1] + c]
            kernels = [taps(r) for r in noise["correlation"]]
            g = 0
            for i, hz in enumerate(kernels[0]):
                for j, hy in enumerate(kernels[1]):
                    for k, hx in enumerate(kernels[2]):
                        g += hz * hy * hx * white(t, c, place[0] + i, place[1] + j, place[2] + k, seed)
            variance = noise["sigma"] * noise["sigma"] + noise["gain"] * max(
                float(v) - noise["background"], 0
            )
            variance -= 0 if self.dtype == "float32" else 1 / 12
            value = float(v) + g / 548360551354.3337 * math.sqrt(max(variance, 0))
            if self.dtype != "float32":
                ends = np.iinfo(self.dtype)
                value = min(max(round(value), int(ends.min)), int(ends.max))
            out[(t, c, *place)] = value
        return out


def white(t: int, c: int, z: int, y: int, x: int, seed: int) -> int:
    """The white number of a voxel."""
    w, k = [x // 4, y, z, t], [seed, c]
    for n in range(10):
        if n:
            k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
        a, b = 0xCD9E8D57 * w[2], 0xD2511F53 * w[0]
        w = [(a >> 32) ^ w[1] ^ k[0], a % 2**32, (b >> 32) ^ w[3] ^ k[1], b % 2**32]
    word = w[x % 4]
    found = [word >> s & 255 for s in (0, 8, 16, 24)]
    return sum(QUANTILES[b] if b < 128 else -QUANTILES[b - 128] for b in found)


def taps(correlation: int) -> list[int]:
    """The taps of an axis."""

    def root(q: float) -> float:
        return (1 - math.sqrt(1 - 4 * q**2)) / (2 * q)

    r, weights = correlation / 100, [1.0]
    if correlation > 50:
        u = 2 * r - 1
        t = root(min(u / (1 - u), 1 / 2))
        weights = [1, 1 + t, t]
    elif correlation:
        weights = [1, root(r)]
    return [round(1024 * w / math.sqrt(sum(v**2 for v in weights))) for w in weights]


def _quantiles() -> list[int]:
    """The table of section 8.6, out of the document itself."""
    text = (Path(__file__).parents[2] / "spec" / "vgm-1.md").read_text(encoding="utf-8")
    table = text[text.index("### 8.6") :].split("```text\n")[1].split("```")[0]
    return [int(v) for v in table.replace("\n", " ").split(",")]


QUANTILES = _quantiles()
