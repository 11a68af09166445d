"""Small scenes that tests of the fit share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.fit.image_fit import ImageFit
from volmicro_codec.encoder.fit.method import Method, Weighting
from volmicro_codec.encoder.fit.proposals import Proposals, Search
from volmicro_codec.encoder.fit.residuals import Residuals
from volmicro_codec.encoder.image import Image, mapping
from volmicro_codec.encoder.mask.gate import no_gate
from volmicro_codec.encoder.significance import NoiseField
from volmicro_codec.raster.rasteriser import CpuRasteriser

CUTOFF = 12.0


def gaussians(n, shape, seed=0, sigma=(1.5, 3.0), weight=(0.3, 1.0)):
    """Gaussians of any direction, well inside a box."""
    rng = np.random.default_rng(seed)
    mu = np.stack([rng.uniform(0.2 * s, 0.8 * s - 0.5, n) for s in shape], axis=1)
    q, _ = np.linalg.qr(rng.normal(size=(n, 3, 3)))
    b = q * rng.uniform(*sigma, (n, 1, 3))
    return Model(mu, b, rng.uniform(*weight, n))


def rendered(model, shape, threads=1):
    """Their sum over a box, float32."""
    raster = CpuRasteriser(CUTOFF, threads)
    return raster.render(raster.pack(model.mu, model.covariance6(), model.w, shape))


def fit_of(voxels, threads=1, weighting=None, gate=None, noise=None, **method):
    """A fit of one image, nothing fitted yet; with a noise model, for the signal."""
    base, gain = mapping(voxels)
    image = Image(voxels, base, gain, gate or no_gate(voxels), (1.0, 1.0, 1.0))
    field = None if noise is None else NoiseField.of(voxels, noise, gain)
    raster = CpuRasteriser(CUTOFF, threads)
    return ImageFit(image, raster, weighting or Weighting(), Method(**method), field)


def other_processor(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let every Gaussian start a millionth off, as if sums were rounded otherwise; 0 changes nothing."""
    if number == 0:
        return
    plain, rng = Proposals.place, np.random.default_rng(number)

    def off(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return x * (1.0 + 1e-6 * rng.normal(size=x.shape))

    def place(proposals: Proposals, residuals: Residuals, count: int, **search: Search) -> Model:
        m = plain(proposals, residuals, count, **search)
        return Model(off(m.mu), off(m.B), off(m.w))

    monkeypatch.setattr(Proposals, "place", place)
