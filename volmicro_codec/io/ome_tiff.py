"""Images of OME-TIFF, put together from the pages that the OME-XML names, in one file or many."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import tifffile

from ..errors import InputError
from ..volume import Volume
from .arrange import AnyArray, Key, Source, arranged, in_native_order
from .axes import Choice
from .lazy_images import arranged_lazily
from .ome_xml import OmeImage, OmeXml, TiffData, parse
from .tiff_pages import ome_text, opened, page_voxels, planes

_REDUCED = 1  # of NewSubfileType: a page that is a smaller copy of another

Place = tuple[str, int]
"""A file, and the number of a page in it."""


@contextlib.contextmanager
def image_of(path: str, tif: tifffile.TiffFile, text: str, choice: Choice) -> Iterator[Source]:
    """The image that is meant of a TIFF whose first page holds OME-XML, or says which file does."""
    ome = parse(path, text)
    own = ome.uuid
    if ome.elsewhere is not None:
        ome = _elsewhere(path, ome.elsewhere)
    with contextlib.ExitStack() as stack:
        yield _source(path, ome, _Files(path, ome, stack, {path: tif}, own), choice)


def is_set(path: str, text: str) -> bool:
    """Whether OME-XML speaks of further files than the one it is in."""
    ome = parse(path, text)
    files = _Files(path, ome, contextlib.ExitStack(), {}, ome.uuid, is_tiff=True)
    return ome.elsewhere is not None or any(files.where(p) != path for i in ome.images for p in i.planes)


def check_members(name: str, files: Sequence[str], text: str, choice: Choice) -> None:
    """Raise where files asked for together are not all of the image that the first one's OME-XML means.

    Parameters
    ----------
    name : str
        For messages.
    files : sequence of path
    text : str
        OME-XML of the first.
    choice : Choice
        With a series any image of the OME-XML may be meant.

    Raises
    ------
    InputError
    """
    path = files[0]
    ome = parse(path, text)
    own = ome.uuid
    if ome.elsewhere is not None:
        ome = _elsewhere(path, ome.elsewhere)
    within = _Files(path, ome, contextlib.ExitStack(), {}, own, is_tiff=True)
    of = [{os.path.realpath(within.where(p)) for p in image.planes} for image in ome.images]
    meant = [held for held in of if choice.series is not None or os.path.realpath(path) in held]
    for file in files:
        place, shown = os.path.realpath(file), os.path.basename(file)
        if any(place in held for held in meant):
            continue
        if any(place in held for held in of):
            raise InputError(
                f"{name}: {shown} is of another image than {os.path.basename(path)}; choose one with "
                "--series 0, 1, ..."
            )
        raise InputError(
            f"{name}: {shown} is not of the same volume as {os.path.basename(path)}; "
            "give one file of the volume, or a pattern that fits its files alone, in quotes"
        )


def read_companion(path: str, choice: Choice) -> Volume:
    """Read an image that a file of nothing but OME-XML describes; its voxels are in TIFF files beside it."""
    with _companion(path, choice) as source:
        return arranged(path, source, choice)


def read_companion_lazily(path: str, choice: Choice) -> Volume:
    """The same with voxels that are read box by box; see `io.open_volume`."""
    return arranged_lazily(path, lambda: _companion(path, choice), choice)


@contextlib.contextmanager
def _companion(path: str, choice: Choice) -> Iterator[Source]:
    ome = parse(path, _text_of(path))
    with contextlib.ExitStack() as stack:
        yield _source(path, ome, _Files(path, ome, stack, {}, None), choice)


@dataclass
class _Files:
    """The TIFF files of an image, opened when they are needed.

    Attributes
    ----------
    path : str
        The file that was asked for.
    ome : OmeXml
    stack : contextlib.ExitStack
        Closes what was opened.
    opened : dict of str to TiffFile
    own : str or None
        The UUID of `path`.
    is_tiff : bool
        Whether `path` is a file of planes.
    """

    path: str
    ome: OmeXml
    stack: contextlib.ExitStack
    opened: dict[str, tifffile.TiffFile]
    own: str | None
    is_tiff: bool = False

    def __post_init__(self) -> None:
        self.is_tiff = self.is_tiff or self.path in self.opened
        parts = [p for image in self.ome.images for p in image.planes]
        self._alone = len({(p.file, p.uuid) for p in parts}) == 1 and self.is_tiff

    def where(self, part: TiffData) -> str:
        """The path of the file that holds some planes, whether it is there or not."""
        is_tiff = self.is_tiff
        if part.file is None and part.uuid is None:
            if not is_tiff:
                raise InputError(f"{self.path}: its OME-XML does not say which file its planes are in")
            return self.path
        if is_tiff and (part.uuid is not None and part.uuid == self.own):
            return self.path
        named = os.path.normpath((part.file or "").replace("\\", "/"))
        name = os.path.basename(named) if part.file else ""
        if is_tiff and name == os.path.basename(self.path):
            return self.path
        beside = os.path.join(os.path.dirname(self.path), name)
        if name != named and not os.path.isabs(named) and not named.startswith(".."):
            below = os.path.join(os.path.dirname(self.path), named)
            if os.path.exists(below):
                return below
            _check_uuid(self.path, beside, part)
        if self._alone and (not name or not os.path.exists(beside)):
            return self.path  # the only file there is, under another name by now
        if not name:
            raise InputError(f"{self.path}: its OME-XML names no file for the planes of {part.uuid}")
        return beside

    def pages(self, path: str) -> tifffile.TiffPages:
        """The pages of a file.

        Raises
        ------
        InputError
            Where it is not there.
        """
        if path not in self.opened:
            if not os.path.exists(path):
                name = os.path.basename(path)
                raise InputError(
                    f"{self.path}: its OME-XML puts planes into the file {name}, which is not there"
                )
            self.opened[path] = self.stack.enter_context(opened(path))
        return self.opened[path].pages


def _check_uuid(path: str, beside: str, part: TiffData) -> None:
    """Raise where a file whose name alone is that of a file in a folder is another one, by its own UUID."""
    if part.uuid is None or not os.path.isfile(beside):
        return
    with opened(beside) as tif:
        text = ome_text(tif)
    own = None if text is None else parse(beside, text).uuid
    if own is not None and own != part.uuid:
        raise InputError(
            f"{path}: its OME-XML puts planes into the file {part.file}, which is not there; "
            f"{os.path.basename(beside)} is another one"
        )


def _source(path: str, ome: OmeXml, files: _Files, choice: Choice) -> Source:
    image = _image(path, ome, files, choice)
    where = _planes(path, image, files)
    if choice.series is None:
        _check_all_used(path, ome, files)
    sizes = {a: image.sizes[a] for a in "TCZ"}
    sizes["C"] //= image.samples
    axes, shape = _axes(path, image, sizes, choice)
    page = _first_page(path, where, files)
    dtype = np.dtype(page.dtype) if page.dtype is not None else np.dtype("V")
    _check_page(path, image, page, dtype)
    if image.samples > 1 and page.shape[-1] == image.samples:
        axes, shape = f"{axes}S", (*shape, image.samples)
    elif image.samples > 1:
        axes, shape = f"{axes[:-2]}SYX", (*shape[:-2], image.samples, *shape[-2:])

    @cache
    def mapped() -> AnyArray | None:
        return _mapped(path, image, sizes, where, files, dtype) if image.samples == 1 else None

    def voxels(key: Key) -> AnyArray:
        leading = {a: n for n, a in enumerate(axes) if a in sizes}
        at_once = mapped()
        if at_once is not None:
            return in_native_order(np.asanyarray(at_once.reshape(shape)[key]))

        def plane(index: tuple[int, ...]) -> AnyArray:
            at = {a: index[leading[a]] if a in leading else 0 for a in "TCZ"}
            found = where.get((at["T"], at["C"], at["Z"]))
            if found is None:
                said = f"time point {at['T']}, channel {at['C']}, z {at['Z']}"
                raise InputError(f"{path}: its OME-XML does not say which page the plane of {said} is")
            page = files.pages(found[0])[found[1]]
            _check_page(found[0], image, page, dtype)
            return page_voxels(found[0], page, key[len(leading) :])

        return planes(shape, dtype, key, len(leading), plane)

    return Source(axes, shape, dtype, image.described, voxels)


def _elsewhere(path: str, name: str) -> OmeXml:
    """The OME-XML of the file that a file says has it."""
    beside = os.path.join(os.path.dirname(path), os.path.basename(name.replace("\\", "/")))
    if not os.path.isfile(beside):
        raise InputError(f"{path}: its metadata are in the file {name!r}, which is not there")
    ome = parse(beside, _text_of(beside))
    if ome.elsewhere is not None:
        raise InputError(f"{path}: its metadata are in {name}, which says that they are in {ome.elsewhere}")
    return ome


def _text_of(path: str) -> str:
    with open(path, "rb") as f:
        start = f.read(4)
        if start[:2] not in (b"II", b"MM"):
            data = start + f.read()
            return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    with opened(path) as tif:
        text = ome_text(tif)
    if text is None:
        raise InputError(f"{path}: holds no OME-XML")
    return text


def _image(path: str, ome: OmeXml, files: _Files, choice: Choice) -> OmeImage:
    """The image that is meant: the one chosen, or the only one with planes in the file."""
    if choice.series is None and path in files.opened:
        mine = [i for i in ome.images if any(files.where(p) == path for p in i.planes)]
        if len(mine) == 1:
            return mine[0]
        if not mine and ome.images:
            raise InputError(f"{path}: its metadata describe no plane of this file")
    shown = [
        " ".join(filter(None, (i.name, "x".join(str(i.sizes[a]) for a in _long(i))))) for i in ome.images
    ]
    return ome.images[choice.one_of(path, shown)]


def _long(image: OmeImage) -> str:
    return "".join(a for a in image.order if image.sizes[a] > 1) + "YX"


def _axes(path: str, image: OmeImage, sizes: dict[str, int], choice: Choice) -> tuple[str, tuple[int, ...]]:
    """Axes as they are stored, and their lengths.

    An image of OME has all five; those of length 1 are left out, but for Z: a volume may have one plane.
    """
    if image.modulo is not None and choice.axes is None:
        raise InputError(
            f"{path}: its OME-XML has a further axis ({image.modulo}), expected none but T, C, Z, Y, X"
        )
    long = {a for a in "TCZ" if sizes[a] > 1}
    if image.axes is not None and long | {"Y", "X"} <= set(image.axes) <= set("TCZYX"):
        kept = set(image.axes)
    elif choice.axes is None and "Z" not in long and "T" not in long:
        kept = long | {"Z"}
    else:  # a stack whose planes are marked as time is more common than a film of one plane
        kept = long
    stored = "".join(a for a in image.order if a in kept) + "YX"
    return stored, tuple((sizes | image.sizes if a in "YX" else sizes)[a] for a in stored)


def _planes(path: str, image: OmeImage, files: _Files) -> dict[tuple[int, int, int], Place]:
    """The page of each plane (t, c, z) that the OME-XML gives one."""
    sizes = [image.sizes[a] // (image.samples if a == "C" else 1) for a in image.order]
    total = math.prod(sizes)
    out: dict[tuple[int, int, int], Place] = {}
    missing: list[str] = []
    for part in image.planes:
        file = files.where(part)
        first = [part.first.get(a, 0) for a in image.order]
        if any(f >= n for f, n in zip(first, sizes, strict=True)):
            raise InputError(
                f"{path}: its OME-XML places pages outside of its sizes, at time point {part.first['T']}, "
                f"channel {part.first['C']}, z {part.first['Z']}"
            )
        start = int(np.ravel_multi_index(first, sizes))
        if file not in files.opened and not os.path.exists(file) and part.count is not None:
            missing.append(file)  # whether it is needed depends on what is read
            count = min(part.count, total - start)
        else:
            held = len(files.pages(file)) - part.page
            count = held if part.count is None else part.count
            if count > held or held < 1:
                raise InputError(
                    f"{path}: its OME-XML puts {part.page + count} pages into {os.path.basename(file)}, "
                    f"which has {held + part.page}"
                )
        if start + count > total:
            raise InputError(
                f"{path}: its OME-XML gives pages to {start + count} planes, its sizes make {total}"
            )
        for k in range(count):
            at = dict(zip(image.order, np.unravel_index(start + k, sizes), strict=True))
            place = file, part.page + k
            plane = int(at["T"]), int(at["C"]), int(at["Z"])
            if out.setdefault(plane, place) != place:
                raise InputError(f"{path}: its OME-XML gives two pages to one plane (t, c, z {plane})")
    if len(out) < total and not missing:
        raise InputError(f"{path}: its OME-XML promises {total} planes and gives pages to {len(out)}")
    return out


def _check_all_used(path: str, ome: OmeXml, files: _Files) -> None:
    """Raise where the file has pages that its OME-XML does not speak of."""
    if path not in files.opened:
        return
    pages = files.pages(path)
    used: set[int] = set()
    for image in ome.images:
        for part in image.planes:
            if files.where(part) == path:
                count = len(pages) - part.page if part.count is None else part.count
                used.update(range(part.page, min(part.page + count, len(pages))))
    left = [k for k in range(len(pages)) if k not in used]
    if left and not all(_is_reduced(pages[k]) for k in left):
        raise InputError(
            f"{path}: its OME-XML describes {len(used)} of the file's {len(pages)} pages; "
            "--series 0 reads what it describes"
        )


def _is_reduced(page: Any) -> bool:
    return bool(int(page.aspage().subfiletype) & _REDUCED)


def _first_page(path: str, where: dict[tuple[int, int, int], Place], files: _Files) -> Any:
    """A page of the image that is there; if none is, the first is asked for by name."""
    there = (p for p in where.values() if p[0] in files.opened or os.path.exists(p[0]))
    file, number = next(itertools.chain(there, iter(where.values())))
    return files.pages(file)[number]


def _check_page(path: str, image: OmeImage, page: Any, dtype: np.dtype) -> None:
    """Raise where a page is not such a plane as the OME-XML promises."""
    shape = (image.sizes["Y"], image.sizes["X"])
    got = tuple(int(n) for n in page.shape)
    samples = image.samples if image.samples > 1 else 1
    if got not in (shape, (*shape, samples), (samples, *shape)):
        raise InputError(
            f"{path}: page {page.index} has the shape {'x'.join(map(str, got))}, "
            f"its OME-XML promises {'x'.join(map(str, shape))}"
        )
    kind = np.dtype(page.dtype) if page.dtype is not None else np.dtype("V")
    if kind != dtype or (image.dtype in np.sctypeDict and kind != np.dtype(image.dtype)):
        raise InputError(f"{path}: page {page.index} holds {kind.name}, its OME-XML promises {image.dtype}")


def _mapped(
    path: str,
    image: OmeImage,
    sizes: dict[str, int],
    where: dict[tuple[int, int, int], Place],
    files: _Files,
    dtype: np.dtype,
) -> AnyArray | None:
    """The whole image as a memory map, where its planes lie in its file one after the other as they are."""
    order = [range(sizes[a]) for a in image.order]
    nbytes = image.sizes["Y"] * image.sizes["X"] * dtype.itemsize
    start: int | None = None
    for n, at in enumerate(itertools.product(*order)):
        index = dict(zip(image.order, at, strict=True))
        found = where.get((index["T"], index["C"], index["Z"]))
        if found is None or found[0] != path:
            return None
        page = files.pages(path)[found[1]]
        _check_page(path, image, page, dtype)
        if not page.is_memmappable:
            return None
        offset = int(page.dataoffsets[0])
        start = offset if start is None else start
        if offset != start + n * nbytes:
            return None
    shape = (*(len(r) for r in order), image.sizes["Y"], image.sizes["X"])
    stored = dtype.newbyteorder(files.opened[path].byteorder)
    end = (start or 0) + math.prod(shape) * dtype.itemsize
    if end > os.path.getsize(path):
        raise InputError(
            f"{path}: cut short: its voxels end at byte {end}, the file at byte {os.path.getsize(path)}"
        )
    return np.memmap(path, dtype=stored, mode="r", offset=start or 0, shape=shape)
