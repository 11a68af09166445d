"""Small .vgm files of random Gaussians, made without the encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volmicro_codec.convert.imports import write_primitives
from volmicro_codec.primitives import Primitives
from volmicro_codec.volume import VolumeInfo

MakeFile = Callable[..., Path]


def random_primitives(n: int, shape: tuple[int, int, int], seed: int = 0) -> Primitives:
    """Gaussians inside a volume, of 1 to 4 voxels, a fifth of them negative; exact in float16."""
    rng = np.random.default_rng(seed)
    means = np.round(rng.uniform(0, 1, (n, 3)) * (np.array(shape) - 1) * 8) / 8
    scales = rng.uniform(1, 4, (n, 3)).astype(np.float16).astype(np.float32)
    quats = rng.normal(size=(n, 4))
    quats = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    weights = (rng.uniform(0.1, 1, n) * np.where(rng.uniform(size=n) < 0.2, -1, 1)).astype(np.float16)
    return Primitives(means, scales, quats, weights.astype(np.float32))


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """A function that writes random Gaussians and returns the path."""

    def make(
        name: str = "v.vgm",
        axes: str = "ZYX",
        shape: tuple[int, int, int] = (20, 30, 40),
        n: int = 60,
        dtype: str = "uint16",
        images: tuple[int, int] = (2, 2),
        **info: Any,
    ) -> Path:
        t = images[0] if "T" in axes else 1
        c = images[1] if "C" in axes else 1
        described = VolumeInfo((t, c, *shape), np.dtype(dtype), axes, **info)
        rng = np.random.default_rng(1)
        write_primitives(
            tmp_path / name,
            random_primitives(n, shape),
            described,
            tuple((100.0 + k, 1000.0 + k) for k in range(t * c)),
            rng.integers(0, t, n),
            rng.integers(0, c, n),
            cutoff=12.0,
            force=True,
        )
        return tmp_path / name

    return make
