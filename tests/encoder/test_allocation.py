"""Points take part where they make a better file of the same bytes, and only there."""

from __future__ import annotations

import numpy as np
import pytest

import volmicro_codec
from tests.encoder.fits import fit_of, gaussians, other_processor, rendered
from volmicro_codec import evaluate
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.pipeline import encode_volume
from volmicro_codec.encoder.quantise.coder import Coded
from volmicro_codec.encoder.rate import growth
from volmicro_codec.encoder.rate import to_bytes as rate
from volmicro_codec.encoder.rate.allocation import loss_of
from volmicro_codec.encoder.rate.point_layer import layer, model_of_points
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.format import VgmReader, codings
from volmicro_codec.volume import Volume

pytestmark = pytest.mark.slow

SHAPE = (16, 32, 36)


def texture():
    """A small box of rough texture in a dark, quiet volume: many bits for each of its voxels."""
    rng = np.random.default_rng(3)
    v = rng.normal(500, 4, SHAPE)
    v[5:12, 8:22, 10:26] += rng.uniform(4000, 9000, (7, 14, 16))
    return v.astype(np.uint16)


def blobs():
    """What Gaussians are best at."""
    v = rendered(gaussians(20, SHAPE, 0, sigma=(1.5, 3.0)), SHAPE)
    return (v * 20000 + 200).astype(np.uint16)


def encode(path, voxels, **settings):
    """Measures of a quick encode, and the codings of the file's chunks."""
    values = {"effort": "fast", "threads": 1, "gate": "none", "objective": "voxels", **settings}
    result = encode_volume(Volume.from_array(voxels), path, EncodeSettings(**values), force=True)
    used = set(index_of(path).coding.tolist())
    return result, evaluate.compare(voxels, np.asarray(volmicro_codec.open(path))), used


def index_of(path):
    """The index of a file's chunks."""
    with VgmReader.open(path) as reader:
        return reader.index


def test_rough_texture_is_far_better_with_points_in_the_same_bytes(tmp_path):
    voxels = texture()
    with_points, better, used = encode(tmp_path / "a.vgm", voxels, size=2200)
    without, worse, plain = encode(tmp_path / "b.vgm", voxels, size=2200, points=False)
    assert codings.POINTS in used
    assert plain == {codings.LATTICE}
    assert 0.99 * 2200 <= with_points.bytes <= 2200
    assert without.bytes <= 2200
    assert better["psnr"] > worse["psnr"] + 1
    assert better["psnr_fg"] > worse["psnr_fg"] + 1


def test_large_images_are_not_grown_again_and_land_on_the_bytes_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "LARGE_IMAGE", 0)
    result, _, used = encode(tmp_path / "a.vgm", texture(), size=2200)
    assert codings.POINTS in used
    assert 0.97 * 2200 <= result.bytes <= 2200
    stages = [h["stage"] for h in result.history]
    assert "fewer" in stages
    assert "again" not in stages


def test_large_images_stop_growing_where_doubling_takes_off_little(tmp_path, monkeypatch):
    most = {}
    for limit in (0, 1 << 40):
        monkeypatch.setattr(growth, "LARGE_IMAGE", limit)
        result, _, _ = encode(tmp_path / "a.vgm", texture(), size=2200)
        most[limit] = max(h["primitives"] for h in result.history if h["stage"].startswith("round "))
    assert most[0] < 0.5 * most[1 << 40]


def test_blobs_need_no_points(tmp_path):
    _, _, used = encode(tmp_path / "a.vgm", blobs(), size=400)
    assert used == {codings.LATTICE}


def test_a_psnr_takes_fewer_bytes_with_points_where_the_texture_is_rough(tmp_path):
    voxels = texture()
    with_points, better, used = encode(tmp_path / "a.vgm", voxels, psnr=34.0)
    without, _, _ = encode(tmp_path / "b.vgm", voxels, psnr=34.0, points=False)
    assert codings.POINTS in used
    assert 34.0 <= better["psnr"] <= 34.05
    assert with_points.bytes < 0.9 * without.bytes


