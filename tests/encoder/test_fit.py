"""The greedy fit finds what a scene is made of, block by block as well as in one, the same each time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import volmicro_codec as vgm
from tests.encoder.fits import fit_of, gaussians, rendered
from volmicro_codec.encoder import parts
from volmicro_codec.encoder.choices import schedule_of
from volmicro_codec.encoder.fit import image_fit, proposals, significant, voxels
from volmicro_codec.encoder.fit.blocks import MOST_REACHED, Blocks, edge_map
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.fit.method import EFFORTS, Regularisers, Schedule, Weighting
from volmicro_codec.encoder.fit.overlap import overlapping
from volmicro_codec.encoder.fit.proposals import Search
from volmicro_codec.encoder.fit.refiner import Refiner
from volmicro_codec.encoder.image import Image
from volmicro_codec.encoder.mask.gate import no_gate, otsu_gate, seen_by
from volmicro_codec.encoder.quantise.coder import Layout, Refits, rounding_with_refits
from volmicro_codec.encoder.quantise.lattice import Lattice
from volmicro_codec.encoder.rate.point_layer import weight_of_voxels
from volmicro_codec.encoder.rate.to_bytes import MOSTLY_NOISE, refits_for
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.encoder.significance import ADMITTED, CLOSED, FAINTEST
from volmicro_codec.noise_model import NoiseModel

SHAPE = (20, 24, 28)
LONG = (10, 14, 96)


def greedy(fit, counts, inner=8, final=30):
    for k, count in enumerate(counts):
        fit.grow(count - len(fit.model), inner, f"round {k + 1}")
    fit.refit(final)
    return fit


def beads(shape, n=24, seed=0):
    """Gaussians of any direction all over a box, some across the walls of blocks."""
    m = gaussians(n, shape, seed, sigma=(1.2, 2.2))
    mu = np.random.default_rng(seed).uniform(1, np.asarray(shape) - 2.0, (n, 3))
    return rendered(Model(mu, m.B, m.w), shape)


def test_a_sum_of_gaussians_is_recovered():
    voxels = rendered(gaussians(5, SHAPE, 1), SHAPE)
    fit = greedy(fit_of(voxels), [3, 6, 9, 12, 15], final=60)
    assert fit.psnr > 50
    assert fit.psnr == pytest.approx(fit.history[-1].psnr)
    error = rendered(fit.model, SHAPE) * fit.image.gain + fit.image.base - voxels
    assert 10 * np.log10(fit.image.gain**2 / (error**2).mean()) == pytest.approx(fit.psnr, abs=0.01)


def test_rounds_add_as_many_as_asked_and_no_more_than_allowed():
    fit = fit_of(beads(SHAPE), max_primitives=11)
    assert fit.grow(8, 1, "one") == 8
    assert fit.grow(8, 1, "two") == 3
    assert fit.grow(8, 1, "three") == 0
    assert len(fit.model) == 11


def blocks_of(monkeypatch, voxels, most, halo, **options):
    monkeypatch.setattr(parts, "WHOLE_IMAGE", most)
    monkeypatch.setattr(parts, "MAX_BLOCK_VOXELS", most)
    monkeypatch.setattr(parts, "HALO", halo)
    return fit_of(voxels, **options)


@pytest.fixture(scope="module")
def in_one_and_in_three():
    voxels = beads(LONG, 40)
    voxels += np.random.default_rng(1).normal(0, 0.01, LONG).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        one = greedy(fit_of(voxels), [14, 28, 42])
        three = greedy(blocks_of(patch, voxels, voxels.size // 3, 8), [14, 28, 42])
    assert len(one.blocks.parts) == 1
    assert len(three.blocks.parts) == 3
    return voxels, one, three


def test_blocks_give_nearly_the_quality_of_one(in_one_and_in_three):
    _, one, three = in_one_and_in_three
    assert len(three.model) == len(one.model)
    assert three.psnr > one.psnr - 1.0


def test_the_error_of_blocks_is_that_of_the_whole(in_one_and_in_three):
    voxels, _, three = in_one_and_in_three
    three.refit(0)
    decoded = rendered(three.model, LONG) * three.image.gain + three.image.base
    psnr = 10 * np.log10(three.image.gain**2 / ((decoded - voxels) ** 2).mean())
    assert three.psnr == pytest.approx(psnr, abs=0.01)


def test_walls_between_blocks_cannot_be_seen(in_one_and_in_three):
    voxels, _, three = in_one_and_in_three
    decoded = rendered(three.model, LONG) * three.image.gain + three.image.base
    squared = ((decoded - voxels) ** 2).mean(axis=(0, 1))
    walls = [part.core[2].start for part in three.blocks.parts if part.core[2].start]
    at_walls = np.concatenate([squared[w - 2 : w + 2] for w in walls])
    assert at_walls.mean() < 1.5 * squared.mean()


def test_only_some_may_move_in_blocks_too(monkeypatch):
    voxels = beads(LONG, 20)
    fit = blocks_of(monkeypatch, voxels, voxels.size // 2, 8)
    fit.grow(12, 2, "round 1")
    before = fit.model.copy()
    free = np.zeros((len(before), 10), bool)
    free[::2, 0] = True
    fit.refit(3, free=free)
    assert np.array_equal(fit.model.B, before.B)
    assert np.array_equal(fit.model.mu, before.mu)
    assert np.array_equal(fit.model.w[1::2], before.w[1::2])
    assert not np.array_equal(fit.model.w[::2], before.w[::2])


@pytest.mark.parametrize("blocks", [1, 3])
def test_only_what_overlaps_a_gaussian_that_went_moves(monkeypatch, blocks):
    voxels = beads(LONG, 40)
    fit = greedy(blocks_of(monkeypatch, voxels, voxels.size // blocks, 8), [20, 40], final=8)
    gone = int(fit.model.mu[:, 2].argmin())
    rest = np.setdiff1d(np.arange(40), [gone])
    away, before = fit.model.take([gone]), fit.model.take(rest)
    fit.model = before
    fit.refit(12, around=away)
    still = (fit.model.mu == before.mu).all(1) & (fit.model.B == before.B).all(2).all(1)
    near = overlapping(before, away, LONG)
    assert bool((still == ~near).all())
    assert 0 < int(near.sum()) < 20
    sse = fit.sse
    fit.refit(0)
    # A block's error is that of its turn: those fitted after it reach into it.
    assert sse == pytest.approx(fit.sse, rel=1e-5 if blocks == 1 else 0.05)


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_refit_looks_at_what_gaussians_reach_and_its_error_is_that_of_all(monkeypatch, blocks):
    shape = (10, 14, 192)
    voxels = np.random.default_rng(0).normal(0, 0.02, shape).astype(np.float32)
    voxels[:, :, :40] += beads((10, 14, 40), 8)
    looked = []
    plain = Refiner.refine

    def refine(self, model, iterations, **options):
        if len(model) and iterations:
            looked.append(self.block.shape[2])
        return plain(self, model, iterations, **options)

    monkeypatch.setattr(Refiner, "refine", refine)
    found = []
    for most in (image_fit.MOST_REACHED, 0.0):
        monkeypatch.setattr(image_fit, "MOST_REACHED", most)
        looked.clear()
        fit = greedy(blocks_of(monkeypatch, voxels, voxels.size // blocks, 8), [2, 4, 6])
        found.append((fit, max(looked)))
        error = rendered(fit.model, shape) * fit.image.gain + fit.image.base - voxels
        assert (error**2).sum() / fit.image.gain**2 == pytest.approx(fit.sse, rel=2e-3)
    (part, less), (whole, more) = found
    assert less < 0.7 * more
    assert part.sse == pytest.approx(whole.sse, rel=0.02)


def test_a_state_that_was_kept_is_gone_back_to_as_it_was():
    fit = greedy(fit_of(beads(SHAPE, 12)), [8])
    kept, before, sse = fit.state, fit.model.copy(), fit.sse
    fit.grow(4, 2, "more")
    layout = Layout.of(fit.model, fit.image.whole, 128)
    rounding_with_refits(fit, Lattice(0.05), layout, Refits(2, 1, 1, 1))
    assert fit.sse != sse
    fit.state = kept
    for name in ("mu", "B", "w"):
        assert np.array_equal(getattr(fit.model, name), getattr(before, name))
    assert fit.sse == sse
    fit.refit(0)
    assert fit.sse == sse


def test_a_wide_background_is_not_taken_to_overlap_a_spot():
    wide, spot = (Model.isotropic(np.full((1, 3), 30.0), np.array([s]), np.ones(1)) for s in (16.0, 1.5))
    both = wide.join(spot)
    assert overlapping(both, spot, (60, 60, 60)).tolist() == [False, True]
    assert overlapping(both, wide, (60, 60, 60)).tolist() == [True, True]
    outside = Model.isotropic(np.array([[-3.0, 70, 30]]), np.array([2.0]), np.ones(1))
    assert overlapping(outside, outside, (60, 60, 60)).tolist() == [True]
    assert overlapping(both, Model.empty(), (60, 60, 60)).tolist() == [False, False]


@pytest.mark.parametrize("blocks", [1, 2])
def test_threads_change_no_bit(monkeypatch, blocks):
    voxels = beads(LONG, 20)
    found = []
    for threads in (1, 2, 3):
        fit = blocks_of(monkeypatch, voxels, voxels.size // blocks, 8, threads=threads)
        found.append(greedy(fit, [10, 20], inner=3, final=3))
    for other in found[1:]:
        for a, b in ((found[0].model.mu, other.model.mu), (found[0].model.B, other.model.B)):
            assert np.array_equal(a, b)
        assert found[0].sse == other.sse


def two_balls():
    """A bright ball, and a faint one that stays below Otsu's threshold."""
    z, y, x = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    v = np.exp(-((z - 10) ** 2 + (y - 7) ** 2 + (x - 7) ** 2) / 12)
    v += 0.15 * np.exp(-((z - 10) ** 2 + (y - 16) ** 2 + (x - 20) ** 2) / 12)
    noise = np.random.default_rng(0).normal(0, 0.01, SHAPE)
    return ((v + noise) * 2000 + 500).astype(np.uint16)


