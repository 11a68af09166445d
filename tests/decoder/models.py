"""Files to decode: random primitives in bricks, with whatever shapes a test wants of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volmicro_codec.decoder import oracle
from volmicro_codec.format import EncodedChunk, FileMeta, VgmReader, encode_file, support_box
from volmicro_codec.format.codings import planes, raw
from volmicro_codec.primitives import F64, RECORD_DTYPE, Primitives, Records, records_to_primitives
from volmicro_codec.volume import VolumeInfo

EPSILON = 1e-4  # spec, 8.5
RELATIVE = 2.0**-22

Triple = tuple[int, int, int]


def random_records(
    n: int, spread: Sequence[float], scales: tuple[float, float] = (0.6, 3.0), seed: int = 0
) -> Records:
    """Valid records [n], centres within ``spread`` of the brick's centre, scales log-uniform."""
    rng = np.random.default_rng(seed)
    out = np.zeros(n, RECORD_DTYPE)
    out["position"] = rng.uniform(-1, 1, (n, 3)) * np.asarray(spread)
    low = np.finfo(np.float16).smallest_subnormal
    out["scale"] = np.maximum(np.exp(rng.uniform(*np.log(scales), (n, 3))), low)
    out["rotation"] = rng.normal(size=(n, 4))
    out["intensity"] = rng.normal(size=n)
    return out


@dataclass(frozen=True)
class Model:
    """A file, and the primitives of each of its images in file order."""

    data: bytes
    meta: FileMeta
    chunks: list[EncodedChunk]

    def primitives(self, t: int = 0, c: int = 0) -> Primitives:
        """Of one image."""
        with VgmReader.open(self.data) as reader:
            parts = [
                records_to_primitives(reader.read_records(i), entry.brick_centre)
                for i, entry in enumerate(reader.entries)
                if (entry.t, entry.c) == (t, c)
            ]
        return Primitives.concatenate(parts)

    def reference(self, level: int = 0, t: int = 0, c: int = 0) -> tuple[F64, F64]:
        """Value before rounding, and how far a decoder may be from it (spec, 8.5), over the whole grid."""
        shape = [-(-n // 2**level) for n in self.meta.info.shape[2:]]
        base, gain = self.meta.images[t * self.meta.info.shape[1] + c]
        p = self.primitives(t, c)
        value = base + gain * oracle.render(p, self.meta.cutoff, (0, 0, 0), shape, level)
        return value, tolerance(p, self.meta.cutoff, gain, value, level)


def tolerance(p: Primitives, cutoff: float, gain: float, value: F64, level: int = 0) -> F64:
    """How far a value may be from the reference ``value`` [Z, Y, X] of a whole grid."""
    step = 2.0**level
    scales, weights = oracle.widened(p, level)
    axes = oracle.rotation_matrices(p.rotations)
    centres = [np.arange(n) * step + (step - 1) / 2 for n in value.shape]
    grid = np.stack(np.meshgrid(*centres, indexing="ij"), -1)
    near = np.zeros(value.shape)
    for i in range(len(p)):
        q = (((grid - p.means[i]) @ axes[i] / scales[i]) ** 2).sum(axis=-1)
        near += abs(weights[i]) * (q < cutoff)
    return np.asarray(abs(gain) * EPSILON * np.maximum(1, near) + RELATIVE * np.abs(value))


def one_chunk(
    records: Records, shape: Triple, cutoff: float = 12.0, dtype: str = "float32",
    base: float = 0.0, gain: float = 1.0,
) -> Model:  # fmt: skip
    """A file of one chunk whose brick is the volume."""
    meta = FileMeta(VolumeInfo((1, 1, *shape), np.dtype(dtype)), cutoff, ((base, gain),))
    support = support_box(records, (0, 0, 0), shape, shape, cutoff)
    chunk = EncodedChunk(0, 0, 0, raw.id, (0, 0, 0), shape, len(records), *support, raw.encode(records))
    return Model(encode_file(meta, [chunk]), meta, [chunk])


def bricks(
    shape: Triple, brick: int = 24, per_brick: int = 12, dtype: str = "uint16", levels: int = 1,
    images: tuple[int, int] = (1, 1), axes: str = "ZYX", cutoff: float = 12.0, seed: int = 0,
    scales: tuple[float, float] = (0.6, 3.0), base: float = 110.0, gain: float = 700.0,
) -> Model:  # fmt: skip
    """A file of cubic bricks, raw and planes in turn; some centres lie outside of brick and volume."""
    info = VolumeInfo((*images, *shape), np.dtype(dtype), axes, (1.0, 0.25, 0.25), "µm")
    meta = FileMeta(info, cutoff, tuple((base + k, gain + k) for k in range(images[0] * images[1])))
    chunks: list[EncodedChunk] = []
    for level in range(levels):
        for t, c in np.ndindex(*images):
            for z, y, x in np.ndindex(*(-(-n // brick) for n in shape)):
                lo = (z * brick, y * brick, x * brick)
                size = tuple(min(brick, n - a) for n, a in zip(shape, lo, strict=True))
                r = random_records(per_brick, [0.6 * n for n in size], scales, seed=seed + len(chunks))
                coding = (raw, planes)[len(chunks) % 2]
                support = support_box(r, lo, size, shape, cutoff)  # type: ignore[arg-type]
                chunks.append(
                    EncodedChunk(t, c, level, coding.id, lo, size, len(r), *support, coding.encode(r))  # type: ignore[arg-type]
                )
    return Model(encode_file(meta, chunks), meta, chunks)


class CountingSource:
    """Bytes that remember which ranges were read."""

    name = "counted"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        assert offset + length <= len(self.data)
        return self.data[offset : offset + length]

    def close(self) -> None:
        """Nothing to let go of."""
