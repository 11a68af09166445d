"""An option that would change nothing beside the others is refused in a line, not left unheard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.errors import UsageError

ENCODE = ["encode", "v.npy", "-o", "x.vgm"]
IDLE = [
    ([*ENCODE, "--gate-file", "g.npz", "--gate", "otsu"], "gate_file: has no effect where gate is otsu"),
    ([*ENCODE, "--gate-file", "g.npz", "--gate", "none"], "gate_file: has no effect where gate is none"),
    ([*ENCODE, "--gate-tau", "0.5", "--gate", "none"], "gate_tau: has no effect where gate is none"),
    (
        [*ENCODE, "--gate", "otsu", "--objective", "voxels"],
        "gate: has no effect where objective is voxels",
    ),
    (
        [*ENCODE, "--gate-tau", "0.3", "--objective", "voxels", "--psnr", "40"],
        "gate_tau: has no effect where objective is voxels",
    ),
    (
        [*ENCODE, "--gate-file", "g.npz", "--primitives", "9"],
        "gate_file: has no effect where target is primitives",
    ),
    ([*ENCODE, "--lr", "0.3"], "lr: has no effect where optimizer is lbfgs"),
    ([*ENCODE, "--grad-threshold", "1"], "grad_threshold: has no effect where densify is off"),
    ([*ENCODE, "--init", "grid", "--psnr", "40"], "init: has no effect where target is psnr"),
    ([*ENCODE, "--init", "grid", "--slope", "20"], "init: has no effect where target is slope"),
    (
        [*ENCODE, "--init", "grid", "--packed"],
        "--init grid is of whole volumes: bricks are encoded to --slope, --ratio or --size, with"
        " --objective signal, --coding lattice and --init greedy",
    ),
    ([*ENCODE, "--packed", "--plan", "--task", "0/2"], "--plan: is of all bricks, expected no --task"),
    (["export", "cells.vgm", "--format", "npz", "--opacity", "2"], "npz knows no --opacity"),
    (["export", "cells.vgm", "--format", "npz", "--opacity", "1"], "npz knows no --opacity"),
    (["export", "cells.vgm", "-o", "e.csv", "--coordinates", "unit"], "csv knows no --coordinates"),
    (["export", "cells.vgm", "-o", "e.csv", "--format", "npz"], "--format npz: e.csv is called .csv"),
    (
        ["decode", "cells.vgm", "-o", "o.npy", "--zarr-version", "0.5"],
        "o.npy: not an .ome.zarr, and knows no --zarr-version",
    ),
    (["verify", "v.npy", "cells.vgm", "--bricks", "32"], "cells.vgm: a file of no bricks knows no --bricks"),
    (
        ["import", "p.npz", "-o", "x.vgm", "--shape", "4,5,6", "--grid", "corners"],
        "--grid: is of --coordinates unit and symmetric, not of voxels",
    ),
]


@pytest.fixture
def inputs(tmp_path: Path, file: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((4, 5, 6), np.uint16))
    np.savez(tmp_path / "p.npz", positions=np.ones((1, 3)), scales=np.ones((1, 3)), intensities=np.ones(1))


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(("args", "said"), IDLE, ids=[" ".join(args) for args, _ in IDLE])
def test_what_changes_nothing_is_refused(
    vgm: Callable[..., Any], tmp_path: Path, args: list[str], said: str
) -> None:
    before = sorted(tmp_path.iterdir())
    ran = vgm(*args)
    assert (ran.code, ran.out, ran.err) == (2, "", f"vgm: error: {said}\n")
    assert sorted(tmp_path.iterdir()) == before


def test_a_format_may_be_given_beside_any_other_name(vgm: Callable[..., Any], file: Path) -> None:
    for args in (["-o", "e.NPZ", "--format", "npz"], ["-o", "e.txt", "--format", "csv"], ["-o", "e.ply"]):
        assert vgm("export", file, *args).code == 0


def test_what_the_command_line_leaves_without_effect_of_a_config_file_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        'ratio = 50\ninit = "grid"\ngate-file = "g.npz"\ngate-tau = 0.3\noptimizer = "adam"\nlr = 0.3\n'
    )
    assert EncodeSettings.from_toml(path, psnr=40.0, gate="none", optimizer="lbfgs") == EncodeSettings(
        psnr=40.0, gate="none"
    )
    assert EncodeSettings.from_toml(path, gate_tau=0.2).gate_tau == 0.2
    assert EncodeSettings.from_toml(path, primitives=9).changed() == {
        "primitives": 9, "init": "grid", "optimizer": "adam", "lr": 0.3,
    }  # fmt: skip


@pytest.mark.parametrize("alone", [{"objective": "voxels"}, {"primitives": 9}])
@pytest.mark.parametrize("gate", [{"gate": "otsu"}, {"gate_tau": 0.5}, {"gate_file": "g.npz"}])
def test_no_gate_is_asked_where_every_voxel_is_described_as_it_is(
    alone: dict[str, Any], gate: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(gate))}: has no effect where"):
        volmicro_codec.encode(np.ones((4, 5, 6), np.uint16), **alone, **gate)


def test_that_none_is_trained_is_heeded_whatever_is_described(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('gate = "none"\n')
    for alone in ({"objective": "voxels"}, {"primitives": 9}):
        assert EncodeSettings.from_toml(path, **alone).gate == "none"
