"""The gate finds the fluorescence, the same one each time, in any part of a volume."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from volmicro_codec.encoder.choices import gate_of
from volmicro_codec.encoder.mask.gate import Gate, no_gate, otsu_gate, seen_by, train_gate
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.errors import InputError, UsageError
from volmicro_codec.phantom import make_phantom

SHAPE = (50, 70, 90)


def scene(seed=0, dtype=np.uint16, sigma=8.0, uneven=0.0):
    """Balls of very different brightness on an uneven background, and where they are."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    clean = 100 + uneven * x / SHAPE[2]
    truth = np.zeros(SHAPE, bool)
    for height in np.geomspace(120, 3000, 8):
        c = [rng.uniform(6, n - 6) for n in SHAPE]
        inside = (z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2 < 5**2
        clean = np.where(inside, np.maximum(clean, 100 + height), clean)
        truth |= inside
    return (clean + rng.normal(0, sigma, SHAPE)).clip(0).astype(dtype), truth


@pytest.fixture(scope="module")
def trained():
    volume, truth = scene()
    return volume, truth, train_gate(volume, iterations=100)


@pytest.mark.parametrize("uneven", [0.0, 60.0])
def test_objects_are_occupied_and_the_background_is_not(uneven):
    volume, truth = scene(uneven=uneven)
    gate = train_gate(volume, iterations=100)
    found = gate.occupied(volume)
    assert found[truth].mean() > 0.95
    assert found[~truth].mean() < 0.05
    assert gate.occupancy(volume) == pytest.approx(found.mean(), abs=0.002)


def test_thin_neurites_are_found_too():
    arguments = {"shape": (32, 128, 128), "seed": 3, "kind": "neurites"}
    volume = make_phantom(**arguments)
    bright = make_phantom(**arguments, photons=2e4, read_noise=0.0) > 4000
    found = train_gate(volume, iterations=100).occupied(volume)
    assert found[bright].mean() > 0.9
    assert found.mean() < 0.25


def test_noise_alone_is_empty_and_a_constant_volume_makes_no_trouble():
    noise = np.random.default_rng(0).normal(100, 5, SHAPE).astype(np.uint16)
    assert train_gate(noise, iterations=20).occupancy(noise) < 0.01
    flat = np.full(SHAPE, 7, np.uint8)
    assert train_gate(flat, iterations=20).occupancy(flat) == 0


def test_the_same_arguments_give_the_same_gate_whatever_the_number_of_threads(trained):
    volume, _, gate = trained
    again = train_gate(volume, iterations=100, threads=3)
    np.testing.assert_array_equal(again.probability(volume), gate.probability(volume))
    for name, value in gate.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)
    other = train_gate(volume, iterations=100, seed=1)
    assert any((other.weights[k] != v).any() for k, v in gate.weights.items())


@pytest.mark.parametrize("origin", [(0, 0, 0), (1, 3, 5), (40, 33, 61)])
def test_a_box_has_what_the_whole_has_there(trained, origin):
    volume, _, gate = trained
    box = tuple(slice(o, min(o + n, s)) for o, n, s in zip(origin, (9, 30, 28), SHAPE, strict=True))
    whole = gate.probability(volume)[box].astype(int)
    part = gate.probability(volume, box).astype(int)
    assert part.shape == whole.shape
    assert np.abs(part - whole).max() <= 1


def test_cutting_the_work_into_chunks_changes_nothing(trained, monkeypatch):
    volume, _, gate = trained
    whole = gate.probability(volume).astype(int)
    monkeypatch.setattr("volmicro_codec.encoder.mask.features.CHUNK_CELLS", 1500)
    assert np.abs(gate.probability(volume).astype(int) - whole).max() <= 1


def test_a_saved_gate_is_the_same_gate(trained, tmp_path):
    volume, _, gate = trained
    for kind in (gate, otsu_gate(seen_by("otsu", volume), tau=0.3), no_gate(volume)):
        path = tmp_path / f"{kind.kind}.gate"
        kind.save(path)
        back = Gate.load(path)
        assert (back.kind, back.tau, back.noise, back.stride) == (
            kind.kind,
            kind.tau,
            kind.noise,
            kind.stride,
        )
        np.testing.assert_array_equal(back.probability(volume), kind.probability(volume))


