"""``vgm decode``, ``roi``, ``info``, ``verify`` and ``report`` of a store of bricks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import FormatError, IncompleteError, QualityError, UsageError
from ..urls import holds_zarr
from .options import Bounds, Wanted
from .output import about, bytes_text, info_document, remark, shape_text, time_interval_text, voxel_size_text
from .pair import matched
from .progress import progress
from .region import Region
from .spread import Spread, refuse_options
from .streams import STREAM, levels_name, output_path, shown

if TYPE_CHECKING:
    from ..decoder.multiscale import MultiscaleArray
    from ..io.axes import Choice
    from ..store.grid import Brick
    from ..store.job import Job

PLANES = 16
SLAB_BYTES = 64 << 20
WIDTH = 11


def called(file: str) -> str:
    """What to call a store or a packed file in a message: its name, and which it is."""
    return f"{shown(file)}: a {'store' if holds_zarr(file) else 'packed file'}"


def write_region(
    file: str,
    source: Any,
    output: str,
    kind: str | None,
    box: tuple[Bounds, ...] | None,
    wanted: Wanted,
    version: str,
    spread: Spread,
) -> None:
    """Decode a store or a packed file, or a region of it, into a volume of any kind.

    Raises
    ------
    UsageError
        For what only single files have, or workers of which some may not see what came through stdin.
    """
    from ..io import format_of, write_volume
    from ..store.decode import View, opened, slabs_of, write_levels
    from ..store.pack import check_chunks

    refuse_options(called(file), {"--budget": wanted.budget, "--grain": wanted.grain})
    if file == STREAM and spread.dask is not None:
        raise UsageError("--dask: its workers open files by name, expected one in place of -")
    level = wanted.level
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(levels_name(file, source))
        stack.enter_context(about(store))
        bar = stack.enter_context(progress())
        view = View(store, wanted.device, wanted.threads, wanted.float32)
        stack.callback(opened.cache_clear)
        array: Any = stack.enter_context(opened(view))
        region = Region.of(store, array, box, level, wanted.channel, wanted.time)
        if holds_zarr(store):
            check_chunks(store.rstrip("/"), level, region.box)
        runner = spread.runner()
        if hasattr(runner, "close"):
            stack.callback(runner.close)
        note = f"Decoded from lossy .vgm bricks; level {level}; voxels " + ",".join(
            f"{s.start}:{s.stop}" for s in region.box
        )
        path = stack.enter_context(output_path(output, f".{kind or 'tif'}"))
        written = format_of(path)
        if written is not None and written.name == "OME-Zarr" and region.is_whole:
            write_levels(
                view, path, level, region.info, runner, force=wanted.force, note=note, version=version,
                begin=lambda blocks: bar.start(f"writing {path}", blocks), advance=bar.advance,
            )  # fmt: skip
        else:
            keys = _keys(region)
            bar.start(f"decoding {shown(file)}", len(keys))

            def slabs() -> Any:
                for slab in slabs_of(view, level, keys, runner):
                    yield slab
                    bar.advance(1)

            write_volume(path, slabs(), region.info, wanted.force, note, zarr_version=version)
    where = "to stdout" if output == STREAM else output
    remark(f"wrote {where}: {shape_text(region.info)}, {bytes_text(region.info.nbytes)}")


def _keys(region: Region) -> list[tuple[int | slice, ...]]:
    """What to read of a store for each slab [z, Y, X] of a region, over t, then c, then z."""
    info, box = region.info, region.box
    depth = max(1, SLAB_BYTES // (info.shape[3] * info.shape[4] * info.dtype.itemsize))
    depth = depth - depth % PLANES if depth > PLANES else depth
    keys = []
    for t in range(info.shape[0]):
        for c in range(info.shape[1]):
            for z in range(box[0].start, box[0].stop, depth):
                planes = slice(z, min(z + depth, box[0].stop))
                at: dict[str, Any] = {"T": t, "C": c, **region.at, "Z": planes, "Y": box[1], "X": box[2]}
                keys.append(tuple(at[a] for a in region.array.axes))
    return keys


def info_of_store(name: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """What a store holds, for JSON and for people, from its metadata alone."""
    from ..store.array import left_out, open_store
    from ..store.job import find_job

    try:
        array = open_store(name)
    except IncompleteError:
        job = find_job(name.rstrip("/"))
        if job is None:
            raise
        return info_of_begun("store", name, job)
    record, info = array.record, array.info
    size = int(record["bytes"])
    document: dict[str, Any] = {
        "file": name,
        **info_document(info),
        "finished": True,
        "store_bytes": size,
        "ratio": info.nbytes / max(size, 1),
        "levels": [list(array.level(n).shape) for n in range(array.levels)],
        "brick": record["brick"],
        "bricks": record["bricks"],
        "left_out": left_out(array),
        "slope": record["slope"],
        "quality": array.quality,
        "software": record["software"],
        "settings": record["settings"],
    }
    coarser = size - int(record["bytes_of_full_grid"])
    rows = [
        ("store", name),
        ("volume", shape_text(info)),
        ("voxel size", voxel_size_text(info)),
    ]
    if info.time_interval is not None:
        rows.append(("time step", time_interval_text(info)))
    rows += [
        ("size", f"{bytes_text(size)}, was {bytes_text(info.nbytes)}; coarser levels {bytes_text(coarser)}"),
        ("ratio", f"{document['ratio']:.1f}"),
        ("bricks", f"{record['bricks']:,} of {record['brick']}^3 voxels, {left_out(array):,} left out"),
        ("levels", ", ".join(" x ".join(map(str, s)) for s in document["levels"])),
        ("quality", _quality_text(record)),
        ("slope", f"{record['slope']:.5g}"),
        ("software", record["software"]),
        ("settings", _settings_text(record)),
    ]
    return document, rows


def info_of_packed(name: str, source: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The same of a packed file, from its root and the metadata of the store that it was."""
    from ..decoder.packed import open_packed, summary
    from ..format.header import MAJOR
    from ..format.packed_reader import PackedReader

    reader = PackedReader.open(source)
    with open_packed(source) as array:
        info, record, levels, quality = array.info, array.record, summary(reader), array.quality
    document: dict[str, Any] = {
        "file": name,
        **info_document(info),
        "packed": True,
        "file_bytes": reader.file_size,
        "ratio": info.nbytes / reader.file_size,
        "format_version": f"{MAJOR}.{reader.header.minor}",
        "root_bytes": reader.header.payload_start,
        "levels": levels,
        **{key: record[key] for key in ("brick", "bricks", "slope", "settings") if key in record},
        "quality": quality,
        "software": reader.root.software,
    }
    rows = [
        ("file", name),
        ("volume", shape_text(info)),
        ("voxel size", voxel_size_text(info)),
    ]
    if info.time_interval is not None:
        rows.append(("time step", time_interval_text(info)))
    rows += [
        ("size", f"{bytes_text(reader.file_size)}, was {bytes_text(info.nbytes)}"),
        ("ratio", f"{document['ratio']:.1f}"),
        ("packed", f"{sum(n['chunks'] for n in levels):,} chunks, root {bytes_text(document['root_bytes'])}"),
    ]
    for n, level in enumerate(levels):
        shape, chunk = (" x ".join(map(str, level[key])) for key in ("shape", "chunk"))
        rows.append(
            (f"level {n}", f"{shape} in chunks of {chunk}, {level['coding']}, {bytes_text(level['bytes'])}")
        )
    if "mse" in record:
        rows.append(("quality", _quality_text(record)))
    if "slope" in record:
        rows.append(("slope", f"{record['slope']:.5g}"))
    if reader.root.software:
        rows.append(("software", reader.root.software))
    if "settings" in record:
        rows.append(("settings", _settings_text(record)))
    return document, rows


