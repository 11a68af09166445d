"""OME-Zarr 0.4 and 0.5: what is written is read back, by us and by others; pyramids are whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import BloscCodec

from volmicro_codec.errors import InputError, OutputError, OutputExistsError, RemoteError, UsageError
from volmicro_codec.io import read_volume, write_volume, zarr_pyramid
from volmicro_codec.io.axes import Choice
from volmicro_codec.io.levels import level_shapes
from volmicro_codec.io.zarr_pyramid import write_pyramid
from volmicro_codec.volume import ChannelInfo, Volume

Voxels = npt.NDArray[Any]


def a_volume(axes: str = "ZYX", dtype: str = "uint16", **info: Any) -> Volume:
    shape = tuple({"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}[a] for a in axes)
    rng = np.random.default_rng(3)
    if dtype == "float32":
        return Volume.from_array(rng.normal(size=shape).astype(np.float32), axes, **info)
    return Volume.from_array(rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype), axes, **info)


def squeezed(volume: Volume) -> Voxels:
    return volume.data.reshape(volume.info.squeezed_shape)


def attributes(path: Path) -> dict[str, Any]:
    return dict(zarr.open_group(path, mode="r").attrs)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("axes", ["ZYX", "CZYX", "TZYX", "TCZYX"])
def test_what_is_written_is_read_back(tmp_path: Path, version: str, dtype: str, axes: str) -> None:
    volume = a_volume(axes, dtype)
    path = tmp_path / "v.ome.zarr"
    write_pyramid(str(path), [squeezed(volume)], volume.info, version=version)
    again = read_volume(path)
    np.testing.assert_array_equal(again.data, volume.data)
    assert (again.info.axes, again.info.dtype) == (axes, volume.info.dtype)
    assert zarr.open_group(path).metadata.zarr_format == {"0.4": 2, "0.5": 3}[version]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_others_take_it_for_a_valid_ome_zarr_image(tmp_path: Path, version: str) -> None:
    models = pytest.importorskip("ome_zarr_models", reason="the package ome-zarr-models is not installed")
    volume = a_volume(
        "TCZYX",
        voxel_size=(2.0, 0.5, 0.25),
        unit="nm",
        channels=tuple(ChannelInfo(n, c) for n, c in (("DAPI", 0xFF), ("GFP", 0xFF00), (None, None))),
    )
    path = tmp_path / "v.ome.zarr"
    write_pyramid(str(path), [squeezed(volume)], volume.info, description="lossy", version=version)
    image = models.open_ome_zarr(zarr.open_group(path, mode="r"))
    described = image.attributes if version == "0.4" else image.attributes.ome
    assert described.version == version if version == "0.5" else described.multiscales[0].version == version
    axes = [(a.name, a.type, a.unit) for a in described.multiscales[0].axes]
    assert axes[:2] == [("t", "time", None), ("c", "channel", None)]
    assert axes[2:] == [(a, "space", "nanometer") for a in "zyx"]
    transforms = described.multiscales[0].datasets[0].coordinateTransformations
    assert list(transforms[0].scale) == [1, 1, 2, 0.5, 0.25]
    omero = described.omero if isinstance(described.omero, dict) else described.omero.model_dump()
    assert [c["color"] for c in omero["channels"]] == ["0000FF", "00FF00", "FFFFFF"]


sizes = st.one_of(st.none(), st.floats(1e-6, 1e6))


@given(
    version=st.sampled_from(["0.4", "0.5"]),
    voxel_size=st.tuples(sizes, sizes, sizes),
    unit=st.sampled_from(["nm", "µm", "mm", "Å"]),
    names=st.lists(st.one_of(st.none(), st.text(min_size=1, max_size=12)), min_size=3, max_size=3),
    rgb=st.lists(st.one_of(st.none(), st.integers(1, 0xFFFFFE)), min_size=3, max_size=3),
)
def test_voxel_size_and_channels_come_back(
    version: str,
    voxel_size: tuple[float | None, ...],
    unit: str,
    names: list[str | None],
    rgb: list[int | None],
) -> None:
    from volmicro_codec.io.zarr_metadata import describe, parse

    known = any(v is not None for v in voxel_size)
    channels = tuple(ChannelInfo(n, c) for n, c in zip(names, rgb, strict=True))
    info = a_volume("CZYX", voxel_size=voxel_size, unit=unit if known else None, channels=channels).info
    text = json.dumps(describe(info, 2, [(0, 1, 0, 1)] * 3, None, version))
    image = parse("v", json.loads(text), Choice())
    about = image.described
    assert (about.voxel_size, about.unit) == (voxel_size, info.unit)
    assert image.axes == "CZYX"
    assert (about.channels or (ChannelInfo(),) * 3) == channels


def test_an_unknown_voxel_size_stays_unknown_and_one_without_a_unit_keeps_its_numbers(tmp_path: Path) -> None:
    for n, size in enumerate([(None, None, None), (2.0, 0.5, 0.5)]):
        volume = a_volume(voxel_size=size)
        write_volume(tmp_path / f"{n}.zarr", volume.data, volume.info)
        info = read_volume(tmp_path / f"{n}.zarr").info
        assert (info.voxel_size, info.unit) == (size, None)


@pytest.mark.parametrize(("at", "axes"), [({"channel": 1}, "TZYX"), ({"channel": "b", "time": 1}, "ZYX")])
def test_one_channel_or_time_point_is_read_alone(
    tmp_path: Path, at: dict[str, Any], axes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = a_volume("TCZYX", channels=tuple(ChannelInfo(n) for n in "abc"))
    path = tmp_path / "v.zarr"
    write_volume(path, volume.data, volume.info)
    for chunk in (path / "0" / "c").rglob("*"):  # the others are not even looked at
        if chunk.is_file() and chunk.relative_to(path / "0" / "c").parts[1] != "1":
            chunk.write_bytes(b"damaged")
    got = read_volume(path, **at)
    assert got.info.axes == axes
    assert got.info.channels == (ChannelInfo("b"),)
    expected = volume.data[:, 1:2] if axes == "TZYX" else volume.data[1:, 1:2]
    np.testing.assert_array_equal(got.data, expected)


def test_levels_are_those_given_each_twice_as_coarse_and_placed_at_its_voxels_centres(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    levels = [rng.integers(0, 9, s, dtype=np.uint8) for s in [(5, 7, 600), (3, 4, 300), (2, 2, 150)]]
    info = Volume.from_array(levels[0], voxel_size=(2.0, 1.0, 0.5), unit="µm").info
    path = tmp_path / "v.ome.zarr"
    assert [tuple(a.shape) for a in levels] == level_shapes((5, 7, 600))
    write_pyramid(str(path), levels, info)
    group = zarr.open_group(path, mode="r")
    for n, level in enumerate(levels):
        np.testing.assert_array_equal(group[str(n)][:], level)  # type: ignore[index]
    datasets = attributes(path)["ome"]["multiscales"][0]["datasets"]
    assert [d["path"] for d in datasets] == ["0", "1", "2"]
    transforms = [{k: v for t in d["coordinateTransformations"] for k, v in t.items()} for d in datasets]
    assert [t["scale"] for t in transforms] == [[2, 1, 0.5], [4, 2, 1], [8, 4, 2]]
    assert [t.get("translation") for t in transforms] == [None, [1, 0.5, 0.25], [3, 1.5, 0.75]]


def test_without_levels_coarser_ones_are_means(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 65535, (3, 6, 260), dtype=np.uint16)
    volume = Volume.from_array(voxels)
    write_volume(tmp_path / "v.zarr", voxels, volume.info, description="ratio 200")
    level = zarr.open_group(tmp_path / "v.zarr", mode="r")["1"][:]  # type: ignore[index]
    assert level.shape == (2, 3, 130)
    pairs = voxels[:2].reshape(1, 2, 3, 2, 130, 2).astype(float).mean((1, 3, 5))
    np.testing.assert_array_equal(level[:1], np.rint(pairs))
    last = voxels[2:].reshape(1, 3, 2, 130, 2).astype(float).mean((2, 4))  # a level's last plane may be half
    np.testing.assert_array_equal(level[1:], np.rint(last))
    described = attributes(tmp_path / "v.zarr")["ome"]["multiscales"][0]
    assert described["metadata"] == {"description": "ratio 200"}


@given(depth=st.integers(1, 100), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6))
@pytest.mark.slow
def test_slabs_of_any_depth_make_the_same_volume(
    tmp_path_factory: pytest.TempPathFactory, depth: int, cuts: list[int]
) -> None:
    data = np.random.default_rng(depth).integers(0, 255, (2, depth, 2, 3), dtype=np.uint8)
    info = Volume.from_array(data, "CZYX").info

    def slabs() -> Iterator[Voxels]:
        for image in data:
            z = k = 0
            while z < depth:
                step = cuts[k % len(cuts)]
                yield image[z : z + step]
                z, k = z + step, k + 1

    path = tmp_path_factory.mktemp("slabs") / "v.zarr"
    write_volume(path, slabs(), info)
    np.testing.assert_array_equal(read_volume(path).data[0], data)


def test_a_pyramid_is_written_in_blocks_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_pyramid, "BLOCK_VOXELS", 32 * 256 * 256)
    shape = (70, 300, 600)
    voxels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    asked: list[int] = []

    class Lazy:
        def __init__(self) -> None:
            self.shape = shape

        def __getitem__(self, key: Any) -> Voxels:
            part: Voxels = voxels[key]
            asked.append(part.size)
            return part

    told: list[int] = []
    write_pyramid(str(tmp_path / "v.zarr"), [Lazy()], Volume.from_array(voxels).info, advance=told.append)
    assert max(asked) <= 32 * 256 * 256
    assert sum(told) == voxels.size
    np.testing.assert_array_equal(read_volume(tmp_path / "v.zarr").data[0, 0], voxels)


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt, ValueError("read error"), OSError(28, "No space left")]
)
def test_a_failure_while_writing_leaves_nothing(tmp_path: Path, failure: Any) -> None:
    def slabs() -> Iterator[Voxels]:
        yield np.zeros((2, 5, 6), np.uint16)
        raise failure

    with pytest.raises(BaseException) as raised:
        write_volume(tmp_path / "v.zarr", slabs(), a_volume().info)
    assert isinstance(raised.value, KeyboardInterrupt | ValueError | OutputError)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays_unless_forced_and_is_never_replaced_where_it_is_no_zarr(tmp_path: Path) -> None:
    first, second = a_volume("ZYX", "uint8"), a_volume("CZYX")
    path = tmp_path / "v.zarr"
    write_volume(path, first.data, first.info)
    with pytest.raises(OutputExistsError, match="exists already"):
        write_volume(path, second.data, second.info)
    np.testing.assert_array_equal(read_volume(path).data, first.data)
    write_volume(path, second.data, second.info, force=True)
    np.testing.assert_array_equal(read_volume(path).data, second.data)
    assert list(tmp_path.iterdir()) == [path]

    thesis = tmp_path / "thesis.zarr"
    thesis.mkdir()
    (thesis / "chapter1.tex").write_text("precious")
    with pytest.raises(OutputError, match="no Zarr hierarchy, and will not be replaced"):
        write_volume(thesis, first.data, first.info, force=True)
    assert (thesis / "chapter1.tex").read_text() == "precious"


def test_a_failure_to_replace_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = a_volume("ZYX", "uint8"), a_volume("CZYX")
    path = tmp_path / "v.zarr"
    write_volume(path, first.data, first.info)
    rename = os.rename

    def failing(src: Any, dst: Any) -> None:
        if str(src).endswith(".part"):
            raise OSError(5, "Input/output error")
        rename(src, dst)

    monkeypatch.setattr(os, "rename", failing)
    monkeypatch.setattr("volmicro_codec.io.zarr_output.exchanged", lambda a, b: False)
    with pytest.raises(OutputError, match="cannot be written: Input/output error"):
        write_volume(path, second.data, second.info, force=True)
    np.testing.assert_array_equal(read_volume(path).data, first.data)
    assert list(tmp_path.iterdir()) == [path]


def test_urls_are_written_and_read_and_half_an_image_replaces_nothing() -> None:
    fsspec = pytest.importorskip("fsspec")
    volume = a_volume("CZYX", voxel_size=(2.0, 0.5, 0.5), unit="µm")
    url = "memory://written/v.ome.zarr"
    write_volume(url, volume.data, volume.info)
    again = read_volume(url)
    np.testing.assert_array_equal(again.data, volume.data)
    assert again.info.voxel_size == volume.info.voxel_size
    with pytest.raises(OutputExistsError):
        write_volume(url, volume.data, volume.info)
    with pytest.raises(InputError, match="voxels ended"):
        write_volume(url, [np.zeros((2, 5, 6), np.uint16)], volume.info, force=True)
    np.testing.assert_array_equal(read_volume(url).data, volume.data)
    other = a_volume("ZYX", "uint8")
    write_volume(url, other.data, other.info, force=True)
    np.testing.assert_array_equal(read_volume(url).data, other.data)
    with pytest.raises(InputError, match="voxels ended"):
        write_volume("memory://written/w.ome.zarr", [np.zeros((2, 5, 6), np.uint16)], volume.info)
    assert [f["name"] for f in fsspec.filesystem("memory").ls("/written")] == ["/written/v.ome.zarr"]
    with pytest.raises(RemoteError, match="no Zarr group or array is there"):
        read_volume("memory://written/w.ome.zarr")


def old_image(path: Path, version: str, shape: tuple[int, ...], **multiscale: Any) -> None:
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("full", data=np.arange(np.prod(shape)).reshape(shape).astype(">u2"))
    entry = {"version": version, "datasets": [{"path": "full"}], **multiscale}
    group.attrs.put({"multiscales": [entry]})


def test_older_versions_and_big_endian_voxels_are_read(tmp_path: Path) -> None:
    old_image(tmp_path / "1.zarr", "0.1", (2, 1, 3, 4, 5))
    old_image(tmp_path / "3.zarr", "0.3", (2, 3, 4, 5), axes=["c", "z", "y", "x"])
    for name, axes in (("1.zarr", "TCZYX"), ("3.zarr", "CZYX")):
        volume = read_volume(tmp_path / name)
        assert volume.info.axes == axes
        assert volume.info.dtype == np.dtype("uint16")
        np.testing.assert_array_equal(np.ravel(volume.data), np.arange(120))


def test_units_and_orders_that_we_do_not_write_are_understood(tmp_path: Path) -> None:
    axes = [
        {"name": "x", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "nanometer"},
        {"name": "z", "type": "space", "unit": "millimeter"},
        {"name": "colour", "type": "channel"},
    ]
    old_image(
        tmp_path / "v.zarr",
        "0.4",
        (5, 4, 3, 2),
        axes=axes,
        coordinateTransformations=[{"type": "scale", "scale": [0.5, 500, 0.001, 1]}],
    )
    volume = read_volume(tmp_path / "v.zarr")
    assert volume.info.shape == (1, 2, 3, 4, 5)
    assert volume.info.voxel_size == pytest.approx((1.0, 0.5, 0.5))
    assert volume.info.unit == "µm"
    np.testing.assert_array_equal(volume.data[0], np.arange(120).reshape(5, 4, 3, 2).T)


def test_a_group_of_one_image_is_that_image_and_of_two_is_refused(tmp_path: Path) -> None:
    volume = a_volume()
    root = zarr.create_group(tmp_path / "v.zarr", zarr_format=2)
    root.attrs.put({"bioformats2raw.layout": 3})
    write_pyramid(str(tmp_path / "v.zarr" / "0"), [squeezed(volume)], volume.info, version="0.4")
    np.testing.assert_array_equal(read_volume(tmp_path / "v.zarr").data, volume.data)
    write_pyramid(str(tmp_path / "v.zarr" / "1"), [squeezed(volume)], volume.info, version="0.4")
    with pytest.raises(
        InputError, match=r"holds 2 images \(0, 1\), expected one volume; choose one with --series 0, 1"
    ):
        read_volume(tmp_path / "v.zarr")


def test_a_plain_array_is_a_volume(tmp_path: Path) -> None:
    voxels = a_volume("CZYX").data[0]
    zarr.save_array(tmp_path / "a.zarr", voxels)
    again = read_volume(tmp_path / "a.zarr")
    assert again.info.axes == "CZYX"
    np.testing.assert_array_equal(again.data[0], voxels)


def spoil(path: Path, **changes: Any) -> None:
    """Change the attributes of an image."""
    ome = attributes(path)["ome"]
    zarr.open_group(path).attrs.put({"ome": {**ome, **changes}})


def test_what_is_no_volume_is_refused_in_one_line(tmp_path: Path) -> None:
    volume = a_volume()
    made = {}
    for name in ("empty", "plate", "two", "damaged", "chunk", "flat", "rgb", "wide", "text"):
        made[name] = tmp_path / f"{name}.zarr"
    zarr.create_group(made["empty"])
    zarr.create_group(made["plate"]).attrs.put({"ome": {"plate": {}, "version": "0.5"}})
    for name in ("two", "damaged", "chunk"):
        write_volume(made[name], volume.data, volume.info)
    spoil(made["two"], multiscales=attributes(made["two"])["ome"]["multiscales"] * 2)
    spoil(made["damaged"], multiscales=[{"datasets": "0"}])
    next(p for p in (made["chunk"] / "0" / "c").rglob("*") if p.is_file()).write_bytes(b"\0\1\2")
    zarr.save_array(made["flat"], np.zeros((4, 5), np.uint8))
    old_image(made["rgb"], "0.4", (3, 4, 5, 6), axes=[{"name": a} for a in ("sample", "z", "y", "x")])
    zarr.save_array(made["wide"], np.zeros((4, 5, 6), np.int64))
    made["text"].mkdir()
    (made["text"] / "zarr.json").write_text("{")
    expected = {
        "empty": "no OME-Zarr image, expected a group with multiscales",
        "plate": f"a plate of many images, read one of them ({made['plate']}/A/1/0), expected",
        "two": "holds 2 images (0, 1), expected one volume; choose one with --series",
        "damaged": "damaged OME-Zarr metadata (",
        "chunk": "damaged or unsupported Zarr (",
        "flat": "an array of 2 dimensions, expected 3 to 5",
        "rgb": "axis ? of ?ZYX (3x4x5x6) is none of T, C, Z, Y, X",
        "wide": "dtype int64 is not supported",
        "text": "damaged or unsupported Zarr (",
    }
    for name, said in expected.items():
        with pytest.raises(InputError) as raised:
            read_volume(made[name])
        assert str(raised.value).startswith(f"{made[name]}: {said}")
        assert "\n" not in str(raised.value)


def test_versions_that_are_not_written(tmp_path: Path) -> None:
    volume = a_volume()
    with pytest.raises(UsageError, match=r"OME-Zarr version '0.6': expected one of 0.4, 0.5"):
        write_pyramid(str(tmp_path / "v.zarr"), [squeezed(volume)], volume.info, version="0.6")
    assert list(tmp_path.iterdir()) == []


def test_levels_that_are_not_what_was_announced_leave_nothing(tmp_path: Path) -> None:
    volume = a_volume()
    for wrong, said in (
        (np.zeros((4, 5, 7), np.uint16), r"level 0 has shape \(4, 5, 7\), expected \(4, 5, 6\)"),
        (np.zeros((4, 5, 6), np.uint8), "level 0 has dtype uint8, expected uint16"),
    ):
        with pytest.raises(InputError, match=said):
            write_pyramid(str(tmp_path / "v.zarr"), [wrong], volume.info)
    assert list(tmp_path.iterdir()) == []


def blosc_array(path: Path, version: int, shards: bool) -> Path:
    """An array of one chunk (of a shard) in Blosc's format; returns the file of it."""
    voxels = np.random.default_rng(0).integers(0, 60000, (8, 32, 32), dtype=np.uint16)
    codec: Any = numcodecs.Blosc("lz4") if version == 2 else BloscCodec(cname="lz4")
    zarr.create_array(
        path, shape=voxels.shape, chunks=voxels.shape, shards=voxels.shape if shards else None, dtype="u2",
        zarr_format=version, compressors=codec,
    )[...] = voxels  # type: ignore[call-overload]  # fmt: skip
    np.testing.assert_array_equal(read_volume(path).data[0, 0], voxels)
    return path / ("0.0.0" if version == 2 else "c/0/0/0")