def test_a_tau_that_is_given_goes_before_that_of_the_file(tmp_path):
    voxels, path = make_phantom((8, 16, 16), 1), str(tmp_path / "gate.npz")
    otsu_gate(seen_by("otsu", voxels), tau=0.3).save(path)
    for given, tau in ((None, 0.3), (0.5, 0.5), (0.2, 0.2)):
        gate, _ = gate_of(voxels, EncodeSettings(gate_file=path, gate_tau=given), 1)
        assert gate.tau == tau


def test_a_damaged_gate_file_is_refused(trained, tmp_path):
    _, _, gate = trained
    path = tmp_path / "gate.npz"
    gate.save(path)
    data = path.read_bytes()
    alone = io.BytesIO()
    np.save(alone, np.ones((2, 3, 4)))
    for broken in (b"", data[:100], data[: len(data) // 2], b"not a gate", alone.getvalue()):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"gate\.npz: not a gate file, .*, or damaged$"):
            Gate.load(path)
    np.savez(path, version=np.int64(2), kind=np.array("learned"))
    with pytest.raises(InputError, match="not a gate: it holds no 'noise'"):
        Gate.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        Gate.load(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        Gate.load(tmp_path / "absent.npz")


def test_the_other_kinds(trained):
    volume, truth, _ = trained
    assert no_gate(volume).occupancy(volume) == 1
    assert (no_gate(volume).probability(volume) == 255).all()
    found = otsu_gate(seen_by("otsu", volume)).occupied(volume)
    assert found[~truth].mean() < 0.02
    assert found[volume > 2000].mean() > 0.9


def test_tau_moves_the_occupancy(trained):
    volume, _, gate = trained
    few = Gate(gate.kind, 0.99, gate.noise, gate.stride, gate.weights)
    many = Gate(gate.kind, 0.01, gate.noise, gate.stride, gate.weights)
    assert few.occupancy(volume) < gate.occupancy(volume) < many.occupancy(volume)
    with pytest.raises(UsageError, match="tau"):
        train_gate(volume, tau=1.5)


def test_progress_is_told_of_every_step():
    steps = []
    train_gate(scene()[0], iterations=5, progress=lambda done, of: steps.append((done, of)))
    assert steps == [(i + 1, 5) for i in range(5)]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 40), (3, 5, 200), (60, 33, 35)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_any_shape_and_dtype(shape, dtype):
    volume = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    for gate in (train_gate(volume, iterations=3), otsu_gate(seen_by("otsu", volume))):
        assert gate.probability(volume).shape == shape
        assert 0 <= gate.occupancy(volume) <= 1


def test_a_very_large_volume_is_learned_from_boxes_spread_over_it(monkeypatch):
    volume, truth = scene()
    tiled, where = np.tile(volume, (2, 2, 2)), np.tile(truth, (2, 2, 2))
    monkeypatch.setattr("volmicro_codec.encoder.mask.features.LEARNING_CELLS", 1 << 18)
    monkeypatch.setattr("volmicro_codec.encoder.mask.features.LEARNING_BOX", (16, 16, 16))
    found = train_gate(tiled, iterations=100).occupied(tiled)
    assert found[where].mean() > 0.9
    assert found[~where].mean() < 0.05


@pytest.mark.volumes
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("beads-hdr-faim.ome.tif", 0.05, 0.25),
        ("fly-neuron-rivulet.tif", 0.001, 0.02),
        ("cleared-nuclei-mesospim-cellseg3d.tif", 0.1, 0.6),
        ("nucleus-conf-wf-neubias.ome.tif", 0.05, 0.4),
    ],
)
@pytest.mark.slow
def test_occupancy_of_real_stacks(name, low, high):
    import tifffile

    folder = Path(os.environ.get("VGM_VOLUMES", Path(__file__).parents[2] / ".." / "shared" / "volumes"))
    if not (folder / name).exists():
        pytest.skip(f"{name} is not in {folder} (set VGM_VOLUMES)")
    volume = tifffile.imread(folder / name)
    volume = np.ascontiguousarray(volume[:, 0]) if volume.ndim == 4 else volume
    assert low < train_gate(volume).occupancy(volume) < high
