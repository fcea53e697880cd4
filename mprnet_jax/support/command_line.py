"""What the commands share: how mistakes in options are told, and options that several of them take."""

import argparse
import sys
from typing import NoReturn

from mprnet_jax.support.errors import EXIT_USER_ERROR, one_line

TILE_HELP = """side of the tiles in pixels, a multiple of 8; whole: each picture at once, as the paper does; auto
(default): whole if it fits in memory, else the largest tiles that do. Tiles change the result a little: the channel
attention averages over what it sees"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in one line, without the page of usage in front of it."""

    def error(self, message: str) -> NoReturn:
        command = self.prog.removeprefix("python -m ")
        print(f"{command}: error: {one_line(message)}; --help explains the options", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def tile_option(text: str) -> int | str:
    """What --tile was given, as Restorer takes it; Restorer says what it may be."""
    try:
        return int(text)
    except ValueError:
        return text
