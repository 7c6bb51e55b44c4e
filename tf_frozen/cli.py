"""The command line: finds the commands, reads their flags, prints user errors as plain messages.

A command is a module in tf_frozen/commands/ with HELP, EXAMPLE, add_arguments(parser) and run(args); its name
is the module's, with dashes. Commands import TensorFlow only when they run, so that help prints at once.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import importlib
import io
import logging
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn, TextIO

import tf_frozen
from tf_frozen import commands
from tf_frozen.config.explained import explained
from tf_frozen.config.suggest import did_you_mean
from tf_frozen.errors import UserError
from tf_frozen.log import to_console
from tf_frozen.signals import Terminated, raised

ORDER = ("train", "evaluate", "predict", "export", "inspect", "audit", "cache", "check-data", "score", "configs")
EXIT_CODES = "Exit codes: 0 done, 1 a check found a fault, 2 wrong use or missing files, 130 Ctrl-C, 143 SIGTERM."
WRONG_USE, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    That is 0 if it did what it says, 1 if a check found a fault (in data, or a frozen variable that changed), 2 after a
    UserError, such as wrong flags or missing files, 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP.
    """
    _open_streams()
    _quiet_tensorflow()
    _print_any_text()
    flags: set[str] = set()  # of the command, once it is known
    try:
        with to_console(functools.partial(_BareHandler, flags)), raised():
            code = _run(sys.argv[1:] if argv is None else argv, flags)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(_with_flags(str(error), flags), file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Terminated as signal:
        with contextlib.suppress(OSError):  # after SIGHUP the terminal is gone
            print(f"Ended by {signal}.", file=sys.stderr)
        return 128 + signal.number
    except BrokenPipeError:
        _discard(sys.stdout)  # the reader, `head` for one, has left
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename:
            raise
        _discard(sys.stdout)
        with contextlib.suppress(OSError):
            print(f"Cannot write: {error.strerror}. Free space, or send the output elsewhere.", file=sys.stderr)
        return WRONG_USE


def find_commands() -> dict[str, ModuleType]:
    """Returns the modules of the commands by name, in the order in which help lists them."""
    names = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    found = {name.replace("_", "-"): importlib.import_module(f"{commands.__name__}.{name}") for name in names}
    known = [name for name in ORDER if name in found]
    return {name: found[name] for name in [*known, *sorted(set(found) - set(known))]}


def _run(argv: Sequence[str], flags: set[str]) -> int:
    modules = find_commands()
    parser = _parser(modules)
    _check_text(argv)
    if not argv:
        parser.print_help()
        return WRONG_USE
    if not argv[0].startswith("-") and argv[0] not in modules:
        advice = did_you_mean(argv[0], modules) or f" The commands are {', '.join(modules)}."
        raise UserError(f"There is no command '{argv[0]}'.{advice}")
    try:
        args = parser.parse_args(argv)
    except SystemExit:  # That is how argparse ends after --help and --version.
        return 0
    for name, value in vars(args).items():
        if value == "" and name in ("model", "model_dir", "output"):
            raise UserError(f"--{name} is empty. Is a variable of the shell not set?")
        setattr(args, name, _with_home(value))
    flags.update(vars(args))
    with explained():
        return modules[args.command].run(args) or 0


def _with_flags(text: str, flags: set[str]) -> str:
    """Replaces names of arguments, which the library's messages have in backticks, by the flags that give them."""

    def flag(match: re.Match) -> str:
        known = [name for name in (match[1], match[1].removesuffix("s")) if name in flags]
        return f"--{known[0]}" if known else match[0]

    return re.sub(r"`(\w+)`", flag, text)


def _with_home(value: Any) -> Any:
    """Replaces the ~ that a path may start with: a shell leaves it in --model_dir=~/run."""
    if isinstance(value, list):
        return [_with_home(each) for each in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def _parser(modules: dict[str, ModuleType]) -> argparse.ArgumentParser:
    listed = "".join(f"\n  {name:12}{module.HELP}" for name, module in modules.items())
    epilog = f"commands:{listed}\n\n`tf-frozen COMMAND --help` shows an example and all flags.\n{EXIT_CODES}"
    usage = "tf-frozen [-h] [--version] COMMAND ..."
    parser = _Parser(prog="tf-frozen", usage=usage, description=tf_frozen.__doc__, epilog=epilog)
    parser.add_argument("--version", action="version", version=f"tf-frozen {tf_frozen.__version__}")
    subparsers = parser.add_subparsers(
        prog="tf-frozen", dest="command", metavar="COMMAND", required=True, help=argparse.SUPPRESS
    )
    for name, module in modules.items():
        example = f"example:\n  {module.EXAMPLE}"
        command = subparsers.add_parser(name, description=module.HELP, epilog=example)
        module.add_arguments(command)
    return parser


class _Parser(argparse.ArgumentParser):
    """Takes flags only as they are spelled, and names the nearest to an unknown one."""

    def __init__(self, **options: object):
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **options)

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        # Before argparse parses: it would first report the flags that are missing because of the typing error.
        for word in args or ():
            flag = word.partition("=")[0]
            if word == "--" or self._subparsers is not None and not word.startswith("-"):
                break
            if flag.startswith("--") and flag not in self._option_string_actions:
                self.error(f"there is no flag {flag}.{did_you_mean(flag, self._option_string_actions)}")
        parsed, extra = super().parse_known_args(args, namespace)
        if extra:
            advice = "A value with spaces needs quotes around it, as in --gin_param 'NAME = VALUE'."
            self.error(f"nothing takes the words {' '.join(extra)}\n{advice}")
        return parsed, extra

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}\n`{self.prog} --help` shows an example and all flags.")


def _open_streams() -> None:
    """Opens standard streams that are closed, as by the shell's `>&-`, on the null device.

    The next file that is opened would get the number of a closed one, and messages for it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (it stays open as long as the process)


def _quiet_tensorflow() -> None:
    """Silences TensorFlow's start, that of its C++ part unless the environment sets its log level."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # TensorFlow imports it, and it announces when it will drop an older Python.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core")


def _print_any_text() -> None:
    """Makes the standard streams write escapes for characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _check_text(argv: Sequence[str]) -> None:
    """Raises UserError for an argument that is not text: TensorFlow opens no such path."""
    for word in argv:
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise UserError(
                f"The argument {word!r} has bytes that are not {sys.getfilesystemencoding()} text. "
                f"Rename the file or folder."
            )


class _BareHandler(logging.StreamHandler):
    """Writes bare messages; if they cannot be written, as on a full disk, the command continues without them."""

    def __init__(self, flags: set[str], stream: TextIO):
        super().__init__(stream)
        self._flags = flags

    def format(self, record: logging.LogRecord) -> str:
        return _with_flags(super().format(record), self._flags)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            raise  # noqa: PLE0704 (logging calls this while it handles the exception)
        _discard(self.stream)
        if self.stream is not sys.stderr:
            with contextlib.suppress(OSError):
                print(f"Messages can't be written ({error.strerror}); continuing without them.", file=sys.stderr)


def _discard(stream: TextIO) -> None:
    """Sends what is written to a stream, and what its buffer still holds, nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
