"""Imported Gaussians are the field that their tool meant, whatever its conventions; no code is run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import volmicro_codec
from volmicro_codec.cli import import_
from volmicro_codec.cli.app import run
from volmicro_codec.convert.conventions import CHOICES, Convention, to_primitives
from volmicro_codec.convert.imports import write_primitives
from volmicro_codec.convert.parameters import read_parameters
from volmicro_codec.errors import InputError, UsageError
from volmicro_codec.format import VgmReader
from volmicro_codec.io import write_volume
from volmicro_codec.primitives import Primitives
from volmicro_codec.volume import ChannelInfo, VolumeInfo

MakeFile = Callable[..., Path]
Array = npt.NDArray[Any]
SHAPE = (12, 20, 30)


def rotate(q: Array, v: Array) -> Array:
    """Vectors [N, 3] turned by quaternions (w, ...) [N, 4]."""
    q = q / np.linalg.norm(q, axis=1, keepdims=True)
    cross = np.cross(q[:, 1:], v)
    out: Array = v + 2 * q[:, :1] * cross + 2 * np.cross(q[:, 1:], cross)
    return out


def field(means: Array, scales: Array, q: Array, weights: Array, points: Array) -> Array:
    """The sum of Gaussians at points [M, 3] of any frame, each point turned into a Gaussian's own axes."""
    total = np.zeros(len(points))
    for m, s, r, w in zip(means, scales, q, weights, strict=True):
        inverse = np.tile(r * [1, -1, -1, -1], (len(points), 1))
        total += w * np.exp(-0.5 * ((rotate(inverse, points - m) / s) ** 2).sum(axis=1))
    return total


def grid(shape: tuple[int, int, int], order: str, coordinates: str, where: str) -> Array:
    """Voxel centres [Z * Y * X, 3] as a tool with these conventions sees them."""
    axes = []
    for n in shape:
        i = np.arange(n)
        unit = (i + 0.5) / n if where == "centres" else i / (n - 1)
        axes.append({"voxels": i, "unit": unit, "symmetric": 2 * unit - 1}[coordinates])
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return points if order == "zyx" else points[:, ::-1]


