"""Make the pictures of README's section on other programs, by the commands that it quotes.

    python scripts/readme_pictures.py [--work DIRECTORY] [progressive] [report] [napari]

They go into docs/pictures. The encode takes minutes; what lies in the working directory already is not made
again. Needs Pillow, and the volume in the directory that VGM_VOLUMES names (default ../shared/volumes); for
"report" a Chromium; for "napari" xvfb and a Python with napari (VGM_NAPARI_PYTHON, default .venv-napari).
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import volmicro_codec
from volmicro_codec.report.preview import Layout

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
STACK = "mouse-brain-50um-brainreg.tif"

ENCODE = "vgm encode brain.tif -o brain.vgm --ratio 200 --levels 3 --effort fast"
PROGRESSIVE = {
    "10 % of the bytes": "vgm preview brain.vgm --budget 14k --contrast 0:1500 -o brain-10.png",
    "30 % of the bytes": "vgm preview brain.vgm --budget 42k --contrast 0:1500 -o brain-30.png",
    "all bytes": "vgm preview brain.vgm --contrast 0:1500 -o brain-100.png",
}
REPORT = "vgm report brain.tif brain.vgm -o brain.html"
CHROMIUM = "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size=1180,950"
NAPARI = "napari brain.vgm"

CAPTION, GAP = 34, 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", nargs="*", choices=[[], "progressive", "report", "napari"])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "vgm-pictures")
    arguments = parser.parse_args()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    if not (work / "brain.tif").exists():
        volumes = Path(os.environ.get("VGM_VOLUMES", ROOT.parent / "shared" / "volumes"))
        shutil.copy(volumes / STACK, work / "brain.tif")
    if not (work / "brain.vgm").exists():
        run(ENCODE, work)
    for name in arguments.which or ("progressive", "report", "napari"):
        {"progressive": progressive, "report": report, "napari": napari}[name](work)


def run(command: str, work: Path) -> None:
    """Run a ``vgm`` command of README with this interpreter."""
    words = shlex.split(command)
    assert words[0] == "vgm"
    subprocess.run([sys.executable, "-m", "volmicro_codec.cli", *words[1:], "--quiet"], cwd=work, check=True)


def progressive(work: Path) -> None:
    """The projection along z of a prefix, of a longer one, and of the whole file, side by side."""
    with volmicro_codec.open(work / "brain.vgm") as array:
        layout = Layout.of(array.info, 1200)
    panels = []
    for title, command in PROGRESSIVE.items():
        run(command + " --force", work)
        with Image.open(work / shlex.split(command)[-1]) as picture:
            panels.append((title, picture.convert("L").crop((0, 0, layout.width, layout.height))))
    width, height = panels[0][1].size
    sheet = Image.new("L", (len(panels) * (width + GAP) - GAP, CAPTION + height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(22)
    for n, (title, panel) in enumerate(panels):
        sheet.paste(panel, (n * (width + GAP), CAPTION))
        draw.text((n * (width + GAP), 3), title, fill="black", font=font)
    save(sheet, "progressive.png")


def report(work: Path) -> None:
    """The first screen of a report, as a browser draws it."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("report: no Chromium was found")
    run(REPORT + " --force", work)
    shot = work / "report.png"
    page = (work / "brain.html").as_uri()
    subprocess.run(
        [browser, *CHROMIUM.split(), f"--screenshot={shot}", page], cwd=work, check=True, capture_output=True
    )
    with Image.open(shot) as picture:
        small = picture.convert("RGB").resize((885, 712), Image.Resampling.LANCZOS)
    save(small.quantize(255, dither=Image.Dither.NONE), "report.png")


def napari(work: Path) -> None:
    """napari's window with the file in it."""
    python = os.environ.get("VGM_NAPARI_PYTHON", str(ROOT / ".venv-napari" / "bin" / "python"))
    display = ["xvfb-run", "-a", "-s", "-screen 0 1400x1000x24"] if shutil.which("xvfb-run") else []
    session = ROOT / "tests" / "integrations" / "napari_session.py"
    file = shlex.split(NAPARI)[-1]
    command = [*display, python, str(session), file, "flat.png", "deep.png", "window.png"]
    subprocess.run(command, cwd=work, check=True)
    with Image.open(work / "window.png") as picture:
        save(picture.convert("RGB"), "napari.png")


def save(picture: Image.Image, name: str) -> None:
    """Put a picture into docs/pictures."""
    path = PICTURES / name
    picture.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
