"""Any volume becomes a file, the same bytes each time, whatever its shape, type or contents."""

from __future__ import annotations

import numpy as np
import pytest

import volmicro_codec
from tests.conftest import cuda_missing
from tests.encoder.fits import gaussians, rendered
from volmicro_codec.encoder import parts
from volmicro_codec.encoder.job import UNKNOWN_NOISE
from volmicro_codec.encoder.pipeline import encode_volume
from volmicro_codec.encoder.settings import TARGETS, EncodeSettings
from volmicro_codec.errors import DependencyError, InputError, OutputExistsError, UsageError
from volmicro_codec.format import FileMeta, overhead
from volmicro_codec.noise_model import NoiseModel
from volmicro_codec.volume import Volume, VolumeInfo

pytestmark = pytest.mark.slow

SHAPE = (10, 14, 16)


def scene(seed=0, shape=SHAPE, dtype=np.uint16, n=12):
    rng = np.random.default_rng(seed)
    v = rendered(gaussians(n, shape, seed, sigma=(1.0, 2.0)), shape) + rng.normal(0, 0.01, shape)
    if dtype == np.float32:
        return v.astype(np.float32)
    top = 200 if dtype == np.uint8 else 5000
    least = -2500 if dtype == np.int16 else 20
    return (np.clip(v / v.max(), 0, 1) * top + least).astype(dtype)


def encode(path, voxels, axes=None, **settings):
    """The result of a quick encode, the bytes of its file, and the decoded voxels."""
    values = {"effort": "fast", "threads": 1, "gate": "none", "iterations": 4, **settings}
    if not set(TARGETS) & values.keys():
        values["primitives"] = 20
    result = encode_volume(Volume.from_array(voxels, axes), path, EncodeSettings(**values), force=True)
    return result, path.read_bytes(), np.asarray(volmicro_codec.open(path))


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 500},
        {"gate": "learned"},
        {"init": "kmeans", "seed": 5},
        {"optimizer": "adam"},
        {"densify": True, "lambda_overlap": 1e-5},
        {"coding": "float16"},
    ],
    ids=lambda s: " ".join(s),
)
def test_the_same_input_and_seed_give_the_same_bytes_on_any_number_of_threads(tmp_path, settings):
    voxels = scene()
    first = encode(tmp_path / "a.vgm", voxels, **settings)[1]
    assert encode(tmp_path / "b.vgm", voxels, **settings)[1] == first
    assert encode(tmp_path / "c.vgm", voxels, **{**settings, "threads": 3})[1] == first


def test_another_seed_starts_elsewhere(tmp_path):
    decoded = [encode(tmp_path / "a.vgm", scene(), init="random", seed=s)[2] for s in (1, 2)]
    assert (decoded[0] != decoded[1]).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_every_type_comes_back_as_it_was_and_looks_alike(tmp_path, dtype):
    voxels = scene(dtype=dtype)
    result, _, decoded = encode(tmp_path / "a.vgm", voxels)
    assert decoded.dtype == dtype
    assert decoded.shape == voxels.shape
    assert result.psnr > 25


