"""What the gate changes in a file, and what not: less of what is faint and alone, but nothing plain."""

from __future__ import annotations

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.encoder.mask.gate import otsu_gate, seen_by
from volmicro_codec.encoder.pipeline import encode_volume
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.volume import Volume

pytestmark = pytest.mark.slow

SHAPE = (24, 64, 64)
WIDE = (40, 200, 200)
NOISE = 10.0
WIDTH = 1.4
DRAWS = range(7, 13)
"""Of noise: one spot in twenty is hidden by what chance puts beside it."""
PLACES = [(z, y, x) for z in (6, 17) for y in (12, 25, 38, 51) for x in (28, 41, 54)]


def spots(sigmas, shape=SHAPE, places=PLACES, seed=7):
    """A bright ball, and faint spots of which a matched filter of their shape says so many sigmas."""
    z, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
    noise = np.random.default_rng(seed).normal(0, NOISE, shape)
    level = 500 + 3000 * np.exp(-(((z - 12) ** 2 + (y - 12) ** 2 + (x - 10) ** 2) / 50.0))
    for at in places:
        spot = np.exp(-((z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2) / (2 * WIDTH**2))
        spot /= np.sqrt((spot**2).sum())
        level += spot * (sigmas * NOISE - (spot * noise).sum())
    return np.rint(level + noise).astype(np.uint16)


def encode(path, voxels, **settings):
    """The result of a quick encode, and the decoded voxels."""
    values = EncodeSettings(effort="fast", threads=1, ratio=20, **settings)
    result = encode_volume(Volume.from_array(voxels), path, values, force=True)
    return result, np.asarray(volmicro_codec.open(path))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Of one faint spot in much noise, by gate and tau."""
    path, voxels = tmp_path_factory.mktemp("gates") / "a.vgm", spots(5.8, WIDE, [(20, 120, 130)])
    ways = [("none", None), ("otsu", 0.5), ("learned", 0.0), ("learned", 0.5), ("learned", 1.0)]
    return {(gate, tau): encode(path, voxels, gate=gate, gate_tau=tau) for gate, tau in ways}


def test_less_is_coded_where_a_gate_is_closed(files):
    (few, _), (many, _) = files["otsu", 0.5], files["none", None]
    assert few.occupancy < 0.2
    assert many.occupancy == 1.0
    assert few.primitives < many.primitives
    assert few.bytes < many.bytes


def test_more_of_what_is_faint_is_coded_the_lower_tau_is(files):
    least, middle, most = (files["learned", tau][0] for tau in (1.0, 0.5, 0.0))
    assert least.occupancy < middle.occupancy < most.occupancy == 1.0
    assert least.primitives <= middle.primitives <= most.primitives
    assert least.primitives < most.primitives
    assert least.bytes < most.bytes


def test_a_tau_of_nothing_is_no_gate(files):
    np.testing.assert_array_equal(files["learned", 0.0][1], files["none", None][1])


@pytest.mark.parametrize(("gate", "tau"), [("otsu", 0.5), ("learned", 1.0)])
def test_a_closed_gate_keeps_faint_spots_that_are_many(tmp_path, gate, tau):
    kept = 0
    for seed in DRAWS:
        _, decoded = encode(tmp_path / "a.vgm", spots(7.0, seed=seed), gate=gate, gate_tau=tau)
        kept += sum(left > 0.5 * height(7.0) for left in heights(decoded))
    assert kept >= 0.95 * len(DRAWS) * len(PLACES)


@pytest.mark.parametrize("gate", ["otsu", "learned"])
def test_a_closed_gate_keeps_what_a_matched_filter_sees_at_ten_sigma(tmp_path, gate):
    voxels = spots(10.0)
    if gate == "otsu":
        occupied = otsu_gate(seen_by("otsu", voxels)).occupied(voxels)
        assert not any(occupied[at] for at in PLACES)
    _, decoded = encode(tmp_path / "a.vgm", voxels, gate=gate, gate_tau=0.5 if gate == "otsu" else 1.0)
    assert min(heights(decoded)) > 0.4 * height(10.0)


def height(sigmas):
    """Of a spot in counts."""
    return sigmas * NOISE / (np.pi * WIDTH**2) ** 0.75


def heights(decoded):
    """What is left of the spots in their middle."""
    return [float(decoded[at]) - float(np.median(decoded)) for at in PLACES]
