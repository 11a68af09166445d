"""The command group: finds commands without importing them, and ends every run with one exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from keyword import iskeyword
from types import FrameType
from typing import Any, NoReturn

import click

from ..errors import InputError, OutputError, VgmError
from ..notices import listening
from ..text import visible
from ..version import __version__
from .terminal import replace_unknown_letters, say

# Name, module, one line. The line stands here so that `vgm --help` imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "encode": ("encode", "Encode a volume into a .vgm file."),
    "finish": ("encode_store", "Check the bricks of a store, and make an OME-Zarr image of them."),
    "pack": ("pack", "Pack a store of bricks into one .vgm file."),
    "unpack": ("pack", "Unpack a packed .vgm file into the store that it was."),
    "decode": ("decode", "Decode a .vgm file into a volume."),
    "roi": ("decode", "Decode a region of a .vgm file."),
    "info": ("info", "Say what .vgm files hold; reads their heads only."),
    "test": ("test", "Check the structure and all checksums of .vgm files and stores."),
    "preview": ("preview", "Draw a .vgm file: maximum projections as one picture."),
    "verify": ("verify", "Compare a .vgm file with its original."),
    "report": ("report", "Show what a .vgm file kept of its original, as one HTML page."),
    "gate": ("gate", "Train an occupancy gate alone, to reuse it."),
    "export": ("export", "Write the Gaussians of a .vgm file for other programs."),
    "import": ("import_", "Make a .vgm file of Gaussians that another tool has fitted."),
    "phantom": ("phantom", "Make a realistic test volume."),
    "completion": ("completion", "Print what makes a shell complete commands, options and files."),
    "doctor": ("doctor", "Say what is installed, which devices there are, and what is missing."),
}

EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "all went well"),
    (1, "an error of the program itself (-v shows where)"),
    (2, "an argument or option that makes no sense"),
    (3, "an input volume or gate file that is missing, damaged or not supported"),
    (4, "a .vgm file that is damaged, cut short or not one"),
    (5, "an output that cannot be written, or exists already"),
    (6, "an optional package or a device that is not there"),
    (7, "a quality that was asked for and not met"),
    (8, "a remote file that could not be read"),
    (9, "a store of which bricks are missing or damaged"),
    (130, "interrupted (Ctrl-C)"),
    (143, "terminated (or 129: the terminal was closed)"),
)


class Terminated(BaseException):
    """SIGTERM or SIGHUP, as an exception, so that whatever is open is cleaned up."""


@dataclass
class State:
    """What -v and -q set, for the whole run."""

    verbose: bool = False
    quiet: bool = False


class Command(click.Command):
    """A command that also takes -v and -q."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _state_options()


def _state_options() -> list[click.Parameter]:
    return [
        click.Option([flag, f"--{name}"], is_flag=True, expose_value=False, help=text, callback=_set_state)
        for flag, name, text in (
            ("-v", "verbose", "Also say time and memory, and where in the program an error arose."),
            ("-q", "quiet", "No progress and no remarks."),
        )
    ]


def _set_state(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    state = ctx.find_object(State)
    if value and state is not None and param.name is not None:
        setattr(state, param.name, True)


class LazyGroup(click.Group):
    """Imports a command's module when that command is run. Takes -v and -q too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _state_options()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command = getattr(module, cmd_name + "_" * iskeyword(cmd_name))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="vgm %(version)s")
def group() -> None:
    """Fluorescence volumes as sums of Gaussians: 100 to 1000 times smaller, any region readable alone.

    \b
    vgm encode volume.tif -o volume.vgm --ratio 200
    vgm decode volume.vgm -o out.tif
    vgm roi volume.vgm --box 0:50,100:300,200:400
    vgm info volume.vgm

    Results go to stdout, everything else to stderr.
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run ``vgm`` and exit.

    Parameters
    ----------
    args : sequence of str, optional
        Without the program's name; default ``sys.argv[1:]``.
    """
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run ``vgm`` and return its exit code; every error is one line on stderr."""
    state = State()
    _open_missing_streams()
    replace_unknown_letters(sys.stdout, sys.stderr)
    before = _raise_on_signals()
    try:
        with listening(lambda text: None if state.quiet else say(f"vgm: {text}", err=True)):
            return _run(args, state)
    except Terminated as e:
        say("vgm: terminated", err=True)
        return 128 + int(e.args[0] if e.args else signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(args: Sequence[str] | None, state: State) -> int:
    started, stdout = time.monotonic(), sys.stdout
    try:
        code = group.main(args=args, prog_name="vgm", standalone_mode=False, obj=state)
        sys.stdout.flush()
        if state.verbose:
            say(f"vgm: {time.monotonic() - started:.2f} s{_memory_text()}", err=True)
        return code if isinstance(code, int) else 0
    except (click.Abort, KeyboardInterrupt):
        say("vgm: interrupted", err=True)
        return 130
    except click.ClickException as e:
        hint = ""
        if isinstance(e, click.UsageError) and e.ctx is not None:
            hint = f" (see '{e.ctx.command_path} --help')"
        say_error(f"{e.format_message()}{hint}")
        return e.exit_code
    except VgmError as e:
        say_error(str(e))
        if state.verbose:
            _traceback()
        return e.exit_code
    except SystemExit:
        if sys.stdout is not stdout:  # which click replaces where its reader has gone
            return 0
        raise
    except BrokenPipeError:
        # Whoever read stdout has what it wanted. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as e:
        # One that names no file is about stdout: whoever opens a file says which.
        if e.filename is None and e.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG):
            say_error(f"the output cannot be written: {e.strerror}")
            return OutputError.exit_code
        if isinstance(e, PermissionError) and e.filename is not None:
            say_error(f"{os.fsdecode(e.filename)}: no permission to open it")
            return InputError.exit_code  # outputs are tried before there is work on them
        return _unexpected(e, state)
    except MemoryError:
        say_error("out of memory")
        return 1
    except Exception as e:
        return _unexpected(e, state)


def _unexpected(error: Exception, state: State) -> int:
    say_error(f"{type(error).__name__}: {error}" + ("" if state.verbose else " (-v shows where)"))
    if state.verbose:
        _traceback()
    return 1


def _open_missing_streams() -> None:
    """A process can be started with its standard streams closed; what is said then goes nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - stays open


def _raise_on_signals() -> dict[int, Any]:
    """Make what ends a process raise `Terminated`; return what handled it before."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    before: dict[int, Any] = {}
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        # Where SIGHUP is ignored it has been so on purpose (nohup).
        if number not in before and signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):  # not the main thread
                before[number] = signal.signal(number, handler)
    return before


def say_error(text: str) -> None:
    """One line on stderr; in red where that is a terminal that has colours and NO_COLOR is not set."""
    word = "error:"
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        word = click.style(word, fg="red", bold=True)
    print(f"vgm: {word} {visible(' '.join(text.split()))}", file=sys.stderr, flush=True)


def traceback_if_verbose() -> None:
    """Where the error that is being handled arose, with -v."""
    state = click.get_current_context().find_object(State)
    if state is not None and state.verbose:
        _traceback()


def _memory_text() -> str:
    """The largest memory the process has had; nothing where the system does not say."""
    try:
        import resource
    except ImportError:
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f", at most {peak / 1e6:,.0f} MB of memory"


def _traceback() -> None:
    import traceback

    for line in traceback.format_exc().rstrip("\n").split("\n"):
        say(line, err=True)
