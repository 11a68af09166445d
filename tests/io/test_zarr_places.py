"""An image is found wherever in a Zarr hierarchy it is, and what is said of it is kept."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from volmicro_codec.errors import InputError, UsageError
from volmicro_codec.io import read_volume, write_volume
from volmicro_codec.io.zarr_pyramid import write_pyramid
from volmicro_codec.volume import ChannelInfo, Volume

VOXELS = np.random.default_rng(0).integers(0, 60000, (3, 4, 5, 6), dtype=np.uint16)


def image(path: Path, voxels: Any = VOXELS[0], version: str = "0.4") -> Path:
    info = Volume.from_array(voxels, "TCZYX"[-voxels.ndim :], voxel_size=(2.0, 0.5, 0.5), unit="µm").info
    write_pyramid(str(path), [voxels], info, version=version)
    return path


def group(path: Path, attributes: dict[str, Any], version: str = "0.4") -> Path:
    zarr.create_group(path, zarr_format=2 if version == "0.4" else 3).attrs.put(attributes)
    return path


def series(path: Path, count: int, listed: bool = False, version: str = "0.4") -> Path:
    """As bioformats2raw writes it."""
    mark = {"bioformats2raw.layout": 3}
    group(path, mark if version == "0.4" else {"ome": mark}, version)
    for n in range(count):
        image(path / str(n), VOXELS[n], version)
    if listed:
        said = {"series": [str(n) for n in range(count)]}
        group(path / "OME", said if version == "0.4" else {"ome": said}, version)
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("listed", [False, True])
def test_one_of_several_series_by_its_path_or_number(tmp_path: Path, listed: bool, version: str) -> None:
    path = series(tmp_path / "v.zarr", 3, listed, version)
    with pytest.raises(InputError, match=r"holds 3 images \(0, 1, 2\).*--series 0, 1"):
        read_volume(path)
    for n in range(3):
        for volume in (read_volume(path / str(n)), read_volume(path, series=n)):
            assert volume.info.voxel_size == (2.0, 0.5, 0.5)
            np.testing.assert_array_equal(volume.data[0, 0], VOXELS[n])
    with pytest.raises(UsageError, match=r"image 3 was asked for, the file has 3 \(from 0\)"):
        read_volume(path, series=3)


def test_a_plate_says_where_its_images_are_and_a_well_of_one_is_it(tmp_path: Path) -> None:
    plate = group(tmp_path / "plate.zarr", {"plate": {"wells": [{"path": "B/3"}]}})
    group(plate / "B", {})
    well = group(plate / "B" / "3", {"well": {"images": [{"path": "0"}]}})
    image(well / "0")
    with pytest.raises(InputError, match=r"a plate of many images, read one of them \(.*plate\.zarr/B/3/0\)"):
        read_volume(plate)
    for asked in (well / "0", well):
        np.testing.assert_array_equal(read_volume(asked).data[0, 0], VOXELS[0])


def test_a_directory_is_told_by_its_content(tmp_path: Path) -> None:
    for n, version in enumerate(("0.4", "0.5")):
        np.testing.assert_array_equal(
            read_volume(image(tmp_path / f"image {n}", version=version)).data[0, 0], VOXELS[0]
        )


@pytest.mark.parametrize(
    ("name", "version", "inside"),
    [("v.ome.zarr.zip", "0.4", False), ("v.ozx", "0.5", False), ("v.zarr", "0.5", True), ("v", "0.4", True)],
)
def test_a_zip_file_is_read(tmp_path: Path, version: str, inside: bool, name: str) -> None:
    (tmp_path / "made").mkdir()
    path = image(tmp_path / "made" / "v.ome.zarr", VOXELS, version)
    root, base = (path.parent, path.name) if inside else (path, None)
    made = shutil.make_archive(str(tmp_path / "archive"), "zip", root, base)
    asked = Path(made).rename(tmp_path / name)
    volume = read_volume(asked, channel=2)
    assert volume.info.unit == "µm"
    np.testing.assert_array_equal(volume.data[0, 0], VOXELS[2])


def test_a_zip_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.tex").write_text("precious")
    made = shutil.make_archive(str(tmp_path / "v.zarr"), "zip", tmp_path / "made")
    with pytest.raises(InputError, match="a zip file without a Zarr hierarchy"):
        read_volume(made)


class NoListing(SimpleHTTPRequestHandler):
    """Files, but no lists of them."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send_head(self) -> Any:
        if not self.allows(Path(self.translate_path(self.path))):
            self.send_error(403)
            return None
        return super().send_head()

    def allows(self, path: Path) -> bool:
        return not path.is_dir()


class SaysNothing(NoListing):
    """Nor does it tell what is absent from what is forbidden, as object stores do."""

    def allows(self, path: Path) -> bool:
        return path.is_file()


@pytest.fixture(params=[NoListing, SaysNothing])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """What lies in tmp_path by http."""
    pytest.importorskip("aiohttp")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(request.param, directory=str(tmp_path))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