NOISE = NoiseModel(500.0, 20.0)


def test_the_gate_weighs_voxels():
    voxels = two_balls()
    gate = otsu_gate(seen_by("otsu", voxels))
    fit = fit_of(voxels, gate=gate, weighting=Weighting(foreground=3.0))
    fit.refit(0)
    inside = gate.occupied(voxels)
    assert 0 < inside.sum() < inside.size / 4
    np.testing.assert_array_equal(
        fit.blocks.refiner(fit.blocks.parts[0]).block.weights, np.where(inside, np.float32(4), np.float32(1))
    )


def test_where_the_gate_is_closed_a_candidate_must_be_more_than_chance(monkeypatch):
    monkeypatch.setattr(significant, "BY_CHANCE", 0.0)
    voxels = two_balls()
    gates = {
        "closed": otsu_gate(seen_by("otsu", voxels)),
        "tau 0": otsu_gate(seen_by("otsu", voxels), tau=0.0),
        "none": no_gate(voxels),
    }
    bright, faint = np.array([[10.0, 7.0, 7.0]]), np.array([[10.0, 16.0, 20.0]])
    taken = {}
    for name, gate in gates.items():
        fit = fit_of(voxels, gate=gate, noise=NOISE)
        admitted = fit.proposals.significant(fit.blocks.parts[0])
        variance = (NOISE.sigma / fit.image.gain) ** 2
        for where, centre in (("bright", bright), ("faint", faint)):
            taken[name, where] = [
                bool(admitted(centre, np.full((1, 3), 1.5), np.array([variances * variance]))[0])
                for variances in (0.9 * ADMITTED, 1.1 * ADMITTED, 0.9 * CLOSED, 1.1 * CLOSED)
            ]
    assert taken.pop(("closed", "faint")) == [False, False, False, True]
    assert set(map(tuple, taken.values())) == {(False, True, True, True)}


