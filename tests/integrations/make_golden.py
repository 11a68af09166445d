"""Makes the golden store, once for each version of what is stored (python -m, with a directory)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import zarr

from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.integrations.numcodecs_codec import VgmNumcodec
from volmicro_codec.io import write_volume
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.array import open_store
from volmicro_codec.store.encode import encode_bricks, planned_job
from volmicro_codec.store.finish import finish
from volmicro_codec.store.job import Input
from volmicro_codec.store.runners import Here
from volmicro_codec.volume import ChannelInfo, Volume

GOLDEN = Path(__file__).parent / "golden"


def make(directory: Path) -> None:
    """A store of four bricks, one of them left out, a Zarr v2 array, and the voxels of both."""
    stack = make_phantom((24, 96, 80), 2, photons=300)
    background = int(np.median(stack))
    stack[:, 16:, 16:] = np.rint(np.random.default_rng(0).normal(background, 4.0, (24, 80, 64)))
    volume = Volume.from_array(
        stack, "ZYX", voxel_size=(2.0, 0.5, 0.5), unit="µm", channels=(ChannelInfo("DAPI", 0x0000FF),)
    )
    write_volume(directory / "in.npy", volume.data, volume.info)
    job = planned_job(
        Input(str(directory / "in.npy")),
        str(directory / "v3.ome.zarr"),
        EncodeSettings(brick=48, effort="fast"),
    )
    encode_bricks(job, Here())
    finish(job)
    settings = {"slope": 11.09, "effort": "fast"}
    v2 = zarr.create_array(
        str(directory / "v2.zarr"), shape=(24, 32, 32), chunks=(24, 32, 32), dtype="uint16", zarr_format=2,
        compressors=VgmNumcodec(**settings),
    )  # fmt: skip
    v2[:] = stack[:, :32, :32]
    np.savez_compressed(
        directory / "voxels.npz", v3=open_store(str(directory / "v3.ome.zarr"))[...], v2=v2[:]
    )
    (directory / "in.npy").unlink()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    target.mkdir(exist_ok=True)
    make(target)
