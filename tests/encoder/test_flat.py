"""Images of one plane, row or column: what does not show takes no bits; and few Gaussians are one chunk."""

from __future__ import annotations

import numpy as np
import pytest

import volmicro_codec as vgm
from tests.encoder.fits import gaussians, rendered
from volmicro_codec.encoder.fit import image_fit
from volmicro_codec.encoder.fit.gaussians import FLAT_SIGMA, Model, flat_axes, flattened
from volmicro_codec.encoder.pipeline import encode_volume
from volmicro_codec.encoder.quantise import bricks, coder
from volmicro_codec.encoder.quantise.bricks import divide
from volmicro_codec.encoder.quantise.coder import FLAT_CODED
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.format import VgmReader
from volmicro_codec.format.chunk import brick_centre
from volmicro_codec.primitives import records_to_primitives
from volmicro_codec.volume import Volume


def stack(shape, seed=0):
    """Cells of some sizes, seen by a camera."""
    rng = np.random.default_rng(seed)
    n = 40
    m = gaussians(n, shape, seed, sigma=(1.5, 5.0))
    mu = np.stack([rng.uniform(0, s - 1, n) for s in shape], 1)
    light = rendered(Model(mu, m.B, m.w), shape)
    return rng.poisson(60 + 900 * light / light.max()).astype(np.uint16), 60 + 900 * light / light.max()


def read(data):
    """Chunks, and each one's Gaussians."""
    with VgmReader.open(data) as reader:
        every = [
            records_to_primitives(reader.read_records(k), brick_centre(e.brick_lo, e.brick_shape))
            for k, e in enumerate(reader.entries)
        ]
        return reader.entries, every


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_of_an_axis_of_one_voxel_nothing_is_said_and_the_file_is_smaller_for_it(axis, monkeypatch):
    shape = [96, 96, 96]
    shape[axis] = 1
    plain, sizes, errors, files = image_fit.flat_axes, [0, 0], [0.0, 0.0], []
    for seed in range(3):
        voxels, truth = stack(tuple(shape), seed)
        for k, of in enumerate((plain, lambda shape: [])):
            monkeypatch.setattr(image_fit, "flat_axes", of)
            files.append(vgm.encode(voxels, ratio=8, points=False))
            with vgm.open(files[-1]) as file:
                errors[k] += np.mean((file.as_float32()[...].reshape(truth.shape) - truth) ** 2)
            sizes[k] += len(files[-1])
    assert sizes[0] < 0.92 * sizes[1]
    assert errors[0] < 1.08 * errors[1]
    for primitives in read(files[0])[1]:
        # As wide as they are coded, and so of no place there.
        np.testing.assert_allclose(primitives.scales.max(axis=1), FLAT_CODED * FLAT_SIGMA, rtol=0.2)
        assert (abs(primitives.means[:, axis]) < 0.5 * FLAT_CODED).all()


def test_flattening_leaves_the_picture_as_it_is():
    shape = (1, 40, 44)
    m = gaussians(12, shape, 3, sigma=(1.2, 3.0))
    # Upright ones in the plane: with nothing between z and the others.
    m = Model(np.c_[np.zeros(12), m.mu[:, 1:]], np.where(np.eye(3, dtype=bool), m.B, 0.0), m.w)
    flat = flattened(m, flat_axes(shape))
    np.testing.assert_allclose(rendered(flat, shape), rendered(m, shape), atol=1e-5)
    assert (flat.B[:, 0, 0] == FLAT_SIGMA).all()
    held = np.zeros((12, 10), bool)
    np.testing.assert_array_equal(flattened(m, [0], held).B, m.B)


def test_a_window_of_one_plane_of_a_deep_stack_keeps_its_shapes_across(tmp_path):
    """Only the image tells what is flat, not the box of it that a file is of."""
    voxels, truth = stack((24, 48, 48), 5)
    window = (slice(12, 13), slice(0, 48), slice(0, 48))
    settings = EncodeSettings(slope=2.0 * 11.09)
    encode_volume(Volume.from_array(voxels), tmp_path / "a.vgm", settings, window=window)
    with vgm.open(tmp_path / "a.vgm") as file:
        error = np.mean((file.as_float32()[...] - truth[12:13]) ** 2)
    assert error < 0.2 * np.mean((voxels[12:13].astype(float) - truth[12:13]) ** 2)
    scales = np.concatenate([p.scales.max(axis=1) for p in read((tmp_path / "a.vgm").read_bytes())[1]])
    assert scales.max() < 0.8 * FLAT_CODED * FLAT_SIGMA


def test_few_gaussians_are_one_chunk_unless_bricks_are_asked_for(monkeypatch):
    voxels, _ = stack((8, 150, 200), 2)
    one, cut = (vgm.encode(voxels, size=1500, points=False, levels=1, brick=b) for b in (None, 128))
    assert len(read(one)[0]) == 1
    assert len(read(cut)[0]) == 4
    monkeypatch.setattr(coder, "FEW", 0)
    assert len(read(vgm.encode(voxels, size=1500, points=False, levels=1))[0]) == 4


def test_as_few_as_one_brick_holds():
    rng = np.random.default_rng(1)
    shape = (20, 200, 200)
    for count, edge, number in ((bricks.FEW, 200, 1), (bricks.FEW + 1, 200, 2), (10, 300, 2)):
        size = (20, edge, 200)
        mu = rng.uniform(0, np.array(size) - 1.0, (count, 3))
        found = divide(mu, size, few=bricks.FEW)
        assert len(found) == number
        assert sum(len(b.members) for b in found) == count
    assert len(divide(rng.uniform(0, 20, (5, 3)), shape)) == 1  # empty ones are left out
