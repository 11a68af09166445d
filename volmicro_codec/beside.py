"""What is written beside a target until it takes the target's name, and what killed runs have left there.

A file or directory that is being written is called ``.NAME.TAG.part`` and holds a lock that ends with its
process. So one without a lock is what a killed run left, and is removed. ``.NAME.TAG.old`` is a target that
had to step aside for its successor; where the target is gone it is put back.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from .notices import tell

PART, OLD = "part", "old"
LONGEST = 200  # bytes of a name in the name of what is beside it


def name_beside(real: Path, ending: str) -> Path:
    """A new hidden name in the target's directory."""
    return real.with_name(f".{_stem(real)}.{secrets.token_hex(4)}.{ending}")


def _stem(real: Path) -> str:
    """What of a name fits into a longer one, however many bytes its letters take."""
    stem = real.name
    while len(os.fsencode(stem)) > LONGEST:
        stem = stem[:-1]
    return stem


def resume_name(real: Path) -> Path:
    """Where what an encode has done so far is kept beside its target."""
    return real.with_name(f".{_stem(real)}.resume")


JOB = "vgm-job/job.json"
"""Of a store that is being made: what is to be done."""


def bricks_beside(target: str) -> str:
    """The store of the bricks of a packed file, which lies beside it until it is there."""
    real = Path(os.path.realpath(target))
    return str(real.with_name(f".{_stem(real)}.bricks"))


@contextlib.contextmanager
def claimed(real: Path, directory: bool = False) -> Iterator[Path]:
    """A new empty file or directory beside the target, locked; what is left of it afterwards is removed."""
    fd: int | None = None
    temp = name_beside(real, PART)
    try:
        while True:
            fd = _make(temp, directory)
            held = locked(fd) if fd is not None else None
            if held is None:
                _close(fd)  # brings nothing without locks, and may bar a rename where there are none
                fd = None
            if held is not False and os.path.lexists(temp):
                break
            _close(fd)  # one that clears up came between making and locking it
            fd = None
            temp = name_beside(real, PART)
        yield temp
    finally:
        _close(fd)
        _remove(temp)


def _make(temp: Path, directory: bool) -> int | None:
    """Make it and open it; None for a directory where those cannot be opened."""
    if not directory:
        return os.open(temp, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    os.mkdir(temp)
    return os.open(temp, os.O_RDONLY) if os.name == "posix" else None


def locked(fd: int) -> bool | None:
    """Lock what is open: whether that went well; None where the system or the file system has no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _close(fd: int | None) -> None:
    if fd is not None:
        with contextlib.suppress(OSError):
            os.close(fd)


def _remove(path: Path) -> None:
    """Remove a file or directory as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def clear_leftovers(real: Path) -> None:
    """Put back or remove what runs that were killed have left beside a target, and tell so in one line."""
    try:
        names = os.listdir(real.parent)
    except OSError:
        return
    pattern = re.compile(rf"\.{re.escape(_stem(real))}\.[0-9a-f]{{8}}\.({PART}|{OLD})")
    left = {real.with_name(name): match[1] for name in names if (match := pattern.fullmatch(name))}
    said = []
    for path in sorted((p for p, ending in left.items() if ending == OLD), key=_age):
        if not os.path.lexists(real):
            with contextlib.suppress(OSError):
                os.rename(path, real)
                said.append(f"put back what was there from {path.name}")
        elif _gone(path):
            said.append(f"removed {path.name}")
    said += [f"removed {path.name}" for path, ending in left.items() if ending == PART and _gone(path)]
    if said:
        tell(f"{real.name}: a run that was killed had left something beside it: {', '.join(said)}")


def _age(path: Path) -> float:
    """Seconds since the newest change, for an order."""
    try:
        return -path.lstat().st_mtime
    except OSError:
        return 0.0


def _gone(path: Path) -> bool:
    """Remove it unless a process that is alive holds it."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        if not locked(fd):
            return False
        _remove(path)
    finally:
        _close(fd)
    return not os.path.lexists(path)
