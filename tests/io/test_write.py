"""read(write(x)) == x, voxels and metadata; and a file is there whole or not at all."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from volmicro_codec.errors import InputError, OutputError, OutputExistsError
from volmicro_codec.io import VolumeFormat, atomic_output, format_of, read_volume, registry, write_volume
from volmicro_codec.volume import ChannelInfo, Volume, VolumeInfo

Voxels = npt.NDArray[Any]


def a_volume(axes: str = "ZYX", dtype: str = "uint16", **info: Any) -> Volume:
    shape = tuple({"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}[a] for a in axes)
    rng = np.random.default_rng(3)
    if dtype == "float32":
        return Volume.from_array(rng.normal(size=shape).astype(np.float32), axes, **info)
    return Volume.from_array(rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype), axes, **info)


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".ome.tif", ".ome.tiff", ".npy", ".TIF"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("axes", ["ZYX", "CZYX", "TZYX", "TCZYX"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str, dtype: str, axes: str) -> None:
    volume = a_volume(axes, dtype)
    path = tmp_path / f"v{suffix}"
    write_volume(path, volume.data, volume.info)
    again = read_volume(path)
    np.testing.assert_array_equal(again.data.ravel(), volume.data.ravel())
    assert again.info.dtype == volume.info.dtype
    if suffix != ".npy":  # which has no place for the names of axes
        assert again.info.axes == axes
        assert again.info.shape == volume.info.shape


colors = st.one_of(st.none(), st.integers(0, 0xFFFFFF))
sizes = st.one_of(st.none(), st.floats(1e-6, 1e6))


@given(
    voxel_size=st.tuples(sizes, sizes, sizes),
    unit=st.sampled_from(["nm", "µm", "mm", "Å"]),
    names=st.lists(st.one_of(st.none(), st.from_regex(r"\A[ -~µ]{1,12}\Z")), min_size=3, max_size=3),
    rgb=st.lists(colors, min_size=3, max_size=3),
)
def test_voxel_size_and_channels_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    voxel_size: tuple[float | None, ...],
    unit: str,
    names: list[str | None],
    rgb: list[int | None],
) -> None:
    known = any(v is not None for v in voxel_size)
    channels = tuple(ChannelInfo(n, c) for n, c in zip(names, rgb, strict=True))
    volume = a_volume("CZYX", voxel_size=voxel_size, unit=unit if known else None, channels=channels)
    path = tmp_path_factory.mktemp("meta") / "v.ome.tif"
    write_volume(path, volume.data, volume.info)
    info = read_volume(path).info
    assert info.voxel_size == voxel_size
    assert info.unit == volume.info.unit
    # White is what OME means by no colour, and so is black; a blank name is no name.
    expected = [(c.name, None if c.color in (0, 0xFFFFFF) else c.color) for c in channels]
    read = [(c.name, c.color) for c in info.channels] or [(None, None)] * 3
    assert read == expected


def test_the_file_is_ome_tiff_compressed_without_loss_and_says_what_it_is(tmp_path: Path) -> None:
    volume = a_volume("CZYX", voxel_size=(2.0, 0.5, 0.25), unit="µm")
    path = tmp_path / "v.tif"
    write_volume(path, volume.data, volume.info, description="ratio 200, PSNR 40 dB")
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert not tif.is_bigtiff
        assert tif.series[0].axes == "CZYX"
        page = tif.pages.first
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.predictor == tifffile.PREDICTOR.HORIZONTAL
        assert page.get_resolution("MICROMETER") == pytest.approx((4.0, 2.0))
        assert tif.ome_metadata is not None
        assert "<Description>ratio 200, PSNR 40 dB</Description>" in tif.ome_metadata


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".ome.zarr"])
def test_the_same_voxels_make_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    volume = a_volume("CZYX", voxel_size=(2.0, 0.5, 0.25), unit="µm", source_name="cells.tif")
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        path = write_volume(tmp_path / name / f"v{suffix}", volume.data, volume.info, description="as it was")
        files = sorted(p for p in [path, *path.rglob("*")] if p.is_file())
        written.append([(p.relative_to(tmp_path / name), p.read_bytes()) for p in files])
    assert written[0] == written[1]


def test_what_differs_from_another_file_has_another_identity(tmp_path: Path) -> None:
    volume = a_volume("CZYX")
    identities = set()
    for k, description in enumerate((None, "ratio 200", "ratio 100")):
        write_volume(tmp_path / f"{k}.tif", volume.data, volume.info, description=description)
        with tifffile.TiffFile(tmp_path / f"{k}.tif") as tif:
            (found,) = re.findall(r'UUID="urn:uuid:([-0-9a-f]{36})"', tif.ome_metadata or "")
            identities.add(found)
    assert len(identities) == 3


def test_bigtiff_is_used_where_the_voxels_may_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = a_volume()
    for limit, big in ((10**6, False), (volume.info.nbytes, True)):
        monkeypatch.setattr("volmicro_codec.io.tiff._CLASSIC_LIMIT", limit)
        path = write_volume(tmp_path / f"{big}.tif", volume.data, volume.info)
        with tifffile.TiffFile(path) as tif:
            assert tif.is_bigtiff is big
        np.testing.assert_array_equal(read_volume(path).data, volume.data)


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_slabs_may_come_one_after_another(tmp_path: Path, suffix: str) -> None:
    volume = a_volume("TCZYX")
    slabs = (
        volume.data[t, c, z : z + 3] for t in range(2) for c in range(3) for z in (0, 3)
    )  # fmt: skip
    path = tmp_path / f"v{suffix}"
    write_volume(path, slabs, volume.info)
    np.testing.assert_array_equal(read_volume(path).data, volume.data)


def test_an_array_like_is_sliced_not_taken_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volmicro_codec.io.files._SLAB_BYTES", 2 * 5 * 6 * 2)
    volume = a_volume("CZYX")
    largest = 0

    class Lazy:
        shape = volume.info.squeezed_shape

        def __getitem__(self, key: Any) -> Voxels:
            nonlocal largest
            part: Voxels = volume.data[0][key]
            largest = max(largest, part.size)
            return part

    write_volume(tmp_path / "v.npy", Lazy(), volume.info)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), volume.data[0])
    assert largest == 2 * 5 * 6


@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (np.zeros((4, 5, 7), np.uint16), "an array of shape (4, 5, 7) is not the volume (4, 5, 6) (ZYX)"),
        (np.zeros((4, 5, 6), np.uint8), "a slab of dtype uint8, expected uint16"),
        ([np.zeros((3, 5, 6), np.uint16)], "voxels ended in image 0 at z 3, expected 1 images"),
        (
            [np.zeros((5, 5, 6), np.uint16)],
            "a slab of shape (5, 5, 6) at z 0 does not fit images of shape (4, 5, 6)",
        ),
        ([np.zeros((4, 5, 6), np.uint16)] * 2, "more voxels than the 1 images announced"),
    ],
    ids=["shape", "dtype", "too few", "slab too deep", "too many"],
)
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_voxels_that_are_not_what_was_announced_leave_nothing(
    tmp_path: Path, voxels: Any, said: str, suffix: str
) -> None:
    with pytest.raises(InputError) as raised:
        write_volume(tmp_path / f"v{suffix}", voxels, a_volume().info)
    assert str(raised.value) == said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt, ValueError("read error"), OSError(5, "Input/output error")]
)
def test_a_failure_while_writing_leaves_nothing(tmp_path: Path, suffix: str, failure: Any) -> None:
    def slabs() -> Iterator[Voxels]:
        yield np.zeros((2, 5, 6), np.uint16)
        assert len(list(tmp_path.iterdir())) == 1
        raise failure

    with pytest.raises(BaseException) as raised:
        write_volume(tmp_path / f"v{suffix}", slabs(), a_volume().info)
    assert isinstance(raised.value, KeyboardInterrupt | ValueError | OutputError)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    volume = a_volume()
    path = tmp_path / "v.tif"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="exists already") as raised:
        write_volume(path, volume.data, volume.info)
    assert isinstance(raised.value, FileExistsError)
    assert path.read_bytes() == b"precious"
    write_volume(path, volume.data, volume.info, force=True)
    np.testing.assert_array_equal(read_volume(path).data, volume.data)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "v"
    with pytest.raises(OutputExistsError), atomic_output(path) as temp:
        temp.write_bytes(b"ours")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_without_hard_links_a_file_is_still_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "v"
    with atomic_output(path) as temp:
        temp.write_bytes(b"ours")
    assert path.read_bytes() == b"ours"
    with pytest.raises(OutputExistsError), atomic_output(tmp_path / "w") as temp:
        temp.write_bytes(b"ours")
        (tmp_path / "w").write_bytes(b"theirs")
    assert (tmp_path / "w").read_bytes() == b"theirs"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v", "w"]


def test_a_link_is_kept_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_output(tmp_path / "link", force=True) as temp:
        temp.write_bytes(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_new_file_has_the_permissions_any_new_file_has(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    with atomic_output(tmp_path / "ours"):
        pass
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    info = a_volume().info
    voxels = a_volume().data
    (tmp_path / "d.tif").mkdir()
    os.mkfifo(tmp_path / "pipe.tif")
    for name, said in {
        "d.tif": "is a directory, expected a file name",
        "pipe.tif": "is not a plain file and will not be replaced",
        "none/v.tif": f"the directory {tmp_path / 'none'} does not exist",
        "v.vgmx": "unknown kind of file, expected one of ",
    }.items():
        with pytest.raises(OutputError) as raised:
            write_volume(tmp_path / name, voxels, info, force=True)
        assert str(raised.value).startswith(f"{tmp_path / name}: {said}")


def test_a_full_disk_is_an_output_error_that_names_the_target(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as raised, atomic_output(tmp_path / "v"):
        raise OSError(28, "No space left on device")
    assert str(raised.value) == f"{tmp_path / 'v'}: cannot be written: No space left on device"


def test_an_axis_that_is_not_named_cannot_be_longer_than_one(tmp_path: Path) -> None:
    info = VolumeInfo(shape=(2, 1, 3, 4, 5), dtype=np.dtype("uint8"), axes="ZYX")
    with pytest.raises(InputError, match="axis T is longer than 1"):
        write_volume(tmp_path / "v.tif", np.zeros(info.shape, np.uint8), info)


def test_a_registered_format_is_found_by_its_longest_suffix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FORMATS", list(registry._FORMATS))
    added = VolumeFormat("OME-Zarr", (".zarr", ".ome.zarr"), "nowhere", directory=True, remote=True)
    registry.register(added)
    assert format_of("https://host/a.ome.zarr/") is added
    assert format_of("a.zarr.npy") is not added
    assert format_of("a.tif") is not None
    assert format_of("a") is None
