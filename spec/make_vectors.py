"""Makes the test vectors of the specification: valid files with what they decode to, and invalid ones.

Run by hand, ``python spec/make_vectors.py [FOLDER]``; the files are committed and change only with the
specification. What the valid files decode to is computed here, by plain numpy in float64, from the numbers
they were made of.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import packed_vectors
from invalid_lattice import lattice_files
from invalid_vectors import invalid_files
from lattice_vectors import alike, odd_primitives, tilted
from vector_parts import Box, Part, chosen_part, lattice_parts, points_part, sparse_integers

from volmicro_codec.decoder.grain_reference import add_grain
from volmicro_codec.entropy.lattice import Parameters
from volmicro_codec.format import EncodedChunk, FileMeta, codings, encode_file, support_box
from volmicro_codec.format.codings import planes, raw
from volmicro_codec.format.metadata import Overview
from volmicro_codec.indexing import AxisRange
from volmicro_codec.noise_model import NoiseModel
from volmicro_codec.primitives import RECORD_DTYPE
from volmicro_codec.volume import ChannelInfo, VolumeInfo

Within = tuple[FileMeta, list[Part]]
"""The file that is an overview."""
HERE = Path(__file__).resolve().parent
SEED = 1234567


def random_records(rng: np.random.Generator, n: int, spread: Box, scale: tuple[float, float]) -> np.ndarray:
    """Random records [n] with centres within ``spread`` voxels of the brick's centre."""
    out = np.zeros(n, RECORD_DTYPE)
    out["position"] = rng.uniform(-1, 1, (n, 3)) * spread
    out["scale"] = rng.uniform(*scale, (n, 3))
    out["rotation"] = rng.normal(size=(n, 4))
    out["intensity"] = rng.normal(0.4, 0.4, n)
    return out


def evaluate(meta: FileMeta, parts: list[Part], grid: int) -> np.ndarray:
    """Section 8 in float64, one primitive after the other: values [T, C, Z, Y, X] before rounding."""
    step = 2**grid
    highest = meta.grid_levels[min(grid, len(meta.grid_levels)) - 1] if grid and meta.grid_levels else 255
    size_t, size_c, *size = meta.info.shape
    shape = [-(-n // step) for n in size]
    out = np.empty((size_t, size_c, *shape))
    centres = np.stack(
        np.meshgrid(*(np.arange(n) * step + (step - 1) / 2 for n in shape), indexing="ij"), axis=-1
    )
    cut = np.exp(-meta.cutoff / 2)
    for t in range(size_t):
        for c in range(size_c):
            total = np.zeros(shape)
            for part in parts:
                if (part.t, part.c) != (t, c) or part.level > highest:
                    continue
                middle = np.array(part.brick_lo) + (np.array(part.brick_shape) - 1) / 2
                for record in part.records:
                    mu = middle + record["position"].astype(float)
                    w, i, j, k = record["rotation"].astype(float) / np.linalg.norm(
                        record["rotation"].astype(float)
                    )
                    turn = np.array(
                        [
                            [1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)],
                            [2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)],
                            [2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)],
                        ]
                    )
                    sigma = turn @ np.diag(record["scale"].astype(float) ** 2) @ turn.T
                    wide = sigma + (step**2 - 1) / 12 * np.eye(3)
                    weight = float(record["intensity"]) * np.sqrt(np.linalg.det(sigma) / np.linalg.det(wide))
                    d = centres - mu
                    q = np.einsum("...a,ab,...b->...", d, np.linalg.inv(wide), d)
                    total += weight * np.where(q < meta.cutoff, (np.exp(-q / 2) - cut) / (1 - cut), 0)
            base, gain = meta.images[t * size_c + c]
            out[t, c] = base + gain * total
    return out


