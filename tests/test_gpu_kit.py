"""The kit for a machine with a GPU runs, dry, on one without: it looks into the code and must follow it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

KIT = ROOT / "benchmarks" / "gpu_kit"


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory):
    """What the kit's probe and its clock of stages bring back where the CPU stands in for a GPU."""
    pytest.importorskip("torch", reason="the kit measures fits on a device")
    folder = tmp_path_factory.mktemp("kit")
    kit, out = folder / "kit", folder / "out"
    shutil.copytree(KIT, kit)
    vectors = sorted((ROOT / "spec" / "vectors" / "valid").rglob("*lattice*.vgm"))
    shutil.copy(vectors[0], kit / "phantom.vgm")
    kit_says = {"DRY": "1", "PYTHON": sys.executable, "PARTS": "probe encode", "SECONDS": "400"}
    env = {**os.environ, **{f"VGM_KIT_{k}": v for k, v in kit_says.items()}, "OUT": str(out)}
    ran = subprocess.run(
        ["bash", str(kit / "run.sh")], cwd=ROOT, env=env, capture_output=True, text=True, timeout=600
    )
    return ran.stdout, Path(out)


def test_every_part_of_the_probe_works(dry_run):
    said, out = dry_run
    probe = json.loads((out / "probe.json").read_text())
    assert not probe["failed"], said
    assert {"kernels of the Gaussians", "steps of the fit", "search for candidates"} <= set(probe)


def test_every_stage_that_the_clock_names_is_there_and_the_main_ones_take_time(dry_run):
    said, out = dry_run
    stages = json.loads((out / "stages.json").read_text())
    assert stages["finished"], said
    assert stages["absent"] == []
    assert {"ImageFit.refit", "Proposals.candidates", "train_gate_seen"} <= set(stages["stages"])
