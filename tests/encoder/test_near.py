"""Blocks of which a part is searched: no signal is missed for that, and a killed run comes to the same."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tests.encoder.fits import fit_of, rendered
from volmicro_codec.encoder import parts
from volmicro_codec.encoder.fit import image_fit, proposals
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.fit.proposals import Search
from volmicro_codec.encoder.fit.refiner import Refiner
from volmicro_codec.encoder.journal import KEY_BYTES, Journal
from volmicro_codec.encoder.mask.gate import Gate
from volmicro_codec.noise_model import NoiseModel

NOISE = NoiseModel(100.0, 2.0)


def blobs(shape, at, sigmas, amplitudes, seed=1):
    light = 400 * rendered(Model.isotropic(at, np.repeat(sigmas[:, None], 3, 1), amplitudes), shape)
    noise = np.random.default_rng(seed).normal(0, 2, shape)
    return np.rint(light + noise + 100).astype(np.uint16)


@pytest.fixture
def two_blocks(monkeypatch):
    def cut(shape):
        for name in ("WHOLE_IMAGE", "MAX_BLOCK_VOXELS"):
            monkeypatch.setattr(parts, name, shape[0] * shape[1] * shape[2] // 2)
        monkeypatch.setattr(parts, "HALO", 8)

    return cut


def test_what_was_found_before_a_restart_is_found_after_it(two_blocks, monkeypatch):
    """Nothing was found but near the Gaussians of then: that says nothing of where those have gone from."""
    shape = (8, 24, 360)
    two_blocks(shape)
    at = np.array([[4.0, 12.0, x] for x in (40, 48, 56, 150, 220, 230, 240, 250, 260, 270)])
    strength = np.array([1, 0.9, 0.8, 0.3, 1, 1, 1, 1, 1, 1])
    voxels = blobs(shape, at, np.full(10, 1.6), strength)
    found = []
    for most in (proposals.MOST_REACHED, 0.0):
        monkeypatch.setattr(proposals, "MOST_REACHED", most)
        fit = fit_of(voxels, noise=NOISE)
        for _ in range(6):
            fit.grow(20, 5, "first")
        assert len(fit.proposals._nothing_beyond) > 0
        fit.restart()
        for count in (6, 3, 3, 3, 10, 10, 10):
            fit.grow(count, 5, "again")
        assert (abs(fit.model.mu[:, 2] - 150) < 5).any()
        found.append(fit.sse)
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_a_run_that_was_killed_searches_what_it_would_have(two_blocks):
    shape = (20, 40, 360)
    two_blocks(shape)
    rng = np.random.default_rng(3)
    at = np.stack([rng.uniform(5, 15, 14), rng.uniform(10, 30, 14), rng.uniform(33, 95, 14)], 1)
    at[-3:, 2] += 180
    voxels = blobs(shape, at, rng.uniform(1.5, 4.5, 14), rng.uniform(0.3, 1, 14))

    def run(file, stop=9):
        fit = fit_of(voxels, noise=NOISE)
        fit.journal = fit.proposals.journal = Journal(file, b"k" * KEY_BYTES)
        for _ in range(stop):
            fit.grow(12, 3, "round")
        return fit

    whole = run(io.BytesIO())
    assert whole.proposals._nothing_beyond
    for stop in (2, 4, 6):
        file = io.BytesIO()
        run(file, stop)
        file.seek(0)
        resumed = run(file)
        for name in ("mu", "B", "w"):
            assert np.array_equal(getattr(resumed.model, name), getattr(whole.model, name))
        assert resumed.sse == whole.sse


def test_a_part_of_a_block_has_a_voxel_at_least():
    block = parts.cut((10, 40, 100), None, 20_000, 20_000)[1]
    far = block.around(np.array([-90.0, -90.0, -90.0]), np.array([-50.0, -50.0, -50.0]))
    beyond = block.around(np.array([900.0, 900.0, 900.0]), np.array([950.0, 950.0, 950.0]))
    for part in (far, beyond):
        assert all(s.start < s.stop for s in part.domain)
        assert all(s.start <= s.stop for s in part.core)
        assert all(
            d.start <= s.start and s.stop <= d.stop for s, d in zip(part.domain, block.domain, strict=True)
        )


@pytest.mark.parametrize("most", [proposals.MOST_REACHED, 0.0], ids=["parts of blocks", "whole blocks"])
def test_the_error_beyond_what_a_refit_looks_at_is_known(two_blocks, monkeypatch, most):
    """Of a block with one Gaussian in its middle, and the tails of its neighbour's at one end."""
    shape = (12, 24, 480)
    two_blocks(shape)
    monkeypatch.setattr(image_fit, "MOST_REACHED", most)
    seen, plain = [], image_fit.ImageFit._outside

    def outside(refiner, part, within):
        seen.append(part.voxels)
        return plain(refiner, part, within)

    monkeypatch.setattr(image_fit.ImageFit, "_outside", staticmethod(outside))
    at = np.array([[6.0, 12.0, x] for x in (200, 215, 228, 300)])
    voxels = blobs(shape, at, np.array([4.0, 5.0, 6.0, 2.0]), np.ones(4))
    fit = fit_of(voxels, noise=NOISE)
    fit.grow(4, 6, "round")
    # Of the block whose turn is last: the others' error is as of before it.
    assert fit.state.block_sse[1] == pytest.approx(fit.residuals.left()[1].sse, rel=1e-4)
    whole = fit.blocks.parts[1].voxels
    assert (bool(seen) and max(seen) < whole) if most else not seen


