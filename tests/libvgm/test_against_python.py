"""The readers in C and Python take the same files; voxels do not depend on the machine's instructions."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.decoder.models import one_chunk, random_records
from volmicro_codec.decoder import open as open_vgm
from volmicro_codec.errors import FormatError
from volmicro_codec.format import VgmReader

ROOT = Path(__file__).resolve().parents[2]
VALID = sorted((ROOT / "spec" / "vectors" / "valid").glob("*.vgm"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("cmake") and shutil.which("cc")), reason="needs CMake and a C compiler"
    ),
]


class Error(ctypes.Structure):
    _fields_ = (("status", ctypes.c_int), ("text", ctypes.c_char * 232))


@pytest.fixture(scope="module", params=[0, 1], ids=["any machine", "AVX2"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """libvgm by CMake, with fewer instructions than the extension module takes."""
    folder = tmp_path_factory.mktemp("libvgm")
    options = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS=-O1", f"-DVGM_INSTRUCTIONS={request.param}"]
    configure = ["cmake", "-S", ROOT / "libvgm", "-B", folder, *options]
    subprocess.run(configure, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", folder, "-j2", "--target", "vgm"], check=True, capture_output=True)
    return ctypes.CDLL(str(next(folder.glob("libvgm.*"))))


def opened(library: ctypes.CDLL, data: bytes) -> tuple[ctypes.c_void_p, str]:
    """A file, and what libvgm says of it: nothing where it takes it."""
    file, error = ctypes.c_void_p(), Error()
    size = ctypes.c_size_t(len(data))
    status = library.vgm_open_memory(data, size, None, 0, ctypes.byref(file), ctypes.byref(error))
    assert status == error.status
    assert bool(file) == (status == 0)
    return file, str(error.text.decode())


def mended(data: bytearray) -> bytes:
    """With the right checksum of header, metadata and index, so that what lies behind it is reached."""
    body = int.from_bytes(data[12:16], "little") + int.from_bytes(data[16:20], "little")
    crc = zlib.crc32(data[32 : 32 + body], zlib.crc32(data[:28]))
    data[28:32] = crc.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("path", VALID, ids=lambda p: p.stem)
@pytest.mark.slow
def test_the_same_damaged_heads_are_taken(path: Path, library: ctypes.CDLL) -> None:
    data = path.read_bytes()
    rng = np.random.default_rng(len(data))
    head = 32 + int.from_bytes(data[12:16], "little") + int.from_bytes(data[16:20], "little")
    for _ in range(300):
        bad = bytearray(data)
        for at in rng.integers(0, head, rng.integers(1, 4)):
            bad[at] = rng.choice([0, 1, 127, 128, 255, bad[at] ^ 1 << rng.integers(0, 8)])
        file = mended(bad)
        try:
            VgmReader.open(file).close()
            expected = True
        except FormatError:
            expected = False
        handle, complaint = opened(library, file)
        library.vgm_close(handle)
        assert (complaint == "") == expected, (complaint, bad.hex())


def random_file(low: float, high: float, weight: float) -> bytes:
    """A file of Gaussians with standard deviations between two bounds, of weights of about ``weight``."""
    shape = (40, 50, 90)
    records = random_records(150, [0.8 * n for n in shape], (low, high), seed=7)
    records["intensity"] *= weight
    return one_chunk(records, shape, dtype="float32").data


FILES = {
    **{path.stem: path.read_bytes() for path in VALID},
    "large": random_file(7, 60, 0.002),
    "large and bright": random_file(7, 60, 0.1),
    "needles": random_file(0.3, 20, 1),
    "everything": random_file(0.05, 300, 1),
}


@pytest.mark.parametrize("name", FILES)
def test_voxels_are_the_same_bytes_by_any_instructions(name: str, library: ctypes.CDLL) -> None:
    data = FILES[name]
    file, _ = opened(library, data)
    three = ctypes.c_uint64 * 3
    with open_vgm(data, device="cpu") as array:
        for level in range(3):
            grid = array.level(level)
            box = three(0, 0, 0), three(*grid.shape[-3:])
            for t, c in np.ndindex(*array.info.shape[:2]):
                expected = grid.read(time=t, channel=c)
                out, error = ctypes.create_string_buffer(expected.nbytes), Error()
                room = ctypes.c_size_t(expected.nbytes)
                images = ctypes.c_uint64(t), ctypes.c_uint64(c)
                library.vgm_read(file, *images, level, *box, out, room, ctypes.byref(error))
                assert error.text.decode() == ""
                assert out.raw == expected.tobytes()
    library.vgm_close(file)
