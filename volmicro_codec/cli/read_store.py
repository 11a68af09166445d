"""``vgm decode``, ``roi``, ``info``, ``verify`` and ``report`` of a store of bricks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import FormatError, IncompleteError, QualityError, UsageError
from ..urls import is_zarr
from .options import Bounds
from .output import bytes_text, info_document, remark, shape_text, time_interval_text, voxel_size_text
from .progress import progress
from .region import Region
from .spread import Spread

if TYPE_CHECKING:
    from ..decoder.multiscale import MultiscaleArray
    from ..io.axes import Choice
    from ..store.job import Job

PLANES = 16
SLAB_BYTES = 64 << 20
WIDTH = 11


def write_region(
    store: str,
    output: str,
    box: tuple[Bounds, ...] | None,
    level: int,
    channel: str | None,
    time: int | None,
    spread: Spread,
    force: bool,
    version: str,
    float32: bool,
) -> None:
    """Decode a store, or a region of it, into a volume of any kind."""
    from ..io import check_volume_output, format_of, write_volume
    from ..store.array import open_levels
    from ..store.decode import slabs_of, write_levels
    from ..store.pack import check_chunks

    check_volume_output(output, force)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress())
        array: Any = open_levels(store)
        if float32:
            array = array.as_float32()
        region = Region.of(store, array, box, level, channel, time)
        if is_zarr(store):
            check_chunks(store.rstrip("/"), level, region.box)
        runner = spread.runner()
        if hasattr(runner, "close"):
            stack.callback(runner.close)
        note = f"Decoded from a lossy store of .vgm bricks; level {level}; voxels " + ",".join(
            f"{s.start}:{s.stop}" for s in region.box
        )
        kind = format_of(output)
        if kind is not None and kind.name == "OME-Zarr" and region.is_whole:
            write_levels(
                store, output, level, region.info, runner, force=force, note=note, version=version,
                begin=lambda blocks: bar.start(f"writing {output}", blocks), advance=bar.advance,
            )  # fmt: skip
        else:
            keys = _keys(region)
            bar.start(f"decoding {store}", len(keys))

            def slabs() -> Any:
                for slab in slabs_of(store, level, keys, runner, float32):
                    yield slab
                    bar.advance(1)

            write_volume(output, slabs(), region.info, force, note)
    remark(f"wrote {output}: {shape_text(region.info)}, {bytes_text(region.info.nbytes)}")


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
        return _begun(name, job)
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
    return document, rows


def _quality_text(record: Mapping[str, Any]) -> str:
    """What an encode by bricks measured, for people."""
    said = f"RMS error {record['mse'] ** 0.5:.4g} grey values, noise included"
    return f"PSNR {record['psnr']:.2f} dB, {said}" if record.get("psnr") is not None else said


def _begun(name: str, job: Job) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The same of a store that is not finished: how far it is."""
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
        ("store", name),
        ("volume", shape_text(job.info)),
        ("bricks", f"{there:,} of {len(job.grid):,} of {job.edge}^3 voxels are there"),
        ("made from", job.source.path),
        ("slope", f"{slope:.5g}"),
    ]
    return document, rows


def verify_store(
    original: str,
    store: str,
    choice: Choice,
    bricks: int,
    min_psnr: float | None,
    device: str = "auto",
    threads: int | None = None,
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Compare sampled bricks with the original; the document, and rows for people.

    Raises
    ------
    UsageError
        Where a channel or time point is chosen: a sample is of all of them.
    """
    from ..io import open_volume
    from ..store.array import grid_of, open_levels
    from ..store.pack import check_chunks
    from ..store.verify import CONFIDENCE, verify

    if is_zarr(store):
        check_chunks(store.rstrip("/"), 0)
    with progress() as bar:
        volume = open_volume(original, choice.channel, choice.time, axes=choice.axes, series=choice.series)
        array = open_levels(store, device=device, threads=threads)
        bar.start("comparing bricks", min(bricks, len(grid_of(array))))
        found = verify(volume, array, bricks, advance=bar.advance)
    document = {
        "original": original,
        "file": store,
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
            {"brick": s.number, "time": s.t, "channel": s.c, "mse": s.mse, "bias": s.bias}
            for s in found.samples
        ],
    }
    sure = "of all voxels" if found.whole else f"{found.low:.2f} to {found.high:.2f} dB with 95 % confidence"
    worst = max(found.samples, key=lambda s: s.mse)
    rows = [
        ("original", original),
        ("store", store),
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


def largest_brick(array: MultiscaleArray, name: str) -> tuple[int, Any]:
    """The number of the chunk that took the most bytes, and what to open for it.

    Raises
    ------
    FormatError
        Where every brick is left out.
    """
    from ..decoder.packed import PackedLevel
    from ..store.array import grid_of
    from ..store.places import place_of

    grid = grid_of(array)
    bricks = [grid.brick(n) for n in range(len(grid))]
    chunks = [(b.t, b.c, *b.at) for b in bricks]
    stored = array.stored
    if isinstance(stored, PackedLevel):
        places = stored.places(chunks)
        number = int(places.length.argmax())
        size = int(places.length[number])
        source: Any = stored.source(int(places.offset[number]), size, chunks[number])
    else:
        place = place_of(name)
        sizes = [place.size(grid.key(b, 0)) or 0 for b in bricks]
        number = max(range(len(sizes)), key=lambda n: sizes[n])
        size, source = sizes[number], place.location(grid.key(bricks[number], 0))
    if not size:
        raise FormatError(f"{name}: every brick is left out, there is nothing to report")
    return number, source


def refuse_choice(channel: str | None, time: int | None) -> None:
    """Raise `UsageError`: bricks of all images are drawn."""
    if channel is not None or time is not None:
        raise UsageError("a store is compared over all channels and time points: no --channel, no --time")