def _quality_text(record: Mapping[str, Any]) -> str:
    """What an encode by bricks measured, for people."""
    said = f"RMS error {record['mse'] ** 0.5:.4g} grey values, noise included"
    return f"PSNR {record['psnr']:.2f} dB, {said}" if record.get("psnr") is not None else said


def _settings_text(record: Mapping[str, Any]) -> str:
    """What bricks were encoded with, as the text of single files has it."""
    others = dict(record["settings"])
    words = [f"slope={record['slope']:.5g}"] if "slope" in record else []
    words.append(str(others.pop("effort", "balanced")))
    return " ".join([*words, *(f"{key}={value}" for key, value in others.items())])


def info_of_begun(what: str, name: str, job: Job) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The same of a store or a file that is not finished: how far it is."""
    from ..store.job import DONE

    there = len(job.place.names(DONE))
    slope = job.settings.slope or 0.0
    document = {
        "file": name,
        **info_document(job.info),
        "finished": False,
        "bricks": len(job.grid),
        "bricks_there": there,
        "brick": job.edge,
        "slope": slope,
        "original": job.source.path,
    }
    rows = [
        (what, name),
        ("volume", shape_text(job.info)),
        ("bricks", f"{there:,} of {len(job.grid):,} of {job.edge}^3 voxels are there"),
        ("made from", job.source.path),
        ("slope", f"{slope:.5g}"),
    ]
    return document, rows


def verify_store(
    original: str,
    file: str,
    source: Any,
    choice: Choice,
    bricks: int,
    min_psnr: float | None,
    device: str,
    threads: int | None,
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Compare sampled bricks of a store or packed file with the original; the document, and rows for people.

    Raises
    ------
    InputError
        Where it is not of a volume of what was chosen of the original.
    """
    from ..io import open_volume
    from ..store.array import grid_of, open_levels
    from ..store.pack import check_chunks
    from ..store.verify import CONFIDENCE, verify

    with levels_name(file, source) as store, progress() as bar:
        if holds_zarr(store):
            check_chunks(store.rstrip("/"), 0)
        volume = open_volume(original, choice.channel, choice.time, axes=choice.axes, series=choice.series)
        with open_levels(store, device=device, threads=threads) as array:
            region, chosen = matched(store, array, original, volume.info, choice)
            bar.start("comparing bricks", min(bricks, len(grid_of(array).numbers(region.at))))
            found = verify(volume, array, bricks, region.at, advance=bar.advance)
    document = {
        "original": original,
        "file": file,
        "bricks": found.bricks,
        "compared": found.compared,
        "whole": found.whole,
        "psnr": found.psnr,
        "psnr_low": found.low,
        "psnr_high": found.high,
        "confidence": 1.0 if found.whole else CONFIDENCE,
        "bias": found.bias,
        "max_error": found.max_error,
        "min_psnr": min_psnr,
        "ok": min_psnr is None or found.low >= min_psnr,
        "images": [
            {
                "brick": s.number,
                "time": chosen.get("T", s.t),
                "channel": chosen.get("C", s.c),
                "mse": s.mse,
                "bias": s.bias,
            }
            for s in found.samples
        ],
    }
    sure = "of all voxels" if found.whole else f"{found.low:.2f} to {found.high:.2f} dB with 95 % confidence"
    worst = max(found.samples, key=lambda s: s.mse)
    rows = [
        ("original", original),
        ("store" if holds_zarr(file) else "file", file),
        ("compared", f"{found.compared:,} of {found.bricks:,} bricks"),
        ("PSNR", f"{found.psnr:.2f} dB, {sure}"),
        ("bias", f"{found.bias:+.4g} grey values"),
        ("largest error", f"{found.max_error:.5g} grey values"),
        ("worst brick", f"{worst.number}, RMS error {worst.mse**0.5:.4g} grey values"),
    ]
    return document, rows


