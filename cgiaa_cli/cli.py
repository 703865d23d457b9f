"""The command line: what the commands are, and the one place where an error becomes a line and an exit code.

Nothing here may import a heavy package: `cgiaa --help` and shell completion run this module. The commands are
therefore a table, and a command's module is imported when that command is the one asked for.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from cgiaa_cli import __version__
from cgiaa_cli.errors import CgiaaError, UsageError

__all__ = ["app", "main", "run"]

INTERRUPTED = 130
KEPT = "interrupted; what was finished is kept"
MEMORY_FULL = ("out of memory", "allocate memory")  # torch and ONNX Runtime have no class that could be named here
BROKEN_PIPE = 141  # 128 + SIGPIPE, what a shell reports for any tool whose reader went away

# name: (module below cgiaa_cli.commands, what to take from it, line in `cgiaa --help`)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "rank": ("rank", "rank", "Order photos by aesthetic score, best first."),
    "filter": ("filter", "filter_", "Print the photos that meet conditions."),
    "search": ("search", "search", "Find photos like an example, or by words."),
    "taste": ("taste", "app", "Learn your own taste from your ratings."),
    "annotate": ("annotate", "annotate", "Write scores, stars and critiques into XMP sidecars."),
    "groups": ("groups", "groups", "Find copies, bursts, brackets and panoramas, and the photo to keep."),
    "report": ("report", "report", "Make a gallery as one page: picks, groups, critiques, plots."),
    "review": ("review", "review", "Look through photos on a local page: picks, rejects, choices."),
    "scan": ("scan", "scan", "Score photos into the cache."),
    "watch": ("watch", "watch", "Score photos as they arrive in some folders."),
    "critique": ("critique", "critique", "Say what is good and bad about photos, and why."),
    "compare": ("compare", "compare_", "Name the better of some photos, and why."),
    "cache": ("cache", "app", "Look into the cache, clean it, export it."),
    "models": ("models", "app", "List, verify, add and choose model bundles."),
    "config": ("config", "app", "Read and write the config file."),
    "doctor": ("doctor", "doctor", "Check this installation and say how to mend it."),
    "train": ("train", "app", "Train a bundle of your own."),
    "evaluate": ("evaluate", "evaluate", "Measure a bundle on a data set."),
    "export-onnx": ("export_onnx", "export_onnx", "Turn a trained checkpoint into a bundle."),
}


class LazyGroup(TyperGroup):
    """Shows the commands of `COMMANDS` from their one-line help and imports only the one that runs.

    Annotated with Any: the classes behind it are click's own up to Typer 0.2x and Typer's copy after that.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        stub = typer.Typer(add_completion=False)
        stub.command(cmd_name, help=COMMANDS[cmd_name][2])(lambda: None)
        return get_command(stub)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, stub, rest = super().resolve_command(ctx, args)
        return name, stub if name is None else load_command(name), rest


def load_command(name: str) -> Any:
    """The real command `name`, with its module imported."""
    module_name, attribute, help_line = COMMANDS[name]
    found = getattr(importlib.import_module(f"cgiaa_cli.commands.{module_name}"), attribute)
    command: Any
    if isinstance(found, typer.Typer):
        command = get_group(found)
        command.help = command.help or help_line
    else:
        single = typer.Typer(add_completion=False)
        single.command(name)(found)
        command = get_command(single)
    command.name = name
    return command


app = typer.Typer(
    name="cgiaa",
    cls=LazyGroup,
    help="Curate photo libraries by aesthetics, and say why.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"cgiaa {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    # `run` takes --debug out of the arguments wherever it stands; it is declared here for the help
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (also CGIAA_DEBUG=1).")
    ] = False,
) -> None:
    pass


# typer.BadParameter's ancestors are click's exceptions or Typer's copy of them, whichever is in use
_ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def main() -> None:
    """The program, once `cgiaa_cli.__main__` has imported this module."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a name that is not UTF-8, or a terminal that is not, must not end the run
            stream.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as error:  # stdout is a file on a full disk
        code = _fail(error, debug=False)
    if code == BROKEN_PIPE or not _flushed():
        # Python flushes stdout once more at exit and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if code == INTERRUPTED:
        # everything is closed by now, but a thread may still be in C++, e.g. loading a network: Python's own end would
        # pull it out of there, and the C++ runtime would abort the process
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _flushed() -> bool:
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every error ends here, as one line on stderr."""
    arguments, debug = _take_debug(arguments)
    try:
        _refuse_empty(arguments)
        result = app(args=arguments, prog_name="cgiaa", standalone_mode=False)
        if result == INTERRUPTED:  # Typer has caught Ctrl-C already
            _say(KEPT)
        return result if isinstance(result, int) else 0
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # click has caught it already
            return BROKEN_PIPE
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except BaseException as error:
        return _fail(error, debug)


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    head = [a for a in arguments[:end] if a != "--debug"]
    debug = len(head) < end or os.environ.get("CGIAA_DEBUG", "") not in ("", "0")
    return head + arguments[end:], debug


def _refuse_empty(arguments: list[str]) -> None:
    """Raise a UsageError for `''`, which would be taken for the current folder.

    It is what the shell makes of a variable that is not set, and no option has a use for it either.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for at, argument in enumerate(arguments):
        if not argument or (at < end and argument.startswith("--") and argument.endswith("=")):
            what = f"'{argument}' has no value" if argument else "an argument is empty"
            raise UsageError(what, mend="name something; '.' is this folder")


def _fail(error: BaseException, debug: bool) -> int:
    """Print `error` and return the exit code it stands for."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        _say(KEPT)
        return INTERRUPTED
    if isinstance(error, CgiaaError):
        _say(str(error))
        return error.exit_code
    if isinstance(error, _ClickException):
        return _usage(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        _say(f"{where}the disk is full; free some space and run the same command again")
        return 2
    if isinstance(error, MemoryError) or any(words in str(error) for words in MEMORY_FULL):
        _say("memory is full; close other programs, or ask for less at once")
        return 2
    what = " ".join(f"{type(error).__name__}: {error}".split())
    _say(f"internal error: {what}; run again with --debug")
    return 2


def _usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    if not message and context is not None:  # no command given: the answer is the help itself
        typer.echo(context.get_help(), err=True)
    elif message:
        _say(f"{message}; see: {context.command_path if context else 'cgiaa'} --help")
    return 2


def _say(message: str) -> None:
    from cgiaa_cli.paths import printable

    print(f"cgiaa: {printable(message)}", file=sys.stderr)