@pytest.mark.parametrize("listed", [False, True])
def test_a_server_need_not_list(tmp_path: Path, server: str, listed: bool) -> None:
    series(tmp_path / "one.zarr", 1, listed)
    series(tmp_path / "three.zarr", 3, listed)
    np.testing.assert_array_equal(read_volume(f"{server}/one.zarr").data[0, 0], VOXELS[0])
    np.testing.assert_array_equal(read_volume(f"{server}/three.zarr/2").data[0, 0], VOXELS[2])
    np.testing.assert_array_equal(read_volume(f"{server}/three.zarr", series=1).data[0, 0], VOXELS[1])
    with pytest.raises(InputError, match=r"holds 3 images \(0, 1, 2\)"):
        read_volume(f"{server}/three.zarr")


def with_axes(path: Path, scale: list[float], units: list[str | None], channels: Any = None) -> Any:
    """An image of axes [t, c,] z, y, x with a scale and units."""
    names = "tczyx"[-len(scale) :]
    voxels = np.zeros([2] * len(scale), np.uint8)
    made = zarr.create_group(path, zarr_format=2)
    made.create_array("0", data=voxels)
    kinds = {"t": "time", "c": "channel"}
    axes = [
        {"name": n, "type": kinds.get(n, "space")} | ({} if u is None else {"unit": u})
        for n, u in zip(names, units, strict=True)
    ]
    steps = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    about: dict[str, Any] = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": steps}]}
    if channels is not None:
        about["omero"] = {"channels": channels}
    made.attrs.put(about)
    return read_volume(path).info


@pytest.mark.parametrize(
    ("scale", "units", "size", "unit"),
    [
        ([2.0, 0.5, 0.5], [None] * 3, (2.0, 0.5, 0.5), None),
        ([2.0, 0.5, 0.5], [" "] * 3, (2.0, 0.5, 0.5), None),
        ([2.0, 0.5, 0.5], ["", "micrometer", "micrometer"], (2.0, 0.5, 0.5), "µm"),
        ([2.0, 0.5, 0.5], [None, None, "micrometer"], (2.0, 0.5, 0.5), "µm"),
        ([1.0, 0.5, 0.5], [None, "micrometer", "micrometer"], (None, 0.5, 0.5), "µm"),
        ([4.0, 1.0, 1.0], [None] * 3, (4.0, 1.0, 1.0), None),
        ([1.0, 1.0, 1.0], [None] * 3, (None, None, None), None),
        ([1.0, 1.0, 1.0], ["micrometer"] * 3, (1.0, 1.0, 1.0), "µm"),
        ([-2.0, 0.5, 0.5], ["um", "micron", "\u03bcm"], (2.0, 0.5, 0.5), "µm"),
        ([2.0, 0.5, 0.5], ["pixel"] * 3, (2.0, 0.5, 0.5), "pixel"),
    ],
)
def test_sizes_are_kept_with_and_without_units(
    tmp_path: Path, scale: list[float], units: Any, size: Any, unit: str | None
) -> None:
    info = with_axes(tmp_path / "v.zarr", scale, units)
    assert (info.voxel_size, info.unit) == (size, unit)


@pytest.mark.parametrize(
    ("scale", "unit", "interval"),
    [
        (250.0, "millisecond", (250.0, "ms")),
        (2.5, None, (2.5, None)),
        (1.0, "second", (1.0, "s")),
        (1.0, None, (None, None)),
    ],
)
def test_a_time_interval_is_kept(tmp_path: Path, scale: float, unit: str | None, interval: Any) -> None:
    info = with_axes(tmp_path / "v.zarr", [scale, 1, 2.0, 0.5, 0.5], [unit, None, *["micrometer"] * 3])
    assert (info.time_interval, info.time_unit) == interval
    volume = Volume.from_array(
        np.zeros((2, 2, 2, 2), np.uint8), "TZYX", time_interval=info.time_interval, time_unit=info.time_unit
    )
    write_volume(tmp_path / "w.zarr", volume.data, volume.info)
    again = read_volume(tmp_path / "w.zarr").info
    assert (again.time_interval, again.time_unit) == interval


@pytest.mark.parametrize(
    ("color", "rgb"),
    [
        ("00FF00", 0x00FF00),
        ("#00ff00", 0x00FF00),
        ("0x00FF00", 0x00FF00),
        ("00FF00FF", 0x00FF00),
        ("0F0", 0x00FF00),
        (65280, 0x00FF00),
        (65280.0, 0x00FF00),
        (255, 0x0000FF),
        (0, None),
        ("000000", None),
        ("FFFFFF", None),
        (16777215, None),
        (None, None),
        (True, None),
        ("green", None),
        (1e400, None),
    ],
)
def test_a_colour_is_a_number_or_a_text(tmp_path: Path, color: Any, rgb: int | None) -> None:
    channels = [{"label": "a", "color": color}, {"label": "b"}]
    info = with_axes(tmp_path / "v.zarr", [1, 2.0, 0.5, 0.5], [None] * 4, channels)
    assert info.channels == (ChannelInfo("a", rgb), ChannelInfo("b"))
