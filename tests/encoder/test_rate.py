"""Files are as large, as good or of as many Gaussians as was asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest

import volmicro_codec
from tests.encoder.fits import gaussians, other_processor, rendered
from volmicro_codec import evaluate
from volmicro_codec.encoder.pipeline import EncodeResult, encode_volume
from volmicro_codec.encoder.rate import balance, growth
from volmicro_codec.encoder.settings import LEAST_BYTES, EncodeSettings
from volmicro_codec.errors import UsageError
from volmicro_codec.phantom import make_phantom
from volmicro_codec.volume import Volume

pytestmark = pytest.mark.slow

SHAPE = (16, 24, 28)
SMALL = (12, 18, 20)
CODINGS = ("lattice", "float16", "raw")


def scene(seed=0, noise=0.01, shape=SHAPE):
    """More small Gaussians than a file of a kilobyte can hold, and a little noise."""
    rng = np.random.default_rng(seed)
    m = gaussians(90, shape, seed, sigma=(0.7, 1.5))
    m.mu[:] = rng.uniform(0, np.asarray(shape) - 1.0, (90, 3))
    v = rendered(m, shape) + rng.normal(0, noise, shape)
    return (np.clip(v, -0.2, None) * 3000 + 800).astype(np.uint16)


def encode(tmp_path, voxels, name="a.vgm", **settings) -> tuple[EncodeResult, np.ndarray]:
    """What an encode did, and the decoded voxels; what it says of the file is checked against the file."""
    values = {"effort": "fast", "threads": 1, "gate": "none", "iterations": 6, "objective": "voxels"}
    path = tmp_path / name
    chosen = EncodeSettings(**{**values, **settings})
    result = encode_volume(Volume.from_array(voxels), path, chosen, force=True)
    decoded = np.asarray(volmicro_codec.open(path))
    assert result.bytes == path.stat().st_size
    assert result.ratio == voxels.nbytes / result.bytes
    assert result.psnr == pytest.approx(evaluate.compare(voxels, decoded)["psnr"], rel=1e-5)
    return result, decoded


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("target", [{"size": 1500}, {"ratio": 14.0}], ids=["size", "ratio"])
def test_bytes_are_just_below_what_was_asked(tmp_path, coding, target):
    voxels = scene()
    result, _ = encode(tmp_path, voxels, coding=coding, **target)
    most = target.get("size") or math.floor(voxels.nbytes / target["ratio"])
    assert 0.97 * most <= result.bytes <= most


@pytest.mark.parametrize("effort", ["fast", "balanced", "best"])
def test_every_effort_lands_on_the_bytes(tmp_path, effort):
    result, _ = encode(tmp_path, scene(shape=SMALL), effort=effort, size=500, iterations=3)
    assert 485 <= result.bytes <= 500


@pytest.mark.parametrize("layout", [{"brick": 16}, {"levels": 3}], ids=["bricks", "levels"])
def test_so_do_files_of_several_chunks(tmp_path, layout):
    result, _ = encode(tmp_path, scene(), size=1600, **layout)
    assert 0.97 * 1600 <= result.bytes <= 1600


def test_images_share_the_bytes(tmp_path):
    voxels = np.stack([scene(0, shape=SMALL), scene(1, shape=SMALL)])
    one, _ = encode(tmp_path, voxels[0], size=500)
    settings = EncodeSettings(
        effort="fast", threads=1, gate="none", iterations=6, size=1000, objective="voxels"
    )
    both = encode_volume(Volume.from_array(voxels), tmp_path / "two.vgm", settings)
    assert 0.97 * 1000 <= both.bytes <= 1000
    assert abs(both.psnr - one.psnr) < 4


def test_a_psnr_beyond_the_signal_gets_all_of_that_and_one_near_it_fewer_bytes(tmp_path):
    voxels = scene(noise=0.03, shape=(16, 48, 56))
    usual = {"objective": "signal", "effort": "balanced", "iterations": None}
    everything, _ = encode(tmp_path, voxels, slope=11.1, **usual)
    beyond, _ = encode(tmp_path, voxels, psnr=everything.psnr + 20.0, **usual)
    assert beyond.psnr > everything.psnr - 0.05
    assert beyond.bytes < 1.05 * everything.bytes
    near, _ = encode(tmp_path, voxels, psnr=everything.psnr - 0.5, **usual)
    assert everything.psnr - 0.5 <= near.psnr < everything.psnr
    assert near.bytes < 0.97 * everything.bytes


@pytest.mark.parametrize("processor", range(4))
@pytest.mark.parametrize("psnr", [28.0, 31.0])
def test_a_psnr_is_reached_and_hardly_more(tmp_path, monkeypatch, psnr, processor):
    other_processor(monkeypatch, processor)
    result, _ = encode(tmp_path, scene(), psnr=psnr)
    assert psnr <= result.psnr <= psnr + 0.05


@pytest.mark.parametrize("coding", ["float16", "raw"])
def test_a_psnr_is_reached_by_records_too(tmp_path, coding):
    """Their only measure is the count, and one Gaussian more or less is worth some hundredths of a dB."""
    result, _ = encode(tmp_path, scene(), psnr=26.0, coding=coding)
    assert 26.0 <= result.psnr <= 26.5


def test_better_takes_more_bytes(tmp_path):
    sizes = [encode(tmp_path, scene(), psnr=p)[0].bytes for p in (24.0, 31.0)]
    assert sizes[0] < 0.7 * sizes[1]


def test_a_background_that_is_good_enough_needs_no_gaussian(tmp_path):
    voxels = np.full(SHAPE, 100, np.uint8)
    voxels[5, 6, 7:11] = 200
    result, decoded = encode(tmp_path, voxels, psnr=30.0)
    assert result.primitives == 0
    assert (decoded == 100).all()


def test_a_psnr_out_of_reach_gives_the_best_file_found_in_bounded_time(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 65535, (4, 6, 8)).astype(np.uint16)
    result, _ = encode(tmp_path, voxels, psnr=150.0)
    assert 10 < result.psnr < 150


@pytest.mark.parametrize("processor", range(4))
@pytest.mark.parametrize("coding", CODINGS)
def test_primitives_are_as_many_as_asked(tmp_path, monkeypatch, coding, processor):
    other_processor(monkeypatch, processor)
    result, _ = encode(tmp_path, scene(), primitives=40, coding=coding)
    assert result.primitives == 40


def test_primitives_are_as_many_as_asked_even_where_a_few_would_do(tmp_path):
    """A smooth image shows few places for one at a time, and rounding would drop most of them."""
    voxels = (np.add.outer(np.arange(240.0), np.zeros(24)) / 3).reshape(12, 20, 24).astype(np.uint16)
    result, _ = encode(tmp_path, voxels, primitives=200)
    assert result.primitives == 200


@pytest.mark.parametrize("target", [{"ratio": 20.0}, {"psnr": 40.0}, {"primitives": 50}])
def test_never_more_primitives_than_allowed(tmp_path, target):
    result, _ = encode(tmp_path, scene(), max_primitives=13, **target)
    assert 6 <= result.primitives <= 13


def test_a_file_too_small_for_anything_is_refused(tmp_path):
    with pytest.raises(UsageError, match="too small"):
        encode(tmp_path, scene(), size=100)
    assert list(tmp_path.iterdir()) == []


def test_a_volume_too_small_for_the_usual_ratio_gets_a_kilobyte(tmp_path):
    result, _ = encode(tmp_path, scene())
    assert result.bytes <= LEAST_BYTES < 1.2 * result.bytes
    assert scene().nbytes / 200 < 200


def test_where_far_more_were_grown_than_the_bytes_hold_they_are_grown_again(tmp_path, monkeypatch):
    """Of what was added at once the most energetic ones alone would be twice as far off."""
    _, truth = make_phantom((12, 64, 72), 4, photons=200, truth=True)
    voxels = np.rint(truth).astype(np.uint16)
    usual = {"size": 300, "objective": "signal", "effort": "balanced", "gate": "learned", "iterations": None}
    again, _ = encode(tmp_path, voxels, **usual)
    monkeypatch.setattr(balance, "MANY", 0.0)
    pruned, _ = encode(tmp_path, voxels, **usual)
    assert again.bytes <= 300
    assert again.psnr > pruned.psnr + 3.0


def test_separate_spots_are_rounded_coarsely_so_that_there_are_bytes_for_all(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    spots = gaussians(90, (16, 64, 64), 5, sigma=(0.6, 0.9), weight=(0.3, 1.0))
    spots.mu[:] = rng.uniform(2, np.array([13, 61, 61]), (90, 3))
    voxels = np.rint(100 + 800 * rendered(spots, (16, 64, 64))).astype(np.uint16)
    usual = {"size": 560, "effort": "balanced", "iterations": None, "points": False}
    all_of_them, _ = encode(tmp_path, voxels, **usual)
    monkeypatch.setattr(balance, "STEEPEST", growth.STEEP)
    finely, _ = encode(tmp_path, voxels, **usual)
    assert all_of_them.primitives > finely.primitives
    assert all_of_them.psnr > finely.psnr + 0.2


def test_what_the_fit_is_rounded_to_is_what_is_decoded(tmp_path):
    """Refits between roundings make up for the float16 of the records as for the lattice."""
    _, truth = make_phantom((12, 64, 72), 5, "nuclei", photons=200, truth=True)
    result, _ = encode(tmp_path, truth.astype(np.float32), ratio=40, objective="signal", points=False)
    rounded = [h["psnr"] for h in result.history if h["stage"] == "weights rounded"][-1]
    coded = [h["psnr"] for h in result.history if h["stage"] == "coded"][-1]
    assert coded > 55.0
    assert coded == pytest.approx(rounded, abs=0.01)


def test_small_files_get_better_with_every_byte_allowed(tmp_path):
    results = [encode(tmp_path, scene(), size=s)[0] for s in (250, 500, 1000)]
    psnr = [r.psnr for r in results]
    assert psnr == sorted(psnr)
    assert all(r.bytes <= s for r, s in zip(results, (250, 500, 1000), strict=True))
