"""The reader in C and the one in Python take the same files and reject the same: two decoders of one text."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from volmicro_codec.errors import FormatError
from volmicro_codec.format import VgmReader

ROOT = Path(__file__).resolve().parents[2]
VALID = sorted((ROOT / "spec" / "vectors" / "valid").glob("*.vgm"))

pytestmark = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("cc")), reason="needs CMake and a C compiler"
)


class Error(ctypes.Structure):
    _fields_ = (("status", ctypes.c_int), ("text", ctypes.c_char * 232))


@pytest.fixture(scope="module")
def taken_by_c(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], str]:
    """What libvgm says of a file's head: nothing where it takes it."""
    folder = tmp_path_factory.mktemp("libvgm")
    configure = ["cmake", "-S", ROOT / "libvgm", "-B", folder, "-DCMAKE_BUILD_TYPE=Debug"]
    subprocess.run(configure, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", folder, "-j2", "--target", "vgm"], check=True, capture_output=True)
    library = ctypes.CDLL(str(next(folder.glob("libvgm.*"))))

    def take(data: bytes) -> str:
        file, error = ctypes.c_void_p(), Error()
        size = ctypes.c_size_t(len(data))
        status = library.vgm_open_memory(data, size, None, 0, ctypes.byref(file), ctypes.byref(error))
        assert status == error.status
        library.vgm_close(file)
        return str(error.text.decode())

    return take


def mended(data: bytearray) -> bytes:
    """With the right checksum of header, metadata and index, so that what lies behind it is reached."""
    body = int.from_bytes(data[12:16], "little") + int.from_bytes(data[16:20], "little")
    crc = zlib.crc32(data[32 : 32 + body], zlib.crc32(data[:28]))
    data[28:32] = crc.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("path", VALID, ids=lambda p: p.stem)
def test_the_same_damaged_heads_are_taken(path: Path, taken_by_c: Callable[[bytes], str]) -> None:
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
        complaint = taken_by_c(file)
        assert (complaint == "") == expected, (complaint, bad.hex())
