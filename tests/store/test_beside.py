"""What an OME-Zarr holds beside its voxels goes along into a store: how it is shown, and its labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("zarr")

import zarr

from volmicro_codec.cli.app import run
from volmicro_codec.errors import InputError
from volmicro_codec.io.axes import Choice
from volmicro_codec.io.zarr_beside import copy_labels, merged, rendering

pytestmark = pytest.mark.slow

SHAPE = (2, 6, 20, 24)
CELLS = np.random.default_rng(1).integers(0, 70_000, SHAPE[1:]).astype(np.uint32)
OMERO = {
    "id": 7,
    "name": "stack",
    "channels": [
        {"label": "DAPI", "color": "0000FF", "active": False, "coefficient": 1.0, "family": "linear",
         "inverted": False, "window": {"min": 0, "max": 4095, "start": 90, "end": 700}},
        {"label": "GFP", "color": "00FF00", "window": {"start": 95, "end": 650}},
    ],
    "rdefs": {"defaultT": 0, "defaultZ": 3, "model": "color"},
}  # fmt: skip


def axes(names: str) -> list[dict[str, str]]:
    return [{"name": a, "type": "channel" if a == "c" else "space"} for a in names]


def multiscale(names: str, paths: list[str]) -> dict[str, Any]:
    steps = [{"type": "scale", "scale": [1.0] * len(names)}]
    return {"axes": axes(names), "datasets": [{"path": p, "coordinateTransformations": steps} for p in paths]}


@pytest.fixture(params=["0.4", "0.5"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Two channels, with settings to show them and an image of labels of two levels."""
    version, path = request.param, str(tmp_path / "in.ome.zarr")

    def said(**given: Any) -> dict[str, Any]:
        if version == "0.5":
            return {"ome": {"version": version, **given}}
        given["multiscales"] = [{"version": version, **m} for m in given.get("multiscales", ())]
        return given

    kind: dict[str, Any] = {"zarr_format": 3 if version == "0.5" else 2}
    voxels = np.random.default_rng(0).normal(200, 20, SHAPE).astype(np.uint16)
    root = zarr.create_group(
        path, **kind, attributes=said(multiscales=[multiscale("czyx", ["s0"])], omero=OMERO)
    )
    root.create_array("s0", data=voxels, chunks=(1, 4, 16, 16))
    labels = root.create_group(
        "labels", attributes=said(labels=["cells"]) if version == "0.5" else {"labels": ["cells"]}
    )
    about = {"colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}], "source": {"image": "../../"}}
    cells = labels.create_group(
        "cells", attributes=said(multiscales=[multiscale("zyx", ["0", "1"])], **{"image-label": about})
    )
    cells.create_array("0", data=CELLS, chunks=(3, 8, 8))
    cells.create_array("1", data=CELLS[::2, ::2, ::2].copy(), chunks=(3, 8, 8))
    return path


def test_a_store_shows_as_its_original_and_has_its_labels(image: str, tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models")
    dest = str(tmp_path / "out.ome.zarr")
    assert run(["encode", image, "-o", dest, "--effort", "fast", "--slope", "100", "-q"]) == 0
    group = zarr.open(dest, mode="r")
    models.open_ome_zarr(group, version="0.5")
    omero = group.attrs["ome"]["omero"]
    assert omero["channels"][0] == OMERO["channels"][0]
    assert (omero["id"], omero["name"], omero["rdefs"]) == (7, "stack", OMERO["rdefs"])
    window = omero["channels"][1]["window"]
    assert (window["start"], window["end"], window["min"], window["max"]) == (95, 650, 0, 65535)
    assert group["labels"].attrs["ome"] == {"version": "0.5", "labels": ["cells"]}
    cells = group["labels/cells"]
    assert cells.attrs["ome"]["image-label"]["source"] == {"image": "../../"}
    assert np.array_equal(cells["0"][...], CELLS)
    assert set(cells.array_keys()) == {"0"}  # as many levels as the image has
    assert cells["0"].metadata.dimension_names == ("z", "y", "x")
    with_models = models.open_ome_zarr(cells, version="0.5")
    assert type(with_models).__name__ == "ImageLabel"


def test_from_one_object_store_into_another_it_is_the_same(image: str, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory, local = fsspec.filesystem("memory"), str(tmp_path / "out.ome.zarr")
    options = ["--effort", "fast", "--slope", "100", "-q"]
    try:
        memory.put(image, "/objects/in.ome.zarr", recursive=True)
        remote = "memory://objects/out.ome.zarr"
        assert run(["encode", "memory://objects/in.ome.zarr", "-o", remote, *options]) == 0
        assert run(["encode", image, "-o", local, *options]) == 0
        there, here = zarr.open(remote, mode="r"), zarr.open(local, mode="r")
        assert dict(there.attrs) == dict(here.attrs)
        assert np.array_equal(there["0"][...], here["0"][...])
        assert np.array_equal(there["labels/cells/0"][...], CELLS)
        assert not memory.exists("/objects/out.ome.zarr/vgm-job")
    finally:
        memory.rm("/objects", recursive=True)


def test_of_one_channel_go_its_settings(image: str) -> None:
    (channel,) = rendering(image, Choice(channel="GFP"))["channels"]
    assert channel == OMERO["channels"][1]
    assert rendering(image, Choice(channel=0))["channels"] == OMERO["channels"][:1]


def test_settings_of_other_channels_than_there_are_say_nothing() -> None:
    measured = {"channels": [{"label": "a", "window": {"min": 0}}]}
    assert merged(measured, {"channels": [{}, {}], "id": 3}) == {**measured, "id": 3}
    assert merged(measured, {"channels": [None]}) == measured
    odd = {"channels": [{"window": {"start": True, "end": "x"}}]}
    assert merged(measured, odd) == measured


def test_labels_have_as_many_levels_as_the_image_each_of_every_second_voxel(
    image: str, tmp_path: Path
) -> None:
    dest = str(tmp_path / "out.ome.zarr")
    zarr.create_group(dest)
    assert copy_labels(image, Choice(), dest, 3) == ["cells"]
    cells = zarr.open(f"{dest}/labels/cells", mode="r")
    (said,) = cells.attrs["ome"]["multiscales"]
    assert [d["path"] for d in said["datasets"]] == ["0", "1", "2"]
    for n, dataset in enumerate(said["datasets"]):
        step = 2**n
        assert np.array_equal(cells[str(n)][...], CELLS[::step, ::step, ::step])
        scale, *shift = dataset["coordinateTransformations"]
        assert scale["scale"] == [step] * 3
        assert [t["translation"] for t in shift] == ([[(step - 1) / 2] * 3] if n else [])
    assert copy_labels(image, Choice(), dest, 1) == ["cells"]  # after a kill they are made anew
    assert list(zarr.open(f"{dest}/labels/cells", mode="r").array_keys()) == ["0"]


@pytest.mark.parametrize("name", ["../../evil", "..", ""])
def test_labels_are_named_as_groups(image: str, tmp_path: Path, name: str) -> None:
    labels = zarr.open_group(image + "/labels", mode="r+")
    said = {"labels": [name]}
    labels.attrs.put({"ome": said} if "ome" in labels.attrs else said)
    with pytest.raises(InputError, match="expected the name of a group"):
        copy_labels(image, Choice(), str(tmp_path / "out.ome.zarr"), 1)
    assert not (tmp_path / "out.ome.zarr").exists()


def test_labels_of_all_times_are_not_those_of_one_and_a_packed_file_has_none(
    image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = str(tmp_path / "a.vgm")
    assert run(["encode", image, "-o", packed, "--packed", "--effort", "fast", "--slope", "100", "-q"]) == 0
    capsys.readouterr()
    assert run(["info", packed, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["packed"]