def check_quality(document: dict[str, Any]) -> None:
    """Raise `QualityError` where a PSNR was asked for and is not met."""
    if not document["ok"]:
        raise QualityError(
            f"{document['file']}: PSNR {document['psnr']:.2f} dB, at least {document['psnr_low']:.2f};"
            f" expected at least {document['min_psnr']:g} dB"
        )


def largest_brick(array: MultiscaleArray, name: str, at: Mapping[str, int]) -> tuple[Brick, Any]:
    """The brick that took the most bytes, and what to open for it.

    Parameters
    ----------
    array : MultiscaleArray
    name : str
        That it was opened by.
    at : mapping
        Only bricks of this index on T and C.

    Raises
    ------
    FormatError
        Where every brick is left out.
    """
    from ..decoder.packed import PackedLevel
    from ..store.array import grid_of
    from ..store.places import place_of

    grid = grid_of(array)
    bricks = [grid.brick(n) for n in grid.numbers(at)]
    chunks = [(b.t, b.c, *b.at) for b in bricks]
    stored = array.stored
    if isinstance(stored, PackedLevel):
        places = stored.places(chunks)
        n = int(places.length.argmax())
        size = int(places.length[n])
        source: Any = stored.source(int(places.offset[n]), size, chunks[n])
    else:
        place = place_of(name)
        sizes = [place.size(grid.key(b, 0)) or 0 for b in bricks]
        n = max(range(len(sizes)), key=lambda n: sizes[n])
        size, source = sizes[n], place.location(grid.key(bricks[n], 0))
    if not size:
        raise FormatError(f"{name}: every brick is left out, there is nothing to report")
    return bricks[n], source
