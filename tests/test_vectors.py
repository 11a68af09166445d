"""The vectors of the specification: all that must decode does, all that must be rejected is."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.errors import FormatError
from volmicro_codec.format import VgmReader, check_file

SPEC = Path(__file__).resolve().parents[1] / "spec"
VECTORS = SPEC / "vectors"
VALID = sorted(p.stem for p in (VECTORS / "valid").glob("*.vgm"))
INVALID = json.loads((VECTORS / "invalid.json").read_text(encoding="utf-8"))

EPSILON = 1e-4
RELATIVE = 2.0**-22


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


spec_decoder = _module(Path(__file__).parent / "format" / "spec_decoder.py")


def _valid(name: str) -> tuple[bytes, dict[str, object]]:
    base = VECTORS / "valid" / name
    said = json.loads(base.with_suffix(".json").read_text(encoding="utf-8"))
    said["quality"] = {k: float(v) for k, v in said["quality"].items()}
    return base.with_suffix(".vgm").read_bytes(), said


def _invalid(name: str) -> bytes:
    return (VECTORS / "invalid" / f"{name}.vgm").read_bytes()


def _array(name: str, what: str) -> np.ndarray:
    array: np.ndarray = np.load(VECTORS / "valid" / f"{name}.{what}.npy")
    return array


def test_every_vector_has_its_entry() -> None:
    assert len(VALID) >= 12
    assert sorted(INVALID) == sorted(p.stem for p in (VECTORS / "invalid").glob("*.vgm"))


def test_vectors_stay_small() -> None:
    assert sum(p.stat().st_size for p in VECTORS.rglob("*") if p.is_file()) < 620_000


@pytest.mark.parametrize("name", VALID)
def test_reader_finds_what_a_valid_file_holds(name: str) -> None:
    data, said = _valid(name)
    with VgmReader.open(data) as reader:
        info = reader.meta.info
        found = {
            "shape": list(info.shape),
            "dtype": info.dtype.name,
            "axes": info.axes,
            "voxel_size": list(info.voxel_size),
            "unit": info.unit,
            "channels": [[c.name, c.color] for c in info.channels],
            "source_name": info.source_name,
            **({} if info.time_interval is None else {"time": [info.time_interval, info.time_unit]}),
            **({"grid_levels": list(reader.meta.grid_levels)} if reader.meta.grid_levels else {}),
            **({"overview": [o.grid, len(o.file)]} if (o := reader.meta.overview) else {}),
            "cutoff": reader.meta.cutoff,
            "images": [list(pair) for pair in reader.meta.images],
            "shared": {str(k): v.hex() for k, v in reader.meta.shared.items()},
            "software": reader.meta.software,
            "settings": reader.meta.settings,
            "quality": dict(reader.meta.quality),
            "noise": [
                {
                    "background": n.background,
                    "sigma": n.sigma,
                    "gain": n.gain or 0,
                    "correlation": [round(100 * v) for v in n.correlation],
                }
                for n in reader.meta.noise
            ],
            "chunks": [
                {k: list(v) if isinstance(v, tuple) else v for k, v in vars(e).items() if k != "offset"}
                for e in reader.entries
            ],
        }
        assert found == said
        parts = [r.tobytes() for r in reader.read_many(range(len(reader.entries)))]
    records = np.frombuffer(b"".join(parts), "<u2").reshape(-1, 11)
    np.testing.assert_array_equal(records, _array(name, "records"))
    assert check_file(data)["errors"] == []


@pytest.mark.parametrize("name", INVALID)
def test_invalid_file_is_rejected_where_the_vector_says(name: str) -> None:
    data = _invalid(name)
    report = check_file(data)
    assert report["errors"]
    assert not report["ok"]
    if INVALID[name]["shows"] == "open":
        with pytest.raises(FormatError):
            VgmReader.open(data)
    elif INVALID[name]["shows"] == "overview":
        with volmicro_codec.open(data) as array:
            array[...]
            with pytest.raises(FormatError):
                array.level(31)[...]
    else:
        with VgmReader.open(data) as reader, pytest.raises(FormatError):
            reader.read_many(range(len(reader.entries)))


@pytest.mark.parametrize("name", INVALID)
def test_decoder_written_from_the_text_rejects_the_same_files(name: str) -> None:
    data = _invalid(name)
    if INVALID[name]["shows"] == "open":
        with pytest.raises(spec_decoder.Rejected):
            spec_decoder.File(data)
    elif INVALID[name]["shows"] == "overview":
        file = spec_decoder.File(data)
        file.all_records()
        with pytest.raises(spec_decoder.Rejected):
            file.values(31)
    else:
        file = spec_decoder.File(data)
        with pytest.raises(spec_decoder.Rejected):
            file.all_records()


@pytest.mark.parametrize("name", VALID)
def test_decoder_written_from_the_text_gives_the_same_voxels(name: str) -> None:
    data, said = _valid(name)
    file = spec_decoder.File(data)
    np.testing.assert_array_equal(file.all_records().view("<u2"), _array(name, "records"))
    for key in ("voxel_size", "unit", "channels", "source_name", "software", "settings", "quality", "noise"):
        found = file.tags[key]
        assert (list(found) if isinstance(found, tuple) else found) == said[key]
    for key in ("time", "grid_levels", "overview"):
        assert file.tags.get(key) == said.get(key)
    size = sum(abs(gain) for _, gain in file.images)
    np.testing.assert_allclose(file.values(0), _array(name, "values"), rtol=1e-9, atol=1e-9 * size)
    for grid in (1, 3):
        expected = _array(name, f"grid{grid}")
        np.testing.assert_allclose(file.values(grid), expected, rtol=1e-9, atol=1e-9 * size)
    np.testing.assert_array_equal(file.voxels(), _array(name, "voxels"))


def _assert_within_tolerance(found: np.ndarray, reference: np.ndarray, gains: np.ndarray) -> None:
    """Section 8.5, where the sum of weights is taken to be 1, its least."""
    reference = reference.reshape(found.shape)
    slack = EPSILON * gains + RELATIVE * np.abs(reference)
    low, high = reference - slack, reference + slack
    if found.dtype.kind != "f":
        ends = np.iinfo(found.dtype).min, np.iinfo(found.dtype).max
        low, high = np.clip(np.rint(low), *ends), np.clip(np.rint(high), *ends)
    assert ((found >= low) & (found <= high)).all()


@pytest.mark.parametrize("name", VALID)
def test_decoder_is_within_the_tolerance_of_the_reference(name: str) -> None:
    data, _ = _valid(name)
    volume = volmicro_codec.open(data)
    with VgmReader.open(data) as reader:
        info = reader.meta.info
        gains = np.abs(np.array(reader.meta.images)[:, 1]).reshape(*info.shape[:2], 1, 1, 1)
    for grid, what in ((0, "values"), (1, "grid1"), (3, "grid3")):
        array = np.asarray(volume.level(grid))
        assert array.dtype == info.dtype
        _assert_within_tolerance(array.reshape(_array(name, what).shape), _array(name, what), gains)
    found = np.asarray(volume)
    assert found.shape == info.squeezed_shape
    np.testing.assert_array_equal(found, np.asarray(volume.level(0)))


def test_example_in_the_text_is_a_file_that_decodes_to_what_it_says() -> None:
    text = (SPEC / "vgm-1.md").read_text(encoding="utf-8").split("## 12. Example")[1].split("## 13.")[0]
    data = bytes.fromhex(text.split("```hex")[1].split("```")[0])
    assert check_file(data)["errors"] == []
    said = text.split("decodes to ")[1].split(".")[0]
    assert spec_decoder.File(data).voxels()[0, 0, 2, 2].tolist() == [int(v) for v in said.split()]
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|") and "`" in line]
    told = [(int(row[1]), bytes.fromhex("".join(row[2].split("`")).replace(",", ""))) for row in rows]
    assert b"".join(part for _, part in told) == data
    assert all(data[at : at + len(part)] == part for at, part in told)


def test_invalid_vectors_fail_for_the_fault_alone() -> None:
    """The file that all of them were made of is valid."""
    maker = _module(SPEC / "invalid_vectors.py")
    assert check_file(maker.file_of())["ok"]
    assert check_file(maker.file_of(index=maker.index_of(maker.RECORD * 2, flags=1)))["ok"]
    assert len(spec_decoder.File(maker.file_of()).all_records()) == 2
    flat = np.frombuffer(maker.RECORD * 2, np.uint8).reshape(2, 22).T.tobytes()
    for frame in (maker.frame_of(flat), maker.frame_of(flat, window=27)):
        file = maker.file_of(index=maker.index_of(frame, k2=2), payload=frame)
        assert check_file(file)["ok"]
        assert len(spec_decoder.File(file).all_records()) == 2
    (chunk,) = spec_decoder.File(fault := _invalid("points_count_too_low")).chunks
    payload = fault[chunk["offset"] :]
    points = maker.file_of(index=maker.index_of(payload, count=chunk["count"] + 1, k2=6), payload=payload)
    assert check_file(points)["ok"]
    assert len(spec_decoder.File(points).all_records()) == chunk["count"] + 1


@pytest.mark.slow
def test_committed_vectors_are_those_that_the_script_makes(tmp_path: Path) -> None:
    _module(SPEC / "make_vectors.py").main(tmp_path)
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(VECTORS)) for p in VECTORS.rglob("*") if p.is_file())
    for name in names:
        # Other releases of zstandard may compress differently, so the bytes of files are not compared.
        if name.endswith(".npy"):
            np.testing.assert_allclose(
                np.load(tmp_path / name), np.load(VECTORS / name), rtol=1e-12, atol=1e-9
            )
        if name.endswith("invalid.json"):
            assert (tmp_path / name).read_text() == (VECTORS / name).read_text()


@pytest.mark.parametrize("name", [n for n in VALID if (VECTORS / "valid" / f"{n}.grain.npy").exists()])
def test_grain_is_the_same_bit_for_bit(name: str) -> None:
    """In the vector, in the decoder written from the text, and in the package, whole and in part."""
    data, _ = _valid(name)
    voxels, expected = _array(name, "voxels"), _array(name, "grain")
    assert (voxels != expected).any()
    np.testing.assert_array_equal(spec_decoder.File(data).grain(voxels, 1234567), expected)
    with volmicro_codec.open(data) as array:
        plain, grained = array.read(), array.with_grain(1234567).read()
        size_t, size_c = array.info.shape[:2]
        decoded = grained.reshape(expected.shape)
        if array.dtype.kind == "u":
            # A decoded voxel may differ by one from the reference, and its noise with it.
            same = plain.reshape(voxels.shape) == voxels
            assert same.mean() > 0.99
            np.testing.assert_array_equal(decoded[same], expected[same])
        else:
            np.testing.assert_allclose(decoded, expected, atol=2e-4)
        for t, c in np.ndindex(size_t, size_c):
            part = array.with_grain(1234567).read((None, (1, 3), (2, 5)), channel=c, time=t)
            np.testing.assert_array_equal(part, decoded[t, c, :, 1:3, 2:5])


def test_every_file_with_noise_has_its_grain() -> None:
    noisy = [n for n in VALID if _valid(n)[1]["noise"]]
    assert len(noisy) >= 2
    assert all((VECTORS / "valid" / f"{n}.grain.npy").exists() for n in noisy)
