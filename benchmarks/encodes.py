"""One stack through one codec at given ratios: the file's size, what it decodes to, what it cost."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import peers
from peers.contract import Curve, CurvePeer, to_dtype
from peers.search import Search
from volumes import Image

from volmicro_codec.decoder import open as open_vgm

Voxels = npt.NDArray[Any]
# (share below the target at which a search ends, encodes at most a target). A step of an integer knob is 12
# to 30 % of bytes, and an encode takes up to a minute.
SEARCHES = {"vvc": (0.25, 7), "av1": (0.25, 7)}
SEARCH = (0.03, 16)


@dataclass(frozen=True)
class Encoded:
    """A file.

    Attributes
    ----------
    ratio : float
        That was asked for.
    size : int
        Bytes.
    decoded : numpy.ndarray, shape (Z, Y, X)
        Of the stack's dtype.
    unrounded : numpy.ndarray, shape (Z, Y, X)
        The same as float32, before they are rounded to whole counts, as far as the codec gives them so.
    cpu_s : float
        Seconds of processor time of the encode.
    knob : float or None
        What a search ended at.
    """

    ratio: float
    size: int
    decoded: Voxels
    unrounded: Voxels
    cpu_s: float
    knob: float | None
    settings: str


def encode(
    codec: str,
    voxels: Voxels,
    ratios: Sequence[float],
    options: Sequence[str] = (),
    known_knob: Callable[[float], float | None] = lambda ratio: None,
    search: bool = True,
) -> Iterator[Encoded | None]:
    """Encode a stack (Z, Y, X) at each ratio; None where no file that small was found.

    Parameters
    ----------
    codec : str
        "vgm", or a peer with a curve.
    options : sequence of str
        Of ``vgm encode``, beside the ratio.
    known_knob : callable
        ratio -> what a search on a similar stack ended at.
    search : bool
        If not, a peer is encoded at its known knobs, and there alone.

    Raises
    ------
    RuntimeError
        With the encoder's last words, where it fails.
    """
    if codec == peers.OURS:
        return _ours_at(voxels, ratios, options)
    return _searched(codec, voxels, ratios, known_knob, search)


UNSPENT = 0.9
"""Of the bytes asked for, under which a file ended because only noise is left: one of 600 bytes whose bytes
were short took 0.95 of them."""


@functools.cache
def encode_help() -> str:
    """What ``vgm encode --help`` says."""
    return subprocess.run(_vgm("encode", "--help"), capture_output=True, text=True, check=True).stdout


def _vgm(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "volmicro_codec.cli", *arguments]


def _ours_at(voxels: Voxels, ratios: Sequence[float], options: Sequence[str]) -> Iterator[Encoded]:
    """``vgm encode`` at each ratio; a file that ended before its bytes did serves for milder ratios, too.

    That those would be the same file is held by a test (more bytes end in the same file).
    """
    ended: Encoded | None = None
    for ratio in ratios:
        room = UNSPENT * voxels.nbytes / ratio
        if ended is not None and ended.size < room:
            yield replace(ended, ratio=ratio)
            continue
        found = _ours(voxels, ratio, options)
        if found.size < room:
            ended = found
        yield found


def _ours(voxels: Voxels, ratio: float, options: Sequence[str]) -> Encoded:
    """``vgm encode`` as a user runs it, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        stack, file = Path(folder) / "stack.npy", Path(folder) / "stack.vgm"
        np.save(stack, voxels)
        asked = [*(("--ratio", f"{ratio:g}") if "--ratio" not in options else ()), *options, "--quiet"]
        began = _cpu()
        done = subprocess.run(
            _vgm("encode", str(stack), "-o", str(file), *asked), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"vgm encode: exit {done.returncode}: {done.stderr.strip()[-300:]}")
        spent = _cpu() - began
        with open_vgm(file) as array:
            decoded = np.asarray(array[...]).reshape(voxels.shape)
            unrounded = np.asarray(array.as_float32()[...]).reshape(voxels.shape)
        note = " ".join((*options, peers.load(peers.OURS).revision()))
        return Encoded(ratio, file.stat().st_size, decoded, unrounded, spent, None, note)


def _searched(
    codec: str,
    voxels: Voxels,
    ratios: Sequence[float],
    known_knob: Callable[[float], float | None],
    searching: bool,
) -> Iterator[Encoded | None]:
    """For each ratio the largest file that is not too large; later ratios use the files of earlier ones.

    A peer is given the stack as float32, for which its voxels come out unrounded; its files are the same.
    """
    peer = peers.load(codec)
    assert isinstance(peer, CurvePeer)
    tolerance, most = SEARCHES.get(codec, SEARCH)
    image = Image("stack", 0, voxels.astype(np.float32), hashlib.sha256(voxels.tobytes()).hexdigest()[:12])
    curve = peer.curves(image)[0]
    seconds: dict[bytes, float] = {}
    search = Search(_timed(curve, seconds), tolerance, 1.0, most)
    for ratio in ratios:
        guess = known_knob(ratio)
        if not searching:
            if guess is None:
                yield None
                continue
            search.attempt(guess)
        elif not search.trials and guess is not None:
            search.curve = replace(search.curve, start=guess)
        target = int(voxels.nbytes // ratio)
        found = (search.run(target) if searching else search.pick(target)).lower
        if found is None:
            yield None
            continue
        note = f"{curve.name}, {curve.knob} {found.knob:g}"
        unrounded = curve.decode(found.payload)
        decoded = to_dtype(unrounded, voxels.dtype)
        yield Encoded(ratio, found.size, decoded, unrounded, seconds[found.payload], found.knob, note)


def _timed(curve: Curve, seconds: dict[bytes, float]) -> Curve:
    def encode(knob: float) -> bytes:
        began = _cpu()
        payload = curve.encode(knob)
        seconds[payload] = _cpu() - began
        return payload

    return replace(curve, encode=encode)


def _cpu() -> float:
    """Seconds of processor time of this process and of those it has waited for."""
    return sum(os.times()[:4])
