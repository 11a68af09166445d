"""A small volume, and a store of its bricks in the making, encoded once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zarr")

from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.io import write_volume
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.encode import encode_bricks, planned_job
from volmicro_codec.store.job import DONE, Input, Job, find_job
from volmicro_codec.store.runners import Here
from volmicro_codec.volume import ChannelInfo, Volume

SETTINGS = EncodeSettings(effort="fast", brick=128)
SHAPE = (16, 48, 288)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of three bricks along x, of which the last is noise alone; two levels."""
    stack = make_phantom(SHAPE, 5, photons=300)
    background = int(np.median(stack))
    stack[:, :, 160:] = np.rint(np.random.default_rng(0).normal(background, 2.0, (16, 48, 128)))
    volume = Volume.from_array(
        stack, "ZYX", voxel_size=(2.0, 0.5, 0.5), unit="µm", channels=(ChannelInfo("DAPI", 0x0000FF),)
    )
    path = tmp_path_factory.mktemp("original") / "stack.ome.tif"
    write_volume(path, volume.data, volume.info)
    return path


@pytest.fixture(scope="session")
def begun(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store with all its bricks, before it is finished; not to be changed."""
    path = tmp_path_factory.mktemp("begun") / "stack.ome.zarr"
    job = planned_job(Input(str(original)), str(path), SETTINGS)
    worked = encode_bricks(job, Here())
    assert not worked.failures
    return path


@pytest.fixture
def copied(begun: Path, tmp_path: Path) -> Job:
    """A copy of it to work on."""
    path = tmp_path / "stack.ome.zarr"
    shutil.copytree(begun, path)
    job = find_job(str(path))
    assert job is not None
    return replace(job, dest=str(path))


def contents(store: Path) -> dict[str, bytes]:
    """The chunks of a store."""
    files = (p for p in store.rglob("*") if p.is_file() and "/c/" in p.as_posix())
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in files}


def forget(job: Job, *numbers: int) -> None:
    """Take bricks out of a store, as if they had not been worked on."""
    for n in numbers:
        (Path(job.dest) / DONE / str(n)).unlink()
        for level in range(job.grid.own_levels):
            (Path(job.dest) / job.grid.key(job.grid.brick(n), level)).unlink(missing_ok=True)
