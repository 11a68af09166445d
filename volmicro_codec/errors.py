"""Every error the project raises on purpose; each also is the builtin that callers already catch."""

from __future__ import annotations


class VgmError(Exception):
    """Base of all errors of this project; ``exit_code`` is what the command line exits with."""

    exit_code = 1


class UsageError(VgmError, ValueError):
    """An argument or option that makes no sense (bad box, two rate targets, unknown name)."""

    exit_code = 2


class InputError(VgmError, ValueError):
    """A volume that cannot be read or is not supported (RGB, 2-D, empty, NaN, unknown dtype)."""

    exit_code = 3


class MissingFileError(InputError, FileNotFoundError):
    """An input path that does not exist."""


class FormatError(VgmError, ValueError):
    """Bytes that are not a valid .vgm file: damaged, cut short, or not one at all."""

    exit_code = 4


class ChecksumError(FormatError):
    """Stored bytes that do not have the checksum the file says they have."""


class UnsupportedFeatureError(FormatError, NotImplementedError):
    """A valid file that needs a feature, version or chunk coding this release does not know."""


class OutputError(VgmError, OSError):
    """An output that cannot be written."""

    exit_code = 5


class OutputExistsError(OutputError, FileExistsError):
    """An output that exists already and was not to be overwritten."""


class DependencyError(VgmError, ImportError):
    """An optional package or a device that was asked for and is not there."""

    exit_code = 6


_EXTRAS = {"zarr": ("zarr", "fsspec"), "encode": ("scipy",), "report": ("PIL",), "remote": ("aiohttp",)}
"""Extras by the packages that they bring."""


def lacks(what: str, error: ImportError) -> DependencyError:
    """The error of something that needs a package which is not there, with how it is installed."""
    extra = next((f"volmicro-codec[{e}]" for e, names in _EXTRAS.items() if error.name in names), error.name)
    return DependencyError(f"{what} needs the package {error.name!r}: pip install '{extra}'")


class IncompleteError(VgmError, RuntimeError):
    """A store whose bricks are not all there: some failed, or were not worked on yet."""

    exit_code = 9


def not_finished(name: str) -> IncompleteError:
    """What to raise of a store, or a file of bricks, that was begun and is not finished."""
    return IncompleteError(
        f"{name}: is not finished ('vgm info' says how far it is); the encode once more, or 'vgm finish',"
        " does that"
    )


class QualityError(VgmError, AssertionError):
    """A quality target that was asked for and not met (``vgm verify --min-psnr``)."""

    exit_code = 7


class RemoteError(VgmError, OSError):
    """A remote file that could not be read."""

    exit_code = 8


def not_built(error: ImportError) -> DependencyError:
    """What to raise where an extension module is not there, as in a checkout that was never installed."""
    return DependencyError(
        f"compiled code cannot be loaded: {error}; install the package (pip install .), or in a checkout run:"
        " make native PYTHON=python3 (a C compiler, GCC or Clang, is needed)"
    )
