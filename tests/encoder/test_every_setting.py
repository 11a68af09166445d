"""No option is without effect: each field of the settings changes the file, or is one that must not."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from tests.encoder.fits import gaussians, rendered
from volmicro_codec.encoder.fit.gaussians import Model
from volmicro_codec.encoder.mask.gate import otsu_gate, seen_by
from volmicro_codec.encoder.pipeline import encode_bytes
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.format import VgmReader
from volmicro_codec.volume import Volume

SHAPE = (14, 40, 44)
BASE = {"ratio": 40.0, "effort": "fast", "iterations": 3, "gate": "otsu"}
TARGETS = {"size": 500, "psnr": 30.0, "within_noise": 3.0, "slope": 40.0, "primitives": 9}
CHANGED = {
    # field: the value, and what else is set for it to be able to act
    "ratio": (90.0, {}),
    "objective": ("voxels", {}),
    "effort": ("balanced", {"iterations": None}),
    "gate": ("none", {"ratio": 100.0}),
    "gate_tau": (0.0, {"ratio": 100.0}),
    "gate_file": ("of another volume", {"gate": "learned"}),
    "edge_boost": (4.0, {}),
    "lambda_gradient": (3.0, {}),
    "lambda_sparsity": (0.3, {}),
    "lambda_overlap": (3.0, {}),
    "lambda_smoothness": (3.0, {}),
    "lambda_degenerate": (30.0, {}),
    "densify": (True, {"init": "random", "objective": "voxels"}),
    "max_primitives": (4, {}),
    "grad_threshold": (1e3, {"densify": True, "init": "random", "objective": "voxels"}),
    "iterations": (9, {}),
    "lr": (0.02, {"optimizer": "adam"}),
    "init": ("random", {}),
    "optimizer": ("adam", {}),
    "seed": (5, {"init": "random"}),
    "coding": ("float16", {}),
    "points": (False, {"objective": "voxels", "ratio": 8.0}),
    "levels": (3, {}),
    "overview": (1, {}),
    "cutoff": (3.0, {}),
    "brick": (16, {}),
}
WITHOUT_EFFECT = {"device": "cpu", "threads": 3}
"""Where and with how many threads an encode runs: the bytes are the same."""


FAINT = {"gate", "gate_tau"}
"""What acts on a lone faint spot in a dark volume that is large enough for noise to have such peaks."""


def stack_of(light, seed):
    noise = np.random.default_rng(seed).normal(0, 6, light.shape)
    return Volume.from_array(np.rint(400 * light + noise + 100).astype(np.uint16))


def faint_stack():
    shape = (24, 120, 120)
    spot = Model(np.array([[12.0, 30, 90]]), np.eye(3)[None], np.array([0.0318]))
    return stack_of(rendered(gaussians(6, (24, 60, 60), 3), shape) + rendered(spot, shape), 1)


@pytest.fixture(scope="module")
def payload(tmp_path_factory):
    """The chunks of a small noisy stack under settings; each is encoded once."""
    stack = stack_of(rendered(gaussians(14, SHAPE, 3), SHAPE), 1)
    faint = faint_stack()
    gate = tmp_path_factory.mktemp("gate") / "g.npz"
    otsu_gate(seen_by("otsu", np.rint(4 * stack.data[0, 0]).astype(np.uint16))).save(gate)
    made = {}

    def chunks(of=stack, **given):
        given = {**BASE, **given}
        if any(given.get(t) is not None for t in TARGETS):
            given.pop("ratio")
        if given.get("objective") == "voxels" or given.get("primitives") is not None:
            given["gate"] = "none"  # others have no effect there, and are refused
        if "gate_file" in given:
            given["gate_file"] = gate
        key = (of is faint, *sorted(given.items(), key=str))
        if key not in made:
            data, _ = encode_bytes(of, EncodeSettings(**given))
            with VgmReader.open(data) as reader:
                entries = [(e.coding, e.level, e.brick_lo, e.count, e.crc32) for e in reader.entries]
                made[key] = entries, reader.meta.cutoff
        return made[key]

    chunks.faint = faint
    return chunks


def test_every_field_is_tried():
    tried = {*CHANGED, *TARGETS, *WITHOUT_EFFECT}
    assert {f.name for f in fields(EncodeSettings)} == tried


@pytest.mark.parametrize("name", CHANGED)
def test_an_option_changes_the_file(payload, name):
    value, beside = CHANGED[name]
    if name in FAINT:
        beside = {**beside, "of": payload.faint}
    assert payload(**{**beside, name: value}) != payload(**beside)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_changes_the_file(payload, name):
    assert payload(**{name: TARGETS[name]}) != payload()


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_where_it_runs_does_not(payload, name):
    assert payload(**{name: WITHOUT_EFFECT[name]}) == payload()


@pytest.mark.parametrize(
    ("name", "value", "same"),
    [
        ("ratio", np.float32(20), 20.0),
        ("size", np.int64(1000), 1000),
        ("primitives", np.uint16(5), 5),
        ("points", np.bool_(False), False),
        ("psnr", np.float16(30), 30.0),
    ],
)
def test_numbers_of_numpy_are_as_good_as_those_of_python(name: str, value: object, same: object) -> None:
    assert EncodeSettings(**{name: value}) == EncodeSettings(**{name: same})
