"""Every page of the gallery does what it shows, and so do the examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

GALLERY = Path(__file__).resolve().parents[1] / "docs" / "gallery"
FIRST = "arrays.md"  # makes the file that the others open
PAGES = sorted(p.name for p in GALLERY.glob("*.md") if "```pycon" in p.read_text(encoding="utf-8"))


def failures(name: str, text: str, said: list[str]) -> int:
    """Run the examples of a text in the current directory; what they say wrongly is added to ``said``."""
    test = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    assert test.examples
    return doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append).failed


def examples(page: str) -> str:
    text = (GALLERY / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The directory in which the first page was run, and what failed of it."""
    directory, said = tmp_path_factory.mktemp("gallery"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        failures(FIRST, examples(FIRST), said)
    return directory, said


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_shows(
    page: str, first: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, said = first
    if page != FIRST:
        if page == "dask.md":
            pytest.importorskip("xarray")
        monkeypatch.chdir(directory)
        said = []
        failures(page, examples(page), said)
    assert not said, "".join(said)


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    matplotlib: Any = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((GALLERY / "notebook.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), f"notebook.ipynb {cell['id']}", "exec"), names)
    importlib.import_module("matplotlib.pyplot").close("all")


def test_examples_in_docstrings_are_true(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    for name in ("volmicro_codec.api",):
        for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
            if test.examples:
                doctest.DocTestRunner().run(test, out=said.append)
    assert not said, "".join(said)
