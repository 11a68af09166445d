"""Exports hold the Gaussians of the file, as independent readers read them."""

from __future__ import annotations

import csv
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from volmicro_codec.cli.app import run
from volmicro_codec.convert.tables import read_table
from volmicro_codec.format import VgmReader
from volmicro_codec.volume import ChannelInfo

MakeFile = Callable[..., Path]
TWO_CHANNELS = (ChannelInfo("nuclei", 0x0000FF), ChannelInfo("actin", 0xFF8000))
Array = npt.NDArray[Any]


def matrices(q: Array) -> Array:
    """Rotation matrices of quaternions (w, x, y, z), one by one, from their action on the axes."""
    out = np.empty((len(q), 3, 3))
    for n, (w, *v) in enumerate(q / np.linalg.norm(q, axis=1, keepdims=True)):
        for k, e in enumerate(np.eye(3)):
            cross = np.cross(v, e)
            out[n, :, k] = e + 2 * w * cross + 2 * np.cross(v, cross)
    return out


def covariances(scales: Array, q: Array) -> Array:
    roots = matrices(np.asarray(q, np.float64)) * np.asarray(scales, np.float64)[:, None, :]
    return roots @ roots.transpose(0, 2, 1)


def expected(path: Path, steps: tuple[float, float, float]) -> tuple[Array, Array, Array, Array]:
    """Positions and covariances x, y, z of the positive Gaussians, their amplitudes and channels."""
    with VgmReader.open(path) as reader:
        table = read_table(reader)
    p, shown = table.primitives, table.primitives.intensities > 0
    steps_xyz = np.array(steps[::-1])
    cov = covariances(p.scales[shown], p.rotations[shown])[:, ::-1, ::-1]
    return (
        p.means[shown][:, ::-1] * steps_xyz,
        cov * steps_xyz[:, None] * steps_xyz,
        table.amplitudes[shown],
        table.channels[shown],
    )


