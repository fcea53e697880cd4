"""What the commands share: how mistakes in options are told, paths, and options that several of them take."""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mprnet_jax.support.errors import EXIT_USER_ERROR, UserError, one_line
from mprnet_jax.support.paths import as_path
from mprnet_jax.support.streams import guard_streams


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in one line, without the page of usage in front of it."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As argparse does, but a misspelt option is named whatever else is missing, with the one that is like it."""
        args = list(sys.argv[1:] if args is None else args)
        named = args[: args.index("--")] if "--" in args else args
        for argument in named if self._subparsers is None else ():  # those have options of their own
            name = argument.partition("=")[0]
            if name.startswith("--") and not any(option.startswith(name) for option in self._option_string_actions):
                near = difflib.get_close_matches(name, self._option_string_actions, 1, cutoff=0.7)
                suggestion = f" (did you mean {near[0]}?)" if near else ""
                self.error(f"unrecognized arguments: {argument}{suggestion}")
        return super().parse_args(args, namespace)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As argparse does, with guarded streams, and without XLA's log."""
        guard_streams()  # before anything is printed: --help may go into a pipe that closes
        # Before JAX is loaded. Its errors reach Python, too; besides there is "Very slow compile? ... file a bug".
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End the command with one line and exit code 2."""
        command = self.prog.removeprefix("python -m ")
        print(f"{command}: error: {one_line(message)}; --help explains the options", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def path_option(text: str) -> Path:
    """The type of every option that is a path; see as_path."""
    try:
        return as_path(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_cache_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--no-compile-cache, of every command that compiles."""
    parser.add_argument("--no-compile-cache", action="store_true", help="keep no compiled programs for the next start")