def test_every_channel_and_time_point_is_coded_in_its_own_units(tmp_path):
    voxels = np.stack([[scene(0), scene(1) // 8], [scene(2), scene(3) // 8]])
    result, _, decoded = encode(tmp_path / "a.vgm", voxels, "TCZYX", size=1600, objective="voxels")
    assert decoded.shape == voxels.shape
    assert result.psnr > 25
    for t in range(2):
        for c in range(2):
            error = decoded[t, c].astype(float) - voxels[t, c]
            assert np.sqrt((error**2).mean()) < 0.1 * np.ptp(voxels[t, c])
    assert {tuple(h["image"]) for h in result.history} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert 0.97 * 1600 <= result.bytes <= 1600


@pytest.mark.parametrize("sigma", [1.0, 1.28, 12.7, 128.0, 9990.0, 1e-28, 9.99e-28])
def test_noise_not_yet_known_is_given_as_many_bytes_as_any_takes(sigma):
    def size(noise):
        info = VolumeInfo((1, 1, *SHAPE), np.dtype(np.float32))
        return overhead(FileMeta(info, 9.0, ((0.0, 1.0),), noise=(noise,)), [])

    for gain in (None, 0.5, 1.28, 999.0):
        assert size(NoiseModel(3.3, sigma, gain, (0.1, -0.5, 0.66))) <= size(UNKNOWN_NOISE)


FLAT = {
    "one plane in z": (1, 30, 30),
    "one plane in x": (30, 30, 1),
    "one row": (1, 1, 60),
    "three voxels a side": (3, 3, 3),
    "one voxel": (1, 1, 1),
}


@pytest.mark.parametrize("shape", FLAT.values(), ids=FLAT)
@pytest.mark.parametrize("gate", ["learned", "otsu", "none"])
def test_thin_and_tiny_volumes(tmp_path, shape, gate):
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 50, shape).astype(np.uint8)
    voxels[tuple(s // 2 for s in shape)] = 255
    result, _, decoded = encode(tmp_path / "a.vgm", voxels, gate=gate, size=600)
    assert decoded.shape == shape
    assert result.bytes <= 600
    assert result.psnr > 20


def constant(value, dtype):
    return np.full(SHAPE, value, dtype)


def hot_voxel():
    v = np.full(SHAPE, 100, np.uint16)
    v[5, 7, 8] = 60000
    return v


def steps():
    v = np.zeros(SHAPE, np.uint8)
    v[:, :, 10:] = 255
    return v


def noise():
    return np.random.default_rng(0).integers(0, 65536, (6, 8, 10)).astype(np.uint16)


ODD = {
    "all zero": lambda: constant(0, np.uint16),
    "saturated": lambda: constant(65535, np.uint16),
    "constant float": lambda: constant(-2.5, np.float32),
    "one hot voxel": hot_voxel,
    "a step": steps,
    "noise": noise,
    "tiny floats": lambda: scene(dtype=np.float32) * np.float32(1e-28),
    "huge floats": lambda: scene(dtype=np.float32) * np.float32(1e16),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize(
    "settings",
    [
        {"size": 600},
        {"psnr": 30.0, "objective": "voxels"},
        {"psnr": 30.0},
        {"within_noise": 2.0},
        {"slope": 20.0},
        {"primitives": 10},
        {"size": 600, "gate": "learned", "coding": "raw"},
    ],
    ids=["size", "psnr", "psnr of the signal", "within noise", "slope", "primitives", "raw records"],
)
def test_odd_volumes(tmp_path, what, settings):
    voxels = ODD[what]()
    result, data, decoded = encode(tmp_path / "a.vgm", voxels, **settings)
    assert decoded.shape == voxels.shape
    assert np.isfinite(decoded.astype(np.float64)).all()
    assert len(data) <= settings.get("size", len(data))
    if voxels.min() == voxels.max():
        np.testing.assert_array_equal(decoded, voxels)
        assert result.primitives == 0
    if "psnr" in settings:
        ended = "objective" not in settings and result.remark is not None
        assert result.psnr >= 30 or ended


@pytest.mark.parametrize(
    "bad", [np.nan, np.inf, 3.4e38, -1e20], ids=["not a number", "infinity", "huge", "hugely negative"]
)
def test_floats_that_no_fit_can_hold_are_refused_and_leave_nothing(tmp_path, bad):
    voxels = scene(dtype=np.float32)
    voxels[1, 2, 3] = bad
    with pytest.raises(InputError, match="float32"):
        encode(tmp_path / "a.vgm", voxels)
    assert list(tmp_path.iterdir()) == []


def test_floats_too_close_together_are_refused(tmp_path):
    with pytest.raises(InputError, match="float32"):
        encode(tmp_path / "a.vgm", scene(dtype=np.float32) * np.float32(1e-42))


@pytest.mark.parametrize("objective", ["voxels", "signal"])
def test_images_larger_than_a_block(tmp_path, monkeypatch, objective):
    """Blocks are an affair of the fit: the file is of one image all the same."""
    voxels = scene(shape=(8, 12, 60), n=40)
    settings = {"size": 1600, "iterations": 12, "objective": objective}
    whole, _, _ = encode(tmp_path / "a.vgm", voxels, **settings)
    monkeypatch.setattr(parts, "WHOLE_IMAGE", voxels.size // 3)
    monkeypatch.setattr(parts, "MAX_BLOCK_VOXELS", voxels.size // 3)
    blocks, _, _ = encode(tmp_path / "b.vgm", voxels, **settings)
    if objective == "voxels":
        assert 0.97 * 1600 <= blocks.bytes <= 1600
    assert blocks.bytes < 1.15 * whole.bytes
    assert blocks.psnr > whole.psnr - 1.5


@pytest.mark.parametrize(
    "settings",
    [
        {"edge_boost": 3.0},
        {"lambda_gradient": 0.5},
        {"lambda_sparsity": 1e-3},
        {"lambda_overlap": 3e-4},
        {"lambda_smoothness": 1e-4},
        {"lambda_degenerate": 1e-3},
        {"densify": True, "grad_threshold": 0.0},
        {"init": "grid"},
        {"init": "intensity"},
        {"optimizer": "adam", "lr": 0.02},
        {"cutoff": 2.5},
        {"iterations": 1},
    ],
    ids=lambda s: " ".join(f"{k}={v}" for k, v in s.items()),
)
def test_every_switch_of_the_fit_acts_and_spoils_nothing(tmp_path, settings):
    voxels = scene(seed=4 if "lambda_degenerate" in settings else 0)  # with needles, or without
    plain, _, before = encode(tmp_path / "a.vgm", voxels, objective="voxels")
    other, _, after = encode(tmp_path / "b.vgm", voxels, objective="voxels", **settings)
    assert (before != after).any()
    assert other.psnr > plain.psnr - 4


def test_the_cpu_can_be_asked_for(tmp_path):
    voxels = scene()
    decoded = [encode(tmp_path / "a.vgm", voxels, device=d)[2] for d in ("cpu", "auto")]
    if cuda_missing() is not None:
        np.testing.assert_array_equal(*decoded)


@pytest.mark.skipif(cuda_missing() is None, reason="there is a CUDA device here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_an_error_and_leaves_nothing(tmp_path, device):
    with pytest.raises(DependencyError):
        encode(tmp_path / "a.vgm", scene(), device=device)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [{"size": 50}, {"ratio": 1e9}, {"size": 130}],
    ids=["fewer bytes than a header", "no byte at all", "a header and nothing else"],
)
def test_targets_that_cannot_be_met_are_refused_and_leave_nothing(tmp_path, settings):
    with pytest.raises(UsageError, match="too small"):
        encode(tmp_path / "a.vgm", scene(), **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_unless_told_otherwise(tmp_path):
    path = tmp_path / "a.vgm"
    path.write_bytes(b"mine")
    settings = EncodeSettings(effort="fast", gate="none", primitives=1, iterations=1)
    with pytest.raises(OutputExistsError):
        encode_volume(Volume.from_array(scene()), path, settings)
    assert path.read_bytes() == b"mine"


def with_voxel_size(tmp_path, size):
    info = VolumeInfo((1, 1, *SHAPE), np.dtype(np.uint16), voxel_size=size)
    settings = EncodeSettings(effort="fast", threads=1, gate="none", iterations=2, primitives=20)
    return encode_volume(Volume(scene()[None, None], info), tmp_path / "a.vgm", settings, force=True)


@pytest.mark.parametrize("size", [(4.0, 1.0, 1.0), (None, 1.0, 1.0), (1e-9, 1e9, 1.0)])
def test_voxel_sizes_however_far_apart_or_unknown(tmp_path, size):
    assert with_voxel_size(tmp_path, size).psnr > 22
    assert volmicro_codec.open(tmp_path / "a.vgm").info.voxel_size == size


@pytest.mark.parametrize("size", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0), (float("nan"), 1.0, 1.0)])
def test_senseless_voxel_sizes_are_refused_and_leave_nothing(tmp_path, size):
    with pytest.raises(UsageError, match="voxel_size"):
        with_voxel_size(tmp_path, size)
    assert list(tmp_path.iterdir()) == []


def test_history_tells_how_the_fit_went(tmp_path):
    result, _, _ = encode(tmp_path / "a.vgm", scene(), densify=True)
    stages = [h["stage"] for h in result.history]
    assert stages[0] == "background"
    assert "round 1" in stages
    assert "densify 1" in stages
    assert stages[-1] == "coded"
    assert all(h["loss"] >= 0 and h["primitives"] >= 0 for h in result.history)


def test_no_more_gaussians_are_placed_than_voxels_hold(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 900, (1, 13, 1), dtype=np.uint16)
    result = encode_volume(
        Volume.from_array(voxels, "ZYX"), tmp_path / "a.vgm", EncodeSettings(size=700, init="grid")
    )
    assert result.primitives <= 32