def test_ply_has_the_columns_of_3dgs_and_the_gaussians_in_them(make_file: MakeFile, tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile")
    path = make_file(
        axes="CZYX", voxel_size=(2.0, 0.5, 0.25), unit="µm", channels=TWO_CHANNELS, dtype="uint8"
    )
    out = tmp_path / "v.ply"
    assert run(["export", str(path), "-o", str(out), "--coordinates", "physical"]) == 0
    ply = plyfile.PlyData.read(out)
    vertex = ply["vertex"]
    names = [p.name for p in vertex.properties]
    assert names == [
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
        *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    ]
    assert all(p.val_dtype == "f4" for p in vertex.properties)

    def columns(*wanted: str) -> Array:
        return np.stack([np.asarray(vertex[n], np.float64) for n in wanted], axis=1)

    means, cov, amplitudes, channels = expected(path, (2.0, 0.5, 0.25))
    np.testing.assert_allclose(columns("x", "y", "z"), means, rtol=1e-6, atol=1e-6)
    got = covariances(
        np.exp(columns("scale_0", "scale_1", "scale_2")), columns("rot_0", "rot_1", "rot_2", "rot_3")
    )
    np.testing.assert_allclose(got, cov, rtol=1e-4, atol=1e-4 * np.abs(cov).max())
    rgb = 0.5 + 0.28209479177387814 * columns("f_dc_0", "f_dc_1", "f_dc_2")
    np.testing.assert_allclose(rgb, np.array([[0, 0, 1], [1, 128 / 255, 0]])[channels], atol=1e-6)
    opacity = 1 / (1 + np.exp(-columns("opacity")[:, 0]))
    for c in (0, 1):
        share = amplitudes[channels == c] / np.percentile(amplitudes[channels == c], 99)
        np.testing.assert_allclose(opacity[channels == c], np.clip(share, 1e-3, 0.99), rtol=1e-4)
    assert any("viewers blend opacity" in c for c in ply.comments)


def test_splat_has_32_bytes_each_most_visible_first(make_file: MakeFile, tmp_path: Path) -> None:
    path = make_file(n=40)
    out = tmp_path / "v.splat"
    assert run(["export", str(path), "-o", str(out), "--coordinates", "voxels"]) == 0
    data = out.read_bytes()
    rows = [struct.unpack_from("<6f8B", data, k) for k in range(0, len(data), 32)]
    means, cov, amplitudes, _ = expected(path, (1.0, 1.0, 1.0))
    assert len(rows) == len(means)
    assert len(data) == 32 * len(rows)
    got = np.array(rows)
    seen = [got[k, 9] * got[k, 3:6].prod() for k in range(len(got))]
    assert all(a >= b - 0.02 * abs(a) - 2 for a, b in pairwise(seen))
    order = [int(np.abs(means - row[:3]).sum(axis=1).argmin()) for row in got]
    assert sorted(order) == list(range(len(means)))
    np.testing.assert_allclose(got[:, :3], means[order], atol=1e-5)
    np.testing.assert_allclose(
        covariances(got[:, 3:6], (got[:, 10:] - 128) / 128), cov[order], atol=0.03 * np.abs(cov).max()
    )
    np.testing.assert_array_equal(got[:, 6:9], 255)
    share = np.clip(amplitudes / np.percentile(amplitudes, 99), 1e-3, 0.99)
    np.testing.assert_allclose(got[:, 9], np.rint(share[order] * 255), atol=1)


def test_unit_coordinates_are_centred_with_the_longest_side_from_minus_one_to_one(
    make_file: MakeFile, tmp_path: Path
) -> None:
    plyfile = pytest.importorskip("plyfile")
    path = make_file(voxel_size=(2.0, 0.5, 0.5), unit="µm")  # 40 x 15 x 20 µm
    assert run(["export", str(path), "-o", str(tmp_path / "v.ply")]) == 0
    vertex = plyfile.PlyData.read(tmp_path / "v.ply")["vertex"]
    means, *_ = expected(path, (1.0, 1.0, 1.0))
    size = np.array([0.5, 0.5, 2.0])
    centre = (np.array([40, 30, 20]) - 1) / 2
    got = np.stack([vertex[a] for a in "xyz"], axis=1)
    np.testing.assert_allclose(got, (means - centre) * size * 2 / 40, atol=1e-6)
    assert np.abs(got).max() <= 1


def test_csv_and_npz_hold_the_exact_numbers(make_file: MakeFile, tmp_path: Path) -> None:
    path = make_file(axes="TCZYX")
    for kind in ("csv", "npz"):
        assert run(["export", str(path), "--format", kind, "-o", str(tmp_path / f"v.{kind}")]) == 0
    with VgmReader.open(path) as reader:
        table = read_table(reader)
    p = table.primitives
    with open(tmp_path / "v.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    columns = {name: np.array([float(r[name]) for r in rows]) for name in rows[0]}
    np.testing.assert_array_equal(np.stack([columns[a] for a in "zyx"], axis=1), p.means)
    np.testing.assert_array_equal(columns["intensity"].astype(np.float32), p.intensities)
    np.testing.assert_array_equal(columns["scale_2"].astype(np.float32), p.scales[:, 1])
    np.testing.assert_array_equal(columns["rotation_k"].astype(np.float32), p.rotations[:, 3])
    np.testing.assert_array_equal(columns["time_point"], table.time_points)
    np.testing.assert_array_equal(columns["channel"], table.channels)
    with np.load(tmp_path / "v.npz") as archive:
        np.testing.assert_array_equal(archive["positions"], p.means)
        np.testing.assert_array_equal(archive["scales"], p.scales)
        np.testing.assert_array_equal(archive["rotations"], p.rotations)
        np.testing.assert_array_equal(archive["intensities"], p.intensities)
        np.testing.assert_array_equal(archive["channels"], table.channels)
        np.testing.assert_array_equal(archive["gain"], [[1000, 1001], [1002, 1003]])
        np.testing.assert_array_equal(archive["base"], [[100, 101], [102, 103]])


def test_one_channel_and_time_point_can_be_chosen(
    make_file: MakeFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(make_file(axes="TCZYX", channels=TWO_CHANNELS))
    out = str(tmp_path / "v.npz")
    assert run(["export", path, "-o", out, "--channel", "actin", "--time", "1"]) == 0
    with np.load(out) as archive:
        assert set(archive["channels"]) == {1}
        assert set(archive["time_points"]) == {1}
    assert run(["export", path, "-o", str(tmp_path / "v.splat")]) == 2
    assert f"{path}: 2 time points, expected one to be chosen" in capsys.readouterr().err
    assert not (tmp_path / "v.splat").exists()
    assert run(["export", path, "-o", str(tmp_path / "v.obj")]) == 2
    assert run(["export", path, "-o", out]) == 5  # is there


def test_what_is_left_out_is_said(
    make_file: MakeFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_file()
    with VgmReader.open(path) as reader:
        negative = int((read_table(reader).primitives.intensities < 0).sum())
    assert negative
    assert run(["export", str(path), "-o", str(tmp_path / "v.ply")]) == 0
    assert f"left out {negative} of negative weight" in capsys.readouterr().err
