"""``vgm pack`` and ``vgm unpack``: a store of bricks as one file, and back."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..errors import OutputError
from ..urls import is_zarr
from .app import Command
from .options import Seconds, file_argument, force_option, json_option, output_option
from .output import about, bytes_text, emit_json, emit_rows, shape_text
from .progress import progress
from .same_file import check_file_output, refuse_inputs, refuse_within

if TYPE_CHECKING:
    from ..store.pack import Packed


@click.command(cls=Command)
@file_argument("store", "STORE")
@output_option(True, "The .vgm file to write.")
@force_option
@json_option
def pack(store: str, output: str, force: bool, as_json: bool) -> None:
    """Pack STORE, a finished OME-Zarr of .vgm bricks (path or URL), into one .vgm file.

    The bricks are copied as they are, the coarsest level first. The file is read as the store is, by all
    commands, here or over http: what a region needs is found by a few pages of index and read by range.
    """
    from ..store.pack import pack as write

    began = time.monotonic()
    store = store.rstrip("/")
    refuse_within(output, store)
    check_file_output(output, force, [store], ".vgm")
    with progress() as bar:
        begin = partial(bar.start, f"packing {store}")
        packed = write(store, output, force, begin, bar.advance)
    _emit("file", output, packed, time.monotonic() - began, as_json)


@click.command(cls=Command)
@file_argument("file", "FILE")
@output_option(True, "The .ome.zarr to write; a path or URL.")
@force_option
@json_option
def unpack(file: str, output: str, force: bool, as_json: bool) -> None:
    """Unpack FILE, a packed .vgm (path or URL), into the OME-Zarr store that it was made of.

    Every checksum is compared. Bricks and metadata have the bytes that they had.
    """
    from ..io.zarr_output import check_zarr_output
    from ..store.pack import unpack as write

    began = time.monotonic()
    output = output.rstrip("/")
    if not is_zarr(output):
        raise OutputError(f"{output}: expected a name that ends in .zarr")
    refuse_inputs(output, [file], directories=True)
    check_zarr_output(output, force)
    with about(file), progress() as bar:
        begin = partial(bar.start, f"unpacking {file}")
        packed = write(file, output, force, begin, bar.advance)
    _emit("store", output, packed, time.monotonic() - began, as_json)


def _emit(what: str, output: str, packed: Packed, seconds: float, as_json: bool) -> None:
    document: dict[str, Any] = {
        "output": output,
        "shape": list(packed.info.squeezed_shape),
        "uncompressed_bytes": packed.info.nbytes,
        "bytes": packed.size,
        "ratio": packed.info.nbytes / packed.size,
        "chunks": packed.chunks,
        "root_bytes": packed.root,
        "seconds": seconds,
    }
    if as_json:
        emit_json(document)
        return
    emit_rows(
        [
            (what, output),
            ("volume", f"{shape_text(packed.info)}, {bytes_text(packed.info.nbytes)}"),
            ("size", bytes_text(packed.size)),
            ("ratio", f"{document['ratio']:.1f}"),
            ("chunks", f"{packed.chunks:,}"),
            ("time", str(Seconds(seconds))),
        ]
    )
