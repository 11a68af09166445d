"""An encode that was killed goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.encoder.fits import gaussians, rendered
from volmicro_codec.encoder import journal as journals
from volmicro_codec.encoder.journal import KEY_BYTES, Journal
from volmicro_codec.encoder.pipeline import _key, encode_volume
from volmicro_codec.encoder.settings import EncodeSettings
from volmicro_codec.errors import OutputError
from volmicro_codec.io.lazy_images import LazyImages
from volmicro_codec.volume import Volume, VolumeInfo

pytestmark = pytest.mark.slow

SHAPE = (12, 28, 40)
SETTINGS = EncodeSettings(ratio=20, effort="fast", iterations=3, gate="none", objective="voxels")
LEFT = ".a.vgm.resume"

DYING = """
import os, signal, sys
import numpy as np
from volmicro_codec.encoder import journal
from volmicro_codec.encoder.pipeline import encode_volume
from tests.encoder.test_resume import SETTINGS, volume
plain, left = journal.Journal.keep, int(sys.argv[2])
def keep(self, name, arrays):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(self, name, arrays)
journal.Journal.keep = keep
encode_volume(volume(), sys.argv[1], SETTINGS)
"""


def volume(seed=3):
    """Two time points of a few Gaussians in noise."""
    light = [rendered(gaussians(12, SHAPE, seed + k), SHAPE) for k in (0, 1)]
    noise = np.random.default_rng(seed).normal(0, 0.01, (2, *SHAPE))
    voxels = np.rint(1000 * (np.stack(light) + noise) + 200).clip(0).astype(np.uint16)
    return Volume(voxels[:, None], VolumeInfo((2, 1, *SHAPE), np.dtype(np.uint16), "TZYX"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of an encode that nobody killed, and how many steps it kept."""
    path, steps, plain = tmp_path_factory.mktemp("whole") / "a.vgm", [], Journal.keep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "keep", lambda *a: (steps.append(a[1]), plain(*a))[1])
        encode_volume(volume(), path, SETTINGS)
    return path.read_bytes(), steps


def killed(path, steps):
    """Leave at a path what an encode leaves that is killed after some steps."""
    ran = subprocess.run([sys.executable, "-c", DYING, str(path), str(steps)], timeout=300)
    assert ran.returncode == -signal.SIGKILL


@pytest.mark.parametrize("part", [0.0, 0.3, 0.55, 0.95])
def test_a_killed_encode_goes_on_and_ends_with_the_same_bytes(tmp_path, caplog, whole, part):
    expected, steps = whole
    assert steps.count("image") == 2
    path, after = tmp_path / "a.vgm", int(part * len(steps))
    killed(path, after)
    assert not path.exists()
    done = []
    with caplog.at_level(logging.INFO, "volmicro_codec"), pytest.MonkeyPatch.context() as patch:
        plain = Journal.keep
        patch.setattr(Journal, "keep", lambda *a: (done.append(a[1]), plain(*a))[1])
        encode_volume(volume(), path, SETTINGS)
    assert path.read_bytes() == expected
    assert len(done) == len(steps) - after
    assert ("goes on where a run that was killed had ended" in caplog.text) == (after > 0)
    assert [p.name for p in tmp_path.iterdir()] == ["a.vgm"]


def test_a_record_that_was_cut_short_is_done_again(tmp_path, whole):
    path = tmp_path / "a.vgm"
    killed(path, 9)
    left = tmp_path / LEFT
    left.write_bytes(left.read_bytes()[:-5])
    encode_volume(volume(), path, SETTINGS)
    assert path.read_bytes() == whole[0]


def test_another_input_or_other_settings_begin_anew_and_say_so(tmp_path, caplog, whole):
    path = tmp_path / "a.vgm"
    killed(path, 9)
    with caplog.at_level(logging.INFO, "volmicro_codec"):
        encode_volume(volume(4), path, SETTINGS)
    assert "other input, settings or version: begun anew" in caplog.text
    assert path.read_bytes() != whole[0]
    assert not (tmp_path / LEFT).exists()


def test_what_another_encoder_began_is_begun_anew(tmp_path, caplog, monkeypatch, whole):
    path = tmp_path / "a.vgm"
    killed(path, 9)
    monkeypatch.setattr("volmicro_codec.encoder.pipeline.ENCODER_VERSION", 0)
    with caplog.at_level(logging.INFO, "volmicro_codec"):
        encode_volume(volume(), path, SETTINGS)
    assert "begun anew" in caplog.text
    assert path.read_bytes() == whole[0]


def test_a_run_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(journals.Journal, "keep", stop)
    with pytest.raises(KeyboardInterrupt):
        encode_volume(volume(), tmp_path / "a.vgm", SETTINGS)
    assert not list(tmp_path.iterdir())


def test_of_two_runs_to_one_target_the_second_leaves_the_firsts_alone(tmp_path):
    real, key = tmp_path / "a.vgm", bytes(KEY_BYTES)
    with journals.open_journal(real, key) as first:
        assert first is not None
        first.keep("step", [np.arange(3)])
        with journals.open_journal(real, key) as second:
            assert second is None
        assert (tmp_path / LEFT).exists()
    assert not (tmp_path / LEFT).exists()


def test_steps_of_an_image_give_way_to_its_chunks(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b"")
    with open(path, "r+b", buffering=0) as file:
        first = Journal(file, bytes(KEY_BYTES))
        first.keep("refit", [np.zeros(10_000)])
        first.keep("image", [np.arange(4)])
        first.keep("refit", [np.ones(5)])
    assert path.stat().st_size < 2000
    with open(path, "r+b", buffering=0) as file:
        again = Journal(file, bytes(KEY_BYTES))
        assert np.array_equal(again.take("image")[0], np.arange(4))
        assert np.array_equal(again.take("refit")[0], np.ones(5))
        assert again.take("refit") is None


def test_one_other_voxel_is_another_input():
    one, other = volume(), volume()
    other.data[1, 0, 5, 13, 17] += 1
    assert _key(one, SETTINGS, None) != _key(other, SETTINGS, None)
    shape = one.info.shape
    lazily = replace(one, data=LazyImages(shape, one.data.dtype, lambda t, c, box: one.data[(t, c, *box)]))
    assert _key(lazily, SETTINGS, None) == _key(one, SETTINGS, None)


def test_another_gate_in_the_same_gate_file_is_another_encode(tmp_path):
    path = tmp_path / "gate.npz"
    keys = []
    for content in (b"one", b"other", b"one"):
        path.write_bytes(content)
        keys.append(_key(volume(), EncodeSettings(gate_file=str(path)), None))
    assert keys[0] == keys[2] != keys[1]


@pytest.fixture
def no_room():
    """Let this process write no further than so many bytes of a file, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_is_full_at_once_ends_it_and_the_target_is_named(tmp_path, no_room):
    no_room(0)
    with (
        pytest.raises(OutputError, match=r"a\.vgm: cannot be written: File too large"),
        journals.open_journal(tmp_path / "a.vgm", bytes(KEY_BYTES)),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_what_a_full_disk_does_not_take_of_the_steps_fails_none_after_them(tmp_path, no_room):
    no_room(300)
    with journals.open_journal(tmp_path / "a.vgm", bytes(KEY_BYTES)) as kept:
        for name in ("refit", "image", "refit"):
            kept.keep(name, [np.zeros(10_000)])
        assert (tmp_path / LEFT).stat().st_size < 300
    assert not list(tmp_path.iterdir())
