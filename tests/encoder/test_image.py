"""An image as the fit sees it: its range, and the blocks it is cut into."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from volmicro_codec.encoder.image import mapping, value_range


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("planes", [1, 2, 7])
def test_the_range_is_that_of_numpys_percentiles(dtype: Any, planes: int) -> None:
    light = np.random.default_rng(planes).gamma(0.7, 30.0, (planes, 9, 41))
    voxels = (light - (50 if dtype == "int16" else 0)).astype(dtype)
    low, mid, high = np.percentile(voxels.ravel(), [0.01, 50.0, 99.99])
    assert value_range(voxels) == (mid, low, high)
    assert mapping(voxels) == (np.float32(mid), np.float32(high - low))
