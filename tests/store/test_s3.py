"""Volumes in S3 are encoded into S3, read from there, gone on with after a kill, and refusals are told."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.store.conftest import contents
from volmicro_codec.cli.app import run
from volmicro_codec.io import read_volume, write_volume

s3fs = pytest.importorskip("s3fs", reason="no s3fs (the extra 's3')")
sync = pytest.importorskip("zarr.core.sync")
server = pytest.importorskip("moto.server", reason="no S3 server (moto[s3], flask and flask-cors)")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ROOT = Path(__file__).resolve().parents[2]
BRICKS = ["--brick", "128", "--effort", "fast"]

# Goes on with a store and is killed when it has written its n-th object.
DIES = """
import os, signal, sys
from volmicro_codec.store import encode, job, places, runners
put, left = places.Remote.put, [int(sys.argv[2])]
def dying(self, key, data):
    put(self, key, data)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
places.Remote.put = dying
encode.encode_bricks(job.find_job(sys.argv[1]), runners.Here())
"""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The URL of an S3 server on this machine."""
    http = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    http.start()
    host, port = http.get_host_and_port()
    yield f"http://{host}:{port}"
    http.stop()


@pytest.fixture
def bucket(service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """An empty bucket ``lab`` there, as a file system."""
    for name, value in {
        "AWS_ENDPOINT_URL": service, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    forget()
    fs = s3fs.S3FileSystem(key="key", secret="secret", use_listings_cache=False)
    fs.mkdir("lab")
    yield fs
    fs.rm("lab", recursive=True)
    forget()


def forget() -> None:
    """Close the connections of the file systems that fsspec keeps for all who ask for the same."""
    for fs in s3fs.S3FileSystem._cache.values():
        if fs._s3 is not None:
            loop = sync._get_loop() if fs.asynchronous else fs.loop
            asyncio.run_coroutine_threadsafe(fs._s3creator.__aexit__(None, None, None), loop).result()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def volume(bucket: Any, original: Path, tmp_path: Path) -> str:
    """The volume as OME-Zarr in the bucket."""
    found = read_volume(original)
    write_volume(tmp_path / "in.ome.zarr", found.data, found.info)
    bucket.put(str(tmp_path / "in.ome.zarr"), "lab/in.ome.zarr", recursive=True)
    return "s3://lab/in.ome.zarr"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is asked of the server from now on: methods and keys."""
    asked: list[tuple[str, str]] = []
    call = s3fs.S3FileSystem._call_s3

    async def noted(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        asked.append((method, kwargs.get("Key", "")))
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", noted)
    return asked


@pytest.fixture
def key_that_is_wrong(bucket: Any, service: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From now on the server knows no key."""

    def let(count: bytes) -> None:
        headers = {"Content-Type": "text/plain"}
        urllib.request.urlopen(
            urllib.request.Request(f"{service}/moto-api/reset-auth", count, headers)
        ).close()

    let(b"0")
    yield
    let(b"inf")


def chunks(bucket: Any, store: str) -> dict[str, bytes]:
    """The chunks of a store in the bucket."""
    found = bucket.find(f"lab/{store}")
    return {p.removeprefix(f"lab/{store}/"): bucket.cat_file(p) for p in found if "/c/" in p}


def test_a_volume_there_becomes_a_store_there_as_it_does_here(
    bucket: Any,
    requests: list[tuple[str, str]],
    volume: str,
    begun: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = "s3://lab/out.ome.zarr"
    requests.clear()
    assert run(["encode", volume, "-o", store, *BRICKS]) == 0
    # Each object by one request, under its own name from the first.
    written = [key for method, key in requests if method == "put_object" and "/." not in key]
    assert len(written) == len(set(written))
    assert not {method for method, _ in requests} & {"create_multipart_upload", "copy_object"}
    objects = {p.removeprefix("lab/") for p in bucket.find("lab/out.ome.zarr")}
    assert objects <= set(written)
    assert {p.split("/")[1] for p in objects} == {"zarr.json", "0", "1"}
    assert chunks(bucket, "out.ome.zarr") == contents(begun)
    assert run(["encode", volume, "-o", store, *BRICKS]) == 5
    assert "a store is not replaced" in capsys.readouterr().err
    local = tmp_path / "out.ome.zarr"
    bucket.get("lab/out.ome.zarr", str(local), recursive=True)
    for here, there in ((str(local), "here"), (store, "there")):
        box = ["--box", "3:9,20:40,120:140"]
        assert run(["decode", here, "-o", str(tmp_path / f"{there}.npy")]) == 0
        assert run(["roi", here, *box, "-o", str(tmp_path / f"{there}-roi.npy")]) == 0
    whole, again = (np.load(tmp_path / f"{name}.npy") for name in ("here", "there"))
    assert np.array_equal(whole, again)
    assert np.array_equal(np.load(tmp_path / "there-roi.npy"), whole[3:9, 20:40, 120:140])
    capsys.readouterr()
    assert run(["info", store]) == 0
    assert "3 of 128^3 voxels, 1 left out" in capsys.readouterr().out
    assert run(["verify", volume, store]) == 0
    assert "of all voxels" in capsys.readouterr().out
    pytest.importorskip("PIL")
    assert run(["preview", store, "-o", str(tmp_path / "a.png")]) == 0


def test_killed_it_goes_on_and_has_the_same_bytes(
    bucket: Any, volume: str, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = "s3://lab/out.ome.zarr"
    assert run(["encode", volume, "-o", store, *BRICKS, "--task", "0/3"]) == 0
    assert run(["finish", store]) == 9
    assert "2 (1, 2) of 3 bricks missing" in capsys.readouterr().err
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    died = subprocess.run([sys.executable, "-c", DIES, store, "1"], env=env)  # within brick 1
    assert died.returncode == -signal.SIGKILL
    assert run(["info", store]) == 0
    assert "1 of 3 of 128^3 voxels are there" in capsys.readouterr().out
    assert run(["encode", volume, "-o", store, *BRICKS]) == 0
    assert chunks(bucket, "out.ome.zarr") == contents(begun)


def test_one_file_there_is_read_and_unpacked_to_there(
    bucket: Any, begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(begun, tmp_path / "a.ome.zarr")
    assert run(["finish", str(tmp_path / "a.ome.zarr")]) == 0
    assert run(["pack", str(tmp_path / "a.ome.zarr"), "-o", str(tmp_path / "a.vgm")]) == 0
    bucket.put(str(tmp_path / "a.vgm"), "lab/a.vgm")
    assert run(["unpack", "s3://lab/a.vgm", "-o", "s3://lab/b.ome.zarr"]) == 0
    assert chunks(bucket, "b.ome.zarr") == contents(begun)
    assert run(["pack", "s3://lab/b.ome.zarr", "-o", str(tmp_path / "b.vgm")]) == 0
    assert (tmp_path / "b.vgm").read_bytes() == (tmp_path / "a.vgm").read_bytes()
    assert run(["pack", "s3://lab/b.ome.zarr", "-o", "s3://lab/b.vgm"]) == 5
    assert "cannot be written to a URL" in capsys.readouterr().err


Refused = Callable[[list[str], int, str], None]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Checks that a command ends with a code and one line that holds some words."""

    def check(args: list[str], code: int, words: str) -> None:
        capsys.readouterr()
        assert run(args) == code
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert words in lines[0]

    return check


def test_what_is_not_there_is_told(bucket: Any, volume: str, original: Path, refused: Refused) -> None:
    encode = ["encode", str(original), *BRICKS]
    # Before a sample is looked at, which takes hours of a large volume.
    refused([*encode, "--ratio", "9", "-o", "s3://other/a.ome.zarr"], 5, "bucket does not exist")
    refused(["encode", "s3://other/a.ome.zarr", "-o", "s3://lab/a.ome.zarr"], 8, "no bucket 'other' is there")
    refused(["encode", "s3://lab/no.ome.zarr", "-o", "s3://lab/a.ome.zarr"], 8, "no Zarr group or array is")
    refused(["info", "s3://lab/no.vgm"], 3, "no such file")
    refused(["info", "s3://other/no.vgm"], 8, "bucket does not exist")
    refused(["finish", "s3://lab/no.ome.zarr"], 8, "no store that was begun")
    refused(["preview", volume, "-o", "a.png"], 4, "no store of .vgm bricks")
    refused([*encode, "-o", "s3://lab/a.vgm"], 5, "cannot be written to a URL")
    assert bucket.ls("lab") == ["lab/in.ome.zarr"]


def test_a_wrong_key_is_told(
    volume: str, original: Path, key_that_is_wrong: None, refused: Refused, begun: Path
) -> None:
    refused(["encode", volume, "-o", "s3://lab/a.ome.zarr"], 8, "no permission")
    refused(["encode", str(original), "-o", "s3://lab/a.ome.zarr"], 8, "no permission")
    refused(["info", volume], 8, "no permission")
    refused(["info", "s3://lab/a.vgm"], 8, "no permission")


def test_that_there_are_no_credentials_is_told(
    volume: str, original: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    forget()
    said = "no credentials (AWS_ACCESS_KEY_ID"
    refused(["encode", volume, "-o", "s3://lab/a.ome.zarr"], 8, said)
    refused(["encode", str(original), "-o", "s3://lab/a.ome.zarr"], 8, said)
    refused(["roi", volume, "--box", ":,:,:", "-o", "a.npy"], 8, said)