def shown(meta: FileMeta, parts: list[Part], grid: int, within: Within | None) -> np.ndarray:
    """Section 8.4: values of a grid, of the overview where it holds that grid or a finer one."""
    if within is None or meta.overview is None or grid < meta.overview.grid:
        return evaluate(meta, parts, grid)
    values = evaluate(*within, 0)
    step = 2 ** (grid - meta.overview.grid)
    if step == 1:
        return values
    voxels = round_to(values, meta.info.dtype).astype(float)
    out = np.empty((*values.shape[:2], *(-(-n // step) for n in values.shape[2:])))
    for t, c, *at in np.ndindex(out.shape):
        out[(t, c, *at)] = voxels[(t, c, *(slice(a * step, (a + 1) * step) for a in at))].mean()
    return out


def round_to(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Section 8.3."""
    if dtype.kind == "f":
        return values.astype(dtype)
    return np.clip(np.rint(values), np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def encode(meta: FileMeta, parts: list[Part]) -> bytes:
    """The file of some parts."""
    return encode_file(meta, [codedof(meta, part) for part in parts])


def codedof(meta: FileMeta, part: Part) -> EncodedChunk:
    """A part as the writer wants it."""
    _, _, z, y, x = meta.info.shape
    lo, hi = support_box(part.records, part.brick_lo, part.brick_shape, (z, y, x), meta.cutoff)
    payload = part.payload
    if payload is None:
        payload = (planes if part.coding == codings.PLANES else raw).encode(part.records)
    where = (part.t, part.c, part.level, part.coding, part.brick_lo, part.brick_shape)
    return EncodedChunk(*where, len(part.records), lo, hi, payload)


def one(shape: Box, records: np.ndarray, **rest: Any) -> Part:
    """One chunk that holds the whole of one image."""
    return Part(0, 0, 0, (0, 0, 0), shape, records, **rest)


def valid_files() -> dict[str, tuple[FileMeta, list[Part]]]:
    """Everything that a decoder must read."""
    rng = np.random.default_rng(20240117)
    u8, u16, f32 = (np.dtype(n) for n in ("uint8", "uint16", "float32"))

    def meta(
        shape: Box, dtype: np.dtype, base: float, gain: float, cutoff: float = 12.0, **info: Any
    ) -> FileMeta:
        return FileMeta(VolumeInfo((1, 1, *shape), dtype, "ZYX", **info), cutoff, ((base, gain),))

    files: dict[str, tuple[FileMeta, list[Part]]] = {}
    shape = (5, 7, 9)
    some = random_records(rng, 6, (2, 3, 4), (0.6, 2.0))
    files["raw_uint16"] = meta(shape, u16, 100.0, 900.0), [one(shape, some)]
    files["raw_uint8_clamped"] = meta(shape, u8, 120.0, 300.0), [one(shape, some)]
    files["raw_float32"] = meta(shape, f32, -0.5, 1.25), [one(shape, some)]

    many = random_records(rng, 40, (3, 5, 5), (0.5, 1.5))
    shape = (7, 10, 11)
    files["planes_uint16"] = meta(shape, u16, 12.5, 250.0), [one(shape, many, coding=codings.PLANES)]
    files["cutoff_6_76"] = meta(shape, u16, 50.0, 400.0, cutoff=6.76), [one(shape, many[:12])]
    files["cutoff_as_float64"] = meta(shape, u16, 50.0, 400.0, cutoff=100 / 9), [one(shape, many[12:20])]

    shape = (6, 12, 16)
    bricks = [((0, 0, 0), (6, 12, 8)), ((0, 0, 8), (6, 12, 8))]
    levels = [
        Part(0, 0, level, lo, size, random_records(rng, 3 + level, (3, 6, 4), (2.0 - level, 3.0 - level)))
        for level in (0, 1)
        for lo, size in bricks
    ]
    levels[1].coding = codings.PLANES
    levels.append(Part(0, 0, 4, (2, 3, 5), (2, 4, 4), random_records(rng, 2, (1, 2, 2), (0.3, 0.6))))
    files["chunks_and_levels"] = meta(shape, u16, 80.0, 600.0), levels
    for name, said in (("", (1, 0)), ("_of_31_grids", (4, 3, 0, *[2] * 28))):
        files[f"grid_levels{name}"] = replace(meta(shape, u16, 80.0, 600.0), grid_levels=said), levels

    column = (2, 2, 200)
    row = [
        Part(0, 0, 0, (0, 0, x), (2, 2, 4), random_records(rng, 1, (1, 1, 2), (0.5, 0.8)))
        for x in range(0, 200, 4)
    ]
    files["index_compressed"] = meta(column, u8, 10.0, 100.0), row

    full = VolumeInfo(
        (2, 3, 4, 5, 6), u16, "TCZYX", (0.5, 0.1625, 0.1625), "µm",
        (ChannelInfo("DAPI", 0x0000FF), ChannelInfo("Größe β 微管", None), ChannelInfo(None, 0xFF00FF)),
        "Größe 微管.ome.tif",
    )  # fmt: skip
    pairs = tuple((10.0 * k, 500.0 + k) for k in range(6))
    about: dict[str, Any] = {"software": "make_vectors", "settings": "--ratio 200 β"}
    about["quality"] = {"psnr": 41.25, "ssim": 0.9375, "bias": -0.125, "my own score": float("inf")}
    about["noise"] = tuple(
        NoiseModel(100.25 + k, 2.0 + k / 4, k / 8, (k / 100, -0.5, 0.67)) for k in range(6)
    )
    parts = [
        Part(t, c, 0, (0, 0, 0), (4, 5, 6), random_records(rng, 1 + t + c, (2, 2, 3), (0.6, 1.6)))
        for t, c in ((0, 0), (0, 2), (1, 1), (1, 2))
    ]
    files["tczyx_unicode"] = FileMeta(full, 12.0, pairs, **about), parts
    times = VolumeInfo((3, 1, 3, 4, 5), u8, "TZYX", (None, 0.25, 0.5), "furlong")
    moving = [Part(t, 0, 0, (0, 0, 0), (3, 4, 5), some[t : t + 1]) for t in (0, 2)]
    files["tzyx_partly_known_size"] = FileMeta(times, 9.0, ((1, 90), (2, 90), (3, 90))), moving

    noisy = (NoiseModel(-0.25, 0.0123, 0.045, (0.31, 0.5, 0.6)),)
    files["noise_float32"] = replace(meta((4, 5, 11), f32, -0.5, 1.25), noise=noisy), [one((4, 5, 11), some)]

    shape = (3, 4, 5)
    files["empty"] = meta(shape, u16, 107.5, 1.0, voxel_size=(1.0, 0.1, 0.1), unit="mm"), []
    files["voxel_size_unknown"] = meta(shape, u16, 108.5, 0.0, source_name="a.tif"), [one(shape, some[:1])]
    files["negative_gain"] = meta(shape, f32, 1.0, -2.0), [one(shape, some[:3])]

    shape = (8, 12, 16)
    halves = [((0, 0, 0), (8, 12, 8)), ((0, 0, 8), (8, 12, 8))]
    shared, coded = lattice_parts(rng, halves, 24)
    plain = meta(shape, u16, 60.0, 700.0)
    files["lattice_two_bricks"] = replace(plain, shared={2: shared}), coded
    shared, coded = lattice_parts(rng, [((0, 0, 0), shape)], 1)
    files["lattice_one_primitive"] = replace(plain, shared={2: shared}), coded
    same = [replace(part, coding=codings.PLANES, payload=None) for part in coded]
    files["lattice_recoded_as_planes"] = plain, same

    # Their own random numbers: the vectors above and below stay what they were.
    files |= points_files(np.random.default_rng(20260317), meta)
    files |= chosen_files(np.random.default_rng(20261126), meta)
    files |= signed_and_timed_files(np.random.default_rng(20261127))

    edge = np.zeros(4, RECORD_DTYPE)
    edge["position"] = [(-6, 0, 0), (0, 9, 0), (0, 0, 0), (0.5, 0.25, 40)]  # the last reaches no voxel
    edge["scale"] = [(2, 1, 1), (1, 3, 1), (6e-8, 6e-8, 6e-8), (1, 1, 1)]  # the third is subnormal
    edge["rotation"] = [(1, 0, 0, 0), (0.5, 0.5, -0.5, 0.5), (0, 0, 0, -3), (60000, 60000, 0, 1)]
    edge["intensity"] = [1, -0.75, 0.5, 100]
    shape = (5, 5, 5)
    files["edge_of_the_numbers"] = meta(shape, f32, 0.0, 1.0), [one(shape, edge)]
    return files


def signed_and_timed_files(rng: np.random.Generator) -> dict[str, tuple[FileMeta, list[Part]]]:
    """Files of int16, and with a time interval."""
    i16, u8 = np.dtype("int16"), np.dtype("uint8")
    files: dict[str, tuple[FileMeta, list[Part]]] = {}
    shape = (5, 7, 9)
    some = random_records(rng, 8, (2, 3, 4), (0.6, 2.0))
    some["intensity"][::2] *= -1
    low = VolumeInfo((1, 1, *shape), i16, "ZYX")
    noisy = (NoiseModel(-150.0, 20.0, 0.25, (0.1, -0.2, 0.3)),)
    files["noise_int16"] = FileMeta(low, 12.0, ((-120.5, 900.0),), noise=noisy), [one(shape, some)]
    files["raw_int16_clamped"] = FileMeta(low, 12.0, ((-2000.0, 60000.0),)), [one(shape, some)]
    for name, interval, unit in (
        ("time_interval_ms", 250.0, "ms"),
        ("time_interval_custom_unit", 1.5, "fortnight"),
        ("time_interval_unit_unknown", 0.125, None),
    ):
        info = VolumeInfo((3, 1, 3, 4, 5), u8, "TZYX", time_interval=interval, time_unit=unit)
        moving = [Part(t, 0, 0, (0, 0, 0), (3, 4, 5), some[t : t + 1]) for t in (0, 2)]
        files[name] = FileMeta(info, 9.0, ((100, 90), (110, 90), (120, 90))), moving
    return files


def overview_files(rng: np.random.Generator) -> dict[str, tuple[FileMeta, list[Part], Within]]:
    """Files with an overview, and that."""
    u8, u16, f32 = (np.dtype(n) for n in ("uint8", "uint16", "float32"))

    def meta(shape: tuple[int, ...], dtype: np.dtype, axes: str, *pair: float, cutoff: float) -> FileMeta:
        return FileMeta(VolumeInfo(shape, dtype, axes), cutoff, (pair,) * (shape[0] * shape[1]))

    files: dict[str, tuple[FileMeta, list[Part], Within]] = {}

    def file(name: str, outer: FileMeta, parts: list[Part], grid: int, within: Within, **more: Any) -> None:
        files[name] = replace(outer, overview=Overview(grid, encode(*within)), **more), parts, within

    some = random_records(rng, 6, (1, 2, 3), (0.6, 2.0))
    outer = meta((1, 1, 3, 9, 12), u16, "ZYX", 100.0, 900.0, cutoff=12.0)
    shared, coded = lattice_parts(rng, [((0, 0, 0), (2, 5, 6))], 8)
    lattice = replace(meta((1, 1, 2, 5, 6), u16, "ZYX", 130.0, 650.0, cutoff=9.0), shared={2: shared})
    file("overview_of_grid_1", outer, [one((3, 9, 12), some)], 1, (lattice, coded))
    channels = meta((1, 2, 4, 5, 10), f32, "CZYX", -0.5, 1.25, cutoff=12.0)
    both = [Part(0, c, c, (0, 0, 0), (4, 5, 10), some[3 * c : 3 * c + 3]) for c in (0, 1)]
    coarse = meta((1, 2, 1, 2, 3), f32, "CZYX", -0.25, 1.5, cutoff=12.0)
    small = [Part(0, c, 0, (0, 0, 0), (1, 2, 3), some[2 * c + 1 : 2 * c + 3]) for c in (0, 1)]
    file("overview_of_grid_2", channels, both, 2, (coarse, small), grid_levels=(0,))
    flat = meta((1, 1, 1, 1, 1), u8, "ZYX", 77.0, 1.0, cutoff=12.0)
    large = meta((1, 1, 3, 3, 3), u8, "ZYX", 60.0, 90.0, cutoff=12.0)
    file("overview_of_grid_31", large, [one((3, 3, 3), some[:2])], 31, (flat, []))
    return files


def points_files(
    rng: np.random.Generator, meta: Callable[..., FileMeta]
) -> dict[str, tuple[FileMeta, list[Part]]]:
    """Files with chunks of points."""
    u16, f32 = np.dtype("uint16"), np.dtype("float32")
    files: dict[str, tuple[FileMeta, list[Part]]] = {}
    shape = (9, 10, 18)
    shared, coded = lattice_parts(rng, [((0, 0, 0), shape)], 14)
    clustered = sparse_integers(rng, (9, 9, 17), 0.25, 3.0)
    clustered[:, :, 8:] = 0  # the blocks at the end of x hold no points
    clustered[1:4, 1:4, 1:4] = rng.integers(40, 300, (3, 3, 3))
    beside = points_part(clustered, (0, 1, 0), (9, 9, 17), 1, 0.4, 0.015, level=1)
    plain = meta(shape, u16, 60.0, 700.0)
    files["points_beside_lattice"] = replace(plain, shared={2: shared}), [*coded, beside]

    shape = (11, 14, 15)  # one voxel of z and of x is left over
    wide = points_part(sparse_integers(rng, (5, 7, 7), 0.5, 2.0), (0, 0, 0), shape, 2, 1.25, 0.03)
    files["points_spacing_2"] = meta(shape, u16, 200.0, 900.0), [wide]

    shape = (3, 17, 10)
    odd = [
        points_part(sparse_integers(rng, (3, 17, 1), 0.9, 1.2), (0, 0, 9), (3, 17, 1), 1, 0.4, 0.05),
        points_part(sparse_integers(rng, (1, 5, 3), 1.0, 9.0), (0, 1, 1), (3, 15, 9), 3, 2.0, 0.02),
        points_part(np.full((1, 1, 1), -77, np.int32), (2, 16, 0), (1, 1, 1), 1, 0.5, 2.0**-10),
    ]
    files["points_odd_sizes"] = meta(shape, f32, 0.25, 1.5, cutoff=9.0), odd

    # Neighbours that are large: low bits are plain, and the sum of neighbours reaches its cap.
    large = rng.integers(1, 1 << 14, (4, 5, 6)).astype(np.int32) * rng.choice([-1, 1], (4, 5, 6))
    large[2, 2:4, 1:4] = [[(1 << 20), -(1 << 20), 1 << 19], [65536, -65535, 1]]
    shape = (4, 5, 6)
    files["points_large_integers"] = (
        meta(shape, f32, 0.0, 1.0), [points_part(large.astype(np.int32), (0, 0, 0), shape, 1, 0.4, 2.0**-18)]
    )  # fmt: skip
    same = [replace(part, coding=codings.PLANES, payload=None) for part in [wide]]
    files["points_recoded_as_planes"] = files["points_spacing_2"][0], same
    return files


def chosen_files(
    rng: np.random.Generator, meta: Callable[..., FileMeta]
) -> dict[str, tuple[FileMeta, list[Part]]]:
    """Files of symbols that a fit would hardly make, which reach what is seldom reached."""
    u8, u16, f32 = (np.dtype(n) for n in ("uint8", "uint16", "float32"))
    files: dict[str, tuple[FileMeta, list[Part]]] = {}

    def file(shape: Box, dtype: np.dtype, gain: float, parameters: Parameters, parts: list[Part]) -> Any:
        return replace(meta(shape, dtype, 20.0, gain), shared={2: parameters.to_bytes()}), parts

    shape = (6, 8, 10)
    fine = Parameters(-12 * 256, 156, 160, 130)
    odd = odd_primitives(rng, 600, shape, fine)
    files["lattice_six_hundred"] = file(shape, u16, 1500.0, fine, [chosen_part(odd, fine, (0, 0, 0), shape)])

    shape = (3, 4, 5)
    coarse = Parameters(-22 * 256, 140, 130, 255)
    parts = [chosen_part(alike(rng, 600, shape, coarse, s), coarse, (0, 0, 0), shape) for s in (1, -1)]
    parts.append(chosen_part(tilted(rng, 150, shape, coarse), coarse, (0, 0, 0), shape))
    files["lattice_extremes"] = file(shape, f32, 3.0, coarse, parts)

    tiny = chosen_part(odd_primitives(rng, 60, (1, 2, 1), fine), fine, (2, 1, 3), (1, 2, 1))
    files["lattice_tiny_brick"] = file((5, 4, 6), u8, 90.0, fine, [tiny])

    # 3 x 3 x 2 blocks, most of them thin: one has points in all its neighbours, some have none around.
    q = np.zeros((17, 17, 9), np.int32)
    q[rng.integers(0, 17, 90), rng.integers(0, 17, 90), rng.integers(0, 9, 90)] = 1
    q[8:12, 8:12, 3:6] = rng.integers(-30, 30, (4, 4, 3))
    for z, y, x in ((3, 10, 3), (16, 10, 3), (10, 3, 3), (10, 16, 3), (10, 10, 8), (3, 10, 8), (10, 3, 8)):
        q[z, y, x] = -1
    q[16, 16], q[:8, :8] = 0, 0
    files["points_blocks"] = (
        meta((17, 17, 9), u8, 20.0, 60.0), [points_part(q, (0, 0, 0), (17, 17, 9), 1, 0.4, 0.125)]
    )  # fmt: skip
    return files


def grained(meta: FileMeta, voxels: np.ndarray) -> np.ndarray:
    """Section 8.6, by the package: the tests hold it against a twin that was written from the text."""
    out = voxels.copy()
    ranges = [AxisRange(0, 1, n) for n in out.shape[2:]]
    for t, c in np.ndindex(out.shape[:2]):
        noise = meta.noise_of(t, c)
        assert noise is not None
        add_grain(out[t, c], noise, ranges, t, c, SEED)
    return out


def described(meta: FileMeta, chunks: list[EncodedChunk]) -> dict[str, Any]:
    """What the JSON beside a valid file says."""
    info = meta.info
    names = [(c.name, c.color) for c in info.channels]
    return {
        "shape": info.shape,
        "dtype": info.dtype.name,
        "axes": info.axes,
        "voxel_size": info.voxel_size,
        "unit": info.unit,
        "channels": names,
        "source_name": info.source_name,
        **({} if info.time_interval is None else {"time": [info.time_interval, info.time_unit]}),
        **({"grid_levels": meta.grid_levels} if meta.grid_levels else {}),
        **({"overview": [meta.overview.grid, len(meta.overview.file)]} if meta.overview else {}),
        "cutoff": meta.cutoff,
        "images": meta.images,
        "shared": {str(k): v.hex() for k, v in meta.shared.items()},
        "software": meta.software,
        "settings": meta.settings,
        "quality": {k: str(v) if np.isinf(v) else v for k, v in meta.quality.items()},
        "noise": [
            {
                "background": n.background,
                "sigma": n.sigma,
                "gain": n.gain or 0,
                "correlation": [round(100 * v) for v in n.correlation],
            }
            for n in meta.noise
        ],
        "chunks": [
            {k: v for k, v in vars(chunk).items() if k != "payload"}
            | {"length": len(chunk.payload), "crc32": zlib.crc32(chunk.payload)}
            for chunk in chunks
        ],
    }


def main(folder: Path) -> None:
    """Write everything into ``folder``."""
    for name in ("valid", "invalid"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / name).iterdir():
            old.unlink()
    every: dict[str, tuple[FileMeta, list[Part], Within | None]]
    every = {name: (*file, None) for name, file in valid_files().items()}
    every |= overview_files(np.random.default_rng(20261128))
    for name, (meta, parts, within) in every.items():
        chunks = [codedof(meta, part) for part in parts]
        beside = folder / "valid" / name
        values = evaluate(meta, parts, 0)
        records = np.concatenate([p.records for p in parts]) if parts else np.zeros(0, RECORD_DTYPE)
        beside.with_suffix(".vgm").write_bytes(encode(meta, parts))
        text = json.dumps(described(meta, chunks), indent=1, ensure_ascii=False)
        beside.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        np.save(f"{beside}.records.npy", np.frombuffer(records.tobytes(), "<u2").reshape(-1, 11))
        np.save(f"{beside}.values.npy", values)
        voxels = round_to(values, meta.info.dtype)
        np.save(f"{beside}.voxels.npy", voxels)
        if meta.noise:
            np.save(f"{beside}.grain.npy", grained(meta, voxels))
        for grid in (1, 3):
            np.save(f"{beside}.grid{grid}.npy", shown(meta, parts, grid, within))
    faults = {}
    for name, (data, when, why) in (invalid_files() | lattice_files()).items():
        (folder / "invalid" / f"{name}.vgm").write_bytes(data)
        faults[name] = {"shows": when, "fault": why}
    (folder / "invalid.json").write_text(json.dumps(faults, indent=1) + "\n", encoding="utf-8")
    packed_vectors.main(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "vectors")