@pytest.mark.parametrize("kind", ["otsu", "none"])
def test_faint_candidates_count_where_the_gate_is_open_and_they_are_many(kind):
    voxels = two_balls()
    gate = otsu_gate(seen_by("otsu", voxels)) if kind == "otsu" else no_gate(voxels)
    fit = fit_of(voxels, gate=gate, noise=NOISE)
    part, variance = fit.blocks.parts[0], (NOISE.sigma / fit.image.gain) ** 2
    bright, dark = np.array([[10.0, 7.0, 7.0]]), np.array([[10.0, 16.0, 20.0]])

    def counted(centre, number, variances, search):
        many = (
            np.repeat(a, number, 0) for a in (centre, np.full((1, 3), 1.5), np.array([variances * variance]))
        )
        return bool(fit.proposals.significant(part, None, search)(*many).all())

    weak = 0.8 * ADMITTED
    assert counted(bright, 200, weak, Search.FAINT)
    # Of the few voxels in which the gate of the balls is open chance makes next to none.
    assert counted(bright, 1, 1.01 * FAINTEST, Search.FAINT) == (kind == "otsu")
    assert not counted(bright, 200, 0.99 * FAINTEST, Search.FAINT)
    assert not counted(bright, 200, weak, Search.EVERYWHERE)
    assert counted(bright, 1, 1.1 * ADMITTED, Search.FAINT)
    assert counted(dark, 200, weak, Search.FAINT) == (kind == "none")
    least = [fit.proposals.significant(part, None, s).least(np.full(3, 1.5)) for s in Search]
    assert least[0] == least[1] == pytest.approx(ADMITTED * variance)
    assert least[2] == pytest.approx(FAINTEST * variance)