def test_blocks_in_which_the_gate_is_closed_are_searched_at_first_and_when_asked(two_blocks, monkeypatch):
    """Faint spots there are found by the first search, or by one of everything."""
    shape = (8, 24, 360)
    two_blocks(shape)
    at = np.array([[4.0, 12.0, x] for x in (20, 36, 52, 300)])
    voxels = blobs(shape, at, np.full(4, 1.6), np.array([1, 1, 1, 0.2]))
    gate = Gate("otsu", 0.5, NOISE, (2, 2, 2), {"threshold": np.float32([180.0])})
    searched, plain = [], Refiner.candidates

    def candidates(self, *a):
        searched.append(int(self.block.origin[2]))
        return plain(self, *a)

    monkeypatch.setattr(Refiner, "candidates", candidates)
    for count, found_at_first in ((12, True), (2, False)):
        fit = fit_of(voxels, gate=gate, noise=NOISE)
        closed = [fit.blocks.closed(part) for part in fit.blocks.parts]
        assert closed == [part.core[2].start > 0 for part in fit.blocks.parts]
        fit.grow(count, 3, "round 1", search=Search.OPEN)
        assert len(searched) == len(fit.blocks.parts) > 1
        assert (fit.model.mu[:, 2] > 280).any() == found_at_first
        searched.clear()
        fit.grow(4, 3, "round 2", search=Search.OPEN)
        assert searched == [0]
        assert (fit.model.mu[:, 2] > 280).any() == found_at_first
        fit.grow(4, 3, "more again")
        assert (fit.model.mu[:, 2] > 280).any()
        searched.clear()


def test_the_error_of_a_block_without_gaussians_follows_what_reaches_it(two_blocks):
    shape = (8, 24, 360)
    two_blocks(shape)
    voxels = blobs(shape, np.array([[4.0, 12.0, 60.0]]), np.full(1, 1.6), np.ones(1))
    fit = fit_of(voxels, noise=NOISE)
    for x, reaches in ((60.0, False), (172.0, True), (175.0, True), (60.0, False)):
        fit.model = Model.isotropic(np.array([[4.0, 12.0, x]]), np.full((1, 3), 2.5), np.ones(1))
        fit.refit(1)
        bare = fit._bare[1]
        assert (fit.state.block_sse[1] != bare) == reaches
        assert fit.state.block_sse[1] == pytest.approx(fit.residuals.left()[1].sse, rel=1e-5)
