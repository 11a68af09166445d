"""The vectors of packed files: all that must decode does, all that must be rejected is, for its reason."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.errors import FormatError
from volmicro_codec.format import VgmReader, check_file
from volmicro_codec.format.packed_reader import PackedReader

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "spec" / "vectors" / "packed"
VALID = sorted(p.stem for p in (VECTORS / "valid").glob("*.vgm"))
INVALID = json.loads((VECTORS / "invalid.json").read_text(encoding="utf-8"))
HERE = Path(__file__).with_name("packed_spec_decoder.py")

_found = importlib.util.spec_from_file_location("packed_spec_decoder", HERE)
assert _found is not None
assert _found.loader is not None
text: Any = importlib.util.module_from_spec(_found)
_found.loader.exec_module(text)


def valid(name: str) -> tuple[bytes, dict[str, Any], list[np.ndarray]]:
    base = VECTORS / "valid" / name
    said = json.loads(base.with_suffix(".json").read_text(encoding="utf-8"))
    with np.load(f"{base}.levels.npz") as arrays:
        levels = [arrays[str(n)] for n in range(len(arrays.files))]
    return base.with_suffix(".vgm").read_bytes(), said, levels


def invalid(name: str) -> bytes:
    return (VECTORS / "invalid" / f"{name}.vgm").read_bytes()


def test_every_vector_has_its_entry() -> None:
    assert len(VALID) >= 7
    assert sorted(INVALID) == sorted(p.stem for p in (VECTORS / "invalid").glob("*.vgm"))


@pytest.mark.parametrize("name", VALID)
def test_every_level_has_its_voxels(name: str) -> None:
    data, _, levels = valid(name)
    with volmicro_codec.open(data) as array:
        assert isinstance(array, volmicro_codec.MultiscaleArray)
        assert array.levels == len(levels)
        for n, expected in enumerate(levels):
            found = array.level(n)[...]
            assert found.dtype == expected.dtype
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-4)
            else:
                np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    assert check_file(data)["errors"] == []


@pytest.mark.parametrize("name", VALID)
def test_reader_finds_what_a_file_says(name: str) -> None:
    data, said, _ = valid(name)
    with PackedReader.open(data) as reader:
        root, info = reader.root, reader.root.info
        places = {}
        for n, level in enumerate(root.levels):
            where = [p for page in reader.every_page(n) for p in zip(page.offset, page.length, strict=True)]
            for (image, *at), (offset, length) in zip(level.order(), where, strict=True):
                t, c = divmod(image, info.shape[1])
                kept = [k for k, a in zip((t, c, *at), "TCZYX", strict=True) if a in info.axes]
                if length:
                    places["/".join(map(str, [n, "c", *kept]))] = [int(offset), int(length)]
        documents = reader.documents()
        found = {
            "shape": list(info.shape),
            "dtype": info.dtype.name,
            "axes": info.axes,
            "voxel_size": list(info.voxel_size),
            "unit": info.unit,
            "channels": [[c.name, c.color] for c in info.channels],
            "source_name": info.source_name,
            "software": root.software,
            **({} if info.time_interval is None else {"time": [info.time_interval, info.time_unit]}),
            "levels": [
                {"coding": v.coding, "chunk": list(v.chunk), "fill": v.fill, "page_log2": v.page_log2}
                for v in root.levels
            ],
            "documents": [None if d is None else d.decode() for d in documents],
            "chunks": places,
        }
    assert found == said


@pytest.mark.parametrize("name", VALID)
def test_decoder_written_from_the_text_gives_the_same(name: str) -> None:
    data, said, levels = valid(name)
    file = text.Packed(data)
    for key in ("voxel_size", "unit", "channels", "source_name", "software"):
        found = file.tags[key]
        assert (list(found) if isinstance(found, tuple) else found) == said[key]
    assert file.tags.get("time") == said.get("time")
    for n, expected in enumerate(levels):
        np.testing.assert_allclose(file.level(n), expected, rtol=1e-6, atol=0)
    assert [d and d.decode() for d in file.documents()] == said["documents"]


def everything(data: bytes) -> None:
    with volmicro_codec.open(data) as array:
        assert isinstance(array, volmicro_codec.MultiscaleArray)
        for n in range(array.levels):
            array.level(n)[...]


@pytest.mark.parametrize("name", INVALID)
def test_invalid_file_is_rejected_where_the_vector_says(name: str) -> None:
    data, shows = invalid(name), INVALID[name]["shows"]
    report = check_file(data)
    assert report["errors"]
    assert not report["ok"]
    if shows == "open":
        with pytest.raises(FormatError):
            volmicro_codec.open(data)
        return
    with PackedReader.open(data) as reader:
        levels = range(len(reader.root.levels))
        if shows == "page":
            with pytest.raises(FormatError, match="page"):
                [list(reader.every_page(n)) for n in levels]
        else:
            assert [len(list(reader.every_page(n))) for n in levels]
    with pytest.raises(FormatError):
        everything(data)


@pytest.mark.parametrize("name", INVALID)
def test_decoder_written_from_the_text_rejects_the_same_files(name: str) -> None:
    data, shows = invalid(name), INVALID[name]["shows"]
    if shows == "open":
        with pytest.raises(text.Rejected):
            text.Packed(data)
        return
    file = text.Packed(data)
    if shows == "page":
        with pytest.raises(text.Rejected):
            [file.places(n) for n in range(len(file.levels))]
    else:
        with pytest.raises(text.one.Rejected):
            [file.level(n) for n in range(len(file.levels))]


def test_each_reason_to_reject_has_a_vector() -> None:
    tree = ast.parse(HERE.read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    said = {a.value for n in calls if n.func.id == "require" for a in n.args if isinstance(a, ast.Constant)}  # type: ignore[attr-defined]
    reasons = set()
    for name in INVALID:
        with pytest.raises(text.one.Rejected) as caught:
            file = text.Packed(invalid(name))
            [file.level(n) for n in range(len(file.levels))]
        reasons.add(str(caught.value))
    # Those are for those who unpack, and have tests of their own.
    unpacking = {"checksum of the documents", "documents too long"}
    assert {s for s in said if isinstance(s, str)} - reasons == unpacking


def test_invalid_vectors_fail_for_the_fault_alone() -> None:
    spec = str(ROOT / "spec")
    sys.path.insert(0, spec)
    try:
        import packed_vectors as maker  # type: ignore[import-not-found]  # lies beside the specification
    finally:
        sys.path.remove(spec)
    for coding in range(3):
        assert check_file(maker.put_together(maker.small(coding)))["ok"]
    assert check_file(maker.put_together(maker.small(), compress=False))["ok"]


@pytest.mark.parametrize("name", [n for n in VALID if n != "int16_larger_than_the_volume"][:2])
def test_readers_of_single_files_refuse_a_packed_one(name: str) -> None:
    data, _, _ = valid(name)
    with pytest.raises(FormatError, match="packed volume"):
        VgmReader.open(data)
    with pytest.raises(text.one.Rejected, match="required flags"):
        text.one.File(data)


@pytest.mark.parametrize("name", INVALID)
def test_no_invalid_file_takes_memory(name: str) -> None:
    """They say up to 2^60 pages, 2^26 bytes from a few, and shapes of 2^31."""
    data = invalid(name)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError), volmicro_codec.open(data) as array:
            for n in range(array.levels):  # type: ignore[union-attr]  # all are packed
                array.level(n)[:8, :8, :8]
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
