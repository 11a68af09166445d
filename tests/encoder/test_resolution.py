"""Levels of resolution: what a coarser grid leaves out hardly shows there, and is not read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.encoder.fits import CUTOFF, gaussians, rendered
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.decoder import oracle, select
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.image import Image
from volmicro_codec.encoder.mask.gate import no_gate
from volmicro_codec.encoder.pipeline import encode_bytes
from volmicro_codec.encoder.quantise import resolution as resolution_module
from volmicro_codec.encoder.quantise.coder import POINTS_PLACE, Layout, code_float16, model_of, place
from volmicro_codec.encoder.quantise.grid_levels import MORE, grid_levels, numbered
from volmicro_codec.encoder.quantise.resolution import (
    MEAN_BYTES,
    Levels,
    Resolution,
    _CoarseModel,
    grids_of,
    means,
    needed_on,
)
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.format import FileMeta, VgmReader, encode_file
from volmicro_codec.primitives import Primitives
from volmicro_codec.raster.pyramid import PyramidRasteriser
from volmicro_codec.volume import Volume, VolumeInfo

SHAPE = (32, 64, 72)
BOX = tuple(slice(0, n) for n in SHAPE)
RASTER = PyramidRasteriser(CUTOFF, 1)


def texture(count: int, seed: int = 1) -> Model:
    """Pairs of narrow Gaussians of opposite sign, a voxel or two apart: on coarse grids next to nothing."""
    first = gaussians(count, SHAPE, seed, sigma=(0.6, 0.9), weight=(0.05, 0.1))
    away = np.random.default_rng(seed).choice([-1.0, 1.0], (count, 3))
    return first.join(Model(first.mu + away, first.B, -first.w))


@pytest.fixture(scope="module")
def scene() -> tuple[Model, np.ndarray]:
    """Twelve wide Gaussians and eighty pairs of narrow ones, and their voxels with a little noise."""
    model = gaussians(12, SHAPE, 0, sigma=(4.0, 7.0)).join(texture(80))
    noise = np.random.default_rng(2).normal(0, 0.01, SHAPE)
    return model, (rendered(model, SHAPE) + noise).astype(np.float32)


def resolution(voxels: np.ndarray, most: int | None) -> Resolution:
    return Resolution(Image(voxels, 0.0, 1.0, no_gate(voxels), (1.0, 1.0, 1.0)), RASTER, most)


def coded(model: Model, levels: Levels):
    layout = Layout.of(model, BOX, 128, levels)
    return code_float16(model, layout, SHAPE, CUTOFF, (0, 0), False).chunks


META = FileMeta(VolumeInfo((1, 1, *SHAPE), np.dtype("float32")), CUTOFF, ((0.0, 1.0),))


def more(voxels: np.ndarray, data: bytes, n: int) -> float:
    """A grid's squared error, against means of the voxels, over that with all levels."""
    with open_vgm(data) as array:
        everything = replace(array.meta, grid_levels=())
        with VgmReader.open(data) as reader:
            reader.meta = everything
            whole = open_vgm(reader).level(n)[...].astype(float)
        target = means(voxels, BOX, n)[0]
        errors = [np.square(shown - target).sum() for shown in (array.level(n)[...].astype(float), whole)]
    return float(errors[0] / errors[1])


def test_means_are_those_of_the_voxels_that_there_are() -> None:
    voxels = np.random.default_rng(0).integers(0, 9, (5, 6, 7)).astype(np.uint8)
    box = (slice(0, 5), slice(1, 6), slice(0, 7))
    found, share = means(voxels, box, 1)
    assert found.shape == (3, 3, 4)
    inside = voxels[box]
    for at in np.ndindex(found.shape):
        cell = inside[tuple(slice(2 * a, 2 * a + 2) for a in at)]
        assert found[at] == pytest.approx(cell.mean())
        assert share[at] == cell.size / 8


def test_grids_go_on_until_a_few_voxels_are_left() -> None:
    assert list(grids_of((4, 5, 6))) == [1]
    assert list(grids_of((100, 647, 813))) == [2, 3, 4, 5]
    assert grids_of((3000, 3000, 3000))[0] == 5


@pytest.mark.parametrize("n", [1, 2, 3])
def test_coarse_gaussians_are_those_of_the_specification(n: int) -> None:
    rng = np.random.default_rng(n)
    p = Primitives(
        rng.uniform(0.2, 0.8, (6, 3)) * SHAPE,
        rng.uniform(0.5, 6.0, (6, 3)).astype(np.float32),
        rng.normal(size=(6, 4)).astype(np.float32),
        rng.uniform(0.3, 1.0, 6).astype(np.float32),
    )
    coarse = _CoarseModel(model_of(p), BOX, n)
    shape = select.Grid.of(SHAPE, n).shape

    def drawn(k: slice) -> np.ndarray:
        return RASTER.render(RASTER.pack(coarse.means[k], coarse.covariances[k], coarse.weights[k], shape))

    np.testing.assert_allclose(drawn(slice(6)), oracle.render(p, CUTOFF, (0, 0, 0), shape, n), atol=3e-4)
    sums = [float(np.square(drawn(slice(k, k + 1))).sum()) for k in range(6)]
    np.testing.assert_allclose(coarse.squared_norms(), sums, rtol=0.1, atol=1e-4)


