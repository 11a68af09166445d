"""Runs ``vgm`` inside the test, and makes small files for it without fitting anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volmicro_codec.cli.app import run
from volmicro_codec.format import EncodedChunk, FileMeta, codings, write_file
from volmicro_codec.format.codings import raw
from volmicro_codec.format.support import support_box
from volmicro_codec.noise_model import NoiseModel
from volmicro_codec.primitives import RECORD_DTYPE
from volmicro_codec.volume import ChannelInfo, VolumeInfo

CUTOFF = 9.0


@dataclass(frozen=True)
class Ran:
    """What a run of ``vgm`` came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def vgm(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ran]:
    """Run ``vgm`` with arguments, in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Ran:
        capsys.readouterr()
        code = run([str(a) for a in args])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call


def small_file(
    path: Path,
    shape: tuple[int, int, int] = (6, 20, 24),
    noise: tuple[NoiseModel, ...] = (),
    **about: Any,
) -> VolumeInfo:
    """Write a .vgm file of two channels, a few primitives each; `about` are fields of its `VolumeInfo`."""
    info = VolumeInfo(
        shape=(1, 2, *shape),
        dtype=np.dtype("uint16"),
        axes="CZYX",
        voxel_size=(2.0, 0.5, 0.5),
        unit="µm",
        channels=(ChannelInfo("DAPI", 0x0000FF), ChannelInfo("GFP", None)),
        source_name="cells.ome.tif",
    )
    info = replace(info, **about)
    rng = np.random.default_rng(0)
    chunks = []
    for c in range(2):
        records: Any = np.zeros(5, RECORD_DTYPE)
        records["position"] = rng.uniform(-3, 3, (5, 3))
        records["scale"] = rng.uniform(0.8, 2, (5, 3))
        records["rotation"] = rng.normal(size=(5, 4))
        records["intensity"] = rng.uniform(0.2, 1, 5)
        brick = (min(shape[0], 6), min(shape[1], 20), min(shape[2], 24))
        lo, hi = support_box(records, (0, 0, 0), brick, shape, CUTOFF)
        chunks.append(EncodedChunk(0, c, 0, codings.RAW, (0, 0, 0), brick, 5, lo, hi, raw.encode(records)))
    meta = FileMeta(
        info=info,
        cutoff=CUTOFF,
        images=((100.0, 1000.0), (50.0, 2000.0)),
        software="test",
        quality={"psnr": 40.0},
        noise=noise,
    )
    write_file(path, meta, chunks)
    return info


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small sound .vgm file."""
    path = tmp_path / "cells.vgm"
    small_file(path)
    return path
