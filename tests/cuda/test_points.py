"""Values at points are the specification's, of all primitives and of the nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda import scenes
from volmicro_codec.cuda import neighbours, sampling
from volmicro_codec.cuda.rasteriser import CudaRasteriser
from volmicro_codec.decoder import oracle
from volmicro_codec.primitives import Primitives


def points_in(shape: tuple[int, int, int], m: int, around: float = 4.0) -> Any:
    r = np.random.default_rng(9)
    return r.uniform(-around, np.asarray(shape) + around, (m, 3))


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("name", ["scattered", "tiny", "needles", "leaving", "nothing", "huge"])
def test_values_at_points_are_those_of_the_specification(
    raster: CudaRasteriser, name: str, level: int
) -> None:
    prims, shape = scenes.SCENES[name]
    points = points_in(shape, 150)
    got = raster.device.host(sampling.sample(raster, prims, points, base=100.0, gain=7.0, level=level))
    value = oracle.at_points(prims, 12.0, points, level)
    size = np.maximum(1, np.abs(prims.intensities.astype(np.float64)).sum())
    assert np.abs(got - (100 + 7 * value)).max() <= 7 * 1e-4 * size + 1e-4


def test_points_at_voxels_have_the_voxels_values(raster: CudaRasteriser) -> None:
    prims, shape = scenes.SCENES["scattered"]
    points = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    got = raster.device.host(sampling.sample(raster, prims, points)).reshape(shape)
    want = raster.render(raster.pack_floats(raster.upload(prims), (0, 0, 0), shape))
    assert np.abs(got - raster.device.host(want)).max() < 2e-5


def test_points_far_apart_need_no_fine_tiles_between_them(
    raster: CudaRasteriser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_TILES", 200)
    prims, shape = scenes.SCENES["scattered"]
    far = Primitives(prims.means + 1e6, prims.scales, prims.rotations, prims.intensities)
    both = Primitives.concatenate([prims, far])
    points = np.concatenate([points_in(shape, 40), points_in(shape, 40) + 1e6, [[1e12, -1e12, 0.0]]])
    got = raster.device.host(sampling.sample(raster, both, points))
    assert np.abs(got - oracle.at_points(both, 12.0, points)).max() < 1e-3
    assert got[-1] == 0


def test_no_points_have_no_values(raster: CudaRasteriser) -> None:
    prims, _ = scenes.SCENES["scattered"]
    assert raster.device.host(sampling.sample(raster, prims, np.zeros((0, 3)))).shape == (0,)


@pytest.mark.parametrize("n", [1, 5, 31, 32, 33, 200])
def test_the_nearest_are_those_that_a_full_search_finds(n: int) -> None:
    prims = scenes.scattered(n, (13, 21, 35), seed=n)
    points = points_in((13, 21, 35), 50)
    got = sampling.nearest(prims.means, points)
    distance = ((points[:, None] - prims.means[None]) ** 2).sum(axis=2)
    few = min(n, 32)
    want = np.sort(np.argsort(distance, axis=1)[:, :few], axis=1)
    assert got.shape == (50, 32)
    assert (got[:, : 32 - few] == -1).all()
    assert (got[:, 32 - few :] == want).all()


def distances(means: Any, points: Any, ids: Any) -> Any:
    """Of each point to the centres named for it, ascending."""
    return np.sort(np.sqrt(((points[:, None] - means[ids]) ** 2).sum(axis=2)), axis=1)


@pytest.mark.parametrize("at", [0.0, 4e4])
@pytest.mark.parametrize("gpu", [None, pytest.param(0, marks=pytest.mark.gpu)])
def test_faiss_and_the_tree_find_the_same_neighbours(gpu: int | None, at: float) -> None:
    pytest.importorskip("faiss", reason="FAISS is not installed: pip install faiss-cpu")
    if gpu is not None and not neighbours.faiss_gpus():
        pytest.skip("this FAISS sees no GPU")
    shape = (13, 21, 35)
    means, points = scenes.scattered(1500, shape, seed=3).means + at, points_in(shape, 300) + at
    a, b = (f(means, points, 32) for f in (lambda *v: neighbours.by_faiss(*v, gpu), neighbours.by_tree))
    assert a.shape == b.shape == (300, 32)
    assert a.dtype == b.dtype == np.int64
    # Where two are as far to float32 either may be taken: the distances are the same.
    np.testing.assert_allclose(distances(means, points, a), distances(means, points, b), atol=1e-4)
    assert np.mean(np.sort(a, axis=1) == np.sort(b, axis=1)) > 0.999


def test_faiss_searches_where_it_has_the_gpu_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(neighbours, "by_faiss", lambda m, p, k, gpu: asked.append(gpu))
    monkeypatch.setattr(neighbours, "by_tree", lambda m, p, k: asked.append("tree"))
    means = points_in((9, 9, 9), 4)
    for gpus, named in ((2, 1), (2, None), (0, 1)):
        monkeypatch.setattr(neighbours, "faiss_gpus", lambda gpus=gpus: gpus)
        neighbours.closest(means, means, 2, gpu=named)
    assert asked == [1, "tree", "tree"]


def test_the_nearest_primitives_alone_make_the_value(raster: CudaRasteriser) -> None:
    prims, shape = scenes.SCENES["scattered"]
    points = points_in(shape, 60)
    got = raster.device.host(sampling.sample_nearest(raster, prims, points, k=8, base=1.0, gain=2.0))
    for value, point, ids in zip(got, points, sampling.nearest(prims.means, points, 8), strict=True):
        some = Primitives(prims.means[ids], prims.scales[ids], prims.rotations[ids], prims.intensities[ids])
        assert value == pytest.approx(1 + 2 * oracle.at_points(some, 12.0, point[None])[0], abs=1e-3)


def test_with_few_primitives_the_nearest_are_all(raster: CudaRasteriser) -> None:
    prims = scenes.scattered(20, (13, 21, 35))
    points = points_in((13, 21, 35), 60)
    near, every = (
        raster.device.host(f(raster, prims, points)) for f in (sampling.sample_nearest, sampling.sample)
    )
    assert np.abs(near - every).max() < 1e-5
    none = sampling.sample_nearest(raster, Primitives.empty(), points, base=3.0)
    assert (raster.device.host(none) == 3).all()