@given(
    order=st.sampled_from(CHOICES["order"]),
    coordinates=st.sampled_from(CHOICES["coordinates"]),
    where=st.sampled_from(CHOICES["grid"]),
    activations=st.tuples(*(st.sampled_from(CHOICES[k]) for k in ("positions", "scales", "intensities"))),
    quaternion=st.sampled_from(CHOICES["quaternion"]),
    seed=st.integers(0, 1000),
)
def test_the_field_is_the_same_at_every_voxel_whatever_the_convention(
    order: str, coordinates: str, where: str, activations: tuple[str, str, str], quaternion: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n = 3
    centres = grid(SHAPE, order, coordinates, where)
    lo, hi = centres.min(axis=0), centres.max(axis=0)
    kinds = dict(zip(("positions", "scales", "intensities"), activations, strict=True))
    if kinds["positions"] == "sigmoid":
        lo, hi = np.clip(lo, 0.01, 0.99), np.clip(hi, 0.01, 0.99)
    means = rng.uniform(lo, np.maximum(hi, lo + 1e-3), (n, 3))
    scales = rng.uniform(0.05, 0.3, (n, 3)) * (centres.max() - centres.min())
    q = rng.normal(size=(n, 4))
    weights = rng.uniform(0.1, 0.9, n)
    stored: dict[str, Array] = {"positions": means, "scales": scales, "intensities": weights}
    inverses: dict[str, Callable[[Array], Array]] = {
        "linear": lambda v: v,
        "log": np.log,
        "sigmoid": lambda v: np.log(v / (1 - v)),
        "softplus": lambda v: np.log(np.expm1(v - 1e-6)),
    }
    for name, kind in kinds.items():
        stored[name] = inverses[kind](stored[name])
    got = to_primitives(
        stored["positions"],
        stored["scales"],
        q if quaternion == "wxyz" else q[:, [1, 2, 3, 0]],
        stored["intensities"],
        SHAPE,
        Convention(order, coordinates, where, quaternion=quaternion, **kinds),
    )
    expected = field(means, scales, q, weights, centres)
    voxels = grid(SHAPE, "zyx", "voxels", "centres")
    np.testing.assert_allclose(
        field(got.means, got.scales, got.rotations, got.intensities, voxels), expected, atol=1e-5
    )


def volmicro_state(n: int, seed: int = 0) -> dict[str, Array]:
    """Raw parameters as VolMicro stores them."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.03, 0.15, (n, 3))
    return {
        "positions_raw": rng.normal(size=(n, 3)).astype(np.float32),
        "scales_raw": np.log(np.expm1(scales)).astype(np.float32),
        "rotations": rng.normal(size=(n, 4)).astype(np.float32),
        "intensities_raw": rng.normal(size=n).astype(np.float32),
    }


def volmicro_field(state: dict[str, Array], shape: tuple[int, int, int]) -> Array:
    """What VolMicro reconstructs of raw parameters, in [0, 1] coordinates."""
    sigmoid = lambda v: 1 / (1 + np.exp(-v.astype(np.float64)))  # noqa: E731
    return field(
        sigmoid(state["positions_raw"]),
        np.log1p(np.exp(state["scales_raw"].astype(np.float64))) + 1e-6,
        state["rotations"].astype(np.float64),
        sigmoid(state["intensities_raw"]),
        grid(shape, "zyx", "unit", "centres"),
    ).reshape(shape)


def decoded(path: Path) -> Array:
    with volmicro_codec.open(path) as array:
        return np.asarray(array)


def test_a_volmicro_npz_needs_no_options_but_its_range(tmp_path: Path) -> None:
    state = volmicro_state(20)
    np.savez(
        tmp_path / "gaussian_parameters.npz",
        num_gaussians=20,
        volume_shape=np.array(SHAPE),
        intensity_activation="sigmoid",
        **state,
    )
    out = tmp_path / "v.vgm"
    arguments = ["import", str(tmp_path / "gaussian_parameters.npz"), "-o", str(out)]
    assert run([*arguments, "--base", "10", "--gain", "200", "--cutoff", "5"]) == 0
    expected = 10 + 200 * volmicro_field(state, SHAPE)
    np.testing.assert_allclose(decoded(out), expected, atol=0.005 * np.ptp(expected))


@pytest.mark.parametrize("nested", [None, "model_state_dict"])
def test_a_checkpoint_is_read_from_its_state_dict(tmp_path: Path, nested: str | None) -> None:
    torch = pytest.importorskip("torch")
    state = volmicro_state(10)
    tensors = {f"module.{k}": torch.tensor(v) for k, v in state.items()}
    saved = tensors if nested is None else {nested: tensors, "epoch": 3, "positions": torch.zeros(2)}
    torch.save(saved, tmp_path / "model.pt")
    out = tmp_path / "v.vgm"
    assert run(["import", str(tmp_path / "model.pt"), "-o", str(out), "--shape", "12,20,30"]) == 0
    expected = volmicro_field(state, SHAPE)
    np.testing.assert_allclose(decoded(out), expected, atol=0.005 * np.ptp(expected))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (mark,)

    torch.save({"positions": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "plain.pt"):
        assert run(["import", str(tmp_path / name), "-o", str(tmp_path / "v.vgm"), "--shape", "4,4,4"]) == 3
        said = capsys.readouterr().err
        assert "code in a checkpoint is not run" in said
        assert said.count("\n") == 1
    assert not mark.exists()
    assert not (tmp_path / "v.vgm").exists()


def test_an_export_comes_back_without_options(make_file: MakeFile, tmp_path: Path) -> None:
    path = make_file(
        axes="TCZYX",
        shape=(20, 30, 300),
        n=300,
        voxel_size=(2.0, 0.5, 0.25),
        unit="nm",
        channels=(ChannelInfo("a", 0xFF), ChannelInfo(None, None)),
    )
    assert run(["export", str(path), "-o", str(tmp_path / "v.npz")]) == 0
    assert run(["import", str(tmp_path / "v.npz"), "-o", str(tmp_path / "w.vgm")]) == 0
    with VgmReader.open(path) as a, VgmReader.open(tmp_path / "w.vgm") as b:
        assert a.meta.info == b.meta.info
        assert a.meta.images == b.meta.images
        assert a.meta.cutoff == b.meta.cutoff
    # Quaternions are made of norm 1 and rounded once more, which moves a value next to a half.
    before, after = decoded(path).astype(int), decoded(tmp_path / "w.vgm").astype(int)
    assert np.abs(before - after).max() <= 1
    assert (before != after).mean() < 1e-4


def test_shape_type_voxel_size_and_range_are_those_of_a_volume_it_is_like(tmp_path: Path) -> None:
    state = volmicro_state(10)
    voxels = np.random.default_rng(0).integers(50, 900, SHAPE, dtype=np.uint16)
    info = VolumeInfo((1, 1, *SHAPE), voxels.dtype, "ZYX", (2.0, 0.5, 0.5), "µm")
    write_volume(tmp_path / "v.tif", voxels, info)
    np.savez(tmp_path / "p.npz", **state)
    out = tmp_path / "v.vgm"
    arguments = ["import", str(tmp_path / "p.npz"), "-o", str(out), "--like", str(tmp_path / "v.tif")]
    assert run(arguments) == 0
    with VgmReader.open(out) as reader:
        meta = reader.meta
    assert (meta.info.shape, meta.info.dtype) == (info.shape, info.dtype)
    assert (meta.info.voxel_size, meta.info.unit) == (info.voxel_size, "µm")
    base, gain = meta.images[0]
    assert (base, base + gain) == (voxels.min(), voxels.max())


def test_large_volumes_are_cut_into_bricks_in_which_float16_positions_are_fine(tmp_path: Path) -> None:
    shape = (20, 300, 1000)
    rng = np.random.default_rng(0)
    n = 400
    p = Primitives(
        rng.uniform(-2, 1, (n, 3)) + rng.uniform(0, 1, (n, 3)) * shape,
        rng.uniform(0.8, 3, (n, 3)).astype(np.float32),
        rng.normal(size=(n, 4)).astype(np.float32),
        rng.uniform(0.1, 1, n).astype(np.float32),
    )
    info = VolumeInfo((1, 1, *shape), np.dtype("float32"))
    result = write_primitives(tmp_path / "v.vgm", p, info, ((0.0, 1.0),))
    with VgmReader.open(tmp_path / "v.vgm") as reader:
        entries = reader.entries
        assert max(max(e.brick_shape) for e in entries) <= 128
        assert sum(e.count for e in entries) == result.primitives == n - result.outside
        boxes = [(e.brick_lo, e.brick_shape) for e in entries]
        assert len(boxes) == len(set(boxes)) == 24
        assert sum(np.prod(size) for _, size in boxes) == np.prod(shape)
        from volmicro_codec.convert.tables import read_table

        means = read_table(reader).primitives.means
    near = np.abs(means[:, None] - p.means).max(axis=2).min(axis=1)
    assert near.max() <= 1 / 64


def test_the_first_bytes_are_a_preview_of_the_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, shape = 3000, (16, 64, 200)
    p = Primitives(
        rng.uniform(0, 1, (n, 3)) * shape,
        rng.uniform(0.8, 2, (n, 3)).astype(np.float32),
        rng.normal(size=(n, 4)).astype(np.float32),
        (rng.uniform(0.01, 1, n) ** 4).astype(np.float32),
    )
    info = VolumeInfo((1, 1, *shape), np.dtype("float32"))
    size = write_primitives(tmp_path / "v.vgm", p, info, ((0.0, 1.0),)).bytes
    with VgmReader.open(tmp_path / "v.vgm") as reader:
        assert [e.level for e in reader.entries] == [0, 0, 1, 1, 2, 2]
        assert size - reader.header.payload_length <= 0.02 * size + 200
    full = decoded(tmp_path / "v.vgm")
    left = []
    for part in (0.15, 0.45, 1.0):
        with volmicro_codec.open(tmp_path / "v.vgm", budget=int(part * size) + 1) as preview:
            left.append(float(((full - np.asarray(preview)) ** 2).sum() / (full**2).sum()))
    assert left[0] < 0.5  # a tenth of the Gaussians, and most of the energy
    assert left[1] < 0.02
    assert left[2] == 0


def test_what_reaches_no_voxel_or_is_too_small_is_counted_not_hidden(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(
        tmp_path / "p.npz",
        positions=np.array([[5.0, 5, 5], [500, 5, 5], [5, 5, 6]]),
        scales=np.array([[1.0, 1, 1], [1, 1, 1], [1, 1, 1e-7]]),
        intensities=np.ones((3, 1)),
    )
    arguments = ["import", str(tmp_path / "p.npz"), "-o", str(tmp_path / "v.vgm"), "--shape", "10,10,10"]
    assert run(arguments) == 0
    said = capsys.readouterr().err
    assert "2 Gaussians, ZYX 10 x 10 x 10 float32" in said
    assert "left out 1 Gaussians that reach no voxel" in said
    assert "1 Gaussians had a scale below 6e-5 voxels" in said


@pytest.mark.parametrize("largest", [1e-9, 1e-3, 1.0, 65000.0, 1e9])
def test_intensities_of_any_size_keep_eleven_bits(tmp_path: Path, largest: float) -> None:
    p = Primitives(
        np.full((1, 3), 5.0), np.ones((1, 3), np.float32), np.eye(1, 4, dtype=np.float32),
        np.array([largest], np.float32),
    )  # fmt: skip
    info = VolumeInfo((1, 1, 11, 11, 11), np.dtype("float32"))
    write_primitives(tmp_path / "v.vgm", p, info, ((0.0, 2.0),))
    assert decoded(tmp_path / "v.vgm")[5, 5, 5] == pytest.approx(2 * largest, rel=2**-11)


def spoiled(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "positions": np.ones((3, 3)),
        "scales": np.ones((3, 3)),
        "rotations": np.ones((3, 4)),
        "intensities": np.ones(3),
    }
    good.update(changes)
    return {k: v for k, v in good.items() if v is not None}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (spoiled(positions=None), "no array of positions; it holds intensities, rotations, scales"),
        (spoiled(positions=np.ones((3, 2))), "positions: expected an array [N, 3], got [3, 2]"),
        (spoiled(scales=np.ones((2, 3))), "scales: expected an array [3, 3], got [2, 3]"),
        (spoiled(rotations=np.zeros((3, 4))), "primitive 0: its quaternion is zero"),
        (spoiled(scales=-np.ones((3, 3))), "primitive 0: a scale is -1, expected more than 0 (logarithms?)"),
        (spoiled(scales=np.full((3, 3), 1e6)), "primitive 0: a scale of 1e+06 voxels, expected at most"),
        (spoiled(intensities=np.array([1, 2, np.nan])), "primitive 2: its intensity is not finite"),
        (spoiled(intensities=np.array(["a"] * 3)), "intensities: expected numbers, got <U1"),
        (spoiled(volume_shape=np.array([4, 4])), "the volume's shape is (4, 4), expected three lengths"),
    ],
)
def test_what_is_no_set_of_gaussians_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, Array], said: str
) -> None:
    np.savez(tmp_path / "p.npz", **arrays)
    arguments = ["import", str(tmp_path / "p.npz"), "-o", str(tmp_path / "v.vgm"), "--shape", "8,8,8"]
    assert run(arguments) == 3
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "v.vgm").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 not really")
    np.save(tmp_path / "b.npy", np.ones(3))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", positions=np.array([object()]))
    (tmp_path / "d.txt").write_text("x")
    for name in ("a.npz", "b.npz", "c.npz", "d.txt", "none.npz"):
        with pytest.raises(InputError):
            read_parameters(tmp_path / name)


def test_a_volume_must_be_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "p.npz", **spoiled())
    assert run(["import", str(tmp_path / "p.npz"), "-o", str(tmp_path / "v.vgm")]) == 2
    assert "give --shape or --like" in capsys.readouterr().err


def test_the_command_offers_the_conventions_there_are() -> None:
    assert {name: choices for name, (choices, _) in import_.CHOICES.items()} == dict(CHOICES)
    with pytest.raises(UsageError, match="order 'yxz': expected one of zyx, xyz"):
        Convention(order="yxz")
