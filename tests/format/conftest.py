"""Small files that the tests of the container start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from volmicro_codec.format import EncodedChunk, FileMeta, encode_file, support_box
from volmicro_codec.format.codings import planes, raw
from volmicro_codec.primitives import RECORD_DTYPE, Records
from volmicro_codec.volume import VolumeInfo


def random_records(n: int, seed: int = 0) -> Records:
    """Valid records [n]."""
    rng = np.random.default_rng(seed)
    out = np.zeros(n, RECORD_DTYPE)
    out["position"] = rng.uniform(-8, 8, (n, 3))
    out["scale"] = rng.uniform(0.5, 3, (n, 3))
    out["rotation"] = rng.normal(size=(n, 4))
    out["intensity"] = rng.normal(size=n)
    return out


@dataclass
class Made:
    """A file, and what it was made of."""

    meta: FileMeta
    chunks: list[EncodedChunk]
    records: list[Records]

    @property
    def data(self) -> bytes:
        return encode_file(self.meta, self.chunks)


def make(bricks: int, per_chunk: int = 3, levels: int = 1) -> Made:
    """A file of a row of 16-voxel bricks, raw and planes in turn."""
    shape = (16, 16, 16 * bricks)
    info = VolumeInfo((1, 1, *shape), np.dtype("uint16"), "ZYX", (1.0, 0.2, 0.2), "µm", source_name="a.tif")
    meta = FileMeta(info, 12.0, ((100.0, 900.0),), quality={"psnr": 40.0})
    chunks, records = [], []
    for level in range(levels):
        for b in range(bricks):
            r = random_records(per_chunk, seed=len(records))
            coding = planes if len(records) % 2 else raw
            brick = ((0, 0, 16 * b), (16, 16, 16))
            support = support_box(r, *brick, shape, meta.cutoff)
            chunks.append(EncodedChunk(0, 0, level, coding.id, *brick, per_chunk, *support, coding.encode(r)))
            records.append(r)
    return Made(meta, chunks, records)


@pytest.fixture(scope="session")
def made() -> Made:
    """Two levels of two chunks."""
    return make(2, levels=2)


@pytest.fixture(scope="session")
def many() -> Made:
    """Two hundred chunks of some 440 bytes."""
    return make(100, per_chunk=20, levels=2)