@pytest.mark.parametrize("cut", [1, 40, 5000, None])
@pytest.mark.parametrize(("version", "shards"), [(2, False), (3, False)])
def test_a_chunk_of_blosc_that_was_cut_short_is_refused(
    tmp_path: Path, version: Any, shards: bool, cut: int | None
) -> None:
    chunk = blosc_array(tmp_path / "a.zarr", version, shards)
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: 8 if cut is None else len(whole) - cut])
    with pytest.raises(InputError, match="a chunk was cut short"):
        read_volume(tmp_path / "a.zarr")


def test_chunks_in_a_shard_are_looked_at_too(tmp_path: Path) -> None:
    shard = blosc_array(tmp_path / "a.zarr", 3, True)
    whole = bytearray(shard.read_bytes())
    whole[12:16] = (1 << 24).to_bytes(4, "little")  # what the header of its chunk says follows
    shard.write_bytes(bytes(whole))
    with pytest.raises(InputError, match="a chunk was cut short"):
        read_volume(tmp_path / "a.zarr")


def test_arrays_of_others_keep_their_own_codecs(tmp_path: Path) -> None:
    blosc_array(tmp_path / "2.zarr", 2, False)
    blosc_array(tmp_path / "3.zarr", 3, False)
    assert type(numcodecs.get_codec({"id": "blosc"})) is numcodecs.Blosc
    codecs = zarr.open_array(tmp_path / "3.zarr", mode="r").metadata.codecs  # type: ignore[union-attr]
    assert type(codecs[-1]) is BloscCodec


