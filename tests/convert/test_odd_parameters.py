"""Parameters that no tool should write, and some that one might: an error in one line, or a sound file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volmicro_codec.cli.app import run
from volmicro_codec.convert import stored_arrays
from volmicro_codec.convert.parameters import read_parameters
from volmicro_codec.errors import InputError
from volmicro_codec.format import VgmReader, check_file

N = 3
Import = Callable[..., tuple[int, str]]


def good(**changes: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "positions": np.full((N, 3), 4.0),
        "scales": np.ones((N, 3)),
        "rotations": np.tile([1.0, 2, 3, 4], (N, 1)),
        "intensities": np.ones(N),
    }
    return {k: v for k, v in {**arrays, **changes}.items() if v is not None}


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Import:
    """Import a file of parameters: exit code and what was said of an error."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *args: str) -> tuple[int, str]:
        code = run(["import", name, "-o", "o.vgm", "--force", *(args or ("--shape", "9,9,9"))])
        error = capsys.readouterr().err
        assert code == 0 or error.count("\n") == 1
        assert (code == 0) == Path("o.vgm").exists()
        return code, error

    return call


REFUSED = [
    (good(positions=np.array([None] * N)), "positions holds objects, expected numbers"),
    (good(positions=np.zeros((0, 3)), scales=np.zeros((0, 3)), rotations=None, intensities=np.zeros(0)),
     "holds no Gaussians"),
    (good(scales=np.full((N, 3), 1e200)), "primitive 0: its scale is 1e+200, expected at most"),
    (good(intensities=np.full(N, -1e200)), "primitive 0: its intensity is -1e+200, expected at most"),
    (good(intensities=np.full(N, np.longdouble("1e4000"))), "primitive 0: its intensity is not finite"),
    (good(positions=np.zeros((N, 3), complex)), "positions: expected numbers, got complex128"),
    (good(positions=np.zeros(N, [("a", "f4")])), "positions: expected numbers, got"),
    (good(volume_shape=np.array([np.inf, 9, 9])), "damaged: expected finite numbers"),
    (good(volume_shape=np.array([0, 9, 9])), "expected 1 to 2^31 - 1 voxels an axis"),
    (good(volume_shape=np.array([-9, 9, 9])), "expected 1 to 2^31 - 1 voxels an axis"),
    (good(volume_shape=np.array([1 << 40, 9, 9])), "expected 1 to 2^31 - 1 voxels an axis"),
    (good(volume_shape=np.array([9.5, 9, 9])), "expected whole numbers"),
    (good(positions_raw=np.zeros((N, 3)), intensity_activation=np.array("odd")), "_activation 'odd'"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_is_refused_in_one_line(
    imported: Import, tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    np.savez(tmp_path / "p.npz", **arrays)
    code, error = imported("p.npz")
    assert code == 3
    assert said in error


@pytest.mark.parametrize("norm", [1e200, 1.7e308, 1e-200, 5e-324])
def test_quaternions_of_any_norm_are_rotations(imported: Import, tmp_path: Path, norm: float) -> None:
    axes = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    np.savez(tmp_path / "p.npz", **good(rotations=axes * norm))
    assert imported("p.npz")[0] == 0
    with VgmReader.open(tmp_path / "o.vgm") as reader:
        (records,) = reader.read_many([0])
    assert sorted(map(tuple, records["rotation"].tolist())) == sorted(map(tuple, axes.tolist()))


OURS = {
    "dtype": [np.array("complex64"), np.array("nonsense"), np.array("float16")],
    "axes": [np.array("XYZ"), np.array("ZYX"), np.array("")],
    "cutoff": [np.array(np.nan), np.array(1e300), np.array([1, 2])],
    "voxel_size": [np.array([0, -1, np.inf]), np.array([1.0, 2.0]), np.array("abc")],
    "channel_names": [np.array(["a", "b", "c"])],
    "channel_colors": [np.array([0.5, np.nan])],
    "base": [np.array([[np.nan, 1]]), np.array([["a", "b"]]), np.array([[1.0]]), None],
    "gain": [np.array([[np.inf, 1]]), None],
    "shape": [np.array([1, 2, 3]), np.array([1, 2, 0, 5, 5]), np.array([1, 2.5, 6, 20, 24]), None],
    "time_points": [np.array("x"), np.zeros(2, int), np.full(4, np.nan), np.full(4, 0.7), np.full(4, 9)],
    "channels": [np.full(4, -1), np.full(4, (1 << 64) - 1, np.uint64)],
}  # fmt: skip


def ours(**changes: Any) -> dict[str, Any]:
    """What `vgm export --format npz` writes of a file of two channels."""
    arrays = {
        "positions": np.full((4, 3), 4.0), "scales": np.ones((4, 3)), "intensities": np.ones(4),
        "time_points": np.zeros(4, int), "channels": np.array([0, 0, 1, 1]),
        "base": np.zeros((1, 2)), "gain": np.ones((1, 2)), "shape": np.array([1, 2, 9, 9, 9]),
        "axes": np.array("CZYX"), "dtype": np.array("uint16"), "cutoff": np.array(9.0),
        "voxel_size": np.array([2, 0.5, np.nan]), "unit": np.array("µm"),
        "channel_names": np.array(["a", ""]),
        "channel_colors": np.array([-1, 255]), "time_interval": np.array(np.nan), "time_unit": np.array(""),
        "convention": np.array("volmicro-codec 0.1.0: voxels, zyx, wxyz, linear"),
    }  # fmt: skip
    return {k: v for k, v in {**arrays, **changes}.items() if v is not None}


@pytest.mark.parametrize(("key", "number"), [(k, n) for k, found in OURS.items() for n in range(len(found))])
def test_a_damaged_export_of_ours_is_refused_in_one_line(
    imported: Import, tmp_path: Path, key: str, number: int
) -> None:
    np.savez(tmp_path / "p.npz", **ours(**{key: OURS[key][number]}))
    assert imported("p.npz", "--unit", "µm", "--voxel-size", "1,1,1")[0] == 3


def test_an_export_of_a_file_without_gaussians_comes_back(imported: Import, tmp_path: Path) -> None:
    none = {k: ours()[k][:0] for k in ("positions", "scales", "intensities", "time_points", "channels")}
    np.savez(tmp_path / "p.npz", **ours(**none))
    assert imported("p.npz", "--cutoff", "4")[0] == 0
    assert check_file(tmp_path / "o.vgm")["ok"]


def test_only_what_is_needed_of_an_archive_is_read(
    imported: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "p.npz", **good(), other=np.array([{}]), huge=np.zeros(1000), opacity=np.zeros(1000))
    read: list[str] = []
    array = stored_arrays.Archive._array

    def counted(self: Any, key: str, *args: Any) -> Any:
        read.append(key)
        return array(self, key, *args)

    monkeypatch.setattr(stored_arrays.Archive, "_array", counted)
    assert imported("p.npz")[0] == 0
    assert sorted(read) == ["intensities", "positions", "rotations", "scales"]


@pytest.mark.parametrize("shape", [(1 << 40, 3), (1 << 62, 3), (1 << 63, 1 << 63)])
def test_no_room_is_made_for_what_an_archive_does_not_hold(tmp_path: Path, shape: tuple[int, int]) -> None:
    np.savez(tmp_path / "p.npz", **good())
    with zipfile.ZipFile(tmp_path / "p.npz", "a") as archive, archive.open("means.npy", "w") as f:
        np.lib.format.write_array_header_1_0(f, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with pytest.raises(InputError, match="means is cut short"):
        stored_arrays.Archive(str(tmp_path / "p.npz"))["means"]


def test_an_array_larger_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "p.npz", **good(positions=np.zeros((1000, 3))))
    monkeypatch.setattr(stored_arrays, "free_memory", lambda: 8 * 23_999)
    with pytest.raises(InputError, match=r"positions takes 24 kB, where memory allows 24 kB"):
        read_parameters(tmp_path / "p.npz")


def test_arrays_come_as_they_were_stored(tmp_path: Path) -> None:
    stored = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big_endian": np.arange(3, dtype=">f8"),
        "scalar": np.array(3),
        "empty": np.zeros((0, 3)),
        "text": np.array("µm"),
    }
    np.savez_compressed(tmp_path / "p.npz", **stored)
    found = stored_arrays.Archive(str(tmp_path / "p.npz"))
    assert set(found) == set(stored)
    for name, array in stored.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def tensors(**changes: Any) -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    return {k: torch.as_tensor(v) if isinstance(v, np.ndarray) else v for k, v in good(**changes).items()}


def checkpoints() -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    ones = torch.ones(N, 3)
    cyclic: dict[str, Any] = {}
    cyclic["state_dict"] = cyclic
    deep: dict[str, Any] = {}
    within = deep
    for _ in range(100):
        within["model"] = {}
        within = within["model"]
    endless: list[Any] = []
    endless.append(endless)
    return {
        "cyclic": cyclic,
        "deep": deep,
        "sparse": tensors(positions=ones.to_sparse()),
        "meta": tensors(positions=ones.to("meta")),
        "complex": tensors(positions=ones.to(torch.complex64)),
        "ragged": tensors(positions=[[1, 2, 3], [1]]),
        "endless": tensors(positions=endless),
        "text": tensors(positions="abc"),
        "mapping": tensors(positions={"a": 1}),
        "expanded": tensors(positions=torch.ones(1, 1).expand(1 << 40, 3)),
        "large integer": tensors(volume_shape=[10**30, 2, 2]),
        "empty": {},
        "list": [1, 2],
    }


@pytest.mark.parametrize(
    "kind",
    ["cyclic", "deep", "sparse", "meta", "complex", "ragged", "endless", "text", "mapping", "expanded",
     "large integer", "empty", "list"],
)  # fmt: skip
def test_a_checkpoint_of_something_else_is_refused_in_one_line(
    imported: Import, tmp_path: Path, kind: str
) -> None:
    torch = pytest.importorskip("torch")
    torch.save(checkpoints()[kind], tmp_path / "c.pt")
    assert imported("c.pt")[0] == 3


def test_a_checkpoint_that_holds_itself_beside_gaussians_is_read(imported: Import, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    held = tensors(positions=torch.ones(N, 3, dtype=torch.bfloat16), unused=torch.ones(1).expand(1 << 33))
    held["model"] = {"params": held}
    torch.save(held, tmp_path / "c.pt")
    assert imported("c.pt")[0] == 0
