"""Imports point one way: a module imports only what lies below it, and there are no circles.

Imports inside functions and those for type checkers count as all others do. ARCHITECTURE.md draws the layers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "volmicro_codec"

LAYERS = (
    {"errors", "version"},
    {"device", "exchange", "geometry", "heap", "noise_model", "notices", "pool", "progress", "text", "units"}
    | {"values"},
    {"atomic", "beside", "indexing", "primitives", "room", "urls", "volume", "web"},
    {"entropy", "native", "native_encoder"},
    {"format"},
    {"evaluate", "io", "phantom"},
    {"cuda", "decoder", "raster"},
    {"encoder"},
    {"convert"},
    {"integrations", "report"},
    {"api", "store"},
    {"cli"},
)
"""From the bottom up; a module or package may import from its own layer and those before it."""

EXTENSIONS = {"_cells", "_coder", "_native", "_network", "_raster", "_steps"}
"""Compiled modules: they import nothing."""

ON_REQUEST = {
    (f"decoder.{module}", f"integrations.{view}")
    for module in ("array", "multiscale")
    for view in ("dask", "xarray")
}
"""`to_dask` and `to_xarray`, which hand over to views that know nothing of the decoder."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name in it; the package itself is ""."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(p for p in parts if p != "__init__")] = path
    return found


def imported(module: str) -> Iterator[tuple[str, bool]]:
    """Names in the package that a module imports, and whether a function does."""
    path = modules()[module]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for f in ast.walk(tree)
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(f)
    }
    own = module.split(".") if module else []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = own if path.name == "__init__.py" else own[:-1]
            above = package[: len(package) - node.level + 1]
            base = ["volmicro_codec", *above] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == "volmicro_codec":
                yield name.partition(".")[2], id(node) in inner


@cache
def graph() -> dict[str, set[str]]:
    """What each module imports; of a name that is no module, the module or package that holds it."""
    out: dict[str, set[str]] = {}
    for module in modules():
        out[module] = set()
        for name, _ in imported(module):
            found = name if name in modules() else name.rpartition(".")[0]
            if found != module and name not in EXTENSIONS:
                out[module].add(found)
    return out


def layer(module: str) -> int:
    top = module.partition(".")[0]
    return next(n for n, names in enumerate(LAYERS) if top in names)


def test_every_module_has_a_layer_and_every_name_of_a_layer_is_one() -> None:
    tops = {m.partition(".")[0] for m in modules() if m}
    named = [name for names in LAYERS for name in names]
    assert sorted(named) == sorted(tops)


@pytest.mark.parametrize("module", sorted(m for m in modules() if m))
def test_a_module_imports_nothing_from_above(module: str) -> None:
    above = {
        other
        for other in graph()[module]
        if (not other or layer(other) > layer(module)) and (module, other) not in ON_REQUEST
    }
    assert not above


def test_what_is_imported_from_above_on_request_is_so_inside_a_function() -> None:
    for module, other in ON_REQUEST:
        where = [inside for name, inside in imported(module) if name.startswith(other)]
        assert where
        assert all(where)


def test_there_are_no_circles() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as e:
        pytest.fail(" -> ".join(e.args[1]))