@pytest.mark.parametrize(
    ("names", "axes"),
    [
        (["time", "z", "y", "x"], "TZYX"),
        (["Z", "y", "x", "channel"], "ZYXC"),
        (["time", "x", "y", "z"], "TXYZ"),
        (["dim_0", "dim_1", "dim_2", "dim_3"], "CZYX"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_names_of_dimensions_say_what_they_are(
    tmp_path: Path, names: list[str], axes: str, version: Any
) -> None:
    voxels = np.random.default_rng(1).integers(0, 60000, (2, 3, 4, 5), dtype=np.uint16)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=voxels.shape, dtype="u2", zarr_format=version,
        dimension_names=names if version == 3 else None,
        attributes={"_ARRAY_DIMENSIONS": names} if version == 2 else {},
    )  # fmt: skip
    array[...] = voxels
    volume = read_volume(tmp_path / "a.zarr")
    order = [axes.index(a) for a in "TCZYX" if a in axes]
    assert volume.info.axes == "".join(axes[k] for k in order)
    np.testing.assert_array_equal(np.asarray(volume.data).squeeze(), voxels.transpose(order))


def test_other_names_of_dimensions_are_asked_about(tmp_path: Path) -> None:
    voxels = np.zeros((3, 4, 5), np.uint16)
    zarr.create_array(tmp_path / "a.zarr", data=voxels, dimension_names=["depth", "row", "column"])
    with pytest.raises(InputError, match=r"dimensions depth, row, column: .* --axes ZYX"):
        read_volume(tmp_path / "a.zarr")
    assert read_volume(tmp_path / "a.zarr", axes="ZYX").info.shape[2:] == voxels.shape
