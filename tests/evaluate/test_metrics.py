"""What the figures of a comparison mean: each against its definition written out, and laws on their walks."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from volmicro_codec.errors import DependencyError, InputError
from volmicro_codec.evaluate import Reference, compare, denoise, foreground_mask, psnr, ssim
from volmicro_codec.evaluate import tiles as tiles_module
from volmicro_codec.evaluate.reference import percentiles
from volmicro_codec.evaluate.tiles import walk

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)


def blobs(shape=(12, 40, 36), seed=0, dtype=np.uint16):
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
    out = np.full(shape, 100.0)
    for _ in range(6):
        c = [rng.uniform(0, n) for n in shape]
        out += 900 * np.exp(-((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2) / 18)
    return (out + rng.normal(0, 5, shape)).clip(0).astype(dtype)


def windowed_ssim(a, b, peak):
    """The definition, window by window, in float64."""
    win = [min(7, n - 1 + n % 2) for n in a.shape]
    wa, wb = (np.lib.stride_tricks.sliding_window_view(v.astype(np.float64), win) for v in (a, b))
    axes = (3, 4, 5)
    ma, mb = wa.mean(axes), wb.mean(axes)
    n = np.prod(win)
    va, vb = wa.var(axes) * n / (n - 1), wb.var(axes) * n / (n - 1)
    cov = ((wa * wb).mean(axes) - ma * mb) * n / (n - 1)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    return float(np.mean((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))))


def test_equal_images_are_perfect():
    a = blobs()
    got = compare(a, a.copy())
    assert got["psnr"] == got["psnr_fg"] == np.inf
    assert got["ssim"] == pytest.approx(1.0, abs=1e-6)
    assert got["mip_ssim"] == pytest.approx(1.0, abs=1e-6)
    assert got["max_error"] == got["bias"] == got["bias_fg"] == got["bias_bg"] == 0
    assert got["correlation"] == pytest.approx(1.0)


def test_every_figure_is_its_definition():
    a = blobs()
    rng = np.random.default_rng(1)
    b = (a + rng.normal(3, 20, a.shape)).clip(0, 65535).astype(np.uint16)
    got = compare(a, b)
    peak = np.percentile(a, 99.99) - np.percentile(a, 0.01)
    d = b.astype(np.float64) - a
    mask = foreground_mask(a)
    assert 0.01 < mask.mean() < 0.5
    assert got["peak"] == pytest.approx(peak)
    assert got["psnr"] == pytest.approx(10 * np.log10(peak**2 / np.mean(d**2)))
    assert got["psnr_fg"] == pytest.approx(10 * np.log10(peak**2 / np.mean(d[mask] ** 2)))
    assert got["max_error"] == np.abs(d).max()
    assert got["bias"] == pytest.approx(d.mean())
    assert got["bias_fg"] == pytest.approx(d[mask].mean())
    assert got["bias_bg"] == pytest.approx(d[~mask].mean())
    assert got["correlation"] == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert got["foreground"] == pytest.approx(mask.mean())
    assert got["ssim"] == pytest.approx(windowed_ssim(a, b, peak), abs=1e-5)
    mips = [windowed_ssim(a.max(i)[None], b.max(i)[None], peak) for i in range(3)]
    assert got["mip_ssim"] == pytest.approx(np.mean(mips), abs=1e-5)
    assert psnr(a, b) == pytest.approx(got["psnr"])


def test_the_foreground_is_the_bright_objects():
    a = np.full((16, 32, 32), 100, np.uint16)
    a[4:12, 8:20, 8:20] = 1000
    mask = foreground_mask(a)
    assert mask[5:11, 9:19, 9:19].all()
    assert not mask[:2].any()
    assert not mask[:, :5].any()


def test_ssim_keeps_its_digits_on_a_high_pedestal():
    a = blobs().astype(np.float32) + np.float32(60000)
    b = a + np.random.default_rng(2).normal(0, 20, a.shape).astype(np.float32)
    assert ssim(a, b, 60100.0, 900.0) == pytest.approx(windowed_ssim(a, b, 900.0), abs=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 300), (2, 3, 4), (7, 7, 7), (40, 1, 9)])
def test_any_shape_and_dtype_gives_finite_figures(shape, dtype):
    rng = np.random.default_rng(3)
    a = rng.integers(0, 200, shape).astype(dtype)
    b = rng.integers(201, 255, shape).astype(dtype)
    assert all(np.isfinite(v) for v in compare(a, b).values())


def test_a_constant_original_has_a_peak_of_one_and_is_all_foreground():
    a = np.full((3, 4, 5), 7, np.uint8)
    got = compare(a, a + np.uint8(10))
    assert got["peak"] == 1
    assert got["psnr"] == got["psnr_fg"] == pytest.approx(-20)
    assert got["foreground"] == 1
    assert got["correlation"] == 0
    assert got["bias"] == 10
    assert compare(a, a)["correlation"] == 1


def test_a_volume_that_is_nearly_all_zeros_falls_back_to_its_whole_range():
    a = np.zeros((30, 40, 50), np.uint8)
    a[3, 4, 5] = 200
    assert Reference.of(a).peak == 200


def test_the_size_of_the_boxes_changes_nothing(monkeypatch):
    a = blobs((21, 33, 17), dtype=np.float32)
    b = a + np.random.default_rng(4).normal(0, 9, a.shape).astype(np.float32)
    whole = compare(a, b)
    cut = _with_tiles(monkeypatch, 300, lambda: compare(a, b))
    assert cut.keys() == whole.keys()
    for name, value in whole.items():
        assert cut[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


def _with_tiles(monkeypatch, voxels, call):
    from volmicro_codec.evaluate import metrics, reference, structural

    def small(shape, halo=(0, 0, 0)):
        return tiles_module.walk(shape, halo, voxels)

    with monkeypatch.context() as patch:
        for module in (metrics, reference, structural):
            patch.setattr(module, "walk", small)
        return call()


@given(SHAPES, st.tuples(*[st.integers(0, 5)] * 3), st.integers(1, 200))
def test_a_walk_covers_each_voxel_once_with_its_halo(shape, halo, voxels):
    seen = np.zeros(shape, int)
    for tile in walk(shape, halo, voxels):
        seen[tile.core] += 1
        marked = np.zeros(shape, int)
        marked[tile.core] = 1
        assert marked[tile.padded][tile.inner].all()
        for c, p, h, n in zip(tile.core, tile.padded, halo, shape, strict=True):
            assert p.start == max(0, c.start - h)
            assert p.stop == min(n, c.stop + h)
    assert (seen == 1).all()


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32]),
        SHAPES,
        elements={"min_value": 0, "max_value": 255},
    )
    | hnp.arrays(np.float32, SHAPES, elements=st.floats(-(2.0**90), 2.0**90, width=32)),
    st.floats(0, 100),
)
def test_percentiles_are_those_of_numpy(volume, q):
    expected = np.percentile(volume.astype(np.float64), q)
    assert percentiles(volume, [q])[0] == pytest.approx(expected, rel=1e-9, abs=1e-30)


def test_what_is_not_an_image_is_refused():
    a = blobs()
    with pytest.raises(InputError, match="shape"):
        compare(a, a[:-1])
    with pytest.raises(InputError, match=r"\(Z, Y, X\)"):
        compare(a[0], a[0])
    with pytest.raises(InputError, match="real numbers"):
        compare(a.astype(np.complex64), a)
    bad = a.astype(np.float32)
    bad[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="decoded: a voxel is not finite"):
        compare(a, bad)
    with pytest.raises(InputError, match="not finite"):
        compare(bad, a)


def test_ssim_is_that_of_scikit_image():
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    a = blobs()
    b = (a + np.random.default_rng(5).normal(0, 30, a.shape)).clip(0).astype(np.uint16)
    got = compare(a, b)
    peak = got["peak"]
    assert got["ssim"] == pytest.approx(structural_similarity(a, b, data_range=peak), abs=1e-5)
    mips = [structural_similarity(a.max(i), b.max(i), data_range=peak) for i in range(3)]
    assert got["mip_ssim"] == pytest.approx(np.mean(mips), abs=1e-5)


def test_without_scipy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(DependencyError, match="scipy"):
        denoise(blobs(), 100.0, 2.0, 0.0)
