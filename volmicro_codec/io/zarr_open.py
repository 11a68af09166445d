"""Finds the array of an image in a Zarr hierarchy, also in a zip file or where a server cannot list it."""

from __future__ import annotations

import contextlib
import os
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import zarr
from zarr.storage import ZipStore

from ..errors import InputError
from ..urls import ZARR_MARKS
from .axes import Choice, letter_of
from .blosc_check import checked_blosc
from .metadata import Described
from .zarr_metadata import OmeImage, parse
from .zarr_store import refusals_told, store_of

Node = zarr.Array[Any] | zarr.Group
_NO_NAME = re.compile(r"(dim_?\d+)?")  # what xarray calls a dimension that has none


def open_image(name: str, choice: Choice) -> tuple[zarr.Array[Any], OmeImage]:
    """The array of full resolution of the image that is meant, and what is said of it.

    Parameters
    ----------
    name : str
        A directory, a zip file or a URL: of an image, or of a group of some of which one is meant.
    choice : Choice

    Raises
    ------
    InputError
        Where it holds no image, or several of which none was chosen.
    """
    with checked_blosc():
        if os.path.isfile(name):
            return _image(name, _zipped(name), choice)
        if "://" in name and name.lower().endswith((".zip", ".ozx")):
            raise InputError(f"{name}: a zip file cannot be read from a URL; download it first")
        store = store_of(name)
        with refusals_told(name, store):
            node: Node = zarr.open(store, mode="r")
        return _image(name, node, choice)


def _zipped(name: str) -> Node:
    """The outermost node in a zip file: the hierarchy itself was zipped, or the directory that it is."""
    with zipfile.ZipFile(name) as archive:
        marked = [n.rpartition("/")[0] for n in archive.namelist() if n.rpartition("/")[2] in ZARR_MARKS]
    if not marked:
        raise InputError(f"{name}: a zip file without a Zarr hierarchy")
    store = ZipStore(name, mode="r")
    return zarr.open(store, mode="r", path=min(marked, key=lambda path: (path.count("/") + bool(path), path)))


def _image(name: str, node: Node, choice: Choice) -> tuple[zarr.Array[Any], OmeImage]:
    if isinstance(node, zarr.Array):
        choice.one_of(name, ["x".join(map(str, node.shape))])
        return node, OmeImage("", _plain_axes(name, node, choice), Described())
    attributes = dict(node.attrs)
    within = attributes.get("ome", attributes)
    if isinstance(within, Mapping) and "multiscales" not in within:
        paths = _paths(name, node, within)
        if paths is not None:
            meant = choice.one_of(name, paths)
            return _image(f"{name}/{paths[meant]}", node[paths[meant]], Choice(axes=choice.axes))
    image = parse(name, attributes, choice)
    array = node[image.path]
    if not isinstance(array, zarr.Array):
        raise InputError(f"{name}: {image.path!r} is no array")
    return array, image


def _paths(name: str, node: zarr.Group, ome: Mapping[str, Any]) -> list[str] | None:
    """Paths of the images of a group, where it is one that holds images."""
    if "bioformats2raw.layout" in ome:
        return _series(name, node)
    well = ome.get("well")
    if isinstance(well, Mapping):
        return [str(i["path"]) for i in well.get("images") or () if isinstance(i, Mapping) and "path" in i]
    return None


def _series(name: str, node: zarr.Group) -> list[str]:
    """Paths of the images that bioformats2raw wrote: as its list says, or as they are found."""
    with contextlib.suppress(Exception):
        said: dict[str, Any] = dict(node["OME"].attrs)
        listed = said.get("ome", said)["series"]
        if isinstance(listed, list) and listed:
            return [str(path) for path in listed]
    images: list[str] = []
    try:
        images = sorted((key for key in node.group_keys() if key.isdecimal()), key=int)
    except Exception:
        if "://" not in name:
            raise
    if not images and "://" in name:  # a server need not list what it has
        while _is_there(node, str(len(images))):
            images.append(str(len(images)))
    return images


def _is_there(node: zarr.Group, path: str) -> bool:
    try:
        return isinstance(node[path], zarr.Group)
    except KeyError:
        return False


def _plain_axes(name: str, array: zarr.Array[Any], choice: Choice) -> str:
    """The axes of an array without OME metadata: its names of dimensions, or what arrays are by number."""
    names = _names_of(array)
    if names:
        letters = [letter_of(n) for n in names]
        if None not in letters:
            return "".join(filter(None, letters))
        if choice.axes is None:
            raise InputError(
                f"{name}: dimensions {', '.join(names)}: expected names of t, c, z, y, x; "
                f"say what they are, as with --axes {'TCZYX'[-array.ndim :]}"
            )
    by_number = {3: "ZYX", 4: "CZYX", 5: "TCZYX"}
    if array.ndim not in by_number and choice.axes is None:
        raise InputError(f"{name}: an array of {array.ndim} dimensions, expected 3 to 5 (ZYX, CZYX, TCZYX)")
    return by_number.get(array.ndim, "YX".rjust(array.ndim, "Q"))


def _names_of(array: zarr.Array[Any]) -> list[str]:
    """The names of all dimensions, as Zarr 3 holds them, or xarray in Zarr 2; none where one has none."""
    names = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, (list, tuple)) or len(names) != array.ndim:
        return []
    named = [str(n) for n in names if n is not None and not _NO_NAME.fullmatch(str(n))]
    return named if len(named) == array.ndim else []
