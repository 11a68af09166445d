"""Opening costs what opening needs: nothing heavy is imported early; torch by devices and penalties alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volmicro_codec
from volmicro_codec.phantom import make_phantom

ROOT = Path(__file__).resolve().parents[1]

HEAVY = ("torch", "scipy", "tifffile", "imagecodecs", "cupy", "zarr", "dask", "rich", "fsspec")


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after some code."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*{{m.partition('.')[0] for m in sys.modules}})"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=True,
    )
    return set(ran.stdout.splitlines()[-1].split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not loaded_by("import volmicro_codec") & {*HEAVY, "numpy", "click"}


def test_help_imports_nothing_heavy() -> None:
    assert not loaded_by("from volmicro_codec.cli.app import run; run(['--help'])") & {*HEAVY, "numpy"}


def test_help_of_encode_imports_nothing_heavy() -> None:
    assert not loaded_by("from volmicro_codec.cli.app import run; run(['encode', '--help'])") & set(HEAVY)


def test_info_imports_nothing_heavy() -> None:
    vector = next(iter(sorted((ROOT / "spec" / "vectors" / "valid").rglob("*.vgm"))))
    code = f"from volmicro_codec.cli.app import run; run(['info', {str(vector)!r}])"
    assert not loaded_by(code) & set(HEAVY)


def test_reading_a_volume_imports_neither_torch_nor_scipy(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    code = f"""
import numpy, volmicro_codec
numpy.save({str(path)!r}, numpy.ones((2, 3, 4), numpy.uint8))
volmicro_codec.read_volume({str(path)!r})
"""
    assert not loaded_by(code) & {"torch", "scipy", "tifffile"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ratio": 20, "effort": "fast"},
        {"ratio": 20, "objective": "voxels"},
        {"psnr": 30, "effort": "best", "coding": "float16"},
        {"slope": 22, "overview": 1},
        {"primitives": 40, "init": "kmeans", "densify": True, "optimizer": "adam"},
    ],
)
def test_an_encode_on_the_cpu_imports_no_torch(options: dict[str, Any]) -> None:
    code = f"""
import volmicro_codec
from volmicro_codec.phantom import make_phantom
data = volmicro_codec.encode(make_phantom((24, 64, 64), seed=1), device="cpu", threads=2, **{options!r})
assert volmicro_codec.decode(data).any()
"""
    assert "torch" not in loaded_by(code)


@pytest.mark.parametrize("name", volmicro_codec.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(volmicro_codec, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'cells'"):
        volmicro_codec.cells  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    assert set(dir(volmicro_codec)) == set(volmicro_codec.__all__)


BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is not here", name=name)

sys.meta_path.insert(0, Blocker())
"""
WITHOUT = (
    BLOCK
    + """
from volmicro_codec.cli.app import run
for arguments in {commands!r}:
    if run(arguments):
        sys.exit(f"failed: {{arguments}}")
import volmicro_codec
with volmicro_codec.open({file!r}) as array:
    print(array[...].sum(), array.level(1)[...].sum())
"""
)


def test_decoding_works_where_torch_and_all_of_the_encoder_s_packages_cannot_be_imported(
    tmp_path: Path,
) -> None:
    file = str(next(iter(sorted((ROOT / "spec" / "vectors" / "valid").rglob("*.vgm")))))
    out = str(tmp_path / "out.tif")
    commands = [
        ["info", file],
        ["test", file],
        ["decode", file, "-o", out],
        ["roi", file, "--box", "0:1,0:1,0:1", "-o", str(tmp_path / "roi.npy")],
    ]
    blocked = {"torch", "scipy", "zarr", "dask", "fsspec", "skimage", "matplotlib"}
    code = WITHOUT.format(blocked=blocked, commands=commands, file=file)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert (ran.returncode, ran.stderr.count("error")) == (0, 0), ran.stderr
    assert (tmp_path / "out.tif").is_file()
    with volmicro_codec.open(file) as array:
        assert int(ran.stdout.split()[-2]) == int(array[...].sum())


WITHOUT_TORCH = (
    BLOCK
    + """
from volmicro_codec.cli.app import run
sys.exit(run({arguments!r}))
"""
)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ([], None),
        (["--effort", "fast", "--ratio", "20"], None),
        (["--device", "auto", "--optimizer", "adam", "--init", "random", "--densify"], None),
        (
            ["--lambda-overlap", "0.1", "--lambda-sparsity", "0.1"],
            "lambda_overlap: torch is needed for that: pip",
        ),
        (["--device", "cuda"], "install"),
        ([], "encoding needs scipy: pip install 'volmicro-codec[encode]'"),
    ],
)
def test_encoding_works_where_torch_cannot_be_imported_and_what_is_needed_is_one_line(
    tmp_path: Path, options: list[str], missing: str | None
) -> None:
    np.save(tmp_path / "v.npy", make_phantom((24, 64, 64), seed=1))
    out = tmp_path / "v.vgm"
    arguments = ["encode", str(tmp_path / "v.npy"), "-o", str(out), "-q", *options]
    blocked = {"torch", "scipy"} if missing and "scipy" in missing else {"torch"}
    code = WITHOUT_TORCH.format(blocked=blocked, arguments=arguments)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert (ran.returncode, out.exists()) == ((0, True) if missing is None else (6, False)), ran.stderr
    if missing is not None:
        (line,) = ran.stderr.splitlines()
        assert missing in line


NOT_BUILT = """
import sys
sys.modules["volmicro_codec._native"] = None
from volmicro_codec.cli.app import run
codes = [run(["info", {file!r}]), run(["roi", {file!r}, "--box", "0:1,0:1,0:1", "-o", {out!r}])]
sys.exit(codes != [0, 6])
"""


def test_a_decoder_that_was_not_built_is_one_line_that_says_how(tmp_path: Path) -> None:
    file = str(next(iter(sorted((ROOT / "spec" / "vectors" / "valid").rglob("*.vgm")))))
    code = NOT_BUILT.format(file=file, out=str(tmp_path / "roi.npy"))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert "make native" in line
    assert not (tmp_path / "roi.npy").exists()
