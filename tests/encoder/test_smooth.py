"""Smooth images, which show few places for Gaussians before the first refit, get as many as they need."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from volmicro_codec.encoder.pipeline import encode_volume
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.volume import Volume


def cell() -> np.ndarray:
    """One broad, faintly grained body, as a wide-field microscope shows a cell."""
    rng = np.random.default_rng(4)
    z, y, x = np.ogrid[:24, :72, :72]
    body = np.exp(-((((z - 12) / 9) ** 2 + ((y - 34) / 22) ** 2 + ((x - 37) / 20) ** 2) ** 2))
    grain = ndimage.gaussian_filter(rng.normal(size=body.shape), (2, 3, 3))
    return (400 + 9000 * body * (1 + 0.12 * grain / grain.std())).astype(np.uint16)


@pytest.mark.slow
def test_a_smooth_image_is_not_given_up_after_its_first_peaks(tmp_path) -> None:
    """Growing once ended where a round found few: 62.7 dB instead of 73, and half of the bytes unused."""
    settings = EncodeSettings(ratio=50, effort="fast", gate="none", threads=1, objective="voxels")
    result = encode_volume(Volume.from_array(cell()), tmp_path / "cell.vgm", settings)
    rounds = [h["primitives"] for h in result.history if h["stage"].startswith("round")]
    assert rounds[0] < 20, "the image is no such case any more"
    assert result.primitives > 400
    assert result.psnr > 70
