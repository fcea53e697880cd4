"""What the commands share: how mistakes in options are told, paths, and options that several of them take."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mprnet_jax.support.errors import EXIT_USER_ERROR, UserError, one_line
from mprnet_jax.support.paths import as_path
from mprnet_jax.support.streams import guard_streams


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in one line, without the page of usage in front of it."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As argparse does, with guarded streams."""
        guard_streams()  # before anything is printed: --help may go into a pipe that closes
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