def test_more_gaussians_than_memory_holds_are_as_many_as_there_are():
    fit = fit_of(beads(SHAPE))
    assert 0 < len(fit.proposals.best(fit.residuals, 10**13)) < 10**4


def test_faint_texture_that_single_candidates_do_not_show_is_fitted_to_the_gain_of_the_truth(monkeypatch):
    """Grains that overlap, of which single peaks of what is left are no more than noise may be."""
    shape, rng = (24, 64, 64), np.random.default_rng(8)
    n = 600
    at = np.stack([rng.uniform(2, s - 2, n) for s in shape], 1)
    grains = Model.isotropic(at, np.full((n, 3), 1.5), np.ones(n))
    truth = 140 + 22 * rendered(grains, shape)
    voxels = np.rint(truth + rng.normal(0, 10, shape)).astype(np.uint16)
    errors = []
    for share in (0.0, significant.FALSE_SHARE):
        monkeypatch.setattr(significant, "FALSE_SHARE", share)
        with vgm.open(vgm.encode(voxels, ratio=20, points=False)) as file:
            errors.append(np.mean((file.as_float32()[...] - truth) ** 2))
    assert errors[1] < 0.95 * errors[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_closed_gate_does_not_hide_what_a_matched_filter_sees_at_ten_sigma(seed):
    noise = np.random.default_rng(seed).normal(0, NOISE.sigma, SHAPE)
    z, y, x = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    spot = np.exp(-((z - 11) ** 2 + (y - 15) ** 2 + (x - 19) ** 2) / (2 * 1.4**2))
    bright = 4000 * np.exp(-((z - 8) ** 2 + (y - 6) ** 2 + (x - 6) ** 2) / 8)
    spot /= np.sqrt((spot**2).sum())
    spot *= 10 * NOISE.sigma - (spot * noise).sum()
    voxels = np.rint(500 + noise + spot + bright).astype(np.uint16)
    gate = otsu_gate(seen_by("otsu", voxels))
    assert not gate.occupied(voxels)[11, 15, 19]
    fit = fit_of(voxels, gate=gate, noise=NOISE)
    fit.refit(0)
    distance = np.sqrt(
        ((fit.proposals.candidates(fit.residuals, 50).centres - (11, 15, 19)) ** 2).sum(axis=1)
    )
    assert distance.min() < 2


def test_single_voxels_are_significant_only_where_the_gate_is_open():
    voxels = two_balls()
    gate = otsu_gate(seen_by("otsu", voxels))
    missing = np.full(SHAPE, 1.0, np.float32)  # more than any noise, everywhere
    for chosen, expected in ((gate, gate.occupied(voxels)), (no_gate(voxels), np.ones(SHAPE, bool))):
        fit = fit_of(voxels, gate=chosen, noise=NOISE)
        fit.refit(0)
        _, allowed = fit.residuals.where_significant(fit.blocks.parts[0], missing)
        np.testing.assert_array_equal(allowed, expected)
        weight = weight_of_voxels(fit, fit.blocks.parts[0], missing, np.ones(SHAPE, bool), 2.0, 0.1)
        np.testing.assert_array_equal(weight > 0, expected)


def test_edges_are_weighted_only_where_the_gate_is_open():
    voxels = two_balls()
    gate = otsu_gate(seen_by("otsu", voxels))
    weights = {}
    for name, noise in (("signal", NOISE), ("voxels", None)):
        fit = fit_of(voxels, gate=gate, noise=noise, weighting=Weighting(edges=2.0))
        weights[name] = fit.blocks.refiner(fit.blocks.parts[0]).block.weights
    inside = gate.occupied(voxels)
    assert (weights["signal"][~inside] == 1.0).all()
    assert (weights["voxels"][~inside] > 1.0).any()
    np.testing.assert_array_equal(weights["signal"][inside], weights["voxels"][inside])


def test_edges_are_weighted_where_they_are():
    voxels = np.zeros(SHAPE, np.float32)
    voxels[:, :, 14:] = 1.0
    weight = edge_map(voxels, 1)
    assert weight[:, :, 13:15].min() > 0.8
    assert weight[:, :, :9].max() < 0.01
    assert weight[:, :, 19:].max() < 0.01
    boosted = fit_of(voxels, weighting=Weighting(edges=2.0))
    np.testing.assert_allclose(
        boosted.blocks.refiner(boosted.blocks.parts[0]).block.weights, 1 + 2 * weight, rtol=1e-5
    )
    assert fit_of(voxels).blocks.refiner(boosted.blocks.parts[0]).block.weights is None


def test_gradient_consistency_makes_finite_differences_agree_better():
    voxels = beads(SHAPE, 30, 3)

    def difference_error(lam):
        fit = greedy(fit_of(voxels, weighting=Weighting(gradient=lam)), [6, 12], inner=10, final=20)
        decoded = rendered(fit.model, SHAPE) * fit.image.gain + fit.image.base
        return sum((np.diff(decoded - voxels, axis=k) ** 2).sum() for k in range(3))

    assert difference_error(5.0) < difference_error(0.0)


def test_sparsity_makes_intensities_smaller():
    voxels = beads(SHAPE, 30, 3)
    total = {}
    for lam in (0.0, 3e-4):
        fit = greedy(fit_of(voxels, penalties=Regularisers(sparsity=lam)), [10, 20])
        total[lam] = float(np.abs(fit.model.w).sum())
    assert total[3e-4] < total[0.0]


@pytest.mark.parametrize("init", ["random", "grid", "intensity", "kmeans"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_published_starts_fit_too_in_blocks_or_not(monkeypatch, init, blocks):
    voxels = beads(LONG, 20)
    fit = blocks_of(monkeypatch, voxels, voxels.size // blocks, 8, init=init, seed=3)
    fit.grow(30, 10, "start")
    fit.grow(10, 10, "more")
    assert 30 <= len(fit.model) <= 40
    assert fit.psnr > 22
    again = blocks_of(monkeypatch, voxels, voxels.size // blocks, 8, init=init, seed=3)
    again.grow(30, 0, "start")
    other = blocks_of(monkeypatch, voxels, voxels.size // blocks, 8, init=init, seed=4)
    other.grow(30, 0, "start")
    assert not np.array_equal(again.model.mu, other.model.mu) or init == "grid"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_decoded_error_is_that_of_rounded_and_clamped_voxels(dtype):
    top = 255 if dtype == np.uint8 else 4000
    voxels = (np.clip(beads(SHAPE), 0, 0.7) / 0.7 * top).astype(dtype)
    fit = fit_of(voxels)
    fit.grow(8, 2, "start")
    decoded = rendered(fit.model, SHAPE).astype(np.float64) * fit.image.gain + fit.image.base
    if dtype != np.float32:
        decoded = np.clip(np.rint(decoded), 0, np.iinfo(dtype).max)
    expected = (((decoded - voxels) / fit.image.gain) ** 2).sum()
    assert fit.residuals.decoded_sse() == pytest.approx(expected, rel=1e-3)


def test_the_decoded_error_is_that_of_the_model_as_it_is():
    voxels = rendered(gaussians(6, SHAPE, 3, weight=(0.3, 1.0)), SHAPE)
    fit = fit_of(voxels)
    fit.grow(8, 2, "start")
    fit.model = fit.model.take(np.arange(3))
    decoded = rendered(fit.model, SHAPE).astype(np.float64) * fit.image.gain + fit.image.base
    expected = (((decoded - voxels) / fit.image.gain) ** 2).sum()
    assert fit.residuals.decoded_sse() == pytest.approx(expected, rel=1e-3)


def clipped(shape=SHAPE, offset=0):
    """Beads cut off at both ends: plateaus of white, edges as sharp as can be, nothing in between."""
    v = beads(shape, 24)
    v = np.clip((v - 0.25) / 0.3, 0, 1) * 255
    return np.rint(v).astype(np.uint16 if offset else np.uint8) + offset


def test_what_decoding_cuts_off_is_not_fitted(monkeypatch):
    aware = greedy(fit_of(clipped()), [10, 20, 30])
    monkeypatch.setattr(Image, "saturated", lambda *_: None)
    unaware = greedy(fit_of(clipped()), [10, 20, 30])
    assert aware.residuals.decoded_sse() < 0.3 * unaware.residuals.decoded_sse()
    # What is beyond the ends at voxels that are not is charged all the same, so that it comes back.
    assert 0.8 * aware.sse < aware.residuals.decoded_sse() < aware.sse < unaware.sse


def test_an_image_without_ends_is_fitted_as_if_there_were_none(monkeypatch):
    raised = greedy(fit_of(clipped(offset=7)), [10, 20], final=5)
    as_floats = greedy(fit_of(clipped(offset=7).astype(np.float32)), [10, 20], final=5)
    assert raised.image.saturated(raised.blocks.parts[0].domain) is None
    assert as_floats.image.saturated(raised.blocks.parts[0].domain) is None
    assert np.array_equal(raised.model.mu, as_floats.model.mu)
    assert raised.sse == as_floats.sse


def test_the_ends_are_where_voxels_are_black_and_white():
    for dtype in (np.uint8, np.uint16):
        v = np.full((4, 5, 6), 9, dtype)
        v[1, 2, 3], v[2, 2, 4] = 0, np.iinfo(dtype).max
        saturated = fit_of(v).image.saturated((slice(1, 4), slice(0, 5), slice(3, 6)))
        assert saturated.dtype == np.uint8
        assert (saturated[0, 2, 0], saturated[1, 2, 1], np.count_nonzero(saturated)) == (
            voxels.BLACK,
            voxels.WHITE,
            2,
        )
        assert fit_of(v).image.saturated((slice(3, 4), slice(0, 5), slice(0, 6))) is None


def test_what_decoding_cuts_off_is_not_fitted_in_blocks_either(monkeypatch):
    two = greedy(blocks_of(monkeypatch, clipped(LONG), math.prod(LONG) // 2, 8), [10, 20, 30])
    monkeypatch.setattr(Image, "saturated", lambda *_: None)
    unaware = greedy(blocks_of(monkeypatch, clipped(LONG), math.prod(LONG) // 2, 8), [10, 20, 30])
    assert len(two.blocks.parts) == 2
    assert two.residuals.decoded_sse() < 0.4 * unaware.residuals.decoded_sse()
    assert 0.8 * two.sse < two.residuals.decoded_sse() < two.sse


@pytest.mark.parametrize("blocks", [1, 2])
def test_threads_change_no_bit_where_voxels_are_at_the_ends(monkeypatch, blocks):
    found = []
    for threads in (1, 3):
        fit = blocks_of(monkeypatch, clipped(LONG), math.prod(LONG) // blocks, 8, threads=threads)
        found.append(greedy(fit, [10, 20], inner=3, final=3))
    assert np.array_equal(found[0].model.B, found[1].model.B)
    assert found[0].sse == found[1].sse


def test_a_model_put_in_from_outside_is_evaluated_before_it_grows():
    """Candidates come from the residual of the model as it is, not as it was."""
    voxels = rendered(gaussians(4, SHAPE, 1), SHAPE)
    fit = greedy(fit_of(voxels), [8])
    fit.model = Model.empty()
    fresh = fit_of(voxels)
    fresh.refit(0)
    found, expected = (f.proposals.candidates(f.residuals, 5) for f in (fit, fresh))
    np.testing.assert_array_equal(found.centres, expected.centres)


@pytest.mark.parametrize("effort", EFFORTS)
def test_schedules_give_small_images_more_and_large_ones_no_less(effort):
    s = EFFORTS[effort]
    small, large = s.for_size(10_000), s.for_size(10**9)
    assert isinstance(small, Schedule)
    assert (large.rounds, large.inner, large.final) == (s.rounds, s.inner, s.final)
    assert small.final >= s.final


def test_an_end_by_what_is_more_than_noise_comes_later():
    """Amid noise a step's share of the loss is small however much of the signal is still to come."""
    schedule = schedule_of(EncodeSettings(), 10**9)
    assert schedule == EFFORTS["balanced"]
    ends = {}
    noisy = beads(SHAPE, 12) + np.random.default_rng(3).normal(0.0, 0.05, SHAPE).astype(np.float32)
    for of_excess in (False, True):
        steps: list[int] = []
        fit = greedy(fit_of(noisy, noise=NoiseModel(0.0, 0.05)), [12], inner=1, final=0)
        fit.on_work = steps.append
        fit.refit(schedule.final, tolerance=0.01, of_excess=of_excess)
        ends[of_excess] = len(steps), fit.sse
    assert ends[True][0] > ends[False][0]
    assert ends[True][1] < ends[False][1]


def test_what_is_mostly_noise_is_rounded_in_fewer_refits():
    fit = greedy(fit_of(beads(SHAPE, 12), noise=NoiseModel(0.0, 0.002)), [8])
    noise = fit.blocks.noise_sse
    assert noise < MOSTLY_NOISE * fit.sse
    little = refits_for("balanced", fit).total
    fit.state = replace(fit.state, block_sse=(1.5 * noise,))
    assert refits_for("balanced", fit).total < little
    assert refits_for("balanced", greedy(fit_of(beads(SHAPE, 12)), [8])).total == little


def test_what_reaches_into_a_block_without_signal_is_looked_at_alone(monkeypatch):
    """A block of nothing beside one of structure: near the wall it is looked at, and as closely."""
    shape, noise = (8, 16, 240), NoiseModel(100.0, 2.0)
    at = np.array([[4.0, 8.0, x] for x in (12, 25, 40, 55, 70, 77)])
    light = 400 * rendered(Model.isotropic(at, np.full((6, 3), 1.6), np.ones(6)), shape)
    voxels = np.rint(light + np.random.default_rng(1).normal(0, 2, shape) + 100).astype(np.uint16)
    looked, plain = [], Blocks.refiner

    def refiner(self, part, *a, **k):
        looked.append((part.number, part.voxels))
        return plain(self, part, *a, **k)

    monkeypatch.setattr(Blocks, "refiner", refiner)
    found = []
    for most in (MOST_REACHED, 0.0):
        monkeypatch.setattr(image_fit, "MOST_REACHED", most)
        monkeypatch.setattr(proposals, "MOST_REACHED", most)
        fit = blocks_of(monkeypatch, voxels, light.size // 3, 4, noise=noise)
        greedy(fit, [2, 4, 5])
        looked.clear()
        fit.grow(1, 2, "more")
        fit.refit(3)
        found.append((fit, sum(n for k, n in looked if k == 1)))
        error = rendered(fit.model, shape) * fit.image.gain + fit.image.base - voxels
        assert (error**2).sum() / fit.image.gain**2 == pytest.approx(fit.sse, rel=2e-3)
    (near, less), (whole, more) = found
    assert len(near.blocks.parts) == 3
    assert less < 0.7 * more
    assert near.sse == pytest.approx(whole.sse, rel=0.01)


def test_a_block_without_signal_is_looked_at_once(monkeypatch):
    light = np.zeros((8, 16, 160), np.float32)
    light[..., :40] = 400 * rendered(gaussians(6, (8, 16, 40), 2), (8, 16, 40))
    noise = np.random.default_rng(1).normal(0, 2, light.shape)
    voxels = np.rint(light + noise + 100).astype(np.uint16)
    searched, plain = [], Refiner.candidates
    fit = blocks_of(monkeypatch, voxels, light.size // 4, 4, noise=NoiseModel(100.0, 2.0))
    monkeypatch.setattr(
        Refiner, "candidates", lambda self, *a: (searched.append(self.block.shape), plain(self, *a))[1]
    )
    greedy(fit, [4, 8, 12])
    assert len(fit.blocks.parts) == 4
    assert len(searched) <= 4 + 2 * 2  # all at first, then where there is signal and beside that
    sse = fit.sse
    fit._empty.clear()
    fit.refit(0)
    assert fit.sse == sse