def test_a_coarse_grid_does_not_need_what_averages_to_nothing(scene: tuple[Model, np.ndarray]) -> None:
    model, voxels = scene
    target, share = means(voxels, BOX, 2)
    held = np.zeros(len(model), bool)
    held[[20, 90]] = True
    needed = needed_on(model, BOX, 2, target, share, held, RASTER)
    assert needed[:12].all()
    assert needed[held].all()
    assert np.count_nonzero(needed) < 0.5 * len(model)


def test_grids_that_an_overview_serves_get_no_level(
    scene: tuple[Model, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, voxels = scene
    monkeypatch.setattr(resolution_module, "FEW", 0)
    monkeypatch.setattr(resolution_module, "LEAST", 1)
    told: list[float] = []

    def served(size: float) -> int:
        told.append(size)
        return 2

    image = Image(voxels, 0.0, 1.0, no_gate(voxels), (1.0, 1.0, 1.0))
    every, finer = Resolution(image, RASTER, None).levels(model), Resolution(image, RASTER, None, served)
    assert max(every.grids) >= 2
    assert max(finer.levels(model).grids) < 2
    assert told == [pytest.approx(len(model) * MEAN_BYTES)]
    asked = Resolution(image, RASTER, 4, served).levels(model)  # levels that were asked for are all there
    assert asked.grids == Resolution(image, RASTER, 4).levels(model).grids


def test_levels_say_from_the_coarsest_grid_on_who_is_needed(scene: tuple[Model, np.ndarray]) -> None:
    model, voxels = scene
    levels = resolution(voxels, 4).levels(model)
    assert levels.grids[-1] == 0
    assert list(levels.grids) == sorted(levels.grids, reverse=True)
    assert (levels.of[:12] == 0).all()
    assert set(levels.of) == set(range(len(levels.grids)))
    assert len(levels.grids) > 1
    two = resolution(voxels, 2).levels(model)
    assert len(two.grids) == 2
    assert two.grids[0] == levels.grids[0]
    for most in (1, None):  # None: so few are best on one
        assert resolution(voxels, most).levels(model).grids == (0,)


def test_a_file_states_as_few_levels_as_hardly_cost_a_grid_anything(scene: tuple[Model, np.ndarray]) -> None:
    model, voxels = scene
    levels = resolution(voxels, 4).levels(model)
    chunks = numbered(coded(model, levels), 4)
    said = grid_levels(META, chunks, voxels[None, None], BOX, threads=1, device="cpu")
    assert said[-1] < max(c.level for c in chunks)
    data = encode_file(replace(META, grid_levels=said), chunks)
    for n in grids_of(SHAPE):
        assert more(voxels, data, n) <= MORE + 1e-6


def test_levels_that_a_grid_would_miss_are_stated(scene: tuple[Model, np.ndarray]) -> None:
    """However badly levels were chosen: here the narrow ones come first."""
    model, voxels = scene
    upside_down = Levels(np.array([1] * 12 + [0] * (len(model) - 12)), (3, 0))
    chunks = numbered(coded(model, upside_down))
    assert grid_levels(META, chunks, voxels[None, None], BOX, threads=1, device="cpu") == ()


def test_chunks_are_numbered_from_the_coarsest_on_and_points_come_last(
    scene: tuple[Model, np.ndarray],
) -> None:
    (chunk,) = coded(scene[0], Levels.one(len(scene[0])))
    places = [POINTS_PLACE, place(0), place(4), place(2), place(0)]
    chunks = [replace(chunk, level=p) for p in places]
    assert [c.level for c in numbered(chunks)] == [0, 1, 2, 2, 3]
    assert [c.level for c in numbered(chunks, 2)] == [0, 1, 1, 1, 2]
    assert [c.level for c in numbered(chunks[1:2], 2)] == [0]
    assert numbered([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["lattice", "float16"])
def test_an_encode_with_levels_reads_less_of_the_file_for_coarser_grids(
    scene: tuple[Model, np.ndarray], coding: str
) -> None:
    voxels = np.rint(scene[1] * 2000 + 300).clip(0, 65535).astype(np.uint16)
    asked = {"effort": "fast", "threads": 1, "gate": "none", "size": 3000, "objective": "voxels"}
    asked |= {"coding": coding} | ({"points": False} if coding == "lattice" else {})
    files = {
        levels: encode_bytes(Volume.from_array(voxels), EncodeSettings(**asked, levels=levels))[0]
        for levels in (1, 3)
    }
    with VgmReader.open(files[1]) as reader:
        assert reader.meta.grid_levels == ()
        assert set(reader.index.level) == {0}
    with VgmReader.open(files[3]) as reader:
        index, said = reader.index, reader.meta.grid_levels
        assert 1 < len(set(index.level)) <= 3
        assert index.length[index.level <= said[-1]].sum() < index.length.sum()
    for n in grids_of(SHAPE):
        assert more(voxels, files[3], n) <= MORE + 1e-6