@pytest.mark.parametrize("settings", [{"primitives": 30}, {"size": 2200, "max_primitives": 50}])
def test_points_are_no_way_around_a_count(tmp_path, settings):
    result, _, used = encode(tmp_path / "a.vgm", texture(), **settings)
    assert used == {codings.LATTICE}
    assert result.primitives <= 50


def test_points_come_last_in_the_file_and_a_region_reads_its_own(tmp_path):
    voxels = texture()
    encode(tmp_path / "a.vgm", voxels, size=2200)
    array = volmicro_codec.open(tmp_path / "a.vgm")
    coding, level = index_of(tmp_path / "a.vgm").coding, index_of(tmp_path / "a.vgm").level
    assert coding[-1] == codings.POINTS
    assert level[coding == codings.POINTS].min() > level[coding == codings.LATTICE].max()
    np.testing.assert_array_equal(array[4:9, 6:20, 9:17], np.asarray(array)[4:9, 6:20, 9:17])


@pytest.mark.parametrize("psnr", [60.0, 80.0])
def test_what_is_nearly_without_loss_can_be_asked_for(tmp_path, psnr):
    _, measured, _ = encode(tmp_path / "a.vgm", texture(), psnr=psnr)
    assert psnr <= measured["psnr"] <= psnr + 0.06


@pytest.mark.parametrize("processor", range(4))
def test_what_bytes_to_spare_keep_whole_takes_no_more_of_them_than_it_needs(tmp_path, monkeypatch, processor):
    other_processor(monkeypatch, processor)
    rng = np.random.default_rng(5)
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[rng.integers(0, 16, 60), rng.integers(8, 24, 60), rng.integers(8, 24, 60)] = 200
    voxels[6:9, 12:16, 12:16] = rng.integers(100, 255, (3, 4, 4))
    result, measures, _ = encode(tmp_path / "a.vgm", voxels, ratio=8)
    assert measures["max_error"] == 0
    assert result.bytes < 0.7 * voxels.nbytes / 8


def test_points_alone_are_taken_where_gaussians_beside_them_lose_something(tmp_path, monkeypatch):
    voxels = np.zeros(SHAPE, np.uint16)
    voxels[3, 4:30:5, 6:33:6] = np.random.default_rng(1).integers(500, 1500, (6, 5))

    def lossy(fit, growth, budget, plan):
        fit.model = Model.empty()
        fit.refit(0, stage="coded")
        return Coded([], fit.model)

    monkeypatch.setattr(rate, "_with_gaussians", lossy)
    monkeypatch.setattr(rate, "_may_lose_nothing", lambda *a: True)
    result, measures, used = encode(tmp_path / "a.vgm", voxels, ratio=30)
    assert measures["max_error"] == 0
    assert used == {codings.POINTS}
    assert result.primitives == result.points


@pytest.mark.parametrize("possible", [rate.STILL_POSSIBLE, 0.0])
def test_gaussians_beside_points_that_lose_nothing_are_tried_where_they_may_do_better(
    tmp_path, monkeypatch, possible
):
    tried, plain = [], rate._with_gaussians
    monkeypatch.setattr(rate, "_with_gaussians", lambda *a: (tried.append(len(a[0].model)), plain(*a))[1])
    monkeypatch.setattr(rate, "STILL_POSSIBLE", possible)
    z, y, x = np.mgrid[:16, :40, :40]
    light = 200 * np.exp(-((z - 8) ** 2 / 12 + (y - 17) ** 2 / 40 + (x - 22) ** 2 / 30))
    _, measures, used = encode(
        tmp_path / "a.vgm", np.rint(light).astype(np.uint8), ratio=4, objective="voxels"
    )
    assert measures["max_error"] == 0
    assert bool(tried) == (codings.LATTICE in used) == (possible > 0)


def test_a_file_that_loses_nothing_is_kept_before_one_whose_gaussians_fit_better():
    """What decoding rounds away is no error, however small it was before."""
    fit = fit_of(texture() // 8)
    fit.refit(0)
    lossy = loss_of(fit, 0.0)
    fit.model = model_of_points(layer(fit, 0.0, 1.0, 1.0), 1.0)
    fit.refit(0)
    assert fit.residuals.decoded_sse() == 0.0
    assert fit.sse > 0.0
    assert loss_of(fit, 0.0) < lossy - 100
