"""OME-TIFF is what its OME-XML says: in one file or several, and refused by name where a part is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from volmicro_codec.errors import InputError, UsageError
from volmicro_codec.io import read_volume, write_volume
from volmicro_codec.volume import ChannelInfo, Volume

Voxels = npt.NDArray[Any]

UUID = "urn:uuid:00000000-0000-4000-8000-00000000000{}"
SIZES = 'PhysicalSizeX="0.25" PhysicalSizeY="0.25" PhysicalSizeZ="1.5"'
T, C, Z, Y, X = 2, 2, 3, 8, 9
VOXELS = np.random.default_rng(0).integers(0, 65535, (T, C, Z, Y, X), dtype=np.uint16)


def image(
    order: str = "XYZCT", tiff_data: str = "", sizes: Any = None, more: str = SIZES, kind: str = "uint16"
) -> str:
    """One Image of OME-XML."""
    lengths = {"T": T, "C": C, "Z": Z, "Y": Y, "X": X} | (sizes or {})
    said = " ".join(f'Size{a}="{n}"' for a, n in lengths.items())
    channels = "".join(f'<Channel ID="Channel:0:{c}" Name="dye {c}"/>' for c in range(lengths["C"]))
    return (
        f'<Image ID="Image:0" Name="cells"><Pixels ID="Pixels:0" DimensionOrder="{order}" Type="{kind}"'
        f" {said} {more}>{channels}{tiff_data}</Pixels></Image>"
    )


def ome(body: str, uuid: str = "") -> bytes:
    """A whole OME-XML text."""
    own = f' UUID="{uuid}"' if uuid else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{own}>'
        f"{body}</OME>"
    ).encode()


def tiff(path: Path, pages: Voxels, description: bytes, **how: Any) -> Path:
    """Pages [N, Y, X] with a description of the first."""
    tifffile.imwrite(path, pages, photometric="minisblack", metadata=None, description=description, **how)
    return path


def flat(order: str, voxels: Voxels = VOXELS) -> Voxels:
    """The planes of a volume [T, C, Z, Y, X] in a DimensionOrder."""
    slow_to_fast = order[:1:-1]
    moved = voxels.transpose(["TCZ".index(a) for a in slow_to_fast] + [3, 4])
    return moved.reshape(-1, *voxels.shape[3:])


@pytest.mark.parametrize("order", ["XYZCT", "XYZTC", "XYCZT", "XYCTZ", "XYTZC", "XYTCZ"])
@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"byteorder": ">"}], ids=str)
def test_planes_in_any_order_of_dimensions(tmp_path: Path, order: str, how: dict[str, Any]) -> None:
    path = tiff(tmp_path / "v.ome.tif", flat(order), ome(image(order)), **how)
    volume = read_volume(path)
    assert (volume.info.axes, volume.info.voxel_size, volume.info.unit) == ("TCZYX", (1.5, 0.25, 0.25), "µm")
    assert [c.name for c in volume.info.channels] == ["dye 0", "dye 1"]
    np.testing.assert_array_equal(volume.data, VOXELS)
    np.testing.assert_array_equal(read_volume(path, channel="dye 1", time=1).data, VOXELS[1:, 1:])


def test_pages_that_are_given_one_by_one_need_no_order(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(1).permutation(T * C * Z)
    parts = ""
    for page, plane in enumerate(shuffled):
        t, c, z = np.unravel_index(plane, (T, C, Z))
        parts += f'<TiffData IFD="{page}" FirstT="{t}" FirstC="{c}" FirstZ="{z}"/>'
    path = tiff(tmp_path / "v.ome.tif", flat("XYZCT")[shuffled], ome(image(tiff_data=parts)))
    np.testing.assert_array_equal(read_volume(path).data, VOXELS)


def mm_stack(path: Path) -> Path:
    """As Micro-Manager writes it: an OME-XML and an ImageJ description of one page, tables in the header."""
    voxels = VOXELS[0]
    parts = "".join(
        f'<TiffData FirstC="{c}" FirstZ="{z}" IFD="{z * C + c}" PlaneCount="1">'
        f'<UUID FileName="{path.name}">{UUID.format(7)}</UUID></TiffData>'
        for z in range(Z)
        for c in range(C)
    )
    text = ome(image(tiff_data=parts, sizes={"T": 1}), UUID.format(7)) + b"\0"
    ij = b"ImageJ=1.53t\nimages=6\nchannels=2\nslices=3\nhyperstack=true\nunit=um\nspacing=1.5\n"
    own = b'{"ChannelIndex": 0, "PixelSizeUm": 0.25}\0'
    extra = [(270, 2, len(ij), ij, True), (51123, 2, len(own), own, False)]
    with tifffile.TiffWriter(path) as out:
        for n, plane in enumerate(voxels.transpose(1, 0, 2, 3).reshape(-1, Y, X)):
            out.write(
                plane,
                description=text if n == 0 else None,
                metadata=None,
                photometric="minisblack",
                resolution=(40000, 40000),
                resolutionunit="CENTIMETER",
                extratags=extra if n == 0 else extra[1:],
            )
    return path


def test_ome_xml_wins_over_what_else_a_file_says(tmp_path: Path) -> None:
    volume = read_volume(mm_stack(tmp_path / "run_1_MMStack_Default.ome.tif"))
    assert (volume.info.voxel_size, volume.info.unit) == ((1.5, 0.25, 0.25), "µm")
    assert [c.name for c in volume.info.channels] == ["dye 0", "dye 1"]
    np.testing.assert_array_equal(volume.data[0], VOXELS[0])


def in_two_files(folder: Path, present: tuple[int, ...] = (0, 1)) -> Path:
    """A channel a file; both name the other."""
    folder.mkdir(exist_ok=True)
    parts = "".join(
        f'<TiffData IFD="0" FirstC="{c}" PlaneCount="{Z}">'
        f'<UUID FileName="C{c}.ome.tif">{UUID.format(c)}</UUID></TiffData>'
        for c in range(C)
    )
    for c in present:
        text = ome(image(tiff_data=parts, sizes={"T": 1}), UUID.format(c))
        tiff(folder / f"C{c}.ome.tif", VOXELS[0, c], text, compression="zlib")
    return folder / "C0.ome.tif"


@pytest.mark.filterwarnings("error")
def test_a_set_of_files_is_read_by_any_of_them_or_their_directory(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = in_two_files(tmp_path)
    for asked in (path, tmp_path / "C1.ome.tif", tmp_path):
        np.testing.assert_array_equal(read_volume(asked).data[0], VOXELS[0])
    assert capfd.readouterr() == ("", "")


def test_a_set_that_lacks_a_file_names_it_unless_it_is_not_needed(tmp_path: Path) -> None:
    path = in_two_files(tmp_path, present=(0,))
    with pytest.raises(InputError, match=r"puts planes into the file C1\.ome\.tif, which is not there"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, channel=0).data[0, 0], VOXELS[0, 0])


def test_a_single_file_may_have_been_renamed(tmp_path: Path) -> None:
    part = '<TiffData IFD="0" PlaneCount="3"><UUID FileName="old name.ome.tif">x</UUID></TiffData>'
    text = ome(image(tiff_data=part, sizes={"T": 1, "C": 1}))
    path = tiff(tmp_path / "new.ome.tif", VOXELS[0, 0], text)
    np.testing.assert_array_equal(read_volume(path).data[0, 0], VOXELS[0, 0])


def companion(folder: Path, with_metadata: bool = True) -> Path:
    """A TIFF of all planes that only names the file with the metadata."""
    where = f'<UUID FileName="planes.ome.tif">{UUID.format(2)}</UUID>'
    part = f'<TiffData IFD="0" PlaneCount="{T * C * Z}">{where}</TiffData>'
    if with_metadata:
        (folder / "set.companion.ome").write_bytes(ome(image(tiff_data=part), UUID.format(3)))
    only = f'<BinaryOnly MetadataFile="set.companion.ome" UUID="{UUID.format(3)}"/>'
    return tiff(folder / "planes.ome.tif", flat("XYZCT"), ome(only, UUID.format(2)))


def test_metadata_in_a_companion_file_are_followed(tmp_path: Path) -> None:
    path = companion(tmp_path)
    for asked in (path, tmp_path / "set.companion.ome"):
        volume = read_volume(asked)
        assert (volume.info.axes, volume.info.voxel_size) == ("TCZYX", (1.5, 0.25, 0.25))
        np.testing.assert_array_equal(volume.data, VOXELS)


def test_a_companion_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"metadata are in the file 'set\.companion\.ome', which is not there"
    ):
        read_volume(companion(tmp_path, with_metadata=False))


@pytest.mark.parametrize(
    ("pages", "xml", "said"),
    [
        (12, {"sizes": {"Z": 4}}, "its OME-XML promises 16 planes and gives pages to 12"),
        (14, {"tiff_data": '<TiffData IFD="0" PlaneCount="12"/>'}, "describes 12 of the file's 14 pages"),
        (
            11,
            {"tiff_data": '<TiffData IFD="0" PlaneCount="12"/>'},
            "puts 12 pages into v.ome.tif, which has 11",
        ),
        (14, {}, "gives pages to 14 planes, its sizes make 12"),
        (12, {"tiff_data": '<TiffData IFD="0" FirstZ="3"/>'}, "places pages outside of its sizes"),
        (
            12,
            {"tiff_data": '<TiffData IFD="0" PlaneCount="12"/><TiffData IFD="3"/>'},
            "gives two pages to one plane",
        ),
        (12, {"sizes": {"X": 10}}, "page 0 has the shape 8x9, its OME-XML promises 8x10"),
        (12, {"kind": "int16"}, "page 0 holds uint16, its OME-XML promises int16"),
        (12, {"sizes": {"X": "nine"}}, "its OME-XML is damaged"),
        (12, {"order": "XYZ"}, "its OME-XML is damaged (DimensionOrder XYZ)"),
    ],
)
def test_what_is_promised_and_not_there_or_there_and_not_promised_is_refused(
    tmp_path: Path, pages: int, xml: dict[str, Any], said: str
) -> None:
    voxels = np.concatenate([flat("XYZCT"), flat("XYZCT")])[:pages]
    path = tiff(tmp_path / "v.ome.tif", voxels, ome(image(**xml)))
    with pytest.raises(InputError) as raised:
        read_volume(path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_axis_hidden_in_another_is_refused(tmp_path: Path) -> None:
    note = (
        "<StructuredAnnotations>"
        '<XMLAnnotation ID="Annotation:0" Namespace="openmicroscopy.org/omero/dimension/modulo">'
        '<Value><Modulo><ModuloAlongZ Type="angle" Start="0" End="2"/></Modulo></Value></XMLAnnotation>'
        "</StructuredAnnotations>"
    )
    body = image().replace("</Pixels>", '</Pixels><AnnotationRef ID="Annotation:0"/>') + note
    path = tiff(tmp_path / "v.ome.tif", flat("XYZCT"), ome(body))
    with pytest.raises(InputError, match=r"a further axis \(angle along Z\)"):
        read_volume(path)


def test_one_of_several_images_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "v.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as out:
        for n, shape in enumerate(((3, 8, 9), (4, 5, 6))):
            voxels = np.full(shape, n, np.uint8)
            out.write(
                voxels,
                photometric="minisblack",
                metadata={"axes": "ZYX", "Name": "left" if n == 0 else "right"},
            )
    with pytest.raises(InputError, match=r"holds 2 images \(0: left 3x8x9, 1: right 4x5x6\).*--series 0, 1"):
        read_volume(path)
    assert read_volume(path, series=1).info.squeezed_shape == (4, 5, 6)
    assert (np.asarray(read_volume(path, series=1).data) == 1).all()
    with pytest.raises(UsageError, match=r"image 2 was asked for, the file has 2 \(from 0\)"):
        read_volume(path, series=2)


@pytest.mark.parametrize(
    ("more", "size", "unit"),
    [
        ('PhysicalSizeX="-0.5" PhysicalSizeZ="2"', (2.0, None, 0.5), "µm"),
        ('PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeZ="3" PhysicalSizeXUnit="pixel" '
         'PhysicalSizeYUnit="pixel" PhysicalSizeZUnit="pixel"', (3.0, 1.0, 1.0), "pixel"),
        ('PhysicalSizeX="1" PhysicalSizeZ="3" PhysicalSizeXUnit="reference frame" '
         'PhysicalSizeZUnit="reference frame"', (3.0, None, 1.0), None),
        ('PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeZ="2" PhysicalSizeZUnit="pixel"',
         (None, None, 500.0), "nm"),
        ('PhysicalSizeX="0" PhysicalSizeY="NaN" PhysicalSizeZ="2"', (2.0, None, None), "µm"),
    ],
)  # fmt: skip
def test_only_what_is_unknown_is_unknown(tmp_path: Path, more: str, size: Any, unit: str | None) -> None:
    info = read_volume(tiff(tmp_path / "v.ome.tif", flat("XYZCT"), ome(image(more=more)))).info
    assert (info.voxel_size, info.unit) == (size, unit)


@pytest.mark.parametrize(
    ("size", "unit", "again"),
    [
        ((4.0, 1.0, 1.0), None, "pixel"),
        ((4.0, 1.0, 1.0), "pixel", "pixel"),
        ((4.0, None, 0.5), "micron", "µm"),
        ((4.0, 1.0, 1.0), "furlong", None),
        ((4.0, 1.0, 1.0), "inch", "in"),
    ],
)
def test_sizes_without_a_unit_of_length_are_written_back(
    tmp_path: Path, size: Any, unit: str | None, again: str | None
) -> None:
    volume = Volume.from_array(VOXELS[0, 0], voxel_size=size, unit=unit)
    write_volume(tmp_path / "v.ome.tif", volume.data, volume.info)
    info = read_volume(tmp_path / "v.ome.tif").info
    assert (info.voxel_size, info.unit) == (size, again)


def test_black_and_white_are_no_colours(tmp_path: Path) -> None:
    xml = image()
    for c, color in enumerate((0, 255)):  # transparent and opaque black
        xml = xml.replace(f'Name="dye {c}"', f'Name="dye {c}" Color="{color}"')
    info = read_volume(tiff(tmp_path / "v.ome.tif", flat("XYZCT"), ome(xml))).info
    assert info.channels == (ChannelInfo("dye 0"), ChannelInfo("dye 1"))


@pytest.mark.parametrize(("interval", "unit"), [(2.5, "s"), (250.0, "ms"), (3.0, "min"), (0.5, "h")])
def test_a_time_interval_comes_back(tmp_path: Path, interval: float, unit: str) -> None:
    volume = Volume.from_array(VOXELS, time_interval=interval, time_unit=unit)
    write_volume(tmp_path / "v.ome.tif", volume.data, volume.info)
    again = read_volume(tmp_path / "v.ome.tif")
    assert (again.info.time_interval, again.info.time_unit) == (interval, unit)
    assert read_volume(tmp_path / "v.ome.tif", time=1).info.time_interval is None


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("ZYX", (1, 8, 9)), ("CZYX", (2, 1, 8, 9)), ("TZYX", (2, 1, 8, 9)), ("TCZYX", (1, 1, 3, 8, 9))],
)
def test_axes_of_length_one_come_back(tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
    volume = Volume.from_array(np.ones(shape, np.uint8), axes)
    write_volume(tmp_path / "v.ome.tif", volume.data, volume.info)
    again = read_volume(tmp_path / "v.ome.tif").info
    assert (again.axes, again.squeezed_shape) == (axes, shape)


def test_channels_of_one_plane_are_a_volume_and_times_of_one_plane_are_asked_about(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "c.ome.tif", VOXELS[0, :, :1], photometric="minisblack", metadata={"axes": "CZYX"}
    )
    assert read_volume(tmp_path / "c.ome.tif").info.squeezed_shape == (2, 1, 8, 9)
    tifffile.imwrite(tmp_path / "t.ome.tif", VOXELS[0, 0], photometric="minisblack", metadata={"axes": "TYX"})
    with pytest.raises(InputError, match=r"2-D image \(TYX 3x8x9\).*--axes ZYX takes its T for Z"):
        read_volume(tmp_path / "t.ome.tif")
    assert read_volume(tmp_path / "t.ome.tif", axes="ZYX").info.squeezed_shape == (3, 8, 9)
    assert read_volume(tmp_path / "t.ome.tif", axes="TZYX").info.squeezed_shape == (3, 1, 8, 9)


def test_a_lone_ome_file_under_other_suffixes_is_told_by_its_content(tmp_path: Path) -> None:
    for name in ("v.ome.btf", "v.ome.tf8", "v.lsm", "v.dat", "v"):
        tifffile.imwrite(
            tmp_path / name,
            VOXELS[0, 0],
            photometric="minisblack",
            bigtiff=True,
            ome=True,
            metadata={"axes": "ZYX"},
        )
        np.testing.assert_array_equal(read_volume(tmp_path / name).data[0, 0], VOXELS[0, 0])


def test_lsm_metadata_are_read(tmp_path: Path) -> None:
    layout = [("magic", "<u4"), ("size", "<i4"), ("dim", "<i4", 5), ("rest", "<i4", 3), ("voxel", "<f8", 3),
              ("zeros", "<u4", 60)]  # fmt: skip
    info = np.zeros(1, layout)
    info["magic"], info["size"], info["dim"] = 0x00400494C, info.nbytes, (X, Y, Z, 1, 1)
    info["voxel"] = (0.25e-6, 0.25e-6, 1.5e-6)
    path = tmp_path / "v.lsm"
    own = [(34412, 1, info.nbytes, info.tobytes(), True)]
    with tifffile.TiffWriter(path, byteorder="<") as out:
        for n, plane in enumerate(VOXELS[0, 0]):  # a thumbnail follows each plane
            out.write(plane, photometric="minisblack", metadata=None, extratags=own if n == 0 else ())
            out.write(plane[::4, ::4], photometric="minisblack", metadata=None, subfiletype=1)
    volume = read_volume(path)
    assert volume.info.voxel_size == pytest.approx((1.5, 0.25, 0.25))
    assert volume.info.unit == "µm"
    np.testing.assert_array_equal(volume.data[0, 0], VOXELS[0, 0])


def test_a_folder_is_not_taken_for_one_image_where_it_holds_more(tmp_path: Path) -> None:
    in_two_files(tmp_path / "a")
    other = tmp_path / "a" / "z.tif"
    tiff(other, VOXELS[0, 0], b"")
    with pytest.raises(InputError, match=r"z\.tif is not of the same volume as C0\.ome\.tif"):
        read_volume(tmp_path / "a")
    other.unlink()
    np.testing.assert_array_equal(read_volume(f"{tmp_path}/a/C*.tif").data[0], VOXELS[0])


def test_of_images_in_a_file_each_one_is_chosen(tmp_path: Path) -> None:
    parts = [
        f'<TiffData IFD="0" PlaneCount="{Z}"><UUID FileName="p{k}.ome.tif">{UUID.format(k)}</UUID></TiffData>'
        for k in range(2)
    ]
    text = "".join(image(tiff_data=part, sizes={"T": 1, "C": 1}) for part in parts)
    for k in range(2):
        tiff(tmp_path / f"p{k}.ome.tif", VOXELS[k, 0], ome(text, UUID.format(k)))
    with pytest.raises(InputError, match=r"p1\.ome\.tif is of another image .* --series 0, 1"):
        read_volume(tmp_path)
    for k in range(2):
        np.testing.assert_array_equal(read_volume(tmp_path, series=k).data[0, 0], VOXELS[k, 0])
        np.testing.assert_array_equal(read_volume(tmp_path / f"p{k}.ome.tif").data[0, 0], VOXELS[k, 0])


def in_a_subfolder(folder: Path) -> Path:
    """A channel a file, the second in a folder below."""
    names = ["C0.ome.tif", "sub/C1.ome.tif"]
    parts = "".join(
        f'<TiffData IFD="0" FirstC="{c}" PlaneCount="{Z}">'
        f'<UUID FileName="{names[c]}">{UUID.format(c)}</UUID></TiffData>'
        for c in range(C)
    )
    (folder / "sub").mkdir()
    for c in range(C):
        text = ome(image(tiff_data=parts, sizes={"T": 1}), UUID.format(c))
        tiff(folder / names[c], VOXELS[0, c], text)
    return folder / names[0]


def test_files_in_folders_below_are_found_there_or_beside(tmp_path: Path) -> None:
    path = in_a_subfolder(tmp_path)
    tiff(tmp_path / "C1.ome.tif", VOXELS[1, 1], ome(image(), UUID.format(7)))
    np.testing.assert_array_equal(read_volume(path).data[0], VOXELS[0])
    below = tmp_path / "sub" / "C1.ome.tif"
    moved = below.read_bytes()
    below.unlink()
    with pytest.raises(InputError, match=r"sub/C1\.ome\.tif, which is not there; C1\.ome\.tif is another"):
        read_volume(path)
    (tmp_path / "C1.ome.tif").write_bytes(moved)
    np.testing.assert_array_equal(read_volume(path).data[0], VOXELS[0])
