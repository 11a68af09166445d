"""The vectors take every path of the specification, and have each of its reasons to reject.

Paths are counted in the decoders that were written from the text (``note`` and ``Rejected`` there).
"""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
VECTORS = TESTS.parent / "spec" / "vectors"
DECODERS = ("spec_decoder", "lattice_spec_decoder", "points_spec_decoder")

# Those whose names are put together as the decoder goes.
FAMILIES = {
    *(f"margin {axis} {side} with primitives" for axis in "zyx" for side in ("below", "above")),
    *(f"split along {axis}" for axis in "zyx"),
    *(f"split of bucket {k}" for k in range(4)),
    *(f"amplitude context {k}" for k in range(4)),
    *("positive", "negative", "even sum", "odd sum"),
    *(f"code that ends {k} bytes after the payload" for k in (4, 5)),
    *(f"{swap} of places {a} and {a + 1}" for swap in ("swap", "no swap") for a in (0, 1)),
    *(f"block model {k}" for k in range(4)),
    *(f"quiet kind {k}" for k in range(3)),
    *(f"busy model {k}" for k in range(13)),
    *(f"sign model {k}" for k in range(5)),
    *(f"{k} low bits" for k in range(8)),
    *(f"magnitude of level {k}" for k in range(14)),
}
# One takes a file of 128 kB; the other the library finds first, so the decoder of the text never says it.
NOT_IN_VECTORS = {"count", "size of zstd frame"}


def _decoder() -> Any:
    path = TESTS / "format" / "spec_decoder.py"
    found = importlib.util.spec_from_file_location("spec_decoder_for_coverage", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def said(*functions: str) -> set[str]:
    """The plain texts that calls of some functions in the decoders are given."""
    out = set()
    for name in DECODERS:
        tree = ast.parse((TESTS / "format" / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
                values = [a.value for a in node.args if isinstance(a, ast.Constant)]
                out.update(v for v in values if isinstance(v, str))
    return out


def test_valid_vectors_take_every_path() -> None:
    decoder = _decoder()
    reached: set[str] = decoder.points.lattice.reached
    reached.clear()
    for path in sorted((VECTORS / "valid").glob("*.vgm")):
        decoder.File(path.read_bytes()).all_records()
    expected = said("note") | FAMILIES
    assert expected - reached == set()
    assert reached - expected == set(), "a path that this test does not know"


def test_each_reason_to_reject_has_a_vector_that_is_rejected_for_it() -> None:
    decoder = _decoder()
    reasons = set()
    for name in json.loads((VECTORS / "invalid.json").read_text(encoding="utf-8")):
        with pytest.raises(decoder.Rejected) as caught:
            file = decoder.File((VECTORS / "invalid" / f"{name}.vgm").read_bytes())
            file.all_records()
            file.values(31)
        reasons.add(str(caught.value))
    assert said("Rejected", "require") - reasons == NOT_IN_VECTORS
